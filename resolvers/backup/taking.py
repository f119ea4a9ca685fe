"""Taking a backup: graph and audit of one moment, and every byte that the graph of that moment refers to.

Writers go on meanwhile. No sweep removes anything while it is taken (resolvers.artifacts.sweeping), so what the graph
of the moment has is there until it is copied. What a killed one has copied the next one finds.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from graph.aside import aside_lines
from graph.ontology import ARTIFACT, UPLOAD, WORKSPACE
from graph.port import EVERYTHING, All, Graph, Order, Snapshot, batched
from graph.records import read_node
from graph.transfer import export_lines
from lineal.errors import Internal
from resolvers.artifacts.common import MANAGED, blobs_of, find_manifest, manifest_name, pages
from resolvers.artifacts.losing import FAILED
from resolvers.artifacts.owning import OWNER
from resolvers.artifacts.paths import files
from resolvers.artifacts.sweeping import BACKUPS, SWEEPS, holding_back
from resolvers.backup.folder import ASIDE, FILES, GRAPH, Backup, Writing, alone_in, backups, files_of, lines_of, remove
from storage.copying import AT_ONCE, MISSING, problem, put_right
from storage.local import LocalStorage
from storage.manifest import Manifest
from storage.port import Blob, Storage

MAX_LOST: Final = 100
"""Lost files that are named, at most."""
TURNS: Final = 32
"""Of the bytes that the folder has already each backup reads one part in so many, so that all are read in time."""
_OWN: Final = ("manifests/", "verified/", SWEEPS, BACKUPS, OWNER)
"""Documents that are copied in another way, or that mean nothing elsewhere."""
_KEEPING: Final = {WORKSPACE.name, ARTIFACT.name, UPLOAD.name}
"""Kinds of nodes that say what is in storage."""


@dataclass(slots=True)
class Taken:
    """A backup, how many blobs and bytes it had to copy, and what the graph refers to and storage does not have.

    `healed` are how many of the blobs copied were there already, and not as they were written.
    """

    backup: Backup
    copied: int = 0
    bytes_copied: int = 0
    healed: int = 0
    lost: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept in storage of the graph's moment: an artifact, or an upload that is OPEN."""

    id: str
    workspace: str
    digest: str
    retain_until: int
    is_upload: bool
    was_lost: bool
    """Whether that was known."""


async def take(
    graph: Graph,
    storage: Storage,
    directory: Path,
    *,
    told: Mapping[str, Any],
    keep: int | None = None,
    deep: bool = False,
) -> Taken:
    """Take a backup into a folder, beside those that are there; with `keep` only so many latest ones stay.

    Of the bytes that are there already a part is read, another one each time, and copied again where it is wrong; with
    `deep` all are. `told` goes into its backup.json. Raises Conflict (another one is being taken there),
    InvalidArgument, Unavailable.
    """
    with alone_in(directory):
        async with files_of(directory, write=True) as target:
            writing = Writing(directory)
            try:
                before = backups(directory)
                turn = (before[-1].told.get("turn", 0) + 1) % TURNS if before else 0
                copying = _Copying(storage, target, turn=None if deep else turn)
                taken = await _taken(graph, storage, copying, writing, {**told, "turn": turn})
            except BaseException:
                writing.drop()
                raise
            if keep is not None:
                await _prune(directory, target, keep)
    return taken


async def _taken(graph: Graph, storage: Storage, copying: _Copying, writing: Writing, told: Mapping[str, Any]) -> Taken:
    version = await graph.check_version()
    async with graph.snapshot(EVERYTHING) as snapshot:
        workspaces = await workspaces_of(snapshot)
    async with holding_back(storage, workspaces):
        # What was done up to now must be in the chains; where a write gives no place, this does.
        while await graph.sequence():
            pass
        async with graph.snapshot(EVERYTHING) as snapshot:
            moment = time.time_ns() // 1_000
            # Where a snapshot is no true one, chains that were read after the graph would tell of what is not in it.
            await writing.write(ASIDE, aside_lines(snapshot))
            await writing.write(GRAPH, export_lines(snapshot))
        # As it was written, which a snapshot that is no true one might not tell a second time.
        await writing.write(FILES, copying.lines(await asyncio.to_thread(_kept, writing.path / GRAPH)))
    lost = sorted(copying.lost)
    whole = {**told, "version": version, "blobs": copying.blobs, "bytes": copying.bytes}
    done = writing.finish(moment, {**whole, "lost": lost[:MAX_LOST], "lostCount": len(lost)})
    return Taken(done, copying.copied, copying.bytes_copied, copying.healed, lost)


async def workspaces_of(snapshot: Snapshot) -> list[str]:
    """The names of all workspaces."""
    found = pages(snapshot, WORKSPACE.name, All(), Order("createdAt"))
    return [node.name async for page in found for node in page]


def _kept(graph: Path) -> dict[str, list[_Kept]]:
    """What a graph that was written refers to, by workspace; a workspace that has nothing is there, too."""
    found: dict[str, list[_Kept]] = {}
    for what, body in lines_of(graph):
        if what == "edge":
            break
        if what != "node" or body["kind"] not in _KEEPING or "deletedAt" in body:
            continue
        node = read_node(body).node
        if node.kind == WORKSPACE.name:
            found.setdefault(node.name, [])
            continue
        props, is_upload = node.props, node.kind == UPLOAD.name
        if props.get("state") == "OPEN" if is_upload else props.get("storage") == MANAGED:
            retained, lost = props.get("retainUntil") or 0, props.get("verification") == FAILED
            kept = _Kept(node.id, node.workspace, props["digest"], retained, is_upload, lost)
            found.setdefault(node.workspace, []).append(kept)
    return found


# ── Bytes ─────────────────────────────────────────────────────────────────────────────────────────


class _Copying:
    """Copies what is kept in storage, and tells of it, line by line.

    What is there already is read where it is its `turn`, or all of it (None).
    """

    def __init__(self, storage: Storage, target: LocalStorage, *, turn: int | None) -> None:
        self.blobs = self.bytes = self.copied = self.bytes_copied = self.healed = 0
        self._turn = turn
        self.lost: set[str] = set()
        self._storage, self._target = storage, target
        self._seen = set[bytes]()
        """Digests of the workspace's blobs that were gone through, and what is wrong with those of them that are."""
        self._wrong = dict[str, str]()

    async def lines(self, kept: Mapping[str, Sequence[_Kept]]) -> AsyncIterator[bytes]:
        """Everything, workspace by workspace: documents after what they name."""
        for workspace, artifacts in kept.items():
            self._seen, self._wrong = set(), {}
            await self._target.abandon(workspace, time.time_ns() // 1_000)
            async for line in self._artifacts(artifacts):
                yield line
            async for line in self._sent_by_path(workspace):
                yield line
            async for line in self._documents(workspace):
                yield line

    async def _artifacts(self, kept: Sequence[_Kept]) -> AsyncIterator[bytes]:
        for each in kept:
            manifest = await self._manifest(each)
            if manifest is None:
                continue
            body = {"workspace": each.workspace, "digest": manifest.digest, "retainUntil": each.retain_until}
            yield _line("manifest", body)
            if each.is_upload:
                continue  # its client sends what is missing once more
            blobs = blobs_of(manifest)
            async for blob in self._copied(each.workspace, blobs):
                yield _blob_line(each.workspace, blob)
            for blob in blobs:
                if text := self._wrong.get(blob.sha256):
                    self._lose(each, f"{blob.sha256} {text}")

    async def _manifest(self, kept: _Kept) -> Manifest | None:
        """A manifest, in the backup now; None where it is lost, or not there yet."""
        try:
            manifest = await find_manifest(self._storage, kept.workspace, kept.digest)
        except Internal as error:
            self._lose(kept, error.message)
            return None
        if manifest is None:
            self._lose(kept, f"its manifest {MISSING}")
            return None
        name = manifest_name(manifest.digest)
        if await self._target.get(kept.workspace, name) != manifest.canonical:
            await self._target.put(kept.workspace, name, manifest.canonical)
        return manifest

    def _lose(self, kept: _Kept, what: str) -> None:
        """Note what is lost, unless it was known to be, or is still on its way."""
        if not kept.was_lost and not kept.is_upload:
            self.lost.add(f"{kept.id}: {what}")

    async def _sent_by_path(self, workspace: str) -> AsyncIterator[bytes]:
        """What MLflow's clients sent; bytes that are on their way at this moment are not there yet."""
        found = {blob async for _, blob, _ in files(self._storage, workspace)}
        async for blob in self._copied(workspace, sorted(found, key=lambda blob: blob.sha256)):
            yield _blob_line(workspace, blob)

    async def _documents(self, workspace: str) -> AsyncIterator[bytes]:
        async for name in self._storage.documents(workspace, ""):
            if name.startswith(_OWN):
                continue
            data = await self._storage.get(workspace, name)
            if data is not None:
                encoded = base64.b64encode(data).decode()
                yield _line("document", {"workspace": workspace, "name": name, "data": encoded})

    async def _copied(self, workspace: str, blobs: Iterable[Blob]) -> AsyncIterator[Blob]:
        """Those that are in the backup now, and were not told before."""
        new = [blob for blob in blobs if bytes.fromhex(blob.sha256) not in self._seen]
        for batch in batched(new, AT_ONCE):
            self._seen.update(bytes.fromhex(blob.sha256) for blob in batch)
            there = await self._target.present(workspace, batch)
            bad = await self._bad(workspace, [blob for blob in batch if blob.sha256 in there])
            there -= bad
            missing = [blob for blob in batch if blob.sha256 not in there]
            done = await asyncio.gather(*(put_right(self._storage, self._target, workspace, blob) for blob in missing))
            wrong = {blob.sha256: text for blob, text in zip(missing, done, strict=True) if text}
            self._wrong |= wrong
            for blob in batch:
                if blob.sha256 in wrong:
                    continue
                self.blobs, self.bytes = self.blobs + 1, self.bytes + blob.size
                if blob.sha256 not in there:
                    self.copied, self.bytes_copied = self.copied + 1, self.bytes_copied + blob.size
                    self.healed += blob.sha256 in bad
                yield blob

    async def _bad(self, workspace: str, there: Sequence[Blob]) -> set[str]:
        """Those whose turn it is and that are not as they were written."""
        due = [b for b in there if self._turn is None or int(b.sha256[:8], 16) % TURNS == self._turn]
        found = await asyncio.gather(*(problem(self._target, workspace, blob) for blob in due))
        return {blob.sha256 for blob, text in zip(due, found, strict=True) if text}


def _blob_line(workspace: str, blob: Blob) -> bytes:
    return _line("blob", {"workspace": workspace, "sha256": blob.sha256, "size": blob.size})


def _line(what: str, body: Mapping[str, Any]) -> bytes:
    return orjson.dumps({what: body}, option=orjson.OPT_APPEND_NEWLINE)


# ── What is not kept any longer ───────────────────────────────────────────────────────────────────


async def _prune(directory: Path, target: LocalStorage, keep: int) -> None:
    """Remove all but the latest backups, and the bytes and manifests that only those had."""
    found = backups(directory)
    workspaces = {body["workspace"] for backup in found for _, body in backup.lines(FILES)}
    remove(found[:-keep])
    blobs: dict[str, set[bytes]] = {}
    manifests: set[tuple[str, str]] = set()
    for backup in found[-keep:]:
        for what, body in backup.lines(FILES):
            if what == "blob":
                blobs.setdefault(body["workspace"], set()).add(bytes.fromhex(body["sha256"]))
            elif what == "manifest":
                manifests.add((body["workspace"], manifest_name(body["digest"])))
    for workspace in workspaces:
        kept = blobs.get(workspace, set())
        gone = [blob.sha256 async for blob in target.blobs(workspace) if bytes.fromhex(blob.sha256) not in kept]
        await target.remove(workspace, gone)
        for name in [name async for name in target.documents(workspace, "manifests/")]:
            if (workspace, name) not in manifests:
                await target.discard(workspace, name)
