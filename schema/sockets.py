"""GraphQL over WebSocket: the protocol graphql-transport-ws.

See https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md. Whoever connects says who they are in the payload
of `connection_init`, as HTTP's Authorization header would have it, or in that header itself. When their token expires
the connection is closed with 4403: clients then come again with another one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from cross_web import HTTPException
from graphql import GraphQLError
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.http.websocket_origin import is_same_origin, normalize_origin
from strawberry.types.execution import PreExecutionError

from auth.caller import Caller
from auth.challenges import Refusal
from lineal.errors import InvalidArgument, LimitExceeded, LinealError, Unavailable
from resolvers.live import MAX_EACH, Ended
from schema.context import client_of
from schema.failures import present
from schema.streaming import Asked, Streams, Who, payload

PROTOCOL: Final = "graphql-transport-ws"
INIT_SECONDS: Final = 10.0
PER_CONNECTION: Final = 100
STRANGERS: Final = 1_000
MAX_ID: Final = 200
"""Characters of the id of an operation."""

BAD_REQUEST: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NOT_ACCEPTABLE: Final = 4406
INIT_TIMEOUT: Final = 4408
EXISTS: Final = 4409
TOO_MANY_INITS: Final = 4429
RESTART: Final = 1012
AGAIN_LATER: Final = 1013
TOO_BIG: Final = 1009

Admit = Callable[[str | None, str | None], Awaitable[Caller]]
"""Lets somebody in by an Authorization and a DPoP header. Raises Refusal."""


@dataclass(frozen=True, slots=True)
class SocketRules:
    """What connections are held to.

    `origins` are other sites whose pages may connect, as scheme://host:port. There are `init_seconds` for
    `connection_init`, and `per_connection` operations at a time. So many `strangers` of the process may be about to say
    who they are, and so many may be `per_client`; more are closed with 1013, to come again.
    """

    origins: Collection[str] = ()
    init_seconds: float = INIT_SECONDS
    per_connection: int = PER_CONNECTION
    strangers: int = STRANGERS
    per_client: int = MAX_EACH


class Sockets:
    """The ASGI application for the scope `websocket`.

    Who may come in is said by what the scope's state has as `admit`.
    """

    def __init__(self, streams: Streams, rules: SocketRules) -> None:
        self._streams = streams
        self._rules = rules
        self._origins = frozenset(map(normalize_origin, rules.origins))
        self._strangers = set[_Connection]()
        """Those that have not said yet who they are."""
        self._clients = Counter[str]()
        """How many the others have, by client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        socket = WebSocket(scope, receive, send)
        if not self._may_connect(socket):
            await socket.close()
            return
        if PROTOCOL not in scope["subprotocols"]:
            await socket.accept()
            await socket.close(NOT_ACCEPTABLE, f"Subprotocol not acceptable: it must be {PROTOCOL}")
            return
        await socket.accept(PROTOCOL)
        if len(self._strangers) >= self._rules.strangers:
            await socket.close(AGAIN_LATER, "Try again later")
            return
        state = scope.get("state", {})
        connection = _Connection(socket, self._streams, self._rules, state["admit"], self._strangers, self._clients)
        self._strangers.add(connection)
        try:
            await connection.serve(str(state.get("request_id", "")))
        finally:
            self._strangers.discard(connection)
            self._clients -= Counter({connection.client})

    def _may_connect(self, socket: WebSocket) -> bool:
        """Whether a page may connect, by its origin: browsers ask nobody else."""
        origin = socket.headers.get("origin")
        if origin is None or is_same_origin(origin, socket.headers.get("host")):
            return True
        return normalize_origin(origin) in self._origins - {None}


class _Closed(Exception):
    """The connection is to be closed, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class _Connection:
    """One connection: what is asked over it, each by a task of its own.

    Once it is known who it is, it is none of the `strangers` any more, but one of those that its `client` has.
    """

    def __init__(
        self,
        socket: WebSocket,
        streams: Streams,
        rules: SocketRules,
        admit: Admit,
        strangers: set[_Connection],
        clients: Counter[str],
    ) -> None:
        self.client = ""
        self._socket = socket
        self._strangers = strangers
        self._clients = clients
        self._streams = streams
        self._rules = rules
        self._admit = admit
        self._began = False
        self._who: Who | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        """Operations that were ended, and have not come to their end yet: a statement may have to."""
        self._ending: _Closed | None = None
        self._main: asyncio.Task[None] | None = None

    async def serve(self, request: str) -> None:
        """Until either side closes it."""
        self._request = request
        self._address = str(self._socket.client.host) if self._socket.client else ""
        self._main = asyncio.current_task()
        try:
            await self._listen()
        except _Closed as closed:
            await self._close(closed)
        except WebSocketDisconnect:
            await self._stop()
        except asyncio.CancelledError:
            await self._stop()
            if self._ending is None or self._main is None:
                raise
            self._main.uncancel()
            await self._close(self._ending)

    async def _listen(self) -> None:
        try:
            async with asyncio.timeout(self._rules.init_seconds) as limit:
                while self._who is None:
                    await self._hear(await self._message())
                expires = self._who.caller.expires
                now = asyncio.get_running_loop().time()
                limit.reschedule(now + expires - time.time() if expires else None)
                while True:
                    await self._hear(await self._message())
        except TimeoutError:
            if self._who is None:
                raise _Closed(INIT_TIMEOUT, "Connection initialisation timeout") from None
            raise _Closed(FORBIDDEN, "The token has expired") from None

    async def _message(self) -> Mapping[str, Any]:
        """The next message. Raises _Closed: it is none, or too large."""
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1000))
        text = received.get("text")
        if text is None:
            raise _Closed(BAD_REQUEST, "WebSocket messages must be text")
        if len(text.encode()) > self._streams.schema.limits.body:
            raise _Closed(TOO_BIG, f"A message may have {self._streams.schema.limits.body} bytes")
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise _Closed(BAD_REQUEST, "WebSocket messages must be JSON") from None
        if not isinstance(message, dict):
            raise _Closed(BAD_REQUEST, "WebSocket messages must be JSON objects")
        return message

    async def _hear(self, message: Mapping[str, Any]) -> None:
        match message.get("type"):
            case "connection_init":
                await self._begin(message.get("payload"))
            case "ping":
                await self._send({"type": "pong"})
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message.get("id"), message.get("payload"))
            case "complete":
                if (task := self._tasks.pop(str(message.get("id")), None)) is not None:
                    self._leaving.add(task)
                    task.add_done_callback(self._leaving.discard)
                    task.cancel()
            case other:
                raise _Closed(BAD_REQUEST, f"Unknown message type: {str(other)[:40]!r}")

    async def _begin(self, given: Any) -> None:
        """See who it is. Raises _Closed: nobody that may come in."""
        if self._began:
            raise _Closed(TOO_MANY_INITS, "Too many initialisation requests")
        self._began = True
        if not isinstance(given, (dict, type(None))):
            raise _Closed(BAD_REQUEST, "The payload of connection_init must be an object")
        headers = {str(name).lower(): value for name, value in (given or {}).items()}
        if "authorization" not in headers:
            headers |= {name: value for name in ("authorization", "dpop") if (value := self._socket.headers.get(name))}
        authorization, proof = headers.get("authorization"), headers.get("dpop")
        if not isinstance(authorization, (str, type(None))) or not isinstance(proof, (str, type(None))):
            raise _Closed(BAD_REQUEST, "authorization and dpop must be text, as the headers are")
        try:
            caller = await self._admit(authorization, proof)
        except Refusal as refusal:
            if refusal.status == Unavailable.status:
                raise _Closed(AGAIN_LATER, "Try again later") from None
            raise _Closed(FORBIDDEN, f"Forbidden: {refusal.description}"[:120]) from None
        client = client_of(caller, self._address)
        if self._clients[client] >= self._rules.per_client:
            raise _Closed(AGAIN_LATER, "Try again later: this client has too many connections")
        self.client = client
        self._clients[client] += 1
        self._who = Who(caller, self._request, self._address)
        self._strangers.discard(self)
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, id: Any, given: Any) -> None:
        """Begin an operation. Raises _Closed: it may not be asked for in this way."""
        if self._who is None:
            raise _Closed(UNAUTHORIZED, "Unauthorized: connection_init comes first")
        if not isinstance(id, str) or not 0 < len(id) <= MAX_ID:
            raise _Closed(BAD_REQUEST, f"id: must be text of 1 to {MAX_ID} characters")
        if not isinstance(given, dict):
            raise _Closed(BAD_REQUEST, "payload: must be an object with a query")
        for name, kind in (("query", str), ("operationName", str), ("variables", dict), ("extensions", dict)):
            if not isinstance(given.get(name), (kind, type(None))):
                raise _Closed(BAD_REQUEST, f"payload.{name}: must be {'text' if kind is str else 'an object'}")
        if id in self._tasks:
            raise _Closed(EXISTS, f"Subscriber for {id[:60]} already exists")
        if len(self._tasks) + len(self._leaving) >= self._rules.per_connection:
            most = self._rules.per_connection
            msg = f"this connection has {most} operations, which is the most; end one, or open another connection"
            await self._error(id, [_presented(LimitExceeded(msg, limit="operations", maximum=most))])
            return
        try:
            query = self._streams.document(given)
        except HTTPException as error:
            await self._error(id, [GraphQLError(error.reason, extensions={"code": InvalidArgument.code})])
            return
        asked = Asked(query, given.get("variables"), given.get("operationName"), given.get("extensions"))
        self._tasks[id] = asyncio.create_task(self._operate(id, asked, self._who))

    async def _operate(self, id: str, asked: Asked, who: Who) -> None:
        try:
            with suppress(WebSocketDisconnect):
                await self._answer(id, asked, who)
        except Ended:
            self._end(_Closed(RESTART, "Service Restart"))
        finally:
            if self._tasks.get(id) is asyncio.current_task():
                del self._tasks[id]

    async def _answer(self, id: str, asked: Asked, who: Who) -> None:
        async with aclosing(self._streams.results(asked, who)) as results:
            async for result in results:
                if isinstance(result, PreExecutionError):
                    self._forget(id)
                    await self._error(id, result.errors or [])
                    return
                await self._send({"id": id, "type": "next", "payload": payload(result)})
        self._forget(id)
        await self._send({"id": id, "type": "complete"})

    def _forget(self, id: str) -> None:
        """The id may be used again as soon as the last message of its operation is there."""
        if self._tasks.get(id) is asyncio.current_task():
            del self._tasks[id]

    async def _error(self, id: str, errors: list[GraphQLError]) -> None:
        await self._send({"id": id, "type": "error", "payload": [error.formatted for error in errors]})

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._socket.send_text(orjson.dumps(message).decode())

    def _end(self, closed: _Closed) -> None:
        """Close the connection from within an operation."""
        if self._ending is None and self._main is not None:
            self._ending = closed
            self._main.cancel()

    async def _close(self, closed: _Closed) -> None:
        await self._stop()
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(closed.code, closed.reason)

    async def _stop(self) -> None:
        """End all operations."""
        tasks = [*self._tasks.values(), *self._leaving]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _presented(error: LinealError) -> GraphQLError:
    return present(GraphQLError(error.message, original_error=error), executed=True)
