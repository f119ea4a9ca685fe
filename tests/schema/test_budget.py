"""Each client has a budget, which operations are paid from, and which fills up again with time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from auth.caller import ANONYMOUS, Caller
from auth.scopes import SCOPES
from graph.port import Graph, NewEdge, NewNode
from resolvers.operation import Operation
from schema.budget import MOST_CLIENTS, Budget, Spent
from schema.costs import HEAVY
from schema.limits import Limits
from schema.streaming import Asked, Who
from schema.transport import GRAPHQL_TYPE
from schema.view import create_graphql_app
from tests import building as b
from tests.live.following import Following, reached

PLAIN = frozenset(SCOPES) - {"admin"}


class Clock:
    """A time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_an_operation_took_is_paid_and_what_was_set_aside_comes_back(clock: Clock) -> None:
    budget = Budget(600, clock)
    assert budget.reserve("ann", 40) == 40
    assert budget.settle("ann", 40, 5) == 595


def test_an_operation_sets_aside_no_more_than_a_tenth(clock: Clock) -> None:
    budget = Budget(600, clock)
    assert budget.reserve("ann", 10_000_000) == 60
    assert budget.settle("ann", 60, 0) == 600


def test_who_has_spent_all_waits_until_there_is_enough_again(clock: Clock) -> None:
    budget = Budget(600, clock)
    assert budget.settle("ann", budget.reserve("ann", 10), 630) == -30
    with pytest.raises(Spent) as spent:
        budget.reserve("ann", 10)
    assert spent.value.seconds == 4
    assert budget.reserve("bob", 10) == 10
    clock.now = 4.0
    assert budget.reserve("ann", 10) == 10


def test_who_owes_is_told_how_long_that_takes_to_pay(clock: Clock) -> None:
    budget = Budget(600, clock)
    assert budget.owed("ann") == 0
    budget.settle("ann", 0, 630)
    assert budget.owed("ann") == 3
    clock.now = 3.0
    assert budget.owed("ann") == 0


async def test_what_a_subscription_reads_for_its_events_is_paid(sqlite_graph: Graph, clock: Clock) -> None:
    budget = Budget(600, clock)
    ann = Caller("corp:ann", PLAIN, workspaces=None)
    text = 'subscription { events(after: "0", kinds: [MODEL]) { node { ... on Model { versions { nodes { id } } } } } }'
    async with Following(sqlite_graph, budget=budget) as process:
        follower = process.follow(text, ann)
        for n in range(3):
            await b.model(sqlite_graph, f"m{n}", versions=2)
            await follower.event()
        statements = sum(op.statements for op in process.opened)
        items = 3 * 2
        assert statements > 6
        await reached(lambda: budget.settle(f"{ann.client}\0{ann.name}", 0, 0) <= 600 - statements - items)


async def test_each_event_of_a_subscription_says_what_it_cost(sqlite_graph: Graph, clock: Clock) -> None:
    ann = Caller("corp:ann", PLAIN, workspaces=None)
    text = 'subscription { events(after: "0", kinds: [MODEL]) { node { ... on Model { versions { nodes { id } } } } } }'
    await b.create(sqlite_graph, *(NewNode("Model", name, "default") for name in "abc"))
    async with Following(sqlite_graph, budget=Budget(600, clock)) as process:
        follower = process.follow(text, ann)
        first, *others = [((await follower.result()).extensions or {})["cost"] for _ in range(3)]
        assert first == {
            "requested": first["requested"],
            "actual": process.opened[-1].statements,
            "limit": Limits().cost,
            "left": 600 - sum(op.statements for op in process.opened),
        }
        assert first["requested"] > 0
        assert others == [{**first, "actual": 0}] * 2, "the first pays what was asked of the store for all of them"
    async with Following(sqlite_graph) as process:
        for wanted in ({}, {"cost": True}):
            results = process.streams.results(Asked(text, extensions=wanted), Who(ann))
            assert ((await anext(results)).extensions or {}).keys() == wanted.keys()
            await results.aclose()


def test_a_budget_never_grows_beyond_itself(clock: Clock) -> None:
    budget = Budget(600, clock)
    budget.settle("ann", budget.reserve("ann", 1), 1)
    clock.now = 3_600.0
    assert budget.settle("ann", budget.reserve("ann", 0), 0) == 600


def test_many_at_once_cannot_ask_for_more_than_there_is(clock: Clock) -> None:
    budget = Budget(600, clock)
    for _ in range(10):
        budget.reserve("ann", 1_000)
    with pytest.raises(Spent):
        budget.reserve("ann", 1)


def test_only_so_many_clients_are_remembered(clock: Clock) -> None:
    budget = Budget(600, clock)
    budget.settle("ann", 0, 600)
    for n in range(MOST_CLIENTS):
        budget.reserve(f"c{n}", 1)
    assert budget.reserve("ann", 1) == 1
    assert len(budget._accounts) == MOST_CLIENTS


@asynccontextmanager
async def client(graph: Graph, budget: Budget | None, **caller: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, whom the header x-name names."""

    def operation(request: Request) -> Operation:
        name = request.headers.get("x-name", "corp:ann")
        return Operation(graph, caller=Caller(name, PLAIN, workspaces=None, **caller), address=name)

    app = create_graphql_app(graph, budget=budget, new_operation=operation)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as http:
        yield http


QUERY = {"query": "{ models(first: 20) { nodes { id } } }"}


async def test_answers_say_what_they_cost(sqlite_graph: Graph, clock: Clock) -> None:
    for n in range(3):
        await b.model(sqlite_graph, f"m{n}")
    async with client(sqlite_graph, Budget(600, clock)) as http:
        cost = (await http.post("", json=QUERY)).json()["extensions"]["cost"]
        assert cost == {"requested": 21, "actual": 3 + 2, "limit": Limits().cost, "left": 595}
    async with client(sqlite_graph, None) as http:
        assert "extensions" not in (await http.post("", json=QUERY)).json()
        asked = (await http.post("", json={**QUERY, "extensions": {"cost": True}})).json()
        assert asked["extensions"]["cost"] == {"requested": 21, "actual": 5, "limit": Limits().cost}


async def test_who_asks_for_long_texts_pays_for_their_bytes(sqlite_graph: Graph, clock: Clock) -> None:
    await b.create(sqlite_graph, NewNode("Model", "m", "default", props={"description": "x" * 50 * 1_024}))
    text = "{ models(first: 1) { nodes { " + " ".join(f"a{n}: description" for n in range(10)) + " } } }"
    async with client(sqlite_graph, Budget(6_000, clock)) as http:
        cost = (await http.post("", json={"query": text})).json()["extensions"]["cost"]
    assert (cost["requested"], cost["actual"]) == (2, 1 + 2 + 10 * 50)


WALKING = (
    '{ lineage(of: ["models:/m/1"], direction: DOWNSTREAM, kinds: [TEAM], limit: 1) { complete } }',
    '{ modelVersion(address: "models:/m/1") { downstream(kinds: [TEAM], limit: 1) { complete } } }',
    '{ paths(from: "models:/m/1", to: "models:/other") { count } }',
    '{ exportLineage(of: ["models:/m/1"], direction: DOWNSTREAM, format: PROV_JSON, kinds: [TEAM]) { size } }',
)


@pytest.mark.parametrize("text", WALKING)
async def test_who_walks_pays_for_the_walk_and_for_what_it_came_by_returned_or_not(
    sqlite_graph: Graph, clock: Clock, text: str
) -> None:
    _, (first, *others) = await b.model(sqlite_graph, "m", versions=31)
    await b.model(sqlite_graph, "other")
    await b.link(sqlite_graph, *(NewEdge("DERIVED_FROM", each.id, first.id, "finetune") for each in others))
    statements: list[int] = []
    app = create_graphql_app(
        sqlite_graph, budget=Budget(6_000, clock), on_operation=lambda told: statements.append(told.statements)
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as http:
        answer = (await http.post("", json={"query": text, "extensions": {"cost": True}})).json()
    assert "errors" not in answer
    assert answer["extensions"]["cost"]["actual"] == HEAVY + 31 + statements[0]


@pytest.mark.parametrize("accept", ["application/json", GRAPHQL_TYPE])
async def test_who_has_spent_all_is_told_when_to_come_again(sqlite_graph: Graph, clock: Clock, accept: str) -> None:
    budget = Budget(60, clock)
    async with client(sqlite_graph, budget) as http:
        statuses = []
        for _ in range(40):
            response = await http.post("", json=QUERY, headers={"accept": accept})
            statuses.append(response.status_code)
        assert statuses[0] == 200
        assert response.status_code == 429
        assert response.headers["retry-after"] == "2"
        (error,) = response.json()["errors"]
        assert (error["extensions"]["code"], error["extensions"]["limit"]) == ("LIMIT_EXCEEDED", "budget")
        assert ("data" in response.json()) is (accept != GRAPHQL_TYPE)
        other = await http.post("", json=QUERY, headers={"x-name": "corp:bob"})
        assert other.status_code == 200
        clock.now = 2.0
        assert (await http.post("", json=QUERY)).status_code == 200


async def test_what_never_ran_gives_back_what_was_set_aside(sqlite_graph: Graph, clock: Clock) -> None:
    text = "query A { models { nodes { id } } } query B { models { nodes { id } } }"
    async with client(sqlite_graph, Budget(600, clock)) as http:
        for _ in range(20):
            assert (await http.post("", json={"query": text, "operationName": "C"})).status_code == 400
            assert (await http.get("", params={"query": "mutation { x }"})).status_code == 405
        left = (await http.post("", json=QUERY)).json()["extensions"]["cost"]["left"]
        # Who asks was looked up each time, and that was all.
        assert left >= 600 - 20 * 2 - 2


async def test_those_whom_nobody_knows_share_the_budget_of_their_address(sqlite_graph: Graph, clock: Clock) -> None:
    budget = Budget(60, clock)

    def operation(request: Request) -> Operation:
        return Operation(sqlite_graph, caller=Caller(ANONYMOUS, PLAIN), address=request.headers["x-name"])

    app = create_graphql_app(sqlite_graph, budget=budget, new_operation=operation)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as http:
        for _ in range(40):
            first = await http.post("", json=QUERY, headers={"x-name": "192.0.2.1"})
        second = await http.post("", json=QUERY, headers={"x-name": "192.0.2.2"})
    assert (first.status_code, second.status_code) == (429, 200)
