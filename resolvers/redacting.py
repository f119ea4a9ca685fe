"""Changes, as somebody may see them: without what names a hidden node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from graph import ontology
from graph.address import parse
from graph.ids import kind_of
from graph.port import MAX_PAGE, Change
from lineal.errors import InvalidArgument
from resolvers.operation import Operation

_LISTS = ("created", "deleted")
_TABLES = ("updated", "logged")
_EDGES = ("linked", "unlinked")
_OPEN: Final = frozenset(
    {"action", "asked", "by", "code", "face", "fields", "format", "reason", "scopes", "workspace"}
    | {"entries", "hash", "key", "number", "signature"}
)
"""What of a note names nothing that might be hidden: of what is asked and refused, and of a pruning."""
_THINGS: Final = ("subject", "artifact")
"""What of a note is the id of a node."""
_OF_FILES: Final = frozenset({"blobs", "count", "files", "path", "sha256", "size"})
"""What of a note tells of files, of the thing beside it where there is one."""
_OF_ALL: Final = frozenset({"message", "sha256"})
"""What of a note tells of all that it is about, in one."""

ARTIFACT_READ: Final = ontology.ARTIFACT.scope

Told = tuple[Change, Mapping[str, Any]]
"""A change, and what may be told of its `data`."""


async def tellable(
    op: Operation,
    read: Callable[[int, int], Awaitable[Sequence[Change]]],
    *,
    after: int,
    limit: int,
    parts: Callable[[Sequence[Mapping[str, Any]]], Awaitable[Sequence[Mapping[str, Any]]]] | None = None,
) -> list[Told]:
    """Up to `limit` changes of which something may be told, newest first, below `seq` `after` (0: from the newest).

    `read` gives the changes below a `seq`, as many as asked where there are so many; `parts` is what is wanted of
    what may be told of each. A change that only joined what is seen to what is not is left out, and the next one
    takes its place: a shorter page would tell of it. How far to read is bounded by the time of the request alone.
    """
    found: list[Told] = []
    size = limit
    while True:
        changes = await read(after, size)
        data: Sequence[Mapping[str, Any]] = await redacted(op, changes)
        if parts is not None:
            data = await parts(data)
        found += [(change, left) for change, left in zip(changes, data, strict=True) if left]
        if len(found) >= limit or len(changes) < size:
            return found[:limit]
        after, size = changes[-1].seq or 0, min(2 * size, MAX_PAGE)


async def redacted(op: Operation, changes: Sequence[Change]) -> list[Mapping[str, Any]]:
    """The `data` of each change without what the operation may not see; one statement for all of them."""
    if op.view.whole:
        return [change.data for change in changes]
    named = list(dict.fromkeys(id for change in changes for id in _named(change.data)))
    shown = await (await op.snapshot()).seen(named) if named else set()
    return [_without(op, change.data, shown) for change in changes]


def _named(data: Mapping[str, Any]) -> Iterable[str]:
    for part in _LISTS:
        yield from (entry[0] for entry in data.get(part, ()))
    for part in _TABLES:
        yield from data.get(part, {})
    for part in _EDGES:
        for source, _, target, *_ in data.get(part, ()):
            yield from (source, target)
    yield from _asked_about(data)


def _asked_about(data: Mapping[str, Any]) -> Iterable[str]:
    """The ids of what somebody asked about or fetched, where that was noted."""
    noted = data.get("noted")
    asked = noted.get("data") if isinstance(noted, Mapping) else None
    if isinstance(asked, Mapping):
        yield from (id for name in _THINGS if isinstance(id := asked.get(name), str))
    for texts in _on(data).values():
        yield from (text for text in texts if kind_of(text))


def _on(data: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """What a refusal, an admin's read or an export was about, by workspace."""
    noted = data.get("noted")
    inner = noted.get("data") if isinstance(noted, Mapping) else None
    on = next((part["on"] for part in (noted, inner) if isinstance(part, Mapping) and "on" in part), None)
    return on if isinstance(on, Mapping) else {}


def _noted(op: Operation, noted: Mapping[str, Any], shown: set[str]) -> Mapping[str, Any]:
    """What is told of what was noted: how often, and nothing that names what is hidden.

    What a note says that is not known here is not told: somebody wrote it who may see more.
    """
    left = {**_known(op, noted, shown), **({"count": noted["count"]} if "count" in noted else {})}
    inner = noted.get("data")
    return left | ({"data": _known(op, inner, shown)} if isinstance(inner, Mapping) else {})


def _known(op: Operation, said: Mapping[str, Any], shown: set[str]) -> Mapping[str, Any]:
    """What is told of one level of a note."""
    things = {name for name in _THINGS if name in said}
    seen = {name for name in things if said[name] in shown}
    told = _OPEN | seen | (_OF_FILES if op.caller.holds(ARTIFACT_READ) and seen == things else set())
    told |= {"on", "message"} if "on" in said else set()
    return _about(op, {name: part for name, part in said.items() if name in told}, shown)


def _about(op: Operation, said: Mapping[str, Any], shown: set[str]) -> Mapping[str, Any]:
    """What is told of what something was about, by workspace; what tells of it in one only where that is all of it."""
    if not isinstance(on := said.get("on"), Mapping):
        return said
    places, kinds = op.view.workspaces, op.view.kinds
    left = {
        place: [text for text in texts if (text in shown if kind_of(text) else kinds is None or _kind(text) in kinds)]
        for place, texts in on.items()
        if places is None or place in places
    }
    return {name: part for name, part in said.items() if left == on or name not in _OF_ALL} | {"on": left}


def _kind(address: str) -> str | None:
    """The kind of what an address names; None of what was cut off, or is no address."""
    try:
        return parse(address).kind
    except InvalidArgument:
        return None


def _open(op: Operation, id: str, value: Any) -> Any:
    """What is told of a node without what Lineal keeps to itself, and what needs another scope."""
    kind = kind_of(id)
    if kind is None or not isinstance(value, Mapping):
        return value
    shut = {p.name for p in kind.properties if p.private or (p.scope and not op.caller.holds(p.scope))}
    sides = {side: {n: v for n, v in value[side].items() if n not in shut} for side in value}
    return sides if any(sides.values()) else None


def _open_row(op: Operation, entry: Sequence[Any]) -> list[Any]:
    """What is told of a node that was made or deleted, in the same way."""
    id, kind, name, *props = entry
    sides = _open(op, id, {"props": props[0]}) if props else None
    return [id, kind, name, *([sides["props"]] if sides and sides["props"] else [])]


def _without(op: Operation, data: Mapping[str, Any], shown: set[str]) -> dict[str, Any]:
    left = dict(data)
    for part in _LISTS:
        if part in left:
            left[part] = [_open_row(op, entry) for entry in left[part] if entry[0] in shown]
    for part in _TABLES:
        if part in left:
            each = left[part].items()
            left[part] = {id: said for id, value in each if id in shown and (said := _open(op, id, value))}
    for part in _EDGES:
        if part in left:
            left[part] = [entry for entry in left[part] if {entry[0], entry[2]} <= shown]
    if isinstance(noted := left.get("noted"), Mapping):
        left["noted"] = _noted(op, noted, shown)
    if not op.caller.holds(ontology.METRICS_READ):
        left.pop("logged", None)
    # Of an import only totals are kept, and of whose they are nothing.
    left.pop("loaded", None)
    return {part: value for part, value in left.items() if value}
