"""Connections to the application in this process that stay open: a WebSocket, and a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from auth.caller import Caller
from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph.port import Graph
from lineal.app import create_app
from lineal.balancing import BOOKMARK
from lineal.parts import opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from resolvers.live import Live
from resolvers.operation import Operation
from schema.context import Context
from schema.executing import run
from schema.sdl import build_schema
from schema.sockets import PROTOCOL
from schema.streaming import Streams
from tests.live.following import SECONDS

HOST = "127.0.0.1:8321"


class Wire:
    """A connection of the ASGI kind: what it was sent, and what came back."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        self._app, self._scope = app, scope
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        self.room = asyncio.Event()
        """While it is not set nothing more is taken from the application: the reader is slow."""
        self.room.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        self.room.set()
        async with asyncio.timeout(SECONDS):
            await self._task

    async def _serve(self) -> None:
        await self._app(self._scope, self._to_app.get, self._take)

    async def _take(self, message: Any) -> None:
        await self.room.wait()
        self._from_app.put_nowait(message)

    async def came(self) -> Any:
        """What comes next from the application."""
        async with asyncio.timeout(SECONDS):
            return await self._from_app.get()

    def say(self, **message: Any) -> None:
        """Send an ASGI message to the application."""
        self._to_app.put_nowait(message)

    def done(self) -> bool:
        """Whether the application is done with it."""
        return self._task.done()

    def leave(self) -> None:
        """Go without a word."""


class Socket(Wire):
    """A WebSocket."""

    def leave(self) -> None:
        self.say(type="websocket.disconnect", code=1006)

    def tell(self, type: str, **message: Any) -> None:
        """Send a message of the protocol."""
        self.text(json.dumps({"type": type, **message}))

    def text(self, text: str) -> None:
        """Send any text."""
        self.say(type="websocket.receive", text=text)

    async def heard(self) -> dict[str, Any]:
        """The next message of the protocol."""
        message = await self.came()
        assert message["type"] == "websocket.send", message
        told: dict[str, Any] = json.loads(message["text"])
        return told

    async def closed(self) -> int:
        """With which code it is closed."""
        message = await self.came()
        assert message["type"] == "websocket.close", message
        code: int = message["code"]
        return code

    async def init(self, **payload: Any) -> None:
        """Say who it is, and be let in."""
        self.tell("connection_init", payload=payload)
        assert await self.heard() == {"type": "connection_ack"}

    def subscribe(self, query: str, id: str = "1", **variables: Any) -> None:
        """Ask for something."""
        self.tell("subscribe", id=id, payload={"query": query, "variables": variables})


class EventSource(Wire):
    """A stream of server-sent events."""

    def leave(self) -> None:
        self.say(type="http.disconnect")

    async def status(self) -> int:
        """The status, with the headers in `headers`."""
        start = await self.came()
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        status: int = start["status"]
        return status

    async def event(self) -> tuple[str, Any]:
        """The name and the data of the next event; ("", None) where the stream ends."""
        while True:
            message = await self.came()
            text = message.get("body", b"").decode()
            if text.startswith("event: "):
                name, data = text.removeprefix("event: ").removesuffix("\n\n").split("\ndata: ")
                return name, json.loads(data) if data else None
            if not message.get("more_body"):
                return "", None

    async def body(self) -> Any:
        """All of an answer that is no stream."""
        return json.loads((await self.came())["body"])


@dataclass
class Site:
    """An application, and those who come to it."""

    app: Starlette
    graph: Graph
    settings: Settings
    telemetry: Telemetry

    @property
    def live(self) -> Live:
        """What tells those who follow."""
        live: Live = self.app.state.live
        return live

    @property
    def streams(self) -> Streams:
        """What runs operations on this store, for whoever asks."""

        def operation_for(caller: Caller, request: str, address: str) -> Operation:
            return Operation(self.graph, caller=caller, request=request, address=address)

        return Streams(build_schema(), self.live, operation_for, Context)

    @property
    def followers(self) -> int:
        """How many follow."""
        return self.live.followers

    def token(self, *scopes: str, expires_in: float = 3_600, name: str = "me") -> str:
        """A token of Lineal's own, which makes `local:name` see everything; it expires so many seconds from now."""
        shift = expires_in - 3_600
        issuer = LocalIssuer(Keyring(self.settings.keys), clock=lambda: time.time() + shift)
        return issuer.token(name=name, scopes=scopes or None)

    def bearer(self, *scopes: str, **more: Any) -> str:
        """The Authorization header with such a token."""
        return f"Bearer {self.token(*scopes, **more)}"

    def socket(self, *, path: str = "/graphql", protocol: str = PROTOCOL, **headers: str) -> Socket:
        """A WebSocket, about to be connected."""
        socket = Socket(self.app, socket_scope(path, protocol, **headers))
        socket.say(type="websocket.connect")
        return socket

    @asynccontextmanager
    async def connected(self, *scopes: str, **more: Any) -> AsyncIterator[Socket]:
        """A WebSocket of somebody with these scopes, who was let in."""
        async with self.socket() as socket:
            assert (await socket.came())["type"] == "websocket.accept"
            await socket.init(authorization=self.bearer(*scopes, **more))
            yield socket

    def events(
        self, query: str | bytes, *, method: str = "POST", token: str | None = "", bookmark: str = "", **variables: Any
    ) -> EventSource:
        """A stream of events, about to be asked for; `query` may be a whole body."""
        body = query if isinstance(query, bytes) else json.dumps({"query": query, "variables": variables}).encode()
        headers = {"accept": "text/event-stream", "content-type": "application/json"}
        if token is not None:
            headers["authorization"] = token or self.bearer()
        if bookmark:
            headers[BOOKMARK] = bookmark
        scope = {**_scope("/graphql", headers), "type": "http", "method": method}
        if method == "GET":
            assert isinstance(query, str)
            scope["query_string"] = urlencode({"query": query, "variables": json.dumps(variables)}).encode()
            body = b""
        source = EventSource(self.app, scope)
        source.say(type="http.request", body=body, more_body=False)
        return source


def socket_scope(path: str = "/graphql", protocol: str = PROTOCOL, **headers: str) -> dict[str, Any]:
    """The ASGI scope of a WebSocket."""
    return {**_scope(path, headers), "type": "websocket", "subprotocols": [protocol]}


def _scope(path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8321),
        "state": {},
    }


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """What is asked over what stays open begins to run when this event is set."""
    gate = asyncio.Event()

    async def waiting(*args: Any, **kwargs: Any) -> Any:
        await gate.wait()
        return await run(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr("schema.streaming.run", waiting)
        yield gate


@asynccontextmanager
async def site(folder: Path, **settings: Any) -> AsyncIterator[Site]:
    """An application on a store of its own."""
    chosen = Settings.load(graph=f"sqlite:///{folder / 'lineal.db'}", keys=folder / "keys", **settings)
    telemetry = Telemetry()
    async with opened(chosen, telemetry.on_statement) as graph:
        yield Site(create_app(chosen, graph, telemetry), graph, chosen, telemetry)
