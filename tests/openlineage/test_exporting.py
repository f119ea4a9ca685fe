"""A lineage told as events of OpenLineage: each one right by the specification, and taken in again by Lineal itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette

from auth.challenges import Resource
from gateway.openlineage.view import create_openlineage_routes
from graph.address import Address
from graph.port import EVERYTHING, Direction, Graph
from graph.sqlite.store import SqliteGraph
from resolvers.exporting.exporting import FORMATS, export
from resolvers.openlineage.telling import Narrator
from resolvers.operation import Operation
from resolvers.reading import lineage
from resolvers.writing.common import FieldParent
from resolvers.writing.datasets import register_fields
from resolvers.writing.deployments import record_deployment, update_deployment
from resolvers.writing.importing import record_lineage
from resolvers.writing.runs import record_run, update_run
from resolvers.writing.versions import create_model_version
from tests import building
from tests.openlineage.conftest import BASE
from tests.openlineage.picturing import picture

_NODES: Any = [
    *({"address": each} for each in ("datasets:/raw", "datasets:/clicks", "models:/base", "models:/tuned")),
    {"address": "runs:/training", "properties": {"state": "FINISHED", "startedAt": 1_000_000, "endedAt": 9_000_000}},
    {"address": "datasets:/raw/v1"},
    {"address": "datasets:/clicks/v2"},
    {"address": "fields:/clicks/when", "properties": {"type": "timestamp"}},
    {"address": "models:/base/1"},
    {"address": "models:/tuned/1", "properties": {"description": "It ranks."}},
    {"address": "deployments:/live"},
]
_EDGES: Any = [
    {"from": "datasets:/clicks/v2", "kind": "DERIVED_FROM", "to": "datasets:/raw/v1", "discriminator": "filter"},
    {"from": "models:/tuned/1", "kind": "PRODUCED_BY", "to": "runs:/training"},
    {"from": "models:/tuned/1", "kind": "DERIVED_FROM", "to": "models:/base/1"},
    {"from": "runs:/training", "kind": "READ", "to": "datasets:/clicks/v2"},
    {"from": "models:/base/1", "kind": "TRAINED_ON", "to": "datasets:/clicks/v2"},
    {"from": "deployments:/live", "kind": "SERVES", "to": "models:/tuned/1"},
]


async def _told(op: Operation, of: list[str], **how: Any) -> list[Any]:
    """The events of an upstream lineage."""
    found = await lineage(op, of, direction=Direction.UPSTREAM, **how)
    done = await export(op, found, FORMATS["openlineage"], direction=Direction.UPSTREAM)
    events: list[Any] = orjson.loads(done.data)
    return events


def _seen(event: Any) -> tuple[str, str, set[str], set[str]]:
    """What sort of event of which job it is, and what that read and made."""
    if "dataset" in event:
        sources = event["dataset"]["facets"].get("lineage", {"inputs": []})["inputs"]
        return "DATASET", "", {d["name"] for d in sources}, {event["dataset"]["name"]}
    ends = ({d["name"] for d in event[side]} for side in ("inputs", "outputs"))
    return event["eventType"], event["job"]["name"], *ends


async def test_a_lineage_is_told_as_events(sqlite_graph: Graph, right: Callable[[Any], None]) -> None:
    async with Operation(sqlite_graph, base=BASE) as op:
        await record_lineage(op, nodes=_NODES, edges=_EDGES)
        told = await _told(op, ["deployments:/live"])
    for event in told:
        right(event)
    seen = [_seen(event) for event in told]
    trained = ("runs/training", {"clicks", "models/base"}, {"models/tuned"})
    assert seen[:2] == [("START", *trained), ("COMPLETE", *trained)]
    assert sorted(seen[2:], key=lambda each: (each[1], sorted(each[3]))) == [
        ("DATASET", "", {"raw"}, {"clicks"}),
        ("DATASET", "", set(), {"raw"}),
        ("COMPLETE", "deployments/live", {"models/tuned"}, {"deployments/live"}),
        ("COMPLETE", "models/base", {"clicks"}, {"models/base"}),
    ]


async def test_how_something_came_to_be_that_was_cut_off_is_not_made_up(sqlite_graph: Graph) -> None:
    async with Operation(sqlite_graph, base=BASE) as op:
        await record_lineage(op, nodes=_NODES, edges=_EDGES)
        (event,) = await _told(op, ["deployments:/live"], depth=1)
    assert _seen(event) == ("COMPLETE", "deployments/live", {"models/tuned"}, {"deployments/live"})
    assert [tag["key"] for tag in event["inputs"][0]["facets"]["tags"]["tags"]] == ["lineal.frontier"]


async def test_columns_are_told_with_what_they_came_from(sqlite_graph: Graph, right: Callable[[Any], None]) -> None:
    async with Operation(sqlite_graph, base=BASE) as op:
        await _register_columns(op)
        told = await _told(op, ["datasets:/features"])
    for event in told:
        right(event)
    (features,) = [event["dataset"] for event in told if event["dataset"]["name"] == "features"]
    (source,) = features["facets"]["columnLineage"]["fields"]["x"]["inputFields"]
    assert (source["name"], source["field"], source["transformations"][0]["subtype"]) == ("corpus", "text", "embed")


# ── One naming ────────────────────────────────────────────────────────────────────────────────────


async def _register_columns(op: Operation) -> None:
    text: Any = [{"name": "text", "type": "string"}]
    await register_fields(op, dataset="datasets:/corpus", create_dataset=True, fields=text)
    source: FieldParent = {"field": str(Address("Field", "default", "corpus", "text")), "relation": "embed"}
    features: Any = [{"name": "x", "type": "float", "derivedFrom": [source]}]
    await register_fields(op, dataset="datasets:/features", create_dataset=True, fields=features)


async def _story(op: Operation, workspace: str) -> None:
    """Runs of every sort of job, a model that one made, one that none made, and a deployment that changes."""
    at = "" if workspace == "default" else f"{workspace}:"
    sweep = await record_run(
        op, name="sweep", experiment=f"experiments:/{at}search", create_experiment=True, workspace=workspace
    )
    run = await record_run(
        op,
        name="train-1",
        pipeline=f"pipelines:/{at}train",
        create_pipeline=True,
        parent=sweep.id,
        inputs=[{"address": f"datasets:/{at}corpus", "create": True}],
        outputs=[{"dataset": f"datasets:/{at}features/v1", "create": True}],
        params=[{"name": "lr", "value": "0.1"}],
        metrics=[{"name": "loss", "value": 0.5}],
        workspace=workspace,
    )
    base = await create_model_version(
        op,
        model=f"models:/{at}base",
        create_model=True,
        inputs=[{"dataset": f"datasets:/{at}books/v1", "create": True}],
        code={"repository": "https://git.test/a.git", "commit": "abc"},
    )
    tuned = await create_model_version(
        op,
        model=f"models:/{at}tuned",
        create_model=True,
        run=run.id,
        parents=[{"version": base.id, "relation": "finetune"}],
        properties={"frameworks": ["PyTorch"], "description": "Ranks."},
        metrics=[{"name": "ndcg", "value": 0.9}],
    )
    await update_run(op, address=run.id, properties={"state": "FINISHED"})
    alone = await record_run(
        op, name="0198c1fb-30e4-7c9b-a1b1-9a7c1e1f7a2d", inputs=[{"address": tuned.id}], workspace=workspace
    )
    await update_run(op, address=alone.id, properties={"state": "FAILED"})
    live = await record_deployment(op, name="live", serves=[{"version": base.id}], workspace=workspace)
    await update_deployment(op, address=live.id, serves=[{"version": tuned.id, "weight": 1.0}])


async def _emitted(graph: Graph, narrator: Narrator) -> list[Any]:
    """What goes out of all that happened."""
    async with graph.snapshot(EVERYTHING) as snapshot:
        changes = await snapshot.changes(limit=500)
        return [event for change in changes for event in await narrator.events(snapshot, change)]


@asynccontextmanager
async def _reader(path: Path) -> Any:
    """Another Lineal, which takes events in over HTTP."""
    async with SqliteGraph(path) as graph:
        await graph.migrate()
        routes = create_openlineage_routes(lambda _: Operation(graph), resource=Resource(BASE))
        transport = httpx.ASGITransport(Starlette(routes=routes))
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
            yield graph, http


@pytest.mark.parametrize(("namespace", "workspace"), [("lineal", "default"), ("shop", "default"), ("lineal", "vision")])
async def test_what_is_exported_and_read_in_has_the_names_of_what_goes_out(
    sqlite_graph: Graph, tmp_path: Path, namespace: str, workspace: str
) -> None:
    if workspace != "default":
        await building.workspace(sqlite_graph, workspace)
    async with Operation(sqlite_graph, base=BASE, namespace=namespace) as op:
        await _story(op, workspace)
        at = "" if workspace == "default" else f"{workspace}:"
        runs = [f"runs:/{at}{name}" for name in ("sweep", "0198c1fb-30e4-7c9b-a1b1-9a7c1e1f7a2d")]
        exported = await _told(op, [f"deployments:/{at}live", f"datasets:/{at}features/v1", *runs])
    emitted = await _emitted(sqlite_graph, Narrator(namespace, BASE))
    pictures = []
    for name, events in (("emitted", emitted), ("exported", exported)):
        async with _reader(tmp_path / f"{name}.db") as (graph, http):
            for event in events:
                answer = await http.post("/api/v1/lineage", json=event)
                assert answer.status_code == 201, answer.text
            pictures.append(await picture(graph))
    out, file = pictures
    for kind in ("CodeRevision", "Dataset", "Pipeline", "Run", "Model", "ModelVersion"):
        assert file.of(kind) == out.of(kind) != set(), kind
    assert file.edges == out.edges
