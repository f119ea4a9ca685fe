"""Live: in each process one reader of the sequenced changes, for all who follow what happens.

While somebody follows, it asks the store for what is new, and wakes them; what is newest it keeps for a while, so that
it is read once for all of them. Whoever is further behind reads on from the store by their place: nothing waits in a
queue for a slow reader. Nothing is written, so any number of processes may do so on one store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from graph.port import EVERYTHING, Change, Graph
from graph.recording import subjects
from lineal.errors import LimitExceeded, LinealError
from resolvers.following import tip

POLL_SECONDS: Final = 0.1
BACK_OFF_SECONDS: Final = 1.0
BATCH: Final = 200
"""Changes that are read in one go."""
MAX_KEPT: Final = 1_000
"""Changes that are kept, the newest ones."""
MAX_KEPT_SUBJECTS: Final = 20_000
"""Subjects that the kept changes have together; a single change may have more."""
MAX_FOLLOWERS: Final = 2_000
MAX_EACH: Final = 500
AT_ONCE: Final = 8
"""Followers that read from the store at a time: others than they ask too."""

_log = logging.getLogger("lineal.live")


class Ended(Exception):
    """The process is about to end: whoever follows goes on elsewhere, or later, from where they are."""


class Live:
    """What is new, for up to `most` followers at a time, of each client up to `most_each`."""

    def __init__(self, graph: Graph, *, most: int = MAX_FOLLOWERS, most_each: int = MAX_EACH) -> None:
        self._graph = graph
        self._most = most
        self._most_each = most_each
        self._count = 0
        self._counts = Counter[str]()
        self._reader: asyncio.Task[None] | None = None
        self._tip = self._newest = -1
        self._start = 0
        """The change after which all that are known are kept."""
        self._kept: list[Change] = []
        self._moved = asyncio.Event()
        self._woken = asyncio.Event()
        self._ended = False
        self.turns = asyncio.Semaphore(AT_ONCE)
        """Held by a follower while it reads from the store."""

    @property
    def followers(self) -> int:
        """How many follow at the moment."""
        return self._count

    @property
    def tip(self) -> int:
        """The newest change that is known of, with all before it; -1 while none was looked for."""
        return self._tip

    @asynccontextmanager
    async def following(self, client: str) -> AsyncIterator[None]:
        """Follow; the first one begins the reading, and the last one ends it.

        Raises LimitExceeded: too many follow already, or too many of this client.
        """
        for count, most, whose in (
            (self._count, self._most, ""),
            (self._counts[client], self._most_each, " of one client"),
        ):
            if count >= most:
                msg = f"this process serves {most} subscriptions{whose}, which is the most; try again, or end one"
                raise LimitExceeded(msg, limit="subscriptions", maximum=most)
        self._count += 1
        self._counts[client] += 1
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        try:
            yield
        finally:
            self._count -= 1
            self._counts[client] -= 1
            self._counts += Counter()
            if not self._count and self._reader is not None:
                reader, self._reader = self._reader, None
                self._forget()
                reader.cancel()
                # Until it has ended it holds a connection of the store, which may be closed next.
                await asyncio.wait([reader])

    def wake(self) -> None:
        """Say that something was written here, so that nobody waits for the next look."""
        self._woken.set()

    def end(self) -> None:
        """Let nobody wait any more: the process is about to end."""
        self._ended = True
        self._moved.set()

    async def beyond(self, seq: int) -> None:
        """Wait until something happened after a change. Raises Ended."""
        while self._tip <= seq or self._ended:
            if self._ended:
                raise Ended
            await self._moved.wait()

    def after(self, seq: int) -> Sequence[Change] | None:
        """The next changes after one, in order; None where they have to be read from the store."""
        if seq < self._start:
            return None
        first = next((n for n, change in enumerate(self._kept) if (change.seq or 0) > seq), len(self._kept))
        return self._kept[first : first + BATCH]

    async def _read(self) -> None:
        while True:
            wait = POLL_SECONDS
            try:
                self._woken.clear()
                await self._look()
            except LinealError as error:
                _log.warning("what is new cannot be read: %s", error.message)
                wait = BACK_OFF_SECONDS
            except Exception:  # noqa: BLE001 - a defect must not end what is told of the rest
                _log.exception("what is new cannot be read: a defect")
                wait = BACK_OFF_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        """Read what is new, and tell it. Of very much only how far it is: followers read that by themselves."""
        before, read = self._newest, list[Change]()
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            self._newest = await tip(snapshot)
            if 0 <= self._tip < self._newest:
                read = await snapshot.changes(after=self._tip, limit=BATCH)
        if self._tip < 0 or len(read) == BATCH:
            if before <= self._tip:
                return
            self._tip = self._start = before
            self._kept = []
        elif whole := self._whole(read, before):
            self._tip = whole[-1].seq or 0
            self._keep(whole)
        else:
            return
        self._tell()

    def _whole(self, read: Sequence[Change], before: int) -> Sequence[Change]:
        """Those of the changes before which there is no other that does not show yet.

        A store may show a commit bit by bit. Before what comes right after what is known there is nothing, and what a
        look before this one found has been committed as a whole since.
        """
        end = self._tip
        for n, change in enumerate(read):
            seq = change.seq or 0
            if seq > max(end + 1, before):
                return read[:n]
            end = seq
        return read

    def _keep(self, read: Sequence[Change]) -> None:
        self._kept += read
        sizes = [len(subjects(change.data)) for change in self._kept]
        total, drop = sum(sizes), 0
        while len(sizes) - drop > MAX_KEPT or (total > MAX_KEPT_SUBJECTS and drop < len(sizes)):
            total -= sizes[drop]
            drop += 1
        if drop:
            self._start = self._kept[drop - 1].seq or 0
            self._kept = self._kept[drop:]

    def _tell(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _forget(self) -> None:
        self._tip = self._newest = -1
        self._start, self._kept = 0, []
