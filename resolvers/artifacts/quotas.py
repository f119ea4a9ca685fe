"""What a workspace keeps, and how much it may: what uploads announced and may still send counts as if it were there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import orjson

from graph.ontology import UPLOAD
from graph.port import EVERYTHING, All, Any_, Graph, Node, Order, Prop, Where
from lineal.errors import LimitExceeded
from resolvers.artifacts.common import SEND_SECONDS, SLACK, blobs_of, pages, right_manifest, workspace_property
from storage.manifest import Manifest
from storage.port import Blob, Storage

USAGE: Final = "usage"
"""The document that holds what was measured."""
USAGE_SECONDS: Final = 60.0
"""How old a measurement of usage may be."""

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What a workspace keeps: blobs, their bytes, and when it was measured (microseconds)."""

    blobs: int
    size: int
    at: int


async def usage(storage: Storage, workspace: str, *, fresh: bool = False) -> Usage:
    """What a workspace keeps, measured at most a minute ago."""
    now = time.time_ns() // 1_000
    before = await _known(storage, workspace)
    if not fresh and before is not None and before.at > now - USAGE_SECONDS * _SECOND:
        return before
    blobs = size = 0
    async for blob in storage.blobs(workspace):
        blobs, size = blobs + 1, size + blob.size
    known = await _known(storage, workspace)
    if known is not None and before is not None and known.at == before.at:
        # What was counted meanwhile may have come too late for the listing: rather twice than not at all.
        blobs, size = blobs + known.blobs - before.blobs, size + known.size - before.size
    elif known is not None and known.at > now:
        return known
    measured = Usage(blobs, size, now)
    await _write(storage, workspace, measured)
    return measured


async def added(storage: Storage, workspace: str, blob: Blob) -> None:
    """What was measured last counts this blob too, which came since."""
    if (before := await _known(storage, workspace)) is not None:
        await _write(storage, workspace, Usage(before.blobs + 1, before.size + blob.size, before.at))


async def _known(storage: Storage, workspace: str) -> Usage | None:
    data = await storage.get(workspace, USAGE)
    return None if data is None else Usage(**orjson.loads(data))


async def _write(storage: Storage, workspace: str, usage: Usage) -> None:
    data = {"blobs": usage.blobs, "size": usage.size, "at": usage.at}
    await storage.put(workspace, USAGE, orjson.dumps(data))


async def measured(graph: Graph, storage: Storage, workspace: str) -> dict[str, Any]:
    """What a workspace keeps and may keep, as plain data: workspace, blobs, bytes, quotaBytes (None: no quota)."""
    found = await usage(storage, workspace, fresh=True)
    async with graph.snapshot(EVERYTHING) as snapshot:
        quota = await workspace_property(snapshot, workspace, "quotaBytes")
    return {"workspace": workspace, "blobs": found.blobs, "bytes": found.size, "quotaBytes": quota}


async def admit(graph: Graph, storage: Storage, upload: Node, manifest: Manifest) -> int | None:
    """How many bytes storage lacks of an upload that has been opened and written down, and may be sent.

    None where there is no quota, or it was let in before. Two uploads that are opened at once see each other, so of
    two that do not fit together never both are let in. Raises LimitExceeded.
    """
    workspace = upload.workspace
    quota = await _quota(graph, workspace)
    if quota is None or upload.props.get("newBytes") is not None:
        return None
    mine = blobs_of(manifest)
    there = await storage.present(workspace, mine)
    new = sum(blob.size for blob in mine if blob.sha256 not in there)
    if not new or await _surely_left(graph, storage, workspace, quota) >= 0:
        return new
    used, lacking = await _taken(graph, storage, workspace)
    if used + lacking > quota:
        others = f" beside {lacking - new:,} that other uploads have announced" if lacking > new else ""
        msg = (
            f"the workspace {workspace!r} may keep {quota:,} bytes; it keeps {used:,}, "
            f"and {new:,} more{others} do not fit"
        )
        raise LimitExceeded(msg, limit="quotaBytes", maximum=quota, used=used, needed=new)
    return new


async def check_kept(graph: Graph, storage: Storage, upload: Node) -> None:
    """Raises LimitExceeded: with what was sent, the workspace keeps more than it may by now."""
    quota = await _quota(graph, upload.workspace)
    if quota is None or upload.props.get("newBytes") == 0:
        return
    if await _surely_left(graph, storage, upload.workspace, quota) >= 0:
        return
    used = (await usage(storage, upload.workspace, fresh=True)).size
    if used > quota:
        msg = f"upload: the workspace {upload.workspace!r} may keep {quota:,} bytes, and keeps {used:,} with this"
        raise LimitExceeded(msg, field="upload", limit="quotaBytes", maximum=quota, used=used)


async def _quota(graph: Graph, workspace: str) -> int | None:
    async with graph.snapshot(EVERYTHING) as snapshot:
        quota: int | None = await workspace_property(snapshot, workspace, "quotaBytes")
        return quota


async def room(graph: Graph, storage: Storage, workspace: str, needed: int) -> int | None:
    """How many bytes more a workspace may keep, beside all that was announced; None where it has no quota.

    Usage is measured anew where what was measured last leaves less than `needed`. It may be less than 0.
    """
    quota = await _quota(graph, workspace)
    if quota is None:
        return None
    if (left := await _surely_left(graph, storage, workspace, quota)) >= needed:
        return left
    return quota - sum(await _taken(graph, storage, workspace))


async def _surely_left(graph: Graph, storage: Storage, workspace: str, quota: int) -> int:
    """What is left beside all that was announced, even if none of it was there when usage was measured last."""
    known = await usage(storage, workspace)
    promised, unknown = await _promised(graph, storage, workspace, min(known.at - SLACK, _last_to_be_sent()))
    return quota - known.size - sum(blob.size for blob in promised) - unknown


async def _taken(graph: Graph, storage: Storage, workspace: str) -> tuple[int, int]:
    """The bytes that are there, measured anew, and those that were announced and are not there yet."""
    # In this order nothing that comes in meanwhile is left out.
    promised, unknown = await _promised(graph, storage, workspace, _last_to_be_sent())
    there = await storage.present(workspace, list(promised))
    lacking = sum(blob.size for blob in promised if blob.sha256 not in there) + unknown
    return (await usage(storage, workspace, fresh=True)).size, lacking


def _last_to_be_sent() -> int:
    """Since when an upload was closed to which something can be sent still, by addresses that it gave out."""
    return time.time_ns() // 1_000 - SEND_SECONDS * _SECOND - SLACK


async def _promised(graph: Graph, storage: Storage, workspace: str, since: int) -> tuple[set[Blob], int]:
    """The blobs of uploads that are OPEN, or were closed since then; and the bytes of those not written down yet."""
    let_in = Any_((Prop("state", "eq", "COMPLETE"), Prop("newBytes", "gt", 0)))
    wanted: Where = Any_((Prop("state", "eq", "OPEN"), All((Prop("closedAt", "gte", since), let_in))))
    promised, unknown = set[Blob](), 0
    async with graph.snapshot(EVERYTHING) as snapshot:
        here = All((Prop("workspace", "eq", workspace), wanted))
        async for uploads in pages(snapshot, UPLOAD.name, here, Order("createdAt")):
            for upload in uploads:
                manifest = await right_manifest(storage, workspace, upload.props["digest"])
                if manifest is not None:
                    promised.update(blobs_of(manifest))
                elif upload.props["state"] == "OPEN":
                    unknown += upload.props["sizeBytes"]
    return promised, unknown
