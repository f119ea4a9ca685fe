"""What it costs to look after many deployments where nothing happens, and how soon one that is told something is.

Raises SystemExit in the end where one of these is above its bar. The serving platforms are stand-ins that run as
processes; the reconciler runs in this one, as in `lineal serve`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from auth.caller import named
from graph.port import All, Graph, Paging, Prop, Statement
from resolvers.bytes import Bytes
from resolvers.deploying.deploying import deploy
from resolvers.deploying.reconciling import Reconciler
from resolvers.deploying.targets import Targets
from resolvers.operation import Operation
from resolvers.writing.common import Served
from resolvers.writing.versions import create_model_version
from serving.targets import TargetConfig, read
from storage.local import LocalStorage
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET

TARGETS = 5
DEPLOYMENTS = 1_000
IDLE_SECONDS = 30.0
CHANGES = 10
BAR_SECONDS = 2.0
BAR_STATEMENTS = 15.0
"""Statements a second while nothing happens, however many deployments there are."""
BAR_CPU = 0.15
"""Of one processor, while nothing happens."""
EVERY = 10.0


class Counter:
    """Counts statements."""

    def __init__(self) -> None:
        self.statements = 0

    def __call__(self, _: Statement) -> None:
        """One more."""
        self.statements += 1


async def measure(console: Console, graph: Graph, counter: Counter, *, name: str, home: Path, scale: float) -> None:
    """Print everything that is measured of deployments, on this store, of which `counter` hears every statement."""
    console.rule(f"Deployments, {name}")
    count = max(TARGETS, int(DEPLOYMENTS * scale))
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"BENCH_SECRET": SECRET}))
        platforms = [
            stack.enter_context(PlatformServer(home / f"{name}-platform-{number}", SECRET)) for number in range(TARGETS)
        ]
        async with (
            LocalStorage(home / f"{name}-storage", bytes(32)) as storage,
            Targets(_configs(platforms)) as here,
            Targets(_configs(platforms)) as elsewhere,
        ):
            versions = await _versions(graph, home)
            began = time.perf_counter()
            for number in range(count):
                await _Shop(graph, storage, platforms).deploy(elsewhere, number, versions[0])
            console.print(f"{count} deployments told in {time.perf_counter() - began:.0f} s")
            reconciler = Reconciler(
                graph, storage, here, by="serving", holder="bench", every=EVERY, base="http://127.0.0.1"
            )
            running = asyncio.create_task(reconciler.run())
            try:
                began = time.perf_counter()
                await _settled(graph, count)
                console.print(f"and all served as told {time.perf_counter() - began:.0f} s after that")
                above = await _idle(console, counter, count)
                shop = _Shop(graph, storage, platforms)
                ways = (("in the same process", here, versions[1]), ("through another process", elsewhere, versions[0]))
                for what, targets, version in ways:
                    seconds = [await shop.change(targets, number, version) for number in range(CHANGES)]
                    console.print(
                        f"one told something {what}: its platform was told {statistics.median(seconds):.2f} s after "
                        f"that (median of {CHANGES}; at most {max(seconds):.2f} s; bar: {BAR_SECONDS:g} s)"
                    )
                    above += [f"told {what}"] if max(seconds) > BAR_SECONDS else []
                if above:
                    raise SystemExit(f"above the bar, {name}: {', '.join(above)}")
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running


def _configs(platforms: Sequence[PlatformServer]) -> Sequence[TargetConfig]:
    tables = {
        f"farm-{number}": {
            "platform": "webhook",
            "url": f"{platform.url}/deployments",
            "workspaces": "*",
            "secrets": {"key_env": "BENCH_SECRET"},
        }
        for number, platform in enumerate(platforms)
    }
    return read({"targets": tables})


async def _versions(graph: Graph, home: Path) -> list[str]:
    """Two versions that are where the platforms read them."""
    made = []
    for number in (1, 2):
        folder = home / f"model-{number}"
        folder.mkdir(exist_ok=True)
        (folder / "answer").write_text(str(number))
        async with Operation(graph, caller=named("bench")) as op:
            node = await create_model_version(
                op, model="models:/bench", create_model=True, properties={"uri": str(folder)}
            )
        made.append(node.id)
    return made


@dataclass(frozen=True, slots=True)
class _Shop:
    graph: Graph
    storage: LocalStorage
    platforms: Sequence[PlatformServer]

    async def deploy(self, targets: Targets, number: int, version: str) -> None:
        """Tell a deployment to serve a version."""
        async with Operation(self.graph, caller=named("bench"), bytes=Bytes(self.storage), targets=targets) as op:
            serves: list[Served] = [{"version": version}]
            await deploy.once(op, None, name=f"bench-{number}", target=f"farm-{number % TARGETS}", serves=serves)

    async def change(self, targets: Targets, number: int, version: str) -> float:
        """Seconds from when one was told something until its platform was."""
        platform = self.platforms[number % TARGETS]
        before = len(platform.told())
        await self.deploy(targets, number, version)
        began = time.perf_counter()
        while len(platform.told()) == before:  # noqa: ASYNC110 - it is another process that tells
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        await asyncio.sleep(1.5)
        return seconds


async def _settled(graph: Graph, count: int) -> None:
    ready = All((Prop("managed", "eq", True), Prop("phase", "eq", "READY")))
    while True:
        async with graph.snapshot() as snapshot:
            if (await snapshot.find("Deployment", ready, paging=Paging(first=1, count=True))).total == count:
                return
        await asyncio.sleep(0.5)


async def _idle(console: Console, counter: Counter, count: int) -> list[str]:
    """What is above its bar while nothing happens."""
    await asyncio.sleep(EVERY)
    before, cpu, began = counter.statements, time.process_time(), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    seconds = time.perf_counter() - began
    statements, share = (counter.statements - before) / seconds, (time.process_time() - cpu) / seconds
    console.print(
        f"idle, {count} deployments on {TARGETS} targets, each looked at every {EVERY:g} s: "
        f"{statements:.1f} statements a second (bar: {BAR_STATEMENTS:g}), "
        f"{share:.1%} of one processor (bar: {BAR_CPU:.0%})"
    )
    bars = (("statements", statements, BAR_STATEMENTS), ("processor", share, BAR_CPU))
    return [f"idle {what}" for what, found, bar in bars if found > bar]
