"""A route worked out: its arguments, and the document that answers it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from graphql import (
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    validate_input_value,
)

from auth.scopes import OPEN, Requirement, every
from gateway.rest.addresses import address_at, composed, names_things
from gateway.rest.parameters import RENAMED, Parameter, of_argument
from gateway.rest.routes import DELETE, Route
from gateway.rest.selecting import Selection, Selector

KEY: Final = "idempotencyKey"
REVISION: Final = "revision"
INPUT: Final = "input"

Shape = Literal["one", "list", "nodes", "edges", "whole"]
"""How what is answered looks: one thing, a list of things, a page of them, one with edges, or plain values."""

_MISSING: Final = re.compile(r"to include required field '(\w+)'")
"""What GraphQL says where something that is needed is not there: its place is that of what it is missing in."""

_EDGE: Final = "discriminator since until weight"


@dataclass(frozen=True, slots=True)
class Step:
    """A field on the way to what is answered, with the arguments that it takes, each with its name in the document."""

    field: str
    arguments: Mapping[str, GraphQLInputType]


class Plan:
    """How a route is answered.

    `parameters` are those of the query, by name, `body` the fields of the input that come in the body. `item` is the
    name of the type of what is answered, `made` where in it a thing is that was made and its kind, `needed` what the
    caller's scopes must open.
    """

    def __init__(self, route: Route, selector: Selector) -> None:
        self.route = route
        self._selector = selector
        self.parameters: dict[str, Parameter] = {}
        self.body: dict[str, GraphQLInputField] = {}
        self.needed: Requirement = OPEN
        self.takes_key = self.takes_revision = False
        self._input: GraphQLInputObjectType | None = None
        self._steps: list[Step] = []
        owner: Any = _root(selector.schema, route)
        for name in route.fields:
            self.needed = every([self.needed, selector.needs.get((owner.name, name), OPEN)])
            field = owner.fields[name]
            self._steps.append(Step(name, {n: a.type for n, a in field.args.items()}))
            owner = get_named_type(field.type)
        self.field = field
        if route.writes:
            self._take_input(field.args[INPUT].type)
        else:
            self._take_arguments(selector.schema)
        self.unwrapped = ""
        self.made: tuple[str, str] | None = None
        self.item, self.shape = self._shape(field.type)
        self.selects = self.shape != "whole"

    @property
    def name(self) -> str:
        """The route's."""
        return self.route.name

    @property
    def paged(self) -> bool:
        """Whether it is a list in parts."""
        return self.shape in {"nodes", "edges"}

    @property
    def counted(self) -> bool:
        """Whether it can say how many there are in all."""
        return self.paged and get_named_type(self.field.type).name.endswith("Connection")

    @property
    def identified(self) -> bool:
        """Whether what is answered is one thing, with a revision."""
        return self.shape == "one" and self._selector.is_node(self._selector.schema.type_map[self.item])

    def _take_arguments(self, schema: GraphQLSchema) -> None:
        """Arguments become parameters: those of what is answered first, then those of what leads to it."""
        taken = {given for _, given in self.route.inputs} | ({"address"} if self.route.address else set())
        owner: Any = _root(schema, self.route)
        fields = []
        for step in self._steps:
            fields.append(owner.fields[step.field])
            owner = get_named_type(fields[-1].type)
        seen: set[str] = set()
        for number in reversed(range(len(fields))):
            kept = {}
            for name, argument in fields[number].args.items():
                if name in seen:
                    continue
                seen.add(name)
                kept[name] = argument.type
                if name not in taken:
                    self.parameters |= {p.name: p for p in of_argument(name, argument)}
            self._steps[number] = Step(self._steps[number].field, kept)

    def _take_input(self, type_: GraphQLInputType) -> None:
        named = get_named_type(type_)
        assert isinstance(named, GraphQLInputObjectType)
        self._input = named
        bound = {given for _, given in self.route.inputs}
        for name, field in named.fields.items():
            if name in bound:
                continue
            if name == KEY:
                self.takes_key = True
            elif name == REVISION:
                self.takes_revision = True
            elif self.route.method == DELETE:
                self.parameters |= {p.name: p for p in of_argument(name, field)}
            else:
                self.body[name] = field

    def _shape(self, type_: Any) -> tuple[str, Shape]:
        named: Any = get_named_type(type_)
        if self.route.writes:
            (name, field), *more = named.fields.items()
            if more or is_leaf_type(get_named_type(field.type)):
                if self._selector.is_node(get_named_type(field.type)):
                    self.made = name, get_named_type(field.type).name
                return named.name, "whole"
            self.unwrapped = name
            type_ = field.type
            named = get_named_type(type_)
        if named.name.endswith(("Connection", "Page")):
            with_edges = "edges" in named.fields and len(self.route.fields) > 1
            return get_named_type(named.fields["nodes"].type).name, "edges" if with_edges else "nodes"
        return named.name, "list" if isinstance(get_nullable_type(type_), GraphQLList) else "one"

    # ── What is asked ─────────────────────────────────────────────────────────────────────────────

    def bound(self, parts: Mapping[str, str]) -> dict[str, Any]:
        """The arguments that are in the path. Raises InvalidArgument."""
        segments = self.route.path.strip("/").split("/")
        before = {name.strip("{}"): segments[n - 1] for n, name in enumerate(segments) if name.startswith("{")}
        if self.route.address:
            return {"address": composed(self.route.address, {n: (before[n], text) for n, text in parts.items()})}
        return {
            given: address_at(before[shown], parts[shown]) if names_things(before[shown]) else parts[shown]
            for shown, given in self.route.inputs
        }

    def document(self, given: Iterable[str], scopes: frozenset[str], asked: Selection | None, *, total: bool) -> str:
        """The document, with variables for these arguments. Raises InvalidArgument: `fields` is wrong."""
        if asked is None:
            return _by_default(self, frozenset(given), scopes, total)
        return self.written(frozenset(given), scopes, asked, total)

    def written(self, given: frozenset[str], scopes: frozenset[str], asked: Selection | None, total: bool) -> str:
        """The document, written anew."""
        text = self._selected(scopes, asked, total)
        if self.unwrapped:
            text = f"{{ {self.unwrapped} {text} }}"
        types: dict[str, GraphQLInputType] = {}
        for step in reversed(self._steps):
            arguments = [name for name in step.arguments if name in given]
            types |= {name: step.arguments[name] for name in arguments}
            call = ", ".join(f"{name}: ${name}" for name in arguments)
            text = f"{{ {step.field}{f'({call})' if call else ''} {text} }}"
        declared = ", ".join(f"${name}: {type_}" for name, type_ in types.items())
        kind = "mutation" if self.route.writes else "query"
        return f"{kind} {self.name}{f'({declared})' if declared else ''} {text}"

    def _selected(self, scopes: frozenset[str], asked: Selection | None, total: bool) -> str:
        if asked is None:
            text = self._selector.default(self.item, scopes)
        else:
            text = self._selector.chosen(self.item, asked, scopes)
        if self.identified:
            text += f" _id: id _revision: {REVISION}"
        if not self.paged:
            return f"{{ {text} }}"
        page = f"pageInfo {{ hasNextPage endCursor }}{' totalCount' if total else ''}"
        if self.shape == "edges":
            return f"{{ edges {{ {_EDGE} node {{ {text} }} }} {page} }}"
        return f"{{ nodes {{ {text} }} {page} }}"

    # ── What was wrong with it ────────────────────────────────────────────────────────────────────

    def wrong(self, variables: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What of the arguments does not fit: where, and why."""
        found = [
            (parameter.name, "must be given")
            for parameter in self.parameters.values()
            if parameter.required and not self.route.writes and parameter.argument not in variables
        ]
        types = {name: type_ for step in self._steps for name, type_ in step.arguments.items()}
        for name, type_ in types.items():
            if name not in variables:
                continue

            def told(error: Any, path: Sequence[str | int], name: str = name) -> None:
                inner = list(path if name == INPUT else [name, *path])
                if missing := _MISSING.search(error.message):
                    found.append((self.shown([*inner, missing[1]]), "must be given"))
                else:
                    absent = error.message.endswith("not to be None.")
                    found.append((self.shown(inner), "must not be null" if absent else error.message))

            validate_input_value(variables[name], type_, told, hide_suggestions=True)
        return found

    def shown(self, path: Sequence[str | int]) -> str:
        """A place in the arguments, as the request has it."""
        first, *rest = path or [""]
        parts = {given: shown for shown, given in self.route.inputs}
        names = {**parts, **RENAMED, KEY: "Idempotency-Key", REVISION: "If-Match"}
        text: str = names.get(str(first), str(first))
        for part in rest:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
        return text


@lru_cache(2_048)
def _by_default(plan: Plan, given: frozenset[str], scopes: frozenset[str], total: bool) -> str:
    """The document for what a plan gives by itself: there are few, whatever clients send."""
    return plan.written(given, scopes, None, total)


def _root(schema: GraphQLSchema, route: Route) -> Any:
    return schema.mutation_type if route.writes else schema.query_type
