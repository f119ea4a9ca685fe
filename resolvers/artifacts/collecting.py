"""Bytes that nothing needs are cleared away: mark and sweep, with a grace period, while uploads go on.

What is needed are the files of artifacts that something has, and those of uploads that are OPEN. How a sweep and what
goes on meanwhile know of each other is in resolvers.artifacts.sweeping.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from graph.ids import kind_of
from graph.ontology import ARTIFACT, UPLOAD
from graph.port import (
    EVERYTHING,
    All,
    Graph,
    Hop,
    Node,
    Order,
    Paging,
    Prop,
    Snapshot,
    Transaction,
    Update,
    batched,
)
from lineal.errors import Internal, PreconditionFailed
from lineal.observing import METER
from resolvers.artifacts.common import (
    BATCH,
    SHA256,
    SLACK,
    find_manifest,
    made_since,
    opened_since,
    order_since,
    pages,
)
from resolvers.artifacts.owning import own
from resolvers.artifacts.paths import needed as sent_by_path
from resolvers.artifacts.quotas import usage
from resolvers.artifacts.sweeping import clearing
from resolvers.reading import all_links
from storage.naming import is_digest
from storage.port import Storage

RETIRED: Final = frozenset({"retired", "archived"})
"""Stages, in small letters, whose versions' files may be kept cold."""

_SECOND: Final = 1_000_000


@dataclass(slots=True)
class Collected:
    """What a collection did, or would do: blobs and bytes removed, blobs kept, artifacts and parts removed."""

    removed: int = 0
    bytes_removed: int = 0
    kept: int = 0
    too_young: int = 0
    artifacts: int = 0
    expired: int = 0
    parts: int = 0
    documents: int = 0
    chilled: int = 0
    warmed: int = 0


@dataclass(slots=True)
class _Needed:
    """What must stay: digests of blobs and of manifests; of the blobs, those that retired versions alone have."""

    blobs: set[bytes] = field(default_factory=set)
    warm: set[bytes] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)
    orphans: list[Node] = field(default_factory=list)
    adopted: list[Node] = field(default_factory=list)


# ── Mark ──────────────────────────────────────────────────────────────────────────────────────────


async def _mark(graph: Graph, storage: Storage, workspace: str, since: int = 0) -> _Needed:
    """What is needed, of what was begun or made since then (microseconds). Uploads are read before artifacts.

    An upload that is completed meanwhile was OPEN when it was read, or its artifact is there when those are read.
    """
    needed = _Needed()
    async for sha256 in sent_by_path(storage, workspace):
        needed.blobs.add(bytes.fromhex(sha256))
        needed.warm.add(bytes.fromhex(sha256))
    async with graph.snapshot(EVERYTHING) as snapshot:
        opened = opened_since(workspace, since)
        async for uploads in pages(snapshot, UPLOAD.name, opened, Order("createdAt")):
            for upload in uploads:
                await _need(storage, needed, upload, warm=True)
    async with graph.snapshot(EVERYTHING) as snapshot:
        managed = made_since(workspace, since)
        async for artifacts in pages(snapshot, ARTIFACT.name, managed, order_since(since)):
            owned = await all_links(snapshot, [node.id for node in artifacts], Hop("HAS_ARTIFACT", "IN"))
            retired = await _retired(snapshot, [link.node for links in owned.values() for link in links])
            for artifact in artifacts:
                owners = [link.node.id for link in owned.get(artifact.id, ())]
                if not owners:
                    needed.orphans.append(artifact)
                elif artifact.props.get("orphanedAt"):
                    needed.adopted.append(artifact)
                await _need(storage, needed, artifact, warm=not owners or not retired.issuperset(owners))
    return needed


async def _retired(snapshot: Snapshot, owners: Iterable[Node]) -> set[str]:
    """Which of these are model versions in a stage that is retired."""
    versions = list(dict.fromkeys(node.id for node in owners if node.kind == "ModelVersion"))
    stages = await all_links(snapshot, versions, Hop("STAGE", "IN", "Model")) if versions else {}
    return {id for id, links in stages.items() if any(k.edge.discriminator.casefold() in RETIRED for k in links)}


async def _need(storage: Storage, needed: _Needed, node: Node, *, warm: bool) -> None:
    digest = node.props["digest"]
    needed.manifests.add(digest.removeprefix(SHA256))
    try:
        manifest = await find_manifest(storage, node.workspace, digest)
    except Internal as error:
        raise PreconditionFailed(f"nothing is removed: {error.message}") from error
    if manifest is None:
        if node.kind == UPLOAD.name:
            # It was begun a moment ago, and its manifest is on its way: it will wait for this sweep.
            return
        # What it is made of is not known, so nothing here may go.
        raise PreconditionFailed(f"nothing is removed: the manifest {digest} of {node.id} is gone")
    for file in manifest.files:
        sha256 = bytes.fromhex(file.sha256)
        needed.blobs.add(sha256)
        if warm:
            needed.warm.add(sha256)


# ── Sweep ─────────────────────────────────────────────────────────────────────────────────────────


async def collect(
    graph: Graph, storage: Storage, workspace: str, *, by: str, grace: float, dry_run: bool = False
) -> Collected:
    """Clear a workspace's storage of what nothing has needed for `grace` seconds; with `dry_run` only say what that is.

    An artifact that nothing has is noted at first, and removed once it was noted for that long. Raises
    PreconditionFailed: the manifest of an artifact is gone, so that nobody knows what it needs, or the storage belongs
    to another graph; Unavailable.
    """
    done = Collected()
    await own(graph, storage, workspace, dry_run=dry_run)
    began = time.time_ns() // 1_000
    before = began - int(grace * _SECOND)
    done.expired = await _expire(graph, workspace, by, began, dry_run=dry_run)
    needed = await _mark(graph, storage, workspace)
    done.artifacts = await _release(graph, needed, by, began, before, dry_run=dry_run)
    if done.artifacts and not dry_run:
        needed = await _mark(graph, storage, workspace)
    batch: list[tuple[str, int]] = []
    cold, warm = [], []
    async for blob in storage.blobs(workspace):
        sha256 = bytes.fromhex(blob.sha256)
        if sha256 in needed.blobs:
            done.kept += 1
            if blob.cold and sha256 in needed.warm:
                warm.append(blob.sha256)
            elif not blob.cold and sha256 not in needed.warm:
                cold.append(blob.sha256)
        elif blob.modified >= before:
            done.too_young += 1
        else:
            batch.append((blob.sha256, blob.size))
            if len(batch) == BATCH:
                await _sweep(graph, storage, workspace, batch, began=began, done=done, dry_run=dry_run)
                batch = []
    await _sweep(graph, storage, workspace, batch, began=began, done=done, dry_run=dry_run)
    done.chilled, done.warmed = len(cold), len(warm)
    if not dry_run:
        await _move(graph, storage, workspace, storage.chill, cold)
        await _move(graph, storage, workspace, storage.warm, warm)
        async with _clearing(graph, storage, workspace):
            late = await _mark(graph, storage, workspace, began - SLACK)
            blobs = needed.blobs | late.blobs
            done.parts = await storage.abandon(workspace, before, lambda sha256: bytes.fromhex(sha256) in blobs)
        done.documents = await _sweep_documents(graph, storage, workspace, needed, began=began, before=before)
        await usage(storage, workspace, fresh=True)
        METER.get().add("lineal_collected_blobs", done.removed)
        METER.get().add("lineal_collected_bytes", done.bytes_removed)
    return done


async def _expire(graph: Graph, workspace: str, by: str, now: int, *, dry_run: bool) -> int:
    """Close uploads whose time is over."""
    from resolvers.artifacts.uploads import end

    over = All((Prop("workspace", "eq", workspace), Prop("state", "eq", "OPEN"), Prop("expiresAt", "lt", now)))
    async with graph.snapshot(EVERYTHING) as snapshot:
        ids = [node.id async for page in pages(snapshot, UPLOAD.name, over, Order("createdAt")) for node in page]
    for id in () if dry_run else ids:

        async def work(tx: Transaction, id: str = id) -> None:
            (node,) = (await tx.lock([id])).values()
            if node.props["expiresAt"] < now:
                await end(tx, id, "EXPIRED")

        await graph.write(work, by=by, action="expireUpload")
    return len(ids)


async def _release(graph: Graph, needed: _Needed, by: str, now: int, before: int, *, dry_run: bool) -> int:
    """Note artifacts that nothing has, and remove those that were noted long ago; how many of these."""
    removed = 0
    for artifact in needed.orphans:
        noted = artifact.props.get("orphanedAt")
        kept = (artifact.props.get("retainUntil") or 0) > now
        due = noted is not None and noted < before and not kept
        removed += due
        if dry_run or (noted is not None and not due):
            continue

        async def work(tx: Transaction, id: str = artifact.id, due: bool = due) -> None:
            await tx.lock([id])
            if (await tx.neighbours([id], Hop("HAS_ARTIFACT", "IN"), paging=Paging(1)))[id].items:
                return
            if due:
                await tx.remove([id])
            else:
                await tx.update([Update(id, {"orphanedAt": now})])

        await graph.write(work, by=by, action="collectArtifact" if due else "noteOrphan")
    for artifact in () if dry_run else needed.adopted:

        async def forget(tx: Transaction, id: str = artifact.id) -> None:
            await tx.update([Update(id, {"orphanedAt": None})])

        await graph.write(forget, by=by, action="noteOrphan")
    return removed


@asynccontextmanager
async def _clearing(graph: Graph, storage: Storage, workspace: str, *, dry_run: bool = False) -> AsyncIterator[float]:
    """A sweep as `clearing` has it, of what is still this graph's own once it is announced."""
    async with clearing(storage, workspace) as until:
        await own(graph, storage, workspace, dry_run=dry_run)
        yield until


async def _sweep(
    graph: Graph,
    storage: Storage,
    workspace: str,
    blobs: Sequence[tuple[str, int]],
    *,
    began: int,
    done: Collected,
    dry_run: bool,
) -> None:
    """Remove those of some old blobs that nothing needs by now either."""
    if not blobs:
        return
    async with _clearing(graph, storage, workspace, dry_run=dry_run) as until:
        # What changed since the first look is looked at again.
        late = await _mark(graph, storage, workspace, began - SLACK)
        going = [(sha256, size) for sha256, size in blobs if bytes.fromhex(sha256) not in late.blobs]
        retained = set() if dry_run else await storage.remove(workspace, [each for each, _ in going], until=until)
        gone = [size for sha256, size in going if sha256 not in retained]
        done.removed += len(gone)
        done.bytes_removed += sum(gone)
        done.kept += len(blobs) - len(gone)


async def _move(
    graph: Graph, storage: Storage, workspace: str, move: Callable[..., Awaitable[None]], digests: Sequence[str]
) -> None:
    """Move blobs to or from where they are kept cold, in a way that no other collection can make a loss of."""
    for batch in batched(digests, BATCH):
        # Copies may take long, and take nothing away.
        await move(workspace, batch, until=0.0)
        async with _clearing(graph, storage, workspace) as until:
            await move(workspace, batch, until=until)


async def _sweep_documents(
    graph: Graph, storage: Storage, workspace: str, needed: _Needed, *, began: int, before: int
) -> int:
    """Remove old manifests and signatures of nothing, marks of blobs that are gone, and sessions that are over.

    What Lineal does not name so is somebody else's, and stays.
    """
    removed = 0
    for prefix in ("manifests/", "signatures/", "verified/", "inventories/", "uploads/"):
        names = [name async for name in storage.documents(workspace, prefix) if _is_own(name)]
        for batch in batched(names, BATCH):
            async with _clearing(graph, storage, workspace) as until:
                late = await _mark(graph, storage, workspace, began - SLACK)
                if prefix == "verified/":
                    blobs = needed.blobs | late.blobs
                    kept = {name for name in batch if bytes.fromhex(name.removeprefix(prefix)) in blobs}
                elif prefix in {"manifests/", "signatures/"}:
                    manifests = needed.manifests | late.manifests
                    kept = {name for name in batch if name.removeprefix(prefix) in manifests}
                else:
                    kept = await _of_nodes(graph, batch)
                for name in batch:
                    if name not in kept and await storage.written(workspace, name) < before:
                        await storage.discard(workspace, name, until=until)
                        removed += 1
    return removed


def _is_own(name: str) -> bool:
    """Whether Lineal names a document so: after a digest, or a node."""
    return is_digest(name.split("/")[1]) or kind_of(_node_of(name)) is not None


def _node_of(name: str) -> str:
    return name.split("/")[1].replace("-", "_")


async def _of_nodes(graph: Graph, names: Sequence[str]) -> set[str]:
    """Which of these documents belong to something that is there, and that is OPEN if it is an upload."""
    ids = {name: _node_of(name) for name in names}
    async with graph.snapshot(EVERYTHING) as snapshot:
        nodes = await snapshot.nodes(sorted(set(ids.values())))
    there = {id for id, node in nodes.items() if node.kind != UPLOAD.name or node.props["state"] == "OPEN"}
    return {name for name, id in ids.items() if id in there}
