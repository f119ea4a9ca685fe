"""Events: what sequenced changes did, told one thing at a time, to those who follow them from outside.

A change of three things is three events. Their places in the order of everything are the change's `seq` and a number
in it, which are the same for whoever looks: what somebody may not see leaves a gap.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graph import ontology
from graph.ids import kind_of
from graph.naming import addresses
from graph.ontology import NODE_KINDS
from graph.port import Change, Node, Snapshot
from graph.recording import subjects
from lineal.errors import InvalidArgument
from resolvers.following import tip
from resolvers.operation import Operation
from resolvers.redacting import redacted

ACTIONS: Final[Mapping[str, str]] = {
    "CREATED": "It was made.",
    "DELETED": "It was deleted.",
    "STAGE_CHANGED": "A version of the model came to a stage, or left one.",
    "ALIAS_CHANGED": "An alias of the model was set, moved or taken away.",
    "SERVING_CHANGED": "The deployment serves other versions, or serves them with other shares.",
    "MEMBERS_CHANGED": "Somebody got a role in the workspace, or lost one.",
    "UPDATED": "Its properties, or its name, changed.",
    "TAGS_CHANGED": "Its tags changed, and nothing else.",
    "METRICS_LOGGED": "Points were added to its metrics.",
    "LINKED": "It was joined to something else: an owner, an input, a file.",
    "UNLINKED": "It is not joined any more to something that it was joined to.",
}
"""What can happen to a thing; of several that one change did to it, the first in this order is the event's."""

_EDGES: Final = {
    "STAGE": "STAGE_CHANGED",
    "ALIAS": "ALIAS_CHANGED",
    "SERVES": "SERVING_CHANGED",
    "GRANTS": "MEMBERS_CHANGED",
}

PLACE: Final = r"([0-9]{1,16})(?:\.([0-9]{1,7}))?"
"""A regular expression for a place as text."""
INDEX_BITS: Final = 20
"""How many bits of a place the number in the change takes."""
MAX_INDEX: Final = 2**INDEX_BITS - 1
MAX_SUBJECTS: Final = 5_000
"""Subjects of changes that are looked at in one go."""
LAG_SECONDS: Final = 2.0
"""How long a place is waited for that is beyond all events: what is read may lag behind what told of it."""
LOOK_SECONDS: Final = 0.1
_LAST: Final = "\U0010ffff"
"""Comes after every name of a workspace."""


def type_of(kind: str, action: str) -> str:
    """The type of an event: lineal.model_version.created."""
    return f"lineal.{ontology.constant(kind).lower()}.{action.lower()}"


TYPES: Final = frozenset(type_of(kind, action) for kind in NODE_KINDS for action in ACTIONS)
"""Every type that there may be."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place among all events: the `seq` of a change, and a number in it from 0; -1 is before all of them."""

    seq: int
    index: int = MAX_INDEX

    @property
    def done(self) -> int:
        """The `seq` of the change after which to go on: that of an event may have others behind it."""
        return self.seq if self.index == MAX_INDEX else self.seq - 1

    @property
    def number(self) -> int:
        """The place as one number of 64 bits, in the same order."""
        return self.seq << INDEX_BITS | self.index

    @classmethod
    def at(cls, number: int) -> Position:
        """The place that a number stands for."""
        return cls(number >> INDEX_BITS, number & MAX_INDEX)

    def __str__(self) -> str:
        """The place as text that sorts like it: what `after` takes."""
        return f"{self.seq:016}.{self.index:07}"


def position(text: str, field: str = "after") -> Position:
    """The place of such text; a change's `seq` alone stands for the whole change. Raises InvalidArgument."""
    found = re.fullmatch(PLACE, text)
    if found is None or int(found[2] or 0) > MAX_INDEX or int(found[1]) >= 2 ** (63 - INDEX_BITS):
        msg = f"{field}: must be the sequence of an event, such as 0000000000000042.0000001, or 0, not {text[:80]!r}"
        raise InvalidArgument(msg, field=field)
    return Position(int(found[1]), MAX_INDEX if found[2] is None else int(found[2]))


async def check_place(op: Operation, after: Position) -> int:
    """See that everything after a place can be told; returns the newest change that did something.

    Raises InvalidArgument: there is no such place here, or what came after it was taken off the audit.
    """
    until = time.monotonic() + LAG_SECONDS
    while not await arrived(snapshot := await op.snapshot(), after.seq, newest := await tip(snapshot)):
        if time.monotonic() >= until:
            msg = f"after: {after} is beyond all events of this store; begin anew from its `sequence`"
            raise InvalidArgument(msg, field="after")
        await asyncio.sleep(LOOK_SECONDS)
        await op.close()
    await check_left(op, after)
    return newest


async def arrived(snapshot: Snapshot, seq: int, newest: int) -> bool:
    """Whether a change is there, or was, where the `newest` that did something is this one."""
    # It may have been taken off the audit; the note of that is newer.
    return seq <= newest or (bool(await snapshot.anchors()) and seq <= await _noted(snapshot))


async def check_left(op: Operation, after: Position) -> None:
    """See that what came after a place was not taken off the audit. Raises InvalidArgument: it was.

    The beginning of all is that of what is left.
    """
    snapshot = await op.snapshot()
    if not after.seq or not await snapshot.anchors():
        return
    # Numbers have no gaps, and what is taken off is the beginning: so the next one is there, or there is none yet.
    upto = await snapshot.entries(after=(after.done + 2, _LAST), limit=1)
    if await _noted(snapshot) > after.done and not (upto and upto[0].change.seq == after.done + 1):
        msg = f"after: what came after {after} was taken off the audit; 0 begins with what is left"
        raise InvalidArgument(msg, field="after")


async def _noted(snapshot: Snapshot) -> int:
    """The `seq` of the newest change in the audit, also of one that only noted something."""
    newest = await snapshot.entries(limit=1)
    return newest[0].change.seq or 0 if newest else 0


@dataclass(frozen=True, slots=True)
class Event:
    """What one change did to one thing, as far as it may be told.

    `subject` is the id of the thing; `node` is it as it now is, None where it is gone. `by` did it, by the use case
    `cause`, in the request `request`, at `at` (microseconds since the epoch). `change` has what was done: `created` or
    `deleted` with the properties, `updated` with `before` and `after`, `logged` with how many points of metrics,
    `linked` and `unlinked` as [source, kind, target, discriminator, {before, after}].
    """

    id: str
    position: Position
    action: str
    subject: str
    kind: str
    name: str | None
    node: Node | None
    workspace: str
    address: str | None
    at: int
    by: str
    cause: str
    request: str
    change: Mapping[str, Any] = field(repr=False)

    @property
    def type(self) -> str:
        """Its type."""
        return type_of(self.kind, self.action)


async def events_of(op: Operation, changes: Sequence[Change]) -> list[Event]:
    """The events of these changes that may be told to the operation, in order; in a few statements for all of them."""
    if not changes:
        return []
    told = await redacted(op, changes)
    snapshot = await op.snapshot()
    nodes = await snapshot.nodes(list(dict.fromkeys(id for data in told for id in subjects(data))))
    named = await addresses(snapshot, nodes.values()) if nodes else {}
    gone = list(dict.fromkeys(id for data in told for id in subjects(data) if id not in nodes))
    homes = await snapshot.workspaces(gone) if gone else {}
    found = []
    for change, data in zip(changes, told, strict=True):
        parts, called = parts_of(data), _names(data)
        for index, subject in enumerate(subjects(change.data)[:MAX_INDEX]):
            kind, part = kind_of(subject), parts.get(subject)
            if kind is None or not part:
                continue
            node = nodes.get(subject)
            found.append(
                Event(
                    f"{change.id}.{index}",
                    Position(change.seq or 0, index),
                    _action(part),
                    subject,
                    kind.name,
                    node.name if node else called.get(subject),
                    node,
                    node.workspace if node else homes.get(subject, ""),
                    named.get(subject),
                    change.at,
                    change.by,
                    change.action,
                    change.request,
                    part,
                )
            )
    return found


def parts_of(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a change with this data did to each of its subjects."""
    parts: dict[str, dict[str, Any]] = {}
    for name in ("created", "deleted"):
        for id, _, _, *props in data.get(name, ()):
            parts.setdefault(id, {})[name] = props[0] if props else {}
    for name in ("updated", "logged"):
        for id, value in data.get(name, {}).items():
            parts.setdefault(id, {})[name] = value
    for name in ("linked", "unlinked"):
        for edge in data.get(name, ()):
            parts.setdefault(edge[0], {}).setdefault(name, []).append(edge)
    return parts


def handful(changes: Sequence[Change]) -> Sequence[Change]:
    """The first of these changes, so many as have some thousand subjects together; at least one of them."""
    count = 0
    for n, change in enumerate(changes):
        count += len(subjects(change.data))
        if count > MAX_SUBJECTS and n:
            return changes[:n]
    return changes


def _action(part: Mapping[str, Any]) -> str:
    edges = {edge[1] for name in ("linked", "unlinked") for edge in part.get(name, ())}
    happened = {_EDGES[kind] for kind in edges if kind in _EDGES}
    happened |= {name.upper() for name in ("created", "deleted", "linked", "unlinked") if name in part}
    if "updated" in part:
        tags = all(name.startswith("tags.") for name in part["updated"].get("after", ()))
        happened.add("TAGS_CHANGED" if tags else "UPDATED")
    if "logged" in part:
        happened.add("METRICS_LOGGED")
    return next(action for action in ACTIONS if action in happened)


def _names(data: Mapping[str, Any]) -> dict[str, str]:
    """What things were called that were made or deleted."""
    return {row[0]: row[2] for part in ("created", "deleted") for row in data.get(part, ())}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events: all that is set must hold. `tags` are values by name, None for any value."""

    kinds: Collection[str] = ()
    actions: Collection[str] = ()
    types: Collection[str] = ()
    tags: Mapping[str, str | None] = field(default_factory=dict)

    def takes(self, type: str, kind: str, action: str, tags: Mapping[str, str]) -> bool:
        """Whether an event of this type, about a thing of this kind with these tags, is among them."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.actions or action in self.actions)
            and (not self.types or type in self.types)
            and all(name in tags and value in {None, tags[name]} for name, value in self.tags.items())
        )


async def tags_of(op: Operation, events: Sequence[Event]) -> dict[str, dict[str, str]]:
    """The tags of the subjects of events, by id, with those of their containers: their own come first."""
    homes = {event.subject: event.node.container if event.node else event.subject for event in events}
    found = await (await op.snapshot()).rows(list(dict.fromkeys([*homes, *homes.values()])), "tags") if homes else {}
    return {id: {**found.get(home, {}), **found.get(id, {})} for id, home in homes.items()}
