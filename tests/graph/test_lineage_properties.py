"""Lineage on random graphs is what networkx says it is, on both stores.

The graphs have diamonds, hubs, several edges between two nodes, several roots, roots that are
containers, hidden nodes in the middle, and edges that ended. Each example brings nodes with ids of
its own into one store, so that nothing has to be wiped between two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import ontology
from graph.port import Closure, Direction, Edge, Graph, NodeRecord, View, Walk
from tests import building
from tests.graph import oracle

pytestmark = pytest.mark.soak

OPEN_WORKSPACE, SECRET_WORKSPACE = "default", "secret"
VIEW = View(frozenset({OPEN_WORKSPACE}))
TIMES = (building.LONG_AGO + 10, building.LONG_AGO + 20, building.LONG_AGO + 30)
NOW = building.LONG_AGO + 1_000
"""A time after every edge of these graphs ended or began."""

WORDS = ("", "a", "b", "\ufffd", "😀")
EDGE_SETS = (ontology.LINEAGE_EDGES, *[ontology.WALKABLE_EDGES] * 4, ("DERIVED_FROM",), ("READ", "PRODUCED_BY"))

EXAMPLES = count(1)
"""Tells the ids of one example from those of all others; their order among themselves is drawn."""

WHOLES = {
    "ModelVersion": "Model",
    "DatasetVersion": "Dataset",
    "Field": "Dataset",
    "Run": None,
    "Deployment": None,
    "Evaluation": None,
}
CONTAINING = {
    "ModelVersion": ["VERSION_OF"],
    "DatasetVersion": ["VERSION_OF"],
    "Field": ["PART_OF"],
    "Run": ["PART_OF", "RUN_OF"],
}
WALKABLE = [
    (kind.name, source, target)
    for name in ontology.WALKABLE_EDGES
    for kind in [ontology.EDGE_KINDS[name]]
    for source, target in kind.ends
    if {source, target} <= set(WHOLES)
]


@dataclass
class Drawn:
    """A random graph: as records for a store, and as plain dictionaries for the oracle."""

    records: list[NodeRecord]
    links: list[Edge]

    @property
    def nodes(self) -> list[dict[str, Any]]:
        return [{"id": r.node.id, "kind": r.node.kind} for r in self.records]

    @property
    def edges(self) -> list[dict[str, Any]]:
        return [plain(e) for e in self.links]

    @property
    def visible(self) -> set[str]:
        return {r.node.id for r in self.records if r.node.workspace == OPEN_WORKSPACE}


def plain(edge: Edge) -> dict[str, Any]:
    """An edge as the oracle takes it."""
    return {name: getattr(edge, name) for name in ("kind", "source", "target", "discriminator", "since", "until")}


def a_graph(rng: Random, size: int) -> Drawn:
    """A graph without cycles: an edge leads from a later node to an earlier one, often to a neighbour or to a hub."""
    example = next(EXAMPLES)
    kinds = rng.choices(list(WHOLES), weights=(8, 2, 1, 4, 1, 1), k=size)
    ranks = rng.sample(range(size), size)

    def new(kind: str, rank: int, name: str | None = None, **more: Any) -> NodeRecord:
        number = f"{example:013}{rank:013}"
        return building.record(kind, name or number, id=f"{ontology.NODE_KINDS[kind].prefix}_{number}", **more)

    wholes = [
        new(kind, 100 + n) for n, kind in enumerate(("Model", "Model", "Dataset", "Dataset", "Experiment", "Pipeline"))
    ]
    parts, links = list[NodeRecord](), list[Edge]()
    for number, (kind, rank) in enumerate(zip(kinds, ranks, strict=True), 1):
        place = rng.choices((OPEN_WORKSPACE, SECRET_WORKSPACE), (4, 1))[0]
        whole = rng.choice([w for w in wholes if w.node.kind == WHOLES[kind]]) if WHOLES[kind] else None
        props: dict[str, Any] = {"number": number} if kind == "ModelVersion" else {}
        within: dict[str, Any] = {"name": str(number), "container": whole.node.id} if whole else {}
        record = new(kind, rank, workspace=place, **within, **props)
        targets = {"VERSION_OF": whole, "PART_OF": whole or wholes[4], "RUN_OF": wholes[5]}
        links += [
            Edge(edge, record.node.id, target.node.id, "", *a_lifetime(rng))
            for edge in CONTAINING.get(kind, [])
            if (target := targets[edge]) and rng.random() < 0.8
        ]
        links += _lineage(rng, record, [*parts[:2], *parts[-3:], *parts])
        parts.append(record)
    once = {(e.kind, e.source, e.target, e.discriminator, e.since if e.until else None): e for e in links}
    identities = {(e.kind, e.source, e.target, e.discriminator, e.since): e for e in once.values()}
    return Drawn([*wholes, *parts], _exclusive(list(identities.values())))


def a_lifetime(rng: Random) -> tuple[int, int | None]:
    """Since and until: mostly open from of old."""
    since = rng.choice([building.LONG_AGO] * 4 + [*TIMES])
    until = rng.choice([None] * 8 + [t for t in (*TIMES, NOW) if t > since])
    return since, until


def _lineage(rng: Random, record: NodeRecord, earlier: list[NodeRecord]) -> list[Edge]:
    joins = [
        (kind, other.node.id)
        for other in earlier
        for kind, source, target in WALKABLE
        if (source, target) == (record.node.kind, other.node.kind)
    ]
    if not joins:
        return []
    return [
        Edge(
            kind,
            record.node.id,
            other,
            rng.choice(WORDS) if ontology.EDGE_KINDS[kind].discriminator else "",
            *a_lifetime(rng),
        )
        for kind, other in rng.choices(joins, k=rng.choice((1, 2, 2, 3, 5)))
    ]


def _exclusive(links: list[Edge]) -> list[Edge]:
    """Of edges of which one may be open at a time, the first open one."""
    kept: list[Edge] = []
    taken: set[tuple[str, str]] = set()
    for edge in links:
        if ontology.EDGE_KINDS[edge.kind].exclusive is not ontology.Exclusive.NO and edge.until is None:
            if (edge.kind, edge.source) in taken:
                continue
            taken.add((edge.kind, edge.source))
        kept.append(edge)
    return kept


def a_question(rng: Random, size: int) -> tuple[Drawn, list[str], Walk]:
    """A graph, roots in it, and a walk from them."""
    drawn = a_graph(rng, size)
    visible = [r.node.id for r in drawn.records if r.node.id in drawn.visible]
    direction = rng.choice(list(Direction))
    far = visible[-3:] if direction is Direction.UPSTREAM else visible[6:9] or visible
    roots = [rng.choice(rng.choice((far, far, visible))) for _ in range(rng.choice((1, 1, 2, 4)))]
    return (
        drawn,
        roots,
        Walk(
            direction,
            depth=rng.choice((1, 2, 3, 20, 20, 20, 20)),
            edges=rng.choice(EDGE_SETS),
            kinds=rng.choice(
                (
                    *[None] * 6,
                    frozenset({"ModelVersion"}),
                    frozenset({"Run", "DatasetVersion"}),
                    frozenset({"Deployment", "Model"}),
                )
            ),
            limit=rng.choice((1, 2, 3, 5, *[1_000] * 6)),
            walk_limit=rng.choice((1, 2, 4, 7, *[200_000] * 8)),
            as_of=rng.choice((None, None, None, *TIMES, TIMES[1] - 1)),
        ),
    )


RANDOMS = st.integers(0, 2**64).map(Random)
"""A seed decides the graph: drawn by Hypothesis edge for edge, nearly all graphs have hardly any."""

questions = st.builds(a_question, RANDOMS, st.integers(8, 36))


def asked(walk: Walk) -> dict[str, Any]:
    """The walk in the oracle's words."""
    return {
        "downstream": walk.direction is Direction.DOWNSTREAM,
        "depth": walk.depth,
        "kinds": set(walk.edges),
        "returned": None if walk.kinds is None else set(walk.kinds),
        "limit": walk.limit,
        "walk_limit": walk.walk_limit,
        "at": NOW if walk.as_of is None else walk.as_of,
    }


def answered(closure: Closure) -> dict[str, Any]:
    """The answer in the oracle's words."""
    return {
        "nodes": [(node.id, distance) for node, distance in closure.nodes],
        "edges": [(e.source, e.kind, e.target, e.discriminator, e.since) for e in closure.edges],
        "frontier": list(closure.frontier),
        "counts": dict(closure.counts),
    }


async def prepared(graph: Graph, drawn: Drawn) -> None:
    async with graph.snapshot() as snapshot:
        known = (await snapshot.find("Workspace")).items
    if SECRET_WORKSPACE not in {w.name for w in known}:
        await building.workspace(graph, SECRET_WORKSPACE)
    await building.load(graph, drawn.records, drawn.links)


@given(question=questions)
async def test_a_closure_is_what_networkx_says(graph: Graph, question: tuple[Drawn, list[str], Walk]) -> None:
    drawn, roots, walk = question
    await prepared(graph, drawn)
    expected = oracle.closure(drawn.nodes, drawn.edges, roots, **asked(walk))
    async with graph.snapshot(VIEW) as snapshot:
        found = await snapshot.closure(roots, walk)
    assert answered(found) == expected
    assert found.complete == (not expected["frontier"])
    nodes = {r.node.id: r.node for r in drawn.records}
    for node, _ in found.nodes:
        assert (node.visible, node.kind) == (node.id in drawn.visible, nodes[node.id].kind)
        assert node == nodes[node.id] if node.visible else not node.name and not node.workspace and not node.props
    links = {(e.source, e.kind, e.target, e.discriminator, e.since): e for e in drawn.links}
    assert list(found.edges) == [links[e] for e in expected["edges"]]


@given(question=questions)
async def test_going_on_from_the_frontier_finds_all_that_was_cut_off(
    graph: Graph, question: tuple[Drawn, list[str], Walk]
) -> None:
    drawn, roots, walk = question
    await prepared(graph, drawn)
    whole = {**asked(walk), "depth": 200, "limit": 10_000, "walk_limit": 200_000, "returned": None}
    everything = {id for id, _ in oracle.closure(drawn.nodes, drawn.edges, roots, **whole)["nodes"]}
    found: set[str] = set()
    async with graph.snapshot() as snapshot:
        todo = roots
        for _ in range(len(everything) + 2):
            step = Walk(walk.direction, 1, walk.edges, as_of=walk.as_of)
            answer = await snapshot.closure(todo, step)
            found |= {node.id for node, _ in answer.nodes}
            todo = list(answer.frontier)
            if not todo:
                break
    assert found == everything


@given(rng=RANDOMS, size=st.integers(4, 14))
async def test_paths_and_their_number_are_what_networkx_says(graph: Graph, rng: Random, size: int) -> None:
    drawn = a_graph(rng, size)
    await prepared(graph, drawn)
    visible = [r.node.id for r in drawn.records if r.node.id in drawn.visible]
    late, early = visible[-4:], visible[:9]
    direction = rng.choice(list(Direction))
    sides = (late, early) if direction is Direction.UPSTREAM else (early, late)
    sources, targets = (
        [rng.choice(rng.choice((side, side, visible))) for _ in range(rng.choice((1, 2)))] for side in sides
    )
    kinds = set(ontology.WALKABLE_EDGES)
    as_of, limit = rng.choice((None, None, *TIMES)), rng.choice((1, 3, 1_000))
    at = NOW if as_of is None else as_of
    kind = {n["id"]: n["kind"] for n in drawn.nodes}
    ends = [oracle.expand(kind, drawn.edges, side, at) for side in (sources, targets)]
    expected = oracle.paths(drawn.edges, *ends, downstream=direction is Direction.DOWNSTREAM, kinds=kinds, at=at)
    async with graph.snapshot(VIEW) as snapshot:
        found = await snapshot.paths(
            sources, targets, Walk(direction, 200, tuple(sorted(kinds)), limit=limit, as_of=as_of)
        )
    assert [list(path) for path in found.paths] == expected[:limit]
    assert (found.count, found.complete) == (len(expected), True)
    assert set(found.nodes) == {id for path in expected[:limit] for id in path}
    assert {id for id, node in found.nodes.items() if node.visible} == set(found.nodes) & drawn.visible
    live = [e for e in drawn.edges if e["kind"] in kinds and oracle.live(e, at)]
    expected_hops = {
        pair: identities(e for e in live if {e["source"], e["target"]} == set(pair))
        for path in expected[:limit]
        for pair in pairwise(path)
    }
    assert {pair: identities(map(plain, edges)) for pair, edges in found.edges.items()} == expected_hops


def identities(edges: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Edges by identity, in order."""
    return sorted((e["source"], e["kind"], e["target"], e["discriminator"], e["since"]) for e in edges)
