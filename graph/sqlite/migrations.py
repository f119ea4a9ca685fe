"""The tables, as numbered steps; `PRAGMA user_version` says how many a file has had."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from graph import ontology
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Change, Head, NewerStore, Origin
from graph.recording import place, read_data, read_workspaces
from lineal.errors import PreconditionFailed

OPEN = 2**63 - 1
"""What `until` holds while an edge is open, so that one comparison tells whether it is live."""

CHANGE = "c.id, c.at, c.by, c.action, c.request, c.data, c.client, c.token, c.address, c.workspaces, c.seq"


def change_of(row: Sequence[Any]) -> Change:
    """A row of CHANGE."""
    id, at, by, action, request, data, client, token, address, workspaces, seq = row
    origin = Origin(client, token, address)
    return Change(id, at, by, action, request, read_data(data), origin, read_workspaces(workspaces), seq)


def _chain_all(db: sqlite3.Connection) -> None:
    """Put the changes of a store that had one chain for all into the chains of the workspaces of their subjects.

    An import before has no subjects: it goes into the chain of "".
    """
    heads: dict[str, Head] = {}
    for row in db.execute(f"SELECT {CHANGE} FROM change c ORDER BY c.seq"):
        entries = [(e.workspace, e.number, e.change.seq, e.hash) for e in place(change_of(row), heads)]
        db.executemany("INSERT INTO entry (workspace, number, seq, hash) VALUES (?, ?, ?, ?)", entries)
    chains = [(h.workspace, h.number, h.hash) for h in heads.values()]
    db.executemany("INSERT INTO chain (workspace, number, hash) VALUES (?, ?, ?)", chains)


def _drop_indexes_of_properties(db: sqlite3.Connection) -> None:
    """Those of each kind by itself: what there is to be of them now is made at the end of the migration."""
    text = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%ON node (json_extract(%'"
    for (name,) in db.execute(text).fetchall():
        db.execute(f'DROP INDEX "{name}"')


Step = str | Callable[[sqlite3.Connection], None]
"""A statement, or what a statement cannot say."""

STEPS: tuple[tuple[str, tuple[Step, ...]], ...] = (
    (
        "0001 nodes, edges and what they own",
        (
            """CREATE TABLE node (
                k INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, workspace TEXT NOT NULL,
                container TEXT NOT NULL, key TEXT UNIQUE, name TEXT NOT NULL, sort TEXT NOT NULL,
                created_at INTEGER NOT NULL, created_by TEXT NOT NULL, updated_at INTEGER NOT NULL,
                revision INTEGER NOT NULL, deleted_at INTEGER, props TEXT NOT NULL) STRICT""",
            "CREATE INDEX node_name ON node (kind, sort, id) WHERE deleted_at IS NULL",
            "CREATE INDEX node_created ON node (kind, created_at, id) WHERE deleted_at IS NULL",
            "CREATE INDEX node_updated ON node (kind, updated_at, id) WHERE deleted_at IS NULL",
            "CREATE INDEX node_container ON node (container)",
            "CREATE TABLE former (key TEXT PRIMARY KEY, node INTEGER NOT NULL) STRICT, WITHOUT ROWID",
            "CREATE INDEX former_node ON former (node)",
            """CREATE TABLE edge (
                src INTEGER NOT NULL, kind TEXT NOT NULL, dst INTEGER NOT NULL, disc TEXT NOT NULL,
                since INTEGER NOT NULL, until INTEGER NOT NULL, open_key TEXT, props TEXT,
                PRIMARY KEY (src, kind, dst, disc, since)) STRICT, WITHOUT ROWID""",
            "CREATE INDEX edge_in ON edge (dst, kind, src, disc, since, until, props)",
            "CREATE UNIQUE INDEX edge_open ON edge (open_key) WHERE open_key IS NOT NULL",
            """CREATE TABLE tag (
                owner INTEGER, name TEXT, value TEXT NOT NULL, PRIMARY KEY (owner, name)) STRICT, WITHOUT ROWID""",
            "CREATE INDEX tag_value ON tag (name, value, owner)",
            """CREATE TABLE param (
                owner INTEGER, name TEXT, value TEXT NOT NULL, PRIMARY KEY (owner, name)) STRICT, WITHOUT ROWID""",
            "CREATE INDEX param_value ON param (name, value, owner)",
            """CREATE TABLE metric (
                owner INTEGER, name TEXT, value REAL, minimum REAL, maximum REAL, step INTEGER NOT NULL,
                time INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (owner, name)) STRICT, WITHOUT ROWID""",
            "CREATE INDEX metric_value ON metric (name, value, owner)",
            """CREATE TABLE chunk (
                owner INTEGER, name TEXT, number INTEGER, points TEXT NOT NULL, PRIMARY KEY (owner, name, number))
                STRICT, WITHOUT ROWID""",
            "CREATE VIRTUAL TABLE search USING fts5 (tokens, tokenize = 'ascii', detail = 'none', prefix = '2 4')",
        ),
    ),
    (
        "0002 changes, leases and idempotency",
        (
            """CREATE TABLE change (
                seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, by TEXT NOT NULL,
                action TEXT NOT NULL, request TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL) STRICT""",
            "CREATE TABLE subject (node INTEGER, seq INTEGER, PRIMARY KEY (node, seq)) STRICT, WITHOUT ROWID",
            """CREATE TABLE lease (
                name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, until INTEGER NOT NULL) STRICT""",
            """CREATE TABLE idempotency (
                principal TEXT, key TEXT, hash TEXT NOT NULL, ids TEXT NOT NULL, at INTEGER NOT NULL,
                PRIMARY KEY (principal, key)) STRICT, WITHOUT ROWID""",
            "CREATE INDEX idempotency_at ON idempotency (at)",
            f"""INSERT INTO node VALUES (
                1, '{DEFAULT_WORKSPACE_ID}', 'Workspace', 'default', '{DEFAULT_WORKSPACE_ID}', 'Workspace//default',
                'default', 'default', 0, 'lineal', 0, 1, NULL, '{{}}')""",
            "INSERT INTO search (rowid, tokens) VALUES (1, 'default')",
        ),
    ),
    (
        "0003 chains of audit for each workspace",
        (
            "ALTER TABLE change ADD COLUMN client TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE change ADD COLUMN token TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE change ADD COLUMN address TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE change ADD COLUMN workspaces TEXT NOT NULL DEFAULT '[]'",
            "ALTER TABLE change DROP COLUMN hash",
            "CREATE INDEX change_by ON change (by, seq)",
            "CREATE INDEX change_request ON change (request, seq) WHERE request != ''",
            "CREATE INDEX change_at ON change (at)",
            "ALTER TABLE subject ADD COLUMN addressed INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX subject_seq ON subject (seq, addressed)",
            """CREATE TABLE entry (
                workspace TEXT NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL,
                PRIMARY KEY (workspace, number)) STRICT, WITHOUT ROWID""",
            "CREATE UNIQUE INDEX entry_seq ON entry (seq DESC, workspace)",
            """CREATE TABLE chain (
                workspace TEXT PRIMARY KEY, number INTEGER NOT NULL, hash TEXT NOT NULL,
                anchor INTEGER NOT NULL DEFAULT 0, anchor_hash TEXT) STRICT, WITHOUT ROWID""",
            """CREATE TABLE checkpoint (
                number INTEGER PRIMARY KEY, body TEXT NOT NULL, key TEXT NOT NULL, signature TEXT NOT NULL) STRICT""",
            """UPDATE change SET workspaces = coalesce(
                (SELECT json_group_array(workspace) FROM (
                    SELECT DISTINCT n.workspace FROM subject s JOIN node n ON n.k = s.node WHERE s.seq = change.seq
                    ORDER BY 1) HAVING count(*) > 0), '[""]')""",
            _chain_all,
        ),
    ),
    (
        "0004 indexes of what says who sees what",
        (
            f"CREATE INDEX edge_shared ON edge (src, dst) WHERE kind = 'SHARED_WITH' AND until = {OPEN}",
            """CREATE INDEX node_Workspace_access ON node (
                name, json_extract(props, '$.visibility'), json_extract(props, '$.lineage'))
                WHERE kind = 'Workspace' AND deleted_at IS NULL""",
        ),
    ),
    (
        "0005 what background work keeps",
        (
            """CREATE TABLE kept (
                owner TEXT, number INTEGER, state TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (owner, number))
                STRICT, WITHOUT ROWID""",
            "CREATE INDEX kept_state ON kept (owner, state, number)",
        ),
    ),
    (
        "0006 an index of the names that workspaces have or had",
        ("CREATE INDEX node_Workspace_name ON node (name) WHERE kind = 'Workspace'",),
    ),
    ("0007 an index of each property for all kinds that have it", (_drop_indexes_of_properties,)),
)

VERSION = len(STEPS)


def version_of(db: sqlite3.Connection) -> int:
    """How many steps the file has had."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def pending(db: sqlite3.Connection) -> list[str]:
    """The names of the steps that are missing. Raises NewerStore."""
    found = version_of(db)
    if found > VERSION:
        msg = (
            f"the store is at version {found}, this Lineal knows {VERSION}: it was written by a newer Lineal; "
            "upgrade this one"
        )
        raise NewerStore(msg, store=found, code=VERSION)
    return [name for name, _ in STEPS[found:]]


def check(db: sqlite3.Connection) -> int:
    """The version of the file. Raises PreconditionFailed: it is older or newer than the code."""
    found = VERSION - len(pending(db))
    if found < VERSION:
        msg = f"the store is at version {found}, this Lineal needs {VERSION}: run `lineal migrate`"
        raise PreconditionFailed(msg, store=found, code=VERSION)
    return found


def migrate(db: sqlite3.Connection) -> list[str]:
    """Take the steps that are missing, in one transaction; returns their names. Raises PreconditionFailed (newer)."""
    db.execute("BEGIN IMMEDIATE")
    try:
        missing = pending(db)
        for _, statements in STEPS[VERSION - len(missing) :]:
            for statement in statements:
                if isinstance(statement, str):
                    db.execute(statement)
                else:
                    statement(db)
        for statement in _derived_indexes():
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return missing


def index_of(kind: ontology.NodeKind, prop: ontology.Property) -> str | None:
    """The index of a property, which the kinds that have it share: SQLite looks at each there is at every write.

    It has what has a value: no order and no filter reads off an index what has none. A number has indexes of its kind,
    which statements name, those of older processes too.
    """
    return f"property_{prop.name}" if kind.is_indexed(prop) and prop.name != "number" else None


def _derived_indexes() -> Iterator[str]:
    """The indexes of the properties that lists filter or order by, as the ontology has them now."""
    shared: dict[str, str] = {}
    for kind in ontology.NODE_KINDS.values():
        if kind.within and "number" in kind.orders:
            for name, columns in (("place", "container, "), ("number", "")):
                yield (
                    f"CREATE INDEX IF NOT EXISTS node_{kind.name}_{name} "
                    f"ON node ({columns}json_extract(props, '$.number'), id) "
                    f"WHERE kind = '{kind.name}' AND deleted_at IS NULL"
                )
        shared |= {index: prop.name for prop in kind.properties if (index := index_of(kind, prop))}
    for index, of in shared.items():
        yield (
            f"CREATE INDEX IF NOT EXISTS {index} ON node (kind, json_extract(props, '$.{of}'), id) "
            f"WHERE deleted_at IS NULL AND json_extract(props, '$.{of}') IS NOT NULL"
        )
