"""Changes and the audit: reading them, and what puts into the audit what no write does.

A change is (:Change {id, at, by, action, request, data, client, token, address, workspaces, seq}), and until
it is sequenced also :Unsequenced. It leads to its subjects by SUBJECT and to whom it addresses by ADDRESSES.
An entry is (:Entry {workspace, number, seq, hash}), and belongs to the change of its `seq`; a chain is
(:Chain {workspace, number, hash, anchor, anchorHash}).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from graph import ontology
from graph.ids import new_id
from graph.neo4j.codec import CHANGE, change_of, change_props, checkpoint_of, head_of
from graph.neo4j.running import Runner, locked, store_time
from graph.neo4j.where import Compiler
from graph.port import Change, Checkpoint, Entry, EntryFilter, Head, Kept, Key, Note, Snapshot, View
from graph.recording import noted, pruned
from lineal.errors import Conflict

NOTED: Final = """c.data STARTS WITH '{"noted"'"""
"""Whether a change only noted something: such a one has nothing else in its data."""

ENTRY: Final = f"[e.workspace, e.number, e.hash, {CHANGE}]"
BY_CHAIN: Final = "USING INDEX e:Entry(workspace, number)"
"""Of few entries the planner may think that reading them all is as good; it keeps the plan as they grow."""


class Auditing(Snapshot):
    """The verbs of a Snapshot about changes and audit, and about what background work keeps."""

    _view: View

    async def _ask(self, verb: str, body: str, params: Mapping[str, Any], as_of: int | None = None) -> Any:
        raise NotImplementedError

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
        q = Compiler(self._view)
        tests = [f"c.seq {'<' if descending else '>'} {q.add(after)}" if after or not descending else "c.seq > 0"]
        tests.append(f"NOT {NOTED}")
        match = "MATCH (c:Change)"
        if subject is not None:
            match = f"MATCH (c:Change)-[:SUBJECT]->(:Entity {{id: {q.add(subject)}}})"
        if among is not None:
            ids = q.add(list(among))
            match = f"""
                CALL () {{
                    UNWIND {ids} AS i MATCH (c:Change)-[:SUBJECT|ADDRESSES]->(:Entity {{id: i}}) RETURN c
                    UNION UNWIND {ids} AS i MATCH (c:Change)-[:SUBJECT|ADDRESSES]->(:Entity {{container: i}}) RETURN c
                }}
                {match if subject is not None else "WITH c"}"""
        if not self._view.whole:
            tests.append(f"EXISTS {{ MATCH (c)-[:SUBJECT]->(n:Entity) WHERE {q.visible('n')} }}")
        if but_by is not None:
            tests.append(f"c.by <> {q.add(but_by)}")
        body = f"""
            {match} WHERE {" AND ".join(tests)}
            WITH c ORDER BY c.seq {"DESC" if descending else ""} LIMIT {q.add(limit)}
            RETURN collect({CHANGE}) AS result"""
        found = map(change_of, await self._ask("changes", body, q.params))
        return sorted(found, key=lambda c: c.seq or 0, reverse=descending)

    async def changes_of(self, ids: Sequence[str], *, after: int = 0, limit: int = 100) -> dict[str, list[Change]]:
        q = Compiler(self._view)
        beyond = f"c.seq < {q.add(after)}" if after else "c.seq IS NOT NULL"
        body = f"""
            UNWIND {q.add(list(dict.fromkeys(ids)))} AS i
            CALL (i) {{
                MATCH (c:Change)-[:SUBJECT]->(:Entity {{id: i}}) WHERE {beyond}
                WITH c ORDER BY c.seq DESC LIMIT {q.add(limit)}
                RETURN collect({CHANGE}) AS changes
            }}
            RETURN collect([i, changes]) AS result"""
        rows = await self._ask("changes_of", body, q.params)
        return {id: sorted(map(change_of, found), key=lambda c: -(c.seq or 0)) for id, found in rows if found}

    async def entries(
        self, where: EntryFilter = EntryFilter(), *, after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[Entry]:
        q = Compiler(self._view)
        tests = " AND ".join(_tests(q, where, after))
        latest = f"ORDER BY e.seq DESC, e.workspace LIMIT {q.add(limit)}"
        match = f"MATCH (e:Entry) MATCH (c:Change {{seq: e.seq}}) WHERE {tests}"
        if where.subject is not None:
            about = f"(:Entity {{id: {q.add(where.subject)}}})<-[:SUBJECT|ADDRESSES]-(c:Change)"
            match = f"MATCH {about} WITH DISTINCT c MATCH (e:Entry {{seq: c.seq}}) WHERE {tests}"
        elif where.workspaces is not None and where.by is None and not where.request:
            # The numbers of a chain go up with the order of its changes, so each chain gives its latest by itself.
            match = f"""
                UNWIND {q.add(sorted(where.workspaces))} AS w
                CALL (w) {{
                    MATCH (e:Entry {{workspace: w}}) {BY_CHAIN} WHERE e.number > 0
                    MATCH (c:Change {{seq: e.seq}}) WHERE {tests}
                    RETURN e, c ORDER BY e.workspace DESC, e.number DESC LIMIT {q.add(limit)}
                }}"""
        body = f"{match} WITH e, c {latest} RETURN collect({ENTRY}) AS result"
        found = [_entry(row) for row in await self._ask("entries", body, q.params)]
        return sorted(found, key=lambda e: (-(e.change.seq or 0), e.workspace))

    async def chain(self, workspace: str, *, after: int = 0, limit: int = 1_000) -> list[Entry]:
        # Ordered by the workspace too, as the index is: by the number alone every page sorts what is left of the chain.
        body = f"""
            MATCH (e:Entry {{workspace: $workspace}}) {BY_CHAIN} WHERE e.number > $after
            MATCH (c:Change {{seq: e.seq}}) WITH e, c ORDER BY e.workspace, e.number LIMIT $limit
            RETURN collect({ENTRY}) AS result"""
        rows = await self._ask("chain", body, {"workspace": workspace, "after": after, "limit": limit})
        return sorted((_entry(row) for row in rows), key=lambda e: e.number)

    async def subjects(self, seqs: Sequence[int]) -> dict[int, dict[str, bool]]:
        body = """
            UNWIND $seqs AS s MATCH (c:Change {seq: s})-[r:SUBJECT|ADDRESSES]->(n:Entity)
            RETURN collect([s, n.id, type(r) = 'ADDRESSES']) AS result"""
        found: dict[int, dict[str, bool]] = {}
        for seq, id, only in await self._ask("subjects", body, {"seqs": list(seqs)}):
            found.setdefault(seq, {})[id] = only
        return found

    async def heads(self) -> list[Head]:
        body = "MATCH (h:Chain) RETURN collect([h.workspace, h.number, h.hash]) AS result"
        return sorted(map(head_of, await self._ask("heads", body, {})), key=lambda one: one.workspace)

    async def anchors(self) -> list[Head]:
        body = "MATCH (h:Chain) WHERE h.anchor > 0 RETURN collect([h.workspace, h.anchor, h.anchorHash]) AS result"
        return sorted(map(head_of, await self._ask("heads", body, {})), key=lambda one: one.workspace)

    async def checkpoints(self, *, after: int = 0, limit: int = 1_000) -> list[Checkpoint]:
        body = """
            MATCH (p:Checkpoint) WHERE p.number > $after WITH p ORDER BY p.number LIMIT $limit
            RETURN collect([p.number, p.body, p.key, p.signature]) AS result"""
        rows = await self._ask("checkpoints", body, {"after": after, "limit": limit})
        return sorted(map(checkpoint_of, rows), key=lambda one: one.number)

    async def kept(
        self,
        owners: Sequence[str],
        states: Sequence[str],
        *,
        after: int | None = None,
        descending: bool = False,
        limit: int = 100,
    ) -> dict[str, list[Kept]]:
        beyond = "" if after is None else f"AND k.number {'<' if descending else '>'} $after"
        body = f"""
            UNWIND $owners AS o
            CALL (o) {{
                MATCH (k:Kept {{owner: o}}) WHERE k.state IN $states {beyond}
                WITH k ORDER BY k.number {"DESC" if descending else ""} LIMIT $limit
                RETURN collect([k.number, k.state, k.data]) AS found
            }}
            RETURN collect([o, found]) AS result"""
        params = {"owners": list(dict.fromkeys(owners)), "states": list(states), "after": after, "limit": limit}
        return {
            owner: sorted(
                (Kept(owner, number, state, orjson.loads(data)) for number, state, data in found),
                key=lambda one: -one.number if descending else one.number,
            )
            for owner, found in await self._ask("kept", body, params)
            if found
        }

    async def all_kept(self, after: tuple[str, int], limit: int) -> list[Kept]:
        body = """
            MATCH (k:Kept) WHERE k.owner >= $owner AND (k.owner > $owner OR k.number > $number)
            WITH k ORDER BY k.owner, k.number LIMIT $limit
            RETURN collect([k.owner, k.number, k.state, k.data]) AS result"""
        rows = await self._ask("kept", body, {"owner": after[0], "number": after[1], "limit": limit})
        return [Kept(owner, number, state, orjson.loads(data)) for owner, number, state, data in sorted(rows)]

    async def keys(self, after: tuple[str, str], limit: int) -> list[Key]:
        body = """
            MATCH (i:Idempotency) WHERE i.principal >= $by AND (i.principal > $by OR i.key > $key)
                AND i.hash IS NOT NULL
            WITH i ORDER BY i.principal, i.key LIMIT $limit
            RETURN collect([i.principal, i.key, i.hash, i.ids, i.at]) AS result"""
        rows = await self._ask("recall", body, {"by": after[0], "key": after[1], "limit": limit})
        return [Key(*row) for row in sorted(rows)]


def _tests(q: Compiler, where: EntryFilter, after: tuple[int, str] | None) -> list[str]:
    tests = ["e.seq > 0"]
    if after is not None:
        seq, workspace = (q.add(part) for part in after)
        tests.append(f"e.seq <= {seq} AND (e.seq < {seq} OR e.workspace > {workspace})")
    for test, value in (
        ("c.by =", where.by),
        ("c.action =", where.action),
        ("c.request =", where.request),
        ("c.at >=", where.since),
        ("c.at <", where.until),
    ):
        if value is not None:
            tests.append(f"{test} {q.add(value)}")
    if where.workspaces is not None:
        tests.append(f"e.workspace IN {q.add(sorted(where.workspaces))}")
    if where.noted is not None:
        tests.append(NOTED if where.noted else f"NOT {NOTED}")
    return tests


def _entry(row: Sequence[Any]) -> Entry:
    workspace, number, hash, change = row
    return Entry(workspace, number, hash, change_of(change))


# Writing ──────────────────────────────────────────────────────────────────────────────────────────


class Noting:
    """Puts notes into the audit, in the chains of those of their workspaces that there are, else of "".

    What was made before the first try is the same in every one, so that none is doubled.
    """

    def __init__(self, notes: Sequence[Note]) -> None:
        self._notes = [
            {
                **change_props(noted(note, new_id("ch"), 0)),
                "at": None,
                "workspaces": [_named(w) for w in note.workspaces],
            }
            for note in notes
        ]

    async def __call__(self, runner: Runner) -> None:
        text = f"""
            {store_time()}
            UNWIND $notes AS r
            CALL (r) {{
                UNWIND r.workspaces AS w OPTIONAL MATCH (n:Entity {{key: w[1]}})
                RETURN collect(DISTINCT CASE WHEN n IS NULL THEN '' ELSE w[0] END) AS found
            }}
            MERGE (c:Change {{id: r.id}})
            ON CREATE SET c += r {{.*, at: now, workspaces: CASE WHEN found = [] THEN [''] ELSE found END}},
                c:Unsequenced
            RETURN count(*)"""
        await runner.run("note", text, {"notes": self._notes})
        await runner.commit()


def _named(workspace: str) -> list[str]:
    return [workspace, ontology.key_of(ontology.WORKSPACE, ontology.GLOBAL, None, workspace)]


class Checkpointing:
    """Keeps a checkpoint; one that an earlier try has kept is its own."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._props = {
            "number": checkpoint.number,
            "body": checkpoint.body,
            "key": checkpoint.key,
            "signature": checkpoint.signature,
        }
        self._tried = False

    async def __call__(self, runner: Runner) -> None:
        (there,) = await runner.run(
            "checkpoints",
            "OPTIONAL MATCH (p:Checkpoint {number: $number}) RETURN properties(p)",
            {"number": self._props["number"]},
        )
        if there is None:
            await runner.run(
                "checkpoints", "CREATE (p:Checkpoint) SET p = $props RETURN count(*)", {"props": self._props}
            )
            self._tried = True
            await runner.commit()
        elif not (self._tried and there == self._props):
            msg = f"number: there is a checkpoint {self._props['number']} already"
            raise Conflict(msg, field="number")


class Pruning:
    """Takes entries off the beginnings of chains. Its notes are the same in every try, so that it is done once."""

    def __init__(self, ends: Sequence[Head], by: str, notes: Mapping[str, Mapping[str, Any]]) -> None:
        self._ends = {end.workspace: end for end in sorted(ends, key=lambda e: e.workspace)}
        self._notes = notes
        self._ids = {workspace: new_id("ch") for workspace in self._ends}
        self._by = by
        self._taken = 0

    async def __call__(self, runner: Runner) -> int:
        done, rows = await runner.run(
            "prune",
            f"""
            OPTIONAL MATCH (d:Change) WHERE d.id IN $ids WITH count(d) > 0 AS done
            CALL () {{
                UNWIND $ends AS e OPTIONAL MATCH (h:Chain {{workspace: e[0]}}) {locked("h")}
                WITH e, h OPTIONAL MATCH (x:Entry {{workspace: e[0], number: e[1]}})
                RETURN collect([e[0], coalesce(h.anchor, 0), h.anchorHash, x.hash]) AS rows
            }}
            RETURN done, rows""",
            {"ids": list(self._ids.values()), "ends": [[e.workspace, e.number] for e in self._ends.values()]},
        )
        if done:
            return self._taken
        ends = [end for row in rows if (end := self._to_take(*row))]
        if not ends:
            return 0
        seqs = await self._take(runner, ends)
        self._taken = sum(map(len, seqs.values()))
        await self._tell(runner, [(end, len(seqs[end.workspace])) for end in ends], sorted(set().union(*seqs.values())))
        await runner.commit()
        return self._taken

    def _to_take(self, workspace: str, anchor: int, anchor_hash: str | None, hash: str | None) -> Head | None:
        """The end, unless it was taken already. Raises Conflict."""
        end = self._ends[workspace]
        if hash is None and end.number < anchor:
            return None
        if end.number and (hash or (anchor_hash if end.number == anchor else None)) != end.hash:
            msg = f"ends: entry {end.number} of the chain of {workspace!r} has not the hash {end.hash}"
            raise Conflict(msg, field="ends")
        return None if hash is None else end

    async def _take(self, runner: Runner, ends: Sequence[Head]) -> dict[str, list[int]]:
        """Delete the entries; which changes they were of, for each chain."""
        (seqs,) = await runner.run(
            "prune",
            """
            UNWIND $ends AS e
            MATCH (h:Chain {workspace: e[0]}) SET h.anchor = e[1], h.anchorHash = e[2]
            WITH e CALL (e) {
                MATCH (x:Entry {workspace: e[0]}) WHERE x.number <= e[1]
                WITH x, x.seq AS seq DELETE x RETURN collect(seq) AS seqs
            }
            RETURN collect([e[0], seqs])""",
            {"ends": [[e.workspace, e.number, e.hash] for e in ends]},
        )
        return dict(seqs)

    async def _tell(self, runner: Runner, taken: Sequence[tuple[Head, int]], seqs: Sequence[int]) -> None:
        """Delete the changes that have no entry left, and note in each chain what was taken."""
        notes = [
            pruned(end, {**self._notes.get(end.workspace, {}), "entries": count}, self._by, self._ids[end.workspace], 0)
            for end, count in taken
        ]
        await runner.run(
            "prune",
            f"""
            CALL () {{
                UNWIND $seqs AS s MATCH (c:Change {{seq: s}}) WHERE NOT EXISTS {{ MATCH (:Entry {{seq: s}}) }}
                DETACH DELETE c
            }}
            {store_time()}
            CALL (now) {{ UNWIND $notes AS n CREATE (c:Change:Unsequenced) SET c = n, c.at = now }}
            RETURN true""",
            {"seqs": list(seqs), "notes": [change_props(note) for note in notes]},
        )
