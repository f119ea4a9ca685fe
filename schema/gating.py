"""Scopes are checked once for each document, before it runs: what of it is denied is never resolved.

A document is read once into a plan, which is remembered: only the fields that need something, and what leads
to them. For a caller the plan is walked with the request's variables, every fragment once. A field has one
static parent type wherever its fragment is spread, and what implements an interface needs the same as the
interface, so the verdict on a field node holds wherever the walk meets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
)

from auth.caller import Caller
from auth.scopes import OPEN, Requirement, every
from lineal.errors import Forbidden
from schema.limits import INTROSPECTION, spread_first

if TYPE_CHECKING:
    from schema.gates import Gates

Variables = Mapping[str, Any]
_NONE: Final[Variables] = {}
_LEFT_OUT_IF: Final = {"skip": True, "include": False}


# ── The plan of a document ────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Field:
    """A field that needs something, or has such fields below it.

    `needed` is what it needs whatever the variables, `given` the arguments that depend on variables. `whole`
    says that the operation is refused with it, `many` that there are lists on the way to what is below it.
    """

    node: FieldNode
    needed: Requirement
    given: list[tuple[ValueNode, GraphQLInputType]]
    whole: bool
    many: bool
    items: list[_Item] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """Selections of an inline fragment."""

    directives: Sequence[DirectiveNode]
    items: list[_Item]


@dataclass(slots=True)
class _Spread:
    """Where a named fragment is spread."""

    directives: Sequence[DirectiveNode]
    name: str


_Item = _Field | _Group | _Spread


class Plan:
    """What of a document needs something, by operation and fragment.

    `document` is the very one that must run, since fields are known by their nodes. `scopes` are all that it
    may take: whoever holds them is denied nothing.
    """

    def __init__(self, schema: GraphQLSchema, gates: Gates, document: DocumentNode) -> None:
        self.document = document
        self._schema = schema
        self._gates = gates
        self.operations: dict[str | None, tuple[OperationDefinitionNode, list[_Item]]] = {}
        self.fragments: dict[str, list[_Item]] = {}
        self.scopes: frozenset[str] = frozenset()
        definitions = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self.order = list(spread_first(definitions))
        for name in self.order:
            parent = schema.type_map[definitions[name].type_condition.name.value]
            self.fragments[name] = self._items(definitions[name].selection_set, parent)
        for operation in document.definitions:
            if isinstance(operation, OperationDefinitionNode):
                own = operation.name.value if operation.name else None
                root = schema.get_root_type(operation.operation)
                self.operations[own] = (operation, self._items(operation.selection_set, root))

    def _items(self, selections: SelectionSetNode, parent: Any) -> list[_Item]:
        # One frame for each level: documents may nest as deep as the parser lets them.
        items: list[_Item] = []
        for node in selections.selections:
            if isinstance(node, FragmentSpreadNode):
                # A fragment that needs nothing is no part of the plan.
                if self.fragments.get(node.name.value):
                    items.append(_Spread(node.directives or (), node.name.value))
            elif isinstance(node, FieldNode):
                item, below = self._field(node, parent)
                if node.selection_set and is_composite_type(below) and node.name.value not in INTROSPECTION:
                    item.items = self._items(node.selection_set, below)
                if item.needed or item.given or item.items:
                    items.append(item)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                below = self._schema.type_map[condition.name.value] if condition else parent
                if found := self._items(node.selection_set, below):
                    items.append(_Group(node.directives or (), found))
        return items

    def _field(self, node: FieldNode, parent: Any) -> tuple[_Field, GraphQLNamedType]:
        """A field, as yet without what is below it, and its type."""
        name = node.name.value
        definition = self._schema.get_field(parent, name)
        assert definition is not None
        needed = self._gates.fields.get((parent.name, name), OPEN)
        given: list[tuple[ValueNode, GraphQLInputType]] = []
        for argument in node.arguments or ():
            type_ = definition.args[argument.name.value].type
            if may_take := self._gates.leading.get(get_named_type(type_).name):
                if _has_variable(argument.value):
                    given.append((argument.value, type_))
                    self.scopes |= may_take
                else:
                    needed &= _Inputs(self._gates).needed(argument.value, type_)
        self.scopes |= needed.scopes
        whole = parent in {self._schema.mutation_type, self._schema.subscription_type} or name in INTROSPECTION
        many = isinstance(get_nullable_type(definition.type), GraphQLList)
        return _Field(node, needed, given, whole, many), get_named_type(definition.type)


def _has_variable(value: ValueNode) -> bool:
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, VariableNode):
            return True
        stack += _children(node)
    return False


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, ListValueNode):
        return node.values
    return (f.value for f in node.fields) if isinstance(node, ObjectValueNode) else ()


# ── What inputs name ──────────────────────────────────────────────────────────────────────────────


class _Inputs:
    """What the gated fields need that are named in arguments: by literals, variables and their defaults.

    What is null or left out is not named. Input that does not fit its type is passed over: it is refused later.
    """

    def __init__(self, gates: Gates, raw: Variables = _NONE, operation: OperationDefinitionNode | None = None) -> None:
        self._gates = gates
        self._raw = raw
        definitions = (operation.variable_definitions if operation else None) or ()
        self._defaults = {d.variable.name.value: d.default_value for d in definitions}
        self._known: dict[str, Requirement] = {}

    def variable(self, node: VariableNode) -> Any:
        """What a variable stands for: JSON, or the literal that is its default; None where it has neither."""
        name = node.name.value
        return self._raw[name] if name in self._raw else self._defaults.get(name)

    def needed(self, value: Any, type_: GraphQLInputType) -> Requirement:
        """What a value of this type needs."""
        found: set[Requirement] = set()
        stack: list[tuple[Any, Any]] = [(value, type_)]
        while stack:
            item, of = stack.pop()
            of = get_nullable_type(of)
            if isinstance(item, VariableNode):
                found.add(self._of_variable(item, of))
            elif isinstance(of, GraphQLList):
                listed = item.values if isinstance(item, ListValueNode) else item if isinstance(item, list) else [item]
                stack += ((each, of.of_type) for each in listed)
            elif isinstance(of, GraphQLInputObjectType) and of.name in self._gates.leading:
                for name, sub in _pairs(item):
                    if name in of.fields and self._is_given(sub):
                        found.add(self._gates.inputs.get((of.name, name), OPEN))
                        stack.append((sub, of.fields[name].type))
        return every(found)

    def _of_variable(self, node: VariableNode, type_: GraphQLInputType) -> Requirement:
        # A variable has one type, and may be used in many places: what it names is looked for once.
        name = node.name.value
        if name not in self._known:
            self._known[name] = self.needed(self.variable(node), type_)
        return self._known[name]

    def _is_given(self, item: Any) -> bool:
        value = self.variable(item) if isinstance(item, VariableNode) else item
        return not (value is None or isinstance(value, NullValueNode))


def _pairs(item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, ObjectValueNode):
        yield from ((field.name.value, field.value) for field in item.fields)
    elif isinstance(item, dict):
        yield from item.items()


# ── The verdict for a caller ──────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Verdict:
    """What of an operation is denied.

    `denied` are the ids of its field nodes, `errors` one for each of them, and `refusal` the one error that
    is the whole answer, where the operation must not run at all.
    """

    denied: frozenset[int] = frozenset()
    errors: list[GraphQLError] = field(default_factory=list)
    refusal: GraphQLError | None = None


NOTHING_DENIED: Final = Verdict()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a selection stands in the answer.

    `shown` are the keys up to the first list, `below` those after it. What is spread in several places is
    told from everything else by its `fragment`, and shows what these places have in common.
    """

    shown: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    many: bool = False
    fragment: str = ""

    def at(self, key: str, many: bool) -> _Place:
        """Where a field of this key stands."""
        if self.many:
            return _Place(self.shown, (*self.below, key), True, self.fragment)
        return _Place((*self.shown, key), (), many, self.fragment)

    def merged(self, other: _Place | None, fragment: str) -> _Place:
        """Where a fragment stands that is spread both here and there."""
        if other is None or self == other:
            return self
        common = []
        for mine, theirs in zip(self.shown, other.shown, strict=False):
            if mine != theirs:
                break
            common.append(mine)
        return _Place(tuple(common), (), True, fragment)


class _Walk:
    """One walk through a plan, for one caller and request."""

    def __init__(self, plan: Plan, inputs: _Inputs, caller: Caller, *, open_schema: bool) -> None:
        self._plan = plan
        self._caller = caller
        self._inputs = inputs
        self._open_schema = open_schema
        self._spread: dict[str, _Place] = {}
        self.denied: dict[tuple[_Place, Requirement], list[FieldNode]] = {}
        self.whole: list[tuple[FieldNode, Requirement]] = []

    def run(self, items: list[_Item]) -> None:
        """Walk an operation, then the fragments, each after all that spread it."""
        self._walk(items, _Place())
        for name in reversed(self._plan.order):
            if name in self._spread:
                self._walk(self._plan.fragments[name], self._spread[name])

    def _walk(self, items: list[_Item], place: _Place) -> None:
        stack = [(item, place) for item in reversed(items)]
        while stack:
            item, at = stack.pop()
            directives = (item.node.directives or ()) if isinstance(item, _Field) else item.directives
            if not all(map(self._included, directives)):
                continue
            if isinstance(item, _Spread):
                self._spread[item.name] = at.merged(self._spread.get(item.name), item.name)
                continue
            below = self._enter(item, at) if isinstance(item, _Field) else at
            if below is not None:
                stack += ((each, below) for each in reversed(item.items))

    def _enter(self, item: _Field, at: _Place) -> _Place | None:
        """Where what is below a field stands; None when it is denied."""
        needed = item.needed & every(self._inputs.needed(value, type_) for value, type_ in item.given)
        here = at.at((item.node.alias or item.node.name).value, item.many)
        introspects = item.node.name.value in INTROSPECTION
        if needed.opened_by(self._caller) or (introspects and self._open_schema):
            return here
        if item.whole:
            self.whole.append((item.node, needed))
        else:
            self.denied.setdefault((here, needed), []).append(item.node)
        return None

    def _included(self, directive: DirectiveNode) -> bool:
        """Whether @skip or @include lets it stand; what is not known to be left out is not."""
        condition: Any = directive.arguments[0].value if directive.arguments else None
        if isinstance(condition, VariableNode):
            condition = self._inputs.variable(condition)
        if isinstance(condition, BooleanValueNode):
            condition = condition.value
        return condition is None or condition is not _LEFT_OUT_IF.get(directive.name.value)


def judge(
    plan: Plan,
    gates: Gates,
    operation_name: str | None,
    caller: Caller,
    variables: Variables,
    *,
    open_schema: bool = False,
) -> Verdict:
    """What of an operation the caller's scopes do not open. With `open_schema` introspection needs none."""
    if caller.admin or plan.scopes <= caller.scopes:
        return NOTHING_DENIED
    found = plan.operations.get(operation_name) if operation_name else next(iter(plan.operations.values()))
    if found is None:
        return NOTHING_DENIED
    operation, items = found
    walk = _Walk(plan, _Inputs(gates, variables, operation), caller, open_schema=open_schema)
    walk.run(items)
    if walk.whole:
        nodes = [node for node, _ in walk.whole]
        return Verdict(refusal=_refusal(nodes, every(needed for _, needed in walk.whole), ()))
    denied = frozenset(id(node) for nodes in walk.denied.values() for node in nodes)
    errors = [_refusal(nodes, needed, place.shown) for (place, needed), nodes in walk.denied.items()]
    return Verdict(denied, errors)


def _refusal(nodes: list[FieldNode], needed: Requirement, path: Sequence[str]) -> GraphQLError:
    names = ", ".join(dict.fromkeys(node.name.value for node in nodes))
    error = Forbidden(f"{names}: needs {needed}", requiredScopes=needed.lists())
    return GraphQLError(error.message, nodes=nodes, path=list(path) or None, original_error=error)


MAX_NAMED: Final = 10
"""Root fields that the audit names of one operation."""


def root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> list[FieldNode]:
    """The first fields at the root of an operation, fragments spread once."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    fields: list[FieldNode] = []
    spread: set[str] = set()
    stack: list[SelectionNode] = list(reversed(operation.selection_set.selections))
    while stack and len(fields) < MAX_NAMED:
        node = stack.pop()
        if isinstance(node, FieldNode):
            fields.append(node)
        elif isinstance(node, InlineFragmentNode):
            stack += reversed(node.selection_set.selections)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
            spread.add(node.name.value)
            stack += reversed(fragments[node.name.value].selection_set.selections)
    return fields
