"""Contract of both stores: the audit is found by filters, read in pages, and keeps its checkpoints."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graph.port import Checkpoint, Entry, EntryFilter, Graph, NewEdge, NewNode, Note, Transaction, Update
from lineal.errors import Conflict
from tests import building
from tests.graph.chains import chains, create_in


async def asked(graph: Graph, where: EntryFilter, **more: Any) -> list[tuple[str, int]]:
    """The entries that a filter finds, as (workspace, number)."""
    async with graph.snapshot() as snapshot:
        return [(e.workspace, e.number) for e in await snapshot.entries(where, **more)]


async def test_entries_come_the_latest_first_and_go_on_after_any_of_them(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    for n in range(3):
        await create_in(graph, "default", "vision", name=f"m{n}")
    await chains(graph)
    everything = [
        ("default", 3),
        ("vision", 4),
        ("default", 2),
        ("vision", 3),
        ("default", 1),
        ("vision", 2),
        ("vision", 1),
    ]
    assert await asked(graph, EntryFilter()) == everything
    async with graph.snapshot() as snapshot:
        for size in (1, 2, 3, 100):
            read: list[Entry] = []
            while page := await snapshot.entries(
                after=(read[-1].change.seq or 0, read[-1].workspace) if read else None, limit=size
            ):
                read += page
            assert [(e.workspace, e.number) for e in read] == everything
    some = EntryFilter(workspaces=frozenset({"vision", "nowhere"}))
    assert await asked(graph, some, limit=2) == [("vision", 4), ("vision", 3)]
    assert await asked(graph, some, after=(3, "default")) == [("vision", 3), ("vision", 2), ("vision", 1)]
    assert await asked(graph, EntryFilter(workspaces=frozenset())) == []


async def test_entries_are_found_by_every_filter_alone_and_together(graph: Graph) -> None:
    async def write(name: str, by: str, action: str, request: str) -> str:
        async def work(tx: Transaction) -> str:
            return (await tx.create([NewNode("Model", name, "default")]))[0].id

        return await graph.write(work, by=by, action=action, request=request)

    first = await write("one", "ada", "register", "r1")
    await write("two", "bob", "register", "r2")
    await graph.note([Note("bob", "delete", {}, ("default",), "r2")])
    await building.update(graph, Update(first, {"task": "t"}))
    entries = (await chains(graph))["default"]
    times = [e.change.at for e in entries]

    async def numbers(**filters: Any) -> list[int]:
        return [number for _, number in await asked(graph, EntryFilter(**filters))]

    assert await numbers() == [4, 3, 2, 1]
    assert await numbers(by="bob") == [3, 2]
    assert await numbers(action="register") == [2, 1]
    assert await numbers(subject=first) == [4, 1]
    assert await numbers(request="r2") == [3, 2]
    assert await numbers(request="") == [4]
    assert await numbers(noted=True) == [3]
    assert await numbers(noted=False) == [4, 2, 1]
    assert await numbers(since=times[2]) == [4, 3]
    assert await numbers(until=times[2]) == [2, 1]
    assert await numbers(since=times[1], until=times[3]) == [3, 2]
    assert await numbers(since=times[3] + 1) == []
    assert await numbers(until=times[0]) == []
    assert await numbers(by="bob", action="register", request="r2", noted=False) == [2]
    assert await numbers(subject=first, by="ada", since=times[0]) == [1]
    assert await numbers(workspaces=frozenset({"default"}), by="bob", noted=True) == [3]
    assert await numbers(workspaces=frozenset({"default"}), action="register", since=times[1]) == [2]
    assert await numbers(workspaces=frozenset({"vision"}), by="bob") == []
    assert await numbers(subject="mo_00000000000000000000000000") == []


async def test_entries_about_a_principal_include_those_that_address_it(graph: Graph) -> None:
    vision = await building.workspace(graph, "vision")
    (principal,) = await building.create(graph, NewNode("Principal", "corp:ada", ""))
    await building.link(graph, NewEdge("GRANTS", vision.id, principal.id, "VIEWER"))
    await chains(graph)
    assert await asked(graph, EntryFilter(subject=principal.id)) == [("vision", 2), ("", 1)]


async def test_each_verb_of_the_audit_is_one_statement(graph: Graph) -> None:
    await create_in(graph, "default")
    await chains(graph)
    async with graph.snapshot() as snapshot:
        for number, verb in enumerate(
            (
                snapshot.entries(EntryFilter(by="tester", subject="x")),
                snapshot.chain("default"),
                snapshot.heads(),
                snapshot.anchors(),
                snapshot.checkpoints(),
                snapshot.changes(among=["x"], but_by="y"),
                snapshot.changes_of(["x", "y"]),
            ),
            1,
        ):
            await verb
            assert snapshot.statements == number


# Checkpoints ──────────────────────────────────────────────────────────────────────────────────────


async def test_checkpoints_are_kept_by_number_and_no_number_twice(graph: Graph) -> None:
    checkpoints = [Checkpoint(n, f'{{"at":{n}}}', "key", f"signature {n}") for n in (1, 2, 3)]
    for checkpoint in checkpoints:
        await graph.put_checkpoint(checkpoint)
    for again in (checkpoints[1], Checkpoint(2, "{}", "key", "other")):
        with pytest.raises(Conflict):
            await graph.put_checkpoint(again)
    async with graph.snapshot() as snapshot:
        assert await snapshot.checkpoints() == checkpoints
        assert await snapshot.checkpoints(after=1, limit=1) == checkpoints[1:2]
        assert await snapshot.checkpoints(after=3) == []


async def test_of_many_that_put_a_checkpoint_of_one_number_one_succeeds(graph: Graph) -> None:
    async def put(n: int) -> bool:
        try:
            await graph.put_checkpoint(Checkpoint(1, "{}", "key", str(n)))
        except Conflict:
            return False
        return True

    outcomes = await asyncio.gather(*(put(n) for n in range(5)))
    assert outcomes.count(True) == 1
    async with graph.snapshot() as snapshot:
        (kept,) = await snapshot.checkpoints()
    assert kept.signature == str(outcomes.index(True))
