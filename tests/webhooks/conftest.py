"""Webhooks on either store, with what delivers them running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from auth.caller import LOCAL, Caller
from auth.sealing import Sealer
from graph.port import EVERYTHING, Graph, Node
from resolvers.operation import Operation
from resolvers.webhooks import managing
from resolvers.webhooks.deliveries import Delivery, deliveries
from resolvers.webhooks.delivering import Deliverer
from resolvers.webhooks.hooks import Webhooks
from resolvers.webhooks.sending import Sender
from resolvers.webhooks.turn import Patience
from tests.building import sequencing
from tests.webhooks.receiver import Receiver

BASE = "https://lineal.example.org"
PATIENCE = 60.0
QUICK = Patience(delivery=60.0, webhook=60.0, first=0.05)


@dataclass
class Post:
    """A store with webhooks, and those who deliver for them."""

    graph: Graph
    webhooks: Webhooks
    caller: Caller = LOCAL
    names: list[str] = field(default_factory=list)

    def op(self, caller: Caller | None = None) -> Operation:
        """An operation of somebody."""
        return Operation(self.graph, caller=caller or self.caller, webhooks=self.webhooks)

    async def hook(self, url: str, **given: Any) -> managing.Made:
        """A webhook that sends there."""
        self.names.append(f"hook-{len(self.names)}")
        async with self.op() as op:
            return await managing.create_webhook(op, **{"name": self.names[-1], "url": url, **given})

    async def node(self, id: str) -> Node:
        """A node as it now is."""
        async with self.graph.snapshot(EVERYTHING) as snapshot:
            return (await snapshot.nodes([id]))[id]

    async def deliveries(self, made: managing.Made, state: str | None = None) -> list[Delivery]:
        """The deliveries of a webhook, the latest first."""
        assert made.webhook is not None
        async with self.op() as op:
            return await deliveries(op, made.webhook, state=state, limit=1_000)

    @asynccontextmanager
    async def delivering(self, holder: str = "one", patience: Patience = QUICK) -> AsyncIterator[None]:
        """Deliver meanwhile, as one process of many does."""
        deliverer = Deliverer(self.graph, self.webhooks, by="webhooks", holder=holder, patience=patience)
        task = asyncio.create_task(deliverer.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def awaited(condition: Callable[[], Any], why: Callable[[], object] = lambda: "it never came true") -> None:
    """Wait until a condition holds; it may be asynchronous."""
    end = time.monotonic() + PATIENCE
    while True:
        held = condition()
        if await held if asyncio.iscoroutine(held) else held:
            return
        assert time.monotonic() < end, why()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def _posting(graph: Graph) -> AsyncIterator[Post]:
    sender = Sender(private=True, seconds=5.0)
    async with sequencing(graph), sender:
        yield Post(graph, Webhooks(Sealer(b"k" * 32), sender, base=BASE))


@pytest.fixture
async def post(graph: Graph) -> AsyncIterator[Post]:
    """Webhooks on either store."""
    async with _posting(graph) as post:
        yield post


@pytest.fixture
async def sqlite_post(sqlite_graph: Graph) -> AsyncIterator[Post]:
    """Webhooks on SQLite: for what does not depend on the store."""
    async with _posting(sqlite_graph) as post:
        yield post


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes everything, unless it is told otherwise."""
    async with Receiver() as receiver:
        yield receiver
