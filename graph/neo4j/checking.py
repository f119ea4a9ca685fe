"""What does not belong into a database: nodes beside the graph that lead to none of its nodes."""

from __future__ import annotations

from typing import Final

from graph.neo4j.running import Runner
from graph.port import Strays

STRAYS: Final = {
    "tags of nothing": "MATCH (x:Tag) WHERE NOT EXISTS { MATCH (:Entity {id: x.owner}) }",
    "parameters of nothing": "MATCH (x:Param) WHERE NOT EXISTS { MATCH (:Entity {id: x.owner}) }",
    "metrics of nothing": "MATCH (x:Metric) WHERE NOT EXISTS { MATCH (:Entity {id: x.owner}) }",
    "points of nothing": "MATCH (x:Chunk) WHERE NOT EXISTS { MATCH (:Metric {owner: x.owner, name: x.name}) }",
    "former names of nothing": "MATCH (x:Former) WHERE NOT EXISTS { MATCH (:Entity {id: x.id}) }",
}
"""What can go, and how it is told. An edge without an end there is none of in Neo4j."""
MAX_DAMAGE: Final = 20
_BATCH: Final = 10_000


async def strays(runner: Runner) -> Strays:
    """See Graph.strays."""
    found = {}
    for what, match in STRAYS.items():
        (found[what],) = await runner.run("check", f"{match} RETURN count(x)", {})
    (lost,) = await runner.run(
        "check",
        "MATCH (n:Entity) WHERE NOT EXISTS { MATCH (:Entity {id: n.container}) } "
        "WITH n LIMIT $most RETURN collect([n.id, n.container])",
        {"most": MAX_DAMAGE},
    )
    damage = [f"{id} belongs to {container}, which is not there" for id, container in lost]
    return Strays({what: count for what, count in found.items() if count}, damage)


async def drop_strays(runner: Runner) -> bool:
    """Drop some of each sort; whether there may be more. See Graph.drop_strays."""
    more = False
    for match in STRAYS.values():
        text = f"{match} WITH x LIMIT $batch DETACH DELETE x RETURN count(*)"
        (count,) = await runner.run("check", text, {"batch": _BATCH})
        more |= count == _BATCH
    return more
