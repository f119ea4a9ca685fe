"""A process that creates versions of one model, many at once, for tests of writers in several processes.

    python -m tests.graph.claiming URL MODEL COUNT

It prints "ready", waits for a line on its input, and then prints the number of each version it made.
"""

from __future__ import annotations

import asyncio
import sys

from graph.open import open_graph
from tests.graph.bursting import create_version, tell


async def claim(url: str, model: str, count: int) -> None:
    """Create versions at once, and tell their numbers."""
    async with open_graph(url) as graph:
        tell("ready")
        await asyncio.to_thread(sys.stdin.readline)
        made = await asyncio.gather(*(create_version(graph, model) for _ in range(count)))
    tell(" ".join(str(node.props["number"]) for node in made))


if __name__ == "__main__":
    asyncio.run(claim(sys.argv[1], sys.argv[2], int(sys.argv[3])))
