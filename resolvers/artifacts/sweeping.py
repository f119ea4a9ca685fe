"""How whatever removes bytes and whoever counts on them know of each other, on stores without transactions.

What is needed are the files of artifacts that something has, and those of uploads that are OPEN. A sweep says so in
the storage before it reads which those are, and an upload is in the graph before its client is told what is there:

    upload:  commit OPEN ── write its documents ── is a sweep announced? wait ── are they there? ── tell what is there
    sweep:   announce ── read what is needed ── remove what is not ── take the announcement back
    backup:  announce ── is a sweep announced? wait ── read the graph ── copy its files ── take the announcement back

A sweep that finds a backup announced removes nothing: what the graph of a moment has is needed until it is copied.
Either the sweep sees the upload, or the upload waits until the sweep is over. What an upload counts on after
that is needed by it, for as long as it is OPEN. An announcement ends by itself, long after storage has begun to refuse
what its sweep still wants to remove; see docs/adr/0009 for why that holds for one that stood still, too.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
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
BACKUPS: Final = "backups/"
"""What the names of documents begin with that announce a backup, each its own."""
HOLD_SECONDS: Final = 600.0
"""How long the announcement of a backup holds, which is made anew all the time: so long it outlives one that died."""
WAIT_SECONDS: Final = 20.0
"""How long an upload, or another sweep, waits for a sweep."""
LOOK_SECONDS: Final = 0.2
"""How long after one look whoever waits for a sweep looks again."""


async def no_sweep(storage: Storage, workspace: str) -> None:
    """Wait until no sweep of the workspace goes on. Raises Unavailable: one takes long."""
    patience = time.monotonic() + WAIT_SECONDS
    # In this order: of one whose announcement is over, only what it is about to remove at this moment is left.
    while await _announced(storage, workspace, SWEEPS) or not await storage.quiet(workspace):
        if time.monotonic() > patience:
            raise Unavailable("storage is being cleared up; ask again in a moment", retry=True)
        await asyncio.sleep(LOOK_SECONDS)


async def _announced(storage: Storage, workspace: str, prefix: str) -> set[str]:
    """The sweeps or backups that are announced; of those that are over the announcements are taken away."""
    names = set()
    async for name in storage.documents(workspace, prefix):
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
        name, began, over = f"{SWEEPS}{secrets.token_hex(16)}", time.time(), True
        await storage.put(workspace, name, orjson.dumps(began + SWEEP_SECONDS))
        try:
            # Of two that announce themselves at once, the one that looks last sees the other, and perhaps both do.
            if await _announced(storage, workspace, SWEEPS) <= {name}:
                yield began + WORK_SECONDS
                return
        except Unavailable as error:
            # What storage was asked for and did not answer may be done yet: the announcement ends by itself.
            over = not error.details.get("unsure")
            raise
        finally:
            if over:
                await storage.discard(workspace, name)
        if time.monotonic() > patience:
            raise Unavailable("storage is being cleared up by another sweep", retry=True)
        await asyncio.sleep(0.05 + secrets.randbelow(450) / 1_000)


@asynccontextmanager
async def clearing(storage: Storage, workspace: str) -> AsyncIterator[float]:
    """A sweep as `sweeping` has it, of what nothing needs any more.

    Raises Unavailable: a backup is being taken, too, which needs what was there when it began.
    """
    async with sweeping(storage, workspace) as until:
        if await _announced(storage, workspace, BACKUPS):
            msg = f"a backup is being taken: nothing of the workspace {workspace!r} is removed meanwhile"
            raise Unavailable(msg, retry=True)
        yield until


@asynccontextmanager
async def holding_back(storage: Storage, workspaces: Sequence[str]) -> AsyncIterator[None]:
    """No sweep removes anything of these workspaces meanwhile. Raises Unavailable: one takes long."""
    name = f"{BACKUPS}{secrets.token_hex(16)}"

    async def announce() -> None:
        for workspace in workspaces:
            await storage.put(workspace, name, orjson.dumps(time.time() + HOLD_SECONDS))

    async def renew() -> None:
        while True:
            await asyncio.sleep(HOLD_SECONDS / 10)
            with suppress(Unavailable):
                await announce()

    renewing = asyncio.create_task(renew())
    try:
        await announce()
        for workspace in workspaces:
            await no_sweep(storage, workspace)
        yield
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])
        for workspace in workspaces:
            await storage.discard(workspace, name)
