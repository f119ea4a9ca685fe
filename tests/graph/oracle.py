"""Lineage as networkx tells it: the definition of port.Closure over plain dictionaries.

Nothing of the product is used here. A node is {id, kind}, an edge {kind, source, target,
discriminator, since, until}; times are half-open, and an `until` of None is never.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import networkx as nx

PARTS = {"Model": {"ModelVersion"}, "Dataset": {"DatasetVersion", "Field"}, "Experiment": {"Run"}, "Pipeline": {"Run"}}
CONTAINING = {"VERSION_OF", "PART_OF", "RUN_OF"}


def live(edge: dict[str, Any], at: int) -> bool:
    return bool(edge["since"] <= at and (edge["until"] is None or at < edge["until"]))


def walkable(edges: list[dict[str, Any]], kinds: set[str], at: int, downstream: bool) -> nx.DiGraph[str]:
    ends = [(e["source"], e["target"]) for e in edges if e["kind"] in kinds and live(e, at)]
    return nx.DiGraph([(b, a) if downstream else (a, b) for a, b in ends])


def expand(kind: dict[str, str], edges: list[dict[str, Any]], roots: list[str], at: int) -> set[str]:
    found = set()
    for root in (r for r in roots if r in kind):
        inner = {e["source"] for e in edges if e["kind"] in CONTAINING and e["target"] == root and live(e, at)}
        found |= {p for p in inner if kind[p] in PARTS[kind[root]]} if kind[root] in PARTS else {root}
    return found


def closure(
    nodes: list[dict[str, Any]],
    edges: list[dict[str, Any]],
    roots: list[str],
    *,
    downstream: bool,
    depth: int,
    kinds: set[str],
    returned: set[str] | None,
    limit: int,
    walk_limit: int,
    at: int,
) -> dict[str, Any]:
    kind = {n["id"]: n["kind"] for n in nodes}
    starts = expand(kind, edges, roots, at)
    graph = walkable(edges, kinds, at, downstream)
    graph.add_nodes_from(starts)
    distance = nx.multi_source_dijkstra_path_length(graph, starts, cutoff=depth) if starts else {}
    reached = sorted(distance, key=lambda node: (distance[node], node))[:walk_limit]
    asked = [id for id in reached if returned is None or kind[id] in returned]
    shown = asked[:limit]
    walked = reached[: reached.index(shown[-1]) + 1] if len(asked) > limit else reached
    beyond = {id for id in walked if set(graph[id]) - set(walked)} | (starts - set(walked))
    between = [e for e in edges if e["kind"] in kinds and live(e, at) and {e["source"], e["target"]} <= set(shown)]
    identity = ("source", "kind", "target", "discriminator", "since")
    return {
        "nodes": [(id, distance[id]) for id in shown],
        "edges": sorted(tuple(e[part] for part in identity) for e in between),
        "frontier": sorted(beyond),
        "counts": dict(Counter(kind[id] for id in walked)),
    }


def paths(
    edges: list[dict[str, Any]], sources: set[str], targets: set[str], *, downstream: bool, kinds: set[str], at: int
) -> list[list[str]]:
    graph = walkable(edges, kinds, at, downstream)
    graph.add_nodes_from(sources | targets)
    found = [path for s in sources for t in targets - {s} for path in nx.all_simple_paths(graph, s, t)]
    return sorted(found, key=lambda path: (len(path), path))
