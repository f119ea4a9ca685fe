"""A field that a token does not open leaks in no other way."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import ADMIN, Caller
from auth.scopes import SCOPES
from graph.port import Graph
from schema.executing import execute
from schema.sdl import build_schema
from tests import building as b
from tests.schema.conftest import Asked, Story

ALL = frozenset(SCOPES) - {ADMIN}
SECRET = "0.7"
"""The last value of a metric, which only metrics:read opens."""


def without(graph: Graph, *scopes: str) -> Asked:
    """Asks as an owner of everything whose token lacks these scopes."""
    return Asked(graph, caller=Caller("local:ann", ALL - set(scopes), workspaces=None))


@pytest.fixture
def blind(sqlite_graph: Graph, story: Story) -> Asked:
    """Asks without metrics:read."""
    return without(sqlite_graph, "metrics:read")


VERSION = 'modelVersion(address: "models:/bert/1")'
NESTED = f"""
{{ {VERSION} {{ ...A }} }}
fragment A on Node {{ name ...B }}
fragment B on ModelVersion {{ metrics {{ value }} }}"""
LINEAGE = """
{ lineage(of: ["models:/bert/1"], direction: UPSTREAM) {
  nodes { node { name ... on ModelVersion { metrics { value } } } }
} }"""


@pytest.mark.parametrize(
    "query",
    [
        f"{{ {VERSION} {{ name metrics {{ value }} }} }}",
        f"{{ {VERSION} {{ name metrics: metrics {{ value }} }} }}",
        f"{{ {VERSION} {{ name other: metrics {{ v: value }} }} }}",
        f"{{ {VERSION} {{ name ...Some }} }} fragment Some on ModelVersion {{ metrics {{ value }} }}",
        f"{{ {VERSION} {{ name ... {{ metrics {{ value }} }} }} }}",
        f"{{ {VERSION} {{ name ... on ModelVersion {{ metrics {{ value }} }} }} }}",
        f"{{ {VERSION} {{ name metrics @include(if: true) {{ value }} }} }}",
        f"{{ {VERSION} {{ name ... @skip(if: false) {{ metrics {{ value }} }} }} }}",
        NESTED,
        '{ search(text: "inner") { nodes { name ... on ModelVersion { metrics { value } } } } }',
        LINEAGE,
        "{ models { nodes { name versions { nodes { name metrics { value } } } } } }",
    ],
)
async def test_no_way_of_asking_opens_a_denied_field(blind: Asked, story: Story, query: str) -> None:
    await b.tag(blind.graph, story.versions[0].id, ring="inner")
    result = await blind.answer(query)
    assert SECRET not in str(result.data)
    assert result.data is not None
    assert "bert" in str(result.data) or "'1'" in str(result.data)
    (error,) = result.errors or []
    assert error.extensions is not None
    assert (error.extensions["code"], error.extensions["requiredScopes"]) == ("FORBIDDEN", [["metrics:read"]])
    assert error.locations
    assert SECRET not in str(error)


async def test_what_the_document_leaves_out_is_not_refused(blind: Asked) -> None:
    data = await blind(f"query($no: Boolean = false) {{ {VERSION} {{ name metrics @include(if: $no) {{ value }} }} }}")
    assert data == {"modelVersion": {"name": "1"}}


FILTERS: list[tuple[str, dict[str, Any]]] = [
    ('where: {metrics: [{name: "auc", gt: 0.1}]}', {}),
    ('where: {not: {metrics: [{name: "auc"}]}}', {}),
    ('where: {or: [{name: {eq: "1"}}, {metrics: [{name: "auc"}]}]}', {}),
    ('orderBy: {metric: "auc", direction: DESC}', {}),
    ("where: $where", {"where": {"and": [{"metrics": [{"name": "auc"}]}]}}),
    ("where: {metrics: $metrics}", {"metrics": [{"name": "auc"}]}),
    ("orderBy: $order", {"order": {"metric": "auc"}}),
]


@pytest.mark.parametrize(("arguments", "variables"), FILTERS)
async def test_filtering_and_ordering_by_what_one_may_not_read_is_refused(
    blind: Asked, arguments: str, variables: dict[str, Any]
) -> None:
    types = {"where": "ModelVersionFilter", "metrics": "[MetricFilter!]", "order": "ModelVersionOrder"}
    declared = ", ".join(f"${name}: {types[name]}" for name in variables)
    head = f"query({declared})" if declared else "query"
    result = await blind.answer(
        f"{head} {{ modelVersions({arguments}) {{ totalCount nodes {{ name }} }} }}", **variables
    )
    assert result.data == {"modelVersions": None}
    (error,) = result.errors or []
    assert error.extensions is not None
    assert "metrics:read" in error.extensions["requiredScopes"][0]


async def test_a_default_of_a_variable_counts_as_given(blind: Asked) -> None:
    query = 'query($o: ModelVersionOrder = {metric: "auc"}) { modelVersions(orderBy: $o) { nodes { name } } }'
    assert (await blind.answer(query)).data == {"modelVersions": None}


async def test_a_cursor_of_a_denied_order_goes_on_with_nothing(sqlite_graph: Graph, story: Story, blind: Asked) -> None:
    page = '(first: 1, orderBy: {metric: "auc"}, after: $after) { nodes { id } pageInfo { endCursor } }'
    query = f"query($after: String) {{ modelVersions{page} }}"
    cursor = (await Asked(sqlite_graph)(query))["modelVersions"]["pageInfo"]["endCursor"]
    assert (await blind.answer(query, after=cursor)).data == {"modelVersions": None}


async def test_neighbours_of_a_denied_kind_are_neither_counted_nor_filtered_by(
    sqlite_graph: Graph, story: Story
) -> None:
    ask = without(sqlite_graph, "dataset:read")
    result = await ask.answer("{ modelVersions { nodes { name trainedOn { totalCount } } } }")
    assert {str(node["trainedOn"]) for node in (result.data or {})["modelVersions"]["nodes"]} == {"None"}
    filtered = await ask.answer('{ modelVersions(where: {trainedOn: {name: {eq: "v1"}}}) { totalCount } }')
    assert filtered.data == {"modelVersions": None}


async def test_things_of_a_denied_kind_are_absent_behind_an_interface_and_restricted_in_lineage(
    sqlite_graph: Graph, story: Story
) -> None:
    ask = without(sqlite_graph, "dataset:read")
    assert await ask("query($id: ID!) { node(id: $id) { name } }", id=story.dataset.id) == {"node": None}
    assert (await ask('{ search(text: "nq") { totalCount nodes { name } } }'))["search"] == {
        "totalCount": 0,
        "nodes": [],
    }
    found = await ask(
        '{ lineage(of: ["models:/bert/2"], direction: UPSTREAM) { nodes { id kind restricted node { id } } } }'
    )
    restricted = [node for node in found["lineage"]["nodes"] if node["restricted"]]
    assert [(node["kind"], node["node"]) for node in restricted] == [("DATASET_VERSION", None)]
    assert story.data[0].id not in str(found)


async def test_a_mutation_that_is_refused_is_refused_whole(sqlite_graph: Graph, story: Story) -> None:
    ask = without(sqlite_graph, "dataset:write")
    allowed = 'registerModel(input: {name: "a"}) { model { id } }'
    denied = 'registerDataset(input: {name: "b"}) { dataset { id } }'
    both = f"mutation {{ {allowed} {denied} }}"
    result = await ask.answer(both)
    assert result.data is None
    assert (await Asked(sqlite_graph)('{ model(address: "models:/a") { id } }')) == {"model": None}


async def test_introspection_needs_its_scope_unless_it_is_open(sqlite_graph: Graph, story: Story) -> None:
    ask = without(sqlite_graph, "schema:read")
    for query in ("{ __schema { types { name } } }", '{ a: __type(name: "Model") { name } }'):
        result = await ask.answer(query)
        assert result.data is None
        assert "Model" not in str(result.errors)
    opened = await execute(
        build_schema(open_schema=True), sqlite_graph, "{ __schema { queryType { name } } }", caller=ask.caller
    )
    assert opened.data == {"__schema": {"queryType": {"name": "Query"}}}
    assert await ask("{ __typename }") == {"__typename": "Query"}
