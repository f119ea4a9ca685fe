"""One connection: statements go over it one after the other, and each returns one record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from neo4j import AsyncTransaction
from neo4j.exceptions import ServiceUnavailable

from graph.neo4j.codec import OPEN
from graph.neo4j.faults import DRIVER_ERRORS, is_transient
from graph.port import Observer, Statement
from lineal.breaking import Breaker
from lineal.errors import InvalidArgument

NOW = "datetime.realtime()"
MOMENT = (
    f"WITH CASE WHEN $t IS NULL THEN {NOW} END AS clock "
    "WITH coalesce($t, clock.epochSeconds * 1000000 + clock.microsecond) AS t "
    "WITH t, CASE WHEN $asOf < t THEN $asOf ELSE t END AS at"
)
"""The pinned moment as `t`, which the first statement of a snapshot sets, and the time looked at as `at`."""

CURRENT = OPEN - 1
"""The moment of a transaction: nothing that is open or there has ended by then."""


def store_time(*carried: str) -> str:
    """Bind `now` to the store's time in microseconds; the variables named stay."""
    more = "".join(f", {name}" for name in carried)
    return f"WITH {NOW} AS clock{more} WITH clock.epochSeconds * 1000000 + clock.microsecond AS now{more}"


def locked(x: str) -> str:
    """Take the write lock of a node until the transaction ends; what is read after it is up to date.

    Neo4j locks what it writes, so a property is set, and taken away again before anyone sees it.
    """
    return f"SET {x}.locked = true REMOVE {x}.locked"


class Runner:
    """Queues statements on a transaction that begins with the first of them.

    Two statements at once would break the connection. `statements` counts those sent. A first one that
    meets a transient fault, as on a connection that died while nobody used it, is sent again up to
    `tries` times in all: nothing was read yet. None is waited for longer than so many `seconds`; a server
    that lives ends it before. Where the `breaker` is open none is sent, which raises Resting. `turn` is
    waited for before the transaction begins, and is no part of that.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[AsyncTransaction]],
        turn: Callable[[], Awaitable[None]],
        observer: Observer | None,
        breaker: Breaker,
        *,
        seconds: float,
        tries: int = 1,
    ) -> None:
        self._breaker = breaker
        self._seconds = seconds
        self.statements = 0
        self.moment: int | None = None
        self._begin = begin
        self._turn = turn
        self._observer = observer
        self._tries = tries
        self._tx: AsyncTransaction | None = None
        self._queue = asyncio.Lock()

    async def run(self, verb: str, text: str, params: Mapping[str, Any]) -> list[Any]:
        """The values of the one record that the statement returns. Raises the driver's errors."""
        async with self._queue:
            return await self._send(verb, text, params)

    async def ask(self, verb: str, body: str, params: Mapping[str, Any], as_of: int | None = None) -> Any:
        """The `result` of a subquery over `t` and `at`; the first one pins the moment. Raises the driver's errors."""
        text = f"{MOMENT} CALL (t, at) {{ {body} }} RETURN t, result"
        async with self._queue:
            self.moment, result = await self._send(verb, text, {**params, "t": self.moment, "asOf": as_of})
            return result

    async def _send(self, verb: str, text: str, params: Mapping[str, Any]) -> list[Any]:
        tries = self._tries if self._tx is None else 1
        while True:
            tries -= 1
            try:
                return await self._once(verb, text, params)
            except DRIVER_ERRORS as error:
                if not tries or not is_transient(error):
                    raise
            self._tx = None
            await asyncio.sleep(0.8 / 4**tries)

    async def _once(self, verb: str, text: str, params: Mapping[str, Any]) -> list[Any]:
        started = time.perf_counter()
        self.statements += 1
        failed = True
        try:
            await self._turn()
            async with self._answered():
                if self._tx is None:
                    self._tx = await self._begin()
                try:
                    result = await self._tx.run(text, dict(params))
                except (OverflowError, UnicodeEncodeError) as error:
                    raise InvalidArgument(f"a value is none that the store can hold: {error}") from error
                record = await result.single(strict=True)
            failed = False
            return record.values()
        finally:
            if self._observer:
                self._observer(Statement(verb, time.perf_counter() - started, failed, text))

    async def execute(self, verb: str, text: str) -> None:
        """Run a statement that returns nothing, as those about constraints and indexes. Raises the driver's errors."""
        started = time.perf_counter()
        self.statements += 1
        failed = True
        try:
            await self._turn()
            self._tx = self._tx or await self._begin()
            await (await self._tx.run(text)).consume()
            failed = False
        finally:
            if self._observer:
                self._observer(Statement(verb, time.perf_counter() - started, failed, text))

    @asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        """One call to the server. Raises Resting, ServiceUnavailable: there was no answer in time."""
        with self._breaker():
            try:
                async with asyncio.timeout(self._seconds):
                    yield
            except TimeoutError as error:
                raise ServiceUnavailable(f"no answer within {self._seconds:g} seconds") from error

    async def explain(self, text: str) -> list[str]:
        """The operators of a statement's plan, the last one first, indented by depth. Raises the driver's errors."""
        await self._turn()
        self._tx = self._tx or await self._begin()
        summary = await (await self._tx.run(f"EXPLAIN {text}")).consume()
        return list(_operators(summary.plan or {}))

    async def commit(self) -> None:
        """End the transaction for good. Raises the driver's errors."""
        if self._tx is not None:
            async with self._answered():
                await self._tx.commit()


def _operators(plan: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """The operators of a plan as the driver gives it."""
    if name := plan.get("operatorType"):
        yield f"{' ' * depth}{name} {plan.get('args', {}).get('Details', '')}".rstrip()
    for child in plan.get("children", ()):
        yield from _operators(child, depth + 1)
