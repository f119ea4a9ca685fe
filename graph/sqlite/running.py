"""A connection's calls, in a worker thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from lineal.errors import Internal, Unavailable

T = TypeVar("T")
P = ParamSpec("P")


class Thread:
    """Runs a connection's calls in a worker thread, one at a time; a cancelled one is interrupted."""

    def __init__(self, pool: ThreadPoolExecutor, db: sqlite3.Connection) -> None:
        self._pool = pool
        self._db = db
        self._turn = asyncio.Lock()

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._turn:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._pool, lambda: call(*args, **kwargs))
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                self._db.interrupt()
                await asyncio.wait([future])
                future.exception()
                raise
            except sqlite3.Error as error:
                raise translated(error) from error


def translated(error: sqlite3.Error) -> Exception:
    """SQLite's errors in Lineal's tree."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and any(
        w in text for w in ("locked", "busy", "interrupted", "unable to open", "disk")
    ):
        return Unavailable(f"the store is busy or away: {text}")
    return Internal(f"the store refused a statement: {text}")
