"""The demo on its real input, against networkx reading the same file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import networkx as nx
import pytest

from graph.address import Address
from graph.naming import addresses
from graph.port import Direction, Graph
from lineal import demo
from resolvers import reading
from resolvers.operation import Operation


def lines() -> Iterator[dict[str, Any]]:
    text = resources.files("lineal").joinpath("data/mteb-models.jsonl").read_text(encoding="utf-8")
    yield from map(json.loads, text.splitlines())


@pytest.fixture(scope="module")
def oracle() -> nx.DiGraph[tuple[str, str]]:
    """From each data set and base model to what was made of it, by name."""
    truth: nx.DiGraph[tuple[str, str]] = nx.DiGraph()
    for model in lines():
        for base in model.get("adaptedFrom") or ():
            truth.add_edge(("model", base), ("model", model["name"]))
        for dataset in model.get("trainingDatasets") or ():
            truth.add_edge(("dataset", dataset), ("model", model["name"]))
    for name, _, served in demo.DEPLOYMENTS:
        truth.add_edges_from((("model", model), ("deployment", name)) for model, _ in served)
    return truth


@pytest.fixture
async def loaded(graph: Graph) -> Graph:
    await demo.load(graph, demo.real_models(), lambda *_: None)
    return graph


@pytest.fixture
async def embedded(sqlite_graph: Graph) -> Graph:
    await demo.load(sqlite_graph, demo.real_models(), lambda *_: None)
    return sqlite_graph


def kinds(nodes: set[tuple[str, str]], kind: str) -> set[str]:
    return {name for of, name in nodes if of == kind}


async def test_the_flagship_figures_are_those_of_networkx(embedded: Graph, oracle: nx.DiGraph[tuple[str, str]]) -> None:
    figures, answer = await demo.ask(embedded)
    below = nx.descendants(oracle, ("dataset", "NQ"))
    direct = kinds(set(oracle.successors(("dataset", "NQ"))), "model")
    assert figures == {
        "dataset": "NQ",
        "direct": len(direct),
        "downstream": len(kinds(below, "model")),
        "missedByOneHop": len(kinds(below, "model") - direct),
        "deployments": len(kinds(below, "deployment")),
        "complete": True,
    }
    assert {item["node"]["name"] for item in answer["impact"]["nodes"]} == kinds(below, "deployment")
    assert 0 < figures["deployments"] < len(demo.DEPLOYMENTS)


async def test_the_downstream_of_every_data_set_is_that_of_networkx(
    loaded: Graph, oracle: nx.DiGraph[tuple[str, str]]
) -> None:
    datasets = sorted(kinds(set(oracle), "dataset"))
    assert len(datasets) == 711
    for name in datasets:
        root = str(Address("Dataset", "default", name))
        async with Operation(loaded, by="test") as op:
            found = await reading.lineage(op, [root], direction=Direction.DOWNSTREAM, depth=200, limit=20_000)
            named = await addresses(await op.snapshot(), [node for node, _ in found.closure.nodes])
        assert found.closure.complete
        distances = nx.single_source_shortest_path_length(oracle, ("dataset", name))
        assert {(named[node.id], distance) for node, distance in found.closure.nodes} == {
            (address_of(of, other), distance) for (of, other), distance in distances.items()
        }


def address_of(of: str, name: str) -> str:
    match of:
        case "dataset":
            return str(Address("DatasetVersion", "default", name, "unversioned"))
        case "model":
            return str(Address("ModelVersion", "default", name, "1"))
        case _:
            return str(Address("Deployment", "default", name))


async def test_untidy_input_is_kept_and_marked(embedded: Graph) -> None:
    known = {model["name"] for model in lines()}
    outside = {base for model in lines() for base in model.get("adaptedFrom") or () if base not in known}
    async with Operation(embedded, by="test") as op:
        found = await reading.resolve_all(op, [str(Address("Model", "default", name)) for name in sorted(outside)])
        assert [node.name if node else None for node in found] == sorted(outside)
        assert all(node and node.props["external"] for node in found)
        inside = await reading.resolve_all(op, [str(Address("Model", "default", name)) for name in sorted(known)])
        assert not any(node is None or node.props.get("external") for node in inside)


async def test_made_up_deployments_say_so(embedded: Graph) -> None:
    async with Operation(embedded, by="test") as op:
        snapshot = await op.snapshot()
        page = await snapshot.find("Deployment")
        tags = await snapshot.rows([node.id for node in page.items], "tags")
        for node in page.items:
            assert node.name.startswith("made-up-")
            assert tags[node.id] == {"made-up": "true"}
            assert node.props["description"] == demo.DISCLAIMER
