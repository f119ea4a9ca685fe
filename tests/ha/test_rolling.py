"""Three processes behind a balancer on one Neo4j, while everything that can go away goes away and comes back.

Processes are killed, drained and exchanged for those of an older version and back, Neo4j is started anew, MinIO and
the issuer are taken away. Nothing that was acknowledged is lost or done twice, who brings a bookmark finds what it
wrote, and nobody is told anything but what the table of docs/operations.md allows, and that only meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import count
from tests.failures.stack import Stack, standing
from tests.ha.balancer import Balancer
from tests.ha.load import Client, Kept
from tests.running import ROOT, LinealServer
from tests.services import Server, free_port

pytestmark = [pytest.mark.soak, pytest.mark.services, pytest.mark.timeout(3 * 3600)]

SECONDS = count(10, 20 * 60)
"""For how long at least the load goes on; each thing that happens is waited for besides."""
RESTARTS = count(1, 5)
CLIENTS = count(2, 4)
GRACE = 15.0
"""Seconds after something is back in which its absence may still be told: breakers rest, and what waited ends."""
OLDER = 25
"""How many steps of the main line back an older version is, where no release is tagged."""
TOKEN_SECONDS = 100.0


class Process(LinealServer):
    """A process of this version, or of the older one in a folder."""

    sources = ROOT

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command, environment = super().prepare()
        return command, environment | {"PYTHONPATH": str(self.sources)}


@dataclass
class Weather:
    """What is away, when: (from, until, what). What is away now has no end."""

    spells: list[tuple[float, float, str]] = field(default_factory=list)

    @contextmanager
    def away(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        self.spells.append((began, float("inf"), what))
        i = len(self.spells) - 1
        try:
            yield
        finally:
            self.spells[i] = (began, time.monotonic(), what)

    def excuses(self, began: float, ended: float) -> set[str]:
        """What was away in a stretch of time, or shortly before."""
        return {what for left, back, what in self.spells if left <= ended and began <= back + GRACE}


ALLOWED = {
    "UNAVAILABLE": {"process", "neo4j", "minio", "issuer"},
    "503": {"process", "neo4j", "issuer"},
    # The balancer hands on what a process breaks off.
    "broken": {"process"},
    "storage": {"minio"},
    # What waited for them for too long.
    "LIMIT_EXCEEDED": {"neo4j", "minio"},
}
"""How a request may fail, and what must be away then, by the table of docs/operations.md."""


def older(home: Path) -> tuple[Path, str]:
    """The sources of an older version in a folder of their own, and what they are; those of this one without Git."""
    git = shutil.which("git")

    def run(*arguments: str) -> str:
        done = subprocess.run([git or "", "-C", ROOT, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        tag = run("tag", "--sort=-v:refname").partition("\n")[0]
        revision = tag or run("rev-list", "-1", "--first-parent", f"--skip={OLDER}", "HEAD")
        told = f"{tag or revision[:7]} ({run('show', '-s', '--format=%cs', revision)})"
        home.mkdir()
        archive = subprocess.run([git or "", "-C", ROOT, "archive", revision], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", home], input=archive, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ROOT, "the same code: here is no history to take an older one from"
    return home, told


@dataclass
class Fleet:
    """Three processes, and what happens to them."""

    stack: Stack
    processes: list[Process]
    weather: Weather
    done: list[str] = field(default_factory=list)

    async def killed(self) -> None:
        """One is killed, and started again."""
        process = random.choice(self.processes)
        with self.weather.away("process"):
            await asyncio.to_thread(process.kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(process.start)

    async def exchanged(self, sources: Path) -> None:
        """One after the other is drained, and one of the other version takes its place."""
        for process in self.processes[: count(2, 3)]:
            with self.weather.away("process"):
                await asyncio.to_thread(process.stop)
                process.sources = sources
                await asyncio.to_thread(process.start)

    async def taken_away(self, server: Server, seconds: float) -> None:
        """Something below is killed for a while."""
        with self.weather.away(server.name):
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(server.start)

    async def frozen(self, server: Server, what: str, seconds: float) -> None:
        """Something below does nothing for a while. (An issuer that is killed comes back with other keys.)"""
        with self.weather.away(what):
            server.freeze()
            await asyncio.sleep(seconds)
            server.thaw()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with standing(tmp_path, free_port()) as stack:
        yield stack


async def test_nothing_acknowledged_is_lost_and_who_brings_a_bookmark_finds_what_it_wrote(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, told = older(tmp_path / "older")
    ports = [free_port() for _ in range(3)]
    more = {**stack.settings, "start_without_issuers": "true", "drain_seconds": "1"}
    processes = [Process(tmp_path / f"p{i}", port, stack.issuers, **more) for i, port in enumerate(ports)]
    weather, kept = Weather(), Kept()
    fleet = Fleet(stack, processes, weather)
    async with AsyncExitStack() as running:
        for process in processes:
            process.sources = before
            running.push_async_callback(asyncio.to_thread, process.__exit__, None, None, None)
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
        await running.enter_async_context(Balancer(stack.port, ports))
        await _run(fleet, stack.port, kept, before)
    with capsys.disabled():
        sys.stdout.write(f"\nolder version: {told}\n{', '.join(fleet.done)}\n{kept.figures()}\n")
    _judge(kept, weather)


async def _run(fleet: Fleet, port: int, kept: Kept, before: Path) -> None:
    """Have clients work while things happen, and look at everything when all is well again."""
    tokens = _Tokens(fleet)
    tokens.renew()
    clients = [Client(f"http://127.0.0.1:{port}", f"c{i}", tokens.now, kept) for i in range(CLIENTS)]
    # A new Neo4j plans everything anew, which may take it longer than an operation has.
    with fleet.weather.away("neo4j"):
        await clients[0].run(lambda: len(kept.versions) > 1)
    over = asyncio.Event()
    work = [asyncio.create_task(client.run(over.is_set)) for client in clients]
    renewing = asyncio.create_task(tokens.run())
    try:
        end = time.monotonic() + SECONDS
        await _happen(fleet, before)
        for restart in range(1, RESTARTS):
            await asyncio.sleep(max(0.0, (end - time.monotonic()) / (RESTARTS - restart) / 2))
            await _happen(fleet, before)
        await asyncio.sleep(max(0.0, end - time.monotonic()))
    finally:
        over.set()
        await asyncio.gather(*work)
        renewing.cancel()
        await asyncio.wait([renewing])
    await _look(clients[0], kept)
    for client in clients:
        await client.close()


async def _happen(fleet: Fleet, before: Path) -> None:
    """Everything once, with a while between in which all is well."""
    stack = fleet.stack
    turns: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("upgraded", lambda: fleet.exchanged(ROOT)),
        ("killed", fleet.killed),
        ("Neo4j restarted", lambda: fleet.taken_away(stack.neo4j, 1)),
        ("MinIO away", lambda: fleet.taken_away(stack.minio, count(2, 15))),
        ("issuer away", lambda: fleet.frozen(stack.issuer, "issuer", count(2, 60))),
        *([("taken back", lambda: fleet.exchanged(before))] if count(0, 1) else []),
    ]
    for name, turn in turns:
        began = time.monotonic()
        await turn()
        fleet.done.append(f"{name} ({time.monotonic() - began:.0f} s)")
        await asyncio.sleep(count(1, 10))


async def _look(client: Client, kept: Kept) -> None:
    """Whether all that was acknowledged is there: by its id, with its bytes, and once."""
    ids: dict[str, Any] = {}
    query = """query All($a: String) {modelVersions(first: 100, after: $a) {
      nodes {id address tags {name value}} pageInfo {hasNextPage endCursor}}}"""
    after, more = None, True
    while more:
        page = (await client.ask(query, a=after))["modelVersions"]
        ids |= {node["id"]: node for node in page["nodes"]}
        more, after = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]
    kept.missing += [f"{version.address} at the end" for version in kept.versions if version.id not in ids]
    keys = [tag["value"] for node in ids.values() for tag in node["tags"] if tag["name"] == "key"]
    kept.missing += [f"{key} was done twice" for key in set(keys) if keys.count(key) > 1]
    for version in kept.versions:
        if version.data and await client.bytes_of(version) != version.data:
            kept.missing.append(f"the bytes of {version.address}")


class _Tokens:
    """The token of the moment. While the issuer is away the last one goes on."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._token = ""

    def now(self) -> str:
        return self._token

    def renew(self) -> None:
        self._token = self._fleet.stack.token()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TOKEN_SECONDS)
            now = time.monotonic()
            if "issuer" not in self._fleet.weather.excuses(now, now):
                await asyncio.to_thread(self.renew)


def _judge(kept: Kept, weather: Weather) -> None:
    first = weather.spells[0][0]
    assert kept.missing == []
    unexcused = [
        (f"from {began - first:.0f} to {ended - first:.0f} s", told)
        for began, ended, kind, told in kept.failures
        if not ALLOWED.get(kind, set()) & weather.excuses(began, ended)
    ]
    assert unexcused == [], [(f"{a - first:.0f} to {b - first:.0f}", what) for a, b, what in weather.spells]
    assert {"list", "write", "read", "lineage", "upload"} <= set(kept.seconds)
