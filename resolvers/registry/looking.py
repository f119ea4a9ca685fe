"""Models and versions with what belongs to them: tags, aliases, stages, and the newest version of each stage.

These are functions of a snapshot, for `Operation.read`: each is a few statements, whose number does not grow with
the number of things. Names are exact: one that a model has no more leads nowhere here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from graph.address import Address
from graph.ontology import MAX_NUMBER
from graph.port import (
    All,
    Hop,
    Link,
    Linked,
    Metric,
    Node,
    Not,
    Order,
    Paging,
    Prop,
    Snapshot,
    batched,
)
from graph.text import normalize
from lineal.errors import NotFound
from resolvers.lifecycle.schemes import MLFLOW, Scheme, Schemes
from resolvers.reading import all_links

NO_STAGE: Final = MLFLOW[0]
LATEST: Final = "latest"
"""What MLflow's clients call the newest version of a model."""
BATCH: Final = 500
"""Models or versions that are looked at together."""

EVALUATIONS: Final = 100
"""The newest evaluations of a version whose metrics are shown with it."""

_NEWEST: Final = Order("number", descending=True)
_VERSIONS: Final = Hop("VERSION_OF", "IN", "ModelVersion")
_IN_STAGE: Final = Linked(Hop("STAGE", "IN", "Model"))


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of a version, with the id of its run and what it was measured on, where they are known.

    `digest` is that of the data set's version, or else its name.
    """

    metric: Metric
    run: str = ""
    dataset: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A version, with its model. `stage` is one of MLflow's four. What was not asked for is empty."""

    node: Node
    model: Node
    stage: str = NO_STAGE
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Sequence[str] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Measured] = ()


@dataclass(frozen=True, slots=True)
class Registered:
    """A model; `aliases` are names with the numbers of their versions, `latest` the newest version of each stage."""

    model: Node
    tags: Mapping[str, str]
    aliases: Mapping[str, str]
    latest: Sequence[Version]


# ── What is named ─────────────────────────────────────────────────────────────────────────────────


def names_for(name: str) -> list[str]:
    """What a name may mean: itself, or with `/` and `:` where those are written %2F and %3A, as clients need them."""
    plain = normalize(name)
    decoded = normalize(unquote(name)) if "%2F" in name or "%3A" in name else plain
    return list(dict.fromkeys((plain, decoded)))


async def model_named(snapshot: Snapshot, workspace: str, name: str) -> Node:
    """The model of this name. Raises NotFound."""
    model = await find_model(snapshot, workspace, name)
    if model is None:
        raise NotFound(f"Registered Model with name={name} not found", field="name")
    return model


async def find_model(snapshot: Snapshot, workspace: str, name: str) -> Node | None:
    """The model of this name, or None."""
    return (await find_models(snapshot, workspace, [name])).get(name)


async def find_models(snapshot: Snapshot, workspace: str, names: Sequence[str]) -> dict[str, Node]:
    """The models of these names, in one statement; those that are not there are missing."""
    wanted = [(name, each) for name in names for each in names_for(name)]
    if not wanted:
        return {}
    found = await snapshot.resolve([Address("Model", workspace, each) for _, each in wanted])
    there: dict[str, Node] = {}
    for (name, each), node in zip(wanted, found, strict=True):
        if node is not None and node.name == each:
            there.setdefault(name, node)
    return there


async def version_numbered(snapshot: Snapshot, workspace: str, name: str, number: int) -> tuple[Node, Node]:
    """A version and its model. Raises NotFound."""
    found = await _parts(snapshot, workspace, name, part=str(number)) if 1 <= number <= MAX_NUMBER else None
    if found is None or found[0] is None:
        raise NotFound(f"Model Version (name={name}, version={number}) not found", field="version")
    return found[0], found[1]


async def version_called(snapshot: Snapshot, workspace: str, name: str, alias: str) -> tuple[Node | None, Node]:
    """The version that an alias points to, or None, and its model. Raises NotFound: there is no such model.

    `latest` is the newest one, unless it is an alias of the model, as another face would have it.
    """
    found = await _parts(snapshot, workspace, name, alias=alias)
    if found is None:
        raise NotFound(f"Registered Model with name={name} not found", field="name")
    node, model = found
    if node is None and alias.lower() == LATEST:
        (of,) = await registered(snapshot, [model])
        last = newest(of.latest)
        node = None if last is None else last.node
    return node, model


async def _parts(
    snapshot: Snapshot, workspace: str, name: str, *, part: str | None = None, alias: str | None = None
) -> tuple[Node | None, Node] | None:
    """A part of a model and the model, in one statement; None where there is no such model."""
    names = names_for(name)
    models = [Address("Model", workspace, each) for each in names]
    parts = [Address("ModelVersion", workspace, each, part, alias) for each in names]
    found = await snapshot.resolve([*models, *parts])
    for model, meant, each in zip(found, found[len(names) :], names, strict=False):
        if model is not None and model.name == each:
            return meant, model
    return None


# ── With all around them ──────────────────────────────────────────────────────────────────────────


async def registered(snapshot: Snapshot, models: Sequence[Node]) -> list[Registered]:
    """These models, in order, each with what belongs to it."""
    return [each for some in batched(models, BATCH) for each in await _registered(snapshot, some)]


async def _registered(snapshot: Snapshot, models: Sequence[Node]) -> list[Registered]:
    ids = [model.id for model in models]
    aliases = await all_links(snapshot, ids, Hop("ALIAS", "OUT", "ModelVersion"))
    latest = await _latest(snapshot, models)
    tags = await snapshot.rows([*ids, *(node.id for of in latest.values() for node in of.values())], "tags")
    return [
        Registered(
            model,
            tags.get(model.id, {}),
            {k.edge.discriminator: k.node.name for k in sorted(aliases.get(model.id, ()), key=_alias)},
            [
                Version(node, model, stage, tags.get(node.id, {}))
                for stage, node in sorted(latest[model.id].items(), key=lambda item: int(item[1].props["number"]))
            ],
        )
        for model in models
    ]


async def _latest(snapshot: Snapshot, models: Sequence[Node]) -> dict[str, dict[str, Node]]:
    """The newest version of each of MLflow's stages, by model."""
    ids = [model.id for model in models]
    found: dict[str, dict[str, Node]] = {}
    if len(models) == 1:
        # Of one model an index has them in order.
        of = All((Prop("container", "eq", ids[0]), Not(_IN_STAGE)))
        page = await snapshot.find("ModelVersion", of, order=_NEWEST, paging=Paging(1))
        found = {ids[0]: _without_stage(page.items)}
    else:
        pages = await snapshot.neighbours(ids, _VERSIONS, Not(_IN_STAGE), order=_NEWEST, paging=Paging(1))
        found = {id: _without_stage([link.node for link in pages[id].items]) for id in ids}
    staged = await all_links(snapshot, ids, Hop("STAGE", "OUT", "ModelVersion"))
    schemes = Schemes(snapshot)
    for model in models:
        newest = found[model.id]
        links = staged.get(model.id, ())
        scheme = await schemes.of(model) if links else None
        for link in links:
            stage = mlflow_stage(scheme, link.edge.discriminator)
            if stage not in newest or newest[stage].props["number"] < link.node.props["number"]:
                newest[stage] = link.node
    return found


def _without_stage(newest: Sequence[Node]) -> dict[str, Node]:
    return {NO_STAGE: newest[0]} if newest else {}


async def versions(
    snapshot: Snapshot, nodes: Sequence[Node], models: Mapping[str, Node] | None = None, *, aliases: bool = False
) -> list[Version]:
    """These versions, in order, each with its stage and its tags, and with its aliases where they are asked for."""
    known = dict(models or {})
    found: list[Version] = []
    for some in batched(nodes, BATCH):
        ids = [node.id for node in some]
        if missing := sorted({node.container for node in some} - known.keys()):
            known |= await snapshot.nodes(missing)
        stages = await _stages(snapshot, ids, known)
        tags = await snapshot.rows(ids, "tags")
        named = await all_links(snapshot, ids, Hop("ALIAS", "IN", "Model")) if aliases else {}
        found += (
            Version(
                node,
                known[node.container],
                stages.get(node.id, NO_STAGE),
                tags.get(node.id, {}),
                sorted(link.edge.discriminator for link in named.get(node.id, ())),
            )
            for node in some
        )
    return found


async def registered_by_id(snapshot: Snapshot, id: str) -> Registered:
    """The model with this id. Raises NotFound: it was deleted after it was written."""
    (found,) = await registered(snapshot, [await _written(snapshot, id)])
    return found


async def version_by_id(snapshot: Snapshot, id: str) -> Version:
    """The version with this id, with its aliases. Raises NotFound: it was deleted after it was written."""
    (version,) = await versions(snapshot, [await _written(snapshot, id)], aliases=True)
    return version


async def _written(snapshot: Snapshot, id: str) -> Node:
    node = (await snapshot.nodes([id])).get(id)
    if node is None:
        raise NotFound(f"{id} was written, and has been deleted since", id=id)
    return node


async def measured(snapshot: Snapshot, version: Node) -> list[Measured]:
    """The metrics of a version and of its newest evaluations, as far as they may be read."""
    hop, order = Hop("EVALUATES", "IN", "Evaluation"), Order("createdAt", descending=True)
    page = (await snapshot.neighbours([version.id], hop, order=order, paging=Paging(EVALUATIONS)))[version.id]
    found = await snapshot.metrics([version.id, *(link.node.id for link in page.items)])
    if not found:
        return []
    runs = await all_links(snapshot, list(found), Hop("PRODUCED_BY", "OUT", "Run"))
    evaluations = [id for id in found if id != version.id]
    data = await all_links(snapshot, evaluations, Hop("EVALUATED_ON", "OUT", "DatasetVersion"))
    datasets = await snapshot.nodes(sorted({link.node.container for links in data.values() for link in links}))
    own = str(version.props.get("runId", ""))
    return [
        Measured(metric, next((link.node.name for link in runs.get(id, ())), own if id == version.id else ""), *on)
        for id, metrics in sorted(found.items(), key=lambda item: (item[0] != version.id, item[0]))
        for on in [_known_by(link.node, datasets) for link in data.get(id, ())] or [("", "")]
        for metric in metrics
    ]


def _known_by(data: Node, datasets: Mapping[str, Node]) -> tuple[str, str]:
    """The name of a data set and the digest of its version; a tracker's own digest is what it calls the version by."""
    digest = str(data.props.get("digest") or data.name).removeprefix("mlflow:")
    return (datasets[data.container].name if data.container in datasets else "", digest)


async def _stages(snapshot: Snapshot, ids: Sequence[str], models: Mapping[str, Node]) -> dict[str, str]:
    """MLflow's stages of those versions that are in one."""
    schemes = Schemes(snapshot)
    return {
        id: mlflow_stage(await schemes.of(models.get(link.node.id, link.node)), link.edge.discriminator)
        for id, links in (await all_links(snapshot, ids, Hop("STAGE", "IN", "Model"))).items()
        for link in links
    }


def mlflow_stage(scheme: Scheme | None, name: str) -> str:
    """The one of MLflow's stages that a stage of a scheme counts as."""
    stage = None if scheme is None else scheme.find(name)
    if stage is not None:
        return stage.mlflow
    return next((each for each in MLFLOW if each.casefold() == name.casefold()), NO_STAGE)


def source_of(version: Node) -> str:
    """The address that a version was registered from; else that of its files, if anything is known of them."""
    return str(version.props.get("source") or version.props.get("uri") or "")


def newest(found: Iterable[Version]) -> Version | None:
    """The one with the highest number."""
    return max(found, key=lambda version: int(version.node.props["number"]), default=None)


def _alias(link: Link) -> str:
    return link.edge.discriminator
