"""The statements about edges, each for the kinds that it is to find or make.

Kinds are literals in the texts, in the ontology's order: a type as a parameter would keep the planner
from using indexes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from graph import ontology
from graph.neo4j.codec import OPEN, whole_edge_row

EDGE: Final = whole_edge_row("r")
EVERY_KIND: Final = "|".join(ontology.EDGE_KINDS)

CYCLE: Final = f"""
    UNWIND $rows AS e
    CALL (e) {{
        MATCH (a:Entity {{id: e[0]}}) MATCH (b:Entity {{id: e[1]}})
        MATCH p = shortestPath((b)-[rs:{"|".join(ontology.WALKABLE_EDGES)}*1..]->(a))
        WHERE all(r IN rs WHERE r.until = {OPEN})
        RETURN [n IN nodes(p) | n.id] AS path LIMIT 1
    }}
    WITH path LIMIT 1 RETURN collect(path)"""
"""A way from the target of one of the edges in $rows back to its source."""


def _types(kinds: Collection[str]) -> str:
    return "|".join(name for name in ontology.EDGE_KINDS if name in kinds)


def _each(kinds: Collection[str], test: str) -> str:
    """Match the edges of $rows, as [kind, source, target, discriminator, …], that meet the test."""
    return f"""
        UNWIND $rows AS e MATCH (a:Entity {{id: e[1]}}) MATCH (b:Entity {{id: e[2]}})
        MATCH (a)-[r:{_types(kinds)}]->(b) WHERE type(r) = e[0] AND r.disc = e[3] AND {test}"""


def among(kinds: Collection[str], test: str) -> str:
    """Those of the edges in $rows that are there and meet the test."""
    return f"{_each(kinds, test)} RETURN collect(DISTINCT {EDGE})"


def held(kinds: Collection[str]) -> str:
    """[key, edge] for the open edges that hold one of $keys."""
    parts = " UNION ALL ".join(
        f"UNWIND $keys AS k MATCH ()-[r:{kind}]->() WHERE r.openKey = k RETURN k, {EDGE} AS edge"
        for kind in ontology.EDGE_KINDS
        if kind in kinds
    )
    return f"CALL () {{ {parts} }} RETURN collect([k, edge])"


def matching(kinds: Collection[str]) -> str:
    """Open edges that match one of $rows, as [kind, source or null, target or null, discriminator or null]."""
    types = _types(kinds)
    tests = f"type(r) = e[0] AND r.until = {OPEN} AND (e[3] IS NULL OR r.disc = e[3])"
    return f"""
        UNWIND $rows AS e
        CALL (e) {{
            WITH e WHERE e[1] IS NOT NULL
            MATCH (a:Entity {{id: e[1]}})-[r:{types}]->(b:Entity)
            WHERE {tests} AND (e[2] IS NULL OR b.id = e[2]) RETURN r
            UNION
            WITH e WHERE e[1] IS NULL
            MATCH (a:Entity)-[r:{types}]->(b:Entity {{id: e[2]}}) WHERE {tests} RETURN r
        }}
        RETURN collect(DISTINCT {EDGE})"""


def open_of() -> str:
    """Open edges from or to one of $ids."""
    return f"""
        UNWIND $ids AS i MATCH (:Entity {{id: i}})-[r:{EVERY_KIND}]-() WHERE r.until = {OPEN}
        RETURN collect(DISTINCT {EDGE})"""


def insert(kinds: Collection[str]) -> str:
    """Make edges: for each kind a parameter of its name with [source, target, properties]."""
    parts = " ".join(
        f"""CALL () {{
            UNWIND ${ontology.EDGE_KINDS[kind].name} AS e MATCH (a:Entity {{id: e[0]}}) MATCH (b:Entity {{id: e[1]}})
            CREATE (a)-[r:{kind}]->(b) SET r = e[2] }}"""
        for kind in kinds
    )
    return f"{parts} RETURN true"


def rewrite(kinds: Collection[str]) -> str:
    """Set the properties of edges, as [kind, source, target, discriminator, since, properties]."""
    return f"{_each(kinds, 'r.since = e[4]')} SET r += e[5] RETURN count(*)"


def end(kinds: Collection[str]) -> str:
    """End the edges in $rows at $now; what began no earlier goes altogether."""
    there = f"r.since = e[4] AND r.until = {OPEN}"
    return f"""
        CALL () {{ {_each(kinds, f"{there} AND r.since >= $now")} DELETE r }}
        CALL () {{ {_each(kinds, there)} SET r.until = $now, r.openKey = null }}
        RETURN true"""
