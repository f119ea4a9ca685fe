"""Work that one process does for all: the store-wide order of changes, and the leases that hand it out."""

from __future__ import annotations

from typing import Any

from graph.neo4j.codec import change_of
from graph.neo4j.running import Runner, locked, store_time
from graph.neo4j.writing import KEEP_KEYS
from graph.port import Lease
from graph.recording import change_hash

BATCH = 2_000


async def sequence(runner: Runner, lease: Lease | None) -> int:
    """Give waiting changes their `seq` and hash, while the lease holds. Forgets old idempotency keys besides."""
    seq, hash, holds, rows = await runner.run(
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
            RETURN collect([c.id, c.at, c.by, c.action, c.request, c.data, null, null]) AS rows
        }}
        RETURN m.seq, m.hash, holds, rows""",
        {
            "lease": lease and {"name": lease.name, "holder": lease.holder, "epoch": lease.epoch},
            "keep": KEEP_KEYS,
            "batch": BATCH,
        },
    )
    if not holds or not rows:
        return 0
    numbered: list[list[Any]] = []
    for row in sorted(rows, key=lambda row: (row[1], row[0])):
        seq, hash = seq + 1, change_hash(hash, change_of(row))
        numbered.append([row[0], seq, hash])
    await runner.run(
        "sequence",
        """
        MATCH (m:Meta {name: 'changes'}) SET m.seq = $seq, m.hash = $hash
        WITH m UNWIND $rows AS r MATCH (c:Change {id: r[0]}) SET c.seq = r[1], c.hash = r[2] REMOVE c:Unsequenced
        RETURN count(*)""",
        {"seq": seq, "hash": hash, "rows": numbered},
    )
    return len(numbered)


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
