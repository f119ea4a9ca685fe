"""Calls that a platform answers only when it has done what was asked, which may take minutes.

They are waited for a while and then left to go on, so that nobody who applies waits for a model to load. Nothing
depends on them: one that is lost with its process is seen by what it did, or made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final

from lineal.errors import PreconditionFailed

PATIENCE: Final = 2.0
"""Seconds that who asks for a call waits for it: all that is done on a target waits meanwhile."""
STALE: Final = 300.0
"""Seconds after which nobody wants to hear any more that a call was refused."""


class Slow:
    """The calls of one target that are under way, each known by a key."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, asyncio.Task[None]] = {}
        self._ended: dict[Hashable, float] = {}

    async def call(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> bool:
        """Make a call, unless it is under way, and wait for it so long; whether it is done. Raises what it raises.

        One that ended after it was waited for is made again, unless the platform refused it: then that is told.
        """
        now = asyncio.get_running_loop().time()
        for each, ended in list(self._ended.items()):
            if now - ended > STALE or not isinstance(self._calls[each].exception(), PreconditionFailed):
                self._forget(each)
        if key not in self._calls:
            self._calls[key] = asyncio.create_task(make())
            self._calls[key].add_done_callback(lambda call: self._end(key, call))
        call = self._calls[key]
        await asyncio.wait([call], timeout=seconds)
        if not call.done():
            return False
        self._forget(key)
        call.result()
        return True

    def _end(self, key: Hashable, call: asyncio.Task[None]) -> None:
        if not call.cancelled():
            # Looked at, so that asyncio does not complain of one that nobody asks for again.
            call.exception()
        if self._calls.get(key) is call:
            self._ended[key] = asyncio.get_running_loop().time()

    def _forget(self, key: Hashable) -> None:
        self._calls.pop(key, None)
        self._ended.pop(key, None)

    async def close(self) -> None:
        """Give up on all of them."""
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
