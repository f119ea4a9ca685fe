"""Artifacts are read again, every byte, and found as they were told or not."""

from __future__ import annotations

import time
from typing import Final

from graph.ontology import ARTIFACT
from graph.port import EVERYTHING, Graph, Node, Transaction, Update
from lineal.errors import PreconditionFailed
from resolvers.artifacts.common import MANAGED, SLACK, blobs_of, load_manifest, note_verified
from resolvers.artifacts.losing import FAILED, having, lift, tell
from resolvers.artifacts.sweeping import sweeping
from resolvers.writing.command import command
from resolvers.writing.nodes import find
from storage.copying import problem
from storage.port import Storage

ACTION: Final = "verifyArtifact"
VERIFIED: Final = "VERIFIED"


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

    Blobs that are not what they are named by are removed, so that a client can send the right ones. Whatever has such
    blobs is FAILED before that: artifacts and model versions; those that are whole again are READY again. Raises
    Unavailable: the storage is away, and nothing is known.
    """
    assert artifact.props["storage"] == MANAGED
    workspace, began = artifact.workspace, time.time_ns() // 1_000
    artifact = await reread(graph, artifact.id) or artifact
    manifest = await load_manifest(storage, workspace, artifact.props["digest"])
    wrong: dict[str, str] = {}
    blobs = blobs_of(manifest)
    for blob in blobs:
        there = await storage.find(workspace, blob.sha256)
        if found_wrong := await problem(storage, workspace, blob):
            wrong[blob.sha256] = found_wrong
        elif blob.part_count > 1 and there is not None:
            await note_verified(storage, workspace, there)
    if not wrong:
        return await _tell_right(graph, artifact, by)
    # What shares the blobs is told too, before they go: nothing is ever READY without its bytes.
    found = await having(graph, storage, workspace, wrong)
    async with sweeping(storage, workspace) as until:
        found.add(await having(graph, storage, workspace, wrong, began - SLACK))
        await graph.write(lambda tx: tell(tx, workspace, wrong, found), by=by, action=ACTION)
        await storage.remove(workspace, sorted(wrong), until=until)
    return FAILED


async def _tell_right(graph: Graph, artifact: Node, by: str) -> str:
    async def work(tx: Transaction) -> str:
        if artifact.id not in await tx.nodes([artifact.id]):
            return VERIFIED
        now = (await tx.lock([artifact.id]))[artifact.id].props
        if now.get("verification") == FAILED and now.get("verifiedAt") != artifact.props.get("verifiedAt"):
            return FAILED  # by somebody who has looked since
        await tx.update([Update(artifact.id, {"verification": VERIFIED, "problem": None, "verifiedAt": tx.now})])
        await lift(tx, [artifact.id])
        return VERIFIED

    return await graph.write(work, by=by, action=ACTION)


async def reread(graph: Graph, id: str) -> Node | None:
    """An artifact as it is now, or None."""
    async with graph.snapshot(EVERYTHING) as snapshot:
        return (await snapshot.nodes([id])).get(id)
