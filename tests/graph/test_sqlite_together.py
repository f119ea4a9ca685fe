"""Writes to the embedded store that wait for each other go to the disk at once, and each stands by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from graph import ontology
from graph.address import parse
from graph.port import EVERYTHING, NOTHING, NewNode, Node, Snapshot, Statement, Transaction, Update
from graph.sqlite import running, store, together
from graph.sqlite.running import Thread, TooLong, translated
from graph.sqlite.store import SqliteGraph
from lineal.errors import Conflict, Internal, Unavailable
from tests import building

Work = Callable[[Transaction], Awaitable[None]]


@pytest.fixture
async def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteGraph]:
    """A store that does not wait long inside SQLite for other processes."""
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.01)
    async with SqliteGraph(tmp_path / "lineal.db") as opened:
        await opened.migrate()
        yield opened


def creating(name: str, *, fails: bool = False) -> Work:
    async def work(tx: Transaction) -> None:
        await tx.create([NewNode("Team", name, ontology.GLOBAL)])
        if fails:
            raise Conflict(f"{name} shall not be")

    return work


def write(graph: SqliteGraph, work: Work) -> asyncio.Task[None]:
    return asyncio.create_task(graph.write(work, by=building.BY, action="test", in_one_go=True))


async def teams(graph: SqliteGraph) -> list[str]:
    async with graph.snapshot() as snapshot:
        return [node.name for node in (await snapshot.find("Team")).items]


def said(graph: SqliteGraph) -> list[str]:
    """What is sent to the connection that writes, from now on."""
    statements: list[str] = []
    _, db = graph._opened()
    db.set_trace_callback(statements.append)
    return statements


async def test_writes_that_wait_go_to_the_disk_at_once_and_each_is_a_change_of_its_own(graph: SqliteGraph) -> None:
    statements = said(graph)
    names = [f"t{i:02}" for i in range(40)]
    await asyncio.gather(*(write(graph, creating(name)) for name in names))
    assert await teams(graph) == names
    assert statements.count("COMMIT") <= 3
    async with graph.snapshot() as snapshot:
        changes = await snapshot.changes(limit=100)
    assert len(changes) == len({change.at for change in changes}) == 40


async def test_what_a_write_has_read_or_written_it_does_not_read_again(graph: SqliteGraph) -> None:
    _, (version,) = await building.model(graph, "m", versions=1)

    async def work(tx: Transaction) -> list[Node]:
        before = tx.statements
        (found,) = await tx.resolve([parse("models:/m/1")])
        (team,) = await tx.create([NewNode("Team", "t", ontology.GLOBAL)])
        (updated,) = await tx.update([Update(version.id, {"license": "mit"})])
        written = tx.statements - before
        assert found == version
        assert await tx.nodes([team.id, version.id]) == {team.id: team, version.id: updated}
        assert await tx.resolve([parse(version.id)]) == [updated]
        assert await tx.lock([version.id]) == {version.id: updated}
        tx.show(NOTHING)
        assert await tx.nodes([team.id, version.id]) == {}
        assert await tx.resolve([parse(version.id)]) == [None]
        tx.show(EVERYTHING)
        assert tx.statements - before == written
        await tx.remove([team.id])
        assert await tx.nodes([team.id, version.id]) == {version.id: updated}
        return [updated]

    (updated,) = await graph.write(work, by=building.BY, action="test")
    async with graph.snapshot() as snapshot:
        assert await snapshot.nodes([updated.id]) == {updated.id: updated}


async def test_one_that_fails_leaves_nothing_and_takes_nobody_along(graph: SqliteGraph) -> None:
    works = [creating(f"t{i}", fails=i in {0, 3}) for i in range(6)]
    found = await asyncio.gather(*(write(graph, work) for work in works), return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["Conflict" if i in {0, 3} else "NoneType" for i in range(6)]
    assert await teams(graph) == ["t1", "t2", "t4", "t5"]


async def test_one_that_is_cancelled_while_it_waits_is_not_done(graph: SqliteGraph) -> None:
    began, end = asyncio.Event(), asyncio.Event()

    async def long(tx: Transaction) -> None:
        began.set()
        await end.wait()
        await tx.create([NewNode("Team", "long", ontology.GLOBAL)])

    first = asyncio.create_task(graph.write(long, by=building.BY, action="test"))
    await began.wait()
    others = [write(graph, creating(name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    others[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await others[0]
    end.set()
    await asyncio.gather(first, *others[1:])
    assert await teams(graph) == ["b", "c", "long"]


async def test_one_that_is_cancelled_while_those_before_it_are_carried_out_is_not_done(graph: SqliteGraph) -> None:
    began, end = threading.Event(), threading.Event()

    async def long(tx: Transaction) -> None:
        began.set()
        end.wait(30)
        await tx.create([NewNode("Team", "long", ontology.GLOBAL)])

    async with graph._turn:
        writes = [write(graph, work) for work in (long, creating("a"), creating("b"))]
        await asyncio.sleep(0)
    await asyncio.to_thread(began.wait, 30)
    writes[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await writes[1]
    end.set()
    await asyncio.gather(writes[0], writes[2])
    assert await teams(graph) == ["b", "long"]


async def test_where_one_makes_the_store_undo_all_of_them_all_fail(graph: SqliteGraph) -> None:
    _, db = graph._opened()

    async def full(tx: Transaction) -> None:
        await tx.create([NewNode("Team", "full", ontology.GLOBAL)])
        # As SQLite does when the disk is full.
        db.execute("ROLLBACK")
        raise Unavailable("the disk is full")

    async with graph._turn:
        writes = [write(graph, work) for work in (creating("a"), full, creating("b"))]
        await asyncio.sleep(0)
    found = await asyncio.gather(*writes, return_exceptions=True)
    assert [str(each) for each in found] == ["the disk is full"] * 3
    assert await teams(graph) == []


async def test_a_commit_that_fails_fails_all_that_were_in_it_and_the_next_ones_go_on(graph: SqliteGraph) -> None:
    _, db = graph._opened()

    def no_commit(action: int, what: str | None, *_: object) -> int:
        denied = action == sqlite3.SQLITE_TRANSACTION and what == "COMMIT"
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    db.set_authorizer(no_commit)
    found = await asyncio.gather(*(write(graph, creating(f"t{i}")) for i in range(3)), return_exceptions=True)
    assert all(isinstance(each, Internal) for each in found)
    db.set_authorizer(None)
    await write(graph, creating("later"))
    assert await teams(graph) == ["later"]


async def test_they_wait_for_another_process_and_whoever_is_cancelled_meanwhile_holds_up_nobody(
    graph: SqliteGraph,
) -> None:
    other = sqlite3.connect(graph.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writes = [write(graph, creating(name)) for name in ("a", "b", "c")]
    statements = said(graph)
    # The first one is alone, the second has the third with it.
    for cancelled in writes[:2]:
        before = len(statements)
        async with asyncio.timeout(30):
            while len(statements) < before + 3:  # noqa: ASYNC110 - a thread has no event
                await asyncio.sleep(0.001)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    other.execute("ROLLBACK")
    await writes[2]
    assert await teams(graph) == ["c"]
    other.close()


async def test_another_process_that_writes_all_the_time_is_waited_for_no_longer_than_agreed(
    graph: SqliteGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "PATIENCE_SECONDS", 0.0)
    other = sqlite3.connect(graph.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found = await asyncio.gather(*(write(graph, creating(name)) for name in ("a", "b")), return_exceptions=True)
    assert [type(each) for each in found] == [Unavailable, Unavailable]
    other.close()
    await write(graph, creating("a"))
    assert await teams(graph) == ["a"]


async def test_a_read_that_is_not_quick_after_all_is_begun_again_in_a_thread(
    graph: SqliteGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(write(graph, creating(f"t{i}")) for i in range(20)))
    monkeypatch.setattr(running, "QUICK_STEPS", 200)
    began = 0

    async def reads(snapshot: Snapshot) -> int:
        nonlocal began
        began += 1
        return len((await snapshot.find("Team")).items)

    async with graph.snapshot() as snapshot:
        assert await snapshot.together(reads, quick=True) == 20
        assert await snapshot.nodes([]) == {}
    assert began == 2


@pytest.mark.parametrize("told", [False, True])
def test_what_is_to_be_quick_and_is_not_is_to_be_run_again_whichever_way_it_says_so(told: bool) -> None:
    db = sqlite3.connect(":memory:")

    def count() -> None:
        try:
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 999999) SELECT max(i) FROM n"
            )
        except sqlite3.Error as error:
            if told:
                raise translated(error) from error
            raise

    with ThreadPoolExecutor(1) as pool, closing(db):
        run = Thread(pool, db)
        with pytest.raises(TooLong):
            run.here(count)
        assert run.here(lambda: db.execute("SELECT 1").fetchone()) == (1,)


async def test_a_store_that_is_closed_while_it_writes_ends_that_first(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def stop(statement: Statement) -> None:
        if statement.verb == "create":
            begun.set()
            assert go_on.wait(10)

    path = tmp_path / "lineal.db"
    async with SqliteGraph(path) as graph:
        await graph.migrate()
    graph = SqliteGraph(path, observer=stop)
    await graph.open()
    writing = write(graph, creating("t"))
    await asyncio.to_thread(begun.wait, 10)
    closing = asyncio.create_task(graph.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    go_on.set()
    await asyncio.gather(writing, closing)
    async with SqliteGraph(path) as graph:
        assert await teams(graph) == ["t"]


async def test_tags_of_what_is_new_are_those_that_it_got(graph: SqliteGraph) -> None:
    async def work(tx: Transaction) -> list[object]:
        team, other = await tx.create([NewNode("Team", name, ontology.GLOBAL) for name in ("t", "u")])
        before = tx.statements
        told: list[object] = [await tx.rows([team.id, other.id], "tags"), tx.statements - before]
        await tx.put_rows("tags", {team.id: {"a": "1"}})
        return [*told, await tx.rows([team.id, other.id], "tags") == {team.id: {"a": "1"}}]

    assert await graph.write(work, by=building.BY, action="test") == [{}, 0, True]
