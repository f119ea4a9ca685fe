"""How whatever removes bytes and whoever counts on them know of each other, on stores without transactions.

What is needed are the files of artifacts that something has, and those of uploads that are OPEN. A sweep says so in
the storage before it reads which those are, and an upload is in the graph before its client is told what is there:

    upload:  commit OPEN ── write its documents ── is a sweep announced? wait ── are they there? ── tell what is there
    sweep:   announce ── read what is needed ── remove what is not ── take the announcement back

So either the sweep sees the upload, or the upload waits until the sweep is over. What an upload counts on after
that is needed by it, for as long as it is OPEN. An announcement ends by itself, long after storage has begun to refuse
what its sweep still wants to remove; see docs/adr/0009 for why that holds for one that stood still, too.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson

from lineal.errors import Unavailable
from storage.port import Storage

SWEEPS: Final = "sweeps/"
"""What the names of documents begin with that announce a sweep, each its own."""
SWEEP_SECONDS: Final = 120.0
"""How long an announcement holds."""
WORK_SECONDS: Final = 30.0
"""How long a sweep goes on under one announcement: the rest is for clocks that differ."""
WAIT_SECONDS: Final = 20.0
"""How long an upload, or another sweep, waits for a sweep."""


async def no_sweep(storage: Storage, workspace: str) -> None:
    """Wait until no sweep of the workspace goes on. Raises Unavailable: one takes long."""
    patience = time.monotonic() + WAIT_SECONDS
    # In this order: of one whose announcement is over, only what it is about to remove at this moment is left.
    while await _announced(storage, workspace) or not await storage.quiet(workspace):
        if time.monotonic() > patience:
            raise Unavailable("storage is being cleared up; ask again in a moment", retry=True)
        await asyncio.sleep(0.2)


async def _announced(storage: Storage, workspace: str) -> set[str]:
    """The sweeps that are announced; of those that are over the announcements are taken away."""
    names = set()
    async for name in storage.documents(workspace, SWEEPS):
        end = await storage.get(workspace, name)
        if end is None:
            continue
        if orjson.loads(end) > time.time():
            names.add(name)
        else:
            await storage.discard(workspace, name)
    return names


@asynccontextmanager
async def sweeping(storage: Storage, workspace: str) -> AsyncIterator[float]:
    """A sweep that is announced, the only one of the workspace; until when it may remove (seconds since the epoch).

    Raises Unavailable: another one goes on for long.
    """
    patience = time.monotonic() + WAIT_SECONDS
    while True:
        name, began = f"{SWEEPS}{secrets.token_hex(16)}", time.time()
        await storage.put(workspace, name, orjson.dumps(began + SWEEP_SECONDS))
        try:
            # Of two that announce themselves at once, the one that looks last sees the other, and perhaps both do.
            if await _announced(storage, workspace) <= {name}:
                yield began + WORK_SECONDS
                return
        finally:
            await storage.discard(workspace, name)
        if time.monotonic() > patience:
            raise Unavailable("storage is being cleared up by another sweep", retry=True)
        await asyncio.sleep(0.05 + secrets.randbelow(450) / 1_000)
