"""A ladder of diamonds: few nodes, very many paths. Work grows with nodes and edges, never with paths."""

from __future__ import annotations

from itertools import pairwise

import pytest

from graph.port import Closure, Direction, Edge, Graph, NodeRecord, Snapshot, Walk
from tests import building

LEVELS = 60


def ladder(levels: int) -> tuple[list[NodeRecord], list[Edge]]:
    """Joints j0 … jN; between two of them, two rungs side by side."""
    model = building.record("Model", "ladder")
    made = [
        building.record("ModelVersion", str(n + 1), container=model.node.id, number=n + 1)
        for n in range(3 * levels + 1)
    ]
    ids = [r.node.id for r in made]
    edges = []
    for level in range(levels):
        top, left, right, bottom = ids[3 * level : 3 * level + 4]
        edges += [
            Edge("DERIVED_FROM", a, b, "merge", building.LONG_AGO)
            for a, b in [(top, left), (top, right), (left, bottom), (right, bottom)]
        ]
    return [model, *made], edges


RECORDS, EDGES = ladder(LEVELS)
TOP, BOTTOM = RECORDS[1].node.id, RECORDS[-1].node.id
UP = Walk(Direction.UPSTREAM, depth=200, edges=("DERIVED_FROM", "TRAINED_ON"))


@pytest.fixture
async def snapshot_of_ladder(graph: Graph) -> Graph:
    await building.load(graph, RECORDS, EDGES)
    return graph


async def counted(snapshot: Snapshot, *roots: str, walk: Walk = UP) -> tuple[Closure, int]:
    before = snapshot.statements
    return await snapshot.closure(roots, walk), snapshot.statements - before


async def test_the_closure_of_a_ladder_is_complete_in_few_statements(snapshot_of_ladder: Graph) -> None:
    async with snapshot_of_ladder.snapshot() as snapshot:
        await snapshot.nodes([TOP])
        found, statements = await counted(snapshot, TOP)
    assert len(found.nodes) == 3 * LEVELS + 1 == 181
    assert len(found.edges) == 4 * LEVELS
    assert found.complete
    assert found.nodes[-1][0].id == BOTTOM
    assert found.nodes[-1][1] == 2 * LEVELS
    assert statements <= 2 * (2 * LEVELS + 1)


async def test_a_lineage_on_neo4j_is_at_most_two_statements(neo4j_graph: Graph) -> None:
    await building.load(neo4j_graph, RECORDS, EDGES)
    async with neo4j_graph.snapshot() as snapshot:
        await snapshot.nodes([TOP])
        for roots in ([TOP], [TOP, RECORDS[50].node.id], [RECORDS[0].node.id]):
            assert (await counted(snapshot, *roots))[1] <= 2


async def test_closures_of_many_groups_are_those_of_each_alone_in_the_statements_of_one(
    snapshot_of_ladder: Graph,
) -> None:
    groups = [[TOP], [RECORDS[0].node.id], [RECORDS[50].node.id, RECORDS[90].node.id], [], [BOTTOM], [TOP]]
    walk = Walk(Direction.UPSTREAM, depth=7, edges=("DERIVED_FROM",), limit=9)
    async with snapshot_of_ladder.snapshot() as snapshot:
        alone = [await snapshot.closure(roots, walk) for roots in groups]
        before = snapshot.statements
        together = await snapshot.closures(groups, walk)
        assert snapshot.statements - before <= 2 * (7 + 1)
    assert [(list(c.nodes), list(c.edges), list(c.frontier), dict(c.counts)) for c in together] == [
        (list(c.nodes), list(c.edges), list(c.frontier), dict(c.counts)) for c in alone
    ]


async def test_a_walk_that_is_cut_says_so_and_where_to_go_on(snapshot_of_ladder: Graph) -> None:
    async with snapshot_of_ladder.snapshot() as snapshot:
        cut, statements = await counted(snapshot, TOP, walk=Walk(Direction.UPSTREAM, depth=4, edges=("DERIVED_FROM",)))
    assert len(cut.nodes) == 7
    assert cut.frontier == [RECORDS[7].node.id]
    assert not cut.complete
    assert statements <= 2 * 5


async def test_paths_of_a_ladder_are_counted_exactly_and_the_first_are_listed(snapshot_of_ladder: Graph) -> None:
    async with snapshot_of_ladder.snapshot() as snapshot:
        found = await snapshot.paths([TOP], [BOTTOM], Walk(Direction.UPSTREAM, 200, ("DERIVED_FROM",), limit=10))
    assert found.count == 2**LEVELS
    assert found.complete
    assert len(found.paths) == 10
    ids = {r.node.id for r in RECORDS}
    joined = {(e.source, e.target) for e in EDGES}
    for path in found.paths:
        assert (path[0], path[-1], len(path)) == (TOP, BOTTOM, 2 * LEVELS + 1)
        assert set(path) <= ids
        assert set(pairwise(path)) <= joined
    assert sorted(map(tuple, found.paths)) == list(map(tuple, found.paths))
    assert len(set(map(tuple, found.paths))) == 10


async def test_paths_against_the_arrows_are_the_same_paths(snapshot_of_ladder: Graph) -> None:
    async with snapshot_of_ladder.snapshot() as snapshot:
        down = await snapshot.paths([BOTTOM], [TOP], Walk(Direction.DOWNSTREAM, 200, ("DERIVED_FROM",), limit=1))
    assert down.count == 2**LEVELS
    assert (down.paths[0][0], down.paths[0][-1]) == (BOTTOM, TOP)


async def test_paths_that_the_walk_could_not_all_see_are_not_counted(snapshot_of_ladder: Graph) -> None:
    async with snapshot_of_ladder.snapshot() as snapshot:
        cut = await snapshot.paths([TOP], [BOTTOM], Walk(Direction.UPSTREAM, 20, ("DERIVED_FROM",), limit=10))
    assert (cut.paths, cut.count, cut.complete) == ([], None, False)
