"""Errors leave with a code, and with nothing of what is inside."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from graph.port import Graph
from lineal.errors import Conflict, LinealError, NotFound, Unavailable
from schema.failures import extensions
from tests.schema.conftest import Asked


def _failing(graph: Graph, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Asked:
    def snapshot(view: Any, **_: Any) -> Any:
        raise error

    monkeypatch.setattr(graph, "snapshot", snapshot)
    return Asked(graph)


async def test_what_is_not_of_the_tree_is_masked_and_logged_with_the_id_that_the_client_gets(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ask = _failing(sqlite_graph, monkeypatch, RuntimeError("secret dsn bolt://u:p@h"))
    with caplog.at_level(logging.ERROR, logger="lineal.graphql"):
        error = await ask.refused("{ models { nodes { id } } }")
    assert error == {"code": "INTERNAL", "id": error["id"], "message": "internal error"}
    (record,) = caplog.records
    assert vars(record)["error_id"] == error["id"]
    assert record.exc_info
    assert "secret dsn" in str(record.exc_info[1])


async def test_what_is_of_the_tree_goes_out_with_its_facts(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = _failing(sqlite_graph, monkeypatch, Conflict("changed meanwhile", field="revision", expected=1, actual=2))
    assert await ask.refused("{ models { nodes { id } } }") == {
        "code": "CONFLICT",
        "field": "revision",
        "expected": 1,
        "actual": 2,
        "message": "changed meanwhile",
    }


async def test_one_failing_field_leaves_the_others(ask: Asked) -> None:
    result = await ask.answer('{ bad: model(address: "nonsense") { id } model(address: "models:/bert") { name } }')
    assert result.data == {"bad": None, "model": {"name": "bert"}}
    assert result.errors is not None
    assert [error.path for error in result.errors] == [["bad"]]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{ ", "GRAPHQL_PARSE_FAILED"),
        ("{ models { nope } }", "GRAPHQL_VALIDATION_FAILED"),
        ('{ model(address: "models:/bert", asOf: "yesterday") { id } }', "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_documents_that_are_no_good_have_codes_of_their_own(asked: Asked, text: str, code: str) -> None:
    assert (await asked.refused(text))["code"] == code


async def test_an_argument_that_is_null_by_variable_is_the_callers_mistake(asked: Asked) -> None:
    error = await asked.refused('query($a: ID = "x") { model(address: $a) { id } }', a=None)
    assert error["code"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("error", [NotFound("x"), Unavailable("x", field="y", why="z")])
def test_extensions_name_the_code_and_the_field_where_there_is_one(error: LinealError) -> None:
    shown = extensions(error)
    assert shown["code"] == error.code
    assert shown.get("field") == error.field
