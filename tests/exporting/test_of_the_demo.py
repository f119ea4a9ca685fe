"""The demo's answer, what came of NQ, in each form: right by its standard at its full size."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import networkx as nx
import orjson
import pytest
import pytest_asyncio
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from prov.model import ProvDocument, ProvElement
from spdx_python_model.bindings import v3_0_1 as spdx3

from graph.port import Direction, Graph
from graph.sqlite.store import SqliteGraph
from lineal import demo
from resolvers.exporting.exporting import export, format_of
from resolvers.operation import Operation
from resolvers.reading import lineage
from tests.environments import run
from tests.mlcroissant import mlcroissant_python
from tests.openlineage.conftest import BASE, right, specification

__all__ = ["right", "specification"]

MODELS, DEPLOYMENTS = 314, 7
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def graph_of_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Graph]:
    """The demo's graph."""
    async with SqliteGraph(tmp_path_factory.mktemp("demo") / "lineal.db") as graph:
        await graph.migrate()
        await demo.load(graph, demo.real_models(), lambda *_: None)
        yield graph


async def _of_nq(graph: Graph, name: str, direction: Direction = Direction.DOWNSTREAM) -> bytes:
    async with Operation(graph, base=BASE) as op:
        found = await lineage(op, ["datasets:/NQ"], direction=direction)
        done = await export(op, found, format_of(name), direction=direction)
        assert done.of.complete
        return done.data


async def test_bills_of_materials_have_every_model(graph_of_demo: Graph) -> None:
    text = (await _of_nq(graph_of_demo, "cyclonedx")).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    assert sum(each["type"] == "machine-learning-model" for each in bom["components"]) == MODELS
    assert len(bom["services"]) == DEPLOYMENTS
    spdx: Any = spdx3
    objects = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(await _of_nq(graph_of_demo, "spdx")), objects)
    assert not objects.link()
    assert len(list(objects.foreach_type(spdx.ai_AIPackage))) == MODELS


async def test_prov_has_every_model_and_deployment(graph_of_demo: Graph) -> None:
    text = (await _of_nq(graph_of_demo, "prov-json")).decode()
    document = ProvDocument.deserialize(content=text, format="json")
    found = document.get_records(ProvElement)
    kinds = [str(next(iter(each.get_attribute("prov:type")))) for each in found]
    assert (kinds.count("lineal:ModelVersion"), kinds.count("lineal:Deployment")) == (MODELS, DEPLOYMENTS)


async def test_openlineage_tells_every_registration_and_deployment(
    graph_of_demo: Graph, right: Callable[[Any], None]
) -> None:
    events = orjson.loads(await _of_nq(graph_of_demo, "openlineage"))
    jobs = [event["job"]["facets"]["jobType"]["jobType"] for event in events if "job" in event]
    assert (jobs.count("REGISTRATION"), jobs.count("DEPLOYMENT")) == (MODELS, DEPLOYMENTS)
    for event in [event for event in events if "dataset" in event] + events[1:20] + events[-20:]:
        right(event)


async def test_pictures_have_the_same_nodes_and_edges(graph_of_demo: Graph) -> None:
    graph = nx.parse_graphml((await _of_nq(graph_of_demo, "graphml")).decode(), force_multigraph=True)
    assert graph.number_of_nodes() == MODELS + DEPLOYMENTS + 1
    for name, arrow in (("mermaid", "-->|"), ("dot", " -> ")):
        assert (await _of_nq(graph_of_demo, name)).decode().count(arrow) == graph.number_of_edges()


@pytest.mark.services
async def test_croissant_of_nq_is_loaded_by_mlcroissant_without_an_error(graph_of_demo: Graph, tmp_path: Path) -> None:
    python = mlcroissant_python()
    (tmp_path / "nq.json").write_bytes(await _of_nq(graph_of_demo, "croissant", Direction.UPSTREAM))
    script = (
        "import sys, json, mlcroissant as m; d = m.Dataset(jsonld=sys.argv[1]); i = d.metadata.ctx.issues; "
        "print(json.dumps([d.metadata.name, sorted(i.errors), sorted(w.split(chr(34))[1] for w in i.warnings)]))"
    )
    name, errors, warnings = json.loads(run(python, script, tmp_path / "nq.json", cwd=tmp_path).splitlines()[-1])
    assert (name, errors) == ("NQ", [])
    # Nobody told the demo more of NQ than its name.
    unknown = ("datePublished", "license", "version")
    assert warnings == ["http://mlcommons.org/croissant/citeAs", *(f"https://schema.org/{each}" for each in unknown)]
