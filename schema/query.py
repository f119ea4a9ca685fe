"""The root of all reading."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from graph import port
from resolvers import reading
from resolvers.comparing import MAX_COMPARED, MIN_COMPARED, compare_versions
from schema.activity import Notification, activity, notifications
from schema.artifact import Artifact
from schema.audit import AuditEntry, audit
from schema.comparison import VersionComparison
from schema.connection import After, Connection, First, Listing, Page, paging
from schema.context import MAX_EXPORTS, Info
from schema.costs import HEAVY
from schema.dataset import Dataset, DatasetVersion, Field
from schema.declare import by_address, listing, root
from schema.deployment import Deployment, Environment, ServingTarget
from schema.entities import Entity, Service, entities, service
from schema.enums import LineageDirection, NodeKind
from schema.evaluation import Evaluation
from schema.experiment import Experiment
from schema.export import LineageExport, export_lineage
from schema.lifecycle import Approval, Gate, Mark, StageScheme, Validation
from schema.lineage import AsOf, Depth, Edges, Kinds, Limit, Lineage, Paths, Walked, path_answer, read_from, values
from schema.marks import MarkMoment, marked
from schema.model import Model, ModelVersion
from schema.node import Change, Node
from schema.people import Principal, Team
from schema.pipeline import Pipeline
from schema.run import Run
from schema.subscription import sequence
from schema.upload import Upload
from schema.verdict import GateVerdict, verdict
from schema.viewer import Viewer, viewer
from schema.webhook import Webhook
from schema.workspace import Workspace

Direction = Annotated[LineageDirection, strawberry.argument(description="Which way to walk.")]


async def _node(info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]) -> Node | None:
    node: Any = await info.context.loaders.nodes().load(id)
    return node  # type: ignore[no-any-return]


async def _nodes(
    info: Info,
    ids: Annotated[list[strawberry.ID], strawberry.argument(description=f"Their ids, at most {port.MAX_PAGE}.")],
) -> list[Node | None]:
    reading.bounded(len(ids), 0, port.MAX_PAGE, field="ids")
    nodes: list[Any] = await info.context.loaders.nodes().load_many(ids)
    return nodes


async def _lineage(
    info: Info,
    of: Annotated[
        list[strawberry.ID],
        strawberry.argument(
            description=f"Where to begin: 1 to {port.MAX_ROOTS} ids or addresses. A container stands for its parts."
        ),
    ],
    direction: Direction,
    depth: Depth = reading.DEFAULT_DEPTH,
    edges: Edges = None,
    kinds: Kinds = None,
    as_of: AsOf = None,
    limit: Limit = reading.DEFAULT_LIMIT,
) -> Lineage | None:
    found = await read_from(info, of, direction.value, depth, edges, kinds, as_of, limit)
    # Strawberry takes it for a source of Lineage.
    return Walked(info.context, found)  # type: ignore[return-value]


async def _paths(
    info: Info,
    from_: Annotated[
        strawberry.ID, strawberry.argument(name="from", description="Where paths begin: an id or an address.")
    ],
    to: Annotated[strawberry.ID, strawberry.argument(description="Where paths end: an id or an address.")],
    direction: Direction = LineageDirection.DOWNSTREAM,  # type: ignore[attr-defined]
    edges: Edges = None,
    as_of: AsOf = None,
    limit: Annotated[
        int, strawberry.argument(description=f"How many paths to give: 1 to {port.MAX_ENUMERATED}.")
    ] = reading.DEFAULT_PATHS,
) -> Paths | None:
    context = info.context
    context.read(HEAVY)
    found = await reading.paths(
        context.op, from_, to, direction=direction.value, edges=values(edges), as_of=as_of, limit=limit
    )
    context.read(found.walked)
    context.hold(sum(map(len, found.paths)))
    paths: Paths = path_answer(context, found)
    return paths


async def _search(
    info: Info,
    text: Annotated[
        str,
        strawberry.argument(
            description=f"Words, at most {reading.MAX_SEARCH} characters; each matches the beginning of a word."
        ),
    ],
    kinds: Annotated[
        list[NodeKind] | None, strawberry.argument(description="Only nodes of these kinds; of all unless given.")
    ] = None,
    first: First = 50,
    after: After = None,
) -> Connection[Node]:
    asked = paging(first, after, info.context.selects(info, "totalCount"))
    page = await reading.search(info.context.op, text, kinds=values(kinds), paging=asked)
    info.context.hold(len(page.items))
    return Listing(page, asked)  # type: ignore[return-value]


async def _compare(
    info: Info,
    versions: Annotated[
        list[strawberry.ID],
        strawberry.argument(description=f"{MIN_COMPARED} to {MAX_COMPARED} model versions: ids or addresses."),
    ],
) -> VersionComparison | None:
    comparison: Any = await compare_versions(info.context.op, versions)
    return comparison  # type: ignore[no-any-return]


@root("Everything that can be asked.")
class Query:
    """The root of all reading."""

    node: Node | None = strawberry.field(resolver=_node, description="A node by id; null when there is none.")
    nodes: list[Node | None] = strawberry.field(
        resolver=_nodes, description="Nodes by id, in the order asked; null where there is none."
    )
    workspace: Workspace | None = by_address("A workspace by id or address; null when there is none.")
    model: Model | None = by_address("A model by id or address; null when there is none.")
    model_version: ModelVersion | None = by_address("A model version by id or address; null when there is none.")
    dataset: Dataset | None = by_address("A data set by id or address; null when there is none.")
    dataset_version: DatasetVersion | None = by_address("A data-set version by id or address; null when there is none.")
    field: Field | None = by_address("A column or feature by id or address; null when there is none.")
    experiment: Experiment | None = by_address("An experiment by id or address; null when there is none.")
    run: Run | None = by_address("A run by id or address; null when there is none.")
    pipeline: Pipeline | None = by_address("A pipeline by id or address; null when there is none.")
    evaluation: Evaluation | None = by_address("An evaluation by id or address; null when there is none.")
    artifact: Artifact | None = by_address("An artifact by id or address; null when there is none.")
    upload: Upload | None = by_address("An upload by id or address; null when there is none.")
    deployment: Deployment | None = by_address("A deployment by id or address; null when there is none.")
    stage_scheme: StageScheme | None = by_address("A stage scheme by id or address; null when there is none.")
    gate: Gate | None = by_address("A gate by id or address; null when there is none.")
    approval: Approval | None = by_address("An approval by id or address; null when there is none.")
    validation: Validation | None = by_address("A validation by id or address; null when there is none.")
    workspaces: Connection[Workspace] = listing("Workspaces.")
    models: Connection[Model] = listing("Models.")
    model_versions: Connection[ModelVersion] = listing("Versions of all models.")
    datasets: Connection[Dataset] = listing("Data sets.")
    dataset_versions: Connection[DatasetVersion] = listing("Versions of all data sets.")
    fields: Connection[Field] = listing("Columns and features of all data sets.")
    experiments: Connection[Experiment] = listing("Experiments.")
    runs: Connection[Run] = listing("Runs.")
    pipelines: Connection[Pipeline] = listing("Pipelines.")
    evaluations: Connection[Evaluation] = listing("Evaluations.")
    artifacts: Connection[Artifact] = listing("Artifacts.")
    uploads: Connection[Upload] = listing("Uploads, those that are over too.")
    deployments: Connection[Deployment] = listing("Deployments.")
    environments: Connection[Environment] = listing("Environments.")
    serving_targets: Connection[ServingTarget] = listing("Serving platforms.")
    stage_schemes: Connection[StageScheme] = listing("Stage schemes; the standard one is not among them.")
    gates: Connection[Gate] = listing("Gates.")
    approvals: Connection[Approval] = listing("Approvals, those that are over too.")
    check_gate: GateVerdict | None = verdict()
    validations: Connection[Validation] = listing("Validations, those that are over too.")
    marks: Connection[Mark] = listing("Marks of data sets, those that were taken off too.")
    mark: Mark | None = by_address("A mark by id or address; null when there is none.")
    marked: Page[MarkMoment] | None = marked()
    principal: Principal | None = by_address("A principal by id or address; null when there is none.")
    team: Team | None = by_address("A team by id or address; null when there is none.")
    principals: Connection[Principal] = listing("People and service accounts.")
    teams: Connection[Team] = listing("Teams.")
    viewer: Viewer = viewer()
    activity: Page[Change] | None = activity()
    sequence: str | None = sequence()
    notifications: Page[Notification] | None = notifications()
    audit: Page[AuditEntry] | None = audit()
    webhooks: Connection[Webhook] = listing("Webhooks.")
    webhook: Webhook | None = by_address("A webhook by id or address; null when there is none.")
    lineage: Lineage | None = strawberry.field(
        resolver=_lineage,
        description="All that some things came from, or that came of them. Nothing is left out without saying so: see "
        "complete and frontier.",
    )
    export_lineage: LineageExport | None = strawberry.field(
        resolver=export_lineage,
        description="Lineage in a form that other tools read: PROV, bills of materials, cards, events, graphs. "
        f"An operation makes at most {MAX_EXPORTS}.",
    )
    paths: Paths | None = strawberry.field(
        resolver=_paths, description="The ways from one thing to another, the shortest first."
    )
    search: Connection[Node] = strawberry.field(
        resolver=_search, description="What has all of the words in its name, description or tags, the best first."
    )
    compare_versions: VersionComparison | None = strawberry.field(
        resolver=_compare, description="Model versions side by side: parameters, metrics, inputs, files."
    )
    entities: list[Entity | None] = entities()
    service: Service | None = service()
