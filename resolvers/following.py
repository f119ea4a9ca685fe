"""Following the sequenced changes: whoever does keeps how far they came, and goes on from there after any end.

One of many processes follows for an owner at a time, by a lease (resolvers.leasing). What it took on, and how far it
came by that, it writes in one transaction, fenced by the lease: so nothing is passed over, and after a crash the next
one begins where this one was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graph.port import EVERYTHING, Change, Kept, Snapshot

CURSOR: Final = "cursor"
"""The state of what says how far somebody came; its number is 0."""


async def tip(snapshot: Snapshot) -> int:
    """The `seq` of the newest change that did something; 0 where there is none. All before it are there to be read."""
    newest = await snapshot.seeing(EVERYTHING).changes(descending=True, limit=1)
    return newest[0].seq or 0 if newest else 0


async def cursors(snapshot: Snapshot, owners: Sequence[str]) -> dict[str, int]:
    """How far each of these owners came: the `seq` of the last change that they are done with."""
    found = await snapshot.kept(owners, [CURSOR], limit=1)
    return {owner: int(kept[0].data["seq"]) for owner, kept in found.items()}


def cursor(owner: str, seq: int) -> Kept:
    """What to keep when an owner came so far."""
    return Kept(owner, 0, CURSOR, {"seq": seq})


async def some(snapshot: Snapshot, seqs: Sequence[int]) -> list[Change]:
    """The changes of these places in their order; those that are gone (pruned) are missing."""
    wanted, found = sorted(set(seqs)), dict[int, Change]()
    while wanted:
        # Where they are next to each other, which they mostly are, one statement has them all.
        for change in await snapshot.changes(after=wanted[0] - 1, limit=len(wanted)):
            found[change.seq or 0] = change
        wanted = [seq for seq in wanted[1:] if seq not in found]
    return [found[seq] for seq in sorted(set(seqs)) if seq in found]
