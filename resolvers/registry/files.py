"""Files that clients send to this server by path, as MLflow's do, and how those of a model become its artifact."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from auth.roles import Role, rights_of
from graph.address import Address
from graph.ids import new_id
from graph.ontology import GLOBAL, MODEL_VERSION, WORKSPACE
from graph.port import EVERYTHING, Hop, Node, Note, Transaction
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, LinealError, NotFound, Unavailable
from resolvers.artifacts.common import SEND_SECONDS, load_manifest, verified_name
from resolvers.artifacts.paths import entry_name, file_name, files, folder_name
from resolvers.artifacts.quotas import added, room
from resolvers.artifacts.sweeping import no_sweep
from resolvers.artifacts.uploads import DEFAULT_NAME, UploadFile, abort_upload, begin_upload, complete_upload
from resolvers.leasing import holding
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.registry.changing import At, Origin, register
from resolvers.registry.looking import Version, version_by_id
from resolvers.writing.command import Command
from resolvers.writing.common import NamedValue
from resolvers.writing.versions import delete_model_version
from storage.manifest import MAX_FILES, path_problem
from storage.port import MAX_PARTS, Arriving, Blob, Storage, Unnamed

VERSIONS: Final = "versions"
"""The folder that has the files of versions, by id: what Lineal keeps of them, to be read alone."""
ROUTE: Final = "/api/2.0/mlflow-artifacts/artifacts/"
TURN_SECONDS: Final = 30.0
"""How long a file waits for those that come with it into a workspace with a quota, and a version for itself."""
MAX_LISTED: Final = 10_000
"""Files in one folder, with those in its folders."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file, by its path from the folder that was asked for, or a folder in it, which has no blob."""

    path: str
    blob: Blob | None = None


# ── Access ────────────────────────────────────────────────────────────────────────────────────────


async def may(op: Operation, workspace: str, *, write: bool = False) -> None:
    """Raises NotFound: there is no such workspace, or it does not show. Raises Forbidden: one may not write there."""
    snapshot = await op.snapshot()
    (node,) = await snapshot.seeing(EVERYTHING).resolve([Address(WORKSPACE.name, GLOBAL, workspace)])
    shown = op.view.workspaces is None or workspace in op.view.workspaces
    if node is None or not shown:
        raise NotFound(f"workspace: there is no workspace {workspace!r:.80}", field="workspace")
    if not write or op.caller.trusted:
        return
    rights = rights_of(op.caller, op.access, Role.CONTRIBUTOR)
    if rights.workspaces is not None and workspace not in rights.workspaces:
        msg = f"workspace {workspace!r}: needs the role {Role.CONTRIBUTOR.name} there"
        raise Forbidden(msg, role=Role.CONTRIBUTOR.name, workspace=workspace)


async def _note(op: Operation, workspace: str, action: str, path: str, **facts: str | int) -> None:
    """Put into the audit what happened to files. Raises Unavailable."""
    data = {"face": "mlflow", "path": path, **facts}
    origin = op.caller.origin(op.address)
    await op.graph.note([Note(op.by, action, data, (workspace,), op.request, origin)])


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────


async def put_file(op: Operation, workspace: str, path: str, chunks: AsyncIterator[bytes]) -> Blob:
    """Keep what comes as the file at this path, in the place of what was there.

    Raises InvalidArgument (the path), LimitExceeded (the workspace's quota), NotFound, Forbidden, Unavailable.
    """
    await _check_place(op, workspace, path)
    size, left = 0, await room(op.graph, op.storage, workspace, 0)
    async with op.storage.incoming(workspace) as incoming:
        async for chunk in chunks:
            size += len(chunk)
            if left is not None and size > left:
                left = await room(op.graph, op.storage, workspace, size)
                if left is not None and size > left:
                    raise _full(workspace, left)
            await incoming.write(chunk)
        return await _keep(op, workspace, path, incoming)


async def _keep(op: Operation, workspace: str, path: str, arriving: Arriving) -> Blob:
    """Keep what has come as the file at this path. Raises LimitExceeded, and what `finish` raises."""
    blob = await arriving.finish()
    if await op.storage.present(workspace, [blob]) or await room(op.graph, op.storage, workspace, blob.size) is None:
        return await _put(op, workspace, path, arriving, blob)
    # Of files that come at once each counts what came before it.
    busy = f"the workspace {workspace!r}: too many files come at once; send this one again"
    async with _turn(op, f"quota of {workspace}", busy):
        left = await room(op.graph, op.storage, workspace, blob.size)
        if left is not None and left < blob.size:
            raise _full(workspace, left)
        kept = await _put(op, workspace, path, arriving, blob)
        await added(op.storage, workspace, blob)
        return kept


@asynccontextmanager
async def _turn(op: Operation, name: str, busy: str) -> AsyncIterator[None]:
    """One at a time of all that do what this names. Raises Unavailable, which says `busy`: it took too long."""
    end = time.monotonic() + TURN_SECONDS
    while True:
        async with holding(op.graph, name, new_id("tu")) as held:
            if held is not None:
                yield
                return
        if time.monotonic() > end:
            raise Unavailable(busy)
        await asyncio.sleep(random.uniform(0.02, 0.1))  # noqa: S311 - it spreads tries, it hides nothing


def _full(workspace: str, left: int) -> LimitExceeded:
    msg = f"the quota of the workspace {workspace!r} leaves {max(left, 0):,} bytes, and more was sent"
    return LimitExceeded(msg, limit="quotaBytes", left=max(left, 0))


async def _put(op: Operation, workspace: str, path: str, arriving: Arriving, blob: Blob) -> Blob:
    storage = op.storage
    before = [name async for name in storage.documents(workspace, file_name(path))]
    name = entry_name(path, blob)
    await _note(op, workspace, "storeFile", path, sha256=blob.sha256, size=blob.size)
    await storage.put(workspace, name, b"")
    try:
        await no_sweep(storage, workspace)
        await arriving.keep(blob)
    except BaseException:
        await storage.discard(workspace, name)
        raise
    if blob.part_count > 1:
        await storage.put(workspace, verified_name(blob.sha256), b"")
    for old in before:
        await storage.discard(workspace, old)
    return blob


async def _check_place(op: Operation, workspace: str, path: str) -> None:
    """Raises InvalidArgument: nothing can be kept at this path. NotFound, Forbidden: one may not write there."""
    await may(op, workspace, write=True)
    if (problem := path_problem(path)) or path.split("/", maxsplit=1)[0] == VERSIONS:
        raise InvalidArgument(f"path: {problem or f'{VERSIONS}/ is written to by nobody'}", field="path")
    file_name(path)


async def begin_parts(op: Operation, to: Unnamed, workspace: str, path: str, count: int) -> tuple[str, list[str]]:
    """An upload in parts of the file at this path, and the addresses to send them to.

    Raises InvalidArgument, NotFound, Forbidden, Unavailable.
    """
    await _check_place(op, workspace, path)
    if not 1 <= count <= MAX_PARTS:
        msg = f"num_parts: must be a number from 1 to {MAX_PARTS}, not {count}"
        raise InvalidArgument(msg, field="num_parts")
    left = await room(op.graph, op.storage, workspace, 1)
    if left is not None and left <= 0:
        raise _full(workspace, left)
    return await to.begin(workspace, count, seconds=SEND_SECONDS)


async def complete_parts(
    op: Operation, to: Unnamed, workspace: str, path: str, *, upload: str, tags: Mapping[int, str]
) -> Blob:
    """Keep what was sent in parts as the file at this path; `tags` are what the store answered to each of them.

    Raises as `put_file`, and PreconditionFailed: the parts are others.
    """
    await _check_place(op, workspace, path)
    async with to.sent(workspace, upload, tags) as arrived:
        return await _keep(op, workspace, path, arrived)


async def abort_parts(op: Operation, to: Unnamed, workspace: str, path: str, upload: str) -> None:
    """Let go of what was sent in parts. Raises NotFound, Forbidden, InvalidArgument, Unavailable."""
    await _check_place(op, workspace, path)
    await to.drop(workspace, upload)


async def open_file(op: Operation, workspace: str, path: str) -> tuple[Blob, AsyncIterator[bytes]]:
    """The bytes of a file; that they are given out is in the audit before. Raises NotFound, Unavailable."""
    await may(op, workspace)
    named: dict[str, str] = {}
    if path.split("/", maxsplit=1)[0] == VERSIONS:
        home, found = await _kept(op, path)
        named = {"subject": path.split("/")[1]}
        blob = next((each.blob for each in found if each.path == ""), None)
    else:
        home = workspace
        found_all = [blob async for _, blob, _ in files(op.storage, workspace, file_name(path))]
        blob = found_all[-1] if found_all else None
    if blob is None:
        raise NotFound(f"path: there is no file {path!r:.500}", field="path")
    if op.recorder is not None:
        told = {"face": "mlflow", "path": path, "sha256": blob.sha256} | named
        await op.recorder.read(
            op.caller, action="download", data=told, workspaces=[home], address=op.address, request=op.request
        )
    return blob, op.storage.read(home, blob.sha256)


async def list_folder(op: Operation, workspace: str, path: str) -> list[Found]:
    """What is in a folder, by name: files, and folders. A file has itself. Raises LimitExceeded, NotFound."""
    await may(op, workspace)
    if path.split("/", maxsplit=1)[0] == VERSIONS:
        _, found = await _kept(op, path)
        return _level(found, path)
    return _level(await _under(op.storage, workspace, path), path)


async def _under(storage: Storage, workspace: str, path: str) -> list[Found]:
    """All files in a folder and its folders, or the file itself, whose path is then empty."""
    found: list[Found] = []
    begins = [folder_name(path)] if not path else [folder_name(path), file_name(path)]
    for begin in begins:
        async for file, blob, _ in files(storage, workspace, begin):
            found.append(Found(file[len(path) :].lstrip("/"), blob))
            if len(found) > MAX_LISTED:
                msg = f"path: {path!r:.200} has more than {MAX_LISTED} files; list a folder in it"
                raise LimitExceeded(msg, field="path")
    return found


def _level(found: Iterable[Found], path: str) -> list[Found]:
    """The first level of what is under a path."""
    level: dict[str, Found] = {}
    for each in found:
        name, inner, _ = each.path.partition("/")
        name = name or path.rpartition("/")[2]
        level[name] = Found(name, None if inner else each.blob)
    return [level[name] for name in sorted(level)]


async def _kept(op: Operation, path: str) -> tuple[str, list[Found]]:
    """Files that Lineal keeps of a version, as `versions/<id>/<path>` names them, and their workspace.

    Raises NotFound: there is no such version, or nothing is kept of it.
    """
    _, _, rest = path.partition("/")
    id, _, inner = rest.partition("/")
    snapshot = await op.snapshot()
    node = (await snapshot.nodes([id])).get(id)
    artifact = None if node is None or node.kind != MODEL_VERSION.name else await kept_artifact(op, node)
    if artifact is None:
        raise NotFound(f"path: there is nothing at {path!r:.500}", field="path")
    manifest = await load_manifest(op.storage, artifact.workspace, artifact.props["digest"])
    begin = f"{inner}/" if inner else ""
    found = [
        Found("" if file.path == inner else file.path.removeprefix(begin), Blob(file.sha256, file.size))
        for file in manifest.files
        if file.path == inner or file.path.startswith(begin)
    ]
    return artifact.workspace, found


async def kept_artifact(op: Operation, version: Node) -> Node | None:
    """What Lineal keeps of the files of a version: what is called `model`, or else the only one."""
    snapshot = await op.snapshot()
    links = (await all_links(snapshot, [version.id], Hop("HAS_ARTIFACT", "OUT", "Artifact"))).get(version.id, [])
    kept = {k.edge.discriminator: k.node for k in links if k.node.props.get("storage") == "MANAGED"}
    return kept.get(DEFAULT_NAME) or (next(iter(kept.values())) if len(kept) == 1 else None)


async def own_address(op: Operation, version: Node) -> str:
    """The address of the files that Lineal keeps of a version; empty where it keeps none, or nothing knows its own."""
    if not op.base or await kept_artifact(op, version) is None:
        return ""
    return f"{op.base.rstrip('/')}{ROUTE}{VERSIONS}/{version.id}"


async def delete_files(op: Operation, workspace: str, path: str) -> None:
    """Delete a file, or a folder with all in it; what is not there is no error. Bytes that nothing needs go later.

    Raises InvalidArgument: this is no path of one's own. NotFound, Forbidden.
    """
    await may(op, workspace, write=True)
    if not path or path.split("/", maxsplit=1)[0] == VERSIONS:
        raise InvalidArgument(f"path: {path!r} cannot be deleted", field="path")
    await _note(op, workspace, "deleteFiles", path)
    for begin in (folder_name(path), file_name(path)):
        for name in [name async for name in op.storage.documents(workspace, begin)]:
            await op.storage.discard(workspace, name)


# ── Files of a version ────────────────────────────────────────────────────────────────────────────


def path_of(op: Operation, uri: str) -> str | None:
    """The path here that an address of artifacts names; None where it is somewhere else."""
    parts = urlsplit(uri)
    own = urlsplit(op.base).netloc
    if parts.scheme == "mlflow-artifacts" and parts.netloc in {"", own}:
        path = parts.path
    elif parts.scheme in {"http", "https"} and parts.netloc == own and ROUTE in parts.path:
        path = parts.path.partition(ROUTE)[2]
    else:
        return None
    return unquote(path).strip("/") or None


async def sent_before(op: Operation, workspace: str, uri: str) -> Mapping[str, Blob]:
    """The files that were sent to this address before, by their paths in it; none where there are too many."""
    path = path_of(op, uri)
    if path is None or path.split("/")[0] == VERSIONS or ".." in path.split("/"):
        return {}
    try:
        await may(op, workspace, write=True)
        found = await _under(op.storage, workspace, path)
    except LinealError:
        return {}
    inside = {each.path: each.blob for each in found if each.path and each.blob is not None}
    return inside if len(inside) <= MAX_FILES else {}


async def register_version(
    op: Operation,
    key: str | None,
    *,
    at: At,
    origin: Origin,
    description: str,
    tags: Sequence[NamedValue],
    copies: bool,
) -> Version:
    """Register a version, and make its artifact of the files that were sent to its source before.

    Where a policy of the workspace says no to the files, there is no version either. What was registered under this
    key before stays, whatever its files are by now; one that still waits for them is gone on with.

    Raises as `register` and `adopt`, and Unavailable: the same is under way, and takes long.
    """
    found = await sent_before(op, at.workspace, origin.source)

    # Files come and go: whether there are some is no part of what a key is used with.
    async def body(tx: Transaction, /, **given: Any) -> str:
        return await register(tx, **given, state="PENDING" if found else "READY")

    busy = "this version is being registered; send it again"
    async with _turn(op, f"registration by {op.by} {key}", busy) if found and key else nullcontext():
        version, made = await Command("createModelVersion", body).reading(
            op, key, _as_made, at=at, origin=origin, description=description, tags=tags, copies=copies
        )
        id = version.node.id
        if not found or not (made or version.node.props.get("state") == "PENDING"):
            return version
        try:
            await adopt(op, id, found)
        except LinealError:
            if made:
                with suppress(LinealError):
                    await delete_model_version(op, address=id)
            raise
        return await op.read(lambda snapshot: version_by_id(snapshot, id))


async def _as_made(tx: Transaction, id: str) -> tuple[Version, bool]:
    """A version, and whether this transaction made it, or found it made under its key before. Raises NotFound."""
    node = (await tx.nodes([id])).get(id)
    if node is None or node.created_at < tx.now:
        return await version_by_id(tx, id), False
    # So new a version is in no stage and has no alias.
    model = (await tx.nodes([node.container]))[node.container]
    return Version(node, model, tags=(await tx.rows([id], "tags")).get(id, {})), True


async def adopt(op: Operation, version: str, found: Mapping[str, Blob]) -> Node:
    """Make the artifact of a version of files that were sent before it; the version becomes READY with it.

    Raises PreconditionFailed (a policy of the workspace says no: the version then has FAILED), and what
    resolvers.artifacts.uploads raises.
    """
    told: list[UploadFile] = [{"path": p, "size": blob.size, "sha256": blob.sha256} for p, blob in found.items()]
    upload = await begin_upload(op, to=version, files=told, there=True)
    try:
        return await complete_upload(op, address=upload.id)
    except LinealError:
        with suppress(LinealError):
            await abort_upload(op, address=upload.id)
        raise
