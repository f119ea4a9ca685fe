"""Watching things, and which of one's notifications were read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graph import ontology
from graph.port import EdgeMatch, Hop, NewEdge, Node, Paging, Transaction, Update
from lineal.errors import InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers.reading import principal_named
from resolvers.writing.command import command
from resolvers.writing.nodes import find

WATCHABLE: Final = tuple(kind for kind in ontology.NODE_KINDS if kind not in {"Principal", "Team"})
"""What can be watched: what is told of people tells them already."""

MAX_WATCHED: Final = 1_000
"""Things that one principal may watch."""

MAX_SINGLE: Final = 1_000
"""Notifications that are kept as read one by one; beyond that the oldest stand for all before them."""

PREFIX: Final = "nt_"
"""How ids of notifications begin."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """What a principal has read: all notifications up to and with one, and some single ones after it, by `seq`."""

    through: int = 0
    also: frozenset[int] = frozenset()

    @classmethod
    def of(cls, principal: Node) -> Inbox:
        """The inbox of a principal."""
        kept: Mapping[str, Any] = principal.props.get("inbox", {})
        return cls(int(kept.get("through", 0)), frozenset(kept.get("also", ())))

    def has_read(self, seq: int) -> bool:
        """Whether the notification was read."""
        return seq <= self.through or seq in self.also

    def reading(self, seqs: Iterable[int], through: int = 0) -> Inbox:
        """The inbox once these are read too, and all up to `through`."""
        through = max(self.through, through)
        also = sorted({*self.also, *seqs})
        if len(left := [seq for seq in also if seq > through]) > MAX_SINGLE:
            through, left = left[-MAX_SINGLE - 1], left[-MAX_SINGLE:]
        return Inbox(through, frozenset(left))

    def kept(self) -> dict[str, Any]:
        """As it is kept."""
        return {"through": self.through, "also": sorted(self.also)}


def notification_id(seq: int) -> str:
    """What a notification is called."""
    return f"{PREFIX}{seq}"


def _seq(id: str, field: str) -> int:
    digits = id.removeprefix(PREFIX)
    if digits == id or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise InvalidArgument(f"{field}: must be the id of a notification, not {id!r:.80}", field=field)
    return int(digits)


async def own(tx: Transaction) -> Node:
    """The principal of whoever writes. Raises PreconditionFailed: there is none."""
    node = await principal_named(tx, tx.by)
    if node is None:
        msg = f"there is no principal {tx.by!r}; who asks with a token of an issuer has one, or register it"
        raise PreconditionFailed(msg)
    return node


@command("watch", needs=None)
async def watch(tx: Transaction, *, address: str) -> str:
    """Be notified from now on of what happens to a thing and to its parts; it is the answer.

    Raises NotFound, InvalidArgument, PreconditionFailed (whoever asks has no principal), LimitExceeded.
    """
    id = await find(tx, address, "node", *WATCHABLE)
    watcher = await own(tx)
    await tx.lock([watcher.id])
    page = (await tx.neighbours([watcher.id], Hop("WATCHES", "OUT"), paging=Paging(1, count=True)))[watcher.id]
    if (page.total or 0) >= MAX_WATCHED:
        raise LimitExceeded(f"node: one watches at most {MAX_WATCHED} things", field="node")
    await tx.link([NewEdge("WATCHES", watcher.id, id)])
    return id


@command("unwatch", needs=None)
async def unwatch(tx: Transaction, *, address: str) -> str:
    """Be notified no more; the thing is the answer. Raises NotFound (also: not watched), PreconditionFailed."""
    id = await find(tx, address, "node", *WATCHABLE)
    if not await tx.unlink([EdgeMatch("WATCHES", (await own(tx)).id, id)]):
        raise NotFound(f"node: {address!r} is not watched", field="node")
    return id


@command("markNotificationsRead", needs=None)
async def mark_notifications_read(tx: Transaction, *, ids: Sequence[str] = (), up_to: str | None = None) -> str:
    """Take notifications for read: these, and all up to and with one; the caller's principal is the answer.

    Raises InvalidArgument (no ids of notifications, none at all, more than 1,000), PreconditionFailed.
    """
    if len(ids) > MAX_SINGLE:
        raise InvalidArgument(f"ids: has {len(ids)} entries; at most {MAX_SINGLE} are allowed", field="ids")
    if not ids and up_to is None:
        raise InvalidArgument("ids: name some, or give upTo", field="ids")
    seqs = [_seq(id, f"ids[{i}]") for i, id in enumerate(ids)]
    through = 0 if up_to is None else _seq(up_to, "upTo")
    reader = await own(tx)
    reader = (await tx.lock([reader.id]))[reader.id]
    await tx.update([Update(reader.id, {"inbox": Inbox.of(reader).reading(seqs, through).kept()})])
    return reader.id
