"""An answer in parts: first what is there, then what the document defers or streams, as it comes.

See https://github.com/graphql/graphql-over-http/blob/main/rfcs/IncrementalDelivery.md for how parts are sent, and
https://github.com/graphql/graphql-spec/pull/1110 for what is in them. Beside the `id` of what was pending, which names
a part's place, each part has its `path` and its `label`, where clients of earlier drafts look for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
from graphql import ExperimentalIncrementalExecutionResults as Incremental
from graphql import GraphQLError
from starlette.types import Send

from schema.transport import VARY, accepts, chunk

MEDIA_TYPE: Final = "multipart/mixed"
_HEADERS: Final = {
    "content-type": f'{MEDIA_TYPE}; boundary="-"',
    "vary": VARY,
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


def are_wanted(accept: str) -> bool:
    """Whether a request's Accept header asks for an answer in parts."""
    return accepts(accept, MEDIA_TYPE)


class Parts:
    """Sends one answer in parts; nothing is sent, and `begun` stays False, where the answer is in one.

    `later` are the errors of the parts after the first.
    """

    def __init__(self, send: Send) -> None:
        self.begun = False
        self.later: list[GraphQLError] = []
        self._send = send
        self._pending: dict[str, tuple[list[str | int], str | None]] = {}

    async def deliver(
        self, results: Incremental, shown: Callable[[GraphQLError], GraphQLError], check: Callable[[], None]
    ) -> None:
        """Send all parts; the errors of those after the first go out as `shown` has them. Raises what `check` does."""
        await self._part(dict(results.initial_result.formatted))
        async for result in results.subsequent_results:
            check()
            for each in (*(result.incremental or ()), *(result.completed or ())):
                each.errors = [shown(error) for error in each.errors or ()] or None
                self.later += each.errors or ()
            await self._part(dict(result.formatted))

    async def break_off(self, errors: Sequence[GraphQLError]) -> None:
        """Say of all that is still pending why it does not come."""
        formatted = [error.formatted for error in errors]
        completed = [{"id": id, "errors": formatted} for id in self._pending]
        if completed:
            await self._part({"hasNext": False, "completed": completed})

    async def end(self) -> None:
        """Send what ends the answer."""
        await self._send(chunk(b"\r\n-----\r\n", more=False))

    async def _part(self, part: dict[str, Any]) -> None:
        if not self.begun:
            self.begun = True
            headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._pending |= {each["id"]: (each["path"], each.get("label")) for each in part.get("pending", ())}
        for each in part.get("incremental", ()):
            path, label = self._pending[each["id"]]
            each["path"] = [*path, *each.get("subPath", ())]
            if label is not None:
                each["label"] = label
        for each in part.get("completed", ()):
            del self._pending[each["id"]]
        body = orjson.dumps(part)
        await self._send(chunk(b"\r\n---\r\nContent-Type: application/json; charset=utf-8\r\n\r\n" + body))
