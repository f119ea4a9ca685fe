"""Lineage, paths, and what is hidden in them."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import ADMIN, Caller, named
from auth.scopes import SCOPES
from graph import ontology
from graph.ids import new_id
from graph.port import MAX_DEPTH, MAX_LINEAGE, MAX_ROOTS, Direction, Graph, NewEdge, NewNode
from lineal.errors import InvalidArgument, NotFound
from resolvers import reading
from resolvers.operation import Operation
from schema.limits import Limits
from tests import building as b
from tests.schema.conftest import Asked, Story

LINEAGE = """query($of: [ID!]!, $direction: LineageDirection!, $depth: Int! = 20, $edges: [EdgeKind!],
  $kinds: [NodeKind!], $limit: Int! = 1000, $asOf: DateTime) {
  lineage(of: $of, direction: $direction, depth: $depth, edges: $edges, kinds: $kinds, limit: $limit, asOf: $asOf) {
    roots { name }
    nodes { id kind distance restricted node { name address } }
    edges { kind source target discriminator weight since until }
    complete frontier frontierCount countsByKind { kind count } } }"""


def _shown(lineage: dict[str, Any]) -> list[tuple[int, str]]:
    return sorted((node["distance"], node["node"]["address"]) for node in lineage["nodes"])


async def test_downstream_of_a_data_set_ends_at_the_deployment_that_serves_what_learned_from_it(
    ask: Asked, story: Story
) -> None:
    lineage = (await ask(LINEAGE, of=["datasets:/nq"], direction="DOWNSTREAM"))["lineage"]
    assert lineage["roots"] == [{"name": "nq"}]
    assert _shown(lineage) == [
        (0, "datasets:/nq/v1"),
        (0, "datasets:/nq/v2"),
        (0, "fields:/nq/question"),
        (1, "models:/bert/2"),
        (1, "runs:/training-7"),
        (2, "models:/bert/1"),
        (3, "models:/bert/3"),
        (4, "deployments:/search"),
    ]
    serves = next(edge for edge in lineage["edges"] if edge["kind"] == "SERVES")
    assert (serves["source"], serves["target"]) == (story.deployment.id, story.versions[2].id)
    assert (serves["weight"], serves["until"], serves["discriminator"]) == (0.5, None, None)
    assert (lineage["complete"], lineage["frontier"], lineage["frontierCount"]) == (True, [], 0)
    assert {"kind": "MODEL_VERSION", "count": 3} in lineage["countsByKind"]


async def test_kinds_filter_what_is_returned_and_not_what_is_walked(ask: Asked) -> None:
    lineage = (await ask(LINEAGE, of=["datasets:/nq"], direction="DOWNSTREAM", kinds=["DEPLOYMENT"]))["lineage"]
    assert _shown(lineage) == [(4, "deployments:/search")]
    assert {"kind": "RUN", "count": 1} in lineage["countsByKind"]


async def test_what_was_cut_off_is_said_and_can_be_gone_on_from(ask: Asked, story: Story) -> None:
    cut = (await ask(LINEAGE, of=["datasets:/nq/v1"], direction="DOWNSTREAM", depth=1))["lineage"]
    assert not cut["complete"]
    assert cut["frontier"] == [story.run.id]
    rest = (await ask(LINEAGE, of=cut["frontier"], direction="DOWNSTREAM"))["lineage"]
    assert rest["complete"]
    assert (3, "deployments:/search") in _shown(rest)


async def test_every_node_has_its_own_upstream_and_downstream(ask: Asked) -> None:
    data = await ask("""{
      deployment(address: "deployments:/search") { upstream(kinds: [DATASET_VERSION]) { nodes { node { address } } } }
      datasetVersion(address: "datasets:/nq/v1") { downstream(kinds: [DEPLOYMENT]) { nodes { node { address } } } }
    }""")
    assert data["deployment"]["upstream"]["nodes"] == [{"node": {"address": "datasets:/nq/v1"}}]
    assert data["datasetVersion"]["downstream"]["nodes"] == [{"node": {"address": "deployments:/search"}}]


async def test_a_walk_too_many_from_nodes_one_by_one_fails_alone(sqlite_graph: Graph) -> None:
    await b.model(sqlite_graph, "bert", versions=5)
    text = "{ modelVersions(orderBy: {field: NUMBER}) { nodes { number upstream { complete } } } }"
    result = await Asked(sqlite_graph, Limits(walks=3)).answer(text)
    assert result.data is not None
    nodes = result.data["modelVersions"]["nodes"]
    assert [node["number"] for node in nodes] == [1, 2, 3, 4, 5]
    assert [node["upstream"] for node in nodes] == [{"complete": True}] * 3 + [None] * 2
    for place, error in enumerate(result.errors or (), start=3):
        assert error.path == ["modelVersions", "nodes", place, "upstream"]
        told = error.extensions or {}
        assert (told["code"], told["limit"], told["maximum"]) == ("LIMIT_EXCEEDED", "walks", 3)
        assert "lineage(of: […])" in error.message
    assert len(result.errors or ()) == 2


async def test_paths_are_counted_and_listed_with_the_edges_of_every_hop(ask: Asked, story: Story) -> None:
    data = await ask("""{ paths(from: "datasets:/nq", to: "deployments:/search") { count complete
      paths { length nodes { distance node { name } } hops { edges { kind source } } } } }""")
    (path,) = data["paths"]["paths"]
    assert (data["paths"]["count"], data["paths"]["complete"], path["length"]) == ("1", True, 4)
    assert [node["node"]["name"] for node in path["nodes"]] == ["v1", "training-7", "1", "3", "search"]
    assert [node["distance"] for node in path["nodes"]] == [0, 1, 2, 3, 4]
    kinds = [hop["edges"][0]["kind"] for hop in path["hops"]]
    assert kinds == ["READ", "PRODUCED_BY", "DERIVED_FROM", "SERVES"]


async def test_a_count_of_paths_is_exact_beyond_53_bits(sqlite_graph: Graph) -> None:
    _, rungs = await b.model(sqlite_graph, "ladder", versions=60 * 3 + 1)
    edges = []
    for rung in range(60):
        low, left, right, high = rungs[rung * 3 : rung * 3 + 4]
        for middle in (left, right):
            edges += [NewEdge("DERIVED_FROM", middle.id, low.id), NewEdge("DERIVED_FROM", high.id, middle.id)]
    await b.link(sqlite_graph, *edges)
    text = '{ paths(from: "models:/ladder/1", to: "models:/ladder/181") { count paths { length } } }'
    paths = (await Asked(sqlite_graph)(text))["paths"]
    assert paths["count"] == str(2**60)
    assert [path["length"] for path in paths["paths"]] == [120] * 10


async def test_hidden_nodes_keep_the_shape_and_show_nothing_but_their_kind(sqlite_graph: Graph) -> None:
    await b.workspace(sqlite_graph, "secret")
    _, (data,) = await b.dataset(sqlite_graph, "open", "v1")
    _, (hidden,) = await b.model(sqlite_graph, "hidden", versions=1, workspace="secret")
    (deployment,) = await b.create(sqlite_graph, NewNode("Deployment", "search", "default"))
    await b.link(sqlite_graph, NewEdge("TRAINED_ON", hidden.id, data.id), NewEdge("SERVES", deployment.id, hidden.id))
    ask = Asked(sqlite_graph, caller=Caller("ann", frozenset(SCOPES) - {ADMIN}, workspaces=frozenset({"default"})))
    lineage = (await ask(LINEAGE, of=[data.id], direction="DOWNSTREAM"))["lineage"]
    first, restricted, last = lineage["nodes"]
    assert (first["id"], last["id"]) == (data.id, deployment.id)
    assert restricted["id"].startswith("restricted_")
    assert {**restricted, "id": None} == {
        "id": None,
        "kind": "MODEL_VERSION",
        "distance": 1,
        "restricted": True,
        "node": None,
    }
    ends = {(edge["source"], edge["target"]) for edge in lineage["edges"]}
    assert ends == {(restricted["id"], data.id), (deployment.id, restricted["id"])}
    assert hidden.id not in str(lineage)
    again = (await ask(LINEAGE, of=[data.id], direction="DOWNSTREAM"))["lineage"]
    assert again["nodes"] == lineage["nodes"]
    cut = (await ask(LINEAGE, of=[data.id], direction="DOWNSTREAM", depth=1, kinds=["DATASET_VERSION"]))["lineage"]
    assert cut["frontier"] == [restricted["id"]]
    between = "query($a: ID!, $b: ID!) { paths(from: $a, to: $b) { paths { nodes { id } } } }"
    paths = await ask(between, a=data.id, b=deployment.id)
    assert [node["id"] for node in paths["paths"]["paths"][0]["nodes"]] == [data.id, restricted["id"], deployment.id]
    assert await ask("query($id: ID!) { node(id: $id) { id } }", id=hidden.id) == {"node": None}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"of": []}, "of"),
        ({"of": ["datasets:/nq"] * (MAX_ROOTS + 1)}, "of"),
        ({"of": ["nonsense"]}, "of"),
        ({"depth": 0}, "depth"),
        ({"depth": MAX_DEPTH + 1}, "depth"),
        ({"limit": 0}, "limit"),
        ({"limit": MAX_LINEAGE + 1}, "limit"),
        ({"edges": []}, "edges"),
        ({"edges": ["OWNED_BY"]}, "edges"),
    ],
)
async def test_what_a_walk_cannot_do_is_refused_by_name(ask: Asked, arguments: dict[str, Any], field: str) -> None:
    error = await ask.refused(LINEAGE, **{"of": ["datasets:/nq"], "direction": "DOWNSTREAM", **arguments})
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", field)


async def test_roots_and_ends_that_are_not_there_are_named(ask: Asked) -> None:
    error = await ask.refused(LINEAGE, of=["datasets:/nq", "datasets:/none"], direction="UPSTREAM")
    assert (error["code"], error["field"], error["missing"]) == ("NOT_FOUND", "of", ["datasets:/none"])
    end = await ask.refused('{ paths(from: "datasets:/nq", to: "models:/none") { count } }')
    assert (end["code"], end["field"]) == ("NOT_FOUND", "to")


async def test_the_use_cases_refuse_without_graphql_too(sqlite_graph: Graph) -> None:
    async with Operation(sqlite_graph, caller=named("tester")) as op:
        with pytest.raises(InvalidArgument, match="no node kind"):
            await reading.search(op, "x", kinds=["Nonsense"])
        with pytest.raises(InvalidArgument, match="at most 500"):
            await reading.search(op, "x" * 501)
        with pytest.raises(NotFound):
            await reading.lineage(op, [new_id("mo")], direction=Direction.UPSTREAM)
        assert await reading.resolve(op, "workspaces:/default") is not None
        assert reading.walked_edges(["EVALUATES"]) == ("EVALUATES",)
        assert reading.walked_edges(None) == ontology.LINEAGE_EDGES
