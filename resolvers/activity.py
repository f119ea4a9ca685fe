"""What happened lately: to everything that one may see, and to what one watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graph import ontology
from graph.address import Address
from graph.port import Change, Hop, Node, Snapshot
from lineal.errors import PreconditionFailed
from resolvers.operation import Operation
from resolvers.reading import all_links, find_all, principal_named
from resolvers.writing.watching import Inbox

_BATCH = 200
_LOOKS = 20
"""How many batches are looked through for notifications of one page."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A change of what somebody watches, or that addresses them."""

    change: Change
    read: bool


@dataclass(frozen=True, slots=True)
class Notifications:
    """Notifications, newest first. `end` is where to go on from; `more` says whether there may be others after it."""

    items: Sequence[Notification]
    end: int
    more: bool


async def activity(
    op: Operation, *, about: Sequence[str] | None = None, after: int = 0, limit: int = 50
) -> list[Change]:
    """Sequenced changes of what the caller may see, newest first, below `seq` `after` (0: from the newest).

    `about` are ids or addresses: only changes of these and of their parts. Raises NotFound, InvalidArgument.
    """
    among = None if about is None else [node.id for node in await find_all(op, about, field="about")]
    return await (await op.snapshot()).changes(after=after, among=among, descending=True, limit=limit)


async def principal_of(op: Operation) -> Node | None:
    """The caller's principal, or None where they have none."""
    return await principal_named(await op.snapshot(), op.by)


async def notifications(op: Operation, *, unread: bool = False, after: int = 0, limit: int = 50) -> Notifications:
    """What others did to what the caller watches, and what addresses them: mentions, roles given.

    Watched things tell from when the watch began. Raises PreconditionFailed: the caller has no principal.
    """
    snapshot = await op.snapshot()
    principal = op.access.principal or await principal_of(op)
    if principal is None:
        raise PreconditionFailed(f"there is no principal {op.by!r}, so there is nothing to notify")
    since, own = await _watched(snapshot, op, principal)
    inbox = Inbox.of(principal)
    found: list[Notification] = []
    among = [*since, *own]
    for _ in range(_LOOKS):
        batch = await snapshot.changes(after=after, among=among, but_by=op.by, descending=True, limit=_BATCH)
        containers = await _containers(snapshot, batch)
        for change in batch:
            after = change.seq or 0
            read = inbox.has_read(after)
            if not (unread and read) and _concerns(change, since, own, containers):
                found.append(Notification(change, read))
                if len(found) == limit:
                    return Notifications(found, after, True)
        if len(batch) < _BATCH:
            return Notifications(found, after, False)
    return Notifications(found, after, True)


async def _watched(snapshot: Snapshot, op: Operation, principal: Node) -> tuple[dict[str, int], set[str]]:
    """What the principal watches, with the time from which, and its own id and those of its teams."""
    links = (await all_links(snapshot, [principal.id], Hop("WATCHES", "OUT"))).get(principal.id, [])
    teams = (await all_links(snapshot, [principal.id], Hop("MEMBER_OF", "OUT"))).get(principal.id, [])
    claimed = await snapshot.resolve([Address("Team", ontology.GLOBAL, name) for name in sorted(op.caller.teams)])
    own = {principal.id, *(link.node.id for link in teams), *(node.id for node in claimed if node)}
    return {link.node.id: link.edge.since for link in links}, own


async def _containers(snapshot: Snapshot, changes: Sequence[Change]) -> dict[str, str]:
    """The containers of what the changes wrote, as far as it is there and shows."""
    ids = list(dict.fromkeys(id for change in changes for id in _written(change)))
    return {id: node.container for id, node in (await snapshot.nodes(ids)).items()} if ids else {}


def _written(change: Change) -> list[str]:
    data = change.data
    ids = [entry[0] for part in ("created", "deleted", "linked", "unlinked") for entry in data.get(part, ())]
    return [*ids, *data.get("updated", {}), *data.get("logged", {})]


def _concerns(change: Change, since: dict[str, int], own: set[str], containers: dict[str, str]) -> bool:
    """Whether it addresses the principal, or was written to something watched after the watch began."""
    if any(entry[2] in own for entry in change.data.get("linked", ())):
        return True
    named = {place for id in _written(change) for place in (id, containers.get(id, id))}
    return any(since.get(id, change.at + 1) <= change.at for id in named)
