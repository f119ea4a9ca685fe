"""Streams of events: what happens to what somebody asked for, from a place on, as far as they may see it then.

What may be told is decided anew for every handful of events, by an operation with a moment of its own: who loses a role
is told nothing of what it opened from then on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from graph import ontology
from graph.ids import kind_of
from graph.port import EVERYTHING, MAX_DEPTH, MAX_LINEAGE, MAX_ROOTS, Change, Direction, Node, Walk
from graph.recording import subjects
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, Unavailable
from resolvers.events import ACTIONS, Event, Position, arrived, check_left, check_place, events_of, handful
from resolvers.following import tip
from resolvers.live import BATCH, Live
from resolvers.operation import Operation
from resolvers.reading import known_kinds, resolve_all, there

LINEAGE_SCOPE: Final = "lineage:read"
MAX_FILTER: Final = 100
"""Entries of one filter."""
ROUND: Final = 200
"""Events that are told in one go."""
LATE: Final = 20
"""Behind how many changes one may be that is of an earlier time than they are."""
TURNS: Final = 10
"""How often what is downstream may become another in one round: each state of it is kept to its end."""

Round = AbstractAsyncContextManager[tuple[Operation, list[Event]]]
"""The next events, which may be none, and the operation that they were read by; it ends with the round."""

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

        What is gone by now is found as it was there. Raises InvalidArgument, NotFound, Forbidden (the scope
        lineage:read), LimitExceeded (too much is downstream).
        """
        wanted.check()
        if wanted.downstream_of is not None and not op.caller.holds(LINEAGE_SCOPE):
            msg = f"downstreamOf: needs {LINEAGE_SCOPE}"
            raise Forbidden(msg, field="downstreamOf", requiredScopes=[[LINEAGE_SCOPE]])
        if after is None:
            after = Position(await tip(await op.snapshot()))
        else:
            await check_place(op, after)
        stream = cls(live, new_operation, wanted, after)
        if wanted.about is not None:
            stream._about = frozenset(node.id for node in await _roots(op, wanted.about, after, field="about"))
        if wanted.downstream_of is not None:
            roots = await _roots(op, wanted.downstream_of, after, field="downstreamOf")
            stream._downstream = _Downstream(frozenset(node.id for node in roots))
            await stream._downstream.follow(op, after.done)
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
            if changes is None or any(map(self._may_matter, changes)):
                return
            self.at = Position(changes[-1].seq or 0)

    def _may_matter(self, change: Change) -> bool:
        return self._wanted.may_take(change) or (self._downstream is not None and self._downstream.may_turn(change))

    @asynccontextmanager
    async def _round(self) -> AsyncIterator[tuple[Operation, list[Event]]]:
        """The next events, which may be none, and the operation that they were read by; it ends with the round.

        Whoever has enough of them takes the last ones off the list: the next round begins with those.
        Only after the round the stream has come further: one that fails is tried again from the same place. Raises
        Unauthenticated: the caller was deactivated; LimitExceeded: too much is downstream by now; InvalidArgument: what
        is next was taken off the audit; Unavailable: also where it is read what is next is not there yet.
        """
        async with self._live.turns, self._new_operation() as op:
            # Before the moment is opened: it must show all that the changes did.
            changes, newest = self._live.after(self._seq), self._live.tip
            snapshot = await op.snapshot()
            if not await arrived(snapshot, newest, await tip(snapshot)):
                # A member of the store may lag behind the one that told of them.
                msg = "what is new is not there yet where it is read"
                raise Unavailable(msg)
            if changes is None:
                await check_left(op, self.at)
                read = await snapshot.seeing(EVERYTHING).changes(after=self._seq, limit=BATCH)
                # Of what is newer something may not show yet.
                changes = [change for change in read if (change.seq or 0) <= newest]
            changes = handful(changes)
            if self._downstream is not None:
                changes = await self._downstream.follow(op, self._seq, changes)
            end = Position(changes[-1].seq or 0 if changes else max(newest, self.at.seq))
            events = await self._told(op, changes)
            if len(events) > ROUND:
                events = events[:ROUND]
                end = events[-1].position
            taken = len(events)
            yield op, events
            self.at = end if len(events) == taken else events[-1].position
            if self._downstream is not None:
                self._downstream.settle(self._seq)

    @property
    def _seq(self) -> int:
        """The change after which to go on."""
        return self.at.done

    async def _told(self, op: Operation, changes: Sequence[Change]) -> list[Event]:
        events = [e for e in await events_of(op, changes) if e.position > self.at and self._wanted.takes(e)]
        if self._about is not None and events:
            homes = await _homes(op, events)
            events = [each for each in events if not self._about.isdisjoint((each.subject, homes[each.subject]))]
        if self._downstream is not None:
            has = self._downstream.has
            # What has to be looked for is only the containers of what is gone.
            homes = await _homes(op, [event for event in events if not has(event)])
            events = [event for event in events if has(event, homes.get(event.subject, ""))]
        return events


async def _roots(op: Operation, refs: Sequence[str], after: Position, *, field: str) -> list[Node]:
    """What these name: what is gone by now, as it was at a place. Raises InvalidArgument, NotFound."""
    now = await resolve_all(op, refs, field=field)
    gone = [ref for ref, node in zip(refs, now, strict=True) if node is None]
    as_of = await _time(op, after.done) if gone else None
    if as_of is not None:
        then = dict(zip(gone, await resolve_all(op, gone, as_of=as_of, field=field), strict=True))
        now = [node or then[ref] for ref, node in zip(refs, now, strict=True)]
    return there(refs, now, field=field)


async def _time(op: Operation, seq: int) -> int | None:
    """When it was as the changes up to this one left it; None for now, where nothing ever was done."""
    everything = (await op.snapshot()).seeing(EVERYTHING)
    # What was committed late is of an earlier time than what is before it.
    if before := await everything.changes(after=max(seq, 0) + 1, descending=True, limit=LATE):
        return max(change.at for change in before)
    for first in await everything.changes(limit=1):
        return first.at - 1
    return None


async def _homes(op: Operation, events: Sequence[Event]) -> dict[str, str]:
    """The containers of what events are about, by id; of what is gone by now, that which it was in."""
    homes = {event.subject: event.node.container for event in events if event.node is not None}
    for event in events:
        if event.subject not in homes:
            before = event.at - 1 if "deleted" in event.change else event.at
            (node,) = await resolve_all(op, [event.subject], as_of=before)
            homes[event.subject] = node.container if node else ""
    return homes


@dataclass(frozen=True, slots=True)
class _State:
    """What is downstream once a change is done, and was before it. `at` is when that was."""

    ids: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    at: int = 0


class _Downstream:
    """All that came of some roots, as lineage had it before and after each change: so whoever comes back later is told
    what those were who stayed.
    """

    def __init__(self, roots: frozenset[str]) -> None:
        self._roots = roots
        self._shown: frozenset[str] | None = None
        self._last = _State()
        self._states: dict[int, _State] = {}
        """Of the changes of this round, by their `seq`."""

    async def follow(self, op: Operation, done: int, changes: Sequence[Change] = ()) -> Sequence[Change]:
        """See what was downstream before and after each of these changes, which come next after one that is done.

        Returns them, up to where it became another too often. Raises LimitExceeded: too much.
        """
        self._states = {}
        # What came of a hidden thing is not told as such.
        shown = frozenset(await (await op.snapshot()).seen(sorted(self._roots)))
        if shown != self._shown:
            as_of = await _time(op, done)
            ids = await self._walked(op, shown, as_of)
            self._shown, self._last = shown, _State(ids, ids, as_of or 0)
        last, turns = self._last, 0
        for n, change in enumerate(changes, 1):
            # What was committed late may be of an earlier time than what is before it.
            ids, at = last.ids, max(last.at, change.at)
            if self._turned(change, ids):
                turns += 1
                ids = await self._grown(op, change, ids) or await self._walked(op, shown, at)
            self._states[change.seq or 0] = last = _State(ids, last.ids, at)
            if turns == TURNS:
                return changes[:n]
        return changes

    def settle(self, done: int) -> None:
        """Let go of what was before; the next round goes on after this change."""
        self._last = next((state for seq, state in reversed(self._states.items()) if seq <= done), self._last)
        self._states = {}

    def may_turn(self, change: Change) -> bool:
        """Whether by a change more or less may be downstream than is after the last round."""
        return self._turned(change, self._last.ids)

    def _turned(self, change: Change, ids: frozenset[str]) -> bool:
        data = change.data
        return (
            "loaded" in data
            or any(edge[0] in ids and self._leads(edge, ids) for edge in data.get("unlinked", ()))
            or any(edge[0] not in ids and self._leads(edge, ids) for edge in data.get("linked", ()))
        )

    def _leads(self, edge: Sequence[Any], ids: Collection[str]) -> bool:
        """Whether an edge leads to one of these in a way that its source comes of it, or is a part of a root."""
        _, kind, target, *_ = edge
        if kind in ontology.CONTAINING_EDGES:
            return target in self._roots and target in ids and _has_parts(target)
        return target in ids and kind in ontology.LINEAGE_EDGES

    async def _walked(self, op: Operation, shown: frozenset[str], as_of: int | None) -> frozenset[str]:
        walk = Walk(
            direction=Direction.DOWNSTREAM,
            depth=MAX_DEPTH,
            edges=ontology.LINEAGE_EDGES,
            limit=MAX_LINEAGE,
            walk_limit=op.walk_limit,
            as_of=as_of,
        )
        closure = await (await op.snapshot()).closure(sorted(shown), walk)
        if len(closure.nodes) >= min(MAX_LINEAGE, op.walk_limit):
            msg = f"downstreamOf: {MAX_LINEAGE} things or more came of these; name some that less came of"
            raise LimitExceeded(msg, field="downstreamOf", limit="downstream", maximum=MAX_LINEAGE)
        return shown.union(node.id for node, _ in closure.nodes)

    async def _grown(self, op: Operation, change: Change, ids: frozenset[str]) -> frozenset[str] | None:
        """What is downstream after a change by which nothing but new things came of it; None where that takes a walk.

        Nothing came of what is new but by the same change, and that is most of what comes of anything.
        """
        linked = change.data.get("linked", ())
        if change.data.keys() & {"unlinked", "loaded"} or any("until" in _after(edge) for edge in linked):
            return None
        made, grown = {id for id, *_ in change.data.get("created", ())}, set(ids)
        while fresh := {edge[0] for edge in linked if edge[0] not in grown and self._leads(edge, grown)}:
            grown |= fresh
        fresh = grown - ids
        full = len(grown) >= min(MAX_LINEAGE, op.walk_limit)
        # Walks go on through hidden things, or stop before them.
        if full or not fresh <= made or fresh - await (await op.snapshot()).seen(sorted(fresh)):
            return None
        return frozenset(grown)

    def has(self, event: Event, home: str = "") -> bool:
        """Whether an event is about something downstream, or a part of it, before its change or after it.

        `home` is what the thing was a part of, if it is gone.
        """
        state = self._states[event.position.seq]
        subjects = {event.subject, event.node.container if event.node else home}
        if event.action in _TOUCHING:
            subjects |= {edge[2] for part in ("linked", "unlinked") for edge in event.change.get(part, ())}
        return not (subjects.isdisjoint(state.ids) and subjects.isdisjoint(state.before))


def _has_parts(id: str) -> bool:
    kind = kind_of(id)
    return kind is not None and bool(kind.parts)


def _after(edge: Sequence[Any]) -> Mapping[str, Any]:
    """The properties of an edge that a change tells of."""
    after: Mapping[str, Any] = (edge[4] if len(edge) > 4 else {}).get("after", {})
    return after
