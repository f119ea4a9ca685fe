"""Closure and paths on SQLite: breadth-first by level, at most two statements for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import pairwise
from typing import Any

from graph import ontology
from graph.paths import enumerate_paths
from graph.port import Closure, Direction, Edge, Node, Paths, Walk
from graph.sqlite.reading import NODE, Reader, edge_of, node_of
from graph.sqlite.where import Compiler

CONTAINERS = tuple(k.name for k in ontology.NODE_KINDS.values() if k.parts)


@dataclass(slots=True)
class Met:
    """A node as walks know it."""

    id: str
    kind: str
    visible: bool


@dataclass(slots=True)
class Seen:
    """What several walks over the same edges have read so far, by integer key; each thing once for all of them.

    `steps` has the edges of each expanded node in the walk's direction, as (far key, kind, discriminator,
    since, until, props), without those to nodes that walks stop before; `stopped` are the nodes that had such.
    """

    met: dict[int, Met] = field(default_factory=dict)
    steps: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)

    def by_id(self, key: int) -> str:
        """What the order within a distance compares."""
        return self.met[key].id


@dataclass(slots=True)
class Walked:
    """One walk. `order` is by (distance, id); `level` are the nodes met last, not yet in it."""

    roots: list[int]
    level: list[int]
    distance: dict[int, int]
    order: list[int] = field(default_factory=list)
    asked: int = 0

    def take(self, seen: Seen, walk: Walk, limit: int | None) -> None:
        """Put the level in order; it stays to be gone on from, unless a limit ends the walk here."""
        room = walk.walk_limit - len(self.order)
        taken = self.level[:room]
        self.order += taken
        self.asked += sum(walk.kinds is None or seen.met[k].kind in walk.kinds for k in taken)
        if len(self.level) > room or (limit is not None and self.asked > limit):
            self.level = []

    def step(self, seen: Seen, walk: Walk, distance: int) -> None:
        """Go on to the nodes met for the first time; one more than there is room for tells that there are more."""
        fresh: dict[int, None] = {}
        for k in self.level:
            for far, *_ in seen.steps[k]:
                if far not in self.distance:
                    self.distance[far] = distance
                    fresh[far] = None
        room = walk.walk_limit - len(self.order)
        self.level = nsmallest(room + 1, fresh, seen.by_id) if len(fresh) > room else sorted(fresh, key=seen.by_id)

    def frontier(self, seen: Seen) -> list[str]:
        """The walked nodes that lead to unwalked ones, and the roots that were not walked."""
        inside = set(self.order)
        onward = {k for k in self.order if k in seen.stopped or any(step[0] not in inside for step in seen.steps[k])}
        return sorted(seen.met[k].id for k in onward | (set(self.roots) - inside))


def closures(reader: Reader, groups: Sequence[Sequence[str]], walk: Walk) -> list[Closure]:
    """See Snapshot.closures."""
    seen, walks = _walk(reader, groups, walk, walk.limit)
    found = []
    for walked in walks:
        asked = [k for k in walked.order if walk.kinds is None or seen.met[k].kind in walk.kinds]
        if len(asked) > walk.limit:
            asked = asked[: walk.limit]
            del walked.order[walked.order.index(asked[-1]) + 1 :]
        found.append(asked)
    _expand(reader, seen, (k for walked in walks for k in walked.order), walk)
    nodes = _nodes(reader, seen, list(dict.fromkeys(k for asked in found for k in asked)))
    return [
        Closure(
            [(nodes[k], walked.distance[k]) for k in asked],
            _edges_between(seen, asked, walk.direction),
            walked.frontier(seen),
            Counter(seen.met[k].kind for k in walked.order),
        )
        for walked, asked in zip(walks, found, strict=True)
    ]


def paths(reader: Reader, sources: Sequence[str], targets: Sequence[str], walk: Walk) -> Paths:
    """See Snapshot.paths."""
    ends = {k for _, k, *_ in _roots(reader, targets, walk)}
    seen, (walked,) = _walk(reader, [sources], walk, None)
    _expand(reader, seen, walked.order, walk)
    complete = not walked.frontier(seen)
    between = _leading_to(seen, set(walked.order), ends)
    ids = {k: seen.met[k].id for k in between}
    successors = {ids[k]: {ids[step[0]] for step in seen.steps[k] if step[0] in between} for k in between}
    starts = [ids[k] for k in walked.roots if k in between]
    found, count = enumerate_paths(successors, starts, [ids[k] for k in ends & between], walk.limit)
    used = {id for path in found for id in path}
    shown = [k for k in between if ids[k] in used]
    nodes = _nodes(reader, seen, shown)
    hops: dict[tuple[str, str], list[Edge]] = {}
    follows = {pair for path in found for pair in pairwise(path)}
    for edge in _edges_between(seen, shown, walk.direction):
        pair = (edge.source, edge.target) if walk.direction is Direction.UPSTREAM else (edge.target, edge.source)
        if pair in follows:
            hops.setdefault(pair, []).append(edge)
    told = count if complete else None
    return Paths(found, {ids[k]: nodes[k] for k in shown}, hops, told, complete, len(walked.order))


def _leading_to(seen: Seen, inside: set[int], ends: set[int]) -> set[int]:
    """Those of the nodes inside that lead to one of the ends over nodes inside."""
    before: dict[int, set[int]] = {}
    for k in inside:
        for far, *_ in seen.steps[k]:
            if far in inside:
                before.setdefault(far, set()).add(k)
    between, todo = ends & inside, list(ends & inside)
    while todo:
        for k in before.get(todo.pop(), set()) - between:
            between.add(k)
            todo.append(k)
    return between


def _walk(reader: Reader, groups: Sequence[Sequence[str]], walk: Walk, limit: int | None) -> tuple[Seen, list[Walked]]:
    """Walks side by side, a level of all at a time: all within depth and walk_limit; with a limit, no further
    than the level in which it is passed.
    """
    seen = Seen()
    parts: dict[str, list[int]] = {}
    for given, k, id, kind, visible in _roots(reader, list(dict.fromkeys(id for ids in groups for id in ids)), walk):
        seen.met[k] = Met(id, kind, bool(visible))
        parts.setdefault(given, []).append(k)
    walks = []
    for ids in groups:
        roots = sorted({k for id in ids for k in parts.get(id, ())}, key=seen.by_id)
        walks.append(Walked(roots, [k for k in roots if seen.met[k].kind not in CONTAINERS], dict.fromkeys(roots, 0)))
    for distance in range(walk.depth + 1):
        going = [walked for walked in walks if walked.level]
        for walked in going:
            walked.take(seen, walk, limit)
        going = [walked for walked in going if walked.level]
        if not going or distance == walk.depth:
            break
        _expand(reader, seen, (k for walked in going for k in walked.level), walk)
        for walked in going:
            walked.step(seen, walk, distance + 1)
    return seen, walks


def _roots(reader: Reader, ids: Sequence[str], walk: Walk) -> list[Any]:
    """(given id, key, id, kind, visible) of the roots, containers replaced by their parts.

    A container stays besides, as a root that is not walked, when it has parts that walks stop before.
    """
    sql = Compiler(reader.view)
    array = sql.array(dict.fromkeys(ids))
    containers = ", ".join(f"'{name}'" for name in CONTAINERS)
    edges = ", ".join(f"'{name}'" for name in ontology.CONTAINING_EDGES)
    there = f"{sql.exists('n', walk.as_of)} AND {sql.visible('n')}"
    part = f"CASE WHEN {sql.stops('p')} THEN n.k ELSE p.k END"
    return reader.all(
        "closure",
        f"SELECT n.id, n.k, n.id, n.kind, 1 FROM {array} i CROSS JOIN node n ON n.id = i.value "
        f"WHERE n.kind NOT IN ({containers}) AND {there} UNION "
        f"SELECT n.id, r.k, r.id, r.kind, {sql.visible('r')} FROM {array} i CROSS JOIN node n ON n.id = i.value "
        f"CROSS JOIN edge e ON e.dst = n.k AND e.kind IN ({edges}) CROSS JOIN node p ON p.k = e.src "
        f"CROSS JOIN node r ON r.k = {part} WHERE n.kind IN ({containers}) AND {there} "
        f"AND {sql.live('e', walk.as_of)} AND {sql.exists('p', walk.as_of)}",
        sql.params,
    )


def _expand(reader: Reader, seen: Seen, keys: Iterable[int], walk: Walk) -> None:
    """Take the edges of those nodes in that were not expanded before, and the nodes at their far ends."""
    level = [k for k in dict.fromkeys(keys) if k not in seen.steps]
    if not level:
        return
    for k in level:
        seen.steps[k] = []
    near, far = ("src", "dst") if walk.direction is Direction.UPSTREAM else ("dst", "src")
    kinds = ", ".join(f"'{ontology.EDGE_KINDS[name].name}'" for name in walk.edges or ontology.LINEAGE_EDGES)
    sql = Compiler(reader.view)
    rows = reader.all(
        "closure",
        f"SELECT e.{near}, e.{far}, e.kind, e.disc, e.since, e.until, e.props, n.id, n.kind, {sql.visible('n')}, "
        f"{sql.stops('n')} "
        f"FROM {sql.array(level)} i CROSS JOIN edge e ON e.{near} = i.value AND e.kind IN ({kinds}) "
        f"CROSS JOIN node n ON n.k = e.{far} WHERE {sql.live('e', walk.as_of)}",
        sql.params,
    )
    for row in rows:
        if row[10]:
            seen.stopped.add(row[0])
            continue
        seen.steps[row[0]].append(row[1:7])
        if row[1] not in seen.met:
            seen.met[row[1]] = Met(row[7], row[8], bool(row[9]))


def _nodes(reader: Reader, seen: Seen, wanted: Sequence[int]) -> dict[int, Node]:
    """Whole nodes of the visible ones, and what may be known of the others."""
    hidden = {k: Node(m.id, m.kind, visible=False) for k in wanted if not (m := seen.met[k]).visible}
    sql = Compiler(reader.view)
    shown = sql.array([k for k in wanted if k not in hidden])
    text = f"SELECT n.k, {NODE} FROM {shown} i CROSS JOIN node n ON n.k = i.value"
    return hidden | {k: node_of(row) for k, *row in reader.all("closure", text, sql.params)}


def _edges_between(seen: Seen, wanted: Sequence[int], direction: Direction) -> list[Edge]:
    """The edges met between two of these nodes, by identity."""
    inside = set(wanted)
    edges = []
    for near in wanted:
        for far, kind, disc, since, until, props in seen.steps[near]:
            if far in inside:
                source, target = (near, far) if direction is Direction.UPSTREAM else (far, near)
                edges.append(edge_of((kind, seen.met[source].id, seen.met[target].id, disc, since, until, props)))
    return sorted(edges, key=lambda e: (e.source, e.kind, e.target, e.discriminator, e.since))
