"""Signatures of artifacts: kept beside them, and judged by whom this server trusts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from graph.ontology import ARTIFACT
from graph.port import Graph, Node, Transaction, Update
from lineal.errors import InvalidArgument, PreconditionFailed
from resolvers.artifacts.common import MANAGED, found, load_manifest, signature_name
from resolvers.artifacts.uploads import contributor
from resolvers.operation import Operation
from resolvers.writing.command import procedure
from storage.manifest import Manifest
from storage.port import Storage
from storage.signing import MAX_BUNDLE, State, Trusted, Verified, verify
from storage.signing.statement import GIT, SIGNATURE, ignores

NEVER_SIGNED: Final = frozenset({*GIT, SIGNATURE})
"""What no signature has, by the specification."""
MAX_UNSIGNED: Final = 100
"""Paths that an artifact keeps of what its signature leaves out."""


@procedure
async def attach_signature(op: Operation, *, address: str, bundle: str) -> Node:
    """Keep a signature with an artifact, in the place of one that it had; what it is worth is on the artifact then.

    Raises NotFound, InvalidArgument (too large), PreconditionFailed (Lineal does not keep the files; it is broken, or
    of other files, naming them; it is UNTRUSTED and there is a VALID one), Forbidden.
    """
    data = bundle.encode("utf-8", "replace")
    if len(data) > MAX_BUNDLE:
        msg = f"bundle: has {len(data):,} bytes; at most {MAX_BUNDLE:,} are allowed"
        raise InvalidArgument(msg, field="bundle")
    artifact = await found(op, address, "artifact", ARTIFACT.name)
    await contributor(op, artifact, "artifact")
    if artifact.props.get("storage") != MANAGED:
        raise PreconditionFailed(f"artifact: Lineal does not keep the files of {address!r}", field="artifact")
    manifest = await load_manifest(op.storage, artifact.workspace, artifact.props["digest"])
    verified = await _judged(data, manifest, op.bytes.trusted)
    if verified.state is State.INVALID:
        raise PreconditionFailed(
            f"bundle: the signature is not right for these files: {verified.reason}", field="bundle"
        )
    await _sign(op, artifact.id, _props(verified), data)
    return await found(op, artifact.id, "artifact", ARTIFACT.name)


async def _sign(op: Operation, id: str, props: dict[str, Any], bundle: bytes) -> None:
    async def work(tx: Transaction) -> None:
        node = (await tx.lock([id]))[id]
        if node.props.get("signature") == State.VALID and props["signature"] != State.VALID:
            msg = (
                f"bundle: {id} has a VALID signature, by {node.props.get('signedBy')}; this one is "
                f"{props['signature']}, and does not take its place"
            )
            raise PreconditionFailed(msg, field="bundle")
        # While the node is locked, so that of two that sign at once the bundle and what is said of it are of the same.
        await op.storage.put(node.workspace, signature_name(node.props["digest"]), bundle)
        await tx.update([Update(id, props)])

    await op.write(work, "attachSignature", in_one_go=False)


async def signature_of(storage: Storage, artifact: Node) -> bytes | None:
    """The bundle that an artifact was signed with, or None."""
    if artifact.props.get("storage") != MANAGED:
        return None
    return await storage.get(artifact.workspace, signature_name(artifact.props["digest"]))


async def judge_again(graph: Graph, storage: Storage, artifact: Node, trusted: Trusted, *, by: str) -> None:
    """Say anew what an artifact's signature is worth: whom this server trusts may have changed.

    A certificate that has expired since the signature was attached is as good as it was then.
    """
    judged: bytes | None = None
    while (bundle := await signature_of(storage, artifact)) != judged and bundle is not None:
        manifest = await load_manifest(storage, artifact.workspace, artifact.props["digest"])
        verified = await _judged(bundle, manifest, trusted)
        if verified.state is State.UNTRUSTED:
            # Storage says when it came: whoever attaches a signature cannot date it back.
            attached = await storage.written(artifact.workspace, signature_name(artifact.props["digest"]))
            verified = await _judged(bundle, manifest, trusted, datetime.fromtimestamp(attached / 1e6, UTC))
        props = _props(verified)

        async def work(tx: Transaction, judged: bytes = bundle, props: dict[str, Any] = props) -> None:
            if artifact.id not in await tx.nodes([artifact.id]):
                return
            await tx.lock([artifact.id])
            # Another one may have been attached since; what is said of that is not of this one.
            if await signature_of(storage, artifact) == judged:
                await tx.update([Update(artifact.id, props)])

        await graph.write(work, by=by, action="verifySignature")
        judged = bundle


async def _judged(bundle: bytes, manifest: Manifest, trusted: Trusted, at: datetime | None = None) -> Verified:
    return await asyncio.to_thread(verify, bundle, manifest, trusted, at=at)


def _props(verified: Verified) -> dict[str, Any]:
    """What an artifact has of its signature.

    One that leaves out files by its maker's will vouches for the others alone: whoever has it could put anything into
    the place of those, so that the artifact as a whole is not vouched for.
    """
    unsigned = list(verified.unsigned)
    chosen = any(not ignores(NEVER_SIGNED, path) for path in unsigned)
    state = State.UNTRUSTED if verified.state is State.VALID and chosen else verified.state
    signer = f"{verified.signer} ({verified.issuer})" if verified.issuer else verified.signer
    return {"signature": state.value, "signedBy": signer or None, "unsigned": unsigned[:MAX_UNSIGNED] or None}
