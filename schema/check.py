"""Types and ontology must say the same: checked whenever the schema is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    is_introspection_type,
    is_specified_scalar_type,
)

from graph import ontology
from graph.ontology import Type
from lineal.errors import Internal
from schema.declare import NOUNS, EdgeField, Prop

_TYPES: Final = {
    Type.STRING: {"String"},
    Type.TEXT: {"String"},
    Type.INT: {"Int", "BigInt"},
    Type.FLOAT: {"Float"},
    Type.BOOL: {"Boolean"},
    Type.TIME: {"DateTime"},
    Type.STRINGS: {"[String!]"},
    Type.JSON: {"JSON"},
}


def check(schema: GraphQLSchema, nouns: Mapping[str, Any] = NOUNS, *, problems: Sequence[str] = ()) -> None:
    """Raises Internal, naming every kind, property, end of an edge or description that is missing.

    `problems` are those that were found with scopes: fields that have none and are not open, gated fields that
    cannot be null, lines of the table that nothing has.
    """
    found = [*_kinds(schema, nouns), *_ends(nouns), *_undescribed(schema), *problems]
    if found:
        msg = f"the GraphQL types, the ontology and the table of scopes disagree: {'; '.join(found)}"
        raise Internal(msg)


def _kinds(schema: GraphQLSchema, nouns: Mapping[str, Any]) -> Iterator[str]:
    for kind in ontology.NODE_KINDS.values():
        type_ = schema.type_map.get(kind.name)
        if kind.name not in nouns or not isinstance(type_, GraphQLObjectType):
            yield f"{kind.name} has no type"
            continue
        declared = {f.key for f in _fields(nouns[kind.name]) if isinstance(f, Prop)}
        for prop in kind.properties:
            if prop.name in declared and prop.name in type_.fields:
                if prop.private:
                    yield f"{kind.name}.{prop.name} is private, and has a field"
                shown = type_.fields[prop.name].type
                bare = str(shown.of_type if isinstance(shown, GraphQLNonNull) else shown)
                if bare not in _TYPES[prop.type]:
                    yield f"{kind.name}.{prop.name} is a {prop.type.value}, not {bare}"
            elif not prop.private:
                yield f"{kind.name}.{prop.name} has no field"
        for unknown in sorted(declared - kind.by_name.keys()):
            yield f"{kind.name}.{unknown} is no property"


def _ends(nouns: Mapping[str, Any]) -> Iterator[str]:
    """What edges cannot be followed from one of their ends."""
    for edge in ontology.EDGE_KINDS.values():
        for source, target in edge.ends:
            for kind, other, direction in ((source, target, "OUT"), (target, source, "IN")):
                fields = (f for f in _fields(nouns.get(kind)) if isinstance(f, EdgeField))
                if not any(f.edge is edge and f.direction == direction and f.leads_to(other) for f in fields):
                    yield f"{kind} has no field for {edge.name} {direction} to {other}"


def _undescribed(schema: GraphQLSchema) -> Iterator[str]:
    for name, type_ in schema.type_map.items():
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        if not type_.description:
            yield f"{name} is not described"
        parts: Mapping[str, Any] = {}
        if isinstance(type_, GraphQLEnumType):
            parts = type_.values
        elif isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
            parts = type_.fields
        for part, value in parts.items():
            if not value.description:
                yield f"{name}.{part} is not described"
            for argument, given in getattr(value, "args", {}).items():
                if not given.description:
                    yield f"{name}.{part}({argument}) is not described"


def _fields(noun: Any) -> list[Any]:
    return [] if noun is None else list(noun.__strawberry_definition__.fields)
