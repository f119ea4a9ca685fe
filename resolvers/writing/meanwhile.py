"""Writes that look for something and make it where it is not there, while others do the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from lineal.errors import AlreadyExists

TRIES: Final = 3


async def again_if_made_meanwhile(write: Callable[[], Awaitable[None]]) -> None:
    """Do it, and again where another made meanwhile what was not there: it is found the next time."""
    for _ in range(TRIES - 1):
        try:
            await write()
        except AlreadyExists:
            continue
        else:
            return
    await write()
