"""Bytes that nothing needs are cleared away: mark and sweep, with a grace period, while uploads go on.

What is needed are the files of artifacts that something has, and those of uploads that are OPEN. How a sweep and what
goes on meanwhile know of each other is in resolvers.artifacts.sweeping.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from graph.address import Address
from graph.ids import kind_of
from graph.ontology import ARTIFACT, GLOBAL, UPLOAD, WORKSPACE
from graph.port import (
    EVERYTHING,
    All,
    EntryFilter,
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
    SEND_SECONDS,
    SHA256,
    SLACK,
    blobs_of,
    find_manifest,
    made_since,
    opened_since,
    order_since,
    pages,
    right_manifest,
)
from resolvers.artifacts.owning import OWNER, own
from resolvers.artifacts.paths import PREFIX as PATHS
from resolvers.artifacts.paths import needed as sent_by_path
from resolvers.artifacts.quotas import USAGE, usage
from resolvers.artifacts.sweeping import LOOK_SECONDS, clearing
from resolvers.reading import all_links
from storage.naming import is_digest
from storage.port import Storage

RETIRED: Final = frozenset({"retired", "archived"})
"""Stages, in small letters, whose versions' files may be kept cold."""

REST_AFTER_SECONDS: Final = 1.0
"""How long a collection goes from sweep to sweep before it lets others through."""

_SECOND: Final = 1_000_000


@dataclass(slots=True)
class Collected:
    """What a collection did, or would do: blobs and bytes removed, blobs kept, artifacts and parts removed.

    `parts` is None of a dry run: which of them go only the storage knows, when it drops them.
    """

    removed: int = 0
    bytes_removed: int = 0
    kept: int = 0
    too_young: int = 0
    artifacts: int = 0
    expired: int = 0
    parts: int | None = 0
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
    moving: list[Node] = field(default_factory=list)
    """Artifacts that are to be kept cold, or were."""


async def workspaces(graph: Graph) -> tuple[list[str], list[str]]:
    """The names of all workspaces, and of all that were deleted, whose bytes may be there still."""
    names, after, more = list[str](), None, True
    async with graph.snapshot(EVERYTHING) as snapshot:
        while more:
            page = await snapshot.find(WORKSPACE.name, paging=Paging(BATCH, after))
            names += [node.name for node in page.items]
            after, more = page.cursors[-1] if page.cursors else None, page.has_next
        # Whatever was written in a workspace is in its chain of audit, which stays.
        chains = [head.workspace for head in await snapshot.heads()]
    return names, [name for name in chains if name not in {GLOBAL, *names}]


async def _deleted_at(graph: Graph, workspace: str) -> int | None:
    """When a workspace was deleted (microseconds); None of one that is there."""
    async with graph.snapshot(EVERYTHING) as snapshot:
        (node,) = await snapshot.resolve([Address(WORKSPACE.name, GLOBAL, workspace)])
        if node is not None:
            return None
        # Nothing is written in it after that; where entries were taken off its chain, that was long ago.
        last = await snapshot.entries(EntryFilter(workspaces=frozenset({workspace}), noted=False), limit=1)
    return last[0].change.at if last else 0


async def keeps(storage: Storage, workspace: str) -> bool:
    """Whether any bytes are there."""
    async for _ in storage.blobs(workspace):
        return True
    return False


async def collect(
    graph: Graph, storage: Storage, workspace: str, *, by: str, grace: float, dry_run: bool = False
) -> Collected:
    """Clear a workspace's storage of what nothing has needed for `grace` seconds; with `dry_run` only say what that is.

    An artifact that nothing has is noted at first, and removed once it was noted for that long. Of a workspace that was
    deleted everything goes then. Raises PreconditionFailed: the manifest of an artifact is gone, so that nobody knows
    what it needs, or the storage belongs to another graph; Unavailable.
    """
    began = time.time_ns() // 1_000
    before = began - int(grace * _SECOND)
    return await _Collection(graph, storage, workspace, by, began, before, dry_run).run()


@dataclass(slots=True)
class _Collection:
    """One collection: when it began, and before when what is removed was put there (microseconds)."""

    graph: Graph
    storage: Storage
    workspace: str
    by: str
    began: int
    before: int
    dry_run: bool
    done: Collected = field(default_factory=Collected)
    going: set[str] = field(default_factory=set)
    """Uploads and artifacts that need nothing any more: of a dry run they are in the graph still."""
    deleted_at: int | None = None
    """When the workspace was deleted."""
    rested: float = field(default_factory=time.monotonic)
    """When others were let through last."""

    async def run(self) -> Collected:
        storage, workspace, done = self.storage, self.workspace, self.done
        self.deleted_at = await _deleted_at(self.graph, workspace)
        if self.deleted_at is not None:
            if await storage.get(workspace, OWNER) is None and not await keeps(storage, workspace):
                return done
            if self.deleted_at >= self.before:
                # What its artifacts needed went with them, at once: nothing tells how long it was needed.
                self.before = 0
        await own(self.graph, storage, workspace, dry_run=self.dry_run)
        await self._expire()
        needed = await self._mark()
        await self._release(needed)
        if done.artifacts:
            needed = await self._mark()
        await self._sweep_blobs(needed)
        await self._sweep_parts(needed)
        await self._sweep_documents(needed)
        if not self.dry_run:
            await usage(storage, workspace, fresh=True)
            METER.get().add("lineal_collected_blobs", done.removed)
            METER.get().add("lineal_collected_bytes", done.bytes_removed)
            await self._disown()
        return done

    async def _disown(self) -> None:
        """Forget whose the storage was of a workspace that was deleted, when nothing is there or can come any more."""
        last = self.before - SEND_SECONDS * _SECOND - SLACK
        if self.deleted_at is not None and self.deleted_at < last and not self.done.kept:
            await self.storage.discard(self.workspace, USAGE)
            await self.storage.discard(self.workspace, OWNER)

    # ── Mark ──────────────────────────────────────────────────────────────────────────────────────

    async def _mark(self, since: int = 0) -> _Needed:
        """What is needed, of what was begun or made since then (microseconds). Uploads are read before artifacts.

        An upload that is completed meanwhile was OPEN when it was read, or its artifact is there when those are read.
        """
        needed = _Needed()
        if self.deleted_at is None:
            async for sha256 in sent_by_path(self.storage, self.workspace):
                needed.blobs.add(bytes.fromhex(sha256))
                needed.warm.add(bytes.fromhex(sha256))
        async with self.graph.snapshot(EVERYTHING) as snapshot:
            opened = opened_since(self.workspace, since)
            async for uploads in pages(snapshot, UPLOAD.name, opened, Order("createdAt")):
                for upload in uploads:
                    if upload.id not in self.going:
                        await _need(self.storage, needed, upload, warm=True)
        async with self.graph.snapshot(EVERYTHING) as snapshot:
            managed = made_since(self.workspace, since)
            async for artifacts in pages(snapshot, ARTIFACT.name, managed, order_since(since)):
                owned = await all_links(snapshot, [node.id for node in artifacts], Hop("HAS_ARTIFACT", "IN"))
                retired = await _retired(snapshot, [link.node for links in owned.values() for link in links])
                for artifact in artifacts:
                    owners = [link.node.id for link in owned.get(artifact.id, ())]
                    if not owners and artifact.id in self.going:
                        continue
                    if not owners:
                        needed.orphans.append(artifact)
                    elif artifact.props.get("orphanedAt"):
                        needed.adopted.append(artifact)
                    warm = not owners or not retired.issuperset(owners)
                    if not warm or artifact.props.get("cold"):
                        needed.moving.append(artifact)
                    await _need(self.storage, needed, artifact, warm=warm)
        return needed

    async def _expire(self) -> None:
        """Close uploads whose time is over."""
        from resolvers.artifacts.uploads import end

        of = (Prop("workspace", "eq", self.workspace), Prop("state", "eq", "OPEN"))
        over = All((*of, Prop("expiresAt", "lt", self.began)))
        async with self.graph.snapshot(EVERYTHING) as snapshot:
            ids = [node.id async for page in pages(snapshot, UPLOAD.name, over, Order("createdAt")) for node in page]
        self.done.expired = len(ids)
        if self.dry_run:
            self.going.update(ids)
            return
        for id in ids:

            async def work(tx: Transaction, id: str = id) -> None:
                (node,) = (await tx.lock([id])).values()
                if node.props["expiresAt"] < self.began:
                    await end(tx, id, "EXPIRED")

            await self.graph.write(work, by=self.by, action="expireUpload")

    async def _release(self, needed: _Needed) -> None:
        """Note artifacts that nothing has, and remove those that were noted long ago."""
        for artifact in needed.orphans:
            noted = artifact.props.get("orphanedAt")
            kept = (artifact.props.get("retainUntil") or 0) > self.began
            due = noted is not None and noted < self.before and not kept
            if due:
                self.done.artifacts += 1
            if self.dry_run:
                self.going.update([artifact.id] if due else ())
            elif due or noted is None:
                await self._let_go(artifact.id, due=due)
        for artifact in () if self.dry_run else needed.adopted:

            async def forget(tx: Transaction, id: str = artifact.id) -> None:
                await tx.update([Update(id, {"orphanedAt": None})])

            await self.graph.write(forget, by=self.by, action="noteOrphan")

    async def _let_go(self, id: str, *, due: bool) -> None:
        """Remove an artifact, or note it, unless something has it by now."""

        async def work(tx: Transaction) -> None:
            await tx.lock([id])
            if (await tx.neighbours([id], Hop("HAS_ARTIFACT", "IN"), paging=Paging(1)))[id].items:
                return
            if due:
                await tx.remove([id])
            else:
                await tx.update([Update(id, {"orphanedAt": self.began})])

        await self.graph.write(work, by=self.by, action="collectArtifact" if due else "noteOrphan")

    # ── Sweep ─────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _clearing(self) -> AsyncIterator[tuple[float, _Needed]]:
        """A sweep as `clearing` has it, of what is still this graph's own once it is announced.

        Until when it may remove, and what is needed of what changed since the first look. A dry run announces nothing.
        """
        async with nullcontext(0.0) if self.dry_run else clearing(self.storage, self.workspace) as until:
            await own(self.graph, self.storage, self.workspace, dry_run=self.dry_run)
            yield until, await self._mark(self.began - SLACK)
        if not self.dry_run and time.monotonic() > self.rested + REST_AFTER_SECONDS:
            # Whoever waits for a sweep looks now and then, and would else see the next one.
            await asyncio.sleep(2 * LOOK_SECONDS)
            self.rested = time.monotonic()

    async def _sweep_blobs(self, needed: _Needed) -> None:
        """Remove old blobs that nothing needs, and move the others to where they belong."""
        done = self.done
        batch: list[tuple[str, int]] = []
        cold, warm = [], []
        async for blob in self.storage.blobs(self.workspace):
            sha256 = bytes.fromhex(blob.sha256)
            if sha256 in needed.blobs:
                done.kept += 1
                if blob.cold and sha256 in needed.warm:
                    warm.append(blob.sha256)
                elif not blob.cold and sha256 not in needed.warm:
                    cold.append(blob.sha256)
            elif blob.modified >= self.before:
                done.too_young += 1
            else:
                batch.append((blob.sha256, blob.size))
                if len(batch) == BATCH:
                    await self._sweep(batch)
                    batch = []
        await self._sweep(batch)
        done.chilled, done.warmed = len(cold), len(warm)
        await self._move(self.storage.chill, cold)
        await self._move(self.storage.warm, warm)
        for artifact in () if self.dry_run else needed.moving:
            if (is_cold := await self._is_cold(artifact)) != bool(artifact.props.get("cold")):
                await self._tell(artifact.id, cold=is_cold)

    async def _is_cold(self, artifact: Node) -> bool:
        """Whether all that it is made of is kept cold; what is retained stays where it is, for one."""
        manifest = await right_manifest(self.storage, artifact.workspace, artifact.props["digest"])
        for blob in () if manifest is None else blobs_of(manifest):
            found = await self.storage.find(self.workspace, blob.sha256)
            if found is None or not found.cold:
                return False
        return manifest is not None

    async def _tell(self, id: str, *, cold: bool) -> None:
        async def work(tx: Transaction) -> None:
            if await tx.nodes([id]):
                await tx.update([Update(id, {"cold": cold or None})])

        await self.graph.write(work, by=self.by, action="noteCold")

    async def _sweep(self, blobs: Sequence[tuple[str, int]]) -> None:
        """Remove those of some old blobs that nothing needs by now either."""
        if not blobs:
            return
        done = self.done
        async with self._clearing() as (until, late):
            going = [(sha256, size) for sha256, size in blobs if bytes.fromhex(sha256) not in late.blobs]
            retained = set[str]()
            if not self.dry_run:
                digests = [sha256 for sha256, _ in going]
                retained = await self.storage.remove(self.workspace, digests, until=until)
            gone = [size for sha256, size in going if sha256 not in retained]
            done.removed += len(gone)
            done.bytes_removed += sum(gone)
            done.kept += len(blobs) - len(gone)

    async def _move(self, move: Callable[..., Awaitable[None]], digests: Sequence[str]) -> None:
        """Move blobs to or from where they are kept cold, in a way that no other collection can make a loss of."""
        for batch in () if self.dry_run else batched(digests, BATCH):
            # Copies may take long, and take nothing away.
            await move(self.workspace, batch, until=0.0)
            async with self._clearing() as (until, _):
                await move(self.workspace, batch, until=until)

    async def _sweep_parts(self, needed: _Needed) -> None:
        """Drop parts of what nothing needs, and that saw no byte for long."""
        if self.dry_run:
            self.done.parts = None
            return
        async with self._clearing() as (_, late):
            blobs = needed.blobs | late.blobs
            self.done.parts = await self.storage.abandon(
                self.workspace, self.before, lambda sha256: bytes.fromhex(sha256) in blobs
            )

    async def _sweep_documents(self, needed: _Needed) -> None:
        """Remove old manifests and signatures of nothing, marks of blobs that are gone, and sessions that are over.

        What Lineal does not name so is somebody else's, and stays.
        """
        places = ("manifests/", "signatures/", "verified/", "inventories/", "uploads/")
        for prefix in places if self.deleted_at is None else (*places, PATHS):
            names = [name async for name in self.storage.documents(self.workspace, prefix) if _is_own(name)]
            while names:
                batch, names = names[:BATCH], names[BATCH:]
                async with self._clearing() as (until, late):
                    if prefix == "verified/":
                        blobs = needed.blobs | late.blobs
                        kept = {name for name in batch if bytes.fromhex(name.removeprefix(prefix)) in blobs}
                    elif prefix in {"manifests/", "signatures/"}:
                        manifests = needed.manifests | late.manifests
                        kept = {name for name in batch if name.removeprefix(prefix) in manifests}
                    else:
                        kept = await self._of_nodes(batch)
                    half = (time.time() + until) / 2
                    for i, name in enumerate(batch):
                        # A slow store gets another sweep for the rest, before this one may remove nothing any more.
                        if i and not self.dry_run and time.time() > half:
                            names = [*batch[i:], *names]
                            break
                        if name not in kept and await self.storage.written(self.workspace, name) < self.before:
                            self.done.documents += 1
                            if not self.dry_run:
                                await self.storage.discard(self.workspace, name, until=until)

    async def _of_nodes(self, names: Sequence[str]) -> set[str]:
        """Which of these documents are of use to something that is there: an OPEN upload, or an artifact."""
        ids = {name: _node_of(name) for name in names}
        async with self.graph.snapshot(EVERYTHING) as snapshot:
            nodes = await snapshot.nodes(sorted(set(ids.values())))
        there = {id: node for id, node in nodes.items() if id not in self.going}
        return {name for name, id in ids.items() if id in there and _has(there[id], name)}


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


def _has(node: Node, name: str) -> bool:
    """Whether this document of a node is still of use."""
    if node.kind == UPLOAD.name:
        return bool(node.props["state"] == "OPEN")
    digest = node.props.get("inventory")
    return digest is not None and f"/{digest.removeprefix(SHA256)}/" in name


def _is_own(name: str) -> bool:
    """Whether Lineal names a document so: after a digest, a node, or the path of a file."""
    return name.startswith(PATHS) or is_digest(name.split("/")[1]) or kind_of(_node_of(name)) is not None


def _node_of(name: str) -> str:
    return name.split("/")[1].replace("-", "_")
