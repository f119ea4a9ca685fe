"""Closure and paths on SQLite: breadth-first by level, at most two statements for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
    """A node as the walk knows it."""

    id: str
    kind: str
    visible: bool
    distance: int


@dataclass(slots=True)
class Walked:
    """What a walk went through, by integer key.

    `order` is by (distance, id). `steps` has the edges of each expanded node in the walk's direction,
    as (far key, kind, discriminator, since, until, props).
    """

    met: dict[int, Met] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    steps: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)

    def frontier(self) -> list[str]:
        """The walked nodes that lead to unwalked ones, and the roots that were not walked."""
        inside = set(self.order)
        onward = {k for k in self.order if any(step[0] not in inside for step in self.steps.get(k, ()))}
        return sorted(self.met[k].id for k in onward | (set(self.roots) - inside))


def closure(reader: Reader, roots: Sequence[str], walk: Walk) -> Closure:
    """See Snapshot.closure."""
    walked = _walk(reader, roots, walk, walk.limit)
    wanted = [k for k in walked.order if walk.kinds is None or walked.met[k].kind in walk.kinds]
    if len(wanted) > walk.limit:
        wanted = wanted[: walk.limit]
        del walked.order[walked.order.index(wanted[-1]) + 1 :]
    _expand(reader, walked, [k for k in walked.order if k not in walked.steps], walk)
    nodes = _nodes(reader, walked, wanted)
    return Closure(
        [(nodes[k], walked.met[k].distance) for k in wanted],
        _edges_between(walked, wanted, walk.direction),
        walked.frontier(),
        Counter(walked.met[k].kind for k in walked.order),
    )


def paths(reader: Reader, sources: Sequence[str], targets: Sequence[str], walk: Walk) -> Paths:
    """See Snapshot.paths."""
    ends = {k for k, *_ in _roots(reader, targets, walk)}
    walked = _walk(reader, sources, walk, None)
    _expand(reader, walked, [k for k in walked.order if k not in walked.steps], walk)
    complete = not walked.frontier()
    inside = set(walked.order)
    before: dict[int, set[int]] = {}
    for k, steps in walked.steps.items():
        for far, *_ in steps:
            if far in inside:
                before.setdefault(far, set()).add(k)
    between, todo = set(ends & inside), list(ends & inside)
    while todo:
        for k in before.get(todo.pop(), ()):
            if k not in between:
                between.add(k)
                todo.append(k)
    ids = {k: walked.met[k].id for k in between}
    successors = {ids[k]: {ids[step[0]] for step in walked.steps[k] if step[0] in between} for k in between}
    starts = [ids[k] for k in walked.roots if k in between]
    found, count = enumerate_paths(successors, starts, [ids[k] for k in ends & between], walk.limit)
    used = {id for path in found for id in path}
    shown = [k for k in between if ids[k] in used]
    nodes = _nodes(reader, walked, shown)
    hops: dict[tuple[str, str], list[Edge]] = {}
    follows = {pair for path in found for pair in pairwise(path)}
    for edge in _edges_between(walked, shown, walk.direction):
        pair = (edge.source, edge.target) if walk.direction is Direction.UPSTREAM else (edge.target, edge.source)
        if pair in follows:
            hops.setdefault(pair, []).append(edge)
    return Paths(found, {ids[k]: nodes[k] for k in shown}, hops, count if complete else None, complete)


def _walk(reader: Reader, roots: Sequence[str], walk: Walk, limit: int | None) -> Walked:
    """All within depth and walk_limit; with a limit, no further than the level in which it is passed."""
    walked = Walked()
    matched = 0
    for k, id, kind, visible in _roots(reader, roots, walk):
        walked.met[k] = Met(id, kind, bool(visible), 0)
    walked.roots = sorted(walked.met, key=lambda k: walked.met[k].id)
    level = list(walked.roots)
    for distance in range(walk.depth + 1):
        room = walk.walk_limit - len(walked.order)
        cut = len(level) > room
        walked.order += level[:room]
        matched += sum(walk.kinds is None or walked.met[k].kind in walk.kinds for k in level[:room])
        if cut or distance == walk.depth or (limit is not None and matched > limit):
            break
        fresh = _expand(reader, walked, level, walk)
        room -= len(level)
        level = (
            nsmallest(room + 1, fresh, key=lambda k: walked.met[k].id)
            if len(fresh) > room
            else sorted(fresh, key=lambda k: walked.met[k].id)
        )
        if not level:
            break
    return walked


def _roots(reader: Reader, ids: Sequence[str], walk: Walk) -> list[Any]:
    """(key, id, kind, visible) of the roots, containers replaced by their parts, each once."""
    sql = Compiler(reader.view)
    array = sql.array(dict.fromkeys(ids))
    containers = ", ".join(f"'{name}'" for name in CONTAINERS)
    edges = ", ".join(f"'{name}'" for name in ontology.CONTAINING_EDGES)
    there = f"{sql.exists('n', walk.as_of)} AND {sql.visible('n')}"
    return reader.all(
        "closure",
        f"SELECT n.k, n.id, n.kind, 1 FROM {array} i CROSS JOIN node n ON n.id = i.value "
        f"WHERE n.kind NOT IN ({containers}) AND {there} UNION "
        f"SELECT p.k, p.id, p.kind, {sql.visible('p')} FROM {array} i CROSS JOIN node n ON n.id = i.value "
        f"CROSS JOIN edge e ON e.dst = n.k AND e.kind IN ({edges}) CROSS JOIN node p ON p.k = e.src "
        f"WHERE n.kind IN ({containers}) AND {there} AND {sql.live('e', walk.as_of)} AND {sql.exists('p', walk.as_of)}",
        sql.params,
    )


def _expand(reader: Reader, walked: Walked, level: Sequence[int], walk: Walk) -> list[int]:
    """Take the edges of these nodes in; returns the nodes met for the first time."""
    if not level:
        return []
    for k in level:
        walked.steps[k] = []
    near, far = ("src", "dst") if walk.direction is Direction.UPSTREAM else ("dst", "src")
    kinds = ", ".join(f"'{ontology.EDGE_KINDS[name].name}'" for name in walk.edges or ontology.LINEAGE_EDGES)
    sql = Compiler(reader.view)
    rows = reader.all(
        "closure",
        f"SELECT e.{near}, e.{far}, e.kind, e.disc, e.since, e.until, e.props, n.id, n.kind, {sql.visible('n')} "
        f"FROM {sql.array(level)} i CROSS JOIN edge e ON e.{near} = i.value AND e.kind IN ({kinds}) "
        f"CROSS JOIN node n ON n.k = e.{far} WHERE {sql.live('e', walk.as_of)}",
        sql.params,
    )
    distance = walked.met[level[0]].distance + 1
    met, steps, fresh = walked.met, walked.steps, []
    for row in rows:
        there = row[1]
        steps[row[0]].append(row[1:7])
        if there not in met:
            met[there] = Met(row[7], row[8], bool(row[9]), distance)
            fresh.append(there)
    return fresh


def _nodes(reader: Reader, walked: Walked, wanted: Sequence[int]) -> dict[int, Node]:
    """Whole nodes of the visible ones, and what may be known of the others."""
    hidden = {k: Node(m.id, m.kind, visible=False) for k in wanted if not (m := walked.met[k]).visible}
    sql = Compiler(reader.view)
    shown = sql.array([k for k in wanted if k not in hidden])
    text = f"SELECT n.k, {NODE} FROM {shown} i CROSS JOIN node n ON n.k = i.value"
    return hidden | {k: node_of(row) for k, *row in reader.all("closure", text, sql.params)}


def _edges_between(walked: Walked, wanted: Sequence[int], direction: Direction) -> list[Edge]:
    """The edges met between two of these nodes, by identity."""
    inside = set(wanted)
    edges = []
    for near in wanted:
        for far, kind, disc, since, until, props in walked.steps[near]:
            if far in inside:
                source, target = (near, far) if direction is Direction.UPSTREAM else (far, near)
                edges.append(edge_of((kind, walked.met[source].id, walked.met[target].id, disc, since, until, props)))
    return sorted(edges, key=lambda e: (e.source, e.kind, e.target, e.discriminator, e.since))
