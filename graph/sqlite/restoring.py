"""What a backup has beside the graph, over one SQLite connection: read whole, and put back as it was."""

from __future__ import annotations

import orjson

from graph.port import Aside, Kept, Key
from graph.recording import addressed, subjects, write_data
from graph.sqlite.keeping import keep
from graph.sqlite.reading import Reader
from graph.sqlite.where import Compiler
from graph.sqlite.writing import Writer


def all_kept(reader: Reader, after: tuple[str, int], limit: int) -> list[Kept]:
    """See Snapshot.all_kept."""
    rows = reader.all(
        "kept",
        "SELECT owner, number, state, data FROM kept WHERE (owner, number) > (?, ?) ORDER BY owner, number LIMIT ?",
        (*after, limit),
    )
    return [Kept(owner, number, state, orjson.loads(data)) for owner, number, state, data in rows]


def keys(reader: Reader, after: tuple[str, str], limit: int) -> list[Key]:
    """See Snapshot.keys."""
    rows = reader.all(
        "recall",
        "SELECT principal, key, hash, ids, at FROM idempotency WHERE (principal, key) > (?, ?) "
        "ORDER BY principal, key LIMIT ?",
        (*after, limit),
    )
    return [Key(by, key, hash, orjson.loads(ids), at) for by, key, hash, ids, at in rows]


def put_back(writer: Writer, part: Aside) -> None:
    """See Transaction.put_back."""
    _put_entries(writer, part)
    writer.many(
        "restore",
        "INSERT INTO chain (workspace, number, hash) VALUES (?, ?, ?) "
        "ON CONFLICT (workspace) DO UPDATE SET number = excluded.number, hash = excluded.hash",
        [(head.workspace, head.number, head.hash) for head in part.heads],
    )
    writer.many(
        "restore",
        "UPDATE chain SET anchor = ?, anchor_hash = ? WHERE workspace = ?",
        [(anchor.number, anchor.hash, anchor.workspace) for anchor in part.anchors],
    )
    writer.many(
        "restore",
        "INSERT OR REPLACE INTO checkpoint (number, body, key, signature) VALUES (?, ?, ?, ?)",
        [(each.number, each.body, each.key, each.signature) for each in part.checkpoints],
    )
    writer.many(
        "restore",
        "INSERT OR REPLACE INTO idempotency (principal, key, hash, ids, at) VALUES (?, ?, ?, ?, ?)",
        [(key.by, key.key, key.hash, orjson.dumps(list(key.ids)).decode(), key.at) for key in part.keys],
    )
    keep(writer, part.kept, {})


def _put_entries(writer: Writer, part: Aside) -> None:
    changes = {entry.change.seq: entry.change for entry in part.entries}
    writer.many(
        "restore",
        "INSERT OR IGNORE INTO change (seq, id, at, by, action, request, data, client, token, address, workspaces) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                c.seq, c.id, c.at, c.by, c.action, c.request, write_data(c.data), c.origin.client, c.origin.token,
                c.origin.address, orjson.dumps(c.workspaces).decode(),
            )
            for c in changes.values()
        ],
    )  # fmt: skip
    writer.many(
        "restore",
        "INSERT OR IGNORE INTO entry (workspace, number, seq, hash) VALUES (?, ?, ?, ?)",
        [(e.workspace, e.number, e.change.seq, e.hash) for e in part.entries],
    )
    about = [
        (seq, id, only)
        for seq, change in changes.items()
        for only, ids in ((0, subjects(change.data)), (1, addressed(change.data)))
        for id in ids
    ]
    sql = Compiler(writer.view)
    writer.all(
        "restore",
        "INSERT OR IGNORE INTO subject (node, seq, addressed) SELECT n.k, i.value ->> 0, i.value ->> 2 "
        f"FROM {sql.array(about)} i CROSS JOIN node n ON n.id = i.value ->> 1",
        sql.params,
    )
