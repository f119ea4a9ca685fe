"""One request: who asks, and the moment that it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

from graph.port import EVERYTHING, MAX_WALK, Graph, Snapshot, View, Work

T = TypeVar("T")


class Operation:
    """Reads from one snapshot; after each write, from a fresh one.

    Use it with `async with`: leaving it gives the snapshot's connection back. `by` is the principal
    that writes are recorded for, `request` the id that logs and changes share, `walk_limit` bounds the nodes
    that one walk visits.
    """

    def __init__(
        self, graph: Graph, *, by: str, view: View = EVERYTHING, request: str = "", walk_limit: int = MAX_WALK
    ) -> None:
        self.graph = graph
        self.by = by
        self.view = view
        self.request = request
        self.walk_limit = walk_limit
        self.statements = 0
        self._stack = AsyncExitStack()
        self._snapshot: Snapshot | None = None
        self._opening = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    async def snapshot(self) -> Snapshot:
        """The moment that this request reads; opened at the first call."""
        async with self._opening:
            if self._snapshot is None:
                self._snapshot = await self._stack.enter_async_context(self.graph.snapshot(self.view))
            return self._snapshot

    def on_refresh(self, listener: Callable[[], None]) -> None:
        """Call this when a write has made what was read before out of date."""
        self._listeners.append(listener)

    async def write(self, work: Work[T], action: str) -> T:
        """Run `work` in a transaction, and read on from after it."""
        await self.close()
        result = await self.graph.write(work, by=self.by, action=action, request=self.request)
        for listener in self._listeners:
            listener()
        return result

    async def close(self) -> None:
        """Let go of the snapshot; a later read opens another."""
        async with self._opening:
            if self._snapshot is not None:
                self.statements += self._snapshot.statements
                self._snapshot = None
                await self._stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
