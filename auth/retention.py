"""Taking old entries off the audit without breaking it."""

from __future__ import annotations

from collections.abc import Sequence

from joserfc.jwk import OKPKey

from auth.checkpoints import CheckpointFile, Statement, statement
from auth.pruning import vouch
from auth.verifying import CHECKPOINTS, Verification
from graph.port import Graph, Head, Snapshot
from lineal.errors import PreconditionFailed


async def prune(
    graph: Graph, before: int, *, by: str, key: OKPKey, keys: Sequence[OKPKey], file: CheckpointFile | None = None
) -> int:
    """Take off what the last checkpoint before a time (microseconds since the epoch) covers; returns how many entries.

    So every chain begins with an entry that a checkpoint knows. That entries were taken off is signed with `key`,
    one of the `keys` that checkpoints may be signed with. Raises PreconditionFailed: it is none of them, or the
    audit is not whole, or has entries before that time that no checkpoint covers.
    """
    if key.thumbprint() not in {each.thumbprint() for each in keys}:
        msg = "the key that would sign what is taken off is not among those that are trusted"
        raise PreconditionFailed(msg)
    async with graph.snapshot() as snapshot:
        verification = Verification(snapshot, keys, file)
        async for finding in verification.findings():
            msg = f"the audit is not whole, and stays as it is: {finding.message}; see `lineal audit verify`"
            raise PreconditionFailed(msg)
        for chain in verification.chains:
            if chain.since is not None and chain.since < before:
                msg = (
                    f"entries of the chain of {chain.workspace!r} before that time are in no checkpoint yet, so nobody "
                    "could vouch for where it would begin: name an earlier time, or make a checkpoint first"
                )
                raise PreconditionFailed(msg)
        ends = await _ends(snapshot, before)
    notes = {end.workspace: vouch(key, end) for end in ends}
    return await graph.prune(ends, by=by, notes=notes) if ends else 0


async def _ends(snapshot: Snapshot, before: int) -> list[Head]:
    """How far the last checkpoint before a time goes in each chain that has older entries left."""
    covering: Statement | None = None
    number = 0
    while found := await snapshot.checkpoints(after=number, limit=CHECKPOINTS):
        number = found[-1].number
        for said in map(statement, found):
            if said.at <= before:
                covering = said
    gone = {anchor.workspace: anchor.number for anchor in await snapshot.anchors()}
    return [head for head in covering.heads.values() if head.number > gone.get(head.workspace, 0)] if covering else []
