"""GraphQL over server-sent events: each operation a stream of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from schema import sse
from tests import building as b
from tests.live.connecting import HOST, Site, held, site
from tests.live.following import SEQUENCES, reached


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    """An application on SQLite."""
    async with site(tmp_path, max_subscriptions=2) as here:
        yield here


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/event-stream", True),
        ("application/json, text/event-stream;q=0.1", True),
        ("application/json, text/event-stream;q=0", False),
        ("*/*", False),
    ],
)
def test_events_are_for_those_who_accept_them(accept: str, wanted: bool) -> None:
    assert sse.is_wanted(accept) is wanted


async def test_events_come_as_they_happen_until_whoever_listens_leaves(here: Site) -> None:
    async with here.events(SEQUENCES, after="0") as source:
        assert await source.status() == 200
        assert source.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert source.headers["cache-control"] == "no-store"
        assert "content-length" not in source.headers
        name, first = await source.event()
        assert name == "next"
        model, _ = await b.model(here.graph, "bert")
        assert (await source.event())[1]["data"]["events"]["subject"] == model.id
    await reached(lambda: here.followers == 0)
    async with here.events(SEQUENCES, after=first["data"]["events"]["sequence"]) as again:
        await again.status()
        assert (await again.event())[1]["data"]["events"]["subject"] == model.id


async def test_a_query_and_a_mutation_are_one_result_and_the_end(here: Site) -> None:
    async with here.events("{ models { nodes { name } } }") as source:
        await source.status()
        assert await source.event() == ("next", {"data": {"models": {"nodes": []}}})
        assert await source.event() == ("complete", None)
        assert await source.event() == ("", None)
    async with here.events("{ __typename }", method="GET") as source:
        await source.status()
        assert await source.event() == ("next", {"data": {"__typename": "Query"}})
    async with here.events('mutation { registerModel(input: {name: "m"}) { model { name } } }') as source:
        await source.status()
        assert (await source.event())[1]["data"]["registerModel"]["model"] == {"name": "m"}


async def test_a_bookmark_holds_for_all_that_is_read_for_a_stream(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    brought: list[str] = []
    snapshot = here.graph.snapshot

    def spied(*args: Any, after: str = "") -> Any:
        brought.append(after)
        return snapshot(*args, after=after)

    monkeypatch.setattr(here.graph, "snapshot", spied)
    async with here.events("{ models { nodes { name } } }", bookmark="b:1") as source:
        await source.status()
        await source.event()
    assert brought.count("b:1") == 1
    async with here.events(SEQUENCES, bookmark="b:2", after="0") as source:
        await source.status()
        for n in range(1, 4):
            await b.model(here.graph, f"m{n}")
            await source.event()
            assert brought.count("b:2") >= 1 + n, "each event is read by a moment of its own"
    body = {"query": "{ models { nodes { name } } }", "extensions": {"bookmark": "b:4"}}
    async with here.events(json.dumps(body).encode(), bookmark="b:3") as source:
        await source.status()
        await source.event()
    assert (brought.count("b:3"), brought.count("b:4")) == (0, 1), "the body's comes before the header's"


async def test_what_cannot_be_run_is_said_in_the_stream_and_what_is_no_request_by_its_status(here: Site) -> None:
    for query, code in (
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { events { nope } }", "GRAPHQL_VALIDATION_FAILED"),
        ('subscription { events(after: "x") { id } }', "INVALID_ARGUMENT"),
        ("query A { __typename } query B { __typename }", "INVALID_ARGUMENT"),
        ("subscription A { events { id } } subscription B { events { id } }", "INVALID_ARGUMENT"),
    ):
        async with here.events(query) as source:
            assert await source.status() == 200
            name, data = await source.event()
            assert (name, [e["extensions"]["code"] for e in data["errors"]], "data" in data) == ("next", [code], False)
            assert await source.event() == ("complete", None)
    async with here.events('mutation { registerModel(input: {name: "x"}) { model { id } } }', method="GET") as source:
        await source.status()
        assert (await source.event())[1]["errors"][0]["extensions"]["code"] == "INVALID_ARGUMENT"
    for body, status in ((b"{", 400), (b"[]", 400), (b'{"query": "' + b"x" * 5_000_000 + b'"}', 413)):
        async with here.events(body) as source:
            assert await source.status() == status
            assert (await source.body())["errors"]
    async with here.events("{ __typename }", token=None) as source:
        assert await source.status() == 401
    async with here.events("{ __typename }", method="PUT") as source:
        assert await source.status() == 405


async def test_a_stream_whose_token_expires_says_so_and_ends(here: Site) -> None:
    async with here.events(SEQUENCES, token=here.bearer(expires_in=2)) as source:
        assert await source.status() == 200
        name, data = await source.event()
        assert (name, data["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
        assert await source.event() == ("complete", None)
        assert await source.event() == ("", None)
    assert here.followers == 0


async def test_who_does_not_read_holds_nothing_once_their_token_has_expired(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "FAREWELL_SECONDS", 0.1)
    async with here.events(SEQUENCES, token=here.bearer(expires_in=2)) as source:
        assert await source.status() == 200
        await reached(lambda: here.followers == 1)
        source.room.clear()
        await reached(lambda: here.followers == 0)
        await reached(source.done)


async def test_a_server_that_stops_breaks_streams_off_so_that_clients_come_again(here: Site) -> None:
    async with here.events(SEQUENCES) as source:
        await source.status()
        await reached(lambda: here.followers == 1)
        here.live.end()
        assert await source.event() == ("", None), "there is no complete"


async def test_silence_is_broken_so_that_nothing_in_between_closes_the_stream(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "SILENT_SECONDS", 0.01)
    async with here.events(SEQUENCES) as source:
        await source.status()
        for _ in range(3):
            assert (await source.came())["body"] == b":\n\n"
        model, _ = await b.model(here.graph, "bert")
        assert (await source.event())[1]["data"]["events"]["subject"] == model.id


async def test_more_than_the_process_serves_are_refused(here: Site) -> None:
    async with here.events(SEQUENCES) as one, here.events(SEQUENCES) as two:
        await asyncio.gather(one.status(), two.status())
        await reached(lambda: here.followers == 2)
        async with here.events(SEQUENCES) as three:
            await three.status()
            assert (await three.event())[1]["errors"][0]["extensions"]["limit"] == "subscriptions"


async def test_a_stream_counts_among_what_a_process_has_under_way_until_it_is_known_to_be_a_subscription(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, max_requests=1) as here, here.events(SEQUENCES) as following:
        assert await following.status() == 200
        await reached(lambda: here.followers == 1)
        assert here.app.state.load.requests == 0
        with held(monkeypatch) as gate:
            async with here.events("{ __typename }") as source:
                assert await source.status() == 200
                for query in ("{ __typename }", SEQUENCES):
                    async with here.events(query) as more:
                        assert await more.status() == 503
                        assert more.headers["retry-after"] == "1"
                gate.set()
                assert await source.event() == ("next", {"data": {"__typename": "Query"}})
        await reached(lambda: here.app.state.load.requests == 0)


async def test_a_subscription_that_nobody_can_stream_to_is_refused(here: Site) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(here.app), base_url=f"http://{HOST}") as client:
        headers = {"authorization": here.bearer()}
        answer = await client.post("/graphql", json={"query": SEQUENCES}, headers=headers)
    assert answer.status_code == 400
    assert "text/event-stream" in answer.json()["errors"][0]["message"]
