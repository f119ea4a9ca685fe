"""Uploads: told by their manifest, sent by the client to the store itself, and linked when every byte is there.

An upload is named by what it is for and by its manifest, so that beginning it again goes on with it. While it is
OPEN nothing of its manifest is cleared away; see resolvers.artifacts.collecting for why that holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, NoReturn, NotRequired, TypedDict

import orjson

from auth.roles import Role, rights_of
from graph import validation
from graph.address import Address
from graph.ontology import ARTIFACT, UPLOAD
from graph.port import EVERY_RIGHT, EVERYTHING, Hop, Node, Paging, Snapshot, Transaction, Update
from lineal.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from lineal.observing import METER
from resolvers.artifacts.common import (
    MANAGED,
    OPEN_TIME,
    OWNERS,
    SEND_SECONDS,
    blobs_of,
    found,
    is_wrong,
    listed,
    load_manifest,
    manifest_name,
    note_verified,
    session_name,
    unverified,
    workspace_property,
)
from resolvers.artifacts.looking import artifact_props, check_pickles, look, version_props
from resolvers.artifacts.losing import FAILED, doubted, lift, others_failed
from resolvers.artifacts.owning import own
from resolvers.artifacts.policy import check_addition
from resolvers.artifacts.quotas import USAGE, admit, check_kept
from resolvers.artifacts.sweeping import no_sweep
from resolvers.artifacts.verifying import drop
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.command import command, procedure
from resolvers.writing.common import properties
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find
from storage.formats import Detected
from storage.manifest import File, Manifest
from storage.port import MAX_PARTS, Blob, Send, Storage

DEFAULT_NAME: Final = "model"
LOOK_AHEAD: Final = 2_000
"""Blobs that one page of what is missing looks for in the store, at most."""
REQUESTS: Final = MAX_PARTS
"""Requests that one page of what is missing has, unless one blob alone takes more: an answer has to fit its limit."""
SEALING: Final = 4
"""Blobs that are put together at a time."""
_DAY: Final = 86_400_000_000


class UploadFile(TypedDict):
    """A file to send. `parts` are the SHA-256 of its parts, where it is larger than 256 MiB."""

    path: str
    size: int
    sha256: str
    parts: NotRequired[Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Missing:
    """A blob that the store lacks: the first file that has it, and the requests that send it."""

    file: File
    sends: Sequence[Send]


@dataclass(frozen=True, slots=True)
class MissingPage:
    """Part of what is missing, by digest. `last` is the digest that the next part begins after."""

    items: Sequence[Missing]
    last: str | None
    has_next: bool


# ── Begin ─────────────────────────────────────────────────────────────────────────────────────────


@procedure
async def begin_upload(
    op: Operation,
    *,
    to: str,
    files: Sequence[UploadFile],
    name: str = DEFAULT_NAME,
    media_type: str | None = None,
    there: bool = False,
) -> Node:
    """Open an upload, or go on with it: the same files for the same thing under the same name is the same upload.

    `there`: all bytes are in storage already, so that nothing need be told of parts. Raises InvalidArgument and
    LimitExceeded (naming the file), NotFound, AlreadyExists (the thing has other files of that name: what a version
    is made of never changes), LimitExceeded (the workspace's quota), PreconditionFailed (the storage belongs to
    another graph), Forbidden.
    """
    storage = op.storage
    manifest = Manifest.of(File(file["path"], file["size"], file["sha256"]) for file in files)
    _refuse_two_sizes(files)
    parts = {} if there else _parts(files)
    name = validation.name(name, field="name")
    upload = await _begin(op, to=to, name=name, manifest=manifest, media_type=media_type)
    if upload.props["state"] == "COMPLETE":
        if await _is_whole(op, upload, manifest):
            return upload
        upload = await _begin(op, to=to, name=name, manifest=manifest, media_type=media_type, again=True)
    documents = {manifest_name(manifest.digest): manifest.canonical, session_name(upload.id): orjson.dumps(parts)}
    try:
        await own(op.graph, storage, upload.workspace)
        await _keep(storage, upload.workspace, documents)
        new = await admit(op.graph, storage, upload, manifest)
    except (LimitExceeded, PreconditionFailed):
        await abort_upload(op, address=upload.id)
        raise
    if new is not None:
        await op.graph.write(
            lambda tx: tx.update([Update(upload.id, {"newBytes": new})]), by=op.by, action="admitUpload"
        )
    METER.get().add("lineal_uploads", 1, "begun")
    return upload


async def _is_whole(op: Operation, upload: Node, manifest: Manifest) -> bool:
    """Whether the artifact that an upload became is there, with its bytes, and was not found to be another."""
    async with op.graph.snapshot(EVERYTHING) as snapshot:
        (made,) = await snapshot.resolve([Address(ARTIFACT.name, upload.workspace, upload.props["digest"])])
    blobs = blobs_of(manifest)
    return (
        made is not None
        and made.props.get("verification") != FAILED
        and await op.storage.get(upload.workspace, manifest_name(manifest.digest)) == manifest.canonical
        and len(await op.storage.present(upload.workspace, blobs)) == len(blobs)
    )


async def _keep(storage: Storage, workspace: str, documents: Mapping[str, bytes]) -> None:
    """Write documents that stay: a sweep that was under way, and did not know of the upload, may take them away."""
    while True:
        for name, data in documents.items():
            await storage.put(workspace, name, data)
        await no_sweep(storage, workspace)
        if all([await storage.get(workspace, name) is not None for name in documents]):
            return


def _refuse_two_sizes(files: Sequence[UploadFile]) -> None:
    """Raises InvalidArgument: files of one digest have several sizes."""
    first: dict[str, int] = {}
    for i, file in enumerate(files):
        other = first.setdefault(file["sha256"], i)
        if files[other]["size"] != file["size"]:
            msg = (
                f"files[{i}].size: has the SHA-256 of files[{other}], and so its {files[other]['size']:,} bytes, "
                f"not {file['size']:,}"
            )
            raise InvalidArgument(msg, field=f"files[{i}].size")


def _parts(files: Sequence[UploadFile]) -> dict[str, list[str]]:
    """The digests of parts by that of the whole. Raises InvalidArgument: not one for each part."""
    result: dict[str, list[str]] = {}
    for i, file in enumerate(files):
        blob = Blob(file["sha256"], file["size"])
        if blob.part_count > 1:
            try:
                result[blob.sha256] = list(blob.part_digests(file.get("parts") or ()))
            except InvalidArgument as error:
                raise InvalidArgument(f"files[{i}].{error.message}", field=f"files[{i}].parts") from None
    return result


@command("beginUpload")
async def _begin(
    tx: Transaction, *, to: str, name: str, manifest: Manifest, media_type: str | None, again: bool = False
) -> str:
    draft = Draft(tx)
    owner = draft.want(to, "to", *OWNERS)
    await draft.find()
    assert owner.node is not None
    key = hashlib.sha256(f"{owner.id}\0{name}\0{manifest.digest}".encode()).hexdigest()[:32]
    for link in (await all_links(tx, [owner.id], Hop("HAS_ARTIFACT", "OUT", "Artifact"))).get(owner.id, []):
        if link.edge.discriminator == name and link.node.props.get("digest") != manifest.digest:
            msg = f"name: {to!r} has other files called {name!r}, which never change; make a new version"
            raise AlreadyExists(msg, field="name")
    upload = draft.known(UPLOAD, key, owner.workspace, "to", {})
    await draft.find()
    state = None
    if upload.node is not None:
        state = (await tx.lock([upload.id]))[upload.id].props["state"]
        # A version that has FAILED is judged anew when the same is completed again.
        if state == "COMPLETE" and not again and owner.node.props.get("state") != FAILED:
            return upload.id
    draft.set(
        upload.id,
        {
            "state": "OPEN",
            "digest": manifest.digest,
            "artifactName": name,
            "fileCount": len(manifest.files),
            "sizeBytes": manifest.size,
            "expiresAt": tx.now + OPEN_TIME,
            "closedAt": None,
            **({} if state == "OPEN" else {"newBytes": None}),
            **({} if media_type is None else properties(ARTIFACT, {"mediaType": media_type})),
        },
    )
    if upload.node is None:
        draft.link("UPLOAD_TO", upload.id, owner.id)
    if owner.node.kind == "ModelVersion" and owner.node.props.get("state") == "FAILED":
        draft.set(owner.id, {"state": "PENDING"})
    await draft.save()
    return upload.id


# ── What is missing ───────────────────────────────────────────────────────────────────────────────


async def missing(op: Operation, upload: Node, *, first: int, after: str | None) -> MissingPage:
    """Part of what the store lacks of an upload, with requests that send it; nothing once it is not OPEN.

    A page may have fewer than `first` although there is more. Raises Forbidden: one may not contribute there.
    """
    await contributor(op, upload, "upload")
    if upload.props["state"] != "OPEN":
        return MissingPage((), None, has_next=False)
    storage, workspace = op.storage, upload.workspace
    manifest = await load_manifest(storage, workspace, upload.props["digest"])
    parts: Mapping[str, Sequence[str]] = orjson.loads(await storage.get(workspace, session_name(upload.id)) or b"{}")
    rest = [blob for blob in blobs_of(manifest) if after is None or blob.sha256 > after]
    batch = rest[: min(LOOK_AHEAD, max(first, 1) * 4)]
    there = await storage.present(workspace, batch)
    lacking = [blob for blob in batch if blob.sha256 not in there]
    asked = lacking[:first]
    counts = accumulate(blob.part_count for blob in asked)
    shown = [blob for at, (blob, count) in enumerate(zip(asked, counts, strict=True)) if not at or count <= REQUESTS]
    firsts = {file.sha256: file for file in reversed(manifest.files)}
    sends = await asyncio.gather(*(_sends(op, workspace, blob, parts.get(blob.sha256, ())) for blob in shown))
    items = [Missing(firsts[blob.sha256], each) for blob, each in zip(shown, sends, strict=True)]
    whole = len(shown) == len(lacking)
    last = (batch if whole else shown)[-1].sha256 if batch else None
    return MissingPage(items, last, has_next=not whole or len(batch) < len(rest))


async def _sends(op: Operation, workspace: str, blob: Blob, parts: Sequence[str]) -> list[Send]:
    return await op.storage.sends(workspace, blob, parts, seconds=SEND_SECONDS, base=op.base, absent=True)


async def contributor(op: Operation, node: Node, field: str) -> None:
    """Raises Forbidden: the caller may not write what `field` names, or not in its workspace."""
    await op.snapshot()
    if not op.caller.trusted:
        rights = rights_of(op.caller, op.access, Role.CONTRIBUTOR)
        if rights.workspaces is not None and node.workspace not in rights.workspaces:
            raise Forbidden(f"{field}: needs the role CONTRIBUTOR in the workspace {node.workspace!r}", field=field)
        if rights.kinds is not None and node.kind not in rights.kinds:
            raise Forbidden(f"{field}: a {node.kind} is not among what you may write", field=field)


# ── Complete ──────────────────────────────────────────────────────────────────────────────────────


@procedure
async def complete_upload(op: Operation, *, address: str) -> Node:
    """Make an artifact of an upload whose bytes are all there, and link it; its version becomes READY.

    The same again gives the same artifact. Raises NotFound, PreconditionFailed (bytes are missing, naming files;
    the workspace's policies on pickles and signatures), LimitExceeded (its quota), Conflict (it is not OPEN),
    Unavailable (large files are still being put together, or storage is cleared up: ask again), AlreadyExists,
    Forbidden.
    """
    upload = await found(op, address, "upload", UPLOAD.name)
    await contributor(op, upload, "upload")
    storage, workspace, digest = op.storage, upload.workspace, upload.props["digest"]
    if upload.props["state"] != "COMPLETE":
        _refuse_closed(upload)
        manifest = await load_manifest(storage, workspace, digest)
        blobs = blobs_of(manifest)
        # The upload was read before: what is found wrong after that changes it, and is seen when it is finished.
        await no_sweep(storage, workspace)
        await _seal(op, workspace, manifest, blobs)
        await check_kept(op.graph, storage, upload)
        contents = await look(storage, workspace, manifest)
        async with op.graph.snapshot(EVERYTHING) as snapshot:
            wrong, well = await doubted(snapshot, storage, workspace, blobs)
            if wrong:
                await _drop_wrong(op, workspace, manifest, blobs)
            policy = await workspace_property(snapshot, workspace, "picklePolicy")
            days = await workspace_property(snapshot, workspace, "retentionDays")
        check_pickles(policy, contents)
        unread = {blob.sha256 for blob in await unverified(storage, workspace, blobs)}
        until = None
        if days:
            until = time.time_ns() // 1_000 + days * _DAY
            # What may be wrong is not kept before it was read: nobody could send the right bytes.
            await storage.retain(workspace, [blob.sha256 for blob in blobs if blob.sha256 not in unread], until)
        verified = not wrong and not unread
        artifact = await _finish(
            op, upload=upload, verified=verified, contents=contents, until=until, well=[node.id for node in well]
        )
        await storage.discard(workspace, USAGE)
        METER.get().add("lineal_uploads", 1, "completed")
        return artifact
    return await _made(await op.snapshot(), upload)


async def _made(snapshot: Snapshot, upload: Node) -> Node:
    """The artifact that an upload became. Raises NotFound: it has been deleted since."""
    (made,) = await snapshot.resolve([Address(ARTIFACT.name, upload.workspace, upload.props["digest"])])
    if made is None:
        raise NotFound("upload: its artifact has been deleted since", field="upload")
    return made


async def _seal(op: Operation, workspace: str, manifest: Manifest, blobs: Sequence[Blob]) -> None:
    """Put together what was sent in parts. Raises PreconditionFailed (what is missing), Unavailable."""
    there = await op.storage.present(workspace, blobs)
    lacking = {blob.sha256 for blob in blobs if blob.sha256 not in there}
    waiting = asyncio.Semaphore(SEALING)

    async def seal(blob: Blob) -> None:
        async with waiting:
            try:
                whole = await op.bytes.seal(workspace, blob)
            except PreconditionFailed:
                return
            lacking.discard(blob.sha256)
            there = await op.storage.find(workspace, blob.sha256) if whole else None
            if there is not None:
                await note_verified(op.storage, workspace, there)

    try:
        async with asyncio.TaskGroup() as group:
            for blob in blobs:
                if blob.sha256 in lacking and blob.part_count > 1:
                    group.create_task(seal(blob))
    except ExceptionGroup as errors:
        # Of several that cannot be put together now, one is enough to say so.
        raise errors.exceptions[0] from None
    if lacking:
        _refuse_missing(manifest, lacking)


async def _drop_wrong(op: Operation, workspace: str, manifest: Manifest, blobs: Sequence[Blob]) -> None:
    """Remove those that were found wrong and are still there. Raises PreconditionFailed: there were some, by name."""
    wrong = {blob.sha256: "has other bytes" for blob in blobs if await is_wrong(op.storage, workspace, blob)}
    if wrong:
        _refuse_missing(manifest, await drop(op.graph, op.storage, workspace, wrong, by=op.by))


def _refuse_missing(manifest: Manifest, lacking: Collection[str]) -> NoReturn:
    paths = [file.path for file in manifest.files if file.sha256 in lacking]
    count = f"{len(paths):,} of {len(manifest.files):,} files"
    msg = f"upload: {count} are not there, or have other bytes: {listed(paths)}"
    raise PreconditionFailed(msg, field="upload", missing=paths[:100])


def _refuse_closed(upload: Node) -> None:
    if upload.props["state"] != "OPEN":
        msg = f"upload: {upload.id} is {upload.props['state']}; begin it again with the same files"
        raise Conflict(msg, field="upload")


@command("completeUpload")
async def _finish(
    tx: Transaction, *, upload: Node, verified: bool, contents: Detected, until: int | None, well: Sequence[str]
) -> str:
    """Make the artifact. `well` are artifacts that had FAILED, and whose bytes are all there now."""
    node = (await tx.lock([upload.id]))[upload.id]
    if node.props["state"] == "COMPLETE":  # somebody else was faster
        return (await _made(tx, node)).id
    _refuse_closed(node)
    if node.props["expiresAt"] != upload.props["expiresAt"]:
        raise Unavailable("upload: it was begun again, or bytes of it were found wrong; ask again", retry=True)
    draft = Draft(tx)
    owner, others = await _owner(tx, upload.id)
    digest, name = node.props["digest"], node.props["artifactName"]
    links = (await all_links(tx, [owner.id], Hop("HAS_ARTIFACT", "OUT", "Artifact"))).get(owner.id, [])
    linked = next((link.node for link in links if link.edge.discriminator == name), None)
    if linked is not None and linked.props.get("digest") != digest:
        raise AlreadyExists(f"upload: {owner.id} has other files called {name!r} by now", field="upload")
    artifact = draft.known(ARTIFACT, digest, node.workspace, "upload", {"digest": digest})
    await draft.find()
    known = {} if artifact.node is None else (await tx.lock([artifact.id]))[artifact.id].props
    if owner.kind == "ModelVersion" and linked is None:
        await check_addition(tx, owner.id, owner.workspace, known.get("signature"), "upload")
    draft.set(
        artifact.id,
        {
            "storage": MANAGED,
            "sizeBytes": node.props["sizeBytes"],
            "fileCount": node.props["fileCount"],
            "verification": "VERIFIED" if verified else "PENDING",
            "verifiedAt": tx.now if verified else None,
            "problem": None,
            "orphanedAt": None,
            "retainUntil": max(until or 0, known.get("retainUntil") or 0) or None,
            **artifact_props(contents),
        },
    )
    if known.get("storage") != MANAGED:
        draft.touch(artifact.id)
    draft.link("HAS_ARTIFACT", owner.id, artifact, name)
    draft.set(upload.id, {"state": "COMPLETE", "closedAt": tx.now})
    healed = [artifact.id, *(id for id in well if id != artifact.id)]
    if owner.kind == "ModelVersion":
        state: dict[str, Any] = {}
        if owner.props.get("state") == "PENDING" and not others:
            state = {"state": "READY", "lostAt": None}
            if await others_failed(tx, owner.id, healed):
                state = {"state": FAILED, "lostAt": owner.props.get("lostAt") or tx.now}
        if told := {**state, **version_props(contents, owner.props)}:
            draft.set(owner.id, told)
    await draft.save()
    # What had lost these bytes gets them back, whoever sent them, and whatever they may change by themselves.
    tx.guard(EVERYTHING, EVERY_RIGHT)
    there = await tx.nodes(healed[1:])
    await tx.update([Update(id, {"verification": "PENDING", "problem": None}) for id in there])
    await lift(tx, healed)
    return artifact.id


async def _owner(tx: Transaction, upload: str) -> tuple[Node, list[Node]]:
    """What an upload is for, locked, and the other uploads for it that are OPEN. Raises NotFound."""
    page = (await tx.neighbours([upload], Hop("UPLOAD_TO", "OUT"), paging=Paging(first=1)))[upload]
    if not page.items:
        raise NotFound("upload: what it is for has been deleted", field="upload")
    id = page.items[0].node.id
    owner = (await tx.lock([id]))[id]
    links = (await all_links(tx, [id], Hop("UPLOAD_TO", "IN", "Upload"))).get(id, [])
    return owner, [k.node for k in links if k.node.id != upload and k.node.props["state"] == "OPEN"]


# ── Give up ───────────────────────────────────────────────────────────────────────────────────────


@command("abortUpload")
async def abort_upload(tx: Transaction, *, address: str) -> str:
    """Give an upload up: what was sent is cleared away later. Raises NotFound, Conflict (it is COMPLETE)."""
    id = await find(tx, address, "upload", UPLOAD.name)
    await end(tx, id, "ABORTED")
    METER.get().add("lineal_uploads", 1, "aborted")
    return id


async def end(tx: Transaction, id: str, state: str) -> None:
    """Close an upload that is OPEN; a version that waits for nothing else has FAILED.

    One that was READY before bytes of it were lost is so again, where all that it has is well by now.
    Raises Conflict: it is COMPLETE.
    """
    node = (await tx.lock([id]))[id]
    if node.props["state"] == "COMPLETE":
        raise Conflict(f"upload: {id} is COMPLETE", field="upload")
    if node.props["state"] != "OPEN":
        return
    updates = [Update(id, {"state": state, "closedAt": tx.now})]
    with suppress(NotFound):
        owner, others = await _owner(tx, id)
        if owner.kind == "ModelVersion" and owner.props.get("state") == "PENDING" and not others:
            well = owner.props.get("lostAt") and not await others_failed(tx, owner.id, ())
            updates.append(Update(owner.id, {"state": "READY", "lostAt": None} if well else {"state": FAILED}))
    await tx.update(updates)
