"""The tables, as numbered steps; `PRAGMA user_version` says how many a file has had."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from graph import ontology
from graph.ids import DEFAULT_WORKSPACE_ID
from lineal.errors import PreconditionFailed

OPEN = 2**63 - 1
"""What `until` holds while an edge is open, so that one comparison tells whether it is live."""

STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
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
)

VERSION = len(STEPS)


def version_of(db: sqlite3.Connection) -> int:
    """How many steps the file has had."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def check(db: sqlite3.Connection) -> None:
    """Raises PreconditionFailed: the file is older or newer than the code."""
    found = version_of(db)
    if found > VERSION:
        msg = (
            f"the store is at version {found}, this Lineal knows {VERSION}: it was written by a newer Lineal; "
            "upgrade this one"
        )
        raise PreconditionFailed(msg, store=found, code=VERSION)
    if found < VERSION:
        msg = f"the store is at version {found}, this Lineal needs {VERSION}: run `lineal migrate`"
        raise PreconditionFailed(msg, store=found, code=VERSION)


def migrate(db: sqlite3.Connection) -> list[str]:
    """Take the steps that are missing, in one transaction; returns their names. Raises PreconditionFailed (newer)."""
    db.execute("BEGIN IMMEDIATE")
    try:
        found = version_of(db)
        if found > VERSION:
            check(db)
        for _, statements in STEPS[found:]:
            for statement in statements:
                db.execute(statement)
        for statement in _derived_indexes():
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return [name for name, _ in STEPS[found:]]


def _derived_indexes() -> Iterator[str]:
    """An index for each property that lists filter or order by, as the ontology has them now."""
    for kind in ontology.NODE_KINDS.values():
        for prop in kind.properties:
            if prop.filterable or prop.name in kind.orders:
                yield (
                    f"CREATE INDEX IF NOT EXISTS node_{kind.name}_{prop.name} "
                    f"ON node (json_extract(props, '$.{prop.name}'), id) "
                    f"WHERE kind = '{kind.name}' AND deleted_at IS NULL"
                )
