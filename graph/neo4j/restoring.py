"""What a backup has beside the graph is put back as it was."""

from __future__ import annotations

from typing import Any

from graph.neo4j.codec import change_props
from graph.neo4j.running import Runner
from graph.port import Aside
from graph.recording import addressed, subjects

_TEXT = """
    CALL () {
        UNWIND $changes AS r MERGE (c:Change {id: r.props.id}) ON CREATE SET c = r.props
        WITH c, r
        CALL (c, r) { UNWIND r.subjects AS i MATCH (n:Entity {id: i}) MERGE (c)-[:SUBJECT]->(n) }
        CALL (c, r) { UNWIND r.addressed AS i MATCH (n:Entity {id: i}) MERGE (c)-[:ADDRESSES]->(n) }
    }
    CALL () {
        UNWIND $entries AS e MERGE (x:Entry {workspace: e[0], number: e[1]}) SET x.seq = e[2], x.hash = e[3]
    }
    CALL () {
        UNWIND $heads AS h MERGE (x:Chain {workspace: h[0]}) ON CREATE SET x.anchor = 0
        SET x.number = h[1], x.hash = h[2]
    }
    CALL () { UNWIND $anchors AS h MATCH (x:Chain {workspace: h[0]}) SET x.anchor = h[1], x.anchorHash = h[2] }
    CALL () { UNWIND $checkpoints AS r MERGE (p:Checkpoint {number: r.number}) SET p = r }
    CALL () { UNWIND $keys AS r MERGE (i:Idempotency {principal: r.principal, key: r.key}) SET i = r }
    CALL () { MATCH (m:Meta {name: 'changes'}) WHERE m.seq < $seq SET m.seq = $seq }
    RETURN true"""


async def put_back(runner: Runner, part: Aside) -> None:
    """See Transaction.put_back, but for what is kept."""
    changes = {entry.change.id: entry.change for entry in part.entries}
    params: dict[str, Any] = {
        "changes": [
            {
                "props": {**change_props(change), "seq": change.seq},
                "subjects": subjects(change.data),
                "addressed": addressed(change.data),
            }
            for change in changes.values()
        ],
        "entries": [[e.workspace, e.number, e.change.seq, e.hash] for e in part.entries],
        "heads": [[h.workspace, h.number, h.hash] for h in part.heads],
        "anchors": [[h.workspace, h.number, h.hash] for h in part.anchors],
        "checkpoints": [
            {"number": p.number, "body": p.body, "key": p.key, "signature": p.signature} for p in part.checkpoints
        ],
        "keys": [{"principal": k.by, "key": k.key, "hash": k.hash, "ids": list(k.ids), "at": k.at} for k in part.keys],
        "seq": max((change.seq or 0 for change in changes.values()), default=0),
    }
    await runner.run("restore", _TEXT, params)
