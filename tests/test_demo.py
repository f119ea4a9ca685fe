"""The demo's figures and graph, against the same facts computed without Lineal."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import pytest_asyncio

from auth.caller import named
from graph.address import Address, parse
from graph.naming import addresses
from graph.ontology import LINEAGE_EDGES
from graph.port import Direction, Graph, Hop, Walk
from graph.sqlite.store import SqliteGraph
from lineal import demo
from lineal.errors import AlreadyExists
from resolvers import reading
from resolvers.operation import Operation


@cache
def facts() -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in resources.files("lineal").joinpath("data/mteb-models.jsonl").read_text("utf-8").splitlines()
    ]


@cache
def oracle() -> Any:
    """Arrows from what was learned from to what learned from it."""
    graph: nx.DiGraph[tuple[str, str]] = nx.DiGraph()
    for model in facts():
        graph.add_edges_from((("model", base), ("model", model["name"])) for base in model.get("adaptedFrom", ()))
        graph.add_edges_from((("data", d), ("model", model["name"])) for d in model.get("trainingDatasets", ()))
    for name, _, served in demo.DEPLOYMENTS:
        graph.add_edges_from((("model", model), ("deployment", name)) for model, _ in served)
    return graph


def expected(dataset: str) -> dict[str, set[str]]:
    found = nx.descendants(oracle(), ("data", dataset))
    return {kind: {name for k, name in found if k == kind} for kind in ("model", "deployment")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Graph]:
    """The demo's graph, loaded once."""
    async with SqliteGraph(tmp_path_factory.mktemp("demo") / "demo.db") as graph:
        await graph.migrate()
        await demo.load(graph, demo.real_models(), lambda *_: None)
        yield graph


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_command_ends_with_one_json_object_of_the_figures(tmp_path: Path) -> None:
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "lineal", "demo", "--no-serve", "--format", "json", "--keep", str(tmp_path / "kept.db")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    (line,) = ran.stdout.splitlines()
    found = expected("NQ")
    direct = sum(1 for _ in oracle().successors(("data", "NQ")))
    assert json.loads(line) == {
        "dataset": "NQ",
        "direct": direct,
        "downstream": len(found["model"]),
        "missedByOneHop": len(found["model"]) - direct,
        "deployments": len(found["deployment"]),
        "complete": True,
    }
    assert ran.stderr == ""
    assert (tmp_path / "kept.db").exists()


async def test_downstream_of_every_data_set_is_what_networkx_finds(loaded: Graph) -> None:
    datasets = sorted({name for model in facts() for name in model.get("trainingDatasets", ())})
    assert len(datasets) == 711
    walk = Walk(Direction.DOWNSTREAM, depth=200, edges=LINEAGE_EDGES, limit=20_000)
    async with loaded.snapshot() as snapshot:
        roots = await snapshot.resolve([Address("Dataset", "default", name) for name in datasets])
        for name, root in zip(datasets, roots, strict=True):
            assert root is not None
            closure = await snapshot.closure([root.id], walk)
            assert closure.complete
            shown = await addresses(snapshot, [node for node, _ in closure.nodes])
            named = [parse(address) for address in shown.values()]
            found = expected(name)
            assert {a.name for a in named if a.kind == "ModelVersion"} == found["model"], name
            assert {a.name for a in named if a.kind == "Deployment"} == found["deployment"], name
            assert {str(a) for a in named if a.kind == "DatasetVersion"} == {
                str(Address("DatasetVersion", "default", name, "unversioned"))
            }


async def test_untidy_names_are_kept_and_marked_external(loaded: Graph) -> None:
    known = {model["name"] for model in facts()}
    outside = {base for model in facts() for base in model.get("adaptedFrom", ()) if base not in known}
    assert any(name.startswith("/content/drive/") for name in outside)
    async with loaded.snapshot() as snapshot:
        for external, names in ((True, outside), (False, known)):
            for part in (None, "1"):
                kind = "ModelVersion" if part else "Model"
                nodes = await snapshot.resolve([Address(kind, "default", name, part) for name in sorted(names)])
                assert {node.props.get("external", False) for node in nodes if node} == {external}
                assert None not in nodes


async def test_what_is_known_of_a_model_is_kept(loaded: Graph) -> None:
    async with loaded.snapshot() as snapshot:
        for model in facts():
            (version,) = await snapshot.resolve([Address("ModelVersion", "default", model["name"], "1")])
            assert version is not None
            props, attributes = version.props, version.props.get("attributes", {})
            license = model.get("license")
            assert props.get("license") == (None if license == "not specified" else license)
            assert props.get("parameterCount") == model.get("parameters")
            assert props.get("frameworks") == model.get("frameworks")
            for name in ("embeddingDimension", "maxTokens", "openWeights"):
                assert attributes.get(name) == model.get(name)
            code = (await snapshot.neighbours([version.id], Hop("BUILT_FROM", "OUT")))[version.id].items[0].node
            assert (code.props["repository"], code.props["commit"]) == (model["name"], model["revision"])


async def test_models_say_what_supersedes_them_but_not_themselves(loaded: Graph) -> None:
    async with loaded.snapshot() as snapshot:
        for model in facts():
            if (successor := model.get("supersededBy")) is None:
                continue
            (node,) = await snapshot.resolve([Address("Model", "default", model["name"])])
            assert node is not None
            links = (await snapshot.neighbours([node.id], Hop("SUPERSEDED_BY", "OUT")))[node.id].items
            if successor == model["name"]:
                assert node.props["attributes"] == {"supersededBy": successor}
                assert not links
            else:
                assert [link.node.name for link in links] == [successor]


async def test_deployments_are_plainly_made_up_and_one_has_nothing_to_do_with_it(loaded: Graph) -> None:
    async with loaded.snapshot() as snapshot:
        page = await snapshot.find("Deployment")
        tags = await snapshot.rows([node.id for node in page.items], "tags")
        assert len(page.items) == len(demo.DEPLOYMENTS)
        for node in page.items:
            assert node.name.startswith("made-up-")
            assert node.props["description"].startswith("Made up")
            assert tags[node.id] == {"made-up": "true"}
        assert {node.name for node in page.items} - expected("NQ")["deployment"] == {"made-up-translation-memory"}


async def test_loading_again_adds_nothing(loaded: Graph) -> None:
    async def size() -> tuple[int, int]:
        async with loaded.snapshot() as snapshot:
            records = await snapshot.records("", 100_000)
            return len(records), len(await snapshot.edges_from([r.node.id for r in records]))

    before = await size()
    with pytest.raises(AlreadyExists, match="made-up-search"):
        await demo.load(loaded, demo.real_models(), lambda *_: None)
    assert await size() == before


async def test_the_tree_shows_every_affected_deployment_once(loaded: Graph) -> None:
    lines = await demo._short_tree(loaded)
    shown = [parse(line.text).name for line in lines if line.kind == "Deployment"]
    assert sorted(shown) == sorted(expected("NQ")["deployment"])
    assert len(lines) < 30


async def test_a_file_that_is_there_is_not_loaded_into(tmp_path: Path) -> None:
    (tmp_path / "kept.db").touch()
    with pytest.raises(AlreadyExists, match=r"--keep: .* is there already"), demo.place(tmp_path / "kept.db"):
        pass


async def test_one_hop_misses_what_came_through_a_base_model(loaded: Graph) -> None:
    figures, _ = await demo.ask(loaded)
    async with Operation(loaded, caller=named("t")) as op:
        one = await reading.lineage(op, ["datasets:/NQ"], direction=Direction.DOWNSTREAM, depth=1)
    assert not one.closure.complete
    assert figures["missedByOneHop"] == figures["downstream"] - one.closure.counts["ModelVersion"] > 0
