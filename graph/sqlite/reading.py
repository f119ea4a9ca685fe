"""The reading verbs over one SQLite connection, as plain functions of a worker thread."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import orjson

from graph import ontology
from graph.address import Address
from graph.cursors import ranked
from graph.port import (
    EVERYTHING,
    All,
    Chunk,
    Cursor,
    Edge,
    Hop,
    Link,
    Metric,
    Node,
    NodeRecord,
    Observer,
    Order,
    Page,
    Paging,
    Prop,
    Row,
    Statement,
    View,
    Where,
)
from graph.sqlite.migrations import OPEN
from graph.sqlite.where import TABLES, Compiler, edge_name, ends, kind_name
from graph.text import fold, normalize, query_tokens

NODE = (
    "n.id, n.kind, n.workspace, n.container, n.name, n.created_at, n.created_by, n.updated_at, n.revision, "
    "n.deleted_at, n.props"
)
EDGE = "e.kind, a.id, b.id, e.disc, e.since, e.until, e.props"
FEW = 1_000
"""What no more nodes than these have is looked up first, and put in order after."""
METRIC = "m.name, m.value, m.minimum, m.maximum, m.step, m.time, m.count"


def _lenient(raw: bytes) -> str:
    """The text of these bytes. Where they are no UTF-8 it ends with NUL, so that it is no text that Lineal wrote."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace") + "\0"


class Reader:
    """Reads from one connection, as one view sees it. `statements` counts what was sent."""

    def __init__(self, db: sqlite3.Connection, view: View, observer: Observer | None) -> None:
        self.db = db
        self.view = view
        self.statements = 0
        self._observer = observer

    def all(self, verb: str, sql: str, params: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        """Run a statement; every row of it."""
        started = time.perf_counter()
        self.statements += 1
        failed = True
        try:
            try:
                rows = self.db.execute(sql, params).fetchall()
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise
                rows = self._undecoded(sql, params)
            failed = False
            return rows
        finally:
            if self._observer:
                self._observer(Statement(verb, time.perf_counter() - started, failed, sql))

    def _undecoded(self, sql: str, params: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
        """Run a statement whose rows have what is no UTF-8: what somebody wrote there must not hide the rest."""
        self.db.text_factory = _lenient
        try:
            return self.db.execute(sql, params).fetchall()
        finally:
            self.db.text_factory = str

    def many(self, verb: str, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of these rows of parameters."""
        if not rows:
            return
        started = time.perf_counter()
        self.statements += 1
        failed = True
        try:
            self.db.executemany(sql, rows)
            failed = False
        finally:
            if self._observer:
                self._observer(Statement(verb, time.perf_counter() - started, failed, sql))

    def nodes(self, view: View, ids: Sequence[str]) -> dict[str, Node]:
        sql = Compiler(view)
        text = (
            f"SELECT {NODE} FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node n ON n.id = i.value "
            f"WHERE {sql.exists('n')} AND {sql.visible('n')}"
        )
        return {row[0]: node_of(row) for row in self.all("nodes", text, sql.params)}

    def resolve(self, addresses: Sequence[Address], as_of: int | None) -> list[Node | None]:
        """One statement: the named node by id, key or former key, then its part or alias."""
        sql = Compiler(self.view)
        wanted = sql.array([_wanted(a) for a in addresses])
        shown = f"{sql.exists('n', as_of)} AND {sql.visible('n')}"
        text = f"""
            WITH wanted AS (
                SELECT key AS place, value ->> 0 AS id, value ->> 1 AS name, value ->> 2 AS part, value ->> 3 AS alias
                FROM {wanted}),
            held AS (
                SELECT w.*, coalesce(
                    (SELECT n.k FROM node n WHERE n.id = w.id),
                    (SELECT n.k FROM node n WHERE n.key = w.name AND {shown}),
                    (SELECT n.k FROM former f JOIN node n ON n.k = f.node WHERE f.key = w.name AND {shown}),
                    {_tombstone(shown, as_of)}) AS holder
                FROM wanted w),
            found AS (
                SELECT h.place, CASE
                    WHEN h.alias IS NOT NULL THEN (
                        SELECT e.dst FROM edge e WHERE e.src = h.holder AND e.kind = 'ALIAS' AND e.disc = h.alias
                        AND {sql.live("e", as_of)} LIMIT 1)
                    WHEN h.part IS NOT NULL THEN coalesce(
                        (SELECT n.k FROM node c CROSS JOIN node n ON n.key =
                            substr(h.part, 1, instr(h.part, '/')) || c.id || substr(h.part, instr(h.part, '/'))
                        WHERE c.k = h.holder AND {sql.exists("n", as_of)}),
                        {_deleted_part(sql.exists("n", as_of), as_of)})
                    ELSE h.holder END AS k
                FROM held h)
            SELECT f.place, {NODE} FROM found f JOIN node n ON n.k = f.k WHERE {shown}"""
        found: list[Node | None] = [None] * len(addresses)
        for place, *row in self.all("resolve", text, sql.params):
            found[place] = node_of(row)
        return found

    def find(self, kind: str, where: Where | None, order: Order, paging: Paging) -> Page[Node]:
        hint = _index(kind, where, order)
        rare = [part for part in _parts(where) if (isinstance(part, Row) or not hint) and self._few(kind, part)]
        sql = Compiler(self.view, rare)
        values = [sql.order(kind, key) for key in order.keys]
        # The sign keeps the planner from going through all of the kind.
        of_kind = f"{'+' if rare else ''}n.kind = '{kind_name(kind)}'"
        matching = f"{of_kind} AND {sql.exists('n')} AND {sql.visible('n')} AND ({sql.where(kind, where)})"
        total = (
            self.all("find", f"SELECT count(*) FROM node n WHERE {matching}", sql.params)[0][0]
            if paging.count
            else None
        )
        rows = self.all(
            "find",
            f"SELECT {NODE}, {', '.join(values)} FROM node n {'' if rare else hint} WHERE {matching} "
            f"AND {sql.after(paging.after, values, order, 'n.id')} "
            f"ORDER BY {sql.sorted(values, order, 'n.id')} LIMIT {sql.add(paging.first + 1)}",
            sql.params,
        )
        end = -len(values)
        return page([(node_of(r[:end]), (*r[end:], r[0])) for r in rows], paging, total)

    def _few(self, kind: str, where: Where | None) -> bool:
        """Whether so few meet this that it is better to look at those than to go through all in order."""
        sql = Compiler(self.view)
        if not isinstance(where, (Row, Prop)) or (meeting := sql.meeting(kind, where)) is None:
            return False
        text = f"SELECT count(*) <= {FEW} FROM ({meeting} LIMIT {FEW + 1})"
        return bool(self.all("find", text, sql.params)[0][0])

    def neighbours(
        self, ids: Sequence[str], hop: Hop, where: Where | None, order: Order, paging: Paging
    ) -> dict[str, Page[Link]]:
        sql = Compiler(self.view)
        value = sql.order(hop.kind, order)
        tests = [sql.live("e"), sql.exists("n"), sql.visible("n"), f"({sql.where(hop.kind, where)})"]
        return self._links("neighbours", sql, ids, hop, tests, (value, order, ("n.id", "e.disc")), paging)

    def history(
        self, ids: Sequence[str], hop: Hop, discriminator: str | None, at: int | None, paging: Paging
    ) -> dict[str, Page[Link]]:
        sql = Compiler(self.view)
        tests = [sql.visible("n")]
        if at is not None:
            tests.append(sql.live("e", at))
        if discriminator is not None:
            tests.append(f"e.disc = {sql.add(discriminator)}")
        latest = ("e.since", Order("createdAt", descending=True), ("e.disc", "n.id"))
        return self._links("history", sql, ids, hop, tests, latest, paging)

    def _links(
        self,
        verb: str,
        sql: Compiler,
        ids: Sequence[str],
        hop: Hop,
        tests: list[str],
        by: tuple[str, Order, tuple[str, str]],
        paging: Paging,
    ) -> dict[str, Page[Link]]:
        """A page of links for each id: at most one statement, and another to count."""
        value, order, ties = by
        near, far = ends(hop)
        if hop.kind:
            tests = [*tests, f"n.kind = '{kind_name(hop.kind)}'"]
        source = (
            f"FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node s ON s.id = i.value AND {sql.visible('s')} "
            f"CROSS JOIN edge e ON e.{near} = s.k AND e.kind = '{edge_name(hop)}' CROSS JOIN node n ON n.k = e.{far} "
            f"WHERE {' AND '.join(tests)}"
        )
        totals: dict[str, int] = {}
        if paging.count:
            totals = dict(self.all(verb, f"SELECT s.id, count(*) {source} GROUP BY s.id", sql.params))
        sorting = sql.sorted([value], order, *ties)
        after = sql.after(paging.after, [value], order, *ties)
        rows = self.all(
            verb,
            f"SELECT * FROM (SELECT s.id, e.kind, e.disc, e.since, e.until, e.props, {value}, {NODE}, "
            f"row_number() OVER (PARTITION BY s.k ORDER BY {sorting}) AS place {source} AND {after}) "
            f"WHERE place <= {sql.add(paging.first + 1)} ORDER BY 1, place",
            sql.params,
        )
        found: dict[str, list[tuple[Link, Cursor]]] = {id: [] for id in ids}
        for id, kind, disc, since, until, props, place, *node, _ in rows:
            other = node_of(node)
            source_id, target_id = (id, other.id) if hop.direction == "OUT" else (other.id, id)
            edge = edge_of((kind, source_id, target_id, disc, since, until, props))
            cursor = (place, disc, other.id) if verb == "history" else (place, other.id, disc)
            found[id].append((Link(edge, other), cursor))
        return {id: page(items, paging, totals.get(id, 0) if paging.count else None) for id, items in found.items()}

    def rows(
        self, view: View, ids: Sequence[str], table: Literal["tags", "params"], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for id, name, value in self._owned("rows", Compiler(view), TABLES[table], "m.name, m.value", ids, names):
            found.setdefault(id, {})[name] = value
        return found

    def metrics(self, view: View, ids: Sequence[str], names: Sequence[str] | None = None) -> dict[str, list[Metric]]:
        found: dict[str, list[Metric]] = {}
        for id, *row in self._owned("metrics", Compiler(view), "metric", METRIC, ids, names):
            found.setdefault(id, []).append(metric_of(row))
        return found

    def _owned(
        self, verb: str, sql: Compiler, table: str, columns: str, ids: Sequence[str], names: Sequence[str] | None
    ) -> list[Any]:
        if not ids:
            return []
        named = "" if names is None else f"AND m.name IN (SELECT value FROM {sql.array(names)})"
        return self.all(
            verb,
            f"SELECT n.id, {columns} FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node n ON n.id = i.value "
            f"CROSS JOIN {table} m ON m.owner = n.k WHERE {sql.visible('n')} {named} ORDER BY i.key, m.name",
            sql.params,
        )

    def points(self, ids: Sequence[str], names: Sequence[str] | None, after: int, chunks: int) -> list[Chunk]:
        sql = Compiler(self.view)
        tests = f"{sql.visible('n')} AND c.number > {sql.add(after)} AND c.number <= {sql.add(after + chunks)}"
        named = "" if names is None else f"AND c.name IN (SELECT value FROM {sql.array(names)})"
        rows = self.all(
            "points",
            f"SELECT n.id, c.name, c.number, c.points FROM {sql.array(dict.fromkeys(ids))} i "
            f"CROSS JOIN node n ON n.id = i.value CROSS JOIN chunk c ON c.owner = n.k "
            f"WHERE {tests} {named} ORDER BY 1, 2, 3",
            sql.params,
        )
        return [Chunk(id, name, number, points_of(text)) for id, name, number, text in rows]

    def search(self, text: str, kinds: Sequence[str] | None, paging: Paging) -> Page[Node]:
        words = query_tokens(text)
        if not words or kinds == []:
            return Page(total=0 if paging.count else None)
        sql = Compiler(self.view)
        match = sql.add(" AND ".join(f'"{word}"*' for word in words))
        tests = [f"search MATCH {match}", sql.exists("n"), sql.visible("n")]
        if kinds is not None:
            tests.append(f"n.kind IN (SELECT value FROM {sql.array(kinds)})")
        source = f"FROM search JOIN node n ON n.k = search.rowid WHERE {' AND '.join(tests)}"
        total = self.all("search", f"SELECT count(*) {source}", sql.params)[0][0] if paging.count else None
        name = sql.add(fold(text.strip()))
        rank = f"n.sort != {name}, substr(n.sort, 1, length({name})) != {name}, n.sort, n.id"
        after = "1"
        if paging.after is not None:
            after = f"({rank}) > ({', '.join(sql.add(v) for v in ranked(paging.after))})"
        rows = self.all(
            "search",
            f"SELECT {NODE}, {rank} {source} AND {after} ORDER BY {rank} LIMIT {sql.add(paging.first + 1)}",
            sql.params,
        )
        return page([(node_of(r[:-4]), tuple(r[-4:])) for r in rows], paging, total)

    def records(self, after: str, limit: int) -> list[NodeRecord]:
        rows = self.all("records", f"SELECT {NODE} FROM node n WHERE n.id > ? ORDER BY n.id LIMIT ?", (after, limit))
        return self._whole([node_of(row) for row in rows])

    def records_of(self, ids: Iterable[str]) -> dict[str, NodeRecord]:
        sql = Compiler(self.view)
        text = f"SELECT {NODE} FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node n ON n.id = i.value"
        return {r.node.id: r for r in self._whole([node_of(row) for row in self.all("records", text, sql.params)])}

    def _whole(self, nodes: Sequence[Node]) -> list[NodeRecord]:
        ids = [n.id for n in nodes]
        tags, params = (self.rows(EVERYTHING, ids, table) for table in ("tags", "params"))
        metrics = self.metrics(EVERYTHING, ids)
        sql = Compiler(self.view)
        former: dict[str, list[str]] = {}
        for id, key in self.all(
            "records",
            f"SELECT n.id, f.key FROM {sql.array(ids)} i CROSS JOIN node n ON n.id = i.value "
            "CROSS JOIN former f ON f.node = n.k ORDER BY f.key",
            sql.params,
        ):
            former.setdefault(id, []).append(key)
        return [
            NodeRecord(n, former.get(n.id, []), tags.get(n.id, {}), params.get(n.id, {}), metrics.get(n.id, []))
            for n in nodes
        ]

    def edges_from(self, ids: Sequence[str]) -> list[Edge]:
        sql = Compiler(self.view)
        rows = self.all(
            "edges_from",
            f"SELECT {EDGE} FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node a ON a.id = i.value "
            "CROSS JOIN edge e ON e.src = a.k CROSS JOIN node b ON b.k = e.dst "
            "ORDER BY a.id, e.kind, b.id, e.disc, e.since",
            sql.params,
        )
        return [edge_of(row) for row in rows]


def _index(kind: str, where: Where | None, order: Order) -> str:
    """What SQLite would choose otherwise without statistics: it would sort all versions rather than read a page off
    the index of their numbers, and read all of a kind in order rather than sort the parts of a few containers.
    """
    by_number = order.metric is None and order.by == "number" and not order.then
    if where is None and by_number:
        return f"INDEXED BY node_{kind_name(kind)}_number"
    held = any(isinstance(w, Prop) and w.name == "container" and w.op in {"eq", "in"} for w in _parts(where))
    return "INDEXED BY node_container" if held and not by_number else ""


def _parts(where: Where | None) -> Sequence[Where | None]:
    """The conditions that must all be met."""
    return [part for each in where.of for part in _parts(each)] if isinstance(where, All) else [where]


def _wanted(address: Address) -> list[str | None]:
    if address.id:
        return [address.id, None, None, None]
    kind = ontology.NODE_KINDS[address.kind]
    whole = ontology.NODE_KINDS[kind.within] if kind.within else kind
    key = ontology.key_of(whole, address.workspace, None, address.name)
    part = f"{kind.name}/{normalize(address.part)}" if address.part is not None else None
    return [None, key, part, address.alias]


def _tombstone(shown: str, as_of: int | None) -> str:
    """A node that had the name at that time and is deleted since: its key is free, its name is kept."""
    if as_of is None:
        return "NULL"
    return f"""(SELECT n.k FROM node n WHERE n.deleted_at IS NOT NULL AND {shown}
        AND w.name = n.kind || '/' || iif(n.kind = '{ontology.WORKSPACE.name}', '{ontology.GLOBAL}', n.workspace)
            || '/' || n.name LIMIT 1)"""


def _deleted_part(exists: str, as_of: int | None) -> str:
    """The same for a part of what was named."""
    if as_of is None:
        return "NULL"
    return f"""(SELECT n.k FROM node c JOIN node n ON n.container = c.id
        AND n.kind = substr(h.part, 1, instr(h.part, '/') - 1) AND n.name = substr(h.part, instr(h.part, '/') + 1)
        WHERE c.k = h.holder AND n.deleted_at IS NOT NULL AND {exists} LIMIT 1)"""


def node_of(row: Sequence[Any]) -> Node:
    """A row of NODE."""
    id, kind, workspace, container, name, created_at, created_by, updated_at, revision, deleted_at, props = row
    return Node(
        id,
        kind,
        workspace,
        container,
        name,
        created_at,
        created_by,
        updated_at,
        revision,
        deleted_at,
        orjson.loads(props),
    )


def edge_of(row: Sequence[Any]) -> Edge:
    """A row of EDGE."""
    kind, source, target, disc, since, until, props = row
    return Edge(
        kind, source, target, disc, since, None if until == OPEN else until, orjson.loads(props) if props else {}
    )


def metric_of(row: Sequence[Any]) -> Metric:
    """A row of METRIC; SQLite keeps NaN as NULL."""
    name, *figures, step, at, count = row
    value, minimum, maximum = (math.nan if f is None else f for f in figures)
    return Metric(name, value, minimum, maximum, step, at, count)


def points_of(text: str) -> list[tuple[float, int, int]]:
    """The points of a chunk."""
    return [(float(value), step, at) for value, step, at in json.loads(text)]


def page(items: Sequence[tuple[Any, Cursor]], paging: Paging, total: int | None) -> Page[Any]:
    """A page of what was read one item further than asked for."""
    shown = items[: paging.first]
    return Page([i for i, _ in shown], [c for _, c in shown], len(items) > paging.first, total)
