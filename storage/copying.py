"""Bytes from one store into another, read and checked on the way."""

from __future__ import annotations

import hashlib
from typing import Final

from lineal.errors import NotFound
from storage.port import Blob, Storage

AT_ONCE: Final = 8
"""Blobs that whoever copies many copies or reads at a time."""
MISSING: Final = "is not there"


async def read(storage: Storage, workspace: str, sha256: str) -> Blob | None:
    """What the bytes of a blob are, all of which are read; None where it is not there."""
    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in storage.read(workspace, sha256):
            digest.update(chunk)
            size += len(chunk)
    except NotFound:
        return None
    return Blob(digest.hexdigest(), size)


async def problem(storage: Storage, workspace: str, blob: Blob) -> str:
    """What is wrong with a blob, all of whose bytes are read; nothing where it is right."""
    return difference(await read(storage, workspace, blob.sha256), blob)


async def copy(source: Storage, target: Storage, workspace: str, blob: Blob) -> str:
    """Put a blob of one store into another; what is wrong with it at its source, and then nothing is put there."""
    async with target.incoming(workspace) as incoming:
        try:
            async for chunk in source.read(workspace, blob.sha256):
                await incoming.write(chunk)
        except NotFound:
            return MISSING
        came = await incoming.finish()
        if came == blob:
            await incoming.keep(came)
    return difference(came, blob)


async def put_right(source: Storage, target: Storage, workspace: str, blob: Blob) -> str:
    """Have a blob in another store, unless it is there; what is wrong with it at its source.

    What is there under its name and is something else makes room for it.
    """
    if await target.find(workspace, blob.sha256) is not None:
        if not await problem(target, workspace, blob):
            return ""
        await target.remove(workspace, [blob.sha256])
    return await copy(source, target, workspace, blob)


def difference(found: Blob | None, told: Blob) -> str:
    """In what bytes that were found are others than was told; nothing where they are the same."""
    if found is None:
        return MISSING
    if found.size != told.size:
        return f"has {found.size:,} bytes instead of {told.size:,}"
    return "" if found.sha256 == told.sha256 else f"has the digest {found.sha256}"
