"""Lineage and paths as text: a tree, and objects for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from graph.port import Closure, Direction, Edge, Node, Paths
from graph.text import iso

SEEN = "(see above)"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a tree: what leads up to the node, and the node. `note` says more about it."""

    prefix: str
    kind: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A walk with all that is needed to show it. `addresses` has one for each node and root."""

    roots: Sequence[Node]
    closure: Closure
    direction: Direction
    addresses: Mapping[str, str]

    def name(self, id: str) -> str:
        """What a node is called: its address, or its id where it has none."""
        return self.addresses.get(id, id)


def node_object(node: Node, address: str) -> dict[str, Any]:
    """A node for JSON."""
    return {"id": node.id, "kind": node.kind, "address": address, "name": node.name}


def edge_object(edge: Edge) -> dict[str, Any]:
    """An edge for JSON."""
    return {
        "kind": edge.kind,
        "source": edge.source,
        "target": edge.target,
        "discriminator": edge.discriminator or None,
        "since": iso(edge.since),
        "until": None if edge.until is None else iso(edge.until),
    }


def lineage_object(picture: Picture) -> dict[str, Any]:
    """A walk for JSON."""
    closure = picture.closure
    return {
        "direction": picture.direction.name,
        "complete": closure.complete,
        "roots": [node_object(n, picture.name(n.id)) for n in picture.roots],
        "nodes": [{**node_object(n, picture.name(n.id)), "distance": d} for n, d in closure.nodes],
        "edges": [edge_object(e) for e in closure.edges],
        "countsByKind": dict(sorted(closure.counts.items())),
        "frontier": list(closure.frontier),
    }


def paths_object(found: Paths, addresses: Mapping[str, str]) -> dict[str, Any]:
    """Paths for JSON. `count` is text: it may be larger than readers of JSON keep."""
    return {
        "complete": found.complete,
        "count": None if found.count is None else str(found.count),
        "nodes": [node_object(n, addresses[n.id]) for n in found.nodes.values()],
        "paths": [
            {
                "nodes": list(path),
                "hops": [[edge_object(e) for e in found.edges[pair]] for pair in pairwise(path)],
            }
            for path in found.paths
        ],
    }


def tree(picture: Picture) -> Iterator[Line]:
    """Each node once, below the first that it is reached from; where it comes again it says so.

    What only nodes that were not returned lead to stands below the root, with its distance.
    """
    onward = _onward(picture)
    kinds = {node.id: node.kind for node, _ in picture.closure.nodes}
    distance = {node.id: d for node, d in picture.closure.nodes}
    whole = {root.id for root in picture.roots} - kinds.keys()
    shown: set[str] = set()
    for root in picture.roots:
        if root.id in shown:
            continue
        yield Line("", root.kind, picture.name(root.id))
        shown.add(root.id)
        starts = onward.get(root.id, ())
        if root.id in whole:
            starts = [n.id for n, d in picture.closure.nodes if d == 0 and n.container == root.id]
        yield from _below(starts, onward, kinds, shown, picture)
    for node, d in picture.closure.nodes:
        if node.id not in shown:
            yield Line("· ", node.kind, picture.name(node.id), f"at distance {d}")
            shown.add(node.id)
            yield from _below([i for i in onward.get(node.id, ()) if distance[i] > d], onward, kinds, shown, picture)


def _below(
    starts: Iterable[str],
    onward: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    shown: set[str],
    picture: Picture,
) -> Iterator[Line]:
    stack = [("", list(starts))]
    while stack:
        prefix, rest = stack[-1]
        if not rest:
            stack.pop()
            continue
        id = rest.pop(0)
        branch, below = ("├─ ", "│  ") if rest else ("└─ ", "   ")
        again = id in shown
        more = onward.get(id, ())
        yield Line(prefix + branch, kinds[id], picture.name(id), SEEN if again and more else "")
        if not again:
            shown.add(id)
            stack.append((prefix + below, list(more)))


def _onward(picture: Picture) -> dict[str, list[str]]:
    """For each node those that come next in the walk's direction, nearest first, then by address."""
    distance = {node.id: d for node, d in picture.closure.nodes}
    following: dict[str, set[str]] = {}
    for edge in picture.closure.edges:
        ends = (edge.source, edge.target) if picture.direction is Direction.UPSTREAM else (edge.target, edge.source)
        following.setdefault(ends[0], set()).add(ends[1])
    return {id: sorted(ids, key=lambda i: (distance[i], picture.name(i))) for id, ids in following.items()}
