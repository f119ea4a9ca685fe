"""A lineage told as events of OpenLineage: each one right by the specification, and taken in again by Lineal itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from gateway.openlineage.parsing import parse
from graph.port import Direction, Graph
from resolvers.exporting.exporting import FORMATS, export
from resolvers.operation import Operation
from resolvers.reading import lineage
from resolvers.writing.importing import record_lineage
from tests.openlineage.conftest import BASE

_NODES: Any = [
    *({"address": each} for each in ("datasets:/clicks", "models:/base", "models:/tuned")),
    {"address": "runs:/training", "properties": {"state": "FINISHED", "startedAt": 1_000_000, "endedAt": 9_000_000}},
    {"address": "datasets:/clicks/v2"},
    {"address": "fields:/clicks/when", "properties": {"type": "timestamp"}},
    {"address": "models:/base/1"},
    {"address": "models:/tuned/1", "properties": {"description": "It ranks."}},
    {"address": "deployments:/live"},
]
_EDGES: Any = [
    {"from": "models:/tuned/1", "kind": "PRODUCED_BY", "to": "runs:/training"},
    {"from": "runs:/training", "kind": "READ", "to": "datasets:/clicks/v2"},
    {"from": "runs:/training", "kind": "READ", "to": "models:/base/1"},
    {"from": "models:/base/1", "kind": "TRAINED_ON", "to": "datasets:/clicks/v2"},
    {"from": "deployments:/live", "kind": "SERVES", "to": "models:/tuned/1"},
]


async def test_a_lineage_is_told_as_events(sqlite_graph: Graph, right: Callable[[Any], None]) -> None:
    async with Operation(sqlite_graph, base=BASE) as op:
        await record_lineage(op, nodes=_NODES, edges=_EDGES)
        found = await lineage(op, ["deployments:/live"], direction=Direction.UPSTREAM)
        done = await export(op, found, FORMATS["openlineage"], direction=Direction.UPSTREAM)
    told = orjson.loads(done.data)
    for event in told:
        right(event)
        parse(event)
    seen = [
        (
            event["eventType"],
            event["job"]["name"],
            *({d["name"] for d in event[side]} for side in ("inputs", "outputs")),
        )
        for event in told
    ]
    trained = ("runs/training", {"clicks", "models/base"}, {"models/tuned"})
    assert seen[:2] == [("START", *trained), ("COMPLETE", *trained)]
    assert sorted(seen[2:], key=lambda each: each[1]) == [
        ("COMPLETE", "clicks", set(), {"clicks"}),
        ("COMPLETE", "deployments/live", {"models/tuned"}, {"deployments/live"}),
        ("COMPLETE", "models/base", {"clicks"}, {"models/base"}),
    ]
