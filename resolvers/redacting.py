"""Changes, as somebody may see them: without what names a hidden node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graph import ontology
from graph.ids import kind_of
from graph.port import Change
from resolvers.operation import Operation

_LISTS = ("created", "deleted")
_TABLES = ("updated", "logged")
_EDGES = ("linked", "unlinked")


async def redacted(op: Operation, changes: Sequence[Change]) -> list[Mapping[str, Any]]:
    """The `data` of each change without what the operation may not see; one statement for all of them."""
    if op.view.whole:
        return [change.data for change in changes]
    named = list(dict.fromkeys(id for change in changes for id in _named(change.data)))
    shown = await (await op.snapshot()).seen(named) if named else set()
    return [_without(change.data, shown) for change in changes]


def _named(data: Mapping[str, Any]) -> Iterable[str]:
    for part in _LISTS:
        yield from (entry[0] for entry in data.get(part, ()))
    for part in _TABLES:
        yield from data.get(part, {})
    for part in _EDGES:
        for source, _, target, *_ in data.get(part, ()):
            yield from (source, target)


def _open(id: str, value: Any) -> Any:
    """What is told of a node without what Lineal keeps to itself about people and teams."""
    kind = kind_of(id)
    if kind not in {ontology.PRINCIPAL, ontology.TEAM} or not isinstance(value, Mapping):
        return value
    own = {prop.name for prop in kind.properties if prop.internal}
    sides = {side: {n: v for n, v in value[side].items() if n not in own} for side in value}
    return sides if any(sides.values()) else None


def _without(data: Mapping[str, Any], shown: set[str]) -> dict[str, Any]:
    left = dict(data)
    for part in _LISTS:
        if part in left:
            left[part] = [entry for entry in left[part] if entry[0] in shown]
    for part in _TABLES:
        if part in left:
            left[part] = {id: said for id, value in left[part].items() if id in shown and (said := _open(id, value))}
    for part in _EDGES:
        if part in left:
            left[part] = [entry for entry in left[part] if {entry[0], entry[2]} <= shown]
    # Of an import only totals are kept, and of whose they are nothing.
    left.pop("loaded", None)
    return {part: value for part, value in left.items() if value}
