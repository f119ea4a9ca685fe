"""What the audit costs a write, and how long a change waits for its place in the chains.

Writes without audit are those of a store that leaves the Change out: the transaction is the same otherwise, and
nothing but this bench can do that. Both are measured in turn, with the sequencer running as a server has it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from unittest import mock

from rich.console import Console

from auth.caller import named
from graph.neo4j.writing import HELD, Neo4jTransaction
from graph.port import Graph
from graph.writing import Writing
from lineal.sequencing import Sequencer
from lineal.telemetry import Telemetry
from resolvers.operation import Operation
from resolvers.writing.datasets import register_dataset
from resolvers.writing.versions import create_model_version
from resolvers.writing.workspaces import create_workspace

BAR = 1.3
WAYS = (("2 writers in one workspace", 2, 1, 40), ("50 writers in 50 workspaces", 50, 50, 4))
POLL = 0.005
PATIENCE = 30.0

_numbers = count()


async def measure(console: Console, graph: Graph, rounds: int) -> None:
    """Print everything that is measured of the audit of one store, which has nothing else to do."""
    async with _sequenced(graph):
        for what, writers, workspaces, each in WAYS:
            places = await _furnished(graph, workspaces)
            audited: list[float] = []
            bare: list[float] = []
            waits: list[float] = []
            for turn in range(rounds + 1):
                with_it = await _writes(graph, places, writers, each)
                with _unaudited():
                    without = await _writes(graph, places, writers, each)
                # Who looks all the time would make the writes slower, so it is done apart.
                async with _watched(graph) as watch:
                    await _writes(graph, places, writers, each, watch)
                if turn:
                    audited.append(with_it)
                    bare.append(without)
                    waits += watch.waits
            cost, free = statistics.median(audited), statistics.median(bare)
            console.print(
                f"audit, {what}: a write takes {cost / free:.2f} times what it takes without (bar: {BAR}; "
                f"{cost * 1e3:.1f} and {free * 1e3:.1f} ms)"
            )
            low, high = statistics.quantiles(waits, n=100)[49], statistics.quantiles(waits, n=100)[98]
            console.print(
                f"  from the commit to its place in the chain: p50 {low * 1e3:.0f} ms, p99 {high * 1e3:.0f} ms "
                f"({len(waits)} writes, seen every {POLL * 1e3:.0f} ms)"
            )


async def _furnished(graph: Graph, workspaces: int) -> list[str]:
    """New workspaces, each with a data set to learn from."""
    places = [f"bench-{next(_numbers)}" for _ in range(workspaces)]
    async with Operation(graph, caller=named("bench")) as op:
        for place in places:
            await create_workspace(op, name=place)
            await register_dataset(op, name="data", workspace=place)
    return places


async def _writes(graph: Graph, places: list[str], writers: int, each: int, watch: _Watch | None = None) -> float:
    """Seconds that one of so many writers takes for a write, on average: a version with its lineage."""

    async def one(number: int) -> None:
        place = places[number % len(places)]
        model = f"models:/{place}:m{next(_numbers)}"
        inputs = [{"dataset": f"datasets:/{place}:data", "role": "train"}]
        for _ in range(each):
            request = f"bench-{next(_numbers)}"
            async with Operation(graph, caller=named("bench"), request=request) as op:
                await create_model_version(op, model=model, create_model=True, inputs=inputs)  # type: ignore[arg-type]
                if watch:
                    watch.committed(request)

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(writers)))
    return (time.perf_counter() - started) / each


@contextmanager
def _unaudited() -> Iterator[None]:
    """Writes leave out their Change, but still hold what they link to, which on Neo4j is done in its statement."""
    with mock.patch.object(Writing, "finish", _only_hold):
        yield


async def _only_hold(self: Writing, *_: object) -> None:
    if isinstance(self, Neo4jTransaction):
        await self._run("change", f"{HELD} RETURN gone", targets=self._held_targets(self.log))


class _Watch:
    """Waits for changes to appear in their order, and notes how long each was on its way."""

    def __init__(self, graph: Graph) -> None:
        self.waits: list[float] = []
        self._graph = graph
        self._commits: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._after = 0

    def committed(self, request: str) -> None:
        """A write of this request was committed a moment ago."""
        self._commits[request] = time.perf_counter()

    async def look(self) -> None:
        """Note what has its place by now."""
        async with self._graph.snapshot() as snapshot:
            found = await snapshot.changes(after=self._after, limit=1_000)
        now = time.perf_counter()
        for change in found:
            self._after = change.seq or self._after
            self._seen[change.request] = now
        for request in self._commits.keys() & self._seen.keys():
            self.waits.append(max(0.0, self._seen[request] - self._commits.pop(request)))

    async def begin(self) -> None:
        """Leave out what was there before."""
        async with self._graph.snapshot() as snapshot:
            latest = await snapshot.changes(descending=True, limit=1)
        self._after = (latest[0].seq or 0) if latest else 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL)

    async def settled(self) -> None:
        """Wait until every commit has its place."""
        while self._commits:  # noqa: ASYNC110 - what comes first is looked for, not announced
            await asyncio.sleep(POLL)


@asynccontextmanager
async def _watched(graph: Graph) -> AsyncIterator[_Watch]:
    watch = _Watch(graph)
    await watch.begin()
    task = asyncio.create_task(watch.run())
    try:
        yield watch
        async with asyncio.timeout(PATIENCE):
            await watch.settled()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _sequenced(graph: Graph) -> AsyncIterator[None]:
    """The sequencer runs; a store that needs none takes no harm."""
    task = asyncio.create_task(Sequencer(graph, Telemetry(), "bench").run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
