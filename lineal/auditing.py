"""Checkpoints of the audit, made in the background by one process of all that share the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from joserfc.jwk import OKPKey

from auth.checkpoints import CheckpointFile, last_checkpoint, sign, statement
from auth.keyring import AUDIT, Keyring
from graph.port import Checkpoint, Graph, Head, Lease
from lineal import logging
from lineal.errors import Conflict, LinealError
from lineal.observing import METER, working
from lineal.settings import Settings

LEASE: Final = "checkpoints"
CLOSING_SECONDS: Final = 5.0
FILE_BATCH: Final = 100
"""Checkpoints that are sent to the file at once."""

_log = logging.get("lineal.audit")


class Checkpointer:
    """Signs how far the chains went, every so many seconds in which one of them moved.

    `file` has the checkpoints elsewhere, and is brought up to the store's: what could not be written is
    written later.
    """

    def __init__(
        self, graph: Graph, key: OKPKey, holder: str, *, seconds: float = 60.0, file: CheckpointFile | None = None
    ) -> None:
        self._graph = graph
        self._key = key
        self._holder = holder
        self._seconds = seconds
        self._file = file
        self._lease: Lease | None = None
        self._last = 1

    async def run(self) -> None:
        """Until cancelled: hold the lease, and make checkpoints; the last one when it is cancelled."""
        METER.get().set("lineal_checkpoint_every_seconds", self._seconds)
        try:
            while True:
                try:
                    with working("checkpointer") as round:
                        self._lease = await self._graph.claim(LEASE, self._holder, 2 * self._seconds + CLOSING_SECONDS)
                        if self._lease is not None:
                            await self.checkpoint()
                        round.idle = self._lease is None
                except LinealError as error:
                    _log.warning("the audit waits for its checkpoint", reason=error.message)
                except Exception:  # noqa: BLE001 - nobody would seal the audit any more, and nobody would hear of it
                    _log.exception("the audit waits for its checkpoint: a defect")
                await asyncio.sleep(self._seconds)
        finally:
            if self._lease is not None:
                # One that fails here must not keep another process from making it.
                for last in (self.checkpoint, partial(self._graph.release, self._lease)):
                    with suppress(LinealError, TimeoutError):
                        async with asyncio.timeout(CLOSING_SECONDS):
                            await last()

    async def checkpoint(self) -> bool:
        """Make a checkpoint if a chain moved since the last one, and bring the file up to date; whether one was made.

        Raises Unavailable, PreconditionFailed (the file has checkpoints that the store does not have).
        """
        made = await self._seal()
        if self._file is not None:
            await self._send(self._file)
        METER.get().set("lineal_checkpoint_current_timestamp_seconds", time.time())
        return made

    async def _seal(self) -> bool:
        async with self._graph.snapshot() as snapshot:
            last = await last_checkpoint(snapshot, self._last)
            heads = await snapshot.heads()
        self._last = last.number if last else 1
        if last is not None:
            with suppress(ValueError):
                METER.get().set("lineal_checkpoint_timestamp_seconds", statement(last).at / 1_000_000)
        if {head.workspace: head for head in heads} == _sealed(last):
            return False
        try:
            await self._graph.put_checkpoint(sign(self._key, heads, at=time.time_ns() // 1_000, last=last))
        except Conflict:
            return False  # another process made it, between losing its lease and noticing that
        METER.get().set("lineal_checkpoint_timestamp_seconds", time.time())
        return True

    async def _send(self, file: CheckpointFile) -> None:
        while True:
            last = await asyncio.to_thread(file.last)
            async with self._graph.snapshot() as snapshot:
                found = await snapshot.checkpoints(after=last.number - 1 if last else 0, limit=FILE_BATCH)
            await asyncio.to_thread(file.append, found)
            if len(found) < FILE_BATCH:
                return


def checkpointer(settings: Settings, graph: Graph, holder: str) -> Checkpointer:
    """What makes checkpoints with these settings. Raises PreconditionFailed, Unavailable: the key cannot be had."""
    path = settings.audit_checkpoint_file
    return Checkpointer(
        graph,
        Keyring(settings.keys).ed25519(AUDIT),
        holder,
        seconds=settings.audit_checkpoint_seconds,
        file=CheckpointFile(path) if path else None,
    )


def _sealed(last: Checkpoint | None) -> Mapping[str, Head]:
    """The heads that a checkpoint knows; none of one that says nothing, which verification finds."""
    with suppress(ValueError):
        return statement(last).heads if last else {}
    return {}
