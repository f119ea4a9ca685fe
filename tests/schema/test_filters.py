"""Filters and orders, as typed inputs, done in the database."""

from __future__ import annotations

from typing import Any

import pytest

from graph.port import Graph, NewNode
from schema.filters import MAX_CONDITIONS, MAX_NESTING
from tests import building as b
from tests.schema.conftest import Asked

VERSIONS = """query($where: ModelVersionFilter, $orderBy: ModelVersionOrder) {
  modelVersions(where: $where, orderBy: $orderBy) { nodes { number } } }"""


FILTERS: list[tuple[Any, list[int]]] = [
    ({}, [1, 2, 3]),
    (None, [1, 2, 3]),
    ({"number": {"gt": 1}}, [2, 3]),
    ({"number": {"gte": "2", "lt": "3"}}, [2]),
    ({"number": {"in": [1, 3]}}, [1, 3]),
    ({"createdAt": {"lte": "2000-01-01T00:00:00Z"}}, []),
    ({"createdBy": {"eq": "tester"}, "workspace": {"eq": "default"}}, [1, 2, 3]),
    ({"alias": "champion"}, [3]),
    ({"stage": "production"}, [3]),
    ({"stage": "staging"}, []),
    ({"hasLiveDeployment": True}, [3]),
    ({"hasLiveDeployment": False}, [1, 2]),
    ({"external": False}, [1, 2, 3]),
    ({"external": True}, []),
    ({"state": {"eq": None}}, [1, 2, 3]),
    ({"params": [{"name": "lr", "eq": "0.2"}]}, [1]),
    ({"params": [{"name": "lr"}]}, [1]),
    ({"params": [{"name": "lr", "eq": None}]}, [2, 3]),
    ({"metrics": [{"name": "auc", "gt": 0.6}]}, [1, 2]),
    ({"metrics": [{"name": "auc", "field": "MINIMUM", "gt": 0.6}]}, [2]),
    ({"metrics": [{"name": "auc", "gte": 0.7, "lt": 0.8}]}, [1]),
    ({"metrics": [{"name": "loss", "eq": "Infinity"}]}, [3]),
    ({"model": {"name": {"prefix": "BE"}, "tags": [{"name": "area", "in": ["search", "ads"]}]}}, [1, 2, 3]),
    ({"model": {"owner": {"eq": "search-team"}}}, [1, 2, 3]),
    ({"model": {"owner": {"eq": "nobody"}}}, []),
    ({"trainedOn": {"dataset": {"name": {"eq": "nq"}}}}, [2]),
    ({"run": {"reads": {"dataset": {"name": {"eq": "nq"}}}}}, [1]),
    ({"deployments": {"environment": {"name": {"contains": "duct"}}}}, [3]),
    ({"or": [{"alias": "champion"}, {"number": {"eq": 1}}]}, [1, 3]),
    ({"or": []}, []),
    ({"and": [{"number": {"gt": 1}}, {"number": {"lt": 3}}]}, [2]),
    ({"not": {"alias": "champion"}}, [1, 2]),
    ({"ids": []}, []),
]


async def numbers_of(ask: Asked, where: Any = None, order: Any = None) -> list[int]:
    """The numbers of the versions that are given."""
    variables = {"where": where} | ({"orderBy": order} if order else {})
    return [node["number"] for node in (await ask(VERSIONS, **variables))["modelVersions"]["nodes"]]


@pytest.mark.parametrize(("where", "numbers"), FILTERS)
async def test_filters_select(ask: Asked, where: Any, numbers: list[int]) -> None:
    assert await numbers_of(ask, where) == numbers


async def test_a_framework_is_one_of_a_list(ask: Asked, sqlite_graph: Graph) -> None:
    (model,) = await b.create(sqlite_graph, NewNode("Model", "tree", "default"))
    version = NewNode("ModelVersion", "9", "default", model.id, {"number": 9, "frameworks": ["xgboost"]})
    await b.create(sqlite_graph, version)
    assert await numbers_of(ask, {"framework": "xgboost"}) == [9]


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        ({"field": "NUMBER"}, [1, 2, 3]),
        ({"field": "NUMBER", "direction": "DESC"}, [3, 2, 1]),
        ({"metric": "auc"}, [1, 2, 3]),
        ({"metric": "auc", "direction": "DESC"}, [2, 1, 3]),
    ],
)
async def test_lists_are_ordered_by_a_property_or_a_metric_and_nan_comes_last(
    ask: Asked, order: Any, numbers: list[int]
) -> None:
    assert await numbers_of(ask, order=order) == numbers


@pytest.mark.parametrize("order", [{"direction": "DESC"}, {"field": "NUMBER", "metric": "auc"}])
async def test_an_order_has_either_a_field_or_a_metric(ask: Asked, order: Any) -> None:
    error = await ask.refused(VERSIONS, orderBy=order)
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "orderBy")


async def test_neighbours_are_filtered_and_ordered_too(ask: Asked) -> None:
    data = await ask("""{ model(address: "models:/bert") {
      versions(where: {number: {gt: 1}}, orderBy: {field: NUMBER, direction: DESC}) {
        totalCount nodes { number } } } }""")
    assert data["model"]["versions"] == {"totalCount": 2, "nodes": [{"number": 3}, {"number": 2}]}


async def test_null_where_it_means_nothing_is_refused_and_not_ignored(ask: Asked) -> None:
    error = await ask.refused(VERSIONS, where={"number": {"gt": None}})
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "number.gt")


async def test_a_filter_has_bounded_conditions_and_nesting(asked: Asked) -> None:
    wide = await asked.refused(VERSIONS, where={"or": [{"alias": "a"}] * (MAX_CONDITIONS + 1)})
    deep: dict[str, Any] = {"alias": "a"}
    for _ in range(MAX_NESTING):
        deep = {"not": deep}
    nested = await asked.refused(VERSIONS, where=deep)
    long = await asked.refused(VERSIONS, where={"number": {"in": [1] * 501}})
    ids = await asked.refused(VERSIONS, where={"ids": ["x"] * 501})
    assert [wide["limit"], nested["limit"]] == ["conditions", "nesting"]
    assert [long["field"], ids["field"]] == ["number.in", "ids"]
