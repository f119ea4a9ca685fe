"""Three processes behind a balancer on one Neo4j, while everything that can go away goes away and comes back.

The store is migrated to a next version while processes of this one serve, and these are exchanged one after the other;
processes are killed and drained, Neo4j is started anew, MinIO and the issuer are taken away. Nothing that was
acknowledged is lost or done twice, who brings a bookmark finds what it wrote, and nobody is told anything but what the
table of docs/operations.md allows, and that only meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SOAK, count
from tests.failures.stack import Stack, standing
from tests.failures.test_table import COLUMNS, ROWS
from tests.ha.balancer import Balancer
from tests.ha.load import Client, Failure, Kept
from tests.running import ROOT, LinealServer
from tests.services import Server, free_port

pytestmark = [pytest.mark.soak, pytest.mark.services, pytest.mark.timeout(3 * 3600 if SOAK else 600)]

SECONDS = count(10, 20 * 60)
"""For how long at least the load goes on; each thing that happens is waited for besides."""
RESTARTS = count(1, 5)
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]
CLIENTS = count(2, 4)
GRACE = {"process": 2.0, "neo4j": 15.0, "minio": 8.0, "issuer": 0.0}
"""Seconds after something is back in which its absence may still be told: breakers rest, and what waited ends."""
PAUSE = count(1, 25)
"""Seconds between two things that happen: more than the longest grace where there are many."""
TOKEN_SECONDS = 100.0
NEXT = {
    '    Step("0003 what background work keeps", ()),\n': '    Step("9999 what is next", (_next,)),\n',
    "UNIQUE: Final = (\n": '    ("Next", ("id",)),\n',
    "INDEXED: Final = (\n": '    ("Change", ("action",)), ("Next", ("at",)),\n',
}
"""What the next version has in graph/neo4j/migrations.py, by what it comes after."""
NEXT_STEP = """
async def _next(runner: Runner) -> bool:
    await runner.run("migrate", "MERGE (m:Meta {name: 'next'}) SET m.seq = 1 RETURN true", {})
    return False

"""


class Process(LinealServer):
    """A process of the version in a folder."""

    sources = ROOT

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command, environment = super().prepare()
        return command, environment | {"PYTHONPATH": str(self.sources)}

    def migrate(self) -> str:
        """Bring the store to this version: what `lineal migrate` says."""
        _, environment = self.prepare()
        command = [sys.executable, "-m", "lineal", "migrate"]
        done = subprocess.run(
            command, cwd=self.home, env=os.environ | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


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
        return {what for left, back, what in self.spells if left <= ended and began <= back + GRACE[what]}


AWAY = {"neo4j": "Neo4j", "minio": "object storage", "issuer": "the issuer, frozen"}
"""What is away, as the table has it."""
ASKED = {"write": "write", "mlflow write": "write", "openlineage": "write", "upload": "upload", "download": "download"}
"""What clients do, as the table has it; all the rest reads."""
CELLS = {row[0]: dict(zip(COLUMNS, row[1:-1], strict=True)) for row in ROWS}


def allowed(failure: Failure, away: str) -> bool:
    """Whether a request may fail so while that is away."""
    if away == "process":
        # The balancer hands on what a process that is killed breaks off.
        return failure.kind == "broken"
    if CELLS[AWAY[away]][ASKED.get(failure.what, "read")] == "yes":
        # Signed addresses that were given out do not open: those of downloads, too.
        return away == "minio" and failure.kind == "storage"
    # What waited for it for too long says LIMIT_EXCEEDED.
    return failure.kind in {"UNAVAILABLE", "LIMIT_EXCEEDED"} or (away == "minio" and failure.kind == "storage")


def released(home: Path) -> tuple[Path, str]:
    """The sources of the last release in a folder of their own, and which it is; those of now where there is none."""
    git = shutil.which("git")
    tag = subprocess.run(
        [git or "false", "-C", ROOT, "tag", "--sort=-v:refname"], capture_output=True, text=True, check=False
    ).stdout.partition("\n")[0]  # fmt: skip
    if not tag:
        return ROOT, "this one: none is released"
    home.mkdir()
    archive = subprocess.run([git or "", "-C", ROOT, "archive", tag], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", home], input=archive, check=True)
    return home, tag


def following(home: Path) -> Path:
    """The sources of a version after this one, whose store has one more step, constraint and index."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, home / package, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    path = home / "graph" / "neo4j" / "migrations.py"
    text = path.read_text(encoding="utf-8")
    for after, more in NEXT.items():
        assert text.count(after) == 1, after
        text = text.replace(after, after + more)
    path.write_text(text.replace("\nSTEPS: Final", f"{NEXT_STEP}\nSTEPS: Final"), encoding="utf-8")
    return home


@dataclass
class Fleet:
    """Three processes, and what happens to them."""

    stack: Stack
    processes: list[Process]
    weather: Weather
    done: list[str] = field(default_factory=list)

    next: Path | None = None
    """The sources of the next version, once the store has come to it: nothing older can be started any more."""

    async def migrated(self, sources: Path) -> None:
        """The store comes to the next version, while processes of this one serve."""
        job = Process(self.stack.home / "job", free_port(), self.stack.issuers, **self.stack.settings)
        job.home.mkdir()
        job.sources = sources
        assert "9999" in await asyncio.to_thread(job.migrate)
        self.next = sources

    async def upgraded(self) -> None:
        """One after the other is drained, and one of the next version takes its place; in a long run one at a time."""
        assert self.next is not None
        old = [process for process in self.processes if process.sources != self.next]
        for process in old[: count(2, 1)]:
            await self._exchanged(process, self.next)

    async def drained(self) -> None:
        """One is drained, and started again."""
        process = random.choice(self._startable())
        await self._exchanged(process, process.sources)

    async def _exchanged(self, process: Process, sources: Path) -> None:
        await asyncio.to_thread(process.stop)
        process.sources = sources
        await asyncio.to_thread(process.start)

    def _startable(self) -> list[Process]:
        return [process for process in self.processes if self.next in (None, process.sources)]

    async def killed(self) -> None:
        """One is killed, and started again."""
        process = random.choice(self._startable())
        with self.weather.away("process"):
            await asyncio.to_thread(process.kill)
        await asyncio.sleep(1)
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
    with standing(tmp_path, free_port(), migrated=False) as stack:
        yield stack


async def test_nothing_acknowledged_is_lost_and_who_brings_a_bookmark_finds_what_it_wrote(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, told = released(tmp_path / "released")
    after = following(tmp_path / "next")
    ports = [free_port() for _ in range(3)]
    more = {**stack.settings, "start_without_issuers": "true", "drain_seconds": "1"}
    processes = [Process(tmp_path / f"p{i}", port, stack.issuers, **more) for i, port in enumerate(ports)]
    weather, kept = Weather(), Kept()
    fleet = Fleet(stack, processes, weather)
    async with AsyncExitStack() as running:
        for process in processes:
            process.home.mkdir()
            process.sources = before
            running.push_async_callback(asyncio.to_thread, process.__exit__, None, None, None)
        await asyncio.to_thread(processes[0].migrate)
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
        await running.enter_async_context(Balancer(stack.port, ports))
        await _run(fleet, stack.port, kept, after)
    with capsys.disabled():
        sys.stdout.write(f"\nthe first version: {told}\n{', '.join(fleet.done)}\n{kept.figures()}\n")
    _judge(kept, weather)


async def _run(fleet: Fleet, port: int, kept: Kept, after: Path) -> None:
    """Have clients work while things happen, and look at everything when all is well again."""
    tokens = _Tokens(fleet)
    tokens.renew()
    clients = [Client(f"http://127.0.0.1:{port}", f"c{i}", tokens.now, kept) for i in range(CLIENTS)]
    # A new Neo4j plans everything anew, which may take it longer than an operation has.
    with fleet.weather.away("neo4j"):
        await clients[0].run(lambda: "events" in kept.seconds)
    over = asyncio.Event()
    work = [asyncio.create_task(client.run(over.is_set)) for client in clients]
    renewing = asyncio.create_task(tokens.run())
    try:
        end = time.monotonic() + SECONDS
        await _happen(fleet, after)
        for restart in range(1, RESTARTS):
            await asyncio.sleep(max(0.0, (end - time.monotonic()) / (RESTARTS - restart) / 2))
            await _happen(fleet, after)
        await asyncio.sleep(max(0.0, end - time.monotonic()))
    finally:
        over.set()
        await asyncio.gather(*work)
        renewing.cancel()
        await asyncio.wait([renewing])
    await _look(clients[0], kept)
    for client in clients:
        await client.close()


async def _happen(fleet: Fleet, after: Path) -> None:
    """Everything once, with a while between in which all is well."""
    stack = fleet.stack
    turns: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        *([("store migrated", lambda: fleet.migrated(after))] if fleet.next is None else []),
        ("upgraded", fleet.upgraded),
        ("killed", fleet.killed),
        ("Neo4j restarted", lambda: fleet.taken_away(stack.neo4j, 1)),
        ("MinIO away", lambda: fleet.taken_away(stack.minio, count(2, 15))),
        ("issuer away", lambda: fleet.frozen(stack.issuer, "issuer", count(2, 60))),
        *([("drained", fleet.drained)] if count(0, 1) else []),
    ]
    for name, turn in turns:
        began = time.monotonic()
        await turn()
        fleet.done.append(f"{name} ({time.monotonic() - began:.0f} s)")
        await asyncio.sleep(PAUSE)


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
        (f"from {each.began - first:.0f} to {each.ended - first:.0f} s", each.what, each.kind, each.told)
        for each in kept.failures
        if not any(allowed(each, away) for away in weather.excuses(each.began, each.ended))
    ]
    assert unexcused == [], [(f"{a - first:.0f} to {b - first:.0f}", what) for a, b, what in weather.spells]
    everything = {"list", "write", "read", "lineage", "upload", "download", "mlflow", "openlineage", "events"}
    assert everything <= set(kept.seconds)
