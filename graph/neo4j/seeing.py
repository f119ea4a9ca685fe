"""What decides what a caller sees: grants, visibility and shares, read off the graph itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graph import ontology
from graph.neo4j.codec import node_of
from graph.neo4j.where import Compiler, exists, live
from graph.port import Access


def access_text(principal: str, teams: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The statement of Snapshot.access: [principal, roles, workspaces, shares]."""
    body = f"""
        OPTIONAL MATCH (p:Entity {{key: $principal}})
        CALL (p, at) {{
            CALL (p, at) {{
                WITH p WHERE p IS NOT NULL RETURN p AS who
                UNION UNWIND $teams AS k MATCH (who:Entity {{key: k}}) RETURN who
                UNION MATCH (p)-[r:MEMBER_OF]->(who:Team) WHERE {live("r")} AND {exists("who")} RETURN who
            }}
            MATCH (who)<-[r:GRANTS]-(w:Workspace) WHERE {live("r")} AND {exists("w")}
            RETURN collect(DISTINCT [w.name, r.disc]) AS roles
        }}
        CALL (at) {{
            MATCH (w:Workspace) WHERE {exists("w")} AND (w.visibility IS NOT NULL OR w.lineage IS NOT NULL)
            RETURN collect([w.name, w.visibility, w.lineage]) AS places
        }}
        CALL (at) {{
            MATCH (c:Entity)-[r:SHARED_WITH]->(w:Workspace) WHERE {live("r")} AND {exists("c")} AND {exists("w")}
            RETURN collect([c.id, w.name]) AS shared
        }}
        RETURN [p {{.*, search: null}}, roles, places, shared] AS result"""
    return body, {
        "principal": ontology.key_of(ontology.PRINCIPAL, ontology.GLOBAL, None, principal),
        "teams": [ontology.key_of(ontology.TEAM, ontology.GLOBAL, None, team) for team in teams],
    }


def access_of(result: Sequence[Any]) -> Access:
    """What the statement found."""
    principal, roles, places, shared = result
    return Access(
        None if principal is None else node_of(principal),
        sorted((workspace, role) for workspace, role in roles),
        {name: visibility for name, visibility, _ in places if visibility is not None},
        frozenset(name for name, _, lineage in places if lineage == "OPAQUE"),
        sorted((container, workspace) for container, workspace in shared),
    )


def workspaces_text(q: Compiler, ids: Sequence[str]) -> str:
    """The statement of Snapshot.workspaces."""
    return f"""
        UNWIND {q.add(list(dict.fromkeys(ids)))} AS i MATCH (n:Entity {{id: i}})
        WHERE n.createdAt <= at AND {q.visible("n")} RETURN collect([i, n.workspace]) AS result"""


def unseen_dependants_text(q: Compiler, ids: Sequence[str]) -> str:
    """The statement of Transaction.unseen_dependants."""
    given = q.add(list(dict.fromkeys(ids)))
    return f"""
        UNWIND {given} AS i
        WITH at, i WHERE EXISTS {{
            MATCH (:Entity {{id: i}})<-[r:{"|".join(ontology.BLOCKING_EDGES)}]-(d:Entity)
            WHERE {live("r")} AND {exists("d")} AND NOT ({q.visible("d")}) AND NOT d.id IN {given}
        }}
        WITH i LIMIT 1 RETURN count(i) > 0 AS result"""
