"""What breaks clients and gateways of the last release is named in the CHANGELOG, or it does not pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from graphql import FieldDefinitionNode, ObjectTypeDefinitionNode, parse, print_ast

from schema import subgraph
from schema.sdl import COMMITTED, RELEASED
from schema.subgraph import Flavour, committed
from tests.schema import graphql_js

KEPT: Final = frozenset({"key", "shareable", "requiresScopes", "authenticated"})
"""What a gateway joins and composes by, and what it holds people to for Lineal."""
NEEDED: Final = frozenset({"requiresScopes", "authenticated"})
"""What may not come to a field that was there without it, either."""

ROOT = Path(__file__).parents[2]

BEFORE = """type Query { model(address: ID!): Model models(first: Int): [Model!]! }
  type Model { id: ID! name: String! task: String } enum Kind { MODEL RUN }"""
AFTER = """type Query { model(address: ID!, at: String!): Model models(first: Int, after: String): [Model!]! }
  type Model { id: ID! name: String! licence: String } enum Kind { MODEL RUN TEAM }"""


def unnamed(breaking: Sequence[Mapping[str, str]], changelog: str) -> list[str]:
    """What breaks clients and is not named in what the CHANGELOG says of the coming release."""
    coming = changelog.partition("## [Unreleased]")[2].partition("\n## [")[0]
    said = set(re.findall(r"`([\w.]+(?: @\w+)?)`", coming))
    return [change["message"] for change in breaking if change["path"] not in said]


async def _breaking(tmp_path: Path, before: str, after: str) -> list[dict[str, str]]:
    files = []
    for name, text in (("before", before), ("after", after)):
        files.append(tmp_path / f"{name}.graphql")
        files[-1].write_text(text)
    found: list[dict[str, str]] = await graphql_js.told("breaking.mjs", *map(str, files))
    return found


async def test_what_breaks_clients_is_told_from_what_does_not(tmp_path: Path) -> None:
    found = await _breaking(tmp_path, BEFORE, AFTER)
    assert {change["path"] for change in found} == {"Query.model.at", "Model.task"}


def test_what_the_changelog_names_may_break() -> None:
    found = [{"path": "Model.task", "message": "gone"}, {"path": "Query.model.at", "message": "needed"}]
    said = "# Changelog\n## [Unreleased]\n\n- `Model.task` is gone.\n\n## [1.0.0]\n\n- `Query.model.at` is new.\n"
    assert unnamed(found, said) == ["needed"]


async def test_the_schema_breaks_no_client_of_the_last_release_without_saying_so(tmp_path: Path) -> None:
    before, now = (file.read_text(encoding="utf-8") for file in (RELEASED, COMMITTED))
    found = await _breaking(tmp_path, before, now)
    assert unnamed(found, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) == []


GATEWAYS = """type Query @shareable { model: Model } type Gone @key(fields: "id") { id: ID }
  type Model @key(fields: "id") @key(fields: "name") {
    id: ID name: String @requiresScopes(scopes: [["a"]]) task: ID }"""
LATER = """type Query { model: Model @shareable } type Team @key(fields: "id") { id: ID @authenticated }
  type Model @key(fields: "id") @shareable {
    id: ID name: String @requiresScopes(scopes: [["b"]]) task: ID @authenticated }"""


def places(sdl: str) -> dict[str, set[tuple[str, str]]]:
    """The object types of a schema and their fields, Model and Model.name, each with its directives: name and text."""
    found: dict[str, set[tuple[str, str]]] = {}
    for type_ in parse(sdl).definitions:
        if isinstance(type_, ObjectTypeDefinitionNode):
            name = type_.name.value
            found[name] = _used(type_)
            found |= {f"{name}.{field.name.value}": _used(field) for field in type_.fields or ()}
    return found


def _used(node: ObjectTypeDefinitionNode | FieldDefinitionNode) -> set[tuple[str, str]]:
    return {(each.name.value, print_ast(each)) for each in node.directives or ()}


def broken(before: str, after: str) -> list[dict[str, str]]:
    """What of a subgraph breaks gateways, or those who ask through them, where a type or field was and still is."""
    was, now = places(before), places(after)
    changed = [
        *((at, *each, "is gone") for at in was if at in now for each in was[at] - now[at] if each[0] in KEPT),
        *((at, *each, "is new") for at in was if at in now for each in now[at] - was[at] if each[0] in NEEDED),
    ]
    return [{"path": f"{at} @{name}", "message": f"{at}: {text} {what}"} for at, name, text, what in changed]


def test_what_gateways_join_and_guard_by_is_told_when_it_changes() -> None:
    assert {change["message"] for change in broken(GATEWAYS, LATER)} == {
        "Query: @shareable is gone",
        'Model: @key(fields: "name") is gone',
        'Model.name: @requiresScopes(scopes: [["a"]]) is gone',
        'Model.name: @requiresScopes(scopes: [["b"]]) is new',
        "Model.task: @authenticated is new",
    }
    said = "## [Unreleased]\n- `Model @key`: names are none any more. `Model.name @requiresScopes` is b.\n"
    assert {message.partition(" ")[0] for message in unnamed(broken(GATEWAYS, LATER), said)} == {
        "Query:",
        "Model.task:",
    }


def test_the_subgraph_keeps_what_gateways_were_promised_or_says_so() -> None:
    before, now = (file.read_text(encoding="utf-8") for file in (subgraph.RELEASED, committed(Flavour.SECURED)))
    assert unnamed(broken(before, now), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) == []


def test_both_flavours_are_joined_by_the_same() -> None:
    plain, secured = (
        places(committed(flavour).read_text(encoding="utf-8")) for flavour in (Flavour.PLAIN, Flavour.SECURED)
    )
    assert {at: {e for e in used if e[0] not in NEEDED} for at, used in secured.items()} == plain
