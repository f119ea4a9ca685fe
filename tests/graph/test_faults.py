"""Real processes are killed in the middle of writing: what was acknowledged is there, once and whole.

Every version that the writing process told of must be there with its edges, its parameter and its
Change. One that it did not get to tell of may be there too, but then as whole as the others. The chains
of the audit are whole at any time, and have every change once in each of its workspaces.
"""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from graph.address import parse
from graph.open import open_graph
from graph.port import MAX_PAGE, Graph, Hop, NewEdge, Node, Order, Paging
from tests import building
from tests.conftest import count
from tests.graph.bursting import create_version
from tests.graph.chains import broken, chains, heads
from tests.services import CuttingProxy, Neo4jServer

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
MODEL = "models:/burst"
VERSIONS = 40
"""What a writing process creates while its store is killed."""


async def start(url: str, versions: int) -> Process:
    """The writing process, once it has its store open."""
    return await _started("tests.graph.bursting", url, MODEL, str(versions))


async def start_ordering(url: str) -> list[Process]:
    """The process that sequences, once it has its store open; none where writes do that themselves."""
    return [] if url.startswith("sqlite") else [await _started("tests.graph.ordering", url)]


async def _started(*arguments: str) -> Process:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, cwd=ROOT, stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def first(process: Process, most: int) -> list[str]:
    """The ids that the process told of up to a moment by chance, which may be in the middle of a write."""
    assert process.stdout is not None
    ids = [(await process.stdout.readline()).decode().strip() for _ in range(random.randint(1, most))]
    await asyncio.sleep(random.uniform(0, 0.02))
    return ids


async def told(process: Process) -> list[str]:
    """The ids that the process told of from here to its end; a line that broke off was not told."""
    assert process.stdout is not None
    lines = (await process.stdout.read()).split(b"\n")[:-1]
    await process.wait()
    return [line.decode() for line in lines]


async def prepare(graph: Graph) -> None:
    """What the story of each version names."""
    await graph.migrate()
    await building.workspace(graph, "vision")
    await building.model(graph, "burst")
    await building.model(graph, "base", versions=1)
    await building.dataset(graph, "corpus", "v1")


async def versions_of(graph: Graph, address: str) -> list[Node]:
    """The versions of a model, by number."""
    hop, order, found = Hop("VERSION_OF", "IN", "ModelVersion"), Order("number"), list[Node]()
    async with graph.snapshot() as snapshot:
        (model,) = await snapshot.resolve([parse(address)])
        assert model is not None
        after, more = None, True
        while more:
            page = (await snapshot.neighbours([model.id], hop, order=order, paging=Paging(MAX_PAGE, after)))[model.id]
            found += [link.node for link in page.items]
            after, more = page.cursors[-1] if page.cursors else None, page.has_next
    return found


async def assert_chained(graph: Graph) -> None:
    """Every chain is whole up to its head, and each change is in the chains of its workspaces exactly once."""
    found = await chains(graph)
    assert not any(map(broken, found.values()))
    there = await heads(graph)
    assert {name: entries[-1].number for name, entries in found.items()} == {n: h.number for n, h in there.items()}
    placed = Counter((entry.change.id, name) for name, entries in found.items() for entry in entries)
    changes = {entry.change.id: entry.change for entries in found.values() for entry in entries}
    assert placed == Counter((c.id, name) for c in changes.values() for name in c.workspaces)
    assert sorted(c.seq or 0 for c in changes.values()) == list(range(1, len(changes) + 1))
    assert {c.id for c in await building.sequenced(graph)} == {c.id for c in changes.values() if "noted" not in c.data}


async def assert_whole(graph: Graph, acknowledged: Iterable[str]) -> list[Node]:
    """Every acknowledged version is there once, and every version that is there is there whole."""
    versions = await versions_of(graph, MODEL)
    ids = [v.id for v in versions]
    assert [v.props["number"] for v in versions] == list(range(1, len(versions) + 1))
    assert [v.name for v in versions] == [str(n) for n in range(1, len(versions) + 1)]
    missing = set(acknowledged) - set(ids)
    assert not missing
    created = Counter(
        row[0]
        for change in await building.sequenced(graph)
        for row in change.data.get("created", [])
        if change.action == "createModelVersion"
    )
    assert created == Counter(ids)
    await assert_chained(graph)
    async with graph.snapshot() as snapshot:
        edges = Counter((e.source, e.kind) for e in await snapshot.edges_from(ids))
        assert edges == Counter({(id, kind): 1 for id in ids for kind in ("VERSION_OF", "TRAINED_ON", "DERIVED_FROM")})
        assert await snapshot.rows(ids, "params") == {id: {"seed": "1"} for id in ids}
        assert (await snapshot.find("ModelVersion", paging=Paging(1, count=True))).total == len(ids) + 1
    return versions


@pytest.mark.timeout(3600)
async def test_a_writer_that_is_killed_loses_nothing_acknowledged_and_leaves_nothing_half(store_url: str) -> None:
    async with open_graph(store_url) as graph:
        await prepare(graph)
    acknowledged: list[str] = []
    for _ in range(count(5, 100)):
        process, *others = [await start(store_url, 10_000), *await start_ordering(store_url)]
        acknowledged += await first(process, 12)
        for victim in random.sample([process, *others], 1 + len(others)):
            victim.kill()
            await asyncio.sleep(random.uniform(0, 0.02))
        acknowledged += await told(process)
        for other in others:
            await other.wait()
        async with open_graph(store_url) as graph:
            await assert_whole(graph, acknowledged)


@pytest.mark.timeout(3600)
async def test_a_killed_neo4j_loses_nothing_acknowledged_and_its_client_goes_on(tmp_path: Path) -> None:
    server = Neo4jServer(tmp_path)
    with server:
        async with open_graph(server.url) as graph:
            await prepare(graph)
        acknowledged: list[str] = []
        for turn in range(1, count(2, 5) + 1):
            process = await start(server.url, VERSIONS)
            acknowledged += await first(process, VERSIONS // 2)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            acknowledged += await told(process)
            assert process.returncode == 0
            async with open_graph(server.url) as graph:
                versions = await assert_whole(graph, acknowledged)
            assert sorted(acknowledged) == sorted(v.id for v in versions)
            assert len(versions) == turn * VERSIONS


@pytest.mark.parametrize(("when", "cuts"), [("before", 1), ("before", 2), ("after", 1)])
async def test_a_connection_cut_during_commit_doubles_nothing(
    neo4j_graph: Graph, neo4j_server: Neo4jServer, when: Literal["before", "after"], cuts: int
) -> None:
    await prepare(neo4j_graph)
    acknowledged: list[str] = []
    async with CuttingProxy(neo4j_server.port) as proxy:
        proxy.when = when
        async with open_graph(proxy.url) as graph:
            for _ in range(count(3, 50)):
                proxy.cut_commits = cuts
                acknowledged.append((await create_version(graph, MODEL)).id)
                assert proxy.cut_commits == 0
        assert proxy.cuts == count(3, 50) * cuts
    versions = await assert_whole(neo4j_graph, acknowledged)
    assert [v.id for v in versions] == acknowledged


async def test_a_cut_connection_gives_the_answer_of_the_attempt_that_was_committed(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    model, (version,) = await building.model(neo4j_graph, "m", versions=1)
    async with CuttingProxy(neo4j_server.port) as proxy, open_graph(proxy.url) as graph:
        proxy.cut_commits = 1
        (edge,) = await building.link(graph, NewEdge("ALIAS", model.id, version.id, "live"))
    async with neo4j_graph.snapshot() as snapshot:
        assert [e for e in await snapshot.edges_from([model.id]) if e.kind == "ALIAS"] == [edge]
