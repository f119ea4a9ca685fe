"""Contract of both stores: each change is an entry in the chain of each of its workspaces, which anyone can check."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import neo4j
import pytest

from graph.neo4j.store import Neo4jGraph
from graph.port import Graph, NewEdge, NewNode, Note, Origin, Transaction
from graph.sqlite.store import SqliteGraph
from tests import building
from tests.graph.chains import BEGINNING, broken, chains, create_in, hash_of, heads

ORIGIN = Origin("trainer", "token-1", "192.0.2.7")
Tamper = Callable[[str, str, Mapping[str, Any]], Awaitable[None]]


@pytest.fixture
def tamper(graph: Graph) -> Tamper:
    """Changes the store behind Lineal's back: a statement for SQLite, another for Neo4j."""

    async def run(sql: str, cypher: str, params: Mapping[str, Any]) -> None:
        if isinstance(graph, SqliteGraph):
            with sqlite3.connect(graph.path) as db:
                db.execute(sql, params)
            db.close()
        else:
            assert isinstance(graph, Neo4jGraph)
            with neo4j.GraphDatabase.driver(graph.url) as driver:
                driver.execute_query(cypher, dict(params))

    return run


# Chains ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_entry_tells_who_did_what_from_where_and_its_hash_covers_all_of_it(graph: Graph) -> None:
    async def work(tx: Transaction) -> None:
        await tx.create([NewNode("Model", "é 😀", "default", props={"attributes": {"x": 1.5, "big": 2**53 - 1}})])

    await graph.write(work, by="corp:ada", action="register", request="req-1", origin=ORIGIN)
    (entry,) = (await chains(graph))["default"]
    change = entry.change
    assert (change.by, change.action, change.request, change.origin) == ("corp:ada", "register", "req-1", ORIGIN)
    assert (change.seq, change.workspaces) == (1, ("default",))
    assert entry.hash == hash_of(BEGINNING, entry)


async def test_each_workspace_has_a_chain_of_its_own_that_counts_from_one(graph: Graph) -> None:
    names = [f"w{n:02}" for n in range(50)]
    await building.create(graph, *(NewNode("Workspace", name, "") for name in names))

    async def story(name: str) -> None:
        for model in ("a", "b"):
            await create_in(graph, name, name=model)

    await asyncio.gather(*(story(name) for name in names))
    found = await chains(graph)
    assert {name: [e.number for e in entries] for name, entries in found.items()} == {n: [1, 2, 3] for n in names}
    assert {name: broken(entries) for name, entries in found.items()} == {name: [] for name in names}
    # The first entry of all of them is the one change that made the workspaces.
    assert len({entries[0].change.id for entries in found.values()}) == 1
    assert found["w07"][0].change.workspaces == tuple(names)
    there = await heads(graph)
    assert {name: (head.number, head.hash) for name, head in there.items()} == {
        name: (3, entries[-1].hash) for name, entries in found.items()
    }


async def test_a_change_in_two_workspaces_is_an_entry_of_both(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    await create_in(graph, "default", name="alone")
    await create_in(graph, "vision", "default")
    found = await chains(graph)
    assert [e.change.action for e in found["default"]] == ["create", "create"]
    one, other = found["default"][-1], found["vision"][-1]
    assert one.change == other.change
    assert one.change.workspaces == ("default", "vision")
    assert one.hash != other.hash
    assert {name: broken(entries) for name, entries in found.items()} == {"default": [], "vision": []}


async def test_an_edge_belongs_to_the_workspace_of_its_source_and_globals_to_none(graph: Graph) -> None:
    vision = await building.workspace(graph, "vision")
    (principal,) = await building.create(graph, NewNode("Principal", "corp:ada", ""))
    await building.link(graph, NewEdge("GRANTS", vision.id, principal.id, "OWNER"))
    found = await chains(graph)
    assert [e.change.action for e in found[""]] == ["create"]
    assert [e.change.action for e in found["vision"]] == ["create", "link"]
    assert "default" not in found


async def test_what_is_loaded_belongs_to_the_workspaces_that_it_is_loaded_into(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    record = building.record("Model", "m", workspace="vision")
    await building.load(graph, [record])
    entry = (await chains(graph))["vision"][-1]
    assert (entry.change.action, entry.change.data) == ("load", {"loaded": {"nodes": 1}})
    assert entry.change.workspaces == ("vision",)


async def test_chains_go_on_over_several_rounds_of_sequencing(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    for n in range(3):
        await create_in(graph, "default", name=f"a{n}")
        await create_in(graph, "vision", "default", name=f"b{n}")
        await building.sequenced(graph)
    found = await chains(graph)
    assert {name: len(entries) for name, entries in found.items()} == {"default": 6, "vision": 4}
    assert not any(map(broken, found.values()))
    assert await graph.sequence() == 0


async def test_a_chain_is_read_in_pages(graph: Graph) -> None:
    for n in range(5):
        await create_in(graph, "default", name=f"m{n}")
    (entries,) = (await chains(graph)).values()
    async with graph.snapshot() as snapshot:
        assert await snapshot.chain("default", limit=2) == entries[:2]
        assert await snapshot.chain("default", after=2, limit=2) == entries[2:4]
        assert await snapshot.chain("default", after=5) == []
        assert await snapshot.chain("nowhere") == []


# Tampering ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("by", "corp:eve"), ("action", "nothing"), ("at", 7), ("request", "req-2"), ("client", "c"), ("token", "t"),
        ("address", "198.51.100.1"), ("data", '{"created":[]}'),
    ],
)  # fmt: skip
async def test_an_edited_change_no_longer_has_its_hash(graph: Graph, tamper: Tamper, column: str, value: Any) -> None:
    for n in range(3):
        await create_in(graph, "default", name=f"m{n}")
    await chains(graph)
    await tamper(
        f"UPDATE change SET {column} = :value WHERE seq = 2",
        f"MATCH (c:Change {{seq: 2}}) SET c.{column} = $value",
        {"value": value},
    )
    assert broken((await chains(graph))["default"]) == [2]


async def test_a_removed_entry_or_change_leaves_a_gap(graph: Graph, tamper: Tamper) -> None:
    for n in range(6):
        await create_in(graph, "default", name=f"m{n}")
    await chains(graph)
    await tamper("DELETE FROM entry WHERE number = 2", "MATCH (e:Entry {number: 2}) DELETE e", {})
    await tamper("DELETE FROM change WHERE seq = 5", "MATCH (c:Change {seq: 5}) DETACH DELETE c", {})
    found = (await chains(graph))["default"]
    assert [e.number for e in found] == [1, 3, 4, 6]
    assert broken(found) == [2, 5]


async def test_entries_whose_changes_are_gone_do_not_look_like_the_end_of_a_chain(graph: Graph, tamper: Tamper) -> None:
    for n in range(4):
        await create_in(graph, "default", name=f"m{n}")
    await chains(graph)
    await tamper("DELETE FROM change WHERE seq < 3", "MATCH (c:Change) WHERE c.seq < 3 DETACH DELETE c", {})
    async with graph.snapshot() as snapshot:
        assert [entry.number for entry in await snapshot.chain("default", limit=2)] == [3, 4]


async def test_swapped_changes_have_each_others_hashes(graph: Graph, tamper: Tamper) -> None:
    for n in range(4):
        await create_in(graph, "default", name=f"m{n}")
    await chains(graph)
    # Unique all the while: one goes out of the way first.
    for old, new in ((2, -2), (3, 2), (-2, 3)):
        await tamper(
            "UPDATE entry SET seq = :new WHERE seq = :old",
            "MATCH (e:Entry {seq: $old}) SET e.seq = $new",
            {"old": old, "new": new},
        )
    assert broken((await chains(graph))["default"]) == [2, 3]


async def test_a_chain_that_was_cut_off_behind_is_shorter_than_its_head_says(graph: Graph, tamper: Tamper) -> None:
    for n in range(3):
        await create_in(graph, "default", name=f"m{n}")
    await chains(graph)
    await tamper("DELETE FROM entry WHERE number = 3", "MATCH (e:Entry {number: 3}) DELETE e", {})
    assert [e.number for e in (await chains(graph))["default"]] == [1, 2]
    assert (await heads(graph))["default"].number == 3


# Notes ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_note_is_an_entry_that_no_feed_of_changes_gives(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    refusal = Note("corp:eve", "deleteModel", {"code": "FORBIDDEN"}, ("default",), "req-9", ORIGIN, 3)
    await graph.note([refusal, Note("", "authenticate", {"reason": "expired"})])
    found = await chains(graph)
    entry = found["default"][-1]
    assert entry.change.data == {"noted": {"code": "FORBIDDEN", "count": 3}}
    assert (entry.change.by, entry.change.action, entry.change.request) == ("corp:eve", "deleteModel", "req-9")
    assert (entry.change.origin, entry.change.workspaces) == (ORIGIN, ("default",))
    (failed,) = found[""]
    assert (failed.change.action, failed.change.data) == ("authenticate", {"noted": {"reason": "expired", "count": 1}})
    assert not any(map(broken, found.values()))
    assert [c.action for c in await building.sequenced(graph)] == ["whole"]
    async with graph.snapshot() as snapshot:
        assert [c.action for c in (await snapshot.changes_of([model.id]))[model.id]] == ["whole"]


async def test_notes_of_workspaces_that_are_not_there_go_where_nothing_belongs(graph: Graph) -> None:
    gone = await building.workspace(graph, "gone")
    await building.workspace(graph, "vision")
    await building.remove(graph, gone.id)
    await graph.note(
        [
            Note("a", "one", {}, ("gone",)),
            Note("a", "two", {}, ("never", "nor this")),
            Note("a", "three", {}, ("vision", "never")),
            Note("a", "four", {}, ()),
            Note("a", "five", {}, ("", "default")),
        ]
    )
    told = {e.change.action: e.change.workspaces for entries in (await chains(graph)).values() for e in entries}
    assert {action: told[action] for action in ("one", "two", "three", "four", "five")} == {
        "one": ("",),
        "two": ("",),
        "three": ("", "vision"),
        "four": ("",),
        "five": ("", "default"),
    }


async def test_no_notes_are_nothing(graph: Graph) -> None:
    await graph.note([])
    assert await chains(graph) == {}
