"""Exports that are fetched: kept in storage for a while, at an address that opens one of them without a token."""

from __future__ import annotations

import time
from typing import Final

from graph.port import batched
from resolvers.artifacts.collecting import Collected
from resolvers.artifacts.common import BATCH
from resolvers.artifacts.downloads import LINK_SECONDS
from resolvers.exporting.exporting import Exported
from resolvers.operation import Operation
from storage.port import Storage

AREA: Final = "_exports"
"""Where storage keeps exports: no workspace can be called so, hence nothing of one is near them."""
KEPT_SECONDS: Final = 2 * LINK_SECONDS
"""How long an export is kept. No address outlives it."""

_SECOND: Final = 1_000_000


async def link(op: Operation, exported: Exported, *, seconds: int = LINK_SECONDS) -> str:
    """An address that gives an export's bytes to a GET for so many seconds; who asks is in the audit before that.

    Raises Unavailable (the audit, the storage).
    """
    if op.recorder is not None:
        on: dict[str, list[str]] = {}
        for root in exported.of.roots:
            on.setdefault(root.node.workspace, []).append(root.id)
        await op.recorder.read(
            op.caller,
            action="export",
            data={"on": on, "format": exported.format.name, "sha256": exported.sha256},
            workspaces=sorted(on),
            address=op.address,
            request=op.request,
        )
    storage = op.storage
    await _keep(storage, exported)
    name, seconds = exported.filename, min(seconds, LINK_SECONDS)
    return await storage.link(AREA, exported.sha256, filename=name, seconds=seconds, base=op.base)


async def _keep(storage: Storage, exported: Exported) -> None:
    """Have the bytes there for as long as an address may open them. Raises Unavailable."""
    found = await storage.find(AREA, exported.sha256)
    if found is not None:
        if found.modified > (time.time() - KEPT_SECONDS + LINK_SECONDS) * _SECOND:
            return
        # The same again, and about to be cleared: put there anew it is kept for as long as any other.
        await storage.remove(AREA, [exported.sha256])
    async with storage.incoming(AREA) as incoming:
        await incoming.write(exported.data)
        await incoming.keep(await incoming.finish())


async def clear_exports(storage: Storage, *, dry_run: bool = False) -> Collected:
    """Remove exports that no address opens any more; with `dry_run` only say what that is. Raises Unavailable."""
    before = int((time.time() - KEPT_SECONDS) * _SECOND)
    blobs = [blob async for blob in storage.blobs(AREA)]
    old = [blob for blob in blobs if blob.modified < before]
    done = Collected(len(old), sum(blob.size for blob in old), too_young=len(blobs) - len(old))
    if not dry_run:
        for batch in batched(old, BATCH):
            await storage.remove(AREA, [blob.sha256 for blob in batch])
        done.parts = await storage.abandon(AREA, before)
    return done
