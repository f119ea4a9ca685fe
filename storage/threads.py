"""Calls that wait, in threads of one's own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar

PAGE: Final = 1_000
"""Items of an iterable that are taken in one call."""

T = TypeVar("T")


class Threads:
    """So many calls at once, and the others wait for their turn."""

    def __init__(self, limit: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix=name)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the function gives. Who is cancelled waits for its end, for what it uses must not go away meanwhile."""
        call = asyncio.get_running_loop().run_in_executor(self._pool, partial(copy_context().run, function, *arguments))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call])
            raise

    async def each(self, items: Iterable[T]) -> AsyncIterator[T]:
        """The items of an iterable that waits, a page at a time."""
        iterator = iter(items)

        def page() -> list[T]:
            return list(itertools.islice(iterator, PAGE))

        while items := await self.run(page):
            for item in items:
                yield item

    def close(self) -> None:
        """End the threads as they become free."""
        self._pool.shutdown(wait=False)
