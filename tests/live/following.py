"""Following what happens in a store, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from strawberry.types import ExecutionResult

from auth.caller import ADMIN, LOCAL, Caller
from auth.recorder import Recorder
from auth.scopes import SCOPES
from graph.port import Graph
from resolvers.live import Live
from resolvers.operation import Operation
from schema.budget import Budget
from schema.context import Context
from schema.executing import Operated
from schema.limits import Limits
from schema.sdl import build_schema
from schema.streaming import Asked, Streams, Who
from tests.building import sequencing

ALL = frozenset(SCOPES) - {ADMIN}
SECONDS = 60
"""How long anything is waited for."""
SEQUENCES = "subscription ($after: String) { events(after: $after) { sequence subject action } }"

Event = Mapping[str, Any]


@dataclass
class Follower:
    """Somebody with a subscription."""

    results: AsyncGenerator[ExecutionResult, None]

    async def result(self) -> ExecutionResult:
        """The next result."""
        async with asyncio.timeout(SECONDS):
            return await anext(self.results)

    async def event(self) -> Event:
        """The next event, which comes without an error."""
        result = await self.result()
        assert not result.errors, result.errors
        assert result.data is not None
        event: Event = result.data["events"]
        return event

    async def take(self, count: int) -> list[Event]:
        """The next events."""
        return [await self.event() for _ in range(count)]

    async def until(self, subject: str) -> list[Event]:
        """The next events, up to the first one about this."""
        found = [await self.event()]
        while found[-1]["subject"] != subject:
            found.append(await self.event())
        return found

    async def refused(self) -> dict[str, Any]:
        """The extensions of the one error that the next result has, with its message; nothing comes after it."""
        result = await self.result()
        (error,) = result.errors or []
        assert result.data is None
        async with asyncio.timeout(SECONDS):
            assert await anext(self.results, None) is None
        return {**(error.extensions or {}), "message": error.message}


@dataclass
class Following:
    """A process that people follow a store in; changes are sequenced meanwhile."""

    graph: Graph
    limits: Limits = field(default_factory=Limits)
    most: int = 100
    recorder: Recorder | None = None
    budget: Budget | None = None
    operated: list[Operated] = field(default_factory=list)
    opened: list[Operation] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.live = Live(self.graph, most=self.most)
        schema = build_schema(self.limits)
        self.streams = Streams(
            schema,
            self.live,
            self._operation,
            lambda op: Context(op, schema.limits, budget=self.budget),
            on_operation=self.operated.append,
        )
        self._followers: list[Follower] = []
        self._sequencing = sequencing(self.graph)
        await self._sequencing.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for follower in self._followers:
            await follower.results.aclose()
        await self._sequencing.__aexit__(None, None, None)

    def _operation(self, caller: Caller, request: str, address: str) -> Operation:
        op = Operation(self.graph, caller=caller, request=request, address=address, recorder=self.recorder)
        self.opened.append(op)
        return op

    def follow(self, query: str = SEQUENCES, caller: Caller = LOCAL, **variables: Any) -> Follower:
        """Begin to follow, as soon as a result is asked for."""
        follower = Follower(self.streams.results(Asked(query, variables), Who(caller, "request-1", "10.0.0.1")))
        self._followers.append(follower)
        return follower

    async def answer(self, query: str, caller: Caller = LOCAL, **variables: Any) -> ExecutionResult:
        """The one result of a query or a mutation, or the first of a subscription."""
        follower = self.follow(query, caller, **variables)
        try:
            return await follower.result()
        finally:
            await follower.results.aclose()

    async def now(self) -> str:
        """The sequence of the latest event."""
        while await self.graph.sequence():
            pass
        result = await self.answer("{ sequence }")
        assert result.data is not None
        sequence: str = result.data["sequence"]
        return sequence


async def reached(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def subjects(events: Sequence[Event]) -> list[str]:
    """What these are about."""
    return [event["subject"] for event in events]
