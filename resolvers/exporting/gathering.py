"""Looking up what the nodes of a lineage have, once for all forms, and only what whoever asks may read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from auth.scopes import FIELDS
from graph.naming import addresses
from graph.ontology import NODE_KINDS
from graph.port import Direction, Edge, Hop, Link, Metric, Node, Order, Paging, Snapshot, batched
from lineal.errors import LimitExceeded, Unavailable
from resolvers.artifacts.common import MANAGED, OWNERS
from resolvers.artifacts.downloads import Filed, files
from resolvers.exporting.provenance import Evaluated, Provenance, Thing
from resolvers.operation import Operation
from resolvers.reading import Lineage, all_links

MAX_GATHERED: Final = 16 * 2**20
"""Bytes of all that the nodes of an export have."""
MAX_FILES: Final = 2_000
"""Files that an export lists."""
MAX_FIELDS: Final = 500
"""Fields of a data set that an export lists."""
BATCH: Final = 500

Handle = Callable[[str], str]
"""What somebody is told in place of the id of a node that they may not read."""


@dataclass
class _Details:
    """What nodes have, by their ids."""

    containers: Mapping[str, Node] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    params: dict[str, dict[str, str]] = field(default_factory=dict)
    metrics: dict[str, list[Metric]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, list[Node]] = field(default_factory=dict)
    artifacts: dict[str, list[Node]] = field(default_factory=dict)
    files: dict[str, list[Filed]] = field(default_factory=dict)
    fields: dict[str, list[Node]] = field(default_factory=dict)
    evaluations: dict[str, list[Evaluated]] = field(default_factory=dict)
    homes: dict[str, list[Node]] = field(default_factory=dict)
    serves: dict[str, list[Edge]] = field(default_factory=dict)


async def gather(
    op: Operation,
    found: Lineage,
    *,
    direction: Direction,
    handle: Handle,
    as_of: int | None = None,
    details: bool = True,
) -> Provenance:
    """A lineage with what its nodes have; without `details` with their names alone.

    Raises LimitExceeded: all of that is more than 16 MiB.
    """
    closure = found.closure
    gatherer = _Gatherer(op, await op.snapshot(), as_of)
    nodes = [node for node, _ in closure.nodes]
    visible = [node for node in nodes if node.visible]
    named = await addresses(gatherer.snapshot, [*found.roots, *nodes])
    has = await gatherer.details([*visible, *found.roots]) if details else await gatherer.names(visible)
    hidden = {node.id: handle(node.id) for node in nodes if not node.visible}
    frontier = set(closure.frontier)

    def thing(node: Node, distance: int) -> Thing:
        id = hidden.get(node.id, node.id)
        bare = Thing(id, node, named[node.id] if node.visible else id, distance, node.id in frontier)
        return bare if id in hidden.values() else _with(bare, has)

    filtered = found.some_edges or found.some_kinds
    notes = _notes(found, restricted=len(hidden)) + gatherer.notes
    return Provenance(
        roots=[thing(root, 0) for root in found.roots],
        things=[thing(node, distance) for node, distance in closure.nodes],
        edges=[_told(edge, hidden) for edge in closure.edges],
        direction=direction,
        complete=closure.complete and not filtered,
        filtered=filtered,
        notes=notes,
        moment=gatherer.moment,
        base=op.base,
        namespace=op.namespace,
    )


def _with(bare: Thing, has: _Details) -> Thing:
    id, container = bare.node.id, has.containers.get(bare.node.container)
    return replace(
        bare,
        container=container if bare.kind.within else None,
        tags=has.tags.get(id, {}),
        params=has.params.get(id, {}),
        metrics=has.metrics.get(id, ()),
        aliases=has.aliases.get(id, ()),
        owners=has.owners.get(id, has.owners.get(bare.node.container, ())),
        artifacts=has.artifacts.get(id, ()),
        files=has.files.get(id, ()),
        fields=has.fields.get(bare.node.container, ()) if bare.node.kind == "DatasetVersion" else (),
        evaluations=has.evaluations.get(id, ()),
        homes=has.homes.get(id, ()),
        parent=_parent(id, has),
        serves=has.serves.get(id, ()),
    )


def _parent(run: str, has: _Details) -> Thing | None:
    found = next((home for home in has.homes.get(run, ()) if home.kind == "Run"), None)
    return Thing(found.id, found, "", 0, homes=has.homes.get(found.id, ())) if found is not None else None


def _told(edge: Edge, hidden: Mapping[str, str]) -> Edge:
    """An edge between handles. What it says was written at its source, and is hidden with it."""
    source, target = (hidden.get(id, id) for id in (edge.source, edge.target))
    if edge.source in hidden:
        return replace(edge, source=source, target=target, discriminator="", props={})
    return replace(edge, source=source, target=target)


def _notes(found: Lineage, *, restricted: int) -> list[str]:
    closure, notes = found.closure, []
    if not closure.complete:
        count = len(closure.frontier)
        notes.append(f"Not complete: {count:,} of the walked nodes {'has' if count == 1 else 'have'} more behind them.")
    if restricted:
        one = restricted == 1
        notes.append(f"{restricted:,} {'node is' if one else 'nodes are'} restricted: not to be read by whoever asked.")
    if found.some_edges:
        notes.append("Only edges of the kinds asked for were walked.")
    if found.some_kinds:
        notes.append("Only nodes of the kinds asked for are here, and edges between two of these.")
    return notes


class _Gatherer:
    """Looks up, a batch of nodes after the other, and counts what comes."""

    def __init__(self, op: Operation, snapshot: Snapshot, as_of: int | None) -> None:
        self._op = op
        self.snapshot = snapshot
        self._as_of = as_of
        self._bytes = self._files = 0
        self.notes: list[str] = []

    @property
    def moment(self) -> int:
        """The time that all of it is of."""
        return self._as_of if self._as_of is not None else time.time_ns() // 1_000

    async def names(self, nodes: Sequence[Node]) -> _Details:
        """What nodes are versions or parts of."""
        ids = sorted({node.container for node in nodes if NODE_KINDS[node.kind].within})
        return _Details(containers=await self.snapshot.nodes(ids) if ids else {})

    async def details(self, nodes: Sequence[Node]) -> _Details:
        """All that nodes have."""
        has = await self.names(nodes)
        self._spend(node.props for node in (*nodes, *has.containers.values()))
        for some in batched(nodes, BATCH):
            await self._own(some, has)
            await self._near(some, has)
        await self._fields(nodes, has)
        if self._as_of is not None:
            self.notes.append("Properties, tags, parameters, metrics and files are those of today.")
        return has

    async def _own(self, nodes: Sequence[Node], has: _Details) -> None:
        ids = [node.id for node in nodes]
        has.tags |= await self.snapshot.rows(ids, "tags")
        has.params |= await self.snapshot.rows([i.id for i in nodes if NODE_KINDS[i.kind].has_params], "params")
        has.metrics |= await self._metrics([node.id for node in nodes if NODE_KINDS[node.kind].has_metrics])
        self._spend([[has.tags.get(id), has.params.get(id), len(has.metrics.get(id, ())) * " " * 100] for id in ids])

    async def _metrics(self, ids: Sequence[str]) -> dict[str, list[Metric]]:
        if not ids or FIELDS["*.metrics"].opened_by(self._op.caller):
            return await self.snapshot.metrics(ids) if ids else {}
        self._note("Metrics are not here: to read them needs the scope metrics:read.")
        return {}

    async def _near(self, nodes: Sequence[Node], has: _Details) -> None:
        versions = [node.id for node in nodes if node.kind == "ModelVersion"]
        if self._as_of is None:
            for id, links in (await self._links(versions, Hop("ALIAS", "IN", "Model"))).items():
                has.aliases[id] = sorted(link.edge.discriminator for link in links)
            deployments = [node.id for node in nodes if node.kind == "Deployment"]
            for id, links in (await self._links(deployments, Hop("SERVES", "OUT"))).items():
                has.serves[id] = [link.edge for link in links]
        elif versions:
            self._note("Aliases are not here.")
        runs = [node.id for node in nodes if node.kind == "Run"]
        await self._homes(runs, has)
        parents = {home.id for run in runs for home in has.homes.get(run, ()) if home.kind == "Run"}
        await self._homes(sorted(parents - has.homes.keys()), has)
        ids = [
            *(node.id for node in nodes),
            *(c for c in dict.fromkeys(n.container for n in nodes) if c in has.containers),
        ]
        for id, links in (await self._links(ids, Hop("OWNED_BY", "OUT"))).items():
            has.owners[id] = [link.node for link in links]
        owning = [node.id for node in nodes if node.kind in OWNERS]
        for id, links in (await self._links(owning, Hop("HAS_ARTIFACT", "OUT", "Artifact"))).items():
            has.artifacts[id] = [link.node for link in links]
            has.files[id] = [filed for artifact in has.artifacts[id] for filed in await self._listed(artifact)]
            self._spend(artifact.props for artifact in has.artifacts[id])
        await self._evaluations(versions, has)

    async def _homes(self, runs: Sequence[str], has: _Details) -> None:
        """The pipelines, experiments and runs that runs are of."""
        for edge in ("RUN_OF", "PART_OF"):
            for id, links in (await self._links(runs, Hop(edge, "OUT"))).items():
                has.homes.setdefault(id, []).extend(link.node for link in links)

    async def _links(self, ids: Sequence[str], hop: Hop) -> dict[str, list[Link]]:
        found = await all_links(self.snapshot, ids, hop) if ids else {}
        return {id: links for id, links in found.items() if links}

    async def _listed(self, artifact: Node) -> Sequence[Filed]:
        """The files of an artifact that Lineal keeps."""
        if artifact.props.get("storage") != MANAGED or artifact.props.get("verification") == "FAILED":
            return ()
        try:
            page = await files(self._op, artifact, first=MAX_FILES - self._files)
        except Unavailable as error:
            self._note(f"Files are not listed: {error.message}.")
            return ()
        if page.has_next:
            self._note(f"Only the first {MAX_FILES:,} files are listed.")
        self._files += len(page.items)
        return page.items

    async def _evaluations(self, versions: Sequence[str], has: _Details) -> None:
        links = await self._links(versions, Hop("EVALUATES", "IN", "Evaluation"))
        ids = [link.node.id for each in links.values() for link in each]
        metrics = await self._metrics(ids)
        data = await self._links(ids, Hop("EVALUATED_ON", "OUT", "DatasetVersion"))
        homes = await self.names([link.node for each in data.values() for link in each])
        for version, each in links.items():
            has.evaluations[version] = [
                Evaluated(
                    link.node,
                    metrics.get(link.node.id, ()),
                    next((homes.containers[d.node.container].name for d in data.get(link.node.id, ())), None),
                )
                for link in each
            ]
            self._spend([len(metrics.get(link.node.id, ())) * " " * 100 for link in each])

    async def _fields(self, nodes: Sequence[Node], has: _Details) -> None:
        """The columns of data sets, in their order."""
        datasets = list(dict.fromkeys(node.container for node in nodes if node.kind == "DatasetVersion"))
        hop, order, paging = Hop("PART_OF", "IN", "Field"), Order("ordinal"), Paging(MAX_FIELDS)
        for some in batched(datasets, BATCH):
            for id, page in (await self.snapshot.neighbours(some, hop, order=order, paging=paging)).items():
                has.fields[id] = [link.node for link in page.items if not link.node.props.get("external")]
                self._spend([field.name, field.props] for field in has.fields[id])
                if page.has_next:
                    self._note(f"Only the first {MAX_FIELDS} fields of a data set are here.")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _spend(self, what: Iterable[object]) -> None:
        self._bytes += sum(len(orjson.dumps(each, default=dict)) for each in what)
        if self._bytes > MAX_GATHERED:
            msg = f"limit: what these nodes have is more than {MAX_GATHERED // 2**20} MiB; ask for fewer of them"
            raise LimitExceeded(msg, field="limit")
