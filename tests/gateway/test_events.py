"""The feed of events: everything once and in order, for whoever pulls, as far as they may see."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from auth.caller import ADMIN, LOCAL, Caller
from auth.challenges import Resource
from auth.recorder import Recorder
from auth.scopes import SCOPES
from gateway import events
from gateway.events import create_events_route
from graph.port import Graph, NewNode
from lineal.rest import print_openapi
from resolvers.events import MAX_INDEX, TYPES, Position, position
from resolvers.operation import Operation
from tests import building

ALL = frozenset(SCOPES) - {ADMIN}
RESOURCE = Resource("https://lineal.test/graphql")
CALLERS = {
    "all": LOCAL,
    "ann": Caller("corp:ann", ALL, workspaces=frozenset({"default"})),
    "models": Caller("corp:bob", frozenset({"activity:read", "model:read"}), workspaces=frozenset({"default"})),
    "reader": Caller("corp:eve", frozenset({"model:read"})),
    "nobody": Caller("anonymous"),
    "admin": Caller("corp:root", frozenset({ADMIN})),
}


@dataclass
class Feed:
    """A client of the feed, and the store behind it."""

    http: httpx.AsyncClient
    graph: Graph

    async def page(self, query: str = "", who: str = "all", status: int = 200) -> httpx.Response:
        """A page, once everything has its order."""
        while await self.graph.sequence():
            pass
        answer = await self.http.get(f"/api/v1/events{query}", headers={"x-who": who})
        assert answer.status_code == status, answer.text
        return answer

    async def all(self, limit: int, who: str = "all") -> list[Any]:
        """Every event, page by page, as the Link headers lead."""
        found: list[Any] = []
        query = f"?limit={limit}"
        while True:
            page = await self.page(query, who)
            if not page.json() and page.links["next"]["url"].endswith(query.removeprefix("?")):
                return found
            found += page.json()
            query = "?" + page.links["next"]["url"].partition("?")[2]


@pytest.fixture
async def feed(graph: Graph) -> AsyncIterator[Feed]:
    """The feed of either store, asked by whoever x-who names."""
    async with Recorder(graph) as recorder:

        def operation(request: Request) -> Operation:
            request.state.caller = CALLERS[request.headers["x-who"]]
            return Operation(graph, caller=request.state.caller, recorder=recorder)

        app = Starlette(routes=[create_events_route(operation, resource=RESOURCE, base="https://lineal.test")])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://lineal.test") as http:
            yield Feed(http, graph)


async def test_pages_of_any_size_have_every_event_once_and_in_order(feed: Feed) -> None:
    for name in "abc":
        await building.model(feed.graph, name, versions=3)
    whole = await feed.all(1_000)
    assert len(whole) == 12
    assert {event["type"] for event in whole} == {"lineal.model.created", "lineal.model_version.created"} <= TYPES
    assert [e["sequence"] for e in whole] == sorted(e["sequence"] for e in whole)
    for limit in (1, 5):
        assert await feed.all(limit) == whole
    page = await feed.page(f"?after={whole[4]['sequence']}")
    assert page.json() == whole[5:]
    assert page.headers["content-type"] == "application/cloudevents-batch+json"
    assert (await feed.page("?after=1")).json() == whole[4:], "a change's place stands for all of it"


async def test_every_place_that_the_feed_names_is_one_by_its_document(feed: Feed) -> None:
    await building.model(feed.graph, "a", versions=3)
    asked = json.loads(print_openapi())["paths"]["/api/v1/events"]["get"]["parameters"]
    (after,) = (parameter["schema"] for parameter in asked if parameter["name"] == "after")
    pages = [await feed.page(query) for query in ("", "?limit=1", "?after=1")]
    links = [httpx.URL(page.links["next"]["url"]).params["after"] for page in pages]
    sequences = [event["sequence"] for page in pages for event in page.json()]
    assert len(sequences) == 5
    ends = [str(Position(seq, index)) for seq in (0, 2**43 - 1) for index in (0, MAX_INDEX)]
    for text in (after["default"], "42", *links, *sequences, *ends):
        jsonschema.validate(text, after)
        position(text)
    for text in ("", "x", "-1", "1.", "1.00000001"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(text, after)


async def test_everyone_sees_the_events_of_what_they_may_see(feed: Feed) -> None:
    await building.create(feed.graph, NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}))
    mine, _ = await building.model(feed.graph, "mine")
    hidden, _ = await building.model(feed.graph, "hidden", workspace="secret")
    data, _ = await building.dataset(feed.graph, "data")
    seen = {who: {event["subject"] for event in await feed.all(10, who)} for who in ("all", "ann", "models")}
    assert {mine.id, hidden.id, data.id} <= seen["all"]
    assert {mine.id, data.id} <= seen["ann"]
    assert hidden.id not in seen["ann"]
    assert seen["models"] == {mine.id}


async def test_an_empty_page_leads_past_what_is_not_to_be_seen(feed: Feed) -> None:
    await building.create(feed.graph, NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}))
    for n in range(5):
        await building.model(feed.graph, f"hidden-{n}", workspace="secret")
    page = await feed.page("", "models")
    assert page.json() == []
    assert "after=0000000000000006." in page.links["next"]["url"]


async def test_who_waits_is_answered_when_something_happens(feed: Feed) -> None:
    began = time.monotonic()
    asking = asyncio.create_task(feed.page("?wait=30"))
    await asyncio.sleep(0.2)
    assert not asking.done()
    model, _ = await building.model(feed.graph, "late")
    while not asking.done():
        await feed.graph.sequence()
        await asyncio.sleep(0.05)
    assert [event["subject"] for event in (await asking).json()] == [model.id]
    assert time.monotonic() - began < 30
    assert (await feed.page("?after=1&wait=1")).json() == []


async def test_too_many_do_not_wait(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_WAITING", 0)
    assert (await feed.page("?wait=30")).json() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=x", "after"),
        ("after=-1", "after"),
        ("after=99", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("wait=31", "wait"),
        ("wait=x", "wait"),
    ],
)
async def test_what_is_wrong_is_a_problem_that_names_it(feed: Feed, query: str, field: str) -> None:
    answer = await feed.page(f"?{query}", status=400)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["field"]) == ("INVALID_ARGUMENT", field)


async def test_a_parameter_that_there_is_not_is_refused_as_elsewhere_in_rest(feed: Feed) -> None:
    problem = (await feed.page("?after=0&foo=1", status=400)).json()
    assert (problem["field"], problem["detail"]) == ("foo", "foo: there is no such parameter here")


@pytest.mark.parametrize(("who", "status"), [("reader", 403), ("nobody", 401)])
async def test_without_the_scope_it_is_refused_and_that_is_audited(feed: Feed, who: str, status: int) -> None:
    answer = await feed.page(who=who, status=status)
    assert "www-authenticate" in answer.headers
    entries = await _entries(feed.graph)
    assert [e.action for e in entries] == ["refused"]


async def test_who_was_deactivated_may_not_come_in(feed: Feed) -> None:
    await building.create(feed.graph, NewNode("Principal", "corp:ann", "", props={"active": False}))
    assert 'error="invalid_token"' in (await feed.page(who="ann", status=401)).headers["www-authenticate"]


async def test_what_an_admin_reads_is_audited(feed: Feed) -> None:
    await feed.page("?after=0", "admin")
    (entry,) = await _entries(feed.graph)
    assert entry.data["noted"]["action"] == "adminRead"


async def _entries(graph: Graph) -> list[Any]:
    while await graph.sequence():
        pass
    async with graph.snapshot() as snapshot:
        return [entry.change for entry in await snapshot.chain("")]


async def test_a_page_looks_through_so_many_changes_and_says_that_there_may_be_more(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(9):
        await building.model(feed.graph, f"m{n}")
    whole = await feed.all(100)
    monkeypatch.setattr("resolvers.feed.BATCH", 2)
    monkeypatch.setattr("resolvers.feed.LOOKS", 2)
    page = await feed.page("?limit=100")
    assert page.json() == whole[:4]
    assert await feed.all(100) == whole
