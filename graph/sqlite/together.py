"""Writes that come while another is under way: each by itself, and all of them to the disk at once."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from graph.sqlite.running import Thread
from lineal.errors import Unavailable

T = TypeVar("T")

MOST: Final = 32
"""Writes that go to the disk at once, at most: those that came first wait for the last."""
PATIENCE_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class Waiting:
    """A write, and what came of it. It is `done` when it is on the disk, or has failed."""

    carry: Callable[[], Any]
    done: bool = False
    result: Any = None
    error: Exception | None = None
    given_up: bool = False


class Together:
    """The writes of one connection. `turn` is held by whoever uses it."""

    def __init__(self, turn: asyncio.Lock) -> None:
        self._turn = turn
        self._waiting: list[Waiting] = []

    @property
    def waiting(self) -> int:
        """How many writes have not begun."""
        return len(self._waiting)

    async def __call__(self, db: sqlite3.Connection, run: Thread, carry: Callable[[], T]) -> T:
        """What `carry` comes to, which does its statements in one go in a worker thread, when it is on the disk.

        Whoever has the turn carries out all that wait. One that fails leaves nothing behind and takes nobody along;
        only when the commit itself fails, all of them do. Raises what it raises, and Unavailable.
        """
        mine = Waiting(carry)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if not mine.done:
                    await self._carry_out(db, run)
        finally:
            mine.given_up = True
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.error is not None:
            raise mine.error
        result: T = mine.result
        return result

    async def _carry_out(self, db: sqlite3.Connection, run: Thread) -> None:
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            # One alone is interrupted when it is cancelled; others have no part in that.
            alone = len(batch) == 1
            await patiently(lambda: run(_all, db, batch) if alone else to_its_end(run(_all, db, batch)))
        except asyncio.CancelledError:
            self._waiting[:0] = [each for each in batch[1:] if not each.done]
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those whose writes these are
            for each in batch:
                each.done, each.error = True, each.error or error


async def patiently(write: Callable[[], Awaitable[T | None]]) -> T:
    """What a write comes to that is tried again while it could not begin: None. Raises Unavailable: for 30 seconds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (result := await write()) is None:
        if time.monotonic() > deadline:
            raise Unavailable("the store is busy or away: no write could begin for 30 seconds")
        await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
    return result


def begin(db: sqlite3.Connection) -> bool:
    """Begin a transaction that writes. False: it cannot, most likely for another process writes."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def _all(db: sqlite3.Connection, batch: list[Waiting]) -> Literal[True] | None:
    """Carry out all of these in one transaction. None: it could not begin."""
    if not begin(db):
        return None
    try:
        for each in batch:
            if not each.given_up:
                _one(db, each, alone=len(batch) == 1)
        db.execute("COMMIT")
        for each in batch:
            each.done = True
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return True


def _one(db: sqlite3.Connection, each: Waiting, *, alone: bool) -> None:
    """Carry it out; what fails is undone. Raises its error where SQLite has undone the others too."""
    if alone:
        each.result = each.carry()
        return
    db.execute("SAVEPOINT one")
    try:
        each.result = each.carry()
    except Exception as error:
        if not db.in_transaction:
            raise
        each.error = error
        db.execute("ROLLBACK TO one")
    db.execute("RELEASE one")


async def to_its_end(call: Awaitable[T]) -> T:
    """Wait for it even when cancelled meanwhile, so that nobody gets a connection that is still busy."""
    task = asyncio.ensure_future(call)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    result = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return result
