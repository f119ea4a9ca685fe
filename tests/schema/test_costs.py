"""What a document may cost is known before it runs."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import parse

from schema.costs import MOST, Price
from schema.sdl import build_schema, print_sdl
from tests.schema.test_limits import bomb


def cost(text: str, operation: str | None = None, **variables: Any) -> int:
    """What an operation of a document costs at most."""
    schema = build_schema()
    return Price(schema._schema, schema.costs, parse(text)).of(operation, variables)


def test_a_length_counts_however_a_variable_says_it() -> None:
    page = "query($n: Int) { models(first: $n) { nodes { id } } }"
    assert cost(page, n=500) == cost(page, n=500.0) == 501
    assert cost(page, n=float("nan")) == cost(page) == 51
    assert cost("query($n: Int = 7) { models(first: $n) { nodes { id } } }") == 8
    many = ", ".join(f'"{n}"' for n in range(400))
    assert cost(f"query($i: [ID!]! = [{many}]) {{ nodes(ids: $i) {{ id }} }}") == 400
    assert cost("query($i: [ID!]!) { nodes(ids: $i) { id } }", i=["a"] * 400) == 400


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("{ __typename }", 0),
        ("{ __schema { types { name } } }", 0),
        ('{ model(address: "m") { id name } }', 1),
        ("{ models { nodes { name } } }", 1 + 50),
        ("{ models(first: 5) { nodes { name } } }", 1 + 5),
        ("{ models(first: 5) { edges { node { name } } pageInfo { hasNextPage } } }", 1 + 5 * 2 + 1),
        ("{ models(first: 5) { nodes { versions(first: 3) { nodes { id } } } } }", 1 + 5 * (1 + 1 + 3)),
        ("{ models(first: 5) { totalCount } }", 1),
        ("{ models(first: -5) { nodes { id } } }", 1),
        ('{ nodes(ids: ["a", "b"]) { id } }', 2),
        ('{ nodes(ids: "a") { id } }', 1),
        ('{ lineage(of: ["a"], direction: UPSTREAM) { nodes { node { id } } } }', 10 + 1_000 * 2),
        ('{ lineage(of: ["a"], direction: UPSTREAM, limit: 7) { nodes { distance } edges { kind } } }', 10 + 7 + 7),
        ('{ model(address: "m") { tags { name } } }', 1 + 10),
        ("mutation { registerModel(input: {}) { model { id } } }", 10 + 1),
        ('{ node(id: "a") { ... on Model { versions(first: 2) { nodes { id } } } } }', 1 + 1 + 2),
    ],
)
def test_what_gives_objects_costs_as_many_as_it_may_give(text: str, most: int) -> None:
    assert cost(text) == most


def test_variables_count_with_what_they_are_or_are_by_default() -> None:
    text = "query($n: Int! = 3) { models(first: $n) { nodes { id } } }"
    assert cost(text, n=7) == 1 + 7
    assert cost(text) == 1 + 3
    assert cost("query($n: Int!) { models(first: $n) { nodes { id } } }", n="nonsense") == 1 + 50
    assert cost("query($i: [ID!]!) { nodes(ids: $i) { id } }", i=["a", "b", "c"]) == 3
    assert cost("query($i: [ID!]!) { nodes(ids: $i) { id } }") == 10


def test_a_fragment_counts_as_often_as_what_it_is_spread_in_says() -> None:
    text = """{ a: models(first: 2) { ...f } b: models(first: 30) { ...f } }
      fragment f on ModelConnection { nodes { ...g } totalCount }
      fragment g on Model { versions(first: 4) { nodes { id } } }"""
    one = 1 + (1 + 4)
    assert cost(text) == (1 + 2 * one) + (1 + 30 * one)


def test_the_operation_that_is_named_is_the_one_that_counts() -> None:
    text = "query A { models(first: 1) { nodes { id } } } query B { models(first: 9) { nodes { id } } }"
    assert (cost(text, "A"), cost(text, "B")) == (2, 10)


def test_a_bomb_has_a_price_at_once() -> None:
    assert cost(bomb(20)) == 0
    chain = "".join(
        f"fragment f{n} on Model {{ a: supersedes {{ nodes {{ ...f{n + 1} }} }} "
        f"b: supersedes {{ nodes {{ ...f{n + 1} }} }} }} "
        for n in range(20)
    )
    assert cost(f"{{ models {{ nodes {{ ...f0 }} }} }} {chain} fragment f20 on Model {{ id }}") == MOST


def test_the_schema_says_what_is_counted() -> None:
    sdl = print_sdl()
    assert "@cost(weight: 10)" in sdl
    listed = '@listSize(assumedSize: 50, slicingArguments: ["first"], sizedFields: ["nodes", "edges"], '
    assert f"{listed}requireOneSlicingArgument: false)" in sdl
