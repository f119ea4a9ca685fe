"""Changes and the audit over one SQLite connection: reading them, and what a write adds to the chains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from graph import ontology
from graph.ids import new_id
from graph.port import Change, Checkpoint, Entry, EntryFilter, Head, Note, Snapshot
from graph.recording import GENESIS, ChangeLog, noted, place, pruned, read_data, write_data
from graph.sqlite.migrations import CHANGE, change_of
from graph.sqlite.reading import Reader
from graph.sqlite.running import Direct, Thread
from graph.sqlite.where import Compiler
from graph.sqlite.writing import Writer
from lineal.errors import Conflict

NOTED = """substr(c.data, 1, 8) = '{"noted"'"""
"""Whether a change only noted something: such a one has nothing else in its data."""

ENTRY = f"e.workspace, e.number, e.hash, {CHANGE}"


class Auditing(Snapshot):
    """The verbs of a Snapshot about changes and audit."""

    _reader: Reader
    _run: Thread | Direct

    async def changes(
        self,
        *,
        after: int = 0,
        subject: str | None = None,
        among: Sequence[str] | None = None,
        but_by: str | None = None,
        descending: bool = False,
        limit: int = 100,
    ) -> list[Change]:
        return await self._run(changes, self._reader, after, subject, among, but_by, descending, limit)

    async def changes_of(self, ids: Sequence[str], *, after: int = 0, limit: int = 100) -> dict[str, list[Change]]:
        return await self._run(changes_of, self._reader, ids, after, limit)

    async def entries(
        self, where: EntryFilter = EntryFilter(), *, after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[Entry]:
        return await self._run(entries, self._reader, where, after, limit)

    async def chain(self, workspace: str, *, after: int = 0, limit: int = 1_000) -> list[Entry]:
        return await self._run(chain, self._reader, workspace, after, limit)

    async def subjects(self, seqs: Sequence[int]) -> dict[int, dict[str, bool]]:
        return await self._run(subjects, self._reader, seqs)

    async def heads(self) -> list[Head]:
        return await self._run(heads, self._reader)

    async def anchors(self) -> list[Head]:
        return await self._run(anchors, self._reader)

    async def checkpoints(self, *, after: int = 0, limit: int = 1_000) -> list[Checkpoint]:
        return await self._run(checkpoints, self._reader, after, limit)


# Reading ──────────────────────────────────────────────────────────────────────────────────────────


def changes(
    reader: Reader,
    after: int,
    subject: str | None,
    among: Sequence[str] | None,
    but_by: str | None,
    descending: bool,
    limit: int,
) -> list[Change]:
    """See Snapshot.changes."""
    sql = Compiler(reader.view)
    tests = [f"NOT {NOTED}"]
    if after or not descending:
        tests.append(f"c.seq {'<' if descending else '>'} {sql.add(after)}")
    if not reader.view.whole:
        tests.append(
            "EXISTS (SELECT 1 FROM subject s CROSS JOIN node n ON n.k = s.node "
            f"WHERE s.seq = c.seq AND s.addressed = 0 AND {sql.visible('n')})"
        )
    if subject is not None:
        tests.append(
            f"c.seq IN (SELECT s.seq FROM node n CROSS JOIN subject s ON s.node = n.k "
            f"WHERE n.id = {sql.add(subject)} AND s.addressed = 0)"
        )
    if among is not None:
        ids = f"(SELECT value FROM {sql.array(among)})"
        tests.append(
            "c.seq IN (SELECT s.seq FROM node n CROSS JOIN subject s ON s.node = n.k "
            f"WHERE n.id IN {ids} OR n.container IN {ids})"
        )
    if but_by is not None:
        tests.append(f"c.by != {sql.add(but_by)}")
    rows = reader.all(
        "changes",
        f"SELECT {CHANGE} FROM change c WHERE {' AND '.join(tests)} "
        f"ORDER BY c.seq {'DESC' if descending else ''} LIMIT {sql.add(limit)}",
        sql.params,
    )
    return [change_of(row) for row in rows]


def changes_of(reader: Reader, ids: Sequence[str], after: int, limit: int) -> dict[str, list[Change]]:
    """See Snapshot.changes_of."""
    sql = Compiler(reader.view)
    rows = reader.all(
        "changes_of",
        f"SELECT n.id, {CHANGE} FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node n ON n.id = i.value "
        f"CROSS JOIN change c ON c.seq IN (SELECT s.seq FROM subject s WHERE s.node = n.k AND s.addressed = 0 "
        f"AND s.seq < {sql.add(after or ontology.MAX_INT)} ORDER BY s.seq DESC LIMIT {sql.add(limit)}) "
        "ORDER BY c.seq DESC",
        sql.params,
    )
    found: dict[str, list[Change]] = {}
    for id, *row in rows:
        found.setdefault(id, []).append(change_of(row))
    return found


def entries(reader: Reader, where: EntryFilter, after: tuple[int, str] | None, limit: int) -> list[Entry]:
    """See Snapshot.entries. The statement begins with the narrowest of subject, request, principal and chains."""
    sql = Compiler(reader.view)
    tests = _tests(sql, where, after)
    of_seq = "CROSS JOIN change c ON c.seq = e.seq"
    if where.subject is not None:
        source = (
            "node n CROSS JOIN subject s ON s.node = n.k "
            f"CROSS JOIN entry e INDEXED BY entry_seq ON e.seq = s.seq {of_seq}"
        )
        tests.append(f"n.id = {sql.add(where.subject)}")
    elif where.request or where.by is not None:
        source = "change c CROSS JOIN entry e INDEXED BY entry_seq ON e.seq = c.seq"
    elif where.workspaces is not None:
        # The numbers of a chain go up with the order of its changes, so each chain gives its latest by itself.
        latest = (
            f"SELECT e.number FROM entry e {of_seq} WHERE e.workspace = w.value AND {' AND '.join(tests)} "
            f"ORDER BY e.number DESC LIMIT {sql.add(limit)}"
        )
        source = (
            f"{sql.array(sorted(where.workspaces))} w "
            f"CROSS JOIN entry e ON e.workspace = w.value AND e.number IN ({latest}) {of_seq}"
        )
        tests = ["1"]
    else:
        source = f"entry e INDEXED BY entry_seq {of_seq}"
    rows = reader.all(
        "entries",
        f"SELECT {ENTRY} FROM {source} WHERE {' AND '.join(tests)} "
        f"ORDER BY e.seq DESC, e.workspace LIMIT {sql.add(limit)}",
        sql.params,
    )
    return [_entry(row) for row in rows]


def _tests(sql: Compiler, where: EntryFilter, after: tuple[int, str] | None) -> list[str]:
    tests = ["1"]
    if after is not None:
        seq, workspace = (sql.add(part) for part in after)
        tests.append(f"e.seq <= {seq} AND (e.seq < {seq} OR e.workspace > {workspace})")
    for column, value in (("c.by", where.by), ("c.action", where.action), ("c.request", where.request)):
        if value is not None:
            tests.append(f"{column} = {sql.add(value)}")
    if where.request:
        tests.append("c.request != ''")
    if where.workspaces is not None:
        tests.append(f"e.workspace IN (SELECT value FROM {sql.array(sorted(where.workspaces))})")
    # Changes are written in the order of their times, so a time is also a place in their order.
    if where.since is not None:
        at = sql.add(where.since)
        first = f"(SELECT x.seq FROM change x WHERE x.at >= {at} ORDER BY x.at, x.seq LIMIT 1)"
        tests.append(f"c.at >= {at} AND e.seq >= {first}")
    if where.until is not None:
        at = sql.add(where.until)
        last = f"(SELECT x.seq FROM change x WHERE x.at < {at} ORDER BY x.at DESC, x.seq DESC LIMIT 1)"
        tests.append(f"c.at < {at} AND e.seq <= {last}")
    if where.noted is not None:
        tests.append(NOTED if where.noted else f"NOT {NOTED}")
    return tests


def chain(reader: Reader, workspace: str, after: int, limit: int) -> list[Entry]:
    """See Snapshot.chain."""
    rows = reader.all(
        "chain",
        f"SELECT {ENTRY} FROM entry e CROSS JOIN change c ON c.seq = e.seq "
        "WHERE e.workspace = ? AND e.number > ? ORDER BY e.number LIMIT ?",
        (workspace, after, limit),
    )
    return [_entry(row) for row in rows]


def subjects(reader: Reader, seqs: Sequence[int]) -> dict[int, dict[str, bool]]:
    """See Snapshot.subjects."""
    sql = Compiler(reader.view)
    rows = reader.all(
        "subjects",
        f"SELECT s.seq, n.id, s.addressed FROM {sql.array(seqs)} i CROSS JOIN subject s ON s.seq = i.value "
        "CROSS JOIN node n ON n.k = s.node",
        sql.params,
    )
    found: dict[int, dict[str, bool]] = {}
    for seq, id, only in rows:
        found.setdefault(seq, {})[id] = bool(only)
    return found


def heads(reader: Reader) -> list[Head]:
    """See Snapshot.heads."""
    rows = reader.all("heads", "SELECT workspace, number, hash FROM chain ORDER BY workspace")
    return [Head(*row) for row in rows]


def anchors(reader: Reader) -> list[Head]:
    """See Snapshot.anchors."""
    rows = reader.all("heads", "SELECT workspace, anchor, anchor_hash FROM chain WHERE anchor > 0 ORDER BY workspace")
    return [Head(*row) for row in rows]


def checkpoints(reader: Reader, after: int, limit: int) -> list[Checkpoint]:
    """See Snapshot.checkpoints."""
    rows = reader.all(
        "checkpoints",
        "SELECT number, body, key, signature FROM checkpoint WHERE number > ? ORDER BY number LIMIT ?",
        (after, limit),
    )
    return [Checkpoint(*row) for row in rows]


def _entry(row: Sequence[Any]) -> Entry:
    workspace, number, hash, *change = row
    return Entry(workspace, number, hash, change_of(change))


# Writing ──────────────────────────────────────────────────────────────────────────────────────────


def insert_change(writer: Writer, change: Change, log: ChangeLog) -> None:
    """Write the change of a transaction, in the chains of the workspaces of what it changed."""
    subjects, addressed = log.subjects(), log.addressed()
    sql = Compiler(writer.view)
    rows = writer.all(
        "change",
        f"SELECT n.id, n.k, n.workspace FROM {sql.array([*subjects, *addressed, *log.touched])} i "
        "CROSS JOIN node n ON n.id = i.value",
        sql.params,
    )
    keys = {id: k for id, k, _ in rows}
    places = {id: workspace for id, _, workspace in rows}
    seq = _insert(writer, change, {places[id] for id in (*subjects, *log.touched)})
    about = [(keys[id], seq, 0) for id in subjects] + [(keys[id], seq, 1) for id in addressed]
    writer.many("change", "INSERT INTO subject (node, seq, addressed) VALUES (?, ?, ?)", about)


def insert_notes(writer: Writer, notes: Sequence[Note], now: int) -> None:
    """Write each note as a change, in the chains of those of its workspaces that there are, else of ""."""
    names = {name for note in notes for name in note.workspaces}
    keys = {ontology.key_of(ontology.WORKSPACE, ontology.GLOBAL, None, name): name for name in names}
    there = {keys[key] for key in writer.holders(list(keys))}
    for note in notes:
        known = {name if name in there else ontology.GLOBAL for name in note.workspaces}
        _insert(writer, noted(note, new_id("ch"), now), known)


def _insert(writer: Writer, change: Change, workspaces: Iterable[str]) -> int:
    """Write a change and its entries, and move the heads of its chains on; returns its `seq`."""
    data = write_data(change.data)
    chains = sorted(set(workspaces)) or [ontology.GLOBAL]
    origin = change.origin
    ((seq,),) = writer.all(
        "change",
        "INSERT INTO change (id, at, by, action, request, data, client, token, address, workspaces) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
        (
            change.id, change.at, change.by, change.action, change.request, data, origin.client, origin.token,
            origin.address, orjson.dumps(chains).decode(),
        ),
    )  # fmt: skip
    # What is hashed is what will be read: the data as they come back from their text.
    written = replace(change, data=read_data(data), workspaces=tuple(chains), seq=seq)
    heads = _heads(writer, chains)
    placed = place(written, heads)
    writer.many(
        "change",
        "INSERT INTO entry (workspace, number, seq, hash) VALUES (?, ?, ?, ?)",
        [(e.workspace, e.number, seq, e.hash) for e in placed],
    )
    writer.many(
        "change",
        "INSERT INTO chain (workspace, number, hash) VALUES (?, ?, ?) "
        "ON CONFLICT (workspace) DO UPDATE SET number = excluded.number, hash = excluded.hash",
        [(e.workspace, e.number, e.hash) for e in placed],
    )
    return int(seq)


def _heads(writer: Writer, chains: Iterable[str]) -> dict[str, Head]:
    sql = Compiler(writer.view)
    named = f"{sql.array(chains)} i CROSS JOIN chain h ON h.workspace = i.value"
    rows = writer.all("change", f"SELECT h.workspace, h.number, h.hash FROM {named}", sql.params)
    return {row[0]: Head(*row) for row in rows}


def put_checkpoint(writer: Writer, checkpoint: Checkpoint) -> None:
    """See Graph.put_checkpoint."""
    if writer.all("checkpoints", "SELECT 1 FROM checkpoint WHERE number = ?", (checkpoint.number,)):
        msg = f"number: there is a checkpoint {checkpoint.number} already"
        raise Conflict(msg, field="number")
    row = (checkpoint.number, checkpoint.body, checkpoint.key, checkpoint.signature)
    writer.many("checkpoints", "INSERT INTO checkpoint (number, body, key, signature) VALUES (?, ?, ?, ?)", [row])


def prune(writer: Writer, ends: Sequence[Head], by: str, notes: Mapping[str, Mapping[str, Any]], now: int) -> int:
    """See Graph.prune."""
    return sum(_prune(writer, end, by, notes.get(end.workspace, {}), now) for end in ends)


def _prune(writer: Writer, end: Head, by: str, note: Mapping[str, Any], now: int) -> int:
    anchored = writer.all("prune", "SELECT anchor, anchor_hash FROM chain WHERE workspace = ?", (end.workspace,))
    anchor, anchor_hash = anchored[0] if anchored else (0, GENESIS)
    at = (end.workspace, end.number)
    there = writer.all("prune", "SELECT hash FROM entry WHERE workspace = ? AND number = ?", at)
    if not there and end.number < anchor:
        return 0
    hash = there[0][0] if there else anchor_hash if end.number == anchor else None
    if end.number and hash != end.hash:
        msg = f"ends: entry {end.number} of the chain of {end.workspace!r} has not the hash {end.hash}"
        raise Conflict(msg, field="ends")
    if not there:
        return 0
    taken = writer.all("prune", "DELETE FROM entry WHERE workspace = ? AND number <= ? RETURNING seq", at)
    sql = Compiler(writer.view)
    seqs = sql.array([seq for (seq,) in taken])
    gone = f"SELECT value FROM {seqs} WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.seq = value)"
    writer.all("prune", f"DELETE FROM subject WHERE seq IN ({gone})", sql.params)
    writer.all("prune", f"DELETE FROM change WHERE seq IN ({gone})", sql.params)
    writer.many(
        "prune",
        "UPDATE chain SET anchor = ?, anchor_hash = ? WHERE workspace = ?",
        [(end.number, end.hash, end.workspace)],
    )
    _insert(writer, pruned(end, {**note, "entries": len(taken)}, by, new_id("ch"), now), [end.workspace])
    return len(taken)
