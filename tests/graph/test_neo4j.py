"""What only the Neo4j store has: its plans, its work counted in db hits, its writers beside each other."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import neo4j
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.address import parse
from graph.neo4j.codec import ordered, plain
from graph.neo4j.running import Runner
from graph.neo4j.store import Neo4jGraph
from graph.port import (
    Direction,
    EdgeMatch,
    EntryFilter,
    Graph,
    Hop,
    Linked,
    NewEdge,
    NewNode,
    Node,
    Not,
    Order,
    Paging,
    Point,
    Prop,
    Row,
    Snapshot,
    Statement,
    Transaction,
    Update,
    View,
    Walk,
)
from lineal.errors import AlreadyExists, InvalidArgument
from tests import building
from tests.graph.test_ladder import BOTTOM, EDGES, RECORDS, TOP, UP
from tests.services import Neo4jServer

TEAM = View(frozenset({"default"}), frozenset({"mo_shared"}))
WALLED = View(frozenset({"default"}), kinds=frozenset({"ModelVersion"}), opaque=frozenset({"secret"}))
PRUNING = "VarLengthExpand(Pruning,BFS,All)"


class Sent:
    """The statements that went to the server, to be sent again with PROFILE."""

    def __init__(self, url: str) -> None:
        self.statements: list[tuple[str, dict[str, Any]]] = []
        self._url = url

    def count_anew(self) -> None:
        """Let the planner know what is there now: it looks at the indexes only from time to time."""
        with neo4j.GraphDatabase.driver(self._url) as driver, driver.session() as session:
            session.run("CALL db.prepareForReplanning(60)").consume()

    def profile(self) -> list[dict[str, Any]]:
        """The operators of the last statement's plan, with what each did."""
        text, params = self.statements[-1]
        with neo4j.GraphDatabase.driver(self._url) as driver, driver.session() as session:
            plan = session.run(f"PROFILE {text}", params).consume().profile
        return list(_operators(plan))

    def operators(self) -> set[str]:
        """The names of the operators of the last statement's plan."""
        return {operator["operatorType"].split("@")[0] for operator in self.profile()}


def _operators(plan: Any) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("children", ()):
        yield from _operators(child)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, neo4j_server: Neo4jServer) -> Sent:
    spy = Sent(neo4j_server.url)
    send = Runner._once

    async def once(self: Runner, verb: str, text: str, params: Any) -> list[Any]:
        spy.statements.append((text, dict(params)))
        return await send(self, verb, text, params)

    monkeypatch.setattr(Runner, "_once", once)
    return spy


# ── How much work ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("view", [View(), TEAM, WALLED], ids=["everything", "a team", "walls"])
@pytest.mark.parametrize("kinds", [None, frozenset({"ModelVersion"})], ids=["all kinds", "one kind"])
async def test_a_ladder_costs_at_most_twenty_hits_for_each_node_and_edge(
    neo4j_graph: Graph, sent: Sent, view: View, kinds: frozenset[str] | None
) -> None:
    await building.load(neo4j_graph, RECORDS, EDGES)
    async with neo4j_graph.snapshot(view) as snapshot:
        found = await snapshot.closure([TOP], Walk(Direction.UPSTREAM, 200, kinds=kinds))
    assert (len(found.nodes), len(found.edges)) == (181, 240)
    operators = sent.profile()
    assert PRUNING in {operator["operatorType"].split("@")[0] for operator in operators}
    assert sum(operator.get("dbHits", 0) for operator in operators) <= 20 * (181 + 240)


async def test_a_page_of_a_chain_costs_the_same_however_long_the_chain_is(neo4j_graph: Graph, sent: Sent) -> None:
    for n in range(12):
        await building.create(neo4j_graph, NewNode("Model", f"m{n}", "default"))
    while await neo4j_graph.sequence():
        pass
    async with neo4j_graph.snapshot(View(frozenset({"default"}))) as snapshot:
        assert len(await snapshot.chain("default", limit=2)) == 2
        pages = sent.profile()
        assert len(await snapshot.entries(EntryFilter(workspaces=frozenset({"default"})), limit=2)) == 2
        latest = sent.profile()
    for operators in (pages, latest):
        assert max(each["rows"] for each in operators) <= 2


async def test_paths_are_found_by_pruning_walks_from_both_ends(neo4j_graph: Graph, sent: Sent) -> None:
    await building.load(neo4j_graph, RECORDS, EDGES)
    async with neo4j_graph.snapshot() as snapshot:
        await snapshot.paths([TOP], [BOTTOM], Walk(Direction.UPSTREAM, 200, UP.edges, limit=10))
    names = [operator["operatorType"].split("@")[0] for operator in sent.profile()]
    assert names.count(PRUNING) == 2


@pytest.mark.parametrize("limit", [50, 181])
async def test_the_memory_of_a_closure_grows_with_what_it_returns(neo4j_graph: Graph, sent: Sent, limit: int) -> None:
    await building.load(neo4j_graph, RECORDS, EDGES)
    async with neo4j_graph.snapshot() as snapshot:
        await snapshot.closure([TOP], Walk(Direction.UPSTREAM, 200, limit=limit))
    assert sent.profile()[0]["args"]["GlobalMemory"] < 10_000 * limit


@pytest.mark.parametrize(
    "order",
    [Order(), Order("createdAt"), Order("updatedAt"), Order("number"), Order("name", descending=True)],
    ids=lambda order: f"{order.by} {'down' if order.descending else 'up'}",
)
async def test_a_page_in_a_common_order_is_read_off_an_index(neo4j_graph: Graph, sent: Sent, order: Order) -> None:
    await building.model(neo4j_graph, "m", versions=5)
    async with neo4j_graph.snapshot() as snapshot:
        page = await snapshot.find("ModelVersion", order=order, paging=Paging(2))
        first = sent.operators()
        await snapshot.find("ModelVersion", order=order, paging=Paging(2, page.cursors[-1]))
        second = sent.operators()
    for operators in (first, second):
        assert not operators & {"Sort", "Top", "NodeByLabelScan"}
        assert operators & {"NodeIndexScan", "NodeIndexSeek", "NodeIndexSeekByRange"}


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (Row("tags", "stage", "eq", "gold"), "tag"),
        (Row("params", "lr", "in", ["0.1", "0.2"]), "param"),
        (Row("metrics", "loss", "gt", 0.9), "metric"),
    ],
    ids=["tag", "parameter", "metric"],
)
async def test_what_few_nodes_have_is_looked_up_by_its_index(
    neo4j_graph: Graph, sent: Sent, where: Row, index: str
) -> None:
    rows = {"tags": {"stage": "lead"}, "params": {"lr": "1"}}
    many = [building.record("Run", str(n), **rows) for n in range(1_000)]  # type: ignore[arg-type]
    await building.load(neo4j_graph, many)
    sent.count_anew()
    async with neo4j_graph.snapshot() as snapshot:
        assert not (await snapshot.find("Run", where)).items
    details = " ".join(str(operator["args"].get("Details")) for operator in sent.profile())
    assert f"{index.capitalize()}(name" in details


# ── One statement, one record, no hints from the planner ─────────────────────────────────────────


async def every_reading_verb(snapshot: Snapshot, model: Node, version: Node) -> None:
    alias = Linked(Hop("ALIAS", "IN"), "champion", Prop("name", "prefix", "m"))
    where = Not(Row("metrics", "loss", "lt", 0.1))
    await snapshot.resolve([parse("models:/m"), parse("models:/m/1"), parse("models:/m@champion"), parse(model.id)])
    await snapshot.resolve([parse("models:/m/1"), parse("datasets:/d/v1")], as_of=building.LONG_AGO)
    await snapshot.nodes([version.id, "mv_none"])
    await snapshot.find("ModelVersion", where, order=Order(metric="loss"), paging=Paging(1, count=True))
    await snapshot.find(
        "ModelVersion", alias, order=Order("releasedAt", descending=True), paging=Paging(1, (None, "m"))
    )
    await snapshot.neighbours([model.id], Hop("VERSION_OF", "IN", "ModelVersion"), where, paging=Paging(1, count=True))
    await snapshot.history([model.id], Hop("ALIAS", "OUT"), discriminator="champion")
    await snapshot.rows([version.id], "tags", ["a"])
    await snapshot.metrics([version.id], ["loss"])
    await snapshot.points([version.id], ["loss"])
    await snapshot.closure([model.id], Walk(Direction.UPSTREAM, kinds=frozenset({"Run"}), as_of=building.LONG_AGO))
    await snapshot.paths([model.id], [version.id], Walk(Direction.DOWNSTREAM))
    await snapshot.search("some thing", ["Model"], paging=Paging(1, (1, 1, "a", "b"), count=True))
    await snapshot.changes(subject=model.id, descending=True)
    await snapshot.records("", 10)
    await snapshot.edges_from([version.id])


READING_VERBS = [
    "resolve", "resolve", "nodes", "find", "find", "neighbours", "history", "tags", "metrics", "points", "closure",
    "paths", "search", "changes", "records", "edges_from",
]  # fmt: skip


@pytest.mark.parametrize("view", [View(), TEAM, WALLED], ids=["everything", "a team", "walls"])
async def test_each_reading_verb_is_one_statement_of_one_record(
    neo4j_graph: Graph, neo4j_server: Neo4jServer, view: View
) -> None:
    model, (version, _) = await building.model(neo4j_graph, "m", versions=2)
    seen: list[Statement] = []
    watched = Neo4jGraph(neo4j_server.url, observer=seen.append, notifications=True)
    async with watched, watched.snapshot(view) as snapshot:
        await every_reading_verb(snapshot, model, version)
        assert snapshot.statements == len(READING_VERBS)
    assert [statement.verb for statement in seen] == READING_VERBS
    assert all(statement.seconds > 0 and not statement.failed for statement in seen)


async def test_a_statement_that_fails_is_told_as_failed(neo4j_graph: Graph, neo4j_server: Neo4jServer) -> None:
    seen: list[Statement] = []
    async with Neo4jGraph(neo4j_server.url, observer=seen.append) as watched, watched.snapshot() as snapshot:
        with pytest.raises(InvalidArgument, match="none that the store can hold"):
            await snapshot.find("ModelVersion", Prop("parameterCount", "gt", 2**70))
    assert [statement.failed for statement in seen] == [True]


async def test_writing_needs_no_more_statements_for_a_thousand_items_than_for_one(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    counts = []
    for number in (1, 1_000):
        seen: list[Statement] = []
        async with Neo4jGraph(neo4j_server.url, observer=seen.append, notifications=True) as watched:
            _, versions = await building.model(watched, f"model {number}", versions=number)
            await building.log(watched, versions[0].id, *[Point("loss", 1.0, n, n) for n in range(number)])
            await building.put_params(watched, versions[0].id, **{f"p{n}": "v" for n in range(number)})
        counts.append(len(seen))
    assert counts[0] == counts[1]


# ── What text, what numbers ───────────────────────────────────────────────────────────────────────

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\ud7ff\ue000\ufffd\U00010000\U0010ffff"), max_size=6
)


@given(TEXTS, TEXTS)
def test_an_ordered_text_compares_alike_by_code_points_and_by_utf_16(one: str, other: str) -> None:
    assert plain(ordered(one)) == one
    assert (ordered(one) < ordered(other)) == (one < other)
    assert (ordered(one).encode("utf-16-be") < ordered(other).encode("utf-16-be")) == (one < other)
    assert ordered(one + other).startswith(ordered(one))
    assert (ordered(one) in ordered(other)) == (one in other)


async def test_the_longest_texts_fit_into_the_indexes(neo4j_graph: Graph) -> None:
    (dataset,) = await building.create(
        neo4j_graph, NewNode("Dataset", "\ufdfa" * 500, "default", props={"uri": "\U0001f600" * 8_000})
    )
    await building.tag(neo4j_graph, dataset.id, long="\U0001f600" * 8_000)
    async with neo4j_graph.snapshot() as snapshot:
        for where in (
            Prop("uri", "eq", "\U0001f600" * 8_000),
            Prop("name", "eq", "\ufdfa" * 500),
            Row("tags", "long", "prefix", "\U0001f600" * 7_000),
            Row("tags", "long", "eq", "\U0001f600" * 8_000),
        ):
            assert [node.id for node in (await snapshot.find("Dataset", where)).items] == [dataset.id]
        assert not (await snapshot.find("Dataset", Row("tags", "long", "eq", "\U0001f600" * 7_999))).items


async def test_series_with_nan_and_infinities_come_back_as_they_were(neo4j_graph: Graph) -> None:
    _, (version,) = await building.model(neo4j_graph, "m", versions=1)
    values = [math.nan, math.inf, -math.inf, 1.5]
    await building.log(neo4j_graph, version.id, *[Point("loss", value, n, n) for n, value in enumerate(values)])
    async with neo4j_graph.snapshot() as snapshot:
        (chunk,) = await snapshot.points([version.id])
        ((metric,),) = (await snapshot.metrics([version.id])).values()
    assert str([value for value, _, _ in chunk.points]) == str(values)
    assert (metric.minimum, metric.maximum, metric.value, metric.count) == (-math.inf, math.inf, 1.5, 4)


# ── Writers beside each other ─────────────────────────────────────────────────────────────────────


async def test_a_lock_before_now_is_asked_for_moves_now_past_what_was_waited_for(neo4j_graph: Graph) -> None:
    model, (one, two) = await building.model(neo4j_graph, "m", versions=2)

    async def point_to(version: Node) -> None:
        async def work(tx: Transaction) -> None:
            await tx.unlink([EdgeMatch("ALIAS", model.id, discriminator="champion")])
            await tx.link([NewEdge("ALIAS", model.id, version.id, "champion")])

        await neo4j_graph.write(work, by="t", action="alias")

    await asyncio.gather(*(point_to(version) for version in (one, two) * 4))
    async with neo4j_graph.snapshot() as snapshot:
        page = (await snapshot.history([model.id], Hop("ALIAS", "OUT")))[model.id]
    spans = sorted((link.edge.since, link.edge.until) for link in page.items)
    assert [until for _, until in spans] == [*(since for since, _ in spans[1:]), None]


async def test_work_is_run_again_when_a_node_changed_after_the_time_it_writes_for(neo4j_graph: Graph) -> None:
    model, _ = await building.model(neo4j_graph, "m")
    times: list[int] = []

    async def work(tx: Transaction) -> Node:
        times.append(tx.now)
        if len(times) == 1:
            await building.update(neo4j_graph, Update(model.id, {"task": "first"}))
        (node,) = await tx.update([Update(model.id, {"license": None, "task": "second"})])
        return node

    with pytest.raises(InvalidArgument, match="license"):
        await neo4j_graph.write(work, by="t", action="update")
    assert len(times) == 2
    assert times[0] < times[1]


async def test_the_same_name_at_the_same_moment_goes_to_one_and_the_other_learns_who_has_it(neo4j_graph: Graph) -> None:
    made = await asyncio.gather(
        *(building.create(neo4j_graph, NewNode("Model", "m", "default")) for _ in range(4)), return_exceptions=True
    )
    (winner,) = [nodes[0] for nodes in made if isinstance(nodes, list)]
    refused = [error for error in made if isinstance(error, AlreadyExists)]
    assert len(refused) == 3
    assert {error.details["id"] for error in refused} == {winner.id}


async def test_nothing_stays_linked_to_what_is_deleted_at_the_same_moment(neo4j_graph: Graph) -> None:
    _, versions = await building.model(neo4j_graph, "m", versions=20)
    pairs = list(zip(versions[::2], versions[1::2], strict=True))
    await asyncio.gather(
        *(building.link(neo4j_graph, NewEdge("DERIVED_FROM", child.id, parent.id, "merge")) for child, parent in pairs),
        *(building.remove(neo4j_graph, parent.id) for _, parent in pairs),
        return_exceptions=True,
    )
    async with neo4j_graph.snapshot() as snapshot:
        assert not await snapshot.nodes([parent.id for _, parent in pairs])
        edges = await snapshot.edges_from([child.id for child, _ in pairs])
    assert not [edge for edge in edges if edge.kind == "DERIVED_FROM" and edge.until is None]


async def test_two_reads_at_once_share_one_connection_in_turn(neo4j_graph: Graph) -> None:
    model, versions = await building.model(neo4j_graph, "m", versions=3)
    async with neo4j_graph.snapshot() as snapshot:
        found = await asyncio.gather(*(snapshot.nodes([node.id]) for node in (model, *versions)))
    assert [set(nodes) for nodes in found] == [{node.id} for node in (model, *versions)]


async def test_who_is_cancelled_while_a_connection_is_given_back_leaves_no_session_open(
    neo4j_graph: Neo4jGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, sessions = asyncio.Event(), list[neo4j.AsyncSession]()

    async def slow(session: neo4j.AsyncSession) -> None:
        sessions.append(session)
        closing.set()
        await asyncio.Event().wait()

    async def read() -> None:
        async with neo4j_graph.snapshot() as snapshot:
            await snapshot.nodes(["mo_nothing"])

    monkeypatch.setattr(neo4j.AsyncSession, "close", slow)
    reading = asyncio.create_task(read())
    await closing.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert [session.closed() for session in sessions] == [True]
