"""Streams of events: what happens to what somebody asked for, from a place on, as far as they may see it then.

What may be told is decided anew for every handful of events, by an operation with a moment of its own: who loses a role
is told nothing of what it opened from then on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

from graph import ontology
from graph.ids import kind_of
from graph.port import EVERYTHING, MAX_DEPTH, MAX_LINEAGE, MAX_ROOTS, Change, Direction, Walk
from graph.recording import subjects
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded
from resolvers.events import ACTIONS, MAX_INDEX, Event, Position, events_of, handful
from resolvers.following import tip
from resolvers.live import BATCH, Live
from resolvers.operation import Operation
from resolvers.reading import find_all, known_kinds, resolve_all

LINEAGE_SCOPE: Final = "lineage:read"
MAX_FILTER: Final = 100
"""Entries of one filter."""
ROUND: Final = 200
"""Events that are told in one go."""

Round = AbstractAsyncContextManager[tuple[Operation, list[Event]]]
"""The next events, which may be none, and the operation that they were read by; it ends with the round."""

_CONTAINING: Final = frozenset({"VERSION_OF", "PART_OF"})
_TOUCHING: Final = frozenset({"ALIAS_CHANGED", "STAGE_CHANGED", "SERVING_CHANGED"})
"""What happens to one thing by what is at the other end of an edge: that is concerned as well."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: all that is set must hold.

    `about` and `downstream_of` are ids or addresses: of these and their parts, or of all that came of them. `changed`
    are names of properties, with `tags.` and `params.` before those of tags and parameters: only what was made with one
    of them, or where one was written.
    """

    about: Sequence[str] | None = None
    downstream_of: Sequence[str] | None = None
    kinds: Collection[str] | None = None
    actions: Collection[str] | None = None
    workspaces: Collection[str] | None = None
    changed: Collection[str] | None = None

    def takes(self, event: Event) -> bool:
        """Whether an event is among them, but for what it is about."""
        return (
            (self.kinds is None or event.kind in self.kinds)
            and (self.actions is None or event.action in self.actions)
            and (self.workspaces is None or event.workspace in self.workspaces)
            and (self.changed is None or not _written(event).isdisjoint(self.changed))
        )

    def may_take(self, change: Change) -> bool:
        """Whether something of a change can be among them; without a look at the store."""
        if self.kinds is None:
            return True
        kinds = (kind_of(id) for id in subjects(change.data))
        return any(kind is not None and kind.name in self.kinds for kind in kinds)

    def check(self) -> None:
        """Raises InvalidArgument: a filter has no entries, too many, or one that there is not."""
        given = {
            "about": (self.about, MAX_ROOTS),
            "downstreamOf": (self.downstream_of, MAX_ROOTS),
            "kinds": (self.kinds, MAX_FILTER),
            "actions": (self.actions, MAX_FILTER),
            "workspaces": (self.workspaces, MAX_FILTER),
            "changed": (self.changed, MAX_FILTER),
        }
        for name, (entries, most) in given.items():
            if entries is not None and not 1 <= len(entries) <= most:
                msg = f"{name}: has {len(entries)} entries; 1 to {most} are allowed, or leave it out"
                raise InvalidArgument(msg, field=name)
        known_kinds(self.kinds or ())
        for action in self.actions or ():
            if action not in ACTIONS:
                msg = f"actions: there is no {action[:80]!r}; there are {', '.join(ACTIONS)}"
                raise InvalidArgument(msg, field="actions")


def _written(event: Event) -> set[str]:
    """The names of what was written of the thing."""
    created, updated = event.change.get("created") or {}, event.change.get("updated") or {}
    return {*created, *updated.get("after", ())}


class Stream:
    """The events that are wanted after a place, in rounds: each is what is new, as it may be told at that moment.

    `new_operation` says who asks; each round is read by one of its own.
    """

    def __init__(self, live: Live, new_operation: Callable[[], Operation], wanted: Wanted, after: Position) -> None:
        self._live = live
        self._new_operation = new_operation
        self._wanted = wanted
        self._about: frozenset[str] | None = None
        self._downstream: _Downstream | None = None
        self.at = after
        """How far it came."""

    @classmethod
    async def opened(
        cls,
        op: Operation,
        live: Live,
        new_operation: Callable[[], Operation],
        wanted: Wanted,
        after: Position | None,
    ) -> Stream:
        """A stream from a place on, or from now on without one; `op` is the operation that asks for it.

        Raises InvalidArgument, NotFound, Forbidden (the scope lineage:read), LimitExceeded (too much is downstream).
        """
        wanted.check()
        if wanted.downstream_of is not None and not op.caller.holds(LINEAGE_SCOPE):
            msg = f"downstreamOf: needs {LINEAGE_SCOPE}"
            raise Forbidden(msg, field="downstreamOf", requiredScopes=[[LINEAGE_SCOPE]])
        if after is None:
            after = Position(await tip(await op.snapshot()))
        stream = cls(live, new_operation, wanted, after)
        if wanted.about is not None:
            stream._about = frozenset(node.id for node in await find_all(op, wanted.about, field="about"))
        if wanted.downstream_of is not None:
            roots = await find_all(op, wanted.downstream_of, field="downstreamOf")
            stream._downstream = _Downstream(frozenset(node.id for node in roots))
            await stream._downstream.look(op, ())
        return stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Round:
        """The next round, once there may be something to tell. Raises Ended (resolvers.live)."""
        await self._wait()
        return self._round()

    async def _wait(self) -> None:
        while True:
            seq = self._seq
            await self._live.beyond(seq)
            changes = self._live.after(seq)
            if changes is None or any(map(self._wanted.may_take, changes)):
                return
            self.at = Position(changes[-1].seq or 0)

    @asynccontextmanager
    async def _round(self) -> AsyncIterator[tuple[Operation, list[Event]]]:
        """The next events, which may be none, and the operation that they were read by; it ends with the round.

        Whoever has enough of them takes the last ones off the list: the next round begins with those.
        Only after the round the stream has come further: one that fails is tried again from the same place. Raises
        Unauthenticated: the caller was deactivated; LimitExceeded: too much is downstream by now; Unavailable.
        """
        async with self._live.turns, self._new_operation() as op:
            # Before the moment is opened: it must show all that the changes did.
            changes, newest = self._live.after(self._seq), self._live.tip
            if changes is None:
                everything = (await op.snapshot()).seeing(EVERYTHING)
                read = await everything.changes(after=self._seq, limit=BATCH)
                # Of what is newer something may not show yet.
                changes = [change for change in read if (change.seq or 0) <= newest]
            changes = handful(changes)
            events = await self._told(op, changes)
            end = Position(changes[-1].seq or 0 if changes else max(newest, self.at.seq))
            if len(events) > ROUND:
                events = events[:ROUND]
                end = events[-1].position
            taken = len(events)
            yield op, events
            self.at = end if len(events) == taken else events[-1].position

    @property
    def _seq(self) -> int:
        """The change after which to go on; that of the last event may have others behind it."""
        return self.at.seq if self.at.index == MAX_INDEX else self.at.seq - 1

    async def _told(self, op: Operation, changes: Sequence[Change]) -> list[Event]:
        if self._downstream is not None:
            await self._downstream.look(op, changes)
        events = [e for e in await events_of(op, changes) if e.position > self.at and self._wanted.takes(e)]
        if self._about is not None and events:
            homes = await _homes(op, events)
            events = [each for each in events if not self._about.isdisjoint((each.subject, homes[each.subject]))]
        if self._downstream is not None:
            events = [event for event in events if self._downstream.has(event)]
        return events


async def _homes(op: Operation, events: Sequence[Event]) -> dict[str, str]:
    """The containers of what events are about, by id; of what is gone by now, that which it was in."""
    homes = {event.subject: event.node.container for event in events if event.node is not None}
    for event in events:
        if event.subject not in homes:
            before = event.at - 1 if "deleted" in event.change else event.at
            (node,) = await resolve_all(op, [event.subject], as_of=before)
            homes[event.subject] = node.container if node else ""
    return homes


class _Downstream:
    """All that came of some roots, as lineage has it; looked at again when it may have grown or shrunk."""

    def __init__(self, roots: frozenset[str]) -> None:
        self._roots = roots
        self._shown: frozenset[str] | None = None
        self._ids: frozenset[str] = frozenset()
        self._before: frozenset[str] = frozenset()

    async def look(self, op: Operation, changes: Sequence[Change]) -> None:
        """See what is downstream now that these changes were made. Raises LimitExceeded: too much."""
        # What came of a hidden thing is not told as such.
        shown = frozenset(await (await op.snapshot()).seen(sorted(self._roots)))
        self._before = self._ids
        if shown == self._shown and not any(map(self._touched, changes)):
            return
        walk = Walk(
            direction=Direction.DOWNSTREAM,
            depth=MAX_DEPTH,
            edges=ontology.LINEAGE_EDGES,
            limit=MAX_LINEAGE,
            walk_limit=op.walk_limit,
        )
        closure = await (await op.snapshot()).closure(sorted(shown), walk)
        if len(closure.nodes) >= min(MAX_LINEAGE, op.walk_limit):
            msg = f"downstreamOf: {MAX_LINEAGE} things or more came of these; name some that less came of"
            raise LimitExceeded(msg, field="downstreamOf", limit="downstream", maximum=MAX_LINEAGE)
        self._shown, self._ids = shown, shown.union(node.id for node, _ in closure.nodes)

    def _touched(self, change: Change) -> bool:
        edges = (edge for part in ("linked", "unlinked") for edge in change.data.get(part, ()))
        return any(
            target in self._ids and (kind in ontology.LINEAGE_EDGES or kind in _CONTAINING)
            for _, kind, target, *_ in edges
        )

    def has(self, event: Event) -> bool:
        """Whether an event is about something downstream, before these changes or after them."""
        ids = self._ids | self._before
        if event.subject in ids or (event.node is not None and event.node.container in ids):
            return True
        edges = (edge for part in ("linked", "unlinked") for edge in event.change.get(part, ()))
        return event.action in _TOUCHING and any(edge[2] in ids for edge in edges)
