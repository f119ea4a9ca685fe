"""GraphQL over server-sent events: the protocol graphql-sse, each operation on a connection of its own.

See https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md. A stream that ends because the token expires says
so in a last event; one that ends because the process does just breaks off, so that clients come again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
from graphql import GraphQLError
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from lineal.errors import Unauthenticated
from resolvers.live import Ended
from schema.failures import present
from schema.streaming import Asked, Streams, Who, payload
from schema.transport import accepts, chunk

MEDIA_TYPE: Final = "text/event-stream"
FAREWELL_SECONDS: Final = 5.0
"""How long a last word is waited for to be taken by a client that may not read."""
SILENT_SECONDS: Final = 12.0
"""After how long without an event something is sent, so that nothing between here and there takes it for dead."""


def is_wanted(accept: str) -> bool:
    """Whether a request's Accept header asks for events."""
    return accepts(accept, MEDIA_TYPE)


class EventStream(Response):
    """The results of an operation, as they come; `opened` is called once it is known to be a subscription."""

    media_type = MEDIA_TYPE

    def __init__(
        self, streams: Streams, asked: Asked, who: Who, allowed: Sequence[OperationType], opened: Callable[[], None]
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._results = streams.results(asked, who, allowed, opened)
        self._expires = who.caller.expires

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, until it ends or nobody listens any more."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.wait({sending, leaving})
            await self._results.aclose()
        if not sending.cancelled():
            # A process that is about to end breaks it off: whoever listens is to come again.
            if not isinstance(sending.exception(), (Ended, type(None))):
                sending.result()
            await _say_last(send, chunk(b"", more=False))

    async def _send(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        # What is sent at once lets clients know that they are connected.
        await send(chunk(b":\n\n"))
        try:
            async with asyncio.timeout_at(loop.time() + self._expires - time.time() if self._expires else None):
                await self._send_all(send)
        except TimeoutError:
            # What it held is free now, whether or not anybody reads why.
            await self._results.aclose()
            error = Unauthenticated("the token has expired; come again with another one, after the last sequence")
            shown = present(GraphQLError(error.message, original_error=error), executed=True)
            last = _event("next", payload(PreExecutionError(None, [shown])))
            await _say_last(send, chunk(last), chunk(_event("complete")))
            return
        await send(chunk(_event("complete")))

    async def _send_all(self, send: Send) -> None:
        coming = asyncio.ensure_future(anext(self._results, None))
        try:
            while True:
                await asyncio.wait({coming}, timeout=SILENT_SECONDS)
                if not coming.done():
                    await send(chunk(b":\n\n"))
                    continue
                result = coming.result()
                if result is None:
                    return
                await send(chunk(_event("next", payload(result))))
                coming = asyncio.ensure_future(anext(self._results, None))
        finally:
            coming.cancel()
            await asyncio.wait({coming})


async def _say_last(send: Send, *messages: Message) -> None:
    """Send these, or give up where nobody takes them."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_SECONDS):
            for message in messages:
                await send(message)


def _event(name: str, data: Any = None) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + (b"" if data is None else orjson.dumps(data)) + b"\n\n"


async def _left(receive: Receive) -> None:
    """Until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
