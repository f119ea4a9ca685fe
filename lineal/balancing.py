"""What one of several processes owes its neighbours: it says when it is full or about to end, and what it wrote.

A bookmark (Neo4j's word) stands for all that was written through a process. Answers to what may write have it in the
header `lineal-bookmark`; whoever sends it to another process reads nothing older there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import RETRY_SECONDS, Problem
from lineal import logging
from lineal.errors import Unavailable
from lineal.observing import METER
from schema.sse import MEDIA_TYPE

BOOKMARK: Final = "lineal-bookmark"
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Load:
    """What a process has under way, and whether it takes more: not once it is `draining`.

    `broken` is what ended in the background that must go on, empty while it does: then the process is to end, too.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.requests = 0
        self.draining = False
        self.broken = ""

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Have one more under way. Raises Unavailable: that is too many."""
        if self.requests >= self.most:
            METER.get().add("lineal_http_refusals")
            msg = f"{self.most} requests are under way here, and no more are taken; come again"
            raise Unavailable(msg, retryAfter=int(RETRY_SECONDS))
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1


class Balanced:
    """Refuses requests that would wait behind too many others, and passes bookmarks on.

    `always` are the paths that are answered however full it is. What is open without end, a subscription or a
    WebSocket, has a limit of its own, and is not counted here: whoever answers a request calls `opened` in the scope's
    state once it is known to be such. Whatever face says 503, it says when to come again.
    """

    def __init__(
        self, app: ASGIApp, *, load: Load, bookmark: Callable[[], Awaitable[str]], always: Collection[str]
    ) -> None:
        self.app = app
        self._load = load
        self._bookmark = bookmark
        self._always = frozenset(always)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with 503 and Retry-After."""
        if scope["type"] != "http" or scope["path"] in self._always:
            await self.app(scope, receive, send)
            return
        work = ExitStack()
        try:
            work.enter_context(self._load.taking())
        except Unavailable as error:
            await Problem.of(error).response(logging.request_id.get())(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if bookmark := Headers(scope=scope).get(BOOKMARK):
            state["bookmark"] = bookmark

        def opened() -> None:
            state["streamed"] = True
            work.close()

        state["opened"] = opened

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == Unavailable.status:
                    MutableHeaders(scope=message).setdefault("retry-after", RETRY_SECONDS)
                # What a stream is about to do is in no bookmark yet: that is in the extensions of its results.
                writes = scope["method"] not in READS and not _streams(message)
                if writes and (written := await self._bookmark()):
                    MutableHeaders(scope=message)[BOOKMARK] = written
            await send(message)

        with work:
            await self.app(scope, receive, sent)


def _streams(start: Message) -> bool:
    return Headers(scope=start).get("content-type", "").startswith(MEDIA_TYPE)
