"""What happened lately: to everything that one may see, and to what one watches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph import ontology
from graph.address import Address
from graph.port import Change, Hop, Node, Snapshot
from graph.recording import ADDRESSING
from lineal.errors import PreconditionFailed
from resolvers.operation import Operation
from resolvers.reading import all_links, find_all, principal_named
from resolvers.redacting import Told, redacted, tellable
from resolvers.writing.watching import Inbox

_BATCH = 200
_LOOKS = 20
"""How many batches are looked through for notifications of one page."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A change of what somebody watches, or that addresses them, with what may be told of its `data`."""

    change: Change
    data: Mapping[str, Any]
    read: bool


@dataclass(frozen=True, slots=True)
class Notifications:
    """Notifications, newest first. `end` is where to go on from; `more` says whether there may be others after it."""

    items: Sequence[Notification]
    end: int
    more: bool


async def activity(op: Operation, *, about: Sequence[str] | None = None, after: int = 0, limit: int = 50) -> list[Told]:
    """Sequenced changes of what the caller may see, newest first, below `seq` `after` (0: from the newest).

    `about` are ids or addresses: only changes of these and of their parts, as far as that may be told. Raises
    NotFound, InvalidArgument.
    """
    among = None if about is None else [node.id for node in await find_all(op, about, field="about")]
    snapshot = await op.snapshot()

    async def read(after: int, limit: int) -> list[Change]:
        return await snapshot.changes(after=after, among=among, descending=True, limit=limit)

    async def of_these(told: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        containers = await _containers(snapshot, told)
        return [data if _is_about(data, set(among or ()), containers) else {} for data in told]

    return await tellable(op, read, after=after, limit=limit, parts=None if among is None else of_these)


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
        told = await redacted(op, batch)
        containers = await _containers(snapshot, told)
        addressing = await _addressing(snapshot, batch, own)
        for change, data in zip(batch, told, strict=True):
            after = change.seq or 0
            read = inbox.has_read(after)
            concerns = change.id in addressing or _concerns(data, change.at, since, containers)
            if data and concerns and not (unread and read):
                found.append(Notification(change, data, read))
                if len(found) == limit:
                    return Notifications(found, after, True)
        if len(batch) < _BATCH:
            return Notifications(found, found[-1].change.seq or 0 if found else 0, False)
    return Notifications(found, after, True)


async def _watched(snapshot: Snapshot, op: Operation, principal: Node) -> tuple[dict[str, int], set[str]]:
    """What the principal watches, with the time from which, and its own id and those of its teams."""
    links = (await all_links(snapshot, [principal.id], Hop("WATCHES", "OUT"))).get(principal.id, [])
    teams = (await all_links(snapshot, [principal.id], Hop("MEMBER_OF", "OUT"))).get(principal.id, [])
    claimed = await snapshot.resolve([Address("Team", ontology.GLOBAL, name) for name in sorted(op.caller.teams)])
    own = {principal.id, *(link.node.id for link in teams), *(node.id for node in claimed if node)}
    return {link.node.id: link.edge.since for link in links}, own


async def _containers(snapshot: Snapshot, told: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The containers of what these say was written, as far as it is there."""
    ids = list(dict.fromkeys(id for data in told for id in _written(data)))
    return {id: node.container for id, node in (await snapshot.nodes(ids)).items()} if ids else {}


async def _addressing(snapshot: Snapshot, changes: Sequence[Change], own: set[str]) -> set[str]:
    """The ids of the changes by which something that shows addresses one of these."""
    sources = {change.id: {e[0] for e in change.data.get("linked", ()) if e[2] in own} for change in changes}
    named = sorted(set().union(*sources.values()))
    shown = await snapshot.seen(named) if named else set()
    return {id for id, ends in sources.items() if ends & shown}


def _written(data: Mapping[str, Any]) -> Iterable[str]:
    for part in ("created", "deleted", "linked", "unlinked"):
        yield from (entry[0] for entry in data.get(part, ()))
    yield from data.get("updated", {})
    yield from data.get("logged", {})


def _is_about(data: Mapping[str, Any], ids: set[str], containers: Mapping[str, str]) -> bool:
    """Whether it says that one of these or of their parts was written or addressed; of deleted parts it may be."""
    addressed = {target for _, kind, target, *_ in data.get("linked", ()) if kind in ADDRESSING}
    return bool(ids & addressed) or any({id, containers.get(id)} & {*ids, None} for id in _written(data))


def _concerns(data: Mapping[str, Any], at: int, since: dict[str, int], containers: dict[str, str]) -> bool:
    """Whether it was written to something watched after the watch began, as far as that may be told."""
    named = {place for id in _written(data) for place in (id, containers.get(id, id))}
    return any(since.get(id, at + 1) <= at for id in named)
