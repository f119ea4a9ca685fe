"""The schema as a subgraph of Federation 2, in two flavours.

Gateways that cannot hold a field to its scopes refuse to start on a schema that asks them to; so the plain flavour does
not, and the secured one is for those that can. Lineal holds every field to its scopes whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

from graphql import (
    ConstArgumentNode,
    ConstDirectiveNode,
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    FieldDefinitionNode,
    InterfaceTypeDefinitionNode,
    NameNode,
    ObjectTypeDefinitionNode,
    StringValueNode,
    parse,
    print_ast,
)

from auth.caller import ADMIN
from graph.ontology import NODE_KINDS
from schema.entities import keys
from schema.gates import Gates
from schema.sdl import build_schema, print_sdl

VERSION: Final = "v2.11"
_HEAD: Final = """extend schema @link(url: "https://specs.apollo.dev/federation/{version}", import: [{imported}])"""
_DROPPED: Final = frozenset({"_Any", "_Entity", "_Service", "Scope"})
_ROOT_FIELDS: Final = frozenset({"_entities", "_service"})

SHARED: Final = frozenset({"PageInfo", "Tag"})
"""Types that other subgraphs may have as well, field by field the same."""

WRITES: Final = "write"
OPERATIONS: Final = "operations"
_OPERATING: Final = frozenset({"workspace:admin", "audit:read", "webhook:write", "directory:write", ADMIN})


RELEASED: Final = Path(__file__).with_name("released.subgraph.graphql")
"""The secured flavour that gateways were last promised: what is taken from them since then is in the CHANGELOG."""


class Flavour(Enum):
    """Which directives a subgraph's schema has beside those of composition."""

    PLAIN = "plain"
    SECURED = "secured"


def committed(flavour: Flavour) -> Path:
    """The file with the schema as it is committed; `lineal schema --federation` prints it anew."""
    return Path(__file__).with_name(f"subgraph.{flavour.value}.graphql")


@cache
def print_subgraph(flavour: Flavour) -> str:
    """The schema for gateways, in the GraphQL schema language."""
    document = parse(print_sdl())
    secured = flavour is Flavour.SECURED
    definitions = [_definition(each, build_schema().gates, secured) for each in _kept(document)]
    imported = ["@key", "@shareable", "@tag", "@cost", "@listSize", *(["@authenticated", "@requiresScopes"] * secured)]
    head = _HEAD.format(version=VERSION, imported=", ".join(f'"{each}"' for each in imported))
    return head + "\n\n" + print_ast(DocumentNode(definitions=tuple(definitions))).rstrip() + "\n"


def _kept(document: DocumentNode) -> Iterator[DefinitionNode]:
    """All but what the specifications define that are linked to."""
    for each in document.definitions:
        name: Any = getattr(each, "name", None)
        if not isinstance(each, DirectiveDefinitionNode) and name.value not in _DROPPED:
            yield each


def _definition(node: Any, gates: Gates, secured: bool) -> Any:
    name = node.name.value
    if isinstance(node, ObjectTypeDefinitionNode):
        fields = [_field(name, f, gates, secured) for f in node.fields or () if f.name.value not in _ROOT_FIELDS]
        return _copy(node, fields=tuple(fields), directives=tuple(_of_type(name, secured)))
    if isinstance(node, InterfaceTypeDefinitionNode):
        # Requirements of an interface's fields are those of the types that implement it.
        return _copy(node, fields=tuple(_field(name, f, gates, False) for f in node.fields or ()))
    return node


def _of_type(name: str, secured: bool) -> Iterator[ConstDirectiveNode]:
    if name in NODE_KINDS:
        yield from (_directive("key", fields=fields) for fields in keys(NODE_KINDS[name]))
    if name in SHARED:
        yield _directive("shareable")
    if name == "Mutation" and secured:
        yield _directive("authenticated")


def _field(type_: str, node: FieldDefinitionNode, gates: Gates, secured: bool) -> FieldDefinitionNode:
    directives = [d for d in node.directives or () if secured or d.name.value != "requiresScopes"]
    if type_ in {"Query", "Mutation"}:
        needed = gates.fields.get((type_, node.name.value))
        if type_ == "Mutation":
            directives.append(_directive("tag", name=WRITES))
        if needed and all(way & _OPERATING for way in needed.alternatives):
            directives.append(_directive("tag", name=OPERATIONS))
    field: FieldDefinitionNode = _copy(node, directives=tuple(directives))
    return field


def _directive(name: str, /, **arguments: str) -> ConstDirectiveNode:
    given = (
        ConstArgumentNode(name=NameNode(value=key), value=StringValueNode(value=value, block=False))
        for key, value in arguments.items()
    )
    return ConstDirectiveNode(name=NameNode(value=name), arguments=tuple(given))


def _copy(node: Any, **changes: Any) -> Any:
    return type(node)(**{key: getattr(node, key) for key in node.keys if key != "loc"} | changes)
