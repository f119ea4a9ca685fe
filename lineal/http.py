"""What stands around every request: its id, its log line, its metrics, and errors as problem+json (RFC 9457)."""

from __future__ import annotations

import logging as standard_logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Final

from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.recorder import Recorder
from gateway.problems import Problem
from graph.port import WATCHED, Watched
from lineal import logging
from lineal.balancing import BOOKMARK
from lineal.errors import Internal, LinealError
from lineal.faces import face_of
from lineal.observing import METER, span, tracing
from lineal.settings import is_loopback
from lineal.telemetry import METHODS, OTHER, Telemetry
from schema.transport import PREFLIGHT

REQUEST_ID: Final = "x-request-id"
SIGNED: Final = "/bytes/"
"""What the paths of signed addresses begin with."""

_log = logging.get("lineal.http")
_lines = standard_logging.getLogger("lineal.http")
"""For what every request says: this way it costs half as much, and says the same."""


def problem(status: int, detail: str, code: str) -> Response:
    """An error as RFC 9457 wants it, with Lineal's code and the request's id."""
    return Problem(status, detail, code).response(logging.request_id.get())


def problem_of(error: LinealError) -> Response:
    """An error of Lineal's tree as problem+json."""
    return Problem.of(error).response(logging.request_id.get())


class Observed:
    """Outermost: gives each request its id, logs and counts its answer, and masks what went wrong inside.

    In the log a path is one of `paths`, or what a face says in the state's `route`, with the names of its parts instead
    of what was sent in them: that may be somebody's address. Where from is there only if `clients` shall be.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        telemetry: Telemetry,
        paths: Collection[str],
        clients: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.app = app
        self.telemetry = telemetry
        self.paths = frozenset(paths)
        self.clients = clients
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        id = logging.accept_request_id(Headers(scope=scope).get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = id
        started, status, face = self.clock(), 0, face_of(scope["path"])
        path = scope["path"] if scope["path"] in self.paths else OTHER

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = id
            await send(message)

        async def answered() -> None:
            try:
                await self.app(scope, receive, sent)
            except Exception:
                _log.exception("request failed", method=scope["method"], path=_shown(scope, path))
                if status:
                    raise
                await problem(500, f"internal error; quote {id}", Internal.code)(scope, receive, sent)

        watched = Watched()
        with self._around(id, watched), self._span(scope, path, face) as answering:
            try:
                await answered()
            finally:
                if status:
                    answering.set_attribute("http.response.status_code", status)
                if status >= 500:
                    answering.set_status(StatusCode.ERROR)
                self._note(scope, path, face, status, self.clock() - started, watched=watched)

    @contextmanager
    def _around(self, id: str, watched: Watched | None) -> Iterator[None]:
        """What is said meanwhile is said of this request."""
        tokens = (logging.request_id.set(id), METER.set(self.telemetry), WATCHED.set(watched))
        try:
            yield
        finally:
            logging.request_id.reset(tokens[0])
            METER.reset(tokens[1])
            WATCHED.reset(tokens[2])

    @staticmethod
    def _span(scope: Scope, path: str, face: str) -> AbstractContextManager[Span]:
        """The request's span: below the client's, where it says so. A path that is not fixed may hold names."""
        if tracing() is None:
            return span("")
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        route = path if path != OTHER else face
        told: dict[str, str | int | float] = {
            "http.request.method": method,
            "http.route": route,
            "url.scheme": scope.get("scheme", "http"),
        }
        return span(f"{method} {route}", told, kind=SpanKind.SERVER, headers=dict(Headers(scope=scope)))

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, and log that it was there."""
        id = logging.accept_request_id(Headers(scope=scope).get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = id
        started = self.clock()
        with self._around(id, None):
            try:
                await self.app(scope, receive, send)
            finally:
                path = scope["path"] if scope["path"] in self.paths else OTHER
                _log.info("socket", path=path, seconds=round(self.clock() - started, 6), **self._from(scope))

    def _note(self, scope: Scope, path: str, face: str, status: int, seconds: float, *, watched: Watched) -> None:
        # How long somebody listened says nothing about how long answers take.
        streamed = scope.get("state", {}).get("streamed", False)
        took = None if streamed else seconds
        self.telemetry.on_request(scope["method"], path, status, took, face=face, fault=watched.fault)
        if took is not None:
            method = scope["method"] if scope["method"] in METHODS else OTHER
            self.telemetry.on_answered(face, method, took, watched)
        told = {
            "method": scope["method"],
            "face": face,
            "path": _shown(scope, path),
            "status": status,
            "seconds": round(seconds, 6),
        }
        _lines.info("request", extra={**told, **self._from(scope)})

    def _from(self, scope: Scope) -> dict[str, str]:
        return {"client": (scope.get("client") or ("",))[0]} if self.clients else {}


def _shown(scope: Scope, path: str) -> str:
    """A path as logs have it: what is free in it is for nobody who reads them."""
    return str(scope["state"].get("route", path))


class LoopbackHost:
    """Refuses requests for any name but this machine's own.

    A page elsewhere may let its own name point to 127.0.0.1 and then talk to Lineal from a browser (DNS
    rebinding); its requests still carry that name in their Host header. The `recorder` is told of them.
    """

    def __init__(self, app: ASGIApp, *, recorder: Recorder | None = None) -> None:
        self.app = app
        self.recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with status 421 (RFC 9110, section 15.5.20)."""
        if scope["type"] in {"http", "websocket"} and not is_loopback(host := _host(Headers(scope=scope))):
            detail = f"host: Lineal answers on this machine's loopback names only, not for {host!r:.80}"
            if self.recorder is not None:
                client = (scope.get("client") or ("",))[0]
                await self.recorder.failed(reason="host", address=client, request=logging.request_id.get())
            refusal = problem(421, detail, "FORBIDDEN")
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _host(headers: Headers) -> str:
    """The name in the Host header, without its port; empty where there is not exactly one."""
    given = headers.getlist("host")
    if len(given) != 1:
        return ""
    name = given[0]
    if name.startswith("["):
        return name[1 : name.find("]")] if "]" in name else ""
    return name.partition(":")[0]


def cors(origins: Sequence[str]) -> Middleware:
    """Lets pages of these sites ask from browsers, with tokens and never with cookies."""
    named = (
        "authorization",
        "content-type",
        "dpop",
        "idempotency-key",
        "if-match",
        "if-none-match",
        BOOKMARK,
        PREFLIGHT,
    )
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=named,
        expose_headers=("etag", "location", "retry-after", "www-authenticate", "dpop-nonce", BOOKMARK, REQUEST_ID),
    )


async def refused(_request: Request, error: Exception) -> Response:
    """What Starlette refuses (no such path, no such method) as problem+json."""
    status: int = getattr(error, "status_code", 500)
    headers = getattr(error, "headers", None) or {}
    code = "NOT_FOUND" if status == HTTPStatus.NOT_FOUND else "INVALID_ARGUMENT"
    response = problem(status, str(getattr(error, "detail", "")), code)
    response.headers.update(headers)
    return response
