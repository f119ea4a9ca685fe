"""Whatever does not fit together is found; what can be mended is, and the audit says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import neo4j
import pytest

from auth.verifying import Verification
from graph.port import EntryFilter, Graph, Strays
from graph.sqlite.store import SqliteGraph
from resolvers.artifacts.common import manifest_name
from resolvers.backup.checking import Check, Finding, Kind
from tests.artifacts.conftest import Registry
from tests.backup.conftest import content
from tests.graph.test_transfer import rich_graph
from tests.services import Neo4jServer
from tests.storage.storing import blob_of

FILES = {"a.bin": b"first", "deep/b.bin": b"second"}
LONG = 3_600.0


async def checked(
    registry: Registry, *, deep: bool = False, repair: bool = False, grace: float = LONG
) -> list[Finding]:
    while await registry.graph.sequence():
        pass
    check = Check(registry.graph, registry.storage, by="ann", grace=grace, deep=deep, repair=repair)
    async with registry.graph.snapshot() as snapshot:
        return [finding async for finding in check.findings(Verification(snapshot, []))]


def kinds(findings: Sequence[Finding]) -> list[Kind]:
    return [finding.kind for finding in findings]


async def test_what_fits_together_is_left_alone(registry: Registry) -> None:
    await rich_graph(registry.graph)
    await registry.push(FILES)
    assert await checked(registry, deep=True, repair=True) == []


async def test_bytes_that_are_lost_are_found_and_told_to_all_that_have_them(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"second").sha256])
    (found,) = await checked(registry)
    assert (found.kind, found.wrong) == (Kind.LOST, True)
    assert artifact.id in found.message
    assert "'deep/b.bin' is not there" in found.message
    (mended,) = await checked(registry, repair=True)
    assert (mended.mended, mended.wrong) == (True, False)
    assert (await registry.node(artifact.id)).props["verification"] == "FAILED"
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    while await registry.graph.sequence():
        pass
    async with registry.graph.snapshot() as snapshot:
        (entry,) = await snapshot.entries(EntryFilter(subject=artifact.id), limit=1)
    assert (entry.change.by, entry.change.action) == ("ann", "verifyArtifact")
    assert await checked(registry, deep=True) == []


async def test_a_manifest_that_is_lost_cannot_be_mended_and_keeps_storage_as_it_is(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    await registry.storage.discard("default", manifest_name(artifact.props["digest"]))
    found = await checked(registry, repair=True)
    assert kinds(found) == [Kind.LOST, Kind.STUCK]
    assert all(each.wrong for each in found)
    assert "its manifest is not there" in found[0].message


async def test_what_nothing_needs_waits_and_is_cleared_away_by_a_repair(registry: Registry) -> None:
    await registry.push(FILES)
    await registry.store.upload("default", b"needed by nothing")
    assert await checked(registry) == []
    (found,) = await checked(registry, grace=0.0)
    assert (found.kind, found.wrong) == (Kind.CLUTTER, False)
    assert "1 blobs (17 bytes)" in found.message
    assert await registry.holds(b"needed by nothing")
    assert [each.mended for each in await checked(registry, grace=0.0, repair=True)] == [True]
    assert not await registry.holds(b"needed by nothing")
    assert await registry.holds(b"first")


@pytest.fixture
def small(sqlite_graph: SqliteGraph, local: object) -> Registry:
    """A registry on the embedded store."""
    from resolvers.bytes import Bytes

    return Registry(sqlite_graph, local, Bytes(local.storage))  # type: ignore[arg-type, attr-defined]


async def test_only_a_deep_look_sees_other_bytes_of_the_same_size(small: Registry, tmp_path: Path) -> None:
    await small.push(FILES)
    (path,) = (p for p in tmp_path.rglob(blob_of(b"first").sha256) if p.is_file())  # noqa: ASYNC240 - nobody waits
    path.write_bytes(b"fIrst")
    assert await checked(small) == []
    assert kinds(await checked(small, deep=True)) == [Kind.LOST]
    assert [each.mended for each in await checked(small, deep=True, repair=True)] == [True]
    assert await checked(small, deep=True) == []


async def test_rows_of_nothing_are_dropped_and_damage_is_named(small: Registry, sqlite_graph: SqliteGraph) -> None:
    await rich_graph(small.graph)
    with closing(sqlite3.connect(sqlite_graph.path)) as db, db:
        db.execute("INSERT INTO tag VALUES (999, 'team', 'nobody')")
        db.execute("INSERT INTO metric VALUES (999, 'loss', 1, 1, 1, 0, 0, 0)")
        db.execute("INSERT INTO edge SELECT src, 'USES', 999, '', 0, 1, NULL, NULL FROM edge LIMIT 1")
        db.execute("UPDATE node SET container = 'nowhere' WHERE id = (SELECT max(id) FROM node)")
    found = await checked(small)
    assert kinds(found) == [Kind.STRAY] * 3 + [Kind.DAMAGE]
    assert [each.message for each in found[:3]] == [
        "1 edges without an end",
        "1 tags of nothing",
        "1 metrics of nothing",
    ]
    assert [each.wrong for each in await checked(small, repair=True)] == [False] * 3 + [True]
    assert kinds(await checked(small)) == [Kind.DAMAGE]
    async with small.graph.snapshot() as snapshot:
        (entry,) = await snapshot.entries(EntryFilter(action="repairStore"))
    assert sum(entry.change.data["noted"]["dropped"].values()) == 3


async def test_what_leads_to_nothing_in_neo4j_is_dropped_and_all_else_stays(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    await rich_graph(neo4j_graph)
    before = await content(neo4j_graph)
    with neo4j.GraphDatabase.driver(neo4j_server.url) as driver:
        driver.execute_query("""CREATE (:Tag {owner: 'gone', name: 'a', value: 'b'})
            CREATE (:Param {owner: 'gone', name: 'a', value: 'b'}) CREATE (:Metric {owner: 'gone', name: 'a'})
            CREATE (:Chunk {owner: 'gone', name: 'b', number: 0}) CREATE (:Former {key: 'x', id: 'gone'})""")
        assert (await neo4j_graph.strays()).counts == {
            "tags of nothing": 1,
            "parameters of nothing": 1,
            "metrics of nothing": 1,
            "points of nothing": 1,
            "former names of nothing": 1,
        }
        await neo4j_graph.drop_strays()
        assert await neo4j_graph.strays() == Strays({}, [])
        assert await content(neo4j_graph) == before
        driver.execute_query("MATCH (n:Model) WITH n LIMIT 1 SET n.container = 'nowhere'")
    (damage,) = (await neo4j_graph.strays()).damage
    assert damage.endswith("belongs to nowhere, which is not there")


async def test_an_audit_that_was_tampered_with_is_named_and_not_mended(
    small: Registry, sqlite_graph: SqliteGraph
) -> None:
    await small.push(FILES)
    with closing(sqlite3.connect(sqlite_graph.path)) as db, db:
        db.execute("UPDATE change SET by = 'nobody' WHERE seq = 2")
    found = await checked(small, repair=True)
    assert kinds(found) == [Kind.AUDIT]
    assert found[0].message.startswith("edited: ")
    assert kinds(await checked(small)) == [Kind.AUDIT]
