"""The writing primitives over one SQLite connection, as plain functions of a worker thread."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import orjson

from graph import ontology
from graph.port import CHUNK, MOVED, WRITES, Chunk, Edge, EdgeMatch, Metric, Remembered, held
from graph.recording import EdgeEnds, Series, Stored
from graph.sqlite.migrations import OPEN
from graph.sqlite.reading import EDGE, Reader, edge_of
from graph.sqlite.where import TABLES, Compiler
from lineal.errors import Conflict

KEEP_KEYS = 7 * 24 * 3600 * 1_000_000
"""How long idempotency keys are remembered, in microseconds."""

WALKABLE = ", ".join(f"'{name}'" for name in ontology.WALKABLE_EDGES)


class Writer(Reader):
    """Writes to one connection, inside a transaction that somebody else begins and ends."""

    def now(self, clock: int, *, always: bool = False) -> int:
        """The time of this transaction: the clock's, but always after the last one's.

        Raises Unavailable: somebody holds all writes, unless it goes on `always`.
        """
        text = """SELECT (SELECT at FROM change ORDER BY seq DESC LIMIT 1),
            (SELECT holder FROM lease WHERE name IN (?, ?) AND until > ? LIMIT 1)"""
        ((last, holder),) = self.all("begin", text, (WRITES, MOVED, clock))
        if holder is not None and not always:
            raise held(holder)
        return clock if last is None else max(clock, last + 1)

    def keys(self, ids: Iterable[str]) -> dict[str, int]:
        """The integer keys of nodes."""
        sql = Compiler(self.view)
        text = f"SELECT n.id, n.k FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node n ON n.id = i.value"
        return dict(self.all("keys", text, sql.params))

    def kinds_of(self, ids: Iterable[str]) -> dict[str, str]:
        """The kinds of nodes, deleted ones too."""
        sql = Compiler(self.view)
        text = f"SELECT n.id, n.kind FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node n ON n.id = i.value"
        return dict(self.all("kinds", text, sql.params))

    def holders(self, keys: Sequence[str]) -> dict[str, str]:
        if not keys:
            return {}
        sql = Compiler(self.view)
        text = f"SELECT n.key, n.id FROM {sql.array(keys)} i CROSS JOIN node n ON n.key = i.value"
        return dict(self.all("holders", text, sql.params))

    def former_workspaces(self, names: Sequence[str]) -> set[str]:
        sql = Compiler(self.view)
        text = f"SELECT n.name FROM {sql.array(names)} i CROSS JOIN node n ON n.name = i.value"
        return {name for (name,) in self.all("holders", f"{text} WHERE n.kind = 'Workspace'", sql.params)}

    def insert_nodes(self, nodes: Sequence[Stored]) -> None:
        self.many(
            "create",
            "INSERT INTO node (id, kind, workspace, container, key, name, sort, created_at, created_by, updated_at, "
            "revision, deleted_at, props) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (n.id, n.kind, n.workspace, n.container, s.key or None, n.name, ontology.sort_key(n.name), n.created_at,
                 n.created_by, n.updated_at, n.revision, n.deleted_at, _json(n.props))
                for s in nodes for n in (s.node,)
            ],
        )  # fmt: skip
        self.many(
            "create",
            "INSERT INTO search (rowid, tokens) SELECT k, ? FROM node WHERE id = ?",
            [(s.search, s.node.id) for s in nodes if s.search],
        )

    def insert_former(self, former: Sequence[tuple[str, str]]) -> None:
        """Keep old keys: (key, id). The last node that had a key is the one it leads to."""
        self.many("update", "INSERT OR REPLACE INTO former (key, node) SELECT ?, k FROM node WHERE id = ?", former)

    def rewrite_nodes(self, nodes: Sequence[Stored]) -> None:
        self.many(
            "update",
            "UPDATE node SET updated_at = ?, revision = ?, props = ? WHERE id = ?",
            [(n.updated_at, n.revision, _json(n.props), n.id) for s in nodes for n in (s.node,)],
        )
        # Only with its key, a node's name changes and it goes away: writing them always would rewrite their indexes.
        if keyed := [(s.key or None, s.node) for s in nodes if s.key is not None]:
            self.many("update", "UPDATE node SET key = NULL WHERE id = ?", [(n.id,) for _, n in keyed])
            self.many(
                "update",
                "UPDATE node SET key = ?, name = ?, sort = ?, deleted_at = ? WHERE id = ?",
                [(key, n.name, ontology.sort_key(n.name), n.deleted_at, n.id) for key, n in keyed],
            )
        if texts := [(s.search, s.node.id) for s in nodes if s.search is not None]:
            self.many(
                "update", "DELETE FROM search WHERE rowid = (SELECT k FROM node WHERE id = ?)", [(i,) for _, i in texts]
            )
            self.many(
                "update",
                "INSERT INTO search (rowid, tokens) SELECT k, ? FROM node WHERE id = ?",
                [(text, id) for text, id in texts if text],
            )
        if former := [(s.former, s.node.id) for s in nodes if s.former]:
            self.insert_former(former)

    # Edges ────────────────────────────────────────────────────────────────────────────────────────

    def open_edges(self, ends: Sequence[EdgeEnds]) -> list[Edge]:
        sql = Compiler(self.view)
        text = f"""SELECT {EDGE} FROM {sql.array(ends)} i CROSS JOIN node a ON a.id = i.value ->> 1
            CROSS JOIN node b ON b.id = i.value ->> 2 CROSS JOIN edge e ON e.src = a.k AND e.kind = i.value ->> 0
            AND e.dst = b.k AND e.disc = i.value ->> 3 WHERE e.until = {OPEN}"""
        return [edge_of(row) for row in self.all("edges", text, sql.params)]

    def recorded(self, edges: Sequence[Edge]) -> list[Edge]:
        sql = Compiler(self.view)
        wanted = [(e.kind, e.source, e.target, e.discriminator, e.since) for e in edges]
        text = f"""SELECT {EDGE} FROM {sql.array(wanted)} i CROSS JOIN node a ON a.id = i.value ->> 1
            CROSS JOIN node b ON b.id = i.value ->> 2 CROSS JOIN edge e ON e.src = a.k AND e.kind = i.value ->> 0
            AND e.dst = b.k AND e.disc = i.value ->> 3 AND e.since = i.value ->> 4"""
        return [edge_of(row) for row in self.all("edges", text, sql.params)]

    def held(self, open_keys: Sequence[str]) -> dict[str, Edge]:
        if not open_keys:
            return {}
        sql = Compiler(self.view)
        text = f"""SELECT e.open_key, {EDGE} FROM {sql.array(open_keys)} i CROSS JOIN edge e ON e.open_key = i.value
            CROSS JOIN node a ON a.k = e.src CROSS JOIN node b ON b.k = e.dst"""
        return {key: edge_of(row) for key, *row in self.all("edges", text, sql.params)}

    def matching(self, matches: Sequence[EdgeMatch]) -> list[Edge]:
        found: dict[tuple[Any, ...], Edge] = {}
        for match in matches:
            tests, params = [f"e.kind = ? AND e.until = {OPEN}"], [match.kind]
            for column, value in (("a.id", match.source), ("b.id", match.target), ("e.disc", match.discriminator)):
                if value is not None:
                    tests.append(f"{column} = ?")
                    params.append(value)
            start = "node a JOIN edge e ON e.src = a.k JOIN node b ON b.k = e.dst"
            if match.source is None:
                start = "node b JOIN edge e ON e.dst = b.k JOIN node a ON a.k = e.src"
            for row in self.all("edges", f"SELECT {EDGE} FROM {start} WHERE {' AND '.join(tests)}", params):
                found[tuple(row[:5])] = edge_of(row)
        return list(found.values())

    def open_edges_of(self, ids: Sequence[str]) -> list[Edge]:
        sql = Compiler(self.view)
        array = sql.array(ids)
        text = f"""SELECT {EDGE} FROM {array} i CROSS JOIN node a ON a.id = i.value CROSS JOIN edge e ON e.src = a.k
            CROSS JOIN node b ON b.k = e.dst WHERE e.until = {OPEN} UNION
            SELECT {EDGE} FROM {array} i CROSS JOIN node b ON b.id = i.value CROSS JOIN edge e ON e.dst = b.k
            CROSS JOIN node a ON a.k = e.src WHERE e.until = {OPEN}"""
        return [edge_of(row) for row in self.all("edges", text, sql.params)]

    def insert_edges(self, edges: Sequence[tuple[Edge, str | None]]) -> None:
        self.many(
            "link",
            "INSERT INTO edge (src, kind, dst, disc, since, until, open_key, props) VALUES "
            "((SELECT k FROM node WHERE id = ?), ?, (SELECT k FROM node WHERE id = ?), ?, ?, ?, ?, ?)",
            [
                (e.source, e.kind, e.target, e.discriminator, e.since, OPEN if e.until is None else e.until, key,
                 _json(e.props) if e.props else None)
                for e, key in edges
            ],
        )  # fmt: skip

    def rewrite_edges(self, edges: Sequence[Edge]) -> None:
        k = self.keys(id for e in edges for id in (e.source, e.target))
        self.many(
            "link",
            "UPDATE edge SET props = ? WHERE src = ? AND kind = ? AND dst = ? AND disc = ? AND since = ?",
            [
                (_json(e.props) if e.props else None, k[e.source], e.kind, k[e.target], e.discriminator, e.since)
                for e in edges
            ],
        )

    def end_edges(self, edges: Sequence[Edge], now: int) -> None:
        k = self.keys(id for e in edges for id in (e.source, e.target))
        rows = [(k[e.source], e.kind, k[e.target], e.discriminator, e.since) for e in edges]
        identity = "src = ? AND kind = ? AND dst = ? AND disc = ? AND since = ?"
        self.many("unlink", f"DELETE FROM edge WHERE {identity}", [r for r in rows if r[-1] >= now])
        self.many(
            "unlink",
            f"UPDATE edge SET until = ?, open_key = NULL WHERE {identity}",
            [(now, *row) for row in rows if row[-1] < now],
        )

    def cycle(self, edges: Sequence[Edge]) -> list[str] | None:
        """One statement tells whether there is a cycle; only then is its path looked for."""
        k = self.keys(id for e in edges for id in (e.source, e.target))
        sql = Compiler(self.view)
        above = f"""WITH RECURSIVE above (k) AS (SELECT value FROM {sql.array({k[e.target] for e in edges})}
            UNION SELECT e.dst FROM above
            JOIN edge e ON e.src = above.k AND e.kind IN ({WALKABLE}) AND e.until = {OPEN})
            SELECT k FROM above WHERE k IN (SELECT value FROM {sql.array({k[e.source] for e in edges})})"""
        reached = {row[0] for row in self.all("cycle", above, sql.params)}
        for edge in edges:
            if k[edge.source] in reached and (path := self._way(k[edge.target], k[edge.source])):
                ids = dict(self.all("cycle", *_ids_of(path)))
                return [ids[key] for key in path]
        return None

    def _way(self, start: int, goal: int) -> list[int] | None:
        """A shortest way upstream, by integer key."""
        came: dict[int, int | None] = {start: None}
        level = [start]
        while level and goal not in came:
            sql = Compiler(self.view)
            text = f"""SELECT e.src, e.dst FROM {sql.array(level)} i CROSS JOIN edge e ON e.src = i.value
                AND e.kind IN ({WALKABLE}) WHERE e.until = {OPEN}"""
            level = []
            for near, far in self.all("cycle", text, sql.params):
                if far not in came:
                    came[far] = near
                    level.append(far)
        if goal not in came:
            return None
        path: list[int] = []
        at: int | None = goal
        while at is not None:
            path.append(at)
            at = came[at]
        return path[::-1]

    # What nodes own ───────────────────────────────────────────────────────────────────────────────

    def write_rows(self, table: Literal["tags", "params"], rows: Sequence[tuple[str, str, str | None]]) -> None:
        name = TABLES[table]
        self.many(
            "rows",
            f"INSERT INTO {name} (owner, name, value) SELECT k, ?, ? FROM node WHERE id = ? "
            "ON CONFLICT (owner, name) DO UPDATE SET value = excluded.value",
            [(row, value, id) for id, row, value in rows if value is not None],
        )
        self.many(
            "rows",
            f"DELETE FROM {name} WHERE owner = (SELECT k FROM node WHERE id = ?) AND name = ?",
            [(id, row) for id, row, value in rows if value is None],
        )

    def append(self, series: Sequence[Series]) -> None:
        k = self.keys(s.owner for s in series)
        self.insert_metrics([(s.owner, s.metric) for s in series])
        for s in series:
            owner = k[s.owner]
            points = [(p.value, p.step, p.time) for p in s.points]
            number, filled = divmod(s.start, CHUNK)
            if filled:
                row = self.all(
                    "points",
                    "SELECT points FROM chunk WHERE owner = ? AND name = ? AND number = ?",
                    (owner, s.metric.name, number),
                )
                points = [*json.loads(row[0][0]), *points]
            self.many(
                "points",
                "INSERT OR REPLACE INTO chunk (owner, name, number, points) VALUES (?, ?, ?, ?)",
                [
                    (
                        owner,
                        s.metric.name,
                        number + i,
                        json.dumps(points[i * CHUNK : (i + 1) * CHUNK], separators=(",", ":")),
                    )
                    for i in range(-(-len(points) // CHUNK))
                ],
            )

    def insert_metrics(self, metrics: Sequence[tuple[str, Metric]]) -> None:
        self.many(
            "metrics",
            "INSERT OR REPLACE INTO metric (owner, name, value, minimum, maximum, step, time, count) "
            "SELECT k, ?, ?, ?, ?, ?, ?, ? FROM node WHERE id = ?",
            [
                (
                    m.name,
                    *(None if math.isnan(v) else v for v in (m.value, m.minimum, m.maximum)),
                    m.step,
                    m.time,
                    m.count,
                    id,
                )
                for id, m in metrics
            ],
        )

    def insert_chunks(self, chunks: Sequence[Chunk]) -> int:
        k = self.keys(c.owner for c in chunks)
        new = 0
        for c in chunks:
            text = json.dumps(list(c.points), separators=(",", ":"))
            place = (k[c.owner], c.name, c.number)
            there = self.all("points", "SELECT points FROM chunk WHERE owner = ? AND name = ? AND number = ?", place)
            if not there:
                self.many(
                    "points", "INSERT INTO chunk (owner, name, number, points) VALUES (?, ?, ?, ?)", [(*place, text)]
                )
                new += 1
            elif there[0][0] != text:
                msg = f"points: chunk {c.number} of {c.name!r} of {c.owner} is here already, with other content"
                raise Conflict(msg, field="points")
        return new

    # Idempotency keys ─────────────────────────────────────────────────────────────────────────────

    def recall(self, principal: str, key: str, now: int) -> Remembered | None:
        rows = self.all(
            "recall",
            "SELECT hash, ids FROM idempotency WHERE principal = ? AND key = ? AND at > ?",
            (principal, key, now - KEEP_KEYS),
        )
        return Remembered(rows[0][0], orjson.loads(rows[0][1])) if rows else None

    def remember(self, principal: str, key: str, hash: str, ids: Sequence[str], now: int) -> None:
        self.many("remember", "DELETE FROM idempotency WHERE at <= ?", [(now - KEEP_KEYS,)])
        self.many(
            "remember",
            "INSERT INTO idempotency (principal, key, hash, ids, at) VALUES (?, ?, ?, ?, ?)",
            [(principal, key, hash, _json(list(ids)), now)],
        )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _ids_of(keys: Sequence[int]) -> tuple[str, dict[str, Any]]:
    return (
        "SELECT n.k, n.id FROM json_each(:keys) i CROSS JOIN node n ON n.k = i.value",
        {"keys": orjson.dumps(keys).decode()},
    )
