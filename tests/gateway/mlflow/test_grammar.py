"""The grammar of MLflow's searches: what is read, what is refused in which words, and that nothing takes long."""

from __future__ import annotations

import pytest

from gateway.mlflow.grammar import MODELS, VERSIONS, Condition, Ordering, Searchable, read_filter, read_orders
from lineal.errors import InvalidArgument, LimitExceeded, LinealError


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("", []),
        ("name = 'a'", [Condition("attribute", "name", "=", "a")]),
        ("AND name='a' and AND", [Condition("attribute", "name", "=", "a")]),
        ('attribute.name <> "a b"', [Condition("attribute", "name", "!=", "a b")]),
        ("tags.`a.b c` LIKE 'x%'", [Condition("tag", "a.b c", "LIKE", "x%")]),
        ('tag."k" ilike "it\'s"', [Condition("tag", "k", "ILIKE", "it's")]),
        ("name NOT in ('a', \"b)\")", [Condition("attribute", "name", "NOT IN", ("a", "b)"))]),
        ("version_number >= '2'", [Condition("attribute", "version_number", ">=", 2)]),
        ("version_number<3", [Condition("attribute", "version_number", "<", 3)]),
    ],
)
def test_a_filter_is_read(text: str, conditions: list[Condition]) -> None:
    assert read_filter(text, VERSIONS) == conditions


@pytest.mark.parametrize(
    ("text", "words", "searchable"),
    [
        (" ", "Could not be parsed", MODELS),
        ("name = 'a' OR name = 'b'", "Invalid clause(s) in filter string: OR", MODELS),
        ("(name = 'a')", "Invalid clause(s)", MODELS),
        ("name = AND name = 'a'", "Invalid clause(s) in filter string: name, =", MODELS),
        ("name 'a' 'b'", "Invalid clause(s)", MODELS),
        ("name = ('a')", "Invalid clause(s)", MODELS),
        ("metric.x = 1", "Invalid entity type 'metric'", MODELS),
        ("foo = 'a'", "Invalid attribute key 'foo'", MODELS),
        ("name = a", "not quoted", MODELS),
        ("name = 1", "Expected a quoted string value", MODELS),
        ("name = (1", "Got value (", MODELS),
        ("name = 1", "attributes support comparison with numeric values", VERSIONS),
        ("name < 'a'", "Invalid comparator for attribute: <", MODELS),
        ("name < 'a' AND foo = 'x'", "Invalid attribute key 'foo'", MODELS),
        ("tags.k > 'a'", "Invalid comparator for tag: >", MODELS),
        ("tags.k = 1", "Expected a quoted string value for tag", MODELS),
        ("source_path IN ('a')", "attributes support comparison with a list", VERSIONS),
        ("name IN ()", "empty list", MODELS),
        ("name IN ('a' 'b')", "ill-formed list", MODELS),
        ("name IN (1)", "different type in list: (1,)", MODELS),
        ("version_number LIKE '1'", "Invalid comparator for attribute version_number", VERSIONS),
        ("version_number = 1.5", "Invalid value for numeric attribute", VERSIONS),
        ("version_number = 'x'", "Invalid value for numeric attribute", VERSIONS),
    ],
)
def test_what_is_no_filter_is_refused_in_words_that_name_it(text: str, words: str, searchable: Searchable) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_filter(text, searchable)
    assert words in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "name = '" + "x" * 100_000 + "'",
        " AND ".join(["name = 'a'"] * 201),
        "name IN (" + ", ".join(f"'{i}'" for i in range(1_001)) + ")",
        "name LIKE '" + "%a" * 17 + "'",
        "name ILIKE '" + "a" * 1_001 + "'",
    ],
)
def test_what_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(LimitExceeded):
        read_filter(text, MODELS)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["'\\'", "(", "('\\'", '"\\"', "`", "a.", " AND", "name IN ('a',"])
def test_nothing_takes_long_to_refuse(piece: str) -> None:
    with pytest.raises(LinealError):
        read_filter("name = " + piece * (99_000 // len(piece)), MODELS)


def test_orders_are_read_and_others_refused() -> None:
    found = read_orders(["name desc", "`timestamp`"], MODELS)
    assert found == [Ordering("name", True), Ordering("last_updated_timestamp", False)]
    for texts, words in (
        (["foo"], "Invalid order by key 'foo' specified"),
        (["name foo"], "Invalid ordering key"),
        (["name asc desc"], "Could not be parsed"),
        ([""], "Could not be parsed"),
        (["timestamp", "last_updated_timestamp"], "duplicate fields"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            read_orders(texts, MODELS)
        assert words in refused.value.message
