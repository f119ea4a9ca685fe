"""What the benches share: how they time, and how they fill a store."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from bench.families import Graph as Families
from graph.port import Graph, Transaction, batched

BATCH = 5_000


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Seconds of wall time."""
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


async def in_turn(calls: Sequence[Callable[[], Awaitable[object]]], rounds: int) -> list[float]:
    """The median of each call, taken in turn after one warm-up round."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 1):
        for taken, call in zip(times, calls, strict=True):
            seconds = await timed(call)
            if turn:
                taken.append(seconds)
    return [statistics.median(taken) for taken in times]


async def load(graph: Graph, families: Families) -> float:
    """Items a second."""
    started = time.perf_counter()
    for records in batched(families.records, BATCH):
        await graph.write(_loading(records=records), by="bench", action="import")
    for edges in batched(families.edges, BATCH):
        await graph.write(_loading(edges=edges), by="bench", action="import")
    return (len(families.records) + len(families.edges)) / (time.perf_counter() - started)


def _loading(**parts: Sequence[object]) -> Callable[[Transaction], Awaitable[int]]:
    return lambda tx: tx.load(**parts)  # type: ignore[arg-type]
