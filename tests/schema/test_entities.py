"""Gateways ask for entities by their keys, many at once, and are told no more than anybody else."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import Caller
from auth.scopes import SCOPES
from graph import ontology
from graph.ids import new_id
from graph.port import Graph, NewNode
from schema.entities import MAX_REPRESENTATIONS
from schema.sdl import build_schema
from tests import building as b
from tests.schema.conftest import Asked, Story

ENTITIES = """query($r: [_Any!]!) { _entities(representations: $r) {
  __typename ... on Node { id name } ... on ModelVersion { number model { name } } } }"""


async def _entities(ask: Asked, *representations: Any) -> list[Any]:
    found: list[Any] = (await ask(ENTITIES, r=representations))["_entities"]
    return found


async def test_an_entity_is_given_by_its_id(ask: Asked, story: Story) -> None:
    version = story.versions[2]
    (found,) = await _entities(ask, {"__typename": "ModelVersion", "id": version.id})
    assert found == {
        "__typename": "ModelVersion",
        "id": version.id,
        "name": "3",
        "number": 3,
        "model": {"name": "bert"},
    }


async def test_an_entity_is_given_by_its_workspace_and_name(ask: Asked, story: Story) -> None:
    found = await _entities(
        ask,
        {"__typename": "Model", "workspace": {"name": "default"}, "name": "bert"},
        {"__typename": "Dataset", "workspace": {"name": "default"}, "name": "nq", "other": 5},
        {"__typename": "Team", "name": "search-team"},
    )
    assert [each["name"] for each in found] == ["bert", "nq", "search-team"]


async def test_what_is_within_something_is_given_by_its_address(ask: Asked, story: Story) -> None:
    found = await _entities(
        ask,
        {"__typename": "ModelVersion", "address": "models:/bert/3"},
        {"__typename": "ModelVersion", "address": "models:/bert/4"},
        {"__typename": "DatasetVersion", "address": "datasets:/nq/v2"},
        {"__typename": "ModelVersion", "address": "models:/bert/1", "id": story.versions[1].id},
        {"__typename": "Field", "address": "fields:/nq/question"},
    )
    assert [each and each["name"] for each in found] == ["3", None, "v2", "2", "question"]
    assert ask.operations[-1].statements <= 4


async def test_who_may_not_see_a_part_is_told_by_its_address_what_is_told_of_one_that_never_was(
    sqlite_graph: Graph,
) -> None:
    await b.workspace(sqlite_graph, "secret")
    await b.model(sqlite_graph, "basalt", versions=1, workspace="secret")
    ask = Asked(sqlite_graph)
    asked = [{"__typename": "ModelVersion", "address": f"models:/secret:basalt/{number}"} for number in (1, 2)]
    assert [each and each["name"] for each in await _entities(ask, *asked)] == ["1", None]
    scopes = frozenset(SCOPES) - {"admin"}
    ask.caller = Caller("gateway", scopes, workspaces=frozenset({"default"}))
    assert await _entities(ask, *asked) == [None, None]


async def test_entities_may_stand_in_the_document_too(ask: Asked, story: Story) -> None:
    text = (
        f'{{ _entities(representations: [{{__typename: "Run", id: "{story.run.id}"}}]) {{ ... on Run {{ state }} }} }}'
    )
    assert (await ask(text))["_entities"] == [{"state": "FINISHED"}]


async def test_what_is_not_there_is_null_alone(ask: Asked, story: Story) -> None:
    found = await _entities(
        ask,
        {"__typename": "Model", "id": new_id("mo")},
        {"__typename": "Model", "id": "anything at all"},
        {"__typename": "Model", "workspace": {"name": "nowhere"}, "name": "bert"},
        {"__typename": "Dataset", "id": story.model.id},
        {"__typename": "Model", "id": story.model.id},
    )
    assert [each and each["name"] for each in found] == [None, None, None, None, "bert"]


@pytest.mark.parametrize(
    ("representation", "message"),
    [
        ("Model", "must be an object with the __typename of an entity"),
        ({}, "must be an object with the __typename of an entity"),
        ({"__typename": "Nope", "id": "x"}, "must be an object with the __typename of an entity"),
        ({"__typename": ["Model"], "id": "x"}, "must be an object with the __typename of an entity"),
        ({"__typename": "PageInfo"}, "must be an object with the __typename of an entity"),
        ({"__typename": "Model"}, "must have the fields of a key of Model: id or workspace { name } name"),
        ({"__typename": "Model", "name": "bert"}, "must have the fields of a key of Model"),
        ({"__typename": "Model", "id": 5}, "must have the fields of a key of Model"),
        ({"__typename": "Model", "id": "x" * 5_000}, "must have the fields of a key of Model"),
        (
            {"__typename": "ModelVersion", "workspace": {"name": "default"}, "name": "3"},
            "key of ModelVersion: id or address",
        ),
        ({"__typename": "ModelVersion", "address": "bert 3"}, "is neither an id nor an address"),
        ({"__typename": "ModelVersion", "address": "models:/bert"}, "must be the address of a ModelVersion"),
        ({"__typename": "ModelVersion", "address": "models:/bert@champion"}, "must be the address of a ModelVersion"),
        ({"__typename": "ModelVersion", "address": "datasets:/nq/v1"}, "must be the address of a ModelVersion"),
        ({"__typename": "ModelVersion", "address": new_id("mv")}, "must be the address of a ModelVersion"),
        ({"__typename": "Team"}, "must have the fields of a key of Team: id or name"),
    ],
)
async def test_what_names_nothing_is_an_error_of_its_own(
    ask: Asked, story: Story, representation: Any, message: str
) -> None:
    asked = [{"__typename": "Model", "id": story.model.id}, representation]
    result = await ask.answer(ENTITIES, r=asked)
    assert result.data is not None
    assert [each and each["name"] for each in result.data["_entities"]] == ["bert", None]
    assert result.errors is not None
    (error,) = result.errors
    assert error.path == ["_entities", 1]
    assert message in error.message
    assert "Nope" not in error.message
    assert (error.extensions or {})["code"] == "INVALID_ARGUMENT"


async def test_scopes_hold(ask: Asked, story: Story) -> None:
    ask.caller = Caller("gateway", frozenset({"model:read"}), workspaces=frozenset({"default"}))
    asked = [{"__typename": "Model", "id": story.model.id}, {"__typename": "Dataset", "id": story.dataset.id}]
    text = """query($r: [_Any!]!) { _entities(representations: $r) {
      ... on Node { name } ... on Model { upstream { complete } } } }"""
    result = await ask.answer(text, r=asked)
    assert result.data == {"_entities": [{"name": "bert", "upstream": None}, None]}
    assert result.errors is not None
    (error,) = result.errors
    assert (error.extensions or {})["code"] == "FORBIDDEN"
    assert (error.extensions or {})["requiredScopes"] == [["lineage:read"]]


async def test_the_schema_is_given_to_those_who_may_read_it(ask: Asked) -> None:
    text = "{ _service { sdl } }"
    ask.caller = Caller("gateway", frozenset(SCOPES) - {"admin", "schema:read"}, workspaces=None)
    assert (await ask.refused(text))["requiredScopes"] == [["schema:read"]]
    ask.caller = Caller("gateway", frozenset({"schema:read"}), workspaces=None)
    sdl = (await ask(text))["_service"]["sdl"]
    assert "@key" in sdl
    assert "requiresScopes" not in sdl


async def test_a_thousand_entities_are_a_bounded_number_of_statements(graph: Graph) -> None:
    made = await b.create(graph, *(NewNode("Model", f"model-{n:04}", "default") for n in range(1_000)))
    by_id = [{"__typename": "Model", "id": node.id} for node in made]
    by_name = [{"__typename": "Model", "workspace": {"name": "default"}, "name": node.name} for node in made]
    _, versions = await b.model(graph, "ranker", versions=1_000)
    by_address = [{"__typename": "ModelVersion", "address": f"models:/ranker/{node.name}"} for node in versions]
    text = """query($a: [_Any!]!, $b: [_Any!]!, $c: [_Any!]!) {
      a: _entities(representations: $a) { ... on Model { name workspace { name } versions(first: 1) { totalCount } } }
      b: _entities(representations: $b) { ... on Model { name } }
      c: _entities(representations: $c) { ... on ModelVersion { name } } }"""
    counts = []
    for size in (10, 1_000):
        ask = Asked(graph)
        found = await ask(text, a=by_id[:size], b=by_name[:size], c=by_address[:size])
        for name, nodes in (("a", made), ("b", made), ("c", versions)):
            assert [each["name"] for each in found[name]] == [node.name for node in nodes[:size]]
        counts.append(ask.operations[0].statements)
    # Ids, names and addresses, their workspace, versions, and how many those are.
    assert counts[0] == counts[1] <= 5


async def test_more_than_a_gateway_asks_for_at_once_is_refused(ask: Asked) -> None:
    error = await ask.refused(ENTITIES, r=[{}] * (MAX_REPRESENTATIONS + 1))
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "representations")


def test_every_kind_is_an_entity() -> None:
    assert {type_.name for type_ in build_schema()._schema.type_map["_Entity"].types} == set(ontology.NODE_KINDS)  # type: ignore[attr-defined]
