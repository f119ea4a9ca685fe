"""The schema for gateways, in both flavours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import FieldDefinitionNode, InterfaceTypeDefinitionNode, ObjectTypeDefinitionNode, parse

from graph.ontology import NODE_KINDS
from schema.entities import keys
from schema.sdl import build_schema
from schema.subgraph import OPERATIONS, WRITES, Flavour, committed, print_subgraph

Types = dict[str, ObjectTypeDefinitionNode]


def _types(flavour: Flavour) -> Types:
    document = parse(print_subgraph(flavour))
    return {d.name.value: d for d in document.definitions if isinstance(d, ObjectTypeDefinitionNode)}


def _used(node: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        (d.name.value, {a.name.value: getattr(a.value, "value", None) for a in d.arguments or ()})
        for d in node.directives or ()
    ]


def _fields(types: Types) -> Iterator[tuple[str, FieldDefinitionNode]]:
    for name, type_ in types.items():
        yield from ((name, field) for field in type_.fields or ())


@pytest.mark.parametrize("flavour", Flavour)
def test_the_committed_subgraph_is_current(flavour: Flavour) -> None:
    assert committed(flavour).read_text(encoding="utf-8") == print_subgraph(flavour), "run: make docs"


def test_every_kind_has_its_keys() -> None:
    types = _types(Flavour.PLAIN)
    for kind in NODE_KINDS.values():
        found = [given["fields"] for name, given in _used(types[kind.name]) if name == "key"]
        assert found == list(keys(kind))
    assert list(keys(NODE_KINDS["Model"])) == ["id", "workspace { name } name"]


def test_the_plain_flavour_asks_no_gateway_for_security() -> None:
    text = print_subgraph(Flavour.PLAIN)
    assert "requiresScopes" not in text
    assert "@authenticated" not in text
    assert "Scope" not in text.replace("Scopes", "")


def test_the_secured_flavour_has_the_scopes_of_every_field_that_a_type_has() -> None:
    gates, types = build_schema().gates, _types(Flavour.SECURED)
    said = {(name, f.name.value) for name, f in _fields(types) if any(d == "requiresScopes" for d, _ in _used(f))}
    needed = {at for at in gates.fields if at[0] in types and not at[1].startswith("_")}
    assert said == needed
    assert ("authenticated", {}) in _used(types["Mutation"])


def test_an_interface_has_no_scopes_and_costs_of_its_own() -> None:
    for each in parse(print_subgraph(Flavour.SECURED)).definitions:
        if isinstance(each, InterfaceTypeDefinitionNode):
            used = {name for field in each.fields or () for name, _ in _used(field)}
            assert not used & {"requiresScopes", "cost"}


def test_what_gateways_define_themselves_is_left_out() -> None:
    for flavour in Flavour:
        types = _types(flavour)
        assert "_Service" not in types
        assert not {"_entities", "_service"} & {field.name.value for field in types["Query"].fields or ()}
        assert "\ndirective @" not in print_subgraph(flavour)


def test_writes_and_what_operators_do_are_tagged() -> None:
    tags: dict[tuple[str, str], set[str]] = {}
    for name, field in _fields(_types(Flavour.PLAIN)):
        for directive, given in _used(field):
            if directive == "tag":
                tags.setdefault((name, field.name.value), set()).add(given["name"])
    assert tags["Mutation", "registerModel"] == {WRITES}
    assert tags["Mutation", "createWorkspace"] == {WRITES, OPERATIONS}
    assert tags["Query", "audit"] == {OPERATIONS}
    assert ("Query", "models") not in tags


def test_what_other_subgraphs_may_have_too_is_shareable() -> None:
    assert ("shareable", {}) in _used(_types(Flavour.PLAIN)["PageInfo"])
