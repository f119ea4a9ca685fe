"""Contract of both stores: pages visit everything once, in order, and stores take each other's cursors."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from graph.port import Cursor, Edge, Graph, Hop, Metric, NodeRecord, Order, Page, Paging, Prop, Snapshot
from tests import building

NAMES = [
    "b",
    "B",
    "a",
    "ä",
    "Ä",
    "😀",
    "\ufffd",
    "ﬀ",
    "ff",
    "z10",
    "z2",
    "Ω",
    "ω",
    "ı",
    "İ",
    "字",
    "x y",
    "x-y",
    "_",
    "0",
]
FIGURES = [math.nan, math.inf, -math.inf, 0.5, 0.25]


def a_run(n: int) -> NodeRecord:
    """One of many runs: some have a metric, some have begun, and many share a time of birth."""
    metrics = [Metric("f1", FIGURES[n // 5 % 5], 0.0, 1.0, 0, 0, 1)] if n % 5 else []
    props: dict[str, Any] = {"startedAt": n % 7} if n % 4 else {}
    return building.record("Run", NAMES[n], created_at=building.LONG_AGO + n % 3, metrics=metrics, **props)


RUNS = [a_run(n) for n in range(len(NAMES))]
ORDERS = [
    Order(by, descending, metric)
    for by, metric in [("name", None), ("createdAt", None), ("startedAt", None), ("name", "f1")]
    for descending in (False, True)
]

Read = Callable[[Paging], Awaitable[Page[Any]]]


async def every_page(read: Read, size: int) -> tuple[list[Any], list[Cursor]]:
    """All items by pages of one size, and their cursors."""
    items: list[Any] = []
    cursors: list[Cursor] = []
    while True:
        page = await read(Paging(size, cursors[-1] if cursors else None))
        assert len(page.items) == len(page.cursors) <= size
        items += page.items
        cursors += page.cursors
        if not page.has_next:
            return items, cursors
        assert len(page.items) == size


def expected(records: list[NodeRecord], order: Order) -> list[str]:
    """The order as the port tells it, sorted here."""
    from graph.text import fold

    def value(record: NodeRecord) -> Any:
        if order.metric:
            return next((m.value for m in record.metrics if not math.isnan(m.value)), None)
        if order.by == "name":
            return fold(record.node.name)
        return record.node.created_at if order.by == "createdAt" else record.node.props.get("startedAt")

    by_id = sorted(records, key=lambda r: r.node.id)
    present = sorted((r for r in by_id if value(r) is not None), key=value)
    if order.descending:
        present = sorted((r for r in by_id if value(r) is not None), key=value, reverse=True)
    return [r.node.name for r in [*present, *(r for r in by_id if value(r) is None)]]


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_pages_of_any_size_visit_everything_once_in_order(graph: Graph, order: Order) -> None:
    await building.load(graph, RUNS)
    async with graph.snapshot() as snapshot:
        for size in (1, 3, 19, 20, 21):
            items, _ = await every_page(partial(_found, snapshot, order), size)
            assert [n.name for n in items] == expected(RUNS, order)


async def test_the_total_counts_all_that_match_whatever_the_page(graph: Graph) -> None:
    await building.load(graph, RUNS)
    async with graph.snapshot() as snapshot:
        first = await snapshot.find("Run", Prop("startedAt", "gte", 3), paging=Paging(2, count=True))
        later = await snapshot.find("Run", Prop("startedAt", "gte", 3), paging=Paging(2, first.cursors[-1], count=True))
        matching = sum((r.node.props.get("startedAt") or 0) >= 3 for r in RUNS)
        assert (first.total, later.total) == (matching, matching)
        assert (await snapshot.find("Run")).total is None


async def test_a_page_goes_on_where_it_was_when_items_before_it_go_and_come(graph: Graph) -> None:
    await building.load(graph, [building.record("Run", n) for n in "bdfh"])
    async with graph.snapshot() as snapshot:
        page = await snapshot.find("Run", paging=Paging(2))
    await building.remove(graph, page.items[0].id, page.items[1].id)
    await building.load(graph, [building.record("Run", n) for n in "aceg"])
    async with graph.snapshot() as snapshot:
        rest = await snapshot.find("Run", paging=Paging(10, page.cursors[-1]))
    assert [n.name for n in rest.items] == ["e", "f", "g", "h"]


def hub(parts: int) -> tuple[list[NodeRecord], list[Edge]]:
    """A run that read many versions, each in two roles."""
    run, data = building.record("Run", "hub"), building.record("Dataset", "d")
    versions = [building.record("DatasetVersion", f"v{n:02}", container=data.node.id) for n in range(parts)]
    edges = [
        Edge("READ", run.node.id, v.node.id, role, building.LONG_AGO + n % 3, None if n % 2 else building.LONG_AGO + 50)
        for n, v in enumerate(versions)
        for role in ("eval", "train")
    ]
    return [run, data, *versions], edges


async def test_pages_of_neighbours_and_of_history_visit_every_edge_once(graph: Graph) -> None:
    records, edges = hub(9)
    await building.load(graph, records, edges)
    run, hop = records[0].node.id, Hop("READ", "OUT")
    name = {r.node.id: r.node.name for r in records}
    live = [e for e in edges if e.until is None]
    async with graph.snapshot() as snapshot:
        for descending in (False, True):
            order = Order(descending=descending)
            ordered = sorted(live, key=lambda e: (e.target, e.discriminator))
            ordered.sort(key=lambda e: name[e.target], reverse=descending)
            for size in (1, 4, 50):
                items, _ = await every_page(partial(_one, snapshot, run, hop, order), size)
                assert [i.edge for i in items] == ordered
        items, _ = await every_page(partial(_history, snapshot, run, hop), 5)
        assert [i.edge for i in items] == sorted(edges, key=lambda e: (-e.since, e.discriminator, e.target))


async def _one(snapshot: Snapshot, id: str, hop: Hop, order: Order, paging: Paging) -> Page[Any]:
    return (await snapshot.neighbours([id], hop, order=order, paging=paging)).get(id, Page())


async def _history(snapshot: Snapshot, id: str, hop: Hop, paging: Paging) -> Page[Any]:
    return (await snapshot.history([id], hop, paging=paging)).get(id, Page())


async def test_both_stores_give_the_same_pages_and_take_each_others_cursors(
    sqlite_graph: Graph, neo4j_graph: Graph
) -> None:
    records, edges = hub(9)
    for store in (sqlite_graph, neo4j_graph):
        await building.load(store, [*RUNS, *records], edges)
    run, hop = records[0].node.id, Hop("READ", "OUT")
    async with sqlite_graph.snapshot() as one, neo4j_graph.snapshot() as other:
        for mine, theirs in zip(reads_of(one, run, hop), reads_of(other, run, hop), strict=True):
            assert await every_page(mine, 4) == await every_page(theirs, 4)
            cursor = (await mine(Paging(3))).cursors[-1]
            assert (await theirs(Paging(50, cursor))).items == (await mine(Paging(50, cursor))).items


def reads_of(snapshot: Snapshot, run: str, hop: Hop) -> list[Read]:
    """Every way to read pages, each as a function of the page alone."""
    return [
        *(partial(_found, snapshot, order) for order in ORDERS),
        partial(_one, snapshot, run, hop, Order()),
        partial(_history, snapshot, run, hop),
        partial(_searched, snapshot, "v"),
    ]


async def _found(snapshot: Snapshot, order: Order, paging: Paging) -> Page[Any]:
    return await snapshot.find("Run", order=order, paging=paging)


async def _searched(snapshot: Snapshot, text: str, paging: Paging) -> Page[Any]:
    return await snapshot.search(text, paging=paging)
