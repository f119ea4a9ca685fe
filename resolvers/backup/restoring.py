"""A backup is checked, and brought back into an empty store: with the same ids, times, changes and bytes.

A store says of itself that a restore goes on, and nothing else opens it until that is over: one that broke off is
gone on with by running it again, and a store that was restored by half is never taken for one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from graph.aside import RESTORING, aside_lines, put_back
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import EVERYTHING, Graph, Kept, Note, batched
from graph.transfer import Progress, export_lines, import_file
from lineal.errors import Internal, LinealError, PreconditionFailed
from resolvers.artifacts.common import blobs_of, find_manifest, load_manifest, manifest_name, note_verified
from resolvers.artifacts.owning import named_anew, own
from resolvers.backup.folder import ASIDE, FILES, GRAPH, Backup, files_of, wrong_parts
from storage.copying import AT_ONCE, MISSING, copy, problem
from storage.local import LocalStorage
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
        for body in _of(backup, "manifest"):
            if text := await _wrong_manifest(files, body["workspace"], body["digest"]):
                yield text
        for batch in batched(_blobs(backup), AT_ONCE):
            found = await asyncio.gather(*(problem(files, workspace, blob) for workspace, blob in batch))
            for (workspace, blob), text in zip(batch, found, strict=True):
                if text:
                    yield f"{backup.name}: the blob {blob.sha256} of the workspace {workspace!r} {text}"


async def _wrong_manifest(files: LocalStorage, workspace: str, digest: str) -> str:
    try:
        there = await find_manifest(files, workspace, digest)
    except Internal as error:
        return error.message
    return "" if there else f"the manifest {digest} of the workspace {workspace!r} {MISSING}"


def _of(backup: Backup, what: str) -> Iterator[Any]:
    return (body for kind, body in backup.lines(FILES) if kind == what)


def _blobs(backup: Backup) -> Iterator[tuple[str, Blob]]:
    return ((body["workspace"], Blob(body["sha256"], body["size"])) for body in _of(backup, "blob"))


# ── Bringing back ─────────────────────────────────────────────────────────────────────────────────


async def restore(
    graph: Graph, storage: Storage, directory: Path, backup: Backup, *, by: str, progress: Progress | None = None
) -> list[str]:
    """Bring a backup back, after it was checked; what could not be done of it, in words.

    Raises PreconditionFailed: something is wrong with the backup (`details["problems"]`), or the store has something
    in it already. Raises Internal: what was restored is not what the backup has.
    """
    wrong = [text async for text in problems(directory, backup)]
    if wrong:
        raise PreconditionFailed(
            f"the backup {backup.name} is not whole: {wrong[0]}", problems=wrong[:MAX_PROBLEMS], count=len(wrong)
        )
    mark = {"backup": backup.name, "sha256": backup.digest}
    await begin(graph, mark, named_anew(copied=True))
    undone = await _owned(graph, storage, backup)
    async with files_of(directory) as files:
        undone += await _bring_files(files, storage, backup)
    await bring_graph(graph, backup.path, backup.told["parts"], by=by, progress=progress)
    await end(graph, Note(by, "restoreBackup", {**mark, "moment": backup.told["moment"]}))
    return undone


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
    before = await _unfinished(graph)
    if before is not None and before.data != told:
        raise PreconditionFailed(f"a restore of another backup, {before.data['backup']}, into this store is unfinished")
    if before is not None:
        return
    async with graph.snapshot(EVERYTHING) as snapshot:
        records = await snapshot.records("", 2)
        if await snapshot.heads() or any(record.node.id != DEFAULT_WORKSPACE_ID for record in records):
            msg = "the store has something in it already: what is brought in needs an empty one; name another"
            raise PreconditionFailed(msg)
    mark = Kept(RESTORING, 0, _UNFINISHED, told)
    await graph.write(lambda tx: tx.keep([mark, name]), by="", action="restore")


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


async def end(graph: Graph, note: Note) -> None:
    """The store may be used from now on; the audit has this note of it."""
    await graph.write(lambda tx: tx.keep((), drop={RESTORING: None}), by="", action="restore")
    await graph.note([note])


async def _owned(graph: Graph, storage: Storage, backup: Backup) -> list[str]:
    """Have the storage belong to the new graph where it is empty; where it is not, in words."""
    others = []
    for workspace in sorted({body["workspace"] for _, body in backup.lines(FILES)}):
        try:
            await own(graph, storage, workspace)
        except PreconditionFailed as error:
            others.append(error.message)
    return others


async def _bring_files(files: LocalStorage, storage: Storage, backup: Backup) -> list[str]:
    for batch in batched(_blobs(backup), AT_ONCE):
        await asyncio.gather(*(_bring_blob(files, storage, workspace, blob) for workspace, blob in batch))
    for body in _of(backup, "document"):
        await storage.put(body["workspace"], body["name"], base64.b64decode(body["data"]))
    undone = []
    for body in _of(backup, "manifest"):
        workspace, digest = body["workspace"], body["digest"]
        manifest = await load_manifest(files, workspace, digest)
        await storage.put(workspace, manifest_name(digest), manifest.canonical)
        if body["retainUntil"] > time.time_ns() // 1_000:
            held = [blob.sha256 for blob in blobs_of(manifest)]
            try:
                await storage.retain(workspace, held, body["retainUntil"])
            except LinealError as error:
                undone.append(f"the files of {digest} are not retained: {error.message}")
    return undone


async def _bring_blob(files: LocalStorage, storage: Storage, workspace: str, blob: Blob) -> None:
    """Put a blob there, unless it is; what is there under its name and is something else makes room for it."""
    if await storage.find(workspace, blob.sha256) is not None:
        if not await problem(storage, workspace, blob):
            return
        await storage.remove(workspace, [blob.sha256])
    if wrong := await copy(files, storage, workspace, blob):
        raise PreconditionFailed(f"the backup is not whole: the blob {blob.sha256} {wrong}")
    if blob.part_count > 1 and (there := await storage.find(workspace, blob.sha256)) is not None:
        await note_verified(storage, workspace, there)


async def _digest(lines: AsyncIterable[bytes]) -> str:
    digest = hashlib.sha256()
    async for line in lines:
        digest.update(line)
    return digest.hexdigest()
