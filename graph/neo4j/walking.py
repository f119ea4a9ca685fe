"""Closure and paths, each one statement: breadth-first inside the database, linear in the edges seen.

The walk keeps to one shape, `MATCH p = (s)-[rs:…*0..N]->(m) WITH m, min(length(p))`, which Neo4j plans as a
pruning breadth-first expansion. Roots go in one at a time: with several by IN the plan lacks a Distinct
and the answer is wrong (seen on 5.26.12).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from graph import ontology
from graph.neo4j.codec import EDGE_PROPS, edge_of, identity
from graph.neo4j.where import Compiler, exists, live
from graph.paths import enumerate_paths
from graph.port import MAX_DEPTH, Closure, Direction, Edge, Node, Paths, Walk
from lineal.errors import InvalidArgument

CONTAINERS = [kind.name for kind in ontology.NODE_KINDS.values() if kind.parts]
CONTAINING = "|".join(ontology.CONTAINING_EDGES)
WALKED_EDGE = f"[type(r), y.id, q.disc, q.since, q.until{''.join(f', q.{name}' for name in EDGE_PROPS)}]"
LIVE_MAP = "q.since <= at AND q.until > at"

Believe = Callable[[Mapping[str, Any]], Node]


def closures_text(q: Compiler, groups: Sequence[Sequence[str]], walk: Walk) -> str:
    """The closures of groups of roots, each in a subquery of its own: [[place, closure], …]."""
    given = q.add([list(dict.fromkeys(roots)) for roots in groups])
    return f"""
        UNWIND range(0, size({given}) - 1) AS place WITH at, place, {given}[place] AS given
        CALL (given, at) {{ {_closure_text(q, walk)} }}
        RETURN collect([place, result]) AS result"""


def _closure_text(q: Compiler, walk: Walk) -> str:
    """The closure of the roots `given`: [nodes, edges and exits of each walked node, unwalked roots, counts]."""
    most = min(walk.limit, walk.walk_limit) if walk.kinds is None else walk.walk_limit
    if walk.kinds is None:
        cut = "WITH at, roots, s AS shown, [x IN s | x[0]] AS walked, [x IN s | x[0]] AS inside"
        counts = "RETURN null AS counts"
    else:
        limit = q.add(walk.limit)
        cut = f"""
            WITH at, roots, s, [x IN s WHERE x[0].kind IN {q.add(sorted(walk.kinds))}] AS asked
            WITH at, roots, s, asked[0..{limit}] AS shown, size(asked) > {limit} AS over
            WITH at, roots, s, shown, [x IN shown | x[0]] AS inside,
                CASE WHEN over THEN shown[-1] END AS last
            WITH at, roots, shown, inside, [
                x IN s WHERE last IS NULL OR x[1] < last[1] OR (x[1] = last[1] AND x[0].id <= last[0].id) | x[0]
            ] AS walked"""
        counts = "UNWIND walked AS x WITH x.kind AS kind, count(*) AS many RETURN collect([kind, many]) AS counts"
    return f"""
        {_roots(q, "given", "roots")}
        {_walk(q, walk, "roots", most)}
        {cut}
        {_nodes(q)}
        CALL (walked, inside, at) {{
            UNWIND walked AS x MATCH {_step(walk)}
            WITH walked, inside, at, x, r, y, properties(r) AS q WHERE {LIVE_MAP}
            WITH x, CASE WHEN x IN inside AND y IN inside THEN {WALKED_EDGE} END AS edge, NOT y IN walked AS leaves
            WITH x, collect(edge) AS edges, count(CASE WHEN leaves THEN 1 END) AS exits
            RETURN collect([x.id, edges, exits > 0]) AS steps
        }}
        CALL (walked) {{ {counts} }}
        RETURN [nodes, steps, [x IN roots WHERE NOT x IN walked | x.id], counts] AS result"""


def closure_of(result: Sequence[Any], walk: Walk, moment: int, believe: Believe) -> Closure:
    """What the closure statement found."""
    rows, steps, unwalked, counts = result
    nodes = sorted(((_node(row, believe), distance) for distance, row in rows), key=lambda item: (item[1], item[0].id))
    edges = _edges(steps, walk, moment)
    frontier = {id for id, _, exits in steps if exits}
    return Closure(
        nodes,
        edges,
        sorted(frontier.union(unwalked)),
        dict(counts) if counts is not None else Counter(node.kind for node, _ in nodes),
    )


def paths_text(q: Compiler, sources: Sequence[str], targets: Sequence[str], walk: Walk) -> str:
    """The paths statement: [nodes that lie between, their edges, starts, ends, whether the walk was cut off]."""
    back = _arrow(walk, backwards=True, depth=None)
    return f"""
        WITH at, {q.add(list(dict.fromkeys(sources)))} AS given
        {_roots(q, "given", "roots")}
        {_walk(q, walk, "roots", walk.walk_limit)}
        WITH at, roots, [x IN s | x[0]] AS walked, {q.add(list(dict.fromkeys(targets)))} AS given
        {_roots(q, "given", "ends", "roots, walked, ")}
        CALL (at, walked, ends) {{
            UNWIND ends AS e
            WITH at, walked, e WHERE e IN walked
            CALL (at, walked, e) {{
                MATCH p = (e){back}(m) WHERE all(r IN rs WHERE {live("r")}) AND all(n IN nodes(p) WHERE n IN walked)
                WITH m, min(length(p)) AS d RETURN m
            }}
            RETURN collect(DISTINCT m) AS inside
        }}
        WITH at, roots, walked, ends, inside, [x IN inside | [x, 0]] AS shown
        {_nodes(q)}
        CALL (inside, at) {{
            UNWIND inside AS x MATCH {_step(walk)}
            WITH inside, at, x, r, y, properties(r) AS q WHERE {LIVE_MAP} AND y IN inside
            WITH x, collect({WALKED_EDGE}) AS edges RETURN collect([x.id, edges, false]) AS steps
        }}
        RETURN [
            nodes, steps, [x IN roots WHERE x IN inside | x.id], [x IN ends WHERE x IN inside | x.id],
            any(x IN roots WHERE NOT x IN walked)
                OR EXISTS {{ UNWIND walked AS x MATCH {_step(walk)} WHERE {live("r")} AND NOT y IN walked RETURN x }},
            size(walked)
        ] AS result"""


def paths_of(result: Sequence[Any], walk: Walk, moment: int, believe: Believe) -> Paths:
    """What the paths statement found, as paths."""
    rows, steps, starts, ends, cut, walked = result
    nodes = {node.id: node for node in (_node(row, believe) for _, row in rows)}
    hops: dict[tuple[str, str], list[Edge]] = {}
    for edge in _edges(steps, walk, moment):
        pair = (edge.source, edge.target) if walk.direction is Direction.UPSTREAM else (edge.target, edge.source)
        hops.setdefault(pair, []).append(edge)
    successors: dict[str, set[str]] = {id: set() for id in nodes}
    for near, far in hops:
        successors[near].add(far)
    found, count = enumerate_paths(successors, starts, ends, walk.limit)
    follows = {pair for path in found for pair in pairwise(path)}
    used = sorted({id for path in found for id in path})
    edges = {pair: hops[pair] for pair in sorted(follows)}
    return Paths(found, {id: nodes[id] for id in used}, edges, None if cut else count, not cut, walked)


def _roots(q: Compiler, given: str, name: str, carried: str = "") -> str:
    """Bind a list of the root nodes of these ids, containers replaced by their parts, each once.

    A container stays besides, as a root that is not walked, when it has parts that walks stop before.
    """
    containers = q.add(CONTAINERS)
    stops = q.stops("n")
    part = f"CASE WHEN {stops} THEN c ELSE n END AS n" if stops else "n"
    return f"""
        CALL (at, {given}) {{
            UNWIND {given} AS i
            CALL (i, at) {{
                MATCH (n:Entity {{id: i}}) WHERE NOT n.kind IN {containers} AND {q.shown("n")} RETURN n
                UNION
                MATCH (c:Entity {{id: i}})<-[r:{CONTAINING}]-(n:Entity)
                WHERE c.kind IN {containers} AND {q.shown("c")} AND {live("r")} AND {exists("n")} RETURN {part}
            }}
            RETURN collect(DISTINCT n) AS {name}
        }}
        WITH at, {carried}{name}"""


def _walk(q: Compiler, walk: Walk, roots: str, most: int) -> str:
    """Bind `s`, the first nodes that the roots reach, as [node, distance] in order."""
    limit = q.add(most)
    stops = q.stops("x")
    walked = f" WITH at, root WHERE NOT root.kind IN {q.add(CONTAINERS)}" if stops else ""
    through = f" AND all(x IN nodes(p) WHERE NOT {stops})" if stops else ""
    return f"""
        CALL (at, {roots}) {{
            UNWIND {roots} AS root{walked}
            CALL (at, root) {{
                MATCH p = (root){_arrow(walk, backwards=False, depth=walk.depth)}(m)
                WHERE all(r IN rs WHERE {live("r")}){through}
                WITH m, min(length(p)) AS d ORDER BY d, m.id LIMIT {limit}
                RETURN m, d
            }}
            WITH m, min(d) AS d ORDER BY d, m.id LIMIT {limit}
            RETURN collect([m, d]) AS s
        }}"""


def _arrow(walk: Walk, *, backwards: bool, depth: int | None) -> str:
    """Many steps of the walk as a pattern. Raises InvalidArgument: a depth that is no small whole number."""
    if depth is not None and (type(depth) is not int or not 0 <= depth <= MAX_DEPTH):
        raise InvalidArgument(f"depth: must be a whole number from 0 to {MAX_DEPTH}, not {depth!r}", field="depth")
    steps = f"[rs:{_types(walk)}*0..{'' if depth is None else depth}]"
    return f"-{steps}->" if (walk.direction is Direction.UPSTREAM) != backwards else f"<-{steps}-"


def _step(walk: Walk) -> str:
    """One step of the walk from `x` over `r` to `y`."""
    step = f"[r:{_types(walk)}]"
    return f"(x)-{step}->(y)" if walk.direction is Direction.UPSTREAM else f"(x)<-{step}-(y)"


def _types(walk: Walk) -> str:
    """The walked kinds as types, in the ontology's order, so that plans are shared. Raises KeyError: no such kind."""
    asked = {ontology.EDGE_KINDS[name].name for name in walk.edges or ontology.LINEAGE_EDGES}
    return "|".join(name for name in ontology.EDGE_KINDS if name in asked)


def _nodes(q: Compiler) -> str:
    """Bind `nodes`: the `shown` as [distance, properties], hidden nodes with no more than id and kind.

    Subqueries that take in what they need, as all here do, keep the long lists out of their groups; in a
    COLLECT {} every group would have them as part of its key.
    """
    visible = q.visible("p")
    node = "p {.*, search: null}"
    if visible != "true":
        node = f"CASE WHEN {visible} THEN {node} ELSE p {{.id, .kind}} END"
    return f"""
        CALL (shown) {{
            UNWIND shown AS x WITH x[1] AS d, x[0] AS n WITH d, properties(n) AS p RETURN collect([d, {node}]) AS nodes
        }}"""


def _node(row: Mapping[str, Any], believe: Believe) -> Node:
    return believe(row) if "workspace" in row else Node(row["id"], row["kind"], visible=False)


def _edges(steps: Sequence[Any], walk: Walk, moment: int) -> list[Edge]:
    incoming = walk.direction is Direction.DOWNSTREAM
    edges = (edge_of(id, row, moment=moment, incoming=incoming) for id, rows, _ in steps for row in rows)
    return sorted(edges, key=identity)
