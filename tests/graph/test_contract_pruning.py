"""Contract of both stores: chains lose their oldest entries without breaking, and old stores get their chains."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path

import neo4j
import pytest

from graph.open import open_graph
from graph.port import Entry, EntryFilter, Graph, Head, NewNode, Origin
from graph.sqlite import migrations as sqlite_migrations
from lineal.errors import Conflict, PreconditionFailed
from tests import building
from tests.graph.chains import broken, chains, create_in, heads

# Pruning ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pruned_chain_goes_on_from_its_anchor(graph: Graph) -> None:
    for n in range(5):
        await create_in(graph, "default", name=f"m{n}")
    before = (await chains(graph))["default"]
    end = Head("default", 3, before[2].hash)
    assert await graph.prune([end], by="corp:root", notes={"default": {"signature": "s"}}) == 3
    await create_in(graph, "default", name="later")
    found = (await chains(graph))["default"]
    assert [e.number for e in found] == [4, 5, 6, 7]
    assert found[:2] == before[3:]
    assert broken(found, number=end.number, hash=end.hash) == []
    told = found[2].change
    assert (told.by, told.action) == ("corp:root", "pruneAudit")
    assert told.data == {"noted": {"signature": "s", "entries": 3, "number": 3, "hash": end.hash}}
    async with graph.snapshot() as snapshot:
        assert await snapshot.anchors() == [end]
        assert [c.seq for c in await snapshot.changes()] == [4, 5, 7]


async def test_pruning_again_is_nothing_and_pruning_on_goes_on(graph: Graph) -> None:
    for n in range(5):
        await create_in(graph, "default", name=f"m{n}")
    before = (await chains(graph))["default"]
    ends = [Head("default", e.number, e.hash) for e in before]
    assert await graph.prune([ends[2]], by="root") == 3
    assert await graph.prune([ends[2]], by="root") == 0
    assert await graph.prune([ends[0]], by="root") == 0
    assert [e.number for e in (await chains(graph))["default"]] == [4, 5, 6]
    assert await graph.prune([ends[3]], by="root") == 1
    found = (await chains(graph))["default"]
    assert [e.number for e in found] == [5, 6, 7]
    assert broken(found, number=4, hash=ends[3].hash) == []
    assert await graph.prune([], by="root") == 0


async def test_a_whole_chain_may_go_and_numbers_are_never_used_again(graph: Graph) -> None:
    for n in range(3):
        await create_in(graph, "default", name=f"m{n}")
    await chains(graph)
    end = (await heads(graph))["default"]
    assert await graph.prune([end], by="root") == 3
    found = (await chains(graph))["default"]
    assert [(e.number, e.change.seq, e.change.action) for e in found] == [(4, 4, "pruneAudit")]
    assert broken(found, number=3, hash=end.hash) == []


async def test_a_change_stays_until_its_last_entry_goes(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    models = await building.create(graph, NewNode("Model", "m", "vision"), NewNode("Model", "m", "default"))
    found = await chains(graph)
    shared = found["default"][0]
    async with graph.snapshot() as snapshot:
        history = await snapshot.changes_of([m.id for m in models])
    assert await graph.prune([Head("default", 1, shared.hash)], by="root") == 1
    after = await chains(graph)
    assert after["vision"] == found["vision"]
    async with graph.snapshot() as snapshot:
        assert await snapshot.changes_of([m.id for m in models]) == history
    assert await graph.prune([Head("vision", 2, found["vision"][1].hash)], by="root") == 2
    async with graph.snapshot() as snapshot:
        assert await snapshot.changes_of([m.id for m in models]) == {}
        assert await snapshot.entries(EntryFilter(subject=models[0].id)) == []


@pytest.mark.parametrize("number", [2, 3, 9])
async def test_pruning_up_to_what_is_not_there_takes_nothing_from_any_chain(graph: Graph, number: int) -> None:
    await building.workspace(graph, "vision")
    for n in range(3):
        await create_in(graph, "default", "vision", name=f"m{n}")
    before = await chains(graph)
    good = Head("vision", 2, before["vision"][1].hash)
    with pytest.raises(Conflict):
        await graph.prune([good, Head("default", number, "f" * 64)], by="root")
    with pytest.raises(Conflict):
        await graph.prune([good, Head("nowhere", 1, good.hash)], by="root")
    assert await chains(graph) == before
    await graph.prune([Head("default", 2, before["default"][1].hash)], by="root")
    with pytest.raises(Conflict):
        await graph.prune([Head("default", 2, "f" * 64)], by="root")


async def test_pruning_beside_writers_leaves_whole_chains(graph: Graph) -> None:
    for n in range(6):
        await create_in(graph, "default", name=f"m{n}")
    before = (await chains(graph))["default"]

    async def take(entry: Entry) -> int:
        return await graph.prune([Head("default", entry.number, entry.hash)], by="root")

    taken = await asyncio.gather(
        *(take(entry) for entry in before[:4]), *(create_in(graph, "default", name=f"n{n}") for n in range(6))
    )
    assert sum(filter(None, taken)) == 4
    found = (await chains(graph))["default"]
    assert broken(found, number=4, hash=before[3].hash) == []
    assert Counter(e.change.action for e in found)["create"] == 8


# What came before there were chains ───────────────────────────────────────────────────────────────

OLD = [
    # seq, at, action, data, subjects
    (1, 10, "createWorkspace", '{"created":[["ws_v","Workspace","vision"]]}', ["ws_v"]),
    (2, 20, "registerModel", '{"created":[["mo_v","Model","v"],["mo_d","Model","d"]]}', ["mo_v", "mo_d"]),
    (3, 30, "import", '{"loaded":{"nodes":2}}', []),
    (5, 50, "updateModel", '{"updated":{"mo_d":{"before":{},"after":{"task":"é"}}}}', ["mo_d"]),
]
OLD_NODES = [("ws_v", "Workspace", "vision"), ("mo_v", "Model", "vision"), ("mo_d", "Model", "default")]


def old_sqlite(path: Path) -> None:
    """A file of the version that had one chain for all."""
    with sqlite3.connect(path) as db:
        for _, statements in sqlite_migrations.STEPS[:2]:
            for statement in statements:
                assert isinstance(statement, str)
                db.execute(statement)
        db.execute("PRAGMA user_version = 2")
        for id, kind, workspace in OLD_NODES:
            db.execute(
                "INSERT INTO node VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, 0, 'old', 0, 1, NULL, '{}')",
                (id, kind, workspace, id, f"{kind}/{id}", id, id),
            )
        for seq, at, action, data, subjects in OLD:
            db.execute(
                "INSERT INTO change VALUES (?, ?, ?, 'old', ?, ?, ?, ?)",
                (seq, f"ch_{seq}", at, action, f"r{seq}", data, f"hash {seq}"),
            )
            for id in subjects:
                db.execute("INSERT INTO subject SELECT k, ? FROM node WHERE id = ?", (seq, id))
    db.close()


def old_neo4j(url: str) -> None:
    """A database of the version that had one chain for all, with one more change that waits for its place in it."""
    nodes = [
        {"id": id, "kind": kind, "workspace": workspace, "container": id, "name": id, "sort": id, "createdAt": 0,
         "createdBy": "old", "updatedAt": 0, "revision": 1}
        for id, kind, workspace in OLD_NODES
    ]  # fmt: skip
    waiting = (None, 60, "updateModel", '{"updated":{"mo_v":{"before":{},"after":{"task":"x"}}}}', ["mo_v"])
    with neo4j.GraphDatabase.driver(url) as driver:
        driver.execute_query("UNWIND $nodes AS n CREATE (x:Entity) SET x = n", {"nodes": nodes})
        for seq, at, action, data, subjects in (*OLD, waiting):
            driver.execute_query(
                """CREATE (c:Change {id: $id, at: $at, by: 'old', action: $action, request: $request, data: $data,
                    seq: $seq, hash: $hash, attempt: 0})
                FOREACH (x IN CASE WHEN $seq IS NULL THEN [c] ELSE [] END | SET x:Unsequenced)
                WITH c UNWIND $subjects AS i MATCH (n:Entity {id: i}) CREATE (c)-[:ABOUT]->(n)""",
                {
                    "id": f"ch_{seq or 'waiting'}",
                    "at": at,
                    "action": action,
                    "request": f"r{seq or 6}",
                    "data": data,
                    "seq": seq,
                    "hash": f"hash {seq}",
                    "subjects": subjects,
                },
            )
        driver.execute_query("MERGE (m:Meta {name: 'changes'}) SET m.seq = 5, m.hash = 'hash 5'")
        driver.execute_query("MERGE (m:Meta {name: 'schema'}) SET m.version = 1")


async def test_a_store_with_one_chain_for_all_is_migrated_to_a_chain_for_each_workspace(
    store_url: str, tmp_path: Path
) -> None:
    embedded = store_url.startswith("sqlite")
    if embedded:
        old_sqlite(tmp_path / "lineal.db")
    else:
        old_neo4j(store_url)
    async with open_graph(store_url) as graph:
        with pytest.raises(PreconditionFailed, match="lineal migrate"):
            await graph.check_version()
        assert "chains of audit for each workspace" in [name[5:] for name in await graph.migrate()]
        await graph.check_version()
        assert await graph.migrate() == []
        found = await chains(graph)
        assert not any(map(broken, found.values()))
        waited = [6] if not embedded else []
        assert {name: [e.change.seq for e in entries] for name, entries in found.items()} == {
            "": [3],
            "default": [2, 5],
            "vision": [1, 2, *waited],
        }
        assert found["default"][0].change == found["vision"][1].change
        assert found["default"][0].change.workspaces == ("default", "vision")
        assert [(e.change.by, e.change.origin, e.change.request) for e in found[""]] == [("old", Origin(), "r3")]
        async with graph.snapshot() as snapshot:
            history = await snapshot.changes_of(["mo_d", "mo_v"])
            assert {id: [c.seq for c in of] for id, of in history.items()} == {"mo_d": [5, 2], "mo_v": [*waited, 2]}
        await create_in(graph, "default", name="later")
        entries = (await chains(graph))["default"]
        assert broken(entries) == []
        assert entries[-1].change.seq == 6 + len(waited)
