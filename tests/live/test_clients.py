"""The npm clients graphql-ws and graphql-sse against a real server, which is killed while they follow."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pytest

from graph.open import open_graph
from graph.port import Graph
from resolvers.events import Position
from resolvers.feed import feed
from resolvers.operation import Operation
from tests import building as b
from tests.conftest import SOAK, count
from tests.gateway.mlflow.serving import LinealProcess
from tests.ha.balancer import Balancer
from tests.live.serving import script
from tests.services import Neo4jServer, free_port

KILLS = count(2, 20)
CHANGES = count(60, 5_000)
CLIENTS = count(10, 500)
SECONDS = count(400, 3_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LinealProcess]:
    """A server on SQLite."""
    with LinealProcess(tmp_path / "lineal", _sqlite(tmp_path / "lineal")) as server:
        yield server


@dataclass(frozen=True)
class Served:
    """What clients reach at an address: the processes behind it."""

    url: str
    processes: list[LinealProcess]


@pytest.fixture(params=["sqlite", pytest.param("neo4j", marks=pytest.mark.services)])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """One process on SQLite, or two on one Neo4j behind a balancer."""
    home = tmp_path / "lineal"
    with ExitStack() as started:
        if request.param == "sqlite":
            server = started.enter_context(LinealProcess(home, _sqlite(home)))
            yield Served(server.url, [server])
            return
        store = started.enter_context(Neo4jServer(tmp_path / "neo4j", brief=not SOAK)).url
        async with open_graph(store) as graph:
            await graph.migrate()
        settings = {"LINEAL_KEYS": str(home / "keys")}
        processes = [
            started.enter_context(LinealProcess(place, store, settings)) for place in (home, tmp_path / "other")
        ]
        async with Balancer(free_port(), [process.port for process in processes]) as balancer:
            yield Served(f"http://127.0.0.1:{balancer.port}", processes)


def _sqlite(home: Path) -> str:
    return f"sqlite:///{home / 'lineal.db'}"


@pytest.mark.parametrize("transport", ["ws", "sse"])
def test_the_script_of_queries_subscriptions_errors_and_reconnects(server: LinealProcess, transport: str) -> None:
    command = [*script("clients.mjs", server.home), transport, f"{server.url}/graphql", server.token]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["query"]["complete"]
    assert said["query"]["results"][0]["data"]["models"] == {"nodes": []}
    assert said["mutation"]["results"] == [{"data": {"registerModel": {"model": {"name": "first"}}}}]
    for step, code in (("invalid", "GRAPHQL_VALIDATION_FAILED"), ("refused", "INVALID_ARGUMENT")):
        errors = said[step]["error"] if transport == "ws" else said[step]["results"][0]["errors"]
        assert [error["extensions"]["code"] for error in errors] == [code]
    assert said["stranger"]["error"] == ({"code": 4403} if transport == "ws" else {"status": 401})
    assert [result["data"]["events"]["name"] for result in said["followed"]["results"]] == ["first", "second", "third"]
    assert said["resumed"] == ["first", "second", "third"]
    assert said["broken"] == 2


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 200)
async def test_clients_of_processes_that_are_killed_over_and_over_get_every_change_once_and_in_order(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    first = served.processes[0]
    alone = _memory(served)
    killed = cycle(served.processes)
    command = script("following.mjs", first.home)
    async with open_graph(first.store) as graph:
        await b.model(graph, "first")
        start = str(Position(0))
        arguments = [f"{served.url}/graphql", first.token, str(CLIENTS), start, "ws,sse"]
        following = await asyncio.create_subprocess_exec(
            *command, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert following.stdin
        assert following.stdout
        try:
            async with asyncio.timeout(SECONDS):
                assert (await following.stdout.readline()).strip() == b"following"
                names = (f"m{n}" for n in range(CHANGES))
                for process in islice(killed, KILLS):
                    await _change(graph, names)
                    process.kill()
                    await _change(graph, names)
                    starting = asyncio.create_task(asyncio.to_thread(process.start))
                    await _change(graph, names)
                    await starting
                for name in names:
                    await b.model(graph, name)
                expected = await _sequences(graph)
                following.stdin.write(f"{expected[-1]}\n".encode())
                await following.stdin.drain()
                said = json.loads(await following.stdout.readline())
                followed = _memory(served)
        finally:
            if following.returncode is None:
                following.kill()
            await following.wait()
    with capsys.disabled():
        came = f"{CLIENTS} clients came {said['connections']} times, {said['again']} were told to come again"
        sys.stdout.write(f"\n{came}; memory for each: {(followed - alone) / CLIENTS / 1024:.0f} KiB\n")
    digest = hashlib.sha256("".join(f"{sequence}\n" for sequence in expected).encode()).hexdigest()
    assert said["wrong"] == 0
    assert said == {
        "clients": CLIENTS,
        "told": [len(expected)],
        "digests": [digest],
        "wrong": 0,
        "connections": said["connections"],
        "again": said["again"],
    }
    assert said["connections"] > CLIENTS, "they came again"


def _memory(served: Served) -> int:
    """Bytes of memory of the processes, where the system tells; it says 0 elsewhere."""
    return sum(process.memory for process in served.processes) if Path("/proc/self/statm").exists() else 0


async def _change(graph: Graph, names: Iterator[str]) -> None:
    """Make a third of the changes that there are for each kill."""
    for name in islice(names, CHANGES // (3 * KILLS)):
        await b.model(graph, name)


async def _sequences(graph: Graph) -> list[str]:
    """The sequences of all events there are, once the last change has its own."""
    found: list[str] = []
    at = Position(0)
    while len(found) <= CHANGES:
        async with Operation(graph) as op:
            page = await feed(op, at, 1_000)
        found += [str(event.position) for event in page.events]
        at = page.end
        if not page.more:
            await asyncio.sleep(0.1)
    return found
