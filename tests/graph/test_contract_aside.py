"""Contract of both stores: what a store has beside its graph is read whole, and put back as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graph.aside import aside_lines, put_back
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Aside, Graph, Head, Kept, NewNode, Remembered, Transaction, Update
from graph.sqlite.store import SqliteGraph
from graph.transfer import export_lines, import_file
from lineal.errors import Conflict, InvalidArgument
from tests import building
from tests.auditing import found
from tests.graph.test_transfer import rich_graph


async def aside(graph: Graph) -> bytes:
    while await graph.sequence():
        pass
    async with graph.snapshot() as snapshot:
        return b"".join([line async for line in aside_lines(snapshot)])


async def exported(graph: Graph) -> bytes:
    async with graph.snapshot() as snapshot:
        return b"".join([line async for line in export_lines(snapshot)])


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Graph]:
    async with SqliteGraph(tmp_path / "other.db") as graph:
        await graph.migrate()
        yield graph


async def busy(graph: Graph) -> None:
    """Changes in several chains, older entries taken off one, things kept, and keys."""
    await rich_graph(graph)

    async def work(tx: Transaction) -> None:
        await tx.keep([Kept(owner, n, "WAITING", {"b": n, "a": "ü"}) for owner in ("x", "y") for n in (-1, 2**62)])
        await tx.remember("k2", "h", ["mv_1", "mv_2"])
        await tx.remember("k1", "h", [])

    await graph.write(work, by="ann", action="test")
    await aside(graph)
    async with graph.snapshot() as snapshot:
        entries = await snapshot.chain("default", limit=3)
    await graph.prune([Head("default", entries[-1].number, entries[-1].hash)], by="ann")


async def copied(source: Graph, target: Graph, folder: Path) -> None:
    (folder / "graph").write_bytes(await exported(source))
    (folder / "aside").write_bytes(await aside(source))
    for _ in range(2):
        await import_file(target, folder / "graph", by="ann", quietly=True)
        await put_back(target, folder / "aside", by="ann")


async def test_all_of_it_goes_to_another_store_twice_and_is_the_same(
    graph: Graph, other: Graph, tmp_path: Path
) -> None:
    await busy(graph)
    await copied(graph, other, tmp_path)
    assert await aside(other) == await aside(graph)
    assert await exported(other) == await exported(graph)


async def test_the_audit_verifies_there_and_goes_on_where_it_ended(graph: Graph, other: Graph, tmp_path: Path) -> None:
    await busy(other)
    before = [finding.kind for finding in await found(other, [])]
    await copied(other, graph, tmp_path)
    await building.create(graph, NewNode("Model", "after", "default"))
    await aside(graph)
    assert [finding.kind for finding in await found(graph, [])] == before
    async with graph.snapshot() as snapshot, other.snapshot() as old:
        ends = {head.workspace: head.number for head in await snapshot.heads()}
        assert ends == {**{h.workspace: h.number for h in await old.heads()}, "default": ends["default"]}
        assert ends["default"] == {h.workspace: h.number for h in await old.heads()}["default"] + 1
    recalled = await graph.write(lambda tx: tx.recall("k2"), by="ann", action="test")
    assert recalled == Remembered("h", ["mv_1", "mv_2"])


async def test_putting_back_leaves_no_change(graph: Graph) -> None:
    await graph.write(lambda tx: tx.put_back(Aside()), by="ann", action="restore")
    assert await aside(graph) == b""


@pytest.mark.parametrize("line", [b"{}\n", b"no\n", b'{"other":{}}\n', b'{"kept":{"owner":"x"}}\n', b'{"change":{}}\n'])
async def test_a_line_that_is_none_is_refused_by_its_number(sqlite_graph: Graph, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "aside").write_bytes(b'{"kept":{"data":{},"number":1,"owner":"x","state":"s"}}\n' + line)
    with pytest.raises(InvalidArgument, match="line 2: is none"):
        await put_back(sqlite_graph, tmp_path / "aside", by="ann")
    assert await aside(sqlite_graph) == b""


async def test_the_default_workspace_is_taken_as_it_was_unless_somebody_changed_it(
    graph: Graph, other: Graph, tmp_path: Path
) -> None:
    await building.update(other, Update(DEFAULT_WORKSPACE_ID, {"description": "ours"}))
    await building.tag(other, DEFAULT_WORKSPACE_ID, team="nlp")
    (tmp_path / "graph").write_bytes(await exported(other))
    assert (await import_file(graph, tmp_path / "graph", by="ann")).new == 1
    assert await exported(graph) == await exported(other)
    assert (await import_file(graph, tmp_path / "graph", by="ann")).new == 0
    await building.update(graph, Update(DEFAULT_WORKSPACE_ID, {"description": "mine"}))
    with pytest.raises(Conflict, match="other content"):
        await import_file(graph, tmp_path / "graph", by="ann")
