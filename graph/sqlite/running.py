"""A connection's calls, in a worker thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from lineal.errors import Internal, Unavailable

T = TypeVar("T")
P = ParamSpec("P")

QUICK_STEPS: Final = 20_000
"""Steps of SQLite's machine that a statement may take in the event loop: about as long as the way to a thread."""

INTERRUPT_SECONDS: Final = 0.01
"""How often what was cancelled is interrupted until it ends."""


class TooLong(Exception):
    """What was to be quick is not; nothing came of it, and it is to be run in a thread."""


class Thread:
    """Runs a connection's calls in a worker thread, one at a time; a cancelled one is interrupted.

    `opening` is a statement that goes before the first of them, on the same way.
    """

    def __init__(self, pool: ThreadPoolExecutor, db: sqlite3.Connection, opening: str | None = None) -> None:
        self._pool = pool
        self._db = db
        self._opening = opening
        self._turn = asyncio.Lock()

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return not self._turn.locked()

    def here(self, call: Callable[[], T]) -> T:
        """Run a call that takes no longer than the way to a thread and back, while none is under way.

        It only reads. Raises TooLong: one of its statements would have held up the event loop.
        """
        late = False

        def stop() -> bool:
            nonlocal late
            late = True
            return True

        self._db.set_progress_handler(stop, QUICK_STEPS)
        try:
            return self._first(call)
        except (sqlite3.Error, Unavailable) as error:
            if late:
                raise TooLong from error
            raise (translated(error) if isinstance(error, sqlite3.Error) else error) from error
        finally:
            self._db.set_progress_handler(None, 0)

    def _first(self, call: Callable[[], T]) -> T:
        opening, self._opening = self._opening, None
        if opening is not None:
            self._db.execute(opening)
        return call()

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._turn:
            # What watches statements knows by the context whose they are.
            run = partial(copy_context().run, self._first, lambda: call(*args, **kwargs))
            future = asyncio.get_running_loop().run_in_executor(self._pool, run)
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                # One that comes before a statement begins, or between two of them, is of no effect.
                while not future.done():
                    self._db.interrupt()
                    await asyncio.wait([future], timeout=INTERRUPT_SECONDS)
                future.exception()
                raise
            except sqlite3.Error as error:
                raise translated(error) from error


class Direct:
    """Runs a connection's calls where it is called: in the worker thread that a whole coroutine is carried out in."""

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except sqlite3.Error as error:
            raise translated(error) from error


def carried_out(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to that waits for nothing, because all its calls are direct. Raises Internal: it waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    coroutine.close()
    raise Internal("what is done in one go may await nothing but its store")


def translated(error: sqlite3.Error) -> Exception:
    """SQLite's errors in Lineal's tree."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and any(
        w in text for w in ("locked", "busy", "interrupted", "unable to open", "disk")
    ):
        return Unavailable(f"the store is busy or away: {text}")
    return Internal(f"the store refused a statement: {text}")
