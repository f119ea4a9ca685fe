"""Artifacts are read again, every byte, and found as they were told or not."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

from graph.ontology import ARTIFACT
from graph.port import EVERYTHING, Graph, Hop, Node, Transaction, Update
from lineal.errors import NotFound, PreconditionFailed
from resolvers.artifacts.common import MANAGED, blobs_of, listed, load_manifest, verified_name
from resolvers.reading import all_links
from resolvers.writing.command import command
from resolvers.writing.nodes import find
from storage.manifest import Manifest
from storage.port import Blob, Storage

ACTION: Final = "verifyArtifact"


@command(ACTION)
async def request_verification(tx: Transaction, *, address: str) -> str:
    """Have an artifact's bytes read again, soon. Raises NotFound, PreconditionFailed (nobody keeps its bytes)."""
    id = await find(tx, address, "artifact", ARTIFACT.name)
    node = (await tx.lock([id]))[id]
    if node.props.get("storage") is None:
        msg = f"artifact: {address!r} was only spoken of; neither Lineal nor a connector can read it"
        raise PreconditionFailed(msg, field="artifact")
    await tx.update([Update(id, {"verification": "PENDING"})])
    return id


async def verify_managed(graph: Graph, storage: Storage, artifact: Node, *, by: str) -> str:
    """Read every byte of an artifact that Lineal keeps; what it is now: VERIFIED or FAILED.

    Blobs that are not what they are named by are removed, so that a client can send the right ones; a model version
    with such files has FAILED. Raises Unavailable: the storage is away, and nothing is known.
    """
    assert artifact.props["storage"] == MANAGED
    workspace = artifact.workspace
    manifest = await load_manifest(storage, workspace, artifact.props["digest"])
    wrong: dict[str, str] = {}
    for blob in blobs_of(manifest):
        if problem := await _problem(storage, workspace, blob):
            wrong[blob.sha256] = problem
        elif blob.part_count > 1:
            await storage.put(workspace, verified_name(blob.sha256), b"")
    await storage.remove(workspace, [sha256 for sha256, problem in wrong.items() if problem != MISSING])
    return await _tell(graph, artifact.id, manifest, wrong, by)


MISSING: Final = "is not there"


async def _problem(storage: Storage, workspace: str, blob: Blob) -> str:
    """What is wrong with a blob, or nothing."""
    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in storage.read(workspace, blob.sha256):
            digest.update(chunk)
            size += len(chunk)
    except NotFound:
        return MISSING
    if size != blob.size:
        return f"has {size:,} bytes instead of {blob.size:,}"
    return "" if digest.hexdigest() == blob.sha256 else f"has the digest {digest.hexdigest()}"


async def _tell(graph: Graph, id: str, manifest: Manifest, wrong: dict[str, str], by: str) -> str:
    paths = [file.path for file in manifest.files if file.sha256 in wrong]
    props: dict[str, Any] = {"verification": "VERIFIED", "problem": None}
    if wrong:
        said = [f"{file.path!r} {wrong[file.sha256]}" for file in manifest.files if file.sha256 in wrong][:10]
        more = f" (and {len(paths) - 10:,} more: {listed(paths[10:])})" if len(paths) > 10 else ""
        props = {"verification": "FAILED", "problem": "; ".join(said) + more}

    async def work(tx: Transaction) -> None:
        if id not in await tx.nodes([id]):
            return
        await tx.lock([id])
        updates = [Update(id, {**props, "verifiedAt": time.time_ns() // 1_000})]
        if wrong:
            owners = (await all_links(tx, [id], Hop("HAS_ARTIFACT", "IN", "ModelVersion"))).get(id, [])
            updates += [Update(k.node.id, {"state": "FAILED"}) for k in owners if k.node.props.get("state") == "READY"]
        await tx.update(updates)

    await graph.write(work, by=by, action=ACTION)
    return str(props["verification"])


async def reread(graph: Graph, id: str) -> Node | None:
    """An artifact as it is now, or None."""
    async with graph.snapshot(EVERYTHING) as snapshot:
        return (await snapshot.nodes([id])).get(id)
