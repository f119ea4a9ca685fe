"""Types and ontology say the same, and the committed text is that of the schema."""

from __future__ import annotations

from dataclasses import replace

import pytest
from graphql import GraphQLObjectType
from graphql import build_schema as parse_sdl

from auth.scopes import FIELDS, needs
from graph import ontology
from lineal.errors import Internal
from schema.check import check
from schema.declare import NOUNS
from schema.sdl import COMMITTED, build_schema, print_sdl


def test_the_committed_sdl_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == print_sdl(), "run: lineal schema > schema/lineal.graphql"


def test_the_sdl_is_valid_by_itself() -> None:
    assert isinstance(parse_sdl(print_sdl()).type_map["ModelVersion"], GraphQLObjectType)


def test_a_kind_without_a_type_is_found_at_start() -> None:
    nouns = {name: noun for name, noun in NOUNS.items() if name != "Evaluation"}
    with pytest.raises(Internal, match="Evaluation has no type"):
        check(build_schema()._schema, nouns)


def test_an_edge_that_cannot_be_followed_from_one_end_is_found_at_start() -> None:
    nouns = {**NOUNS, "Run": NOUNS["Workspace"]}
    with pytest.raises(Internal) as raised:
        check(build_schema()._schema, nouns)
    assert "Run has no field for READ OUT to DatasetVersion" in str(raised.value)
    assert "Run.startedAt has no field" in str(raised.value)


def test_a_property_of_another_type_and_a_missing_description_are_found_at_start() -> None:
    text = "type Query { model: Model } type Model { task: Int } input Other { value: Int } enum Colour { RED }"
    with pytest.raises(Internal) as raised:
        check(parse_sdl(text), {"Model": NOUNS["Model"]})
    for problem in ("Model is not described", "Model.task is not described", "Colour.RED is not described"):
        assert problem in str(raised.value)


def test_a_property_that_the_ontology_does_not_have_is_found_at_start() -> None:
    nouns = {**NOUNS, "Experiment": NOUNS["Pipeline"]}
    with pytest.raises(Internal, match=r"Experiment\.uri is no property"):
        check(build_schema()._schema, nouns)


def test_a_private_property_that_has_a_field_is_found_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = (p for p in ontology.MODEL.properties if p.name == "task")
    model = replace(ontology.MODEL, properties=(replace(task, private=True),))
    monkeypatch.setattr(ontology, "NODE_KINDS", {**ontology.NODE_KINDS, "Model": model})
    with pytest.raises(Internal, match=r"Model\.task is private, and has a field"):
        check(build_schema()._schema)


def test_what_the_field_of_a_property_needs_beside_its_kind_is_said_at_the_property() -> None:
    fields = {
        f"{kind.name}.{name}": FIELDS[coordinate]
        for coordinate in FIELDS
        for type_, _, name in [coordinate.partition(".")]
        for kind in ontology.NODE_KINDS.values()
        if type_ in {"*", kind.name} and name in kind.by_name
    }
    assert fields == {
        f"{kind.name}.{prop.name}": needs(prop.scope)
        for kind in ontology.NODE_KINDS.values()
        for prop in kind.properties
        if prop.scope
    }
    assert {"StageMove.verdict", "DeploymentRevision.verdict"} <= fields.keys()


def test_every_edge_pair_of_the_ontology_is_a_field_at_both_ends_and_can_be_filtered_by() -> None:
    schema = build_schema()._schema
    check(schema)
    assert set(ontology.NODE_KINDS) <= set(schema.type_map)
    for kind in ontology.NODE_KINDS:
        assert f"{kind}Filter" in schema.type_map
