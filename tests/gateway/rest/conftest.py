"""REST on a store with a small story in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from auth.caller import Caller
from auth.challenges import Resource
from auth.recorder import Recorder
from gateway.rest.routes import PATH
from graph.port import Graph
from lineal.rest import create_rest
from resolvers.bytes import Bytes
from resolvers.operation import Operation
from schema.executing import Operated
from schema.limits import Limits
from schema.sdl import build_schema
from tests.schema.conftest import Story, tell

ORIGIN = "https://lineal.test"
ADMIN = Caller("ann", frozenset({"admin"}), workspaces=None)


@dataclass
class Client:
    """A client of REST, and the store behind it. `caller` is who asks."""

    http: httpx.AsyncClient
    graph: Graph
    caller: Caller = ADMIN
    operations: list[Operated] = field(default_factory=list)

    async def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The whole answer."""
        return await self.http.request(method, f"{PATH}{path}", **more)

    async def ask(self, method: str, path: str, body: Any = None, status: int | None = None, **headers: str) -> Any:
        """The JSON of an answer that has this status, or else is none of an error."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.send(method, path, json=body, headers=named)
        assert answer.status_code == status if status else answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def get(self, path: str, **headers: str) -> Any:
        """The JSON of what is there."""
        return await self.ask("GET", path, None, 200, **headers)

    async def refused(self, method: str, path: str, status: int, body: Any = None, **more: Any) -> Any:
        """The problem that this is."""
        given = {"json": body} if body is not None else {}
        answer = await self.send(method, path, **given, **more)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["request"] == "request-1"
        return problem


@asynccontextmanager
async def serving(graph: Graph, limits: Limits = Limits(), bytes: Bytes | None = None) -> AsyncIterator[Client]:
    """REST on a store."""
    recorder = Recorder(graph)

    def operation(request: Request) -> Operation:
        state = request.state
        return Operation(
            graph,
            caller=state.caller,
            request=state.request_id,
            address="10.0.0.1",
            recorder=recorder,
            bytes=bytes,
            base=ORIGIN,
        )

    async with recorder, httpx.AsyncClient(base_url=ORIGIN) as http:
        client = Client(http, graph)
        rest = create_rest(
            build_schema(limits),
            operation,
            resource=Resource(f"{ORIGIN}/graphql"),
            on_operation=client.operations.append,
        )
        http._transport = httpx.ASGITransport(_named(Starlette(routes=[rest]), client))
        yield client


def _named(app: ASGIApp, client: Client) -> ASGIApp:
    """The application, asked by the client's caller."""

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {}).update(caller=client.caller, request_id="request-1")
        await app(scope, receive, send)

    return named


@pytest.fixture
async def story(sqlite_graph: Graph) -> Story:
    """The story, in SQLite: that both stores answer alike is what their contract says."""
    return await tell(sqlite_graph)


@pytest.fixture
async def rest(sqlite_graph: Graph, story: Story) -> AsyncIterator[Client]:
    """REST on the story."""
    async with serving(sqlite_graph) as client:
        yield client
