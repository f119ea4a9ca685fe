"""What background work keeps, over one SQLite connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from graph.port import Kept
from graph.sqlite.reading import Reader
from graph.sqlite.where import Compiler


def kept(
    reader: Reader, owners: Sequence[str], states: Sequence[str], after: int | None, descending: bool, limit: int
) -> dict[str, list[Kept]]:
    """See Snapshot.kept."""
    sql = Compiler(reader.view)
    beyond = "" if after is None else f"AND n.number {'<' if descending else '>'} {sql.add(after)}"
    order = "DESC" if descending else ""
    first = (
        f"SELECT n.number FROM kept n WHERE n.owner = o.value AND n.state IN (SELECT value FROM {sql.array(states)}) "
        f"{beyond} ORDER BY n.number {order} LIMIT {sql.add(limit)}"
    )
    rows = reader.all(
        "kept",
        f"SELECT k.owner, k.number, k.state, k.data FROM {sql.array(dict.fromkeys(owners))} o "
        f"CROSS JOIN kept k ON k.owner = o.value AND k.number IN ({first}) ORDER BY k.owner, k.number {order}",
        sql.params,
    )
    found: dict[str, list[Kept]] = {}
    for owner, number, state, data in rows:
        found.setdefault(owner, []).append(Kept(owner, number, state, orjson.loads(data)))
    return found


def keep(writer: Reader, put: Sequence[Kept], drop: Mapping[str, Sequence[int] | None]) -> None:
    """See Transaction.keep."""
    whole = [(owner,) for owner, numbers in drop.items() if numbers is None]
    some = [(owner, number) for owner, numbers in drop.items() for number in numbers or ()]
    if whole:
        writer.many("keep", "DELETE FROM kept WHERE owner = ?", whole)
    if some:
        writer.many("keep", "DELETE FROM kept WHERE owner = ? AND number = ?", some)
    if put:
        writer.many(
            "keep",
            "INSERT OR REPLACE INTO kept (owner, number, state, data) VALUES (?, ?, ?, ?)",
            [(each.owner, each.number, each.state, orjson.dumps(dict(each.data)).decode()) for each in put],
        )


def explain(db: sqlite3.Connection, text: str) -> list[str]:
    """How SQLite goes about a statement (EXPLAIN QUERY PLAN), a step a line."""
    depths = {0: 0}
    lines = []
    # Values are parameters, so that no text of Lineal's has a question mark but these.
    nulls = (None,) * text.count("?") or _Nulls()
    for id, parent, _, detail in db.execute(f"EXPLAIN QUERY PLAN {text}", nulls):
        depths[id] = depths.get(parent, 0) + 1
        lines.append(f"{' ' * (depths[id] - 1)}{detail}")
    return lines


class _Nulls(dict[str, None]):
    """Parameters of any names: a plan does not depend on their values."""

    def __missing__(self, name: str) -> None:
        return None
