"""A process that gives changes their order, for tests that end it in the middle.

    python -m tests.graph.ordering URL

It prints "ready", and then claims the work and does it, over and over, until it is ended.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

from graph.open import open_graph
from tests.graph.bursting import tell

LEASE_SECONDS = 0.5
"""Short, so that one process takes over soon from another that was ended."""


async def order(url: str) -> None:
    """Sequence what waits, while the lease holds."""
    holder = str(uuid4())
    async with open_graph(url) as graph:
        tell("ready")
        while True:
            if (lease := await graph.claim("ordering", holder, LEASE_SECONDS)) is None:
                await asyncio.sleep(LEASE_SECONDS / 10)
            else:
                await graph.sequence(lease)


if __name__ == "__main__":
    asyncio.run(order(sys.argv[1]))
