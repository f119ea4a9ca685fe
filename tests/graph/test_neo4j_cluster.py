"""How the Neo4j store goes about a cluster: who is written to and read from, after what, and when members change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from graph.neo4j.store import Neo4jGraph
from graph.port import Graph, Update
from lineal.breaking import FAILURES, Resting
from lineal.errors import Unavailable
from tests import building
from tests.cluster import Cluster, Tag, clustered
from tests.graph.bursting import create_version
from tests.graph.test_faults import MODEL, assert_whole, prepare
from tests.services import Neo4jServer

READERS = 40


@pytest.fixture
async def cluster(neo4j_graph: Graph, neo4j_server: Neo4jServer) -> AsyncIterator[Cluster]:
    """A cluster with an empty store."""
    async with clustered(neo4j_server.port) as cluster:
        yield cluster


async def read_often(graph: Graph, id: str) -> None:
    """Many read at once, so that each member gets some; all find it."""
    found = await asyncio.gather(*(building.node(graph, id) for _ in range(READERS)))
    assert [node and node.id for node in found] == [id] * READERS


async def test_writes_go_to_the_member_that_leads_and_reads_to_the_others(cluster: Cluster) -> None:
    async with Neo4jGraph(cluster.url) as graph:
        model, _ = await building.model(graph, "bert")
        await read_often(graph, model.id)
    assert [{begun.mode for begun in member.begun} for member in cluster.members] == [{"w"}, {"r"}, {"r"}]
    assert cluster.tables == 1


async def test_a_process_reads_what_it_wrote_from_members_that_are_behind(cluster: Cluster) -> None:
    async with Neo4jGraph(cluster.url) as graph:
        model, _ = await building.model(graph, "bert")
        assert await building.node(graph, model.id) == model
        cluster.fall_behind()
        (updated,) = await building.update(graph, Update(model.id, {"task": "ner"}))
        assert await building.node(graph, model.id) == updated != model


async def test_another_process_reads_what_a_bookmark_stands_for_and_what_was_there_before_without_one(
    cluster: Cluster,
) -> None:
    async with Neo4jGraph(cluster.url) as graph, Neo4jGraph(cluster.url) as other:
        model, _ = await building.model(graph, "bert")
        assert await building.node(other, model.id) == model
        cluster.fall_behind()
        (updated,) = await building.update(graph, Update(model.id, {"task": "ner"}))
        bookmark = await graph.bookmark()
        for after, node, bookmarks in (("", model, set()), (bookmark, updated, {bookmark})):
            for reader in cluster.readers:
                reader.begun.clear()
            async with other.snapshot(after=after) as snapshot:
                assert await snapshot.nodes([model.id]) == {model.id: node}
            assert [begun.bookmarks for reader in cluster.readers for begun in reader.begun] == [bookmarks]


@pytest.mark.parametrize("refuses_at", [Tag.RUN, Tag.COMMIT])
async def test_when_another_member_leads_a_write_goes_there_and_is_there_once(
    cluster: Cluster, neo4j_graph: Graph, refuses_at: Tag
) -> None:
    await prepare(neo4j_graph)
    cluster.refuses_at = refuses_at
    before, after, _ = cluster.members
    async with Neo4jGraph(cluster.url) as graph:
        written = [(await create_version(graph, MODEL)).id]
        cluster.leader = after
        written += [(await create_version(graph, MODEL)).id for _ in range(2)]
    assert [version.id for version in await assert_whole(neo4j_graph, written)] == written
    assert (before.refused, cluster.tables) == (1, 2)
    assert [[begun.mode for begun in member.begun].count("w") for member in (before, after)] == [2, 2]


async def test_when_another_member_leads_many_writes_at_once_go_there_and_are_there_once(
    cluster: Cluster, neo4j_graph: Graph
) -> None:
    await prepare(neo4j_graph)
    cluster.refuses_at = Tag.COMMIT
    async with Neo4jGraph(cluster.url) as graph:
        writes = [asyncio.create_task(create_version(graph, MODEL)) for _ in range(8)]
        await next(asyncio.as_completed(writes))
        cluster.leader = cluster.members[1]
        written = [version.id for version in await asyncio.gather(*writes)]
    assert {version.id for version in await assert_whole(neo4j_graph, written)} == set(written)
    assert cluster.members[0].refused


async def test_a_member_that_dies_is_passed_over_and_nobody_who_reads_notices(cluster: Cluster) -> None:
    async with Neo4jGraph(cluster.url) as graph:
        model, _ = await building.model(graph, "bert")
        await read_often(graph, model.id)
        dead, alive = cluster.readers
        before = len(dead.begun)
        reads = asyncio.create_task(read_often(graph, model.id))
        while len(dead.begun) < before + READERS // 4 and not reads.done():  # noqa: ASYNC110 - what is counted has no event
            await asyncio.sleep(0)
        dead.die()
        await reads
        seen = len(dead.begun)
        await read_often(graph, model.id)
    assert len(dead.begun) == seen
    assert len(alive.begun) > READERS


async def test_one_that_dies_in_the_middle_of_a_snapshot_ends_it_and_the_next_goes_elsewhere(cluster: Cluster) -> None:
    async with Neo4jGraph(cluster.url) as graph:
        model, (version,) = await building.model(graph, "bert", versions=1)
        async with graph.snapshot() as snapshot:
            await snapshot.nodes([model.id])
            (asked,) = (reader for reader in cluster.readers if reader.begun)
            asked.die()
            with pytest.raises(Unavailable):
                await snapshot.nodes([version.id])
        assert await building.node(graph, version.id) == version


async def test_it_is_left_alone_only_when_all_members_are_away(cluster: Cluster) -> None:
    async with Neo4jGraph(cluster.url) as graph:
        model, _ = await building.model(graph, "bert")
        await read_often(graph, model.id)
        for member in cluster.members:
            member.die()
        for _ in range(FAILURES):
            with pytest.raises(Unavailable):
                await building.node(graph, model.id)
        with pytest.raises(Resting):
            await building.node(graph, model.id)
