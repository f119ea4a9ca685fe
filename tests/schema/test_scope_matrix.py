"""Every field and argument of the schema, with every scope: what is denied is what the table says.

What a field needs is worked out here from the ontology, the printed types and the table alone; documents are made
from the schema, and run for callers with each scope by itself, with all but each, and with each beside those that
lead to the field.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from strawberry.types import ExecutionResult

from auth.caller import ADMIN, Caller
from auth.scopes import FIELDS, INPUTS, SCOPES, Requirement
from graph.ontology import NODE_KINDS
from graph.port import Graph
from schema.executing import execute
from schema.limits import Limits
from schema.sdl import build_schema
from tests.live.following import Following
from tests.schema.conftest import Story

LIMITS: Final = Limits(tokens=20_000, aliases=500, root_fields=100)
SCHEMA: Final = build_schema(LIMITS)
TYPES: Final[Mapping[str, Any]] = SCHEMA._schema.type_map
PLAIN: Final = frozenset(SCOPES) - {ADMIN}

# The ends of edges whose fields are of the interface, and of those that give names: all of one scope, or null.
ENDS: Final = {
    **dict.fromkeys(("owners", "members", "mentions", "reviewers", "notifies"), "workspace:read"),
    **dict.fromkeys(("aliases", "stage"), "model:read"),
    "marks": "dataset:read",
}

Ways = frozenset[frozenset[str]]
FREE: Final[Ways] = frozenset({frozenset()})


def _both(one: Ways, other: Ways) -> Ways:
    return frozenset(a | b for a in one for b in other)


def _open(ways: Ways, scopes: frozenset[str]) -> bool:
    return ADMIN in scopes or any(way <= scopes for way in ways)


def _table(table: Mapping[str, Requirement], coordinate: str) -> Ways:
    ways = FREE
    for line, requirement in table.items():
        if fnmatchcase(coordinate, line):
            ways = _both(ways, requirement.alternatives)
    return ways


def _ways(type_: str, field: str) -> Ways:
    """What a field needs, from its printed type and the table."""
    if type_.endswith(("Connection", "Page")) or (type_.endswith("Edge") and type_ != "LineageEdge"):
        return FREE
    ways = _table(FIELDS, f"{type_}.{field}")
    given = get_named_type(TYPES[type_].fields[field].type).name.removesuffix("Connection").removesuffix("Page")
    if given in NODE_KINDS:
        ways = _both(ways, frozenset({frozenset({NODE_KINDS[given].scope})}))
    elif field in ENDS and type_ in {"Node", *NODE_KINDS}:
        ways = _both(ways, frozenset({frozenset({ENDS[field]})}))
    return ways


def _input_ways(type_: str, field: str) -> Ways:
    coordinate = f"{type_}.{field}"
    if any(fnmatchcase(coordinate, line) for line in INPUTS):
        return _table(INPUTS, coordinate)
    kind = type_.removesuffix("Filter")
    if kind in NODE_KINDS and field in TYPES[kind].fields:
        return _ways(kind, field)
    return FREE


def _literal(type_: Any) -> str:
    """A value of an input type, with no more in it than is required."""
    bare, named = get_nullable_type(type_), get_named_type(type_)
    if isinstance(bare, GraphQLList):
        return f"[{_literal(bare.of_type)}]"
    if isinstance(named, GraphQLEnumType):
        return str(next(iter(named.values)))
    if isinstance(named, GraphQLInputObjectType):
        parts = (f"{name}: {_literal(f.type)}" for name, f in named.fields.items() if is_required_input_field(f))
        return f"{{{', '.join(parts)}}}"
    plain = {"Boolean": "true", "Int": "1", "Float": "1", "BigInt": "1", "MetricValue": "1", "JSON": "{}"}
    return plain.get(named.name, '"2026-01-31T00:00:00Z"' if named.name == "DateTime" else '"models:/bert/1"')


def _call(name: str, field: Any, **given: str) -> str:
    needed = {n: _literal(a.type) for n, a in field.args.items() if is_required_argument(a)} | given
    shown = ", ".join(f"{n}: {value}" for n, value in needed.items())
    return f"{name}({shown})" if shown else name


def _below(field: Any) -> str:
    return "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"


@dataclass(frozen=True)
class Step:
    """A line of a document: a field with its arguments, or an inline fragment, and what it needs."""

    text: str
    ways: Ways = FREE


def _paths() -> dict[str, tuple[Step, ...]]:
    """A shortest way from the root to every type of output."""
    found: dict[str, tuple[Step, ...]] = {"Query": ()}
    waiting = deque(found)
    while waiting:
        type_ = waiting.popleft()
        steps = []
        if isinstance(TYPES[type_], GraphQLInterfaceType):
            steps += [(kind, Step(f"... on {kind}")) for kind in NODE_KINDS]
        for name, field in TYPES[type_].fields.items():
            steps.append((get_named_type(field.type).name, Step(_call(name, field), _ways(type_, name))))
        for target, step in steps:
            if target not in found and isinstance(TYPES[target], (GraphQLObjectType, GraphQLInterfaceType)):
                found[target] = (*found[type_], step)
                waiting.append(target)
    return found


PATHS: Final = _paths()


def _callers(leading: frozenset[str]) -> Iterator[frozenset[str]]:
    yield frozenset()
    yield PLAIN
    yield frozenset({ADMIN})
    for scope in sorted(PLAIN):
        yield frozenset({scope})
        yield PLAIN - {scope}
        yield leading | {scope}


def _leading(path: tuple[Step, ...]) -> frozenset[str]:
    return frozenset().union(*(min(step.ways, key=sorted) for step in path))


def _document(path: tuple[Step, ...], leaves: list[Step]) -> str:
    """Each step on a line of its own, then each leaf."""
    lines = ["{", *(f"{step.text} {{" for step in path), *(leaf.text for leaf in leaves), "}" * (len(path) + 1)]
    return "\n".join(lines)


def _expected(path: tuple[Step, ...], leaves: list[Step], scopes: frozenset[str]) -> set[int]:
    """The lines that are denied: the first of the way that is not open, or else those of the leaves."""
    for number, step in enumerate(path, 2):
        if not _open(step.ways, scopes):
            return {number}
    return {number for number, leaf in enumerate(leaves, len(path) + 2) if not _open(leaf.ways, scopes)}


async def _denied(graph: Graph, text: str, scopes: frozenset[str], **variables: Any) -> set[int]:
    caller = Caller("ann", scopes, workspaces=None)
    result = await execute(SCHEMA, graph, text, variables, caller=caller)
    return _lines(result)


def _lines(result: ExecutionResult) -> set[int]:
    """The lines of what is denied."""
    denied = [e for e in result.errors or () if "requiredScopes" in (e.extensions or {})]
    assert all((e.extensions or {})["code"] == "FORBIDDEN" for e in denied)
    assert not any(code.startswith("GRAPHQL") for code in _codes(result)), result.errors
    return {location.line for e in denied for location in e.locations or ()}


def _codes(result: ExecutionResult) -> list[str]:
    return [str((e.extensions or {})["code"]) for e in result.errors or ()]


async def _matches(graph: Graph, path: tuple[Step, ...], leaves: list[Step]) -> int:
    text = _document(path, leaves)
    count = 0
    for scopes in set(_callers(_leading(path))):
        assert await _denied(graph, text, scopes) == _expected(path, leaves, scopes), (text, sorted(scopes))
        count += len(leaves)
    return count


def test_every_type_of_output_can_be_reached() -> None:
    outputs = {n for n, t in TYPES.items() if isinstance(t, (GraphQLObjectType, GraphQLInterfaceType))}
    payloads = {n for n in outputs if n.endswith("Payload")}
    told = {"Mutation", "Subscription", "Event"}
    assert {n for n in outputs - payloads - told if not n.startswith("__")} == PATHS.keys() - {"__Schema"}


async def test_every_field_needs_what_the_table_says(sqlite_graph: Graph, story: Story) -> None:
    tried = 0
    for name, path in PATHS.items():
        fields = TYPES[name].fields.items()
        leaves = [
            Step(f"f{n}: {_call(field, given)}{_below(given)}", _ways(name, field))
            for n, (field, given) in enumerate(fields)
        ]
        tried += await _matches(sqlite_graph, path, leaves)
    assert tried > 10_000


async def test_every_field_of_a_filter_or_an_order_needs_what_its_output_does(
    sqlite_graph: Graph, story: Story
) -> None:
    seen = set()
    for parent, path in PATHS.items():
        for name, field in TYPES[parent].fields.items():
            for argument, given in getattr(field, "args", {}).items():
                type_ = get_named_type(given.type)
                if not isinstance(type_, GraphQLInputObjectType) or type_.name in seen:
                    continue
                seen.add(type_.name)
                leaves = []
                for n, (key, inner) in enumerate(type_.fields.items()):
                    call = _call(name, field, **{argument: f"{{{key}: {_literal(inner.type)}}}"})
                    ways = _both(_ways(parent, name), _input_ways(type_.name, key))
                    leaves.append(Step(f"f{n}: {call}{_below(field)}", ways))
                await _matches(sqlite_graph, path, leaves)
    taken = {get_named_type(a.type).name for t in PATHS for f in TYPES[t].fields.values() for a in f.args.values()}
    assert seen == {name for name in taken if isinstance(TYPES.get(name), GraphQLInputObjectType)}
    assert {"RunOrder", "ModelVersionOrder", "EvaluationOrder"} <= seen


async def test_every_mutation_is_refused_whole_without_what_the_table_says(sqlite_graph: Graph, story: Story) -> None:
    for name, field in TYPES["Mutation"].fields.items():
        text = f"mutation {{\n{_call(name, field)} {{ __typename }}\n}}"
        ways = _ways("Mutation", name)
        for scopes in set(_callers(frozenset())) | set(ways):
            caller = Caller("ann", scopes, workspaces=None)
            if _open(ways, scopes) and scopes not in ways:
                continue
            result = await execute(SCHEMA, sqlite_graph, text, caller=caller)
            refused = any("requiredScopes" in (e.extensions or {}) for e in result.errors or ())
            assert refused != _open(ways, scopes), (name, sorted(scopes))
            assert not refused or result.data is None


def _given(type_: Any) -> Iterator[tuple[str, str, Ways]]:
    """For every field of an input type, and of those nested in it: its coordinate, a value with it, what that needs."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLInputObjectType):
        required = {n: _literal(f.type) for n, f in named.fields.items() if is_required_input_field(f)}
        for name, field in named.fields.items():
            own = _input_ways(named.name, name)
            below = [(f"{named.name}.{name}", _literal(field.type), FREE), *_given(field.type)]
            for coordinate, value, ways in below:
                shown = ", ".join(f"{n}: {v}" for n, v in (required | {name: value}).items())
                yield coordinate, f"{{{shown}}}", _both(own, ways)


async def test_every_field_of_a_mutations_input_needs_what_the_table_says(sqlite_graph: Graph, story: Story) -> None:
    gated = set()
    for name, field in TYPES["Mutation"].fields.items():
        for argument, type_ in ((n, a.type) for n, a in field.args.items()):
            for coordinate, value, own in _given(type_):
                ways = _both(_ways("Mutation", name), own)
                gated |= {coordinate} if own != FREE else set()
                text = f"mutation {{ {_call(name, field, **{argument: value})} {{ __typename }} }}"
                # Who holds what the mutation itself needs, or lacks one scope of what is needed.
                for scopes in {*_ways("Mutation", name), *(way - {one} for way in ways for one in way), *ways}:
                    if _open(ways, scopes) and own == FREE:
                        continue
                    result = await execute(SCHEMA, sqlite_graph, text, caller=Caller("ann", scopes, workspaces=None))
                    refused = any("requiredScopes" in (e.extensions or {}) for e in result.errors or ())
                    assert refused != _open(ways, scopes), (text, sorted(scopes))
                    assert not refused or result.data is None
    assert {line for line in INPUTS if line.split(".")[0].endswith("Input")} <= gated


async def test_every_field_of_what_a_mutation_gives_needs_what_the_table_says(
    sqlite_graph: Graph, story: Story
) -> None:
    for name, field in TYPES["Mutation"].fields.items():
        payload = get_named_type(field.type)
        for key, given in payload.fields.items():
            ways = _ways(payload.name, key)
            text = f"mutation {{\n{_call(name, field)} {{\n{key}{_below(given)}\n}}\n}}"
            for scopes in {way | PLAIN - {one} for way in _ways("Mutation", name) for one in SCOPES}:
                denied = await _denied(sqlite_graph, text, scopes)
                assert denied == (set() if _open(ways, scopes) else {3}), (text, sorted(scopes))


async def test_every_field_and_argument_of_a_subscription_needs_what_the_table_says(
    sqlite_graph: Graph, story: Story
) -> None:
    (events, field), *others = TYPES["Subscription"].fields.items()
    assert not others
    given = {name: _literal(get_nullable_type(argument.type)) for name, argument in field.args.items()}
    given |= {"after": '"0"', "workspaces": '["default"]', "changed": '["name"]', "kinds": "[MODEL]"}
    leaves = [f"{name}{_below(inner)}" for name, inner in TYPES["Event"].fields.items()]
    open_ = _ways("Subscription", events)
    async with Following(sqlite_graph, LIMITS) as process:
        # What happens to a model is told to those who may read models.
        readers = {s | {"model:read"} if _open(open_, s) else s for s in _callers(frozenset().union(*open_))}
        for scopes in readers:
            caller = Caller("ann", scopes, workspaces=None)
            path = (Step(_call(events, field, after='"0"'), open_),)
            steps = [Step(text, _ways("Event", text.partition(" ")[0])) for text in leaves]
            result = await process.answer(f"subscription {_document(path, steps)}", caller)
            assert _lines(result) == _expected(path, steps, scopes), sorted(scopes)
            for name, literal in given.items():
                needed = _both(open_, frozenset({frozenset({"lineage:read"})})) if name == "downstreamOf" else open_
                if _open(needed, scopes):
                    continue
                call = _call(events, field, **{"after": given["after"], name: literal})
                text = f"subscription {{ {call} {{ id }} }}"
                refused = await process.answer(text, caller)
                assert refused.data is None
                assert _codes(refused) == ["FORBIDDEN"], (text, sorted(scopes))


def test_what_is_gated_can_be_null() -> None:
    for name, type_ in TYPES.items():
        if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)) and not name.startswith("__"):
            for field, given in type_.fields.items():
                assert _ways(name, field) == FREE or not isinstance(given.type, GraphQLNonNull), (name, field)
