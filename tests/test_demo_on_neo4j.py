"""The demo's graph on Neo4j gives the same downstream sets as networkx, for every data set."""

from __future__ import annotations

from graph.address import Address, parse
from graph.naming import addresses
from graph.ontology import LINEAGE_EDGES
from graph.port import Direction, Graph, Walk
from lineal import demo
from tests.test_demo import expected, facts

BATCH = 40
"""Data sets that are asked about together."""


async def test_downstream_of_every_data_set_is_what_networkx_finds(neo4j_graph: Graph) -> None:
    await demo.load(neo4j_graph, demo.real_models(), lambda *_: None)
    datasets = sorted({name for model in facts() for name in model.get("trainingDatasets", ())})
    walk = Walk(Direction.DOWNSTREAM, depth=200, edges=LINEAGE_EDGES, limit=20_000)
    asked = 0
    for start in range(0, len(datasets), BATCH):
        names = datasets[start : start + BATCH]
        async with neo4j_graph.snapshot() as snapshot:
            roots = await snapshot.resolve([Address("Dataset", "default", name) for name in names])
            closures = await snapshot.closures([[root.id] for root in roots if root], walk)
            shown = await addresses(snapshot, [node for closure in closures for node, _ in closure.nodes])
        for name, closure in zip(names, closures, strict=True):
            assert closure.complete
            named = [parse(shown[node.id]) for node, _ in closure.nodes]
            found = expected(name)
            assert {a.name for a in named if a.kind == "ModelVersion"} == found["model"], name
            assert {a.name for a in named if a.kind == "Deployment"} == found["deployment"], name
            asked += 1
    assert asked == 711
