"""A write in progress: the primitives that graph.writing asks for, each one statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import orjson

from graph import ontology
from graph.neo4j import edges as edge_texts
from graph.neo4j import restoring, seeing
from graph.neo4j.codec import (
    HEAD,
    OPEN,
    SATELLITES,
    change_props,
    edge_props,
    metric_figures,
    node_of,
    node_props,
    number_of,
    record_of,
    whole_edge_of,
)
from graph.neo4j.faults import Again
from graph.neo4j.reading import RECORD, Reading
from graph.neo4j.running import CURRENT, Runner, locked, store_time
from graph.neo4j.where import Compiler
from graph.port import (
    CHUNK,
    EVERYTHING,
    NO_DROPS,
    Aside,
    Change,
    Chunk,
    Edge,
    EdgeMatch,
    Kept,
    Lease,
    Metric,
    Node,
    NodeRecord,
    Point,
    Remembered,
    lost,
)
from graph.recording import ChangeLog, EdgeEnds, Series, Stored
from graph.writing import Writing
from lineal.errors import Conflict, NotFound

KEEP_KEYS = 7 * 24 * 3600 * 1_000_000
"""How long idempotency keys are remembered, in microseconds."""

HELD: Final = f"""
    CALL () {{
        UNWIND $targets AS i MATCH (n:Entity {{id: i}}) {locked("n")}
        WITH collect(n) AS ns RETURN [n IN ns WHERE n.deletedAt IS NOT NULL | n.id] AS gone
    }}"""
"""The ids of those `targets` that are deleted; the others are not deleted before this write is committed."""


class Neo4jTransaction(Writing, Reading):
    """Reads what is there now, its own writes included, and locks what it is about to write.

    `now` is settled when it is asked for first; a lock before that may have had to wait, and moves it on,
    so that what a transaction ends did begin before.
    """

    def __init__(self, runner: Runner, by: str, attempt: int) -> None:
        Writing.__init__(self, by)
        Reading.__init__(self, runner, EVERYTHING)
        runner.moment = CURRENT
        self._time = 0
        self._settled = False
        self._attempt = attempt
        self._targets: set[str] = set()

    @property
    def now(self) -> int:  # type: ignore[override]
        """The store's time, which everything in this transaction is stamped with."""
        self._settled = True
        return self._time

    def _believe(self, stored: Any) -> Node:
        return node_of(stored)

    async def _ask(self, verb: str, body: str, params: Mapping[str, Any], as_of: int | None = None) -> Any:
        """As a snapshot's, but with the driver's errors, by which `write` tells whether to try again."""
        return await self._runner.ask(verb, body, params, as_of)

    async def _run(self, verb: str, text: str, **params: Any) -> Any:
        """The one value of the statement's one record. Raises the driver's errors; `write` sorts them out."""
        return (await self._runner.run(verb, text, params))[0]

    async def begin(self, change: str) -> int | None:
        """Take the store's time; returns the number of the attempt that has committed this change already."""
        text = f"{store_time()} OPTIONAL MATCH (c:Change {{id: $id}}) RETURN now, c.attempt"
        self._time, committed = await self._runner.run("begin", text, {"id": change})
        return None if committed is None else int(committed)

    async def _locked(self, ids: Sequence[str]) -> dict[str, Node]:
        if not ids:
            return {}
        now, rows = await self._runner.run(
            "lock",
            f"""UNWIND $ids AS i MATCH (n:Entity {{id: i}}) {locked("n")} WITH collect(n) AS ns
            {store_time("ns")}
            RETURN now, [n IN ns WHERE n.deletedAt IS NULL | n {{.*, search: null}}]""",
            {"ids": sorted(set(ids))},
        )
        found = {row["id"]: node_of(row) for row in rows}
        if not self._settled:
            self._time = max(self._time, now)
        elif any(node.updated_at > self._time for node in found.values()):
            msg = "a node was changed after the time that this transaction writes for"
            raise Again(msg)
        return {id: found[id] for id in ids if id in found}

    async def unseen_dependants(self, ids: Sequence[str]) -> bool:
        q = Compiler(self.view)
        body = seeing.unseen_dependants_text(q, ids)
        return bool(await self._ask("edges", body, q.params))

    async def _rows_of(self, ids: Sequence[str], table: Literal["tags", "params"]) -> dict[str, dict[str, str]]:
        return await self._rows(EVERYTHING, ids, table)

    async def _metrics_of(self, ids: Sequence[str]) -> dict[str, list[Metric]]:
        return await self._metrics(EVERYTHING, ids)

    async def recall(self, key: str) -> Remembered | None:
        found = await self._run(
            "recall",
            f"""MERGE (i:Idempotency {{principal: $by, key: $key}}) ON CREATE SET i.at = $now
            {locked("i")} WITH collect(i) AS all
            RETURN [i IN all WHERE i.hash IS NOT NULL AND i.at > $since | [i.hash, i.ids]]""",
            by=self.by, key=key, now=self._time, since=self._time - KEEP_KEYS,
        )  # fmt: skip
        return Remembered(*found[0]) if found else None

    async def remember(self, key: str, hash: str, ids: Sequence[str]) -> None:
        await self._run(
            "remember",
            """MERGE (i:Idempotency {principal: $by, key: $key}) SET i.hash = $hash, i.ids = $ids, i.at = $now
            RETURN count(*)""",
            by=self.by, key=key, hash=hash, ids=list(ids), now=self.now,
        )  # fmt: skip

    async def keep(self, put: Sequence[Kept], *, drop: Mapping[str, Sequence[int] | None] = NO_DROPS) -> None:
        await self._run(
            "keep",
            """
            CALL () { UNWIND $whole AS o MATCH (k:Kept {owner: o}) DELETE k }
            CALL () { UNWIND $some AS r MATCH (k:Kept {owner: r[0], number: r[1]}) DELETE k }
            CALL () {
                UNWIND $put AS r MERGE (k:Kept {owner: r[0], number: r[1]}) SET k.state = r[2], k.data = r[3]
            }
            RETURN true""",
            whole=[owner for owner, numbers in drop.items() if numbers is None],
            some=[[owner, number] for owner, numbers in drop.items() for number in numbers or ()],
            put=[[k.owner, k.number, k.state, orjson.dumps(dict(k.data)).decode()] for k in put],
        )

    async def put_back(self, part: Aside) -> None:
        await restoring.put_back(self._runner, part)
        await self.keep(part.kept)

    async def fence(self, lease: Lease) -> None:
        holds = await self._run(
            "fence",
            f"""OPTIONAL MATCH (l:Lease {{name: $name}}) {locked("l")}
            {store_time("l")}
            RETURN coalesce(l.holder = $holder AND l.epoch = $epoch AND l.until > now, false)""",
            name=lease.name, holder=lease.holder, epoch=lease.epoch,
        )  # fmt: skip
        if not holds:
            raise lost(lease)

    # Nodes ────────────────────────────────────────────────────────────────────────────────────────

    async def _holders(self, keys: Sequence[str]) -> dict[str, str]:
        if not keys:
            return {}
        text = "UNWIND $keys AS k MATCH (n:Entity {key: k}) RETURN collect([k, n.id])"
        return dict(await self._run("holders", text, keys=list(keys)))

    async def _former_workspaces(self, names: Sequence[str]) -> set[str]:
        text = f"""
            MERGE (m:Meta {{name: 'workspaces'}}) {locked("m")} WITH count(*) AS one
            MATCH (n:Workspace) WHERE n.name IN $names RETURN collect(n.name)"""
        return set(await self._run("holders", text, names=list(names)))

    async def _insert_nodes(self, nodes: Sequence[Stored]) -> None:
        if not nodes:
            return
        kinds = sorted({s.node.kind for s in nodes})
        creates = " ".join(
            f"CALL () {{ UNWIND ${kind} AS r CREATE (n:Entity:{ontology.NODE_KINDS[kind].name}) SET n = r }}"
            for kind in kinds
        )
        rows = {kind: [node_props(s) for s in nodes if s.node.kind == kind] for kind in kinds}
        await self._run("create", f"{creates} RETURN true", **rows)
        await self._insert_former([(s.former, s.node.id) for s in nodes if s.former])

    async def _insert_former(self, former: Sequence[tuple[str, str]]) -> None:
        if former:
            text = "UNWIND $rows AS r MERGE (f:Former {key: r[0]}) SET f.id = r[1] RETURN count(*)"
            await self._run("former", text, rows=[list(row) for row in former])

    async def _rewrite_nodes(self, nodes: Sequence[Stored]) -> None:
        if not nodes:
            return
        rows = [node_props(s) for s in nodes]
        # Keys are freed before any is given, so that two nodes may exchange theirs.
        freed = [s.node.id for s in nodes if s.key is not None]
        free = "CALL () { UNWIND $freed AS i MATCH (n:Entity {id: i}) SET n.key = null }" if freed else ""
        text = f"{free} CALL () {{ UNWIND $rows AS r MATCH (n:Entity {{id: r.id}}) SET n += r }} RETURN true"
        await self._run("update", text, rows=rows, freed=freed)
        await self._insert_former([(s.former, s.node.id) for s in nodes if s.former])

    async def _kinds_of(self, ids: Sequence[str]) -> dict[str, str]:
        text = "UNWIND $ids AS i MATCH (n:Entity {id: i}) RETURN collect([i, n.kind])"
        return dict(await self._run("kinds", text, ids=list(dict.fromkeys(ids))))

    async def _records_of(self, ids: Sequence[str]) -> dict[str, NodeRecord]:
        text = f"UNWIND $ids AS i MATCH (n:Entity {{id: i}}) RETURN collect({RECORD})"
        records = [record_of(row) for row in await self._run("records", text, ids=list(dict.fromkeys(ids)))]
        return {record.node.id: record for record in records}

    # Edges ────────────────────────────────────────────────────────────────────────────────────────

    async def _lock_lineage(self) -> None:
        await self._run("lock", f"MERGE (m:Meta {{name: 'lineage'}}) {locked('m')} RETURN true")

    async def _edges(self, text: str, **params: Any) -> list[Edge]:
        return [whole_edge_of(row) for row in await self._run("edges", text, **params)]

    async def _open_edges(self, ends: Sequence[EdgeEnds]) -> list[Edge]:
        text = edge_texts.among({e[0] for e in ends}, f"r.until = {OPEN}")
        return await self._edges(text, rows=[list(e) for e in ends])

    async def _recorded(self, edges: Sequence[Edge]) -> list[Edge]:
        return await self._edges(edge_texts.among({e.kind for e in edges}, "r.since = e[4]"), rows=_rows(edges))

    async def _held(self, open_keys: Sequence[str]) -> dict[str, Edge]:
        if not open_keys:
            return {}
        kinds = {key.split("|", 1)[0] for key in open_keys}
        found = await self._run("edges", edge_texts.held(kinds), keys=list(open_keys))
        return {key: whole_edge_of(row) for key, row in found}

    async def _matching(self, matches: Sequence[EdgeMatch]) -> list[Edge]:
        if not matches:
            return []
        rows = [[m.kind, m.source, m.target, m.discriminator] for m in matches]
        return await self._edges(edge_texts.matching({m.kind for m in matches}), rows=rows)

    async def _open_edges_of(self, ids: Sequence[str]) -> list[Edge]:
        return await self._edges(edge_texts.open_of(), ids=list(ids))

    async def _insert_edges(self, edges: Sequence[tuple[Edge, str | None]]) -> None:
        params: dict[str, Any] = {}
        for edge, key in edges:
            params.setdefault(edge.kind, []).append([edge.source, edge.target, edge_props(edge, key)])
        await self._run("link", edge_texts.insert(sorted(params)), **params)
        self._targets.update(edge.target for edge, _ in edges if edge.until is None)

    async def _rewrite_edges(self, edges: Sequence[Edge]) -> None:
        rows = [
            [*row, {p.name: e.props.get(p.name) for p in ontology.EDGE_KINDS[e.kind].properties}]
            for row, e in zip(_rows(edges), edges, strict=True)
        ]
        await self._run("link", edge_texts.rewrite({e.kind for e in edges}), rows=rows)

    async def _end_edges(self, edges: Sequence[Edge]) -> None:
        await self._run("unlink", edge_texts.end({e.kind for e in edges}), rows=_rows(edges), now=self.now)

    async def _cycle(self, edges: Sequence[Edge]) -> list[str] | None:
        found = await self._run("cycle", edge_texts.CYCLE, rows=[[e.source, e.target] for e in edges])
        return found[0] if found else None

    # What nodes own ───────────────────────────────────────────────────────────────────────────────

    async def _write_rows(self, table: Literal["tags", "params"], rows: Sequence[tuple[str, str, str | None]]) -> None:
        hop, label = SATELLITES[table]
        put = [[id, name, value, value[:HEAD]] for id, name, value in rows if value is not None]
        text = f"""
            CALL () {{ UNWIND $gone AS r MATCH (x:{label} {{owner: r[0], name: r[1]}}) DETACH DELETE x }}
            CALL () {{
                UNWIND $put AS r MATCH (n:Entity {{id: r[0]}}) MERGE (x:{label} {{owner: r[0], name: r[1]}})
                ON CREATE SET x.value = r[2], x.head = r[3] ON MATCH SET x.value = r[2], x.head = r[3]
                MERGE (n)-[:{hop}]->(x) }}
            RETURN true"""
        await self._run("rows", text, put=put, gone=[[id, name] for id, name, value in rows if value is None])

    async def _append(self, series: Sequence[Series]) -> None:
        await self._insert_metrics([(s.owner, s.metric) for s in series])
        text = """
            UNWIND $rows AS r MERGE (c:Chunk {owner: r[0], name: r[1], number: r[2]})
            SET c.values = coalesce(c.values, []) + r[3], c.steps = coalesce(c.steps, []) + r[4],
                c.times = coalesce(c.times, []) + r[5]
            RETURN count(*)"""
        rows = [[s.owner, s.metric.name, number, *_columns(points)] for s in series for number, points in _chunked(s)]
        await self._run("points", text, rows=rows)

    async def _insert_metrics(self, metrics: Sequence[tuple[str, Metric]]) -> None:
        text = """
            UNWIND $rows AS r MATCH (n:Entity {id: r.owner}) MERGE (x:Metric {owner: r.owner, name: r.name})
            SET x += r MERGE (n)-[:HAS_METRIC]->(x) RETURN count(*)"""
        await self._run("metrics", text, rows=[{"owner": owner, **metric_figures(m)} for owner, m in metrics])

    async def _insert_chunks(self, chunks: Sequence[Chunk]) -> int:
        text = """
            UNWIND $rows AS r OPTIONAL MATCH (c:Chunk {owner: r[0], name: r[1], number: r[2]})
            RETURN collect([r[0], r[1], r[2], c.values, c.steps, c.times])"""
        places = [[c.owner, c.name, c.number] for c in chunks]
        there = {tuple(row[:3]): row[3:] for row in await self._run("points", text, rows=places)}
        new = []
        for c in chunks:
            old = there[c.owner, c.name, c.number]
            if old[0] is None:
                new.append([c.owner, c.name, c.number, *_columns(Point(c.name, *p) for p in c.points)])
            elif not _same(zip(*old, strict=True), c.points):
                msg = f"points: chunk {c.number} of {c.name!r} of {c.owner} is here already, with other content"
                raise Conflict(msg, field="points")
        text = """
            UNWIND $rows AS r
            CREATE (:Chunk {owner: r[0], name: r[1], number: r[2], values: r[3], steps: r[4], times: r[5]})
            RETURN count(*)"""
        await self._run("points", text, rows=new)
        return len(new)

    # The change ───────────────────────────────────────────────────────────────────────────────────

    async def _insert_change(self, change: Change, log: ChangeLog) -> None:
        """Write the change, and see that nothing was linked to what somebody deletes at the same moment.

        To make an edge locks neither end. So the targets are locked here, as late as can be, since many
        writers link to the same data: whoever deletes one has locked it before looking for its edges.
        """
        text = f"""
            {HELD}
            CREATE (c:Change:Unsequenced) SET c = $props
            WITH c, gone
            CALL (c) {{
                UNWIND $subjects AS i MATCH (n:Entity {{id: i}}) CREATE (c)-[:SUBJECT]->(n)
                RETURN collect(DISTINCT n.workspace) AS changed
            }}
            CALL () {{
                UNWIND $touched AS i MATCH (n:Entity {{id: i}}) RETURN collect(DISTINCT n.workspace) AS loaded
            }}
            CALL (c) {{ UNWIND $addressed AS i MATCH (n:Entity {{id: i}}) CREATE (c)-[:ADDRESSES]->(n) }}
            WITH c, gone, changed + [w IN loaded WHERE NOT w IN changed] AS found
            SET c.workspaces = CASE WHEN found = [] THEN [''] ELSE found END
            RETURN gone"""
        gone = await self._run(
            "change", text, props={**change_props(change), "attempt": self._attempt}, targets=self._held_targets(log),
            subjects=log.subjects(), touched=list(log.touched), addressed=log.addressed(),
        )  # fmt: skip
        if gone:
            raise NotFound(f"there is no node {gone[0]!r}", id=gone[0])

    def _held_targets(self, log: ChangeLog) -> list[str]:
        """What was linked to and is not of this write: it must still be there when that is committed."""
        return sorted(self._targets - self._born - {row[0] for row in log.deleted})


def _rows(edges: Sequence[Edge]) -> list[list[Any]]:
    """The identities of edges, as parameters."""
    return [[e.kind, e.source, e.target, e.discriminator, e.since] for e in edges]


def _same(one: Iterable[tuple[float, int, int]], other: Iterable[tuple[float, int, int]]) -> bool:
    """Whether two series have the same points, NaN being like NaN."""
    return [(number_of(v), s, t) for v, s, t in one] == [(number_of(v), s, t) for v, s, t in other]


def _columns(points: Iterable[Point]) -> tuple[list[float], list[int], list[int]]:
    """Points as the three lists that a chunk keeps; Neo4j's lists hold one type each."""
    rows = [(float(p.value), p.step, p.time) for p in points]
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


def _chunked(series: Series) -> Iterable[tuple[int, Sequence[Point]]]:
    """The points by the number of the chunk that they go to."""
    at = 0
    while at < len(series.points):
        number, filled = divmod(series.start + at, CHUNK)
        yield number, series.points[at : at + CHUNK - filled]
        at += CHUNK - filled
