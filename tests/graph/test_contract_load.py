"""Contract of both stores: import takes things as they are, export gives them back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from graph.address import parse
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Chunk, Edge, Graph, Hop, Metric, NewNode, Node, NodeRecord, Transaction
from lineal.errors import AlreadyExists, Conflict, NotFound, PreconditionFailed
from tests import building

MODEL = building.record(
    "Model", "m", created_at=5, tags={"a": "1", "é": ""}, former=["Model/default/old"], task="t", attributes={"x": [1]}
)
VERSION = building.record(
    "ModelVersion",
    "1",
    container=MODEL.node.id,
    number=1,
    frameworks=["a", "b"],
    params={"lr": "1"},
    metrics=[Metric("f1", 0.5, 0.25, math.inf, 3, 4, 2), Metric("z", math.nan, math.nan, math.nan, 0, 0, 1)],
)
GONE = building.record("ModelVersion", "2", container=MODEL.node.id, deleted_at=50, number=2)
CHUNKS = [
    Chunk(VERSION.node.id, "f1", 0, [(0.25, 1, 1), (0.5, 3, 4)]),
    Chunk(VERSION.node.id, "z", 0, [(math.nan, 0, 0)]),
]
EDGES = [
    Edge("VERSION_OF", VERSION.node.id, MODEL.node.id, "", 7),
    Edge("VERSION_OF", GONE.node.id, MODEL.node.id, "", 7, 50),
    Edge("DERIVED_FROM", GONE.node.id, VERSION.node.id, "copy", 7, 50),
    Edge("ALIAS", MODEL.node.id, VERSION.node.id, "live", 8),
]


async def load(graph: Graph, records: list[NodeRecord], edges: list[Edge] = [], chunks: list[Chunk] = []) -> int:  # noqa: B006
    async def work(tx: Transaction) -> int:
        return await tx.load(records, edges, chunks)

    return await graph.write(work, by="t", action="import")


def plain(record: NodeRecord) -> tuple[Node, list[str], dict[str, str], dict[str, str], str]:
    """A record as something that equals itself, NaN or not."""
    return record.node, list(record.former), dict(record.tags), dict(record.params), repr(list(record.metrics))


async def test_what_was_loaded_is_exported_as_it_was(graph: Graph) -> None:
    records = [MODEL, VERSION, GONE]
    assert await load(graph, records, EDGES, CHUNKS) == 9
    async with graph.snapshot() as snapshot:
        exported = [r for r in await snapshot.records("", 100) if r.node.id != DEFAULT_WORKSPACE_ID]
        assert list(map(plain, exported)) == [plain(r) for r in sorted(records, key=lambda r: r.node.id)]
        edges = await snapshot.edges_from([r.node.id for r in records])
        assert edges == sorted(EDGES, key=lambda e: (e.source, e.kind, e.target, e.discriminator, e.since))
        chunks = await snapshot.points([VERSION.node.id])
        assert [(c.owner, c.name, c.number, repr([tuple(p) for p in c.points])) for c in chunks] == [
            (c.owner, c.name, c.number, repr(list(c.points))) for c in CHUNKS
        ]


async def test_what_was_loaded_is_there_for_every_other_verb(graph: Graph) -> None:
    await load(graph, [MODEL, VERSION, GONE], EDGES, CHUNKS)
    async with graph.snapshot() as snapshot:
        found = await snapshot.resolve(
            [parse(a) for a in ("models:/m", "models:/old", "models:/m/1", "models:/m/2", "models:/m@live")]
        )
        assert [n and n.id for n in found] == [MODEL.node.id, MODEL.node.id, VERSION.node.id, None, VERSION.node.id]
        assert [n.id for n in (await snapshot.search("m")).items] == [MODEL.node.id]
        assert [
            i.node.id
            for i in (await snapshot.neighbours([MODEL.node.id], Hop("VERSION_OF", "IN")))[MODEL.node.id].items
        ] == [VERSION.node.id]


async def test_loading_again_changes_nothing(graph: Graph) -> None:
    await load(graph, [MODEL, VERSION, GONE], EDGES, CHUNKS)
    before = len(await building.sequenced(graph))
    assert await load(graph, [MODEL, VERSION, GONE], EDGES, CHUNKS) == 0
    assert len(await building.sequenced(graph)) == before


async def test_loading_part_of_it_again_with_more_loads_the_rest(graph: Graph) -> None:
    assert await load(graph, [MODEL, VERSION], EDGES[:1], CHUNKS[:1]) == 4
    assert await load(graph, [MODEL, VERSION, GONE], EDGES, CHUNKS) == 5


@pytest.mark.parametrize(
    "other",
    [
        replace(MODEL, node=replace(MODEL.node, props={"task": "u"})),
        replace(MODEL, node=replace(MODEL.node, revision=2)),
        replace(MODEL, tags={"a": "2"}),
        replace(MODEL, former=()),
        replace(MODEL, node=replace(MODEL.node, name="n")),
    ],
    ids=["property", "revision", "tag", "former", "name"],
)
async def test_an_id_with_other_content_is_a_conflict(graph: Graph, other: NodeRecord) -> None:
    await load(graph, [MODEL])
    with pytest.raises(Conflict, match=MODEL.node.id):
        await load(graph, [VERSION, other])
    async with graph.snapshot() as snapshot:
        assert list(await snapshot.nodes([MODEL.node.id, VERSION.node.id])) == [MODEL.node.id]


async def test_other_content_of_a_metric_chunk_or_edge_is_a_conflict(graph: Graph) -> None:
    await load(graph, [MODEL, VERSION, GONE], EDGES, CHUNKS)
    with pytest.raises(Conflict):
        await load(graph, [replace(VERSION, metrics=VERSION.metrics[:1])])
    with pytest.raises(Conflict):
        await load(graph, [], [replace(EDGES[1], until=51)])
    with pytest.raises(Conflict):
        await load(graph, [], [], [replace(CHUNKS[0], points=[(0.5, 3, 4)])])


async def test_a_key_that_another_node_has_is_refused(graph: Graph) -> None:
    await building.create(graph, NewNode("Model", "m", "default"))
    with pytest.raises(AlreadyExists, match="a Model named 'm'"):
        await load(graph, [MODEL])


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(9, None, "there was a Workspace named 'vision'"), (None, 9, "there is a Workspace named 'vision'")],
)
async def test_a_workspace_of_a_name_that_another_one_has_or_had_is_refused(
    graph: Graph, before: int | None, after: int | None, words: str
) -> None:
    await load(graph, [building.record("Workspace", "vision", workspace="vision", deleted_at=before)])
    again = building.record("Workspace", "vision", workspace="vision", deleted_at=after)
    with pytest.raises(AlreadyExists, match=words):
        await load(graph, [MODEL, again])
    assert await building.node(graph, MODEL.node.id) is None


async def test_workspaces_of_one_name_that_come_together_or_are_all_deleted_come_as_they_were(graph: Graph) -> None:
    other, gone = (building.record("Workspace", "vision", workspace="vision", deleted_at=9) for _ in range(2))
    assert await load(graph, [other]) == 1
    assert await load(graph, [gone]) == 1
    before = building.record("Workspace", "speech", workspace="speech", deleted_at=9)
    now = building.record("Workspace", "speech", workspace="speech")
    assert await load(graph, [before, now]) == 2
    assert await load(graph, [before, now]) == 0


async def test_an_edge_whose_end_is_missing_is_refused(graph: Graph) -> None:
    with pytest.raises(NotFound, match=VERSION.node.id):
        await load(graph, [MODEL], EDGES[:1])
    assert await building.node(graph, MODEL.node.id) is None


async def test_a_cycle_is_refused_also_in_import(graph: Graph) -> None:
    two = building.record("ModelVersion", "3", container=MODEL.node.id, number=3)
    ring = [
        Edge("DERIVED_FROM", VERSION.node.id, two.node.id, "", 9),
        Edge("DERIVED_FROM", two.node.id, VERSION.node.id, "", 9),
    ]
    with pytest.raises(PreconditionFailed, match="cycle"):
        await load(graph, [MODEL, VERSION, two], ring)
    await load(graph, [MODEL, VERSION, two], [ring[0], replace(ring[1], until=10)])


async def test_records_are_paged_by_id_and_a_view_does_not_hide_them(graph: Graph) -> None:
    from graph.port import View

    await building.workspace(graph, "secret")
    records = [building.record("Model", f"m{n}", workspace="secret") for n in range(7)]
    await load(graph, records)
    async with graph.snapshot(View(frozenset())) as snapshot:
        ids: list[str] = []
        while page := await snapshot.records(ids[-1] if ids else "", 3):
            assert len(page) <= 3
            ids += [r.node.id for r in page]
    assert ids == sorted(ids)
    assert {r.node.id for r in records} <= set(ids)
    assert len(ids) == 9


async def test_one_import_is_one_change_that_counts(graph: Graph) -> None:
    await load(graph, [MODEL, VERSION, GONE], EDGES, CHUNKS)
    (change,) = await building.sequenced(graph)
    assert change.data == {"loaded": {"nodes": 3, "edges": 4, "chunks": 2}}
