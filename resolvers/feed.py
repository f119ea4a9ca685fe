"""The feed of events, for those who would rather pull: what activity tells, the earliest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lineal.errors import Forbidden
from resolvers.events import Event, Position, check_place, events_of, handful
from resolvers.operation import Operation
from resolvers.reading import bounded

SCOPE: Final = "activity:read"
MAX_EVENTS: Final = 1_000
BATCH: Final = 200
LOOKS: Final = 20
"""Batches of changes that one page looks through, at most."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Events in order. `end` is where to go on from, which may be further than the last of them; `more` says whether
    there may be others right behind it.
    """

    events: Sequence[Event]
    end: Position
    more: bool


async def feed(op: Operation, after: Position, limit: int = 100) -> Feed:
    """The first `limit` (1 to 1,000) events after a place that may be told to the caller.

    Raises Forbidden (the scope activity:read), InvalidArgument (what is after the place cannot be told, too).
    """
    if not op.caller.holds(SCOPE):
        raise Forbidden(f"the scope {SCOPE} is needed", scopes=[[SCOPE]])
    bounded(limit, 1, MAX_EVENTS, field="limit")
    newest = await check_place(op, after)
    snapshot = await op.snapshot()
    found: list[Event] = []
    seq = after.done
    for _ in range(LOOKS):
        read = await snapshot.changes(after=seq, limit=BATCH)
        changes = handful(read)
        found += [event for event in await events_of(op, changes) if event.position > after]
        if len(found) >= limit:
            return Feed(found[:limit], found[limit - 1].position, True)
        if len(changes) < BATCH and changes == read:
            return Feed(found, max(after, Position(newest)), False)
        seq = changes[-1].seq or 0
    return Feed(found, max(after, Position(seq)), True)
