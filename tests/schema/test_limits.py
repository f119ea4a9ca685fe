"""Documents are measured before anything else is done with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

import orjson
import pytest
from graphql import get_introspection_query, parse, validate
from graphql.validation.rules import overlapping_fields_can_be_merged as merging
from strawberry.schema.exceptions import CannotGetOperationTypeError

from auth.caller import ADMIN, Caller
from auth.scopes import SCOPES
from graph.port import Graph, Snapshot, View
from resolvers.operation import Operation
from schema.checking import CACHED_CHARACTERS, RULES, checked, parsed
from schema.context import Context
from schema.executing import execute, run
from schema.limits import Limits, Measure, measure
from schema.sdl import build_schema
from tests import building as b
from tests.schema.conftest import Asked

PLAIN = frozenset(SCOPES) - {ADMIN}
ANSWERS = (
    "{ models { nodes { id name description tags { name value } createdAt versions { nodes { id name } } } } }",
    get_introspection_query(),
    """{ lineage(of: ["models:/bert/3"], direction: UPSTREAM) {
      complete nodes { id kind distance node { name __typename } } edges { kind source target } } }""",
    "{ models { nodes { __typename } } runs { nodes { params { name value } } } }",
)


def bomb(fragments: int) -> str:
    """Fragments that each spread the next twice."""
    chain = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(fragments))
    return f"{{ ...f0 }} {chain} fragment f{fragments} on Query {{ __typename }}"


def nested(depth: int) -> str:
    """A query of this depth."""
    inner = "id"
    for level in range(depth - 1):
        inner = f"models {{ nodes {{ {inner} }} }}" if level == depth - 2 else f"workspace {{ {inner} }}"
    return f"{{ {inner} }}"


def _measured(text: str) -> Measure:
    return measure(parse(text))[0][0][1]


def test_a_fragment_bomb_is_measured_in_as_many_steps_as_it_has_selections() -> None:
    (_, measured), visits = measure(parse(bomb(20)))[0][0], measure(parse(bomb(20)))[1]
    assert measured.fields == 1_000_000
    assert visits == 20 * 2 + 1 + 1


async def test_a_fragment_bomb_is_refused(asked: Asked) -> None:
    result = await asked.answer(bomb(20))
    assert {(error.extensions or {})["limit"] for error in result.errors or ()} == {"fields", "root_fields"}


async def test_a_bomb_of_nested_fields_is_refused(asked: Asked) -> None:
    chain = "".join(
        f"fragment f{n} on Model {{ a: supersedes {{ nodes {{ ...f{n + 1} }} }} "
        f"b: supersedes {{ nodes {{ ...f{n + 1} }} }} }} "
        for n in range(20)
    )
    text = f"{{ models {{ nodes {{ ...f0 }} }} }} {chain} fragment f20 on Model {{ id }}"
    result = await asked.answer(text)
    limits = {(error.extensions or {})["limit"] for error in result.errors or ()}
    assert limits == {"depth", "fields", "aliases"}


def test_fragments_count_at_every_spread() -> None:
    text = "{ a: models { ...f } b: models { nodes { ...g } } } fragment f on ModelConnection { nodes { ...g } } "
    text += "fragment g on Model @skip(if: true) { c: name @include(if: true) }"
    assert _measured(text) == Measure(depth=3, fields=6, aliases=4, directives=4, root_fields=2, overlaps=1)


FRAGMENTS = " ".join(f"fragment f{n} on Model {{ {name} }}" for n, name in enumerate(("id", "name", "kind", "address")))
CHAIN = " ".join(f"fragment f{n} on Model {{ id ...f{n + 1} }}" for n in range(9)) + " fragment f9 on Model { id }"


@pytest.mark.parametrize(
    "text",
    [
        f"{{ models {{ nodes {{ ...f0 ...f1 ...f2 ...f3 }} }} }} {FRAGMENTS}",
        f"{{ models {{ nodes {{ ...f0 ...f1 }} }} models {{ nodes {{ ...f2 ...f3 }} }} }} {FRAGMENTS}",
        f"{{ models {{ nodes {{ ...f0 ...f9 }} }} }} {CHAIN}",
        f"{{ models {{ nodes {{ ...f0 }} }} models {{ nodes {{ ...f5 }} }} }} {CHAIN}",
    ],
)
def test_no_more_fragments_are_compared_than_were_counted(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    compared = 0
    original = merging.collect_conflicts_between_fragments

    def counting(*args: Any) -> None:
        nonlocal compared
        compared += 1
        original(*args)

    monkeypatch.setattr(merging, "collect_conflicts_between_fragments", counting)
    assert validate(build_schema()._schema, parse(text), RULES) == []
    assert 0 < compared <= _measured(text).overlaps


def test_fragments_that_spread_each_other_in_a_circle_are_measured_too() -> None:
    text = "{ ...f } fragment f on Query { ...g __typename } fragment g on Query { ...f }"
    assert _measured(text).fields <= 2


async def test_the_standard_introspection_query_is_within_the_limits(asked: Asked) -> None:
    data = await asked(get_introspection_query(descriptions=True, input_value_deprecation=True))
    assert data["__schema"]["queryType"]["name"] == "Query"


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("depth", "{ models { nodes { versions { nodes { model { versions { nodes { id } } } } } } } }"),
        ("fields", "{ models { nodes { id name address kind description external revision } } }"),
        ("aliases", "{ a: __typename b: __typename c: __typename d: __typename }"),
        ("directives", "{ __typename " + "@include(if: true) " * 4 + "}"),
        ("root_fields", "{ a: __typename b: __typename models { nodes { id } } runs { nodes { id } } }"),
        ("introspections", '{ __schema { queryType { name } } a: __type(name: "Run") { name } }'),
    ],
)
async def test_each_figure_has_a_limit(sqlite_graph: Graph, figure: str, text: str) -> None:
    limits = Limits(depth=6, fields=8, aliases=3, directives=3, root_fields=3, introspections=1)
    result = await Asked(sqlite_graph, limits).answer(text)
    assert figure in {(error.extensions or {}).get("limit") for error in result.errors or ()}
    assert {(error.extensions or {}).get("code") for error in result.errors or ()} == {"LIMIT_EXCEEDED"}


def test_every_figure_measured_is_limited() -> None:
    assert {figure.name for figure in fields(Measure)} < {limit.name for limit in fields(Limits)}


async def test_a_document_has_bounded_tokens(sqlite_graph: Graph) -> None:
    error = await Asked(sqlite_graph, Limits(tokens=20)).refused("{ " + "__typename " * 20 + "}")
    assert error["code"] == "GRAPHQL_PARSE_FAILED"
    assert "20 tokens" in error["message"]


async def test_what_a_document_is_found_to_be_is_remembered_between_requests(asked: Asked) -> None:
    caches = (parsed, checked)
    before = [cache.cache_info() for cache in caches]
    for n in range(60):
        # Whoever asks, and with what variables: what is different for each request is no part of what is remembered.
        asked.caller = Caller(f"ann-{n}", PLAIN - {"webhook:write"} if n % 2 else PLAIN, workspaces=None)
        await asked("query($n: Int! = 5) { models(first: $n) { nodes { createdAt updatedAt } } }", n=n + 1)
    for cache, then in zip(caches, before, strict=True):
        now = cache.cache_info()
        assert (now.misses - then.misses, now.hits - then.hits) == (1, 59)


async def test_a_document_that_is_long_for_no_reason_is_not_remembered(asked: Asked) -> None:
    before = [cache.cache_info().misses for cache in (parsed, checked)]
    await asked("{ __typename } #" + "x" * CACHED_CHARACTERS)
    assert [cache.cache_info().misses for cache in (parsed, checked)] == before


async def test_an_operation_may_cost_no_more_than_is_allowed(sqlite_graph: Graph) -> None:
    ask = Asked(sqlite_graph, Limits(cost=100))
    assert await ask("{ models(first: 99) { nodes { id } } }") == {"models": {"nodes": []}}
    error = await ask.refused("{ models(first: 100) { nodes { id } } }")
    assert (error["code"], error["limit"], error["maximum"], error["requested"]) == ("LIMIT_EXCEEDED", "cost", 100, 101)
    error = await ask.refused("query($n: Int!) { models(first: $n) { nodes { id } } }", n=400)
    assert error["requested"] == 401
    assert ask.operations[-1].statements == 0


async def test_what_is_counted_of_an_answer_is_about_its_bytes(ask: Asked) -> None:
    """Never fewer than nine in ten, and at most a third more: what is around values is not looked at."""
    for text in ANSWERS:
        context = Context(Operation(ask.graph))
        result = await run(build_schema(), context, text)
        assert result.errors is None
        size = len(orjson.dumps(result.data))
        assert size * 9 / 10 <= context.bytes <= size * 4 / 3


async def test_the_cost_is_that_of_the_operation_that_runs(sqlite_graph: Graph) -> None:
    text = "query Small { models(first: 1) { nodes { id } } } query Large { models(first: 500) { nodes { id } } }"
    schema = build_schema(Limits(cost=100))
    for name, refused in (("Small", False), ("Large", True)):
        result = await execute(schema, sqlite_graph, text, operation_name=name)
        assert bool(result.errors) is refused
    with pytest.raises(CannotGetOperationTypeError):
        await execute(schema, sqlite_graph, text, operation_name="Other")


async def test_an_operation_that_takes_too_long_is_stopped(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = running = 0
    original = sqlite_graph.snapshot

    async def find(*args: Any, **kwargs: Any) -> Any:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1

    @asynccontextmanager
    async def slow(view: View, **kwargs: Any) -> AsyncIterator[Snapshot]:
        nonlocal held
        async with original(view, **kwargs) as snapshot:
            monkeypatch.setattr(snapshot, "find", find)
            held += 1
            try:
                yield snapshot
            finally:
                held -= 1

    monkeypatch.setattr(sqlite_graph, "snapshot", slow)
    error = await Asked(sqlite_graph, Limits(seconds=0.05)).refused("{ models { nodes { id } } }")
    assert (error["code"], error["limit"]) == ("LIMIT_EXCEEDED", "seconds")
    assert (held, running) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "{ modles { nodes { id } } }",
        "{ models(frist: 1) { nodes { id } } }",
        "{ models { nodes { nam } } }",
        "{ lineage(of: [], direction: UPSTREEM) { complete } }",
        '{ node(id: "x") { ... on Modle { id } } }',
        '{ models(where: {nam: {eq: "x"}}) { nodes { id } } }',
    ],
)
async def test_errors_suggest_names_only_to_those_who_may_read_the_schema(asked: Asked, text: str) -> None:
    for scopes in (PLAIN - {"schema:read"}, PLAIN):
        asked.caller = Caller("ann", scopes, workspaces=None)
        result = await asked.answer(text)
        assert result.errors
        suggested = any("Did you mean" in error.message for error in result.errors)
        assert suggested is ("schema:read" in scopes)


async def test_variables_suggest_names_to_nobody(asked: Asked) -> None:
    text = """query($d: LineageDirection!, $w: ModelFilter) {
      models(where: $w) { nodes { id } } lineage(of: [], direction: $d) { complete } }"""
    for variables in ({"d": "UPSTREEM"}, {"d": "UPSTREAM", "w": {"nam": {}}}):
        error = await asked.refused(text, **variables)
        assert error["code"] == "INVALID_ARGUMENT"
        assert "Did you mean" not in error["message"]


def test_a_schema_is_built_once_for_the_same_limits() -> None:
    assert build_schema() is build_schema(Limits())


async def test_the_deepest_query_allowed_runs(asked: Asked) -> None:
    await b.model(asked.graph, "bert")
    error = await asked.refused(nested(26))
    assert error["limit"] == "depth"
