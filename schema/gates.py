"""What every field of the schema, and every field of its inputs, needs: the table of auth.scopes, worked out.

A field needs the read scopes of the kinds that it gives, by itself, in a list, in a connection or in a page,
and what the table says beside that. Where it may give kinds of several scopes it is open, and the store hides
those that the caller may not read. Connections, edges and pages need nothing themselves: what led to them did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_introspection_type,
    is_leaf_type,
    is_non_null_type,
)

from auth.scopes import FIELDS, INPUTS, OPEN, OPEN_FIELDS, OPEN_TYPES, SCOPES, Requirement, every, reading
from graph.ontology import NODE_KINDS
from schema.connection import Connection, Edge, Page
from schema.declare import EdgeField
from schema.limits import INTROSPECTION

_DEFINITION: Final = "strawberry-definition"
_WRAPPERS: Final = {Connection, Edge, Page}
_ANY: Final = frozenset(NODE_KINDS)
_COMBINING: Final = frozenset({"and", "or", "not", "ids"})

Coordinate = tuple[str, str]
"""The names of a type and of a field."""


class Gates:
    """What fields and inputs need, by coordinate; what is not named here is open.

    `leading` are the input types in which something gated can be named, with all scopes that it may take.
    `problems` are what is neither gated nor open, and lines of the table that nothing in the schema has.
    """

    def __init__(self, schema: GraphQLSchema) -> None:
        self.fields: dict[Coordinate, Requirement] = {}
        self.inputs: dict[Coordinate, Requirement] = {}
        self.problems: list[str] = []
        self._types = [type_ for type_ in schema.type_map.values() if not is_introspection_type(type_)]
        # Interfaces come first: what implements them needs the same.
        self._types.sort(key=lambda type_: not isinstance(type_, GraphQLInterfaceType))
        root = schema.query_type
        if root is not None:
            self.fields |= {(root.name, name): _in_table(FIELDS, root.name, name) or OPEN for name in INTROSPECTION}
        for type_ in self._types:
            if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
                for name, field in type_.fields.items():
                    self._field(type_, name, field)
        for type_ in self._types:
            if isinstance(type_, GraphQLInputObjectType):
                for name in type_.fields:
                    self._input(schema, type_, name)
        self.leading = self._leading()
        self.problems += self._unknown()

    def _field(self, type_: GraphQLObjectType | GraphQLInterfaceType, name: str, field: GraphQLField) -> None:
        if _wrapped(type_) is not None:
            return
        kinds = _given(field)
        single = len({NODE_KINDS[kind].scope for kind in kinds}) == 1
        stated = _in_table(FIELDS, type_.name, name)
        needed = (stated or OPEN) & (reading(kinds) if single else OPEN)
        if needed:
            self.fields[type_.name, name] = needed
        elif stated is None and not _is_open(type_, name, field):
            self.problems.append(f"{type_.name}.{name} has no scope, and is not among what is open")
        if needed and is_non_null_type(field.type):
            self.problems.append(f"{type_.name}.{name} needs {needed}, but cannot be null")
        for interface in type_.interfaces:
            if name in interface.fields and self.fields.get((interface.name, name), OPEN) != needed:
                self.problems.append(f"{type_.name}.{name} does not need what {interface.name}.{name} does")

    def _input(self, schema: GraphQLSchema, type_: GraphQLInputObjectType, name: str) -> None:
        stated = _in_table(INPUTS, type_.name, name)
        kind = type_.name.removesuffix("Filter")
        if stated is None and type_.name.endswith("Filter") and kind in NODE_KINDS and name not in _COMBINING:
            shown = schema.type_map[kind]
            if not isinstance(shown, GraphQLObjectType) or name not in shown.fields:
                self.problems.append(f"{type_.name}.{name} has no scope, and no field of its name")
                return
            stated = self.fields.get((kind, name))
        if stated:
            self.inputs[type_.name, name] = stated
            if is_non_null_type(type_.fields[name].type):
                self.problems.append(f"{type_.name}.{name} needs {stated}, but cannot be left out")

    def _leading(self) -> Mapping[str, frozenset[str]]:
        """Input types through which something gated can be named: those around such a type are such types too."""
        inputs = [type_ for type_ in self._types if isinstance(type_, GraphQLInputObjectType)]
        found: dict[str, frozenset[str]] = {}
        for (name, _), needed in self.inputs.items():
            found[name] = found.get(name, frozenset()) | needed.scopes
        while True:
            before = dict(found)
            for type_ in inputs:
                below = [found.get(get_named_type(f.type).name, frozenset()) for f in type_.fields.values()]
                if scopes := found.get(type_.name, frozenset()).union(*below):
                    found[type_.name] = scopes
            if found == before:
                return found

    def _unknown(self) -> Iterator[str]:
        """Lines of the table that nothing has, and scopes that there are not."""
        parts = [(type_.name, name) for type_ in self._types for name in getattr(type_, "fields", ())]
        parts += [coordinate for coordinate in self.fields if coordinate[1] in INTROSPECTION]
        for line in (*FIELDS, *INPUTS, *OPEN_FIELDS):
            if not any(_matches(line, *part) for part in parts):
                yield f"the table of scopes names {line}, which there is not"
        names = {type_.name for type_ in self._types}
        yield from (f"the table of scopes names {name}, which there is not" for name in sorted(OPEN_TYPES - names))
        used = frozenset().union(*(needed.scopes for needed in (*FIELDS.values(), *INPUTS.values())))
        yield from (f"the table of scopes uses {name}, which is no scope" for name in sorted(used - SCOPES.keys()))


def _in_table(table: Mapping[str, Requirement], type_: str, name: str) -> Requirement | None:
    """What all lines for this coordinate ask for together; None where there is no line."""
    lines = [needed for line, needed in table.items() if _matches(line, type_, name)]
    return every(lines) if lines else None


def _matches(line: str, type_: str, name: str) -> bool:
    return fnmatchcase(f"{type_}.{name}", line)


def _is_open(type_: GraphQLNamedType, name: str, field: GraphQLField) -> bool:
    """Whether it is a plain value of something that the caller has already, or gives kinds that the store hides."""
    if any(_matches(line, type_.name, name) for line in OPEN_FIELDS):
        return True
    if isinstance(_definition(field), EdgeField):
        return True
    given = get_named_type(field.type)
    had = type_.name in {"Node", *NODE_KINDS, *OPEN_TYPES} or type_.name.endswith("Payload")
    return had and (is_leaf_type(given) or given.name in OPEN_TYPES)


def _given(field: GraphQLField) -> Collection[str]:
    """The kinds of the nodes that a field may give; those at the other end of an edge also where it gives names."""
    definition = _definition(field)
    if isinstance(definition, EdgeField):
        if definition.target:
            return {definition.target}
        return {target if definition.direction == "OUT" else source for source, target in definition.edge.ends}
    return _carried(get_named_type(field.type))


def _carried(type_: GraphQLNamedType) -> Collection[str]:
    if type_.name in NODE_KINDS:
        return {type_.name}
    if type_.name == "Node":
        return _ANY
    item = _wrapped(type_)
    return () if item is None else _carried(item)


def _wrapped(type_: GraphQLNamedType) -> GraphQLNamedType | None:
    """What a connection, an edge or a page is of; None for any other type."""
    definition: Any = (type_.extensions or {}).get(_DEFINITION)
    generic = getattr(definition, "concrete_of", None)
    if generic is None or generic.origin not in _WRAPPERS or not isinstance(type_, GraphQLObjectType):
        return None
    fields = type_.fields
    item: GraphQLNamedType = get_named_type((fields.get("nodes") or fields["node"]).type)
    return item


def _definition(field: GraphQLField) -> Any:
    return (field.extensions or {}).get(_DEFINITION)
