"""Processes beside each other: who is full says so, and who wrote is read by the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph.neo4j.store import Neo4jGraph
from graph.port import Graph
from lineal.balancing import BOOKMARK, Balanced, Load
from lineal.errors import InvalidArgument
from lineal.http import Observed
from lineal.telemetry import Telemetry
from resolvers.operation import Operation
from schema.sse import MEDIA_TYPE
from schema.view import create_graphql_app
from tests import building as b
from tests.cluster import clustered
from tests.services import Neo4jServer

REGISTER = 'mutation { registerModel(input: {name: "bert"}) { model { name } } }'


class Waiting:
    """An application whose answers wait until they are let go."""

    def __init__(self, most: int) -> None:
        self.gate = asyncio.Event()
        self.load = Load(most)

        async def answer(request: Request) -> Response:
            await self.gate.wait()
            if request.url.path == "/away":
                return Response(status_code=503)
            if request.url.path == "/stream":
                return Response(media_type=MEDIA_TYPE)
            return Response(request.scope.get("state", {}).get("bookmark", ""))

        async def bookmark() -> str:
            return "b:1"

        paths = ("/", "/away", "/stream", "/healthz")
        balanced = Middleware(Balanced, load=self.load, bookmark=bookmark, always=("/healthz",))
        methods = ["GET", "POST"]
        self.telemetry = Telemetry()
        observed = Middleware(Observed, telemetry=self.telemetry, paths=paths)
        self.app = Starlette(routes=[Route(p, answer, methods=methods) for p in paths], middleware=[observed, balanced])


@pytest.fixture
async def waiting() -> AsyncIterator[tuple[Waiting, httpx.AsyncClient]]:
    waiting = Waiting(2)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=waiting.app), base_url="http://test") as http:
        yield waiting, http


async def test_what_would_wait_behind_too_many_is_told_to_come_again(
    waiting: tuple[Waiting, httpx.AsyncClient],
) -> None:
    app, http = waiting
    async with asyncio.TaskGroup() as tasks:
        open_ = [tasks.create_task(http.get("/")) for _ in range(2)]
        while app.load.requests < 2:  # noqa: ASYNC110 - what is counted has no event
            await asyncio.sleep(0.001)
        refused = await http.get("/")
        alive = tasks.create_task(http.get("/healthz"))
        app.gate.set()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert app.telemetry.registry.get_sample_value("lineal_http_refusals_total") == 1
    assert refused.json()["code"] == "UNAVAILABLE"
    assert [each.result().status_code for each in (*open_, alive)] == [200, 200, 200]
    assert app.load.requests == 0
    assert (await http.get("/")).status_code == 200


async def test_who_is_told_503_is_told_when_to_come_again_whichever_face_says_it(
    waiting: tuple[Waiting, httpx.AsyncClient],
) -> None:
    app, http = waiting
    app.gate.set()
    answer = await http.get("/away")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_an_answer_to_what_may_write_has_the_bookmark_and_a_request_may_bring_one(
    waiting: tuple[Waiting, httpx.AsyncClient],
) -> None:
    app, http = waiting
    app.gate.set()
    assert BOOKMARK not in (await http.get("/")).headers
    assert (await http.post("/")).headers[BOOKMARK] == "b:1"
    assert BOOKMARK not in (await http.post("/stream")).headers, "it begins before anything is written"
    assert (await http.get("/", headers={BOOKMARK: "b:7"})).text == "b:7"


async def test_what_one_process_wrote_is_there_for_who_brings_its_bookmark_to_another(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    def operation(request: Request) -> Operation:
        return Operation(other, after=request.headers.get(BOOKMARK, ""))

    async with (
        clustered(neo4j_server.port) as cluster,
        Neo4jGraph(cluster.url) as graph,
        Neo4jGraph(cluster.url) as other,
        httpx.AsyncClient(transport=httpx.ASGITransport(app=create_graphql_app(graph)), base_url="http://one") as one,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=create_graphql_app(other, new_operation=operation)), base_url="http://two"
        ) as two,
    ):
        body = {"query": '{ model(address: "models:/bert") { name } }'}
        before = await two.post("", json=body)
        cluster.fall_behind()
        told = (await one.post("", json={"query": REGISTER})).json()["extensions"]["bookmark"]
        without = await two.post("", json=body)
        by_header = await two.post("", json=body, headers={BOOKMARK: told})
        by_extension = await two.post("", json={**body, "extensions": {"bookmark": told}})
        wrong = await two.post("", json={**body, "extensions": {"bookmark": "no such thing"}})
        unknown = await two.post("", json={**body, "extensions": {"bookmark": "FB:kcwQ"}})
        number = await two.post("", json={**body, "extensions": {"bookmark": 7}})
    assert before.json() == without.json() == {"data": {"model": None}}
    assert by_header.json() == by_extension.json() == {"data": {"model": {"name": "bert"}}}
    for refused in (wrong, unknown):
        (error,) = refused.json()["errors"]
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_ARGUMENT", "bookmark")
    assert number.status_code == 400


async def test_a_moment_after_a_bookmark_has_what_it_stands_for_and_none_other_is_taken(graph: Graph) -> None:
    model, _ = await b.model(graph, "bert")
    bookmark = await graph.bookmark()
    async with graph.snapshot(after=bookmark) as snapshot:
        assert model.id in await snapshot.nodes([model.id])
    assert bool(bookmark) == isinstance(graph, Neo4jGraph)
    if bookmark:
        with pytest.raises(InvalidArgument, match="bookmark"):
            async with graph.snapshot(after="x" * 300) as snapshot:
                await snapshot.nodes([model.id])
