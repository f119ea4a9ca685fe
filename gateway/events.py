"""The feed of events over HTTP: GET /api/v1/events?after=&limit=&wait=.

A page is a batch of CloudEvents in JSON. Its Link header names the next one (RFC 8288), also where the page is empty:
whoever goes on from there misses nothing, and need not look at what is not for them again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.challenges import Resource
from gateway.problems import problem, refused
from graph.recording import write_data
from lineal.errors import Forbidden, InvalidArgument, LinealError, Unauthenticated
from resolvers.cloudevents import BATCH, cloudevent
from resolvers.events import Position, position
from resolvers.feed import MAX_EVENTS, Feed, feed
from resolvers.operation import Operation

PATH: Final = "/api/v1/events"
PARAMETERS: Final = frozenset({"after", "limit", "wait"})
DEFAULT_LIMIT: Final = 100
MAX_WAIT: Final = 30
LOOK_SECONDS: Final = 0.5
MAX_WAITING: Final = 200
"""Requests of one process that wait at a time; others are answered at once."""

NewOperation = Callable[[Request], Operation]


def create_events_route(new_operation: NewOperation, *, resource: Resource, base: str = "") -> Route:
    """The route. `new_operation` says who asks, `base` is the URL of this server: the source of its events."""
    waiting = 0

    async def endpoint(request: Request) -> Response:
        nonlocal waiting
        try:
            for name in request.query_params.keys() - PARAMETERS:
                raise InvalidArgument(f"{name:.80}: there is no such parameter here", field=name[:80])
            after = position(request.query_params.get("after", "0"))
            limit = _number(request, "limit", DEFAULT_LIMIT, 1, MAX_EVENTS)
            wait = _number(request, "wait", 0, 0, MAX_WAIT)
            found = await _read(request, new_operation(request), after, limit)
            until = time.monotonic() + (wait if waiting < MAX_WAITING else 0)
            waiting += 1
            try:
                while not found.events and time.monotonic() < until and not await request.is_disconnected():
                    await asyncio.sleep(min(LOOK_SECONDS, max(0.0, until - time.monotonic())))
                    async with new_operation(request) as op:
                        found = await feed(op, found.end, limit)
            finally:
                waiting -= 1
        except (Forbidden, Unauthenticated) as error:
            return refused(request, request.state.caller, error, resource)
        except LinealError as error:
            return problem(request, error)
        body = b"[" + b",".join(write_data(cloudevent(event, base)).encode() for event in found.events) + b"]"
        query = urlencode({"after": str(found.end), "limit": limit, **({"wait": wait} if wait else {})})
        headers = {"link": f'<{PATH}?{query}>; rel="next"', "cache-control": "no-store"}
        return Response(body, headers=headers, media_type=BATCH)

    return Route(PATH, endpoint, methods=["GET"])


async def _read(request: Request, op: Operation, after: Position, limit: int) -> Feed:
    """The first look, which is audited: what an admin reads, and what is refused."""
    async with op:
        try:
            found = await feed(op, after, limit)
        except (Forbidden, Unauthenticated) as error:
            if op.recorder is not None:
                await op.recorder.refused(
                    op.caller,
                    action="events",
                    code=error.code,
                    message=error.message,
                    scopes=error.details.get("scopes", ()),
                    address=op.address,
                    request=op.request,
                )
            raise
        if op.recorder is not None and op.caller.admin and not op.caller.trusted:
            data = {"face": "events", "after": request.query_params.get("after", "0")}
            await op.recorder.read(op.caller, action="adminRead", data=data, address=op.address, request=op.request)
        return found


def _number(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and low <= int(text) <= high):
        msg = f"{name}: must be a whole number from {low} to {high}, not {text[:80]!r}"
        raise InvalidArgument(msg, field=name)
    return int(text)
