"""Where manifests, sessions and marks are kept, and how the storage of an operation is reached."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

from graph.address import Address
from graph.ids import kind_of
from graph.ontology import GLOBAL
from graph.port import All, Node, Order, Paging, Prop, Snapshot, Where
from lineal.errors import Internal, LinealError, NotFound
from resolvers.operation import Operation
from resolvers.reading import resolve
from storage.manifest import Manifest
from storage.port import Blob, Storage, Stored

BATCH: Final = 500
"""Nodes, blobs or documents that are gone through at a time."""
SLACK: Final = 90_000_000
"""Microseconds by which the clocks of hosts may differ: what happened so long before is looked at again."""
SEND_SECONDS: Final = 3_600
"""How long an address that something is sent to opens anything."""
SHA256: Final = "sha256:"
MANAGED: Final = "MANAGED"
REFERENCED: Final = "REFERENCED"
OPEN_TIME: Final = 24 * 3_600_000_000
"""Microseconds that an upload stays open after it was begun, or begun again."""
_WRONG: Final = b"wrong "
OWNERS: Final = ("ModelVersion", "DatasetVersion", "Run", "Evaluation")
"""What artifacts belong to."""


def manifest_name(digest: str) -> str:
    """The document that holds a manifest."""
    return f"manifests/{digest.removeprefix(SHA256)}"


def session_name(upload: str) -> str:
    """The document that holds what an upload was told of the parts of its files."""
    return f"uploads/{upload.replace('_', '-')}"


def verified_name(sha256: str) -> str:
    """The document that says which bytes of a blob were read and found right, or wrong."""
    return f"verified/{sha256}"


def signature_name(digest: str) -> str:
    """The document that holds the signature of a manifest."""
    return f"signatures/{digest.removeprefix(SHA256)}"


def blobs_of(manifest: Manifest) -> list[Blob]:
    """What a manifest is made of, each once, by digest."""
    return sorted({Blob(file.sha256, file.size) for file in manifest.files}, key=lambda blob: blob.sha256)


async def load_manifest(storage: Storage, workspace: str, digest: str) -> Manifest:
    """A manifest that was kept. Raises Internal: it is gone, or is another one."""
    if (manifest := await find_manifest(storage, workspace, digest)) is None:
        raise Internal(f"the manifest {digest} of the workspace {workspace!r} is gone")
    return manifest


async def find_manifest(storage: Storage, workspace: str, digest: str) -> Manifest | None:
    """A manifest, or None where storage says that it has none. Raises Internal: it is another one."""
    data = await storage.get(workspace, manifest_name(digest))
    if data is None:
        return None
    try:
        manifest = Manifest.parse(data)
    except LinealError as error:
        raise Internal(f"the manifest {digest} of the workspace {workspace!r} was changed: {error.message}") from error
    if manifest.digest != digest:
        raise Internal(f"the manifest {digest} of the workspace {workspace!r} was changed")
    return manifest


async def right_manifest(storage: Storage, workspace: str, digest: str) -> Manifest | None:
    """A manifest, or None where it is gone or is another one: the trouble of what it is of, and of nothing else."""
    try:
        return await find_manifest(storage, workspace, digest)
    except Internal:
        return None


async def unverified(storage: Storage, workspace: str, blobs: Iterable[Blob]) -> list[Blob]:
    """Those that were sent in parts, and whose digest nobody has checked as a whole."""
    large = [blob for blob in blobs if blob.part_count > 1]
    return [blob for blob in large if not await _is_verified(storage, workspace, blob)]


async def _is_verified(storage: Storage, workspace: str, blob: Blob) -> bool:
    read = await storage.get(workspace, verified_name(blob.sha256))
    there = await storage.find(workspace, blob.sha256)
    return there is not None and read == there.tag.encode()


async def note_verified(storage: Storage, workspace: str, read: Stored) -> None:
    """Note that a blob was read whole and found right: as it was then, not what anybody puts in its place later."""
    await storage.put(workspace, verified_name(read.sha256), read.tag.encode())


async def note_wrong(storage: Storage, workspace: str, read: Stored) -> None:
    """Note that a blob was read whole and found wrong: whoever ends before it is removed leaves word of it."""
    await storage.put(workspace, verified_name(read.sha256), _WRONG + read.tag.encode())


async def is_wrong(storage: Storage, workspace: str, blob: Blob) -> bool:
    """Whether a blob is still there that was found wrong."""
    read = await storage.get(workspace, verified_name(blob.sha256))
    there = await storage.find(workspace, blob.sha256) if read is not None and read.startswith(_WRONG) else None
    return there is not None and read == _WRONG + there.tag.encode()


async def found(op: Operation, address: str, field: str, *kinds: str) -> Node:
    """What is named, as the operation sees it. Raises NotFound, InvalidArgument (no address, or of another kind)."""
    node = await resolve(op, address, kinds=set(kinds))
    if node is None:
        msg = f"{field}: there is no {' or '.join(kinds)} {address!r}"
        raise NotFound(msg, field=field)
    return node


def listed(paths: Sequence[str], most: int = 10) -> str:
    """The first of some paths in words, and how many more there are."""
    more = f" and {len(paths) - most:,} more" if len(paths) > most else ""
    return ", ".join(map(repr, paths[:most])) + more


def is_kind(id: str, *kinds: str) -> bool:
    """Whether this is an id of one of these kinds."""
    kind = kind_of(id)
    return kind is not None and kind.name in kinds


async def workspace_property(snapshot: Snapshot, workspace: str, name: str) -> Any:
    """A property of a workspace, or None."""
    (node,) = await snapshot.resolve([Address("Workspace", GLOBAL, workspace)])
    return None if node is None else node.props.get(name)


def opened_since(workspace: str, since: int) -> Where:
    """The uploads of a workspace that are OPEN and were begun, or begun again, since then (microseconds)."""
    of = (Prop("workspace", "eq", workspace), Prop("state", "eq", "OPEN"))
    # What Lineal alone sets does not count as a change of the node: this tells when it was begun last.
    return All((*of, Prop("expiresAt", "gte", since + OPEN_TIME)) if since else of)


def made_since(workspace: str, since: int) -> Where:
    """The artifacts of a workspace that Lineal keeps and that were made since then, or changed (microseconds)."""
    of = (Prop("workspace", "eq", workspace), Prop("storage", "eq", MANAGED))
    # One that was only spoken of before is touched when its bytes have come.
    return All((*of, Prop("updatedAt", "gte", since)) if since else of)


def order_since(since: int) -> Order:
    """The order in which an index has what was made since then; that of all is one that no change alters."""
    return Order("updatedAt" if since else "createdAt")


async def pages(snapshot: Snapshot, kind: str, where: Where, order: Order) -> AsyncIterator[Sequence[Node]]:
    """Nodes that match, page after page."""
    after, more = None, True
    while more:
        page = await snapshot.find(kind, where, order=order, paging=Paging(BATCH, after))
        yield page.items
        after, more = page.cursors[-1] if page.cursors else None, page.has_next
