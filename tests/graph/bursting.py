"""A process that writes and tells of each commit, for tests that end it, or its store, in the middle.

    python -m tests.graph.bursting URL MODEL COUNT

It creates COUNT versions of a model, one after the other, each with its whole story, and prints the id
of each on a line of its own once it is committed, and noted in the audit of two workspaces. What the
store cannot take for now is tried again, under the same idempotency key, for up to two minutes.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

from auth.caller import named
from graph.open import open_graph
from graph.port import Graph, Node, Note
from lineal.errors import Unavailable
from resolvers.operation import Operation
from resolvers.writing.versions import create_model_version

PATIENCE_SECONDS = 120


async def create_version(graph: Graph, model: str, key: str | None = None) -> Node:
    """A version of a model, with a parent, data that it learned from, and a parameter."""
    async with Operation(graph, caller=named("burst")) as op:
        made = await create_model_version.once(
            op,
            key,
            model=model,
            inputs=[{"dataset": "datasets:/corpus/v1", "role": "train"}],
            parents=[{"version": "models:/base/1", "relation": "finetune"}],
            params=[{"name": "seed", "value": "1"}],
        )
    assert made is not None
    return made


def tell(line: str) -> None:
    """Write a line that is there for whoever reads, even if this process ends now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def burst(url: str, model: str, count: int) -> None:
    """Create versions, and tell of each."""
    loop, process = asyncio.get_running_loop(), uuid4()
    async with open_graph(url) as graph:
        tell("ready")
        for number in range(count):
            end = loop.time() + PATIENCE_SECONDS
            while True:
                try:
                    made = await create_version(graph, model, f"{process} {number}")
                    await graph.note([Note("burst", "told", {"id": made.id}, ("default", "vision"))])
                    break
                except Unavailable:
                    if loop.time() > end:
                        raise
                    await asyncio.sleep(0.1)
            tell(made.id)


if __name__ == "__main__":
    asyncio.run(burst(sys.argv[1], sys.argv[2], int(sys.argv[3])))
