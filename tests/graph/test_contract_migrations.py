"""Contract of both stores: numbered migrations, and no dealing with a newer store."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import neo4j
import pytest

from graph.open import open_graph
from graph.port import Checkpoint, Graph, Kept, Transaction
from graph.transfer import export_lines
from lineal.errors import PreconditionFailed, Unavailable
from tests import building
from tests.auditing import found
from tests.graph.test_transfer import rich_graph
from tests.services import Neo4jServer, free_port


async def test_migrations_are_numbered_and_migrating_twice_is_nothing(tmp_path: Path) -> None:
    async with open_graph(f"sqlite:///{tmp_path / 'new.db'}") as graph:
        with pytest.raises(PreconditionFailed, match="lineal migrate"):
            await graph.check_version()
        applied = await graph.migrate()
        assert [int(re.match(r"\d{4}", name)[0]) for name in applied] == list(range(1, len(applied) + 1))  # type: ignore[index]
        assert applied
        await graph.check_version()


async def test_migrating_again_keeps_what_is_there(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    assert await graph.migrate() == []
    await graph.check_version()
    assert await building.node(graph, model.id) == model


async def test_a_newer_sqlite_store_is_refused_with_words(tmp_path: Path) -> None:
    path = tmp_path / "lineal.db"
    async with open_graph(f"sqlite:///{path}") as graph:
        await graph.migrate()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9999")
    db.close()
    async with open_graph(f"sqlite:///{path}") as graph:
        for refused in (graph.check_version, graph.migrate):
            with pytest.raises(PreconditionFailed, match=r"9999.*newer"):
                await refused()


async def test_an_empty_neo4j_is_not_migrated_and_a_newer_one_is_refused(
    tmp_path: Path, neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    with neo4j.GraphDatabase.driver(neo4j_server.url) as driver:
        versions = [
            (label, name)
            for record in driver.execute_query("MATCH (n) RETURN labels(n)[0] AS label, properties(n) AS props").records
            for label in [record["label"]]
            for name, value in record["props"].items()
            if isinstance(value, int) and "version" in (label + name).lower() and label != "ModelVersion"
        ]
        assert len(versions) == 1, "the store keeps its version in one property"
        label, name = versions[0]
        driver.execute_query(f"MATCH (n:`{label}`) SET n.`{name}` = 9999")
        for refused in (neo4j_graph.check_version, neo4j_graph.migrate):
            with pytest.raises(PreconditionFailed, match=r"9999.*newer"):
                await refused()
        driver.execute_query("MATCH (n) DETACH DELETE n")
    with pytest.raises(PreconditionFailed, match="lineal migrate"):
        await neo4j_graph.check_version()
    assert await neo4j_graph.migrate()
    await neo4j_graph.check_version()


async def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        async with open_graph(f"bolt://127.0.0.1:{free_port()}"):
            pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is no database " * 100)
    from lineal.errors import LinealError

    with pytest.raises(LinealError):
        async with open_graph(f"sqlite:///{path}") as graph:
            await graph.check_version()


async def test_what_a_migration_would_do_is_told_and_not_done(tmp_path: Path) -> None:
    async with open_graph(f"sqlite:///{tmp_path / 'new.db'}") as graph:
        pending = await graph.pending()
        with pytest.raises(PreconditionFailed, match="lineal migrate"):
            await graph.check_version()
        assert await graph.pending() == pending
        assert await graph.migrate() == pending
        assert await graph.pending() == []


async def test_what_a_migration_of_neo4j_would_do_is_told_and_not_done(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    assert await neo4j_graph.pending() == []
    with neo4j.GraphDatabase.driver(neo4j_server.url) as driver:
        driver.execute_query("MATCH (n) DETACH DELETE n")
        pending = await neo4j_graph.pending()
        assert pending
        assert driver.execute_query("MATCH (n) RETURN n").records == []
    assert await neo4j_graph.migrate() == pending


async def test_an_older_process_goes_on_beside_a_store_that_has_more_of_everything(tmp_path: Path) -> None:
    """Steps expand first: this is what a newer one may add while processes of this code still run."""
    path = tmp_path / "lineal.db"
    async with open_graph(f"sqlite:///{path}") as graph:
        await graph.migrate()
        model, _ = await building.model(graph, "before")
        with closing(sqlite3.connect(path)) as db, db:
            tables = [name for (name,) in db.execute("SELECT name FROM pragma_table_list WHERE type = 'table'")]
            for table in tables:
                if not table.startswith(("sqlite_", "search")):
                    db.execute(f"ALTER TABLE {table} ADD COLUMN newer TEXT NOT NULL DEFAULT 'x'")
            db.execute("CREATE TABLE newer (k INTEGER PRIMARY KEY) STRICT")
            db.execute("PRAGMA user_version = 9999")
        with pytest.raises(PreconditionFailed, match="newer"):
            await graph.check_version()
        await rich_graph(graph)
        lease = await graph.claim("work", "me", 60)
        assert lease is not None

        async def work(tx: Transaction) -> None:
            await tx.fence(lease)
            await tx.recall("key")
            await tx.remember("key", "hash", [model.id])
            await tx.keep([Kept("x", 1, "WAITING", {})])

        await graph.write(work, by="ann", action="test")
        await graph.put_checkpoint(Checkpoint(1, "{}", "key", "signature"))
        await graph.release(lease)
        assert await building.node(graph, model.id) == model
        async with graph.snapshot() as snapshot:
            assert [line async for line in export_lines(snapshot)]
            assert await snapshot.kept(["x"], ["WAITING"]) == {"x": [Kept("x", 1, "WAITING", {})]}
            assert [key.key for key in await snapshot.keys(("", ""), 10)] == ["key"]
        assert [finding.kind for finding in await found(graph, [])] == ["unsigned"]


async def test_what_has_no_value_takes_no_place_in_the_index_of_a_property(tmp_path: Path) -> None:
    """A store of before has an index of each kind's, with all that are of the kind."""
    path = tmp_path / "lineal.db"
    names = "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE '%task'"
    async with open_graph(f"sqlite:///{path}") as graph:
        await graph.migrate()
        await building.model(graph, "plain")
        await building.model(graph, "told", task="ranking")
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("DROP INDEX property_task")
            db.execute(
                "CREATE INDEX node_Model_task ON node (json_extract(props, '$.task'), id) "
                "WHERE kind = 'Model' AND deleted_at IS NULL"
            )
            db.execute("PRAGMA user_version = 6")
        await graph.migrate()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute(names).fetchall() == [("property_task",)]
            counted = "SELECT count(*) FROM node INDEXED BY property_task WHERE deleted_at IS NULL"
            assert db.execute(f"{counted} AND json_extract(props, '$.task') IS NOT NULL").fetchone() == (1,)
            with pytest.raises(sqlite3.OperationalError, match="no query solution"):
                db.execute(counted)
