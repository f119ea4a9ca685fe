"""Who may do what: every route with every scope, and what is hidden looks as if it were not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    get_named_type,
    get_nullable_type,
    is_required_input_field,
)

from auth.caller import ADMIN as ADMIN_SCOPE
from auth.caller import Caller
from auth.scopes import FIELDS, SCOPES
from gateway.rest.openapi import tag_of
from gateway.rest.plans import Plan
from gateway.rest.routes import NOUNS, UNROUTED, routes
from gateway.rest.selecting import Selector
from graph.ids import new_id
from graph.ontology import NODE_KINDS
from graph.port import Graph, NewNode
from schema.sdl import build_schema
from tests import building as b
from tests.gateway.rest.conftest import Client, serving
from tests.gateway.rest.twins import PATIENT
from tests.schema.conftest import Story, tell
from tests.schema.test_scope_matrix import _open, _ways

BUILT = build_schema()
SELECTOR = Selector(BUILT._schema, BUILT.gates.fields)
PLANS = [Plan(route, SELECTOR) for route in routes(BUILT._schema)]
PLAIN = frozenset(SCOPES) - {ADMIN_SCOPE}
Ways = frozenset[frozenset[str]]


def _needed(plan: Plan) -> Ways:
    """What a route needs, from the types of its fields and the table of scopes alone."""
    found: Ways = frozenset({frozenset()})
    owner = "Mutation" if plan.route.writes else "Query"
    for name in plan.route.fields:
        ways = _ways(owner, name)
        found = frozenset(a | b for a in found for b in ways)
        type_: Any = BUILT._schema.type_map[owner]
        owner = get_named_type(type_.fields[name].type).name
    return found


def _value(type_: Any) -> Any:
    """A value of an input type, with no more in it than is required."""
    bare, named = get_nullable_type(type_), get_named_type(type_)
    if isinstance(bare, GraphQLList):
        return [_value(bare.of_type)]
    if isinstance(named, GraphQLEnumType):
        return next(iter(named.values))
    if isinstance(named, GraphQLInputObjectType):
        return {name: _value(f.type) for name, f in named.fields.items() if is_required_input_field(f)}
    plain = {"Boolean": True, "Int": 1, "Float": 1, "BigInt": 1, "MetricValue": 1, "JSON": {}}
    return plain.get(named.name, "2026-01-31T00:00:00Z" if named.name == "DateTime" else "models:/bert/1")


def sample(plan: Plan) -> tuple[str, dict[str, Any]]:
    """A path with all that is required, and what else is sent."""
    path = plan.route.path
    for shown, _ in plan.route.inputs:
        path = path.replace(f"{{{shown}}}", "1" if plan.route.address else "models%3A%2Fbert%2F1")
    given = [
        f"{p.name}={each}"
        for p in plan.parameters.values()
        if p.required
        for each in ([_value(p.type)] if not isinstance(_value(p.type), list) else _value(p.type) * 2)
    ]
    body = {name: _value(field.type) for name, field in plan.body.items() if is_required_input_field(field)}
    return f"{path}?{'&'.join(given)}", {"json": body} if body else {}


def _callers(ways: Ways) -> Iterator[frozenset[str]]:
    """Nobody's scopes, all but each, each by itself, and each way with one scope less."""
    yield frozenset()
    yield PLAIN
    yield from ways
    for way in ways:
        yield from (way - {scope} for scope in way)
    for scope in sorted(frozenset().union(*ways)):
        yield frozenset({scope})
        yield PLAIN - {scope}


async def test_every_route_is_denied_exactly_as_the_table_of_scopes_says(rest: Client) -> None:
    tried = 0
    for plan in PLANS:
        ways = _needed(plan)
        assert ways == plan.needed.alternatives or {w for w in ways if not any(o < w for o in ways)} == set(
            plan.needed.alternatives
        )
        path, more = sample(plan)
        for scopes in set(_callers(ways)):
            if plan.route.writes and _open(ways, scopes) and scopes not in ways:
                continue
            rest.caller = Caller("ann", scopes, workspaces=None)
            answer = await rest.send(plan.route.method, path, **more)
            denied = answer.status_code == 403 and "requiredScopes" in answer.json().get("details", {})
            assert denied != _open(ways, scopes), (plan.name, sorted(scopes), answer.text)
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            if denied:
                assert "insufficient_scope" in answer.headers["www-authenticate"]
            tried += 1
    assert tried > 1_000
    assert {f"{'Mutation' if p.route.writes else 'Query'}.{p.route.fields[0]}" for p in PLANS} >= {
        line
        for line in FIELDS
        if line.startswith(("Mutation.", "Query.")) and "__" not in line and line.partition(".")[2] not in UNROUTED
    }


async def test_by_itself_no_answer_is_refused_for_what_it_would_give_besides(rest: Client, story: Story) -> None:
    for plan in PLANS:
        if plan.route.writes:
            continue
        path, _ = sample(plan)
        for way in _needed(plan):
            rest.caller = Caller("ann", way, workspaces=None)
            answer = await rest.send("GET", path)
            assert answer.status_code != 403, (plan.name, sorted(way), answer.text)


async def test_nobody_is_asked_for_a_token_at_every_route_that_needs_one(rest: Client) -> None:
    rest.caller = Caller("anonymous")
    for plan in PLANS:
        path, more = sample(plan)
        answer = await rest.send(plan.route.method, path, **more)
        if plan.needed:
            assert answer.status_code == 401, plan.name
            assert answer.headers["www-authenticate"].startswith("Bearer ")


SAMPLES = {"STRING": "x", "TEXT": "x", "INT": 1, "FLOAT": 1.0, "BOOL": True, "TIME": 1, "STRINGS": ["x"], "JSON": {}}


async def _secrets(graph: Graph) -> dict[str, str]:
    """The ids of one thing of each kind in a workspace that is hidden, by kind."""
    await b.create(graph, NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}))
    model, versions = await b.model(graph, "basalt", versions=1, workspace="secret")
    dataset, data = await b.dataset(graph, "rocks", "v1", workspace="secret")
    found = {node.kind: node.id for node in (model, *versions, dataset, *data)}
    for kind in {kind for kind, one, _ in NOUNS.values() if one} - found.keys() - {"Workspace", "Principal", "Team"}:
        needed = {p.name: next(iter(p.values), SAMPLES[p.type.name]) for p in NODE_KINDS[kind].properties if p.required}
        container = dataset.id if kind == "Field" else None
        (node,) = await b.create(graph, NewNode(kind, "hidden", "secret", container, needed))
        found[kind] = node.id
    return found


async def test_what_is_hidden_and_what_is_absent_are_the_same_answer(graph: Graph) -> None:
    await tell(graph)
    secrets = await _secrets(graph)
    asked = 0
    async with serving(graph, PATIENT) as rest:
        rest.caller = Caller("eve", PLAIN - {"audit:read"})

        async def answer(plan: Plan, id: str) -> tuple[int, str, dict[str, str]]:
            path, more = sample(plan)
            said = await rest.send(plan.route.method, path.replace("models%3A%2Fbert%2F1", id, 1), **more)
            return said.status_code, said.text.replace(id, "ID"), dict(said.headers)

        for plan in PLANS:
            collection = tag_of(plan.route)
            kinds = [NOUNS[collection][0]] if collection in NOUNS else ["Model", "Run", "Deployment"]
            if not plan.route.inputs or plan.route.address:
                continue
            for kind in secrets.keys() & set(kinds):
                hidden, absent = secrets[kind], new_id(NODE_KINDS[kind].prefix)
                first, second = await answer(plan, hidden), await answer(plan, absent)
                assert first == second, plan.name
                # This server sends no webhooks.
                assert first[0] in {400, 403, 404} or "Webhook" in plan.name, (plan.name, first)
                asked += 1
        assert asked > 150
        for collection in NOUNS:
            assert "secret" not in str((await rest.get(f"/{collection}"))["items"])
        assert (await rest.get("/search?text=basalt"))["items"] == []
        by_name = [await rest.send("GET", f"/models/secret:{name}/versions/1") for name in ("basalt", "nothing")]
        assert by_name[0].content == by_name[1].content
