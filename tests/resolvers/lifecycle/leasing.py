"""A process that leases validations until none waits, for tests of workers in several processes.

    python -m tests.resolvers.lifecycle.leasing URL WORKER COUNT

It prints "ready", waits for a line on its input, leases with COUNT workers at once, and then prints the id of each
validation that it got.
"""

from __future__ import annotations

import asyncio
import sys

from auth.caller import named
from graph.open import open_graph
from graph.port import Graph
from lineal.errors import Unavailable
from resolvers.lifecycle.validating import lease_validation
from resolvers.operation import Operation
from tests.graph.bursting import tell


async def take_all(graph: Graph, worker: str) -> list[str]:
    """Lease until nothing waits; the ids."""
    taken: list[str] = []
    while True:
        async with Operation(graph, caller=named(worker)) as op:
            try:
                node = await lease_validation.once(op, None, suites=["s"], worker=worker)
            except Unavailable:
                continue
        if node is None:
            return taken
        taken.append(node.id)


async def work(url: str, worker: str, count: int) -> None:
    """Lease with many workers at once, and tell what they got."""
    async with open_graph(url) as graph:
        tell("ready")
        await asyncio.to_thread(sys.stdin.readline)
        taken = await asyncio.gather(*(take_all(graph, f"{worker}-{n}") for n in range(count)))
    tell(" ".join(id for ids in taken for id in ids))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
