"""What fields cost, and what a document may cost at most: known before it runs.

A field that gives objects costs its weight and what is below it, once for each object that it may give; plain values
cost nothing. How many those may be is said by an argument, `first` or `limit`, and @cost and @listSize say all of this
in the schema's text, by the names that https://ibm.github.io/graphql-specs/cost-spec.html gives them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_introspection_type,
)

from schema.limits import INTROSPECTION, spread_first

MOST: Final = 10**12
"""Costs stop growing here."""

ASSUMED: Final = 10
"""How many a list holds whose length no argument says."""

SLICING: Final = ("first", "limit")
SIZED: Final = ("nodes", "edges", "paths")
"""What is as long as an argument of the field above it says."""

COUNTED: Final[Mapping[str, str]] = {"Query.nodes": "ids", "Query._entities": "representations"}
"""Fields that give one for each item of an argument."""

HEAVY: Final = 10
"""What a field costs that walks, searches or writes."""

GATHERS: Final[Mapping[str, int]] = {"exportLineage": 1_000}
"""Fields that look up all that many nodes have, by their names, and what they cost."""

WALKS: Final = frozenset({"lineage", "upstream", "downstream", "paths", "search", "compareVersions", "checkGate"})

Coordinate = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Size:
    """How many a field gives: as many as an argument says, or holds, or those assumed.

    `sized` are the fields below that are this long; without them it is the field itself.
    """

    slicing: str | None
    assumed: int
    sized: tuple[str, ...] = ()
    counted: str | None = None


class Costs:
    """What each field of a schema costs that gives objects, by coordinate."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.weights: dict[Coordinate, int] = {}
        self.sizes: dict[Coordinate, Size] = {}
        self.below: set[Coordinate] = set()
        for type_ in schema.type_map.values():
            if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)) and not is_introspection_type(type_):
                for name, given in type_.fields.items():
                    if is_composite_type(get_named_type(given.type)):
                        heavy = type_ is schema.mutation_type or name in WALKS
                        self.weights[type_.name, name] = GATHERS.get(name, HEAVY if heavy else 1)
                        self._size(type_.name, name, given)
        for coordinate in self.below:
            self.sizes.pop(coordinate, None)

    def _size(self, type_: str, name: str, given: GraphQLField) -> None:
        listed = isinstance(get_nullable_type(given.type), GraphQLList)
        slicing = next((argument for argument in SLICING if argument in given.args), None)
        sized: tuple[str, ...] = ()
        if not listed:
            fields: Mapping[str, GraphQLField] = getattr(get_named_type(given.type), "fields", {})
            lists = {n for n, f in fields.items() if isinstance(get_nullable_type(f.type), GraphQLList)}
            sized = tuple(each for each in SIZED if each in lists and slicing)
            self.below |= {(get_named_type(given.type).name, each) for each in sized}
        if listed or sized:
            assumed = given.args[slicing].default_value if slicing else ASSUMED
            self.sizes[type_, name] = Size(slicing, assumed, sized, COUNTED.get(f"{type_}.{name}"))


# ── The price of a document ───────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Item:
    """A field that gives objects. `below` says that the field above it tells how many, `many` that it is a list."""

    weight: int
    size: Size | None
    says: ValueNode | None
    below: bool
    many: bool
    items: list[_Item | str] = field(default_factory=list)


class Price:
    """What the operations of a document cost at most. Each fragment is looked at once, however often it is spread."""

    def __init__(self, schema: GraphQLSchema, costs: Costs, document: DocumentNode) -> None:
        self._schema = schema
        self._costs = costs
        fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._order = list(spread_first(fragments))
        self._fragments = {
            name: self._items(fragments[name].selection_set, schema.type_map[fragments[name].type_condition.name.value])
            for name in self._order
        }
        self._operations = {
            definition.name.value if definition.name else None: (
                definition,
                self._items(definition.selection_set, schema.get_root_type(definition.operation)),
            )
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        }

    def of(self, name: str | None, variables: Mapping[str, Any]) -> int:
        """What an operation costs at most with these variables; with no name the only one."""
        if name is not None and name not in self._operations:
            return 0
        operation, items = self._operations[name] if name is not None else next(iter(self._operations.values()))
        given = _defaults(operation) | dict(variables)
        known: dict[str, tuple[int, int]] = {}
        for fragment in self._order:
            known[fragment] = _sum(self._fragments[fragment], given, known)
        own, each = _sum(items, given, known)
        return min(own + each, MOST)

    def _items(self, selections: SelectionSetNode, parent: Any) -> list[_Item | str]:
        items: list[_Item | str] = []
        if is_introspection_type(parent):
            return items
        for node in selections.selections:
            if isinstance(node, FragmentSpreadNode):
                items.append(node.name.value)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                items += self._items(
                    node.selection_set, self._schema.type_map[condition.name.value] if condition else parent
                )
            elif isinstance(node, FieldNode) and node.selection_set and node.name.value not in INTROSPECTION:
                items.append(self._item(node, parent))
        return items

    def _item(self, node: FieldNode, parent: Any) -> _Item:
        coordinate = (parent.name, node.name.value)
        definition = self._schema.get_field(parent, node.name.value)
        assert definition is not None
        assert node.selection_set is not None
        size = self._costs.sizes.get(coordinate)
        argument = size and (size.slicing or size.counted)
        says = next((a.value for a in node.arguments or () if a.name.value == argument), None)
        return _Item(
            self._costs.weights[coordinate],
            size,
            says,
            coordinate in self._costs.below,
            isinstance(get_nullable_type(definition.type), GraphQLList),
            self._items(node.selection_set, get_named_type(definition.type)),
        )


def _sum(
    items: Iterable[_Item | str], variables: Mapping[str, Any], known: Mapping[str, tuple[int, int]]
) -> tuple[int, int]:
    """What a selection costs: by itself, and more for each of those that the field above it says there are."""
    own = each = 0
    for item in items:
        if isinstance(item, str):
            a, b = known[item]
            own, each = own + a, each + b
            continue
        length = _length(item, variables)
        a, b = _sum(item.items, variables, known)
        one = item.weight + a + b * length
        if item.below:
            each += one
        else:
            own += one * (length if item.many else 1)
    return min(own, MOST), min(each, MOST)


def _length(item: _Item, variables: Mapping[str, Any]) -> int:
    if item.size is None:
        return ASSUMED
    said: Any = item.says
    if isinstance(said, VariableNode):
        said = variables.get(said.name.value)
    elif isinstance(said, IntValueNode):
        said = int(said.value)
    elif isinstance(said, ListValueNode):
        said = said.values
    if item.size.counted and said is not None:
        return len(said) if isinstance(said, (list, tuple)) else 1
    # A variable may be 500.0, which GraphQL takes for 500.
    return max(int(said), 0) if isinstance(said, (int, float)) and math.isfinite(said) else item.size.assumed


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in operation.variable_definitions or ():
        if isinstance(each.default_value, IntValueNode):
            found[each.variable.name.value] = int(each.default_value.value)
        elif isinstance(each.default_value, ListValueNode):
            found[each.variable.name.value] = each.default_value.values
    return found
