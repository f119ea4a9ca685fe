"""What versions came from, and what came of something, as widely as gates look: each way is the other's mirror.

Lineage has what certainly went into a version. Here what may have counts too: what a run read of which a run is a part
that made something, and all versions of a data set of which nothing but a field is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from graph import ontology
from graph.port import (
    EVERYTHING,
    MAX_DEPTH,
    MAX_LINEAGE,
    MAX_ROOTS,
    MAX_WALK,
    Closure,
    Direction,
    Hop,
    Node,
    Snapshot,
    View,
    Walk,
    batched,
)
from resolvers.reading import all_links

EDGES: Final = (*ontology.LINEAGE_EDGES, ontology.PART_OF.name)
"""What is walked. A run is part of a run; of whatever else is a part of something nothing came but that itself."""

UPSTREAM: Final = Walk(
    Direction.UPSTREAM,
    depth=MAX_DEPTH,
    edges=EDGES,
    kinds=frozenset({"ModelVersion", "DatasetVersion", "Field"}),
    limit=MAX_LINEAGE,
)
DOWNSTREAM: Final = replace(
    UPSTREAM, direction=Direction.DOWNSTREAM, kinds=frozenset({"ModelVersion", "DatasetVersion", "Deployment"})
)
_BATCH: Final = 1_000
_VERSIONS: Final = Hop("VERSION_OF", "IN", "DatasetVersion")
_DATASET: Final = Hop("VERSION_OF", "OUT", "Dataset")
_FIELDS: Final = Hop("PART_OF", "IN", "Field")


class Ancestors(NamedTuple):
    """What a version came from, itself included, and whether that is all of it."""

    nodes: Sequence[Node]
    complete: bool

    def has(self, thing: Node) -> bool:
        """Whether this is among them, or a version or a field of it."""
        return any(thing.id in {node.id, node.container} for node in self.nodes)


async def ancestors(whole: Snapshot, versions: Collection[str]) -> dict[str, Ancestors]:
    """The versions and what each came from: versions of models and data sets, and fields. `whole` sees everything."""
    found = dict[str, Ancestors]()
    roots = {id: {id} for id in versions}
    asked: dict[str, set[str]] = {id: set() for id in versions}
    going = sorted(roots)
    while going:
        for some in batched(going, MAX_ROOTS):
            closures = await whole.closures([sorted(roots[id]) for id in some], UPSTREAM)
            for id, closure in zip(some, closures, strict=True):
                found[id] = Ancestors([node for node, _ in closure.nodes], closure.complete)
        unknown = {id: homes for id in going if (homes := _unknown(found[id].nodes) - asked[id])}
        parts = await _links(whole, set().union(*unknown.values()), _VERSIONS)
        for id, homes in unknown.items():
            asked[id] |= homes
            roots[id] |= {node.id for home in homes for node in parts.get(home, ())}
        going = sorted(unknown)
    return found


async def descendants(snapshot: Snapshot, of: Node, *, walk_limit: int = MAX_WALK) -> Closure:
    """All versions that have this among their ancestors, and the deployments that serve them.

    What the view hides is walked through, and not shown, as in lineage; what an opaque workspace hides is not walked.
    """
    view, whole = snapshot.view, snapshot.seeing(EVERYTHING)
    walk = replace(DOWNSTREAM, walk_limit=walk_limit)
    closure = await snapshot.closure([of.id], walk)
    certain = {node.id for node, _ in closure.nodes}
    fields, asked = dict[str, Node](), set[str]()
    while met := {node.id for node, _ in closure.nodes if node.kind == "DatasetVersion"} - asked:
        asked |= met
        homes = {node.id for nodes in (await _links(whole, met, _DATASET)).values() for node in nodes}
        # A data set stands for its fields too, where it is what came first.
        homes.discard(of.id)
        found = {node.id: node for nodes in (await _links(whole, homes, _FIELDS)).values() for node in nodes}
        if found.keys() <= fields.keys():
            break
        fields |= found
        closure = await snapshot.seeing(_walking_from(view, fields.values())).closure([of.id, *fields], walk)
    return _shown(await _with_ancestor(whole, of, closure, certain), view)


async def _with_ancestor(whole: Snapshot, of: Node, closure: Closure, certain: set[str]) -> Closure:
    """What was found without the versions of which it is known that they used other versions of the data.

    Which ones these are depends on all that each came from, so that is looked at, of those that are not certain.
    """
    versions = {node.id for node, _ in closure.nodes if node.kind == "ModelVersion"}
    came_from = await ancestors(whole, versions - certain)
    kept = versions - {id for id, each in came_from.items() if each.complete and not each.has(of)}
    kept |= {edge.source for edge in closure.edges if edge.kind == ontology.SERVES.name and edge.target in kept}
    return replace(
        closure,
        nodes=[each for each in closure.nodes if each[0].id in kept],
        edges=[edge for edge in closure.edges if edge.source in kept and edge.target in kept],
    )


def _unknown(nodes: Iterable[Node]) -> set[str]:
    """The ids of the data sets of which there are fields among these, and no version."""
    homes: dict[str, set[str]] = {"Field": set(), "DatasetVersion": set()}
    for node in nodes:
        if node.kind in homes:
            homes[node.kind].add(node.container)
    return homes["Field"] - homes["DatasetVersion"]


def _walking_from(view: View, roots: Iterable[Node]) -> View:
    """The view with the workspaces of these, for a walk to begin there that would only pass through else."""
    if view.workspaces is None:
        return view
    return replace(view, workspaces=view.workspaces | ({node.workspace for node in roots} - view.opaque))


def _shown(closure: Closure, view: View) -> Closure:
    """What was found, as the view shows it."""
    return replace(closure, nodes=[(as_seen(node, view), distance) for node, distance in closure.nodes])


def as_seen(node: Node, view: View) -> Node:
    """The node as lineage shows it: what the view hides is only there."""
    return node if not node.visible or view.shows(node) else Node(node.id, node.kind, visible=False)


async def _links(whole: Snapshot, ids: Collection[str], hop: Hop) -> dict[str, list[Node]]:
    """What each of these leads to, batch by batch."""
    found = dict[str, list[Node]]()
    for some in batched(sorted(ids), _BATCH):
        links = await all_links(whole, some, hop)
        found |= {id: [link.node for link in each] for id, each in links.items()}
    return found
