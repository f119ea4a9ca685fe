"""What a write leaves behind: nodes as stores keep them, what changed, and the figures of metrics."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import rfc8785

from graph.port import Change, Entry, Head, Metric, Node, Note, Point
from graph.text import tokens

GENESIS = "0" * 64
"""The hash before the first entry of a chain."""

ADDRESSING = frozenset({"MENTIONS", "NOTIFIES", "REVIEWER", "GRANTS", "MEMBER_OF"})
"""The kinds of edges that tell their target something: a change that links one addresses the target."""

_OTHER_NUMBERS = re.compile(rb"[:\[,]-?(?:\d+[.eE]|9\d{15}|\d{17})")

EdgeEnds = tuple[str, str, str, str]
"""(kind, source, target, discriminator)"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A node as a store has to write it. `key` and `search` are None where they stay as they are.

    A `key` of "" frees the node's key. `former` is a key to be kept for addresses.
    """

    node: Node
    key: str | None = None
    search: str | None = None
    former: str | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points to append to a metric: `metric` is what it comes to with them, `start` the index of the first."""

    owner: str
    metric: Metric
    start: int
    points: Sequence[Point]


@dataclass(slots=True)
class ChangeLog:
    """What a transaction did so far.

    `created` and `deleted` have nodes as [id, kind, name, properties], `linked` and `unlinked` edges as [source, kind,
    target, discriminator, {before, after}], each without its last part where that is empty; `updated` has, for each
    node, the properties, tags and parameters that changed, before and after.
    """

    created: list[list[Any]] = field(default_factory=list)
    deleted: list[list[Any]] = field(default_factory=list)
    updated: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    linked: list[list[Any]] = field(default_factory=list)
    unlinked: list[list[Any]] = field(default_factory=list)
    logged: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)
    touched: dict[str, None] = field(default_factory=dict)
    """The nodes that were loaded, or that what was loaded belongs to: they tell the workspaces, and are no subjects."""

    def data(self) -> dict[str, Any]:
        """The parts that are not empty."""
        parts = ("created", "updated", "deleted", "linked", "unlinked", "logged", "loaded")
        return {name: value for name in parts if (value := getattr(self, name))}

    def subjects(self) -> list[str]:
        """The nodes that the change is about: those written, and the sources of edges."""
        return subjects(self.data())

    def addressed(self) -> list[str]:
        """The nodes that the change addresses, beside its subjects."""
        return addressed(self.data())

    def note(self, id: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Add to what happened to a node; the first `before` and the last `after` of a name stay."""
        entry = self.updated.setdefault(id, {"before": {}, "after": {}})
        entry["before"] = {**before, **entry["before"]}
        entry["after"] |= after


def subjects(data: Mapping[str, Any]) -> list[str]:
    """The nodes that a change with this data is about: those written, and the sources of edges."""
    ids = (row[0] for part in ("created", "deleted", "linked", "unlinked") for row in data.get(part, ()))
    return list(dict.fromkeys((*ids, *data.get("updated", ()), *data.get("logged", ()))))


def addressed(data: Mapping[str, Any]) -> list[str]:
    """The nodes that a change with this data addresses, beside its subjects."""
    about = set(subjects(data))
    targets = dict.fromkeys(target for _, kind, target, *_ in data.get("linked", ()) if kind in ADDRESSING)
    return [id for id in targets if id not in about]


def noted(note: Note, id: str, at: int) -> Change:
    """The change that puts a note into the audit."""
    data = {"noted": {**note.data, "count": note.count}}
    return Change(id, at, note.by, note.action, note.request, data, note.origin, note.workspaces or ("",))


def pruned(end: Head, note: Mapping[str, Any], by: str, id: str, at: int) -> Change:
    """The change that tells of entries taken off the beginning of a chain: the last of them, beside what is noted."""
    data = {"noted": {**note, "number": end.number, "hash": end.hash}}
    return Change(id, at, by, "pruneAudit", "", data, workspaces=(end.workspace,))


def entry_hash(previous: str, workspace: str, number: int, change: Change) -> str:
    """The hash of an entry: SHA-256, in lower-case hexadecimal, of this object in canonical JSON (RFC 8785).

        {"previous":  the hash of the entry before it in the chain, 64 zeros for the first,
         "workspace": the chain, by the name of its workspace, "" for that of what belongs to none,
         "number":    its place in the chain, from 1,
         "change":    {"id", "at" (whole microseconds since the epoch, UTC), "by", "client", "token", "address",
                       "action", "request", "seq", "workspaces" (the chains that it is in, in code-point order),
                       "data": SHA-256, in lower-case hexadecimal, of what changed, in canonical JSON}}

    Whole numbers past 2^53 - 1 stand in `data` as decimal strings. Where older entries were taken off a
    chain, `previous` of the first that is left is the hash of the chain's anchor.
    """
    return _hash_over(previous, workspace, number, _covered(change))


def read_data(text: str) -> Mapping[str, Any]:
    """What a store kept of what changed. Somebody may have written there what is none: it must not hide the rest.

    A text that says the same in another way (a name twice, blanks) is none either: hashes would not tell it from
    what was written, and whoever reads it in another way would be misled.
    """
    with suppress(ValueError, TypeError):  # TypeError: from orjson, for what it cannot write
        data = orjson.loads(text)
        if isinstance(data, dict) and orjson.dumps(data).decode() == text:
            return data
    with suppress(ValueError, TypeError, RecursionError):
        data = json.loads(text)
        if isinstance(data, dict) and json.dumps(data, allow_nan=False) == text:
            canonical(data)
            return data
    return {"unreadable": text}


def write_data(data: Mapping[str, Any]) -> str:
    """What changed, as the text that a store keeps."""
    try:
        return orjson.dumps(data).decode()
    except TypeError:  # it nests deeply, or has numbers past 64 bits
        return json.dumps(data)


def read_workspaces(text: str) -> tuple[str, ...]:
    """The chains that a store kept of a change, as JSON; none where somebody wrote something else there."""
    try:
        names = orjson.loads(text)
    except ValueError:
        names = None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def place(change: Change, heads: dict[str, Head]) -> list[Entry]:
    """The entries of a change, each behind the head of its chain; the heads move on to them."""
    covered, entries = _covered(change), []
    for workspace in change.workspaces:
        head = heads.get(workspace) or Head(workspace, 0, GENESIS)
        hash = _hash_over(head.hash, workspace, head.number + 1, covered)
        entries.append(Entry(workspace, head.number + 1, hash, change))
        heads[workspace] = Head(workspace, head.number + 1, hash)
    return entries


def facts(change: Change) -> dict[str, Any]:
    """All that the audit shows of a change, as canonical JSON has it."""
    return {
        "id": change.id,
        "at": change.at,
        "by": change.by,
        "client": change.origin.client,
        "token": change.origin.token,
        "address": change.origin.address,
        "action": change.action,
        "request": change.request,
        "seq": change.seq,
        "workspaces": list(change.workspaces),
        "data": change.data,
    }


def _covered(change: Change) -> dict[str, Any]:
    """What the hash of an entry covers of its change: all of it, what changed by its own hash."""
    return {**facts(change), "data": hashlib.sha256(canonical(change.data)).hexdigest()}


def _hash_over(previous: str, workspace: str, number: int, covered: Mapping[str, Any]) -> str:
    body = {"previous": previous, "workspace": workspace, "number": number, "change": covered}
    return hashlib.sha256(canonical(body)).hexdigest()


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785). Whole numbers past 2^53 are written as decimal strings, as its appendix D advises."""
    with suppress(TypeError):  # from orjson, for what it cannot write
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        # In ASCII the order of names is the same, and only such numbers are written in another way.
        if text.isascii() and not _OTHER_NUMBERS.search(text):
            return text
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        return rfc8785.dumps(_big_as_text(value))


def _big_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _big_as_text(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_big_as_text(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        return str(value)
    return value


def search_text(node: Node, tags: Mapping[str, str]) -> str:
    """The tokens that a search looks at, divided by blanks. A name that is a number says nothing of its node."""
    if node.deleted_at is not None:
        return ""
    words = ["" if "number" in node.props else node.name, node.props.get("description", "")]
    for name, value in sorted(tags.items()):
        words += (name, value)
    return " ".join(tokens("\n".join(words)))


def merge_metric(current: Metric | None, name: str, points: Sequence[Point]) -> Metric:
    """What a metric comes to when points are appended to it."""
    value, step, time = (current.value, current.step, current.time) if current else (math.nan, -(2**63), -(2**63))
    for point in points:
        if (point.step, point.time) >= (step, time):
            value, step, time = point.value, point.step, point.time
    seen = [p.value for p in points if not math.isnan(p.value)]
    if current:
        seen += [v for v in (current.minimum, current.maximum) if not math.isnan(v)]
    low, high = (min(seen), max(seen)) if seen else (math.nan, math.nan)
    return Metric(name, value, low, high, step, time, (current.count if current else 0) + len(points))
