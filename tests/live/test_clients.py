"""The npm clients graphql-ws and graphql-sse against a real server, which is killed while they follow."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from graph.open import open_graph
from graph.port import Graph
from resolvers.events import Position
from resolvers.feed import feed
from resolvers.operation import Operation
from tests import building as b
from tests.conftest import count
from tests.gateway.mlflow.serving import LinealProcess
from tests.live.serving import script

KILLS = count(2, 20)
CHANGES = count(60, 5_000)
CLIENTS = count(10, 500)
SECONDS = count(400, 3_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LinealProcess]:
    """A server on SQLite."""
    with LinealProcess(tmp_path / "lineal", f"sqlite:///{tmp_path / 'lineal' / 'lineal.db'}") as server:
        yield server


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
    for step in ("followed", "resumed"):
        assert [result["data"]["events"]["name"] for result in said[step]["results"]] == ["first", "second", "third"]
    assert said["broken"] == 2


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 200)
async def test_clients_of_a_server_that_is_killed_over_and_over_get_every_change_once_and_in_order(
    server: LinealProcess,
) -> None:
    command = script("following.mjs", server.home)
    async with open_graph(server.store) as graph:
        await b.model(graph, "first")
        start = str(Position(0))
        arguments = [f"{server.url}/graphql", server.token, str(CLIENTS), start, "ws,sse"]
        following = await asyncio.create_subprocess_exec(
            *command, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert following.stdin
        assert following.stdout
        try:
            async with asyncio.timeout(SECONDS):
                assert (await following.stdout.readline()).strip() == b"following"
                names = (f"m{n}" for n in range(CHANGES))
                for _ in range(KILLS):
                    await _change(graph, names)
                    server.kill()
                    await _change(graph, names)
                    starting = asyncio.create_task(asyncio.to_thread(server.start))
                    await _change(graph, names)
                    await starting
                for name in names:
                    await b.model(graph, name)
                expected = await _sequences(graph)
                following.stdin.write(f"{expected[-1]}\n".encode())
                await following.stdin.drain()
                said = json.loads(await following.stdout.readline())
        finally:
            if following.returncode is None:
                following.kill()
            await following.wait()
    digest = hashlib.sha256("".join(f"{sequence}\n" for sequence in expected).encode()).hexdigest()
    assert said["wrong"] == 0
    assert said == {
        "clients": CLIENTS,
        "told": [len(expected)],
        "digests": [digest],
        "wrong": 0,
        "connections": said["connections"],
    }
    assert len(expected) > CHANGES
    assert said["connections"] > CLIENTS, "they came again"


async def _change(graph: Graph, names: Iterator[str]) -> None:
    """Make a third of the changes that there are for each kill."""
    for name in islice(names, CHANGES // (3 * KILLS)):
        await b.model(graph, name)


async def _sequences(graph: Graph) -> list[str]:
    """The sequences of all events there are."""
    found: list[str] = []
    at, more = Position(0), True
    while more:
        async with Operation(graph) as op:
            page = await feed(op, at, 1_000)
        found += [str(event.position) for event in page.events]
        at, more = page.end, page.more
    return found
