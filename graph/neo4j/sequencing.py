"""Work that one process does for all: the order and the chains of changes, and the leases that hand it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from graph.neo4j.codec import CHANGE, change_of
from graph.neo4j.running import Runner, locked, store_time
from graph.neo4j.writing import KEEP_KEYS
from graph.port import Change, Head, Lease
from graph.recording import place
from lineal.observing import METER

BATCH = 2_000


HEADS: Final = """
    CALL (rows) {
        UNWIND rows AS row UNWIND row[9] AS w WITH DISTINCT w MATCH (h:Chain {workspace: w})
        RETURN collect([w, h.number, h.hash]) AS heads
    }"""
"""The heads of the chains that the changes in `rows` go to."""


async def sequence(runner: Runner, lease: Lease | None) -> int:
    """Give waiting changes their `seq` and entries, while the lease holds. Forgets old idempotency keys besides."""
    seq, holds, now, rows, heads = await runner.run(
        "sequence",
        f"""
        MATCH (m:Meta {{name: 'changes'}}) {locked("m")}
        {store_time("m")}
        OPTIONAL MATCH (l:Lease {{name: $lease.name}})
        WITH m, now, $lease IS NULL OR coalesce(
            l.holder = $lease.holder AND l.epoch = $lease.epoch AND l.until > now, false) AS holds
        CALL (now, holds) {{
            MATCH (i:Idempotency) WHERE holds AND i.at <= now - $keep WITH i LIMIT $batch DETACH DELETE i
        }}
        CALL (holds) {{
            MATCH (c:Unsequenced) WHERE holds WITH c ORDER BY c.at, c.id LIMIT $batch
            RETURN collect({CHANGE}) AS rows
        }}
        {HEADS}
        RETURN m.seq, holds, now, rows, heads""",
        {
            "lease": lease and {"name": lease.name, "holder": lease.holder, "epoch": lease.epoch},
            "keep": KEEP_KEYS,
            "batch": BATCH,
        },
    )
    METER.get().set("lineal_changes_unsequenced", len(rows))
    METER.get().set("lineal_sequencer_lag_seconds", 0.0)
    if not holds or not rows:
        return 0
    waiting = sorted(map(change_of, rows), key=lambda c: (c.at, c.id))
    METER.get().set("lineal_sequencer_lag_seconds", max(0.0, (now - waiting[0].at) / 1_000_000))
    changes = [replace(change, seq=number) for number, change in enumerate(waiting, seq + 1)]
    await _append(runner, changes, heads)
    return len(changes)


async def chain_all(runner: Runner) -> bool:
    """Put the next changes of a store that had one chain for all into their chains; whether there may be more."""
    rows, heads = await runner.run(
        "migrate",
        f"""
        MATCH (m:Meta {{name: 'changes'}}) {locked("m")}
        WITH m CALL (m) {{
            MATCH (c:Change) WHERE c.seq > coalesce(m.chained, 0) WITH c ORDER BY c.seq LIMIT $batch
            RETURN collect({CHANGE}) AS rows
        }}
        {HEADS}
        SET m.chained = reduce(last = m.chained, row IN rows | row[10]), m.hash = null
        RETURN rows, heads""",
        {"batch": BATCH},
    )
    await _append(runner, sorted(map(change_of, rows), key=lambda c: c.seq or 0), heads)
    return bool(rows)


async def _append(runner: Runner, changes: Sequence[Change], found: Sequence[tuple[str, int, str]]) -> None:
    """Write the numbers of changes, in their order, and their entries behind these heads of their chains."""
    heads = {row[0]: Head(*row) for row in found}
    entries = [entry for change in changes for entry in place(change, heads)]
    await runner.run(
        "sequence",
        """
        CALL () { UNWIND $changes AS r MATCH (c:Change {id: r[0]}) SET c.seq = r[1] REMOVE c:Unsequenced }
        CALL () { UNWIND $entries AS e CREATE (:Entry {workspace: e[0], number: e[1], seq: e[2], hash: e[3]}) }
        CALL () {
            UNWIND $heads AS h MERGE (x:Chain {workspace: h[0]}) ON CREATE SET x.anchor = 0
            SET x.number = h[1], x.hash = h[2]
        }
        MATCH (m:Meta {name: 'changes'}) WHERE m.seq < $seq SET m.seq = $seq
        RETURN count(*)""",
        {
            "seq": changes[-1].seq if changes else 0,
            "changes": [[c.id, c.seq] for c in changes],
            "entries": [[e.workspace, e.number, e.change.seq, e.hash] for e in entries],
            "heads": [[h.workspace, h.number, h.hash] for h in heads.values()],
        },
    )


async def claim(runner: Runner, name: str, holder: str, seconds: float) -> Lease | None:
    """See Graph.claim. The epoch stays only while the same holder renews in time."""
    (found,) = await runner.run(
        "claim",
        f"""
        MERGE (l:Lease {{name: $name}}) ON CREATE SET l.holder = '', l.epoch = 0, l.until = 0
        {locked("l")}
        {store_time("l")}
        CALL (l, now) {{
            WITH l, now WHERE l.holder = $holder OR l.until <= now
            SET l.epoch = l.epoch + CASE WHEN l.holder = $holder AND l.until > now THEN 0 ELSE 1 END,
                l.holder = $holder, l.until = now + $length
            RETURN [l.epoch, l.until] AS taken
        }}
        RETURN collect(taken)""",
        {"name": name, "holder": holder, "length": int(seconds * 1_000_000)},
    )
    return Lease(name, holder, *found[0]) if found else None


async def release(runner: Runner, lease: Lease) -> None:
    """See Graph.release."""
    await runner.run(
        "release",
        f"""
        OPTIONAL MATCH (l:Lease {{name: $name}}) {locked("l")}
        WITH l, l.holder = $holder AND l.epoch = $epoch AS mine
        FOREACH (x IN CASE WHEN mine THEN [l] ELSE [] END | SET x.until = 0)
        RETURN true""",
        {"name": lease.name, "holder": lease.holder, "epoch": lease.epoch},
    )
