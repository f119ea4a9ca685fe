"""The log of slow operations: what each asked of the store, and how the store went about the slowest of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from graph.port import Graph, Statement
from lineal import logging
from lineal.errors import LinealError

MINUTELY: Final = 10
"""Slow operations that are told of in a minute: where everything is slow, ten say as much as all."""
MAX_TEXT: Final = 4_000
"""Characters of a statement that are told."""
MAX_PLAN: Final = 50
"""Lines of a plan that are told."""

_log = logging.get("lineal.slow")


@dataclass(frozen=True, slots=True)
class Slow:
    """An operation that took `seconds`: its name, how many statements, the slowest, and its `document`'s text."""

    name: str
    seconds: float
    statements: int
    slowest: Statement | None = None
    document: str | None = None


class SlowLog:
    """Tells of operations that take `seconds` or more, MINUTELY of them in a minute; how many more is told later.

    Of a document the SHA-256 is told and of a statement the text without its parameters: neither holds values.
    """

    def __init__(self, graph: Graph, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._graph = graph
        self._clock = clock
        self._began = float("-inf")
        self._told = self._left_out = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, slow: Slow) -> None:
        """Tell of it, with the plan as soon as that is known; nobody waits for it."""
        if self._clock() >= self._began + 60:
            self._began, self._told = self._clock(), 0
        if self._told >= MINUTELY:
            self._left_out += 1
            return
        self._told += 1
        left_out, self._left_out = self._left_out, 0
        task = asyncio.get_running_loop().create_task(self._say(slow, left_out))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait until all is told."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _say(self, slow: Slow, left_out: int) -> None:
        told = {"operation": slow.name, "seconds": round(slow.seconds, 3), "statements": slow.statements}
        if slow.document is not None:
            told["document"] = hashlib.sha256(slow.document.encode()).hexdigest()
        if (slowest := slow.slowest) is not None:
            told |= {"verb": slowest.verb, "statement_seconds": round(slowest.seconds, 6)}
            told |= {"text": " ".join(slowest.text.split())[:MAX_TEXT], "plan": await self._plan(slowest)}
        if left_out:
            told["left_out"] = left_out
        _log.warning("slow operation", **told)

    async def _plan(self, statement: Statement) -> list[str]:
        try:
            return (await self._graph.explain(statement.text))[:MAX_PLAN]
        except LinealError as error:
            return [f"not known: {error.message}"]
