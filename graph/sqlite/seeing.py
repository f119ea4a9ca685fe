"""What decides what a caller sees: grants, visibility and shares, read off the graph itself."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from typing import Any

from graph import ontology
from graph.port import Access
from graph.sqlite.migrations import OPEN
from graph.sqlite.reading import NODE, Reader, node_of
from graph.sqlite.where import Compiler

NOTHING = ", ".join(["NULL"] * (NODE.count(",") + 1))
"""As many columns as a node has, for the rows that are none."""

PRINCIPAL, ROLE, PLACE, SHARE = range(4)


_numbers = itertools.count()


class Numbered(sqlite3.Connection):
    """A connection with a number that no other one of this process has, or has had."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number = next(_numbers)


def state(reader: Reader) -> tuple[int, int]:
    """See Snapshot.state. SQLite gives each connection a number that changes when any other one has written."""
    ((version,),) = reader.all("state", "PRAGMA data_version")
    assert isinstance(reader.db, Numbered)
    return reader.db.number, version


def access(reader: Reader, principal: str, teams: Sequence[str]) -> Access:
    """See Snapshot.access. Rows of four sorts in one statement: the first column tells which."""
    sql = Compiler(reader.view)
    name = sql.add(ontology.key_of(ontology.PRINCIPAL, ontology.GLOBAL, None, principal))
    named = sql.array([ontology.key_of(ontology.TEAM, ontology.GLOBAL, None, team) for team in teams])
    text = f"""
        WITH self AS (SELECT k FROM node WHERE key = {name}),
        who AS (
            SELECT k FROM self UNION SELECT k FROM node WHERE key IN (SELECT value FROM {named}) UNION
            SELECT e.dst FROM self CROSS JOIN edge e ON e.src = self.k AND e.kind = 'MEMBER_OF' AND e.until = {OPEN}
            CROSS JOIN node t ON t.k = e.dst AND t.deleted_at IS NULL)
        SELECT {PRINCIPAL}, NULL, NULL, NULL, {NODE} FROM self CROSS JOIN node n ON n.k = self.k
        UNION ALL
        SELECT {ROLE}, w.name, e.disc, NULL, {NOTHING} FROM who
            CROSS JOIN edge e ON e.dst = who.k AND e.kind = 'GRANTS' AND e.until = {OPEN}
            CROSS JOIN node w ON w.k = e.src AND w.deleted_at IS NULL
        UNION ALL
        SELECT {PLACE}, name, visibility, lineage, {NOTHING} FROM (
            SELECT w.name, json_extract(w.props, '$.visibility') AS visibility,
                json_extract(w.props, '$.lineage') AS lineage
            FROM node w INDEXED BY node_Workspace_access WHERE w.kind = 'Workspace' AND w.deleted_at IS NULL)
            WHERE visibility IS NOT NULL OR lineage IS NOT NULL
        UNION ALL
        SELECT {SHARE}, c.id, w.name, NULL, {NOTHING} FROM edge e
            CROSS JOIN node c ON c.k = e.src AND c.deleted_at IS NULL
            CROSS JOIN node w ON w.k = e.dst AND w.deleted_at IS NULL
            WHERE e.kind = 'SHARED_WITH' AND e.until = {OPEN}"""
    found, roles, shared = None, set(), set()
    visibility, opaque = dict[str, str](), set()
    for sort, first, second, third, *node in reader.all("access", text, sql.params):
        if sort == PRINCIPAL:
            found = node_of(node)
        elif sort == ROLE:
            roles.add((first, second))
        elif sort == SHARE:
            shared.add((first, second))
        else:
            if second is not None:
                visibility[first] = second
            if third == "OPAQUE":
                opaque.add(first)
    return Access(found, sorted(roles), visibility, frozenset(opaque), sorted(shared))


def unseen_dependants(reader: Reader, ids: Sequence[str]) -> bool:
    """See Transaction.unseen_dependants."""
    sql = Compiler(reader.view)
    given = sql.array(dict.fromkeys(ids))
    kinds = ", ".join(f"'{name}'" for name in ontology.BLOCKING_EDGES)
    text = f"""SELECT EXISTS (SELECT 1 FROM {given} i CROSS JOIN node n ON n.id = i.value
        CROSS JOIN edge e ON e.dst = n.k AND e.kind IN ({kinds}) AND e.until = {OPEN}
        CROSS JOIN node d ON d.k = e.src AND d.deleted_at IS NULL
        WHERE NOT ({sql.visible("d")}) AND d.id NOT IN (SELECT value FROM {given}))"""
    return bool(reader.all("edges", text, sql.params)[0][0])


def workspaces(reader: Reader, ids: Sequence[str]) -> dict[str, str]:
    """See Snapshot.workspaces."""
    sql = Compiler(reader.view)
    text = f"SELECT n.id, n.workspace FROM {sql.array(dict.fromkeys(ids))} i CROSS JOIN node n ON n.id = i.value"
    return dict(reader.all("workspaces", f"{text} WHERE {sql.visible('n')}", sql.params))
