"""A backup is checked, and brought back into an empty store: with the same ids, times, changes and bytes.

A store says of itself that a restore goes on, and nothing else opens it until that is over: one that broke off is
gone on with by running it again, and a store that was restored by half is never taken for one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from graph.aside import RESTORING, aside_lines, put_back
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import EVERYTHING, Graph, Kept, NewerStore, Note, Transaction, Work, batched
from graph.transfer import Progress, export_lines, import_file
from lineal.errors import Internal, LinealError, PreconditionFailed
from resolvers.artifacts.common import blobs_of, find_manifest, load_manifest, manifest_name, note_verified
from resolvers.artifacts.losing import fail, having, tell
from resolvers.artifacts.owning import named_anew, own
from resolvers.backup.folder import ASIDE, FILES, GRAPH, Backup, files_of, wrong_parts
from storage.copying import AT_ONCE, MISSING, problem, put_right
from storage.port import Blob, Storage

MAX_PROBLEMS: Final = 20
"""What is wrong with a backup, as far as a refusal names it."""
_UNFINISHED: Final = "UNFINISHED"


# ── Checking ──────────────────────────────────────────────────────────────────────────────────────


async def problems(directory: Path, backup: Backup) -> AsyncIterator[str]:
    """Everything that is wrong with a backup: all of its bytes are read, and held against their digests."""
    bad = list(wrong_parts(backup))
    for text in bad:
        yield text
    if bad:
        return
    async with files_of(directory) as files:
        async for loss in _losses(files, backup):
            yield loss.said


@dataclass(frozen=True, slots=True)
class _Loss:
    """A blob, or a manifest by its digest, that a backup tells of and does not have as it was written."""

    workspace: str
    what: Blob | str
    problem: str

    @property
    def said(self) -> str:
        name = f"the blob {self.what.sha256}" if isinstance(self.what, Blob) else f"the manifest {self.what}"
        return f"{name} of the workspace {self.workspace!r} {self.problem}"


async def _losses(files: Storage, backup: Backup) -> AsyncIterator[_Loss]:
    """All of them: every byte is read."""
    for body in _of(backup, "manifest"):
        if text := await _wrong_manifest(files, body["workspace"], body["digest"]):
            yield _Loss(body["workspace"], body["digest"], text)
    for batch in batched(_blobs(backup), AT_ONCE):
        found = await asyncio.gather(*(problem(files, workspace, blob) for workspace, blob in batch))
        for (workspace, blob), text in zip(batch, found, strict=True):
            if text:
                yield _Loss(workspace, blob, text)


async def _wrong_manifest(files: Storage, workspace: str, digest: str) -> str:
    try:
        there = await find_manifest(files, workspace, digest)
    except Internal:
        return "was changed"
    return "" if there else MISSING


def _of(backup: Backup, what: str) -> Iterator[Any]:
    return (body for kind, body in backup.lines(FILES) if kind == what)


def _blobs(backup: Backup) -> Iterator[tuple[str, Blob]]:
    return ((body["workspace"], Blob(body["sha256"], body["size"])) for body in _of(backup, "blob"))


# ── Bringing back ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Restored:
    """What could not be done of a restore, and what the backup had lost and is FAILED now, in words."""

    undone: Sequence[str]
    lost: Sequence[str]


async def restore(
    graph: Graph,
    storage: Storage,
    directory: Path,
    backup: Backup,
    *,
    by: str,
    despite_lost: bool = False,
    progress: Progress | None = None,
) -> Restored:
    """Bring a backup back into an empty store, which is migrated, after the backup was checked.

    What the backup has lost and the storage has is no loss. `despite_lost` restores all but what is lost, and has
    whatever has that FAILED. Raises PreconditionFailed: something is wrong with the backup (`details["problems"]`), or
    the store has something in it already. Raises Internal: what was restored is not what the backup has.
    """
    _refuse_wrong(backup, list(wrong_parts(backup)))
    async with files_of(directory) as files:
        wrong = [loss async for loss in _losses(files, backup)]
        lost = [loss for loss in wrong if not await _has(storage, loss)]
    if not despite_lost:
        _refuse_wrong(backup, [loss.said for loss in lost], "; --despite-lost restores all that is")
    mark = {"backup": backup.name, "sha256": backup.digest}
    await begin(graph, mark, named_anew(copied=True))
    others = await _others(graph, storage, backup)
    async with files_of(directory) as files:
        undone = [*others.values(), *await _bring_files(files, storage, backup, wrong, lost, but=others)]
    await bring_graph(graph, backup.path, backup.told["parts"], by=by, progress=progress)
    said = [loss.said for loss in lost]
    more = {"lost": len(lost)} if lost else {}
    note = Note(by, "restoreBackup", {**mark, "moment": backup.told["moment"], **more})
    await end(graph, note, await _failing(graph, storage, lost))
    return Restored(undone, said)


def _refuse_wrong(backup: Backup, wrong: Sequence[str], hint: str = "") -> None:
    if wrong:
        msg = f"the backup {backup.name} is not whole: {wrong[0]}{hint}"
        raise PreconditionFailed(msg, problems=wrong[:MAX_PROBLEMS], count=len(wrong))


async def _has(storage: Storage, loss: _Loss) -> bool:
    """Whether a storage has what is lost, as it was written."""
    if isinstance(loss.what, Blob):
        return not await problem(storage, loss.workspace, loss.what)
    return not await _wrong_manifest(storage, loss.workspace, loss.what)


async def _failing(graph: Graph, storage: Storage, lost: Sequence[_Loss]) -> Sequence[Work[None]]:
    """What has something lost FAILED."""
    works = list[Work[None]]()
    for workspace in sorted({loss.workspace for loss in lost}):
        here = [loss for loss in lost if loss.workspace == workspace]
        wrong = {loss.what.sha256: loss.problem for loss in here if isinstance(loss.what, Blob)}
        manifests = {loss.what: f"its manifest {loss.problem}" for loss in here if isinstance(loss.what, str)}
        works += [
            partial(tell, workspace=workspace, wrong=wrong, found=await having(graph, storage, workspace, wrong)),
            partial(fail, workspace=workspace, problems=manifests),
        ]
    return works


async def refuse_unfinished(graph: Graph) -> None:
    """Raises PreconditionFailed: a restore into this store goes on, or broke off."""
    if (unfinished := await _unfinished(graph)) is not None:
        msg = (
            f"the restore of the backup {unfinished.data['backup']} into this store is not finished: "
            "run lineal restore again, which goes on with it"
        )
        raise PreconditionFailed(msg)


async def _unfinished(graph: Graph) -> Kept | None:
    async with graph.snapshot(EVERYTHING) as snapshot:
        found = await snapshot.kept([RESTORING], [_UNFINISHED])
    return found[RESTORING][0] if found else None


async def begin(graph: Graph, told: Mapping[str, str], name: Kept) -> None:
    """Note that a restore goes on, into a graph of this name.

    Raises PreconditionFailed: the store is not empty, or another restore goes on.
    """
    # A store that is refused stays as it is, at its version, too. At none it has nothing in it.
    before = await _unfinished(graph) if await _version(graph) else None
    if before is not None and before.data != told:
        raise PreconditionFailed(f"a restore of another backup, {before.data['backup']}, into this store is unfinished")
    if before is None and await _version(graph):
        await _refuse_filled(graph)
    await graph.migrate()
    if before is not None:
        return
    mark = Kept(RESTORING, 0, _UNFINISHED, told)
    await graph.write(lambda tx: tx.keep([mark, name]), by="", action="restore")


async def _version(graph: Graph) -> int:
    """The version of a store; 0 where it was never migrated. Raises NewerStore."""
    try:
        return await graph.check_version()
    except NewerStore:
        raise
    except PreconditionFailed as error:
        return int(error.details["store"])


async def _refuse_filled(graph: Graph) -> None:
    async with graph.snapshot(EVERYTHING) as snapshot:
        records = await snapshot.records("", 2)
        if await snapshot.heads() or any(record.node.id != DEFAULT_WORKSPACE_ID for record in records):
            msg = "the store has something in it already: what is brought in needs an empty one; name another"
            raise PreconditionFailed(msg)


async def bring_graph(
    graph: Graph, folder: Path, parts: Mapping[str, Any], *, by: str, progress: Progress | None = None
) -> None:
    """Bring a graph, and what it has beside it, from the files of a folder into the store that was begun with.

    What is in the store then, written once more, must be what the `parts` are told to be, byte by byte. Raises
    Internal: it is not.
    """
    await import_file(graph, folder / GRAPH, by=by, progress=progress, quietly=True)
    await put_back(graph, folder / ASIDE, by=by)
    async with graph.snapshot(EVERYTHING) as snapshot:
        for part, lines in ((GRAPH, export_lines(snapshot)), (ASIDE, aside_lines(snapshot))):
            found, told = await _digest(lines), parts[part]["sha256"]
            if found != told:
                msg = f"what was restored is not what {part} has: its digest is {found} and not {told}"
                raise Internal(msg)


async def end(graph: Graph, note: Note, works: Sequence[Work[None]] = ()) -> None:
    """The store may be used from now on, and all of this is done in it then; the audit has this note of it."""

    async def work(tx: Transaction) -> None:
        for each in works:
            await each(tx)
        await tx.keep((), drop={RESTORING: None})

    await graph.write(work, by=note.by, action=note.action)
    await graph.note([note])


async def _others(graph: Graph, storage: Storage, backup: Backup) -> dict[str, str]:
    """Have the storage belong to the new graph; the workspaces where it is another graph's, and that in words."""
    others = {}
    for workspace in sorted({body["workspace"] for _, body in backup.lines(FILES)}):
        try:
            await own(graph, storage, workspace)
        except PreconditionFailed as error:
            others[workspace] = error.message
    return others


async def _bring_files(
    files: Storage,
    storage: Storage,
    backup: Backup,
    wrong: Sequence[_Loss],
    lost: Sequence[_Loss],
    *,
    but: Collection[str],
) -> list[str]:
    """Bring all that is not lost; what is `wrong` in the backup and not lost is in the storage already.

    Nothing is changed in the workspaces `but`. Returns what could not be done, in words.
    """
    there, without = ({(loss.workspace, loss.what) for loss in some} for some in (wrong, lost))
    for loss in lost:
        # What is wrong there would be taken for right by whoever sends it once more.
        if loss.workspace in but:
            continue
        if isinstance(loss.what, Blob):
            await storage.remove(loss.workspace, [loss.what.sha256])
        else:
            await storage.discard(loss.workspace, manifest_name(loss.what))
    blobs = (each for each in _blobs(backup) if each not in without and each[0] not in but)
    for batch in batched(blobs, AT_ONCE):
        await asyncio.gather(*(_bring_blob(files, storage, workspace, blob) for workspace, blob in batch))
    for body in _of(backup, "document"):
        if body["workspace"] in but:
            continue
        await storage.put(body["workspace"], body["name"], base64.b64decode(body["data"]))
    undone = []
    for body in _of(backup, "manifest"):
        workspace, digest = body["workspace"], body["digest"]
        if workspace in but or (workspace, digest) in without:
            continue
        manifest = await load_manifest(storage if (workspace, digest) in there else files, workspace, digest)
        await storage.put(workspace, manifest_name(digest), manifest.canonical)
        if body["retainUntil"] > time.time_ns() // 1_000:
            held = [blob.sha256 for blob in blobs_of(manifest)]
            try:
                await storage.retain(workspace, held, body["retainUntil"])
            except LinealError as error:
                undone.append(f"the files of {digest} are not retained: {error.message}")
    return undone


async def _bring_blob(files: Storage, storage: Storage, workspace: str, blob: Blob) -> None:
    if wrong := await put_right(files, storage, workspace, blob):
        raise PreconditionFailed(f"the backup is not whole: the blob {blob.sha256} {wrong}")
    if blob.part_count > 1 and (there := await storage.find(workspace, blob.sha256)) is not None:
        await note_verified(storage, workspace, there)


async def _digest(lines: AsyncIterable[bytes]) -> str:
    digest = hashlib.sha256()
    async for line in lines:
        digest.update(line)
    return digest.hexdigest()
