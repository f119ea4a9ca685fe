"""Artifacts are read again, every byte, and found as they were told or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from graph.ontology import ARTIFACT
from graph.port import EVERYTHING, Graph, Node, Transaction, Update
from lineal.errors import Internal, PreconditionFailed, Unavailable
from resolvers.artifacts.common import (
    MANAGED,
    SLACK,
    blobs_of,
    is_wrong,
    load_manifest,
    note_verified,
    note_wrong,
    unverified,
)
from resolvers.artifacts.losing import FAILED, fail, having, lift, problem_of, tell
from resolvers.artifacts.sweeping import sweeping
from resolvers.writing.command import command
from resolvers.writing.nodes import find
from storage.copying import difference, read
from storage.port import Blob, Storage

ACTION: Final = "verifyArtifact"
VERIFIED: Final = "VERIFIED"


@command(ACTION)
async def request_verification(tx: Transaction, *, address: str) -> str:
    """Have an artifact's bytes read again, soon. Raises NotFound, PreconditionFailed (nobody keeps its bytes)."""
    id = await find(tx, address, "artifact", ARTIFACT.name)
    node = (await tx.lock([id]))[id]
    check_kept(node, address)
    await tx.update([Update(id, {"verification": "PENDING"})])
    return id


def check_kept(artifact: Node, address: str) -> None:
    """Raises PreconditionFailed: nobody keeps an artifact's bytes, which somebody named by this address."""
    if artifact.props.get("storage") is None:
        msg = f"artifact: {address!r} was only spoken of; neither Lineal nor a connector can read it"
        raise PreconditionFailed(msg, field="artifact")


async def verify_managed(graph: Graph, storage: Storage, artifact: Node, *, by: str) -> str:
    """Read every byte of an artifact that Lineal keeps; what it is now: VERIFIED or FAILED.

    The first time it goes on where one that was interrupted ended: large blobs that were read whole are not read anew.
    Blobs that are not what they are named by are removed, so that a client can send the right ones. Whatever has such
    blobs is FAILED before that: artifacts and model versions; those that are whole again are READY again. One whose
    manifest is gone or was changed is FAILED too. What is retained and was not known to be right is kept from now on.
    Raises Unavailable: the storage is away, or other bytes came meanwhile, and nothing is known.
    """
    assert artifact.props["storage"] == MANAGED
    workspace, began = artifact.workspace, time.time_ns() // 1_000
    artifact = await reread(graph, artifact.id) or artifact
    try:
        manifest = await load_manifest(storage, workspace, artifact.props["digest"])
    except Internal as error:
        return await _tell_false(graph, artifact, error.message, by)
    wrong, false = dict[str, str](), dict[str, str]()
    blobs = blobs_of(manifest)
    is_first = artifact.props.get("verification") == "PENDING" and artifact.props.get("verifiedAt") is None
    for blob in blobs:
        there = await storage.find(workspace, blob.sha256)
        is_told = blob.part_count > 1 and there is not None and there.size == blob.size
        if is_first and is_told and not await unverified(storage, workspace, [blob]):
            continue
        came = await read(storage, workspace, blob.sha256)
        if came == blob:
            if blob.part_count > 1 and there is not None:
                await note_verified(storage, workspace, there)
        elif came is not None and came.sha256 == blob.sha256:
            false[blob.sha256] = difference(came, blob)
        else:
            wrong[blob.sha256] = difference(came, blob)
            if there is not None:
                await note_wrong(storage, workspace, there)
    if wrong:
        wrong = await drop(graph, storage, workspace, wrong, by=by)
    if false:
        # The bytes are right, and what was said of their size is not: of others that have them it is no problem.
        return await _tell_false(graph, artifact, problem_of(manifest, wrong | false), by)
    if wrong:
        return FAILED
    if (kept := artifact.props.get("retainUntil") or 0) > began:
        # Bytes that came to a storage without locks are right all the same.
        with suppress(PreconditionFailed):
            await storage.retain(workspace, [blob.sha256 for blob in blobs], kept)
    return await _tell_right(graph, artifact, by)


async def drop(graph: Graph, storage: Storage, workspace: str, wrong: Mapping[str, str], *, by: str) -> dict[str, str]:
    """Remove blobs, so that the right ones can be sent, and say before what is wrong with each; what was wrong still.

    `wrong` are blobs that were noted as wrong or are gone, by digest: what came in their place since is left alone.
    What shares them is told too: nothing is ever READY without its bytes. Raises Unavailable: others came meanwhile.
    """
    began = time.time_ns() // 1_000
    still = await _still(storage, workspace, wrong)
    found = await having(graph, storage, workspace, still)
    async with sweeping(storage, workspace) as until:
        if not still or await _still(storage, workspace, still) != still:
            raise Unavailable("other bytes came in the place of what was found wrong; ask again", retry=True)
        found.add(await having(graph, storage, workspace, still, began - SLACK))
        await graph.write(lambda tx: tell(tx, workspace, still, found), by=by, action=ACTION)
        retained = await storage.remove(workspace, sorted(still), until=until)
        if retained:
            await storage.hide(workspace, sorted(retained), until=until)
    return still


async def _still(storage: Storage, workspace: str, wrong: Mapping[str, str]) -> dict[str, str]:
    """Which of these blobs are as they were found: gone, or just those that were noted as wrong."""

    async def is_still(sha256: str) -> bool:
        return await storage.find(workspace, sha256) is None or await is_wrong(storage, workspace, Blob(sha256, 0))

    as_found = await asyncio.gather(*map(is_still, wrong))
    return {sha256: wrong[sha256] for sha256, same in zip(wrong, as_found, strict=True) if same}


async def _tell_false(graph: Graph, artifact: Node, problem: str, by: str) -> str:
    """An artifact is not what was told of it, whatever its bytes are; what it is then: FAILED."""
    problems = {artifact.props["digest"]: problem}
    await graph.write(lambda tx: fail(tx, artifact.workspace, problems), by=by, action=ACTION)
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
