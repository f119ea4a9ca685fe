"""Neo4jGraph: a Neo4j database behind the port."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from neo4j import (
    AsyncDriver,
    AsyncGraphDatabase,
    AsyncSession,
    AsyncTransaction,
    Bookmarks,
    TrustCustomCAs,
)
from neo4j.exceptions import ConstraintError

from graph.ids import new_id
from graph.neo4j import auditing, checking, migrations, sequencing
from graph.neo4j.faults import DRIVER_ERRORS, Again, as_lineal, is_away, is_transient, translated
from graph.neo4j.reading import Reading
from graph.neo4j.running import Runner
from graph.neo4j.writing import Neo4jTransaction
from graph.port import (
    EVERYTHING,
    NO_NOTES,
    NOWHERE,
    Checkpoint,
    Graph,
    Head,
    Lease,
    Load,
    Note,
    Observer,
    Origin,
    Snapshot,
    Strays,
    View,
    Work,
)
from lineal.breaking import Breaker, Resting
from lineal.errors import InvalidArgument, Unavailable

T = TypeVar("T")

LONGEST_PAUSE = 1.0
"""Seconds between two tries, at most."""
FIRST_TRIES = 4
"""How often the first statement of a snapshot is sent."""
WRITE_SECONDS = 300.0
"""How long one try of a write may take, at most: an import is large, and others may hold what it needs."""
GRACE_SECONDS = 5.0
"""How much longer than the server may take for it an answer is waited for."""
MAX_CLASHES = 5
"""How often a write is run again because somebody made the same thing at the same moment."""


_SEPARATOR: Final = ","
_BOOKMARK: Final = re.compile(r"[\w:+/=.-]{1,256}(,[\w:+/=.-]{1,256}){0,31}")


def _read_bookmark(text: str) -> Bookmarks | None:
    """The driver's bookmarks that a bookmark of ours is made of. Raises InvalidArgument."""
    if not text:
        return None
    if not _BOOKMARK.fullmatch(text):
        msg = f"bookmark: {text!r:.80} is none; send what an answer had in its header lineal-bookmark"
        raise InvalidArgument(msg, field="bookmark")
    return Bookmarks.from_raw_values(text.split(_SEPARATOR))


class Neo4jGraph(Graph):
    """A graph in a Neo4j database, version 5.26 or newer.

    The scheme of `url` says how to connect: neo4j:// routes in a cluster, bolt:// does not; +s asks for
    TLS with a certificate of a known authority, or of that in the file `authority` where given, +ssc for
    TLS with any certificate. `timeout` bounds a connection, or a wait for one, in seconds, and `longest` a snapshot
    (as `timeout` unless given); `patience` how long a write is tried again. With `notifications` the server's hints
    about statements become Python warnings, for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        database: str = "neo4j",
        observer: Observer | None = None,
        timeout: float = 30.0,
        longest: float | None = None,
        patience: float = 30.0,
        connections: int = 100,
        authority: str | Path | None = None,
        notifications: bool = False,
    ) -> None:
        self.url = url
        self._auth = None if user is None else (user, password or "")
        self._database = database
        self._observer = observer
        self._timeout = timeout
        self._longest = longest or timeout
        self._patience = patience
        self._connections = connections
        self._authority = authority
        self._notifications = notifications
        self._bookmarks = AsyncGraphDatabase.bookmark_manager()
        self._driver: AsyncDriver | None = None
        self._breaker = Breaker("store", "", is_away)
        self._room = asyncio.Semaphore(connections)
        self._sessions = 0

    @property
    def load(self) -> Load:
        return Load(min(self._sessions, self._connections), max(0, self._sessions - self._connections))

    def _connect(self) -> AsyncDriver:
        url, trust = self.url, dict[str, Any]()
        if self._authority is not None:
            # The driver takes an authority of one's own only beside a scheme that says nothing of TLS.
            url = url.replace("+s://", "://", 1)
            trust = {"encrypted": True, "trusted_certificates": TrustCustomCAs(str(self._authority))}
        hints: dict[str, Any] = {"notifications_min_severity": "OFF"}
        if self._notifications:
            # Of names that the database has never seen, and of constraints that are there already, a new store is full.
            hints = {
                "notifications_min_severity": "INFORMATION",
                "warn_notification_severity": "INFORMATION",
                "notifications_disabled_classifications": ["UNRECOGNIZED", "SCHEMA"],
            }
        return AsyncGraphDatabase.driver(
            url,
            auth=self._auth,
            max_connection_pool_size=self._connections,
            connection_timeout=self._timeout,
            connection_acquisition_timeout=self._timeout,
            liveness_check_timeout=30,
            telemetry_disabled=True,
            user_agent="lineal",
            **trust,
            **hints,
        )

    async def open(self) -> None:
        try:
            with translated():
                self._driver = await self._connected()
        except ValueError as error:
            msg = f"graph: {self.url!r} is no address of a Neo4j server: {error}"
            raise InvalidArgument(msg, field="graph") from error

    async def _connected(self) -> AsyncDriver:
        """A driver that has reached the database. Raises the driver's errors."""
        driver = self._connect()
        try:
            async with driver.session(database=self._database) as session:
                await (await session.run("RETURN true")).consume()
        except BaseException:
            await driver.close()
            raise
        return driver

    async def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()

    @asynccontextmanager
    async def _runner(self, access: Literal["READ", "WRITE"], after: str = "") -> AsyncIterator[Runner]:
        """A connection whose transaction begins with its first statement, and is undone unless it was committed."""
        bookmarks = _read_bookmark(after)
        if self._driver is None:
            msg = "the store is not open"
            raise Unavailable(msg)
        session = self._driver.session(
            database=self._database,
            default_access_mode=access,
            bookmarks=bookmarks,
            bookmark_manager=self._bookmarks,
        )

        longest = self._longest if access == "READ" else max(self._timeout, WRITE_SECONDS)

        async def begin() -> AsyncTransaction:
            return await session.begin_transaction(timeout=longest)

        taken = False

        async def turn() -> None:
            nonlocal taken
            if not taken:
                await self._connection_free()
                taken = True

        self._sessions += 1
        try:
            async with session:
                try:
                    yield Runner(
                        begin,
                        turn,
                        self._observer,
                        self._breaker,
                        seconds=longest + GRACE_SECONDS,
                        tries=FIRST_TRIES if access == "READ" else 1,
                    )
                except Exception:
                    await _closed(session)
                    raise
                await _closed(session)
        except asyncio.CancelledError as error:
            # The driver leaves a session open that is cancelled while it closes.
            await session.__aexit__(type(error), error, None)  # type: ignore[no-untyped-call]
            raise
        finally:
            self._sessions -= 1
            if taken:
                self._room.release()

    async def _connection_free(self) -> None:
        """Wait until one of the connections is free, and take it. Raises Unavailable.

        The driver would wait for it as well, but then that cannot be told from waiting for the server's answer.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._room.acquire()
        except TimeoutError:
            msg = f"none of the {self._connections} connections to the store was free for {self._timeout:g} seconds"
            raise Unavailable(msg, retryAfter=1) from None

    @asynccontextmanager
    async def snapshot(self, view: View = EVERYTHING, *, after: str = "") -> AsyncIterator[Snapshot]:
        async with self._runner("READ", after) as runner:
            yield Reading(runner, view)

    async def bookmark(self) -> str:
        return _SEPARATOR.join(sorted(await self._bookmarks.get_bookmarks()))

    async def write(
        self,
        work: Work[T],
        *,
        by: str,
        action: str,
        request: str = "",
        origin: Origin = NOWHERE,
        in_one_go: bool = False,  # noqa: ARG002 - each statement goes to the server by itself
    ) -> T:
        change = new_id("ch")
        # What attempts came to that may have been committed; the change has the number of the one that was.
        results: list[T] = []

        async def attempt(runner: Runner) -> T:
            tx = Neo4jTransaction(runner, by, len(results))
            committed = await tx.begin(change)
            if committed is not None:
                return results[committed]
            result = await work(tx)
            await tx.finish(change, action, request, origin)
            results.append(result)
            await runner.commit()
            return result

        return await self._patiently(attempt)

    async def _patiently(self, attempt: Callable[[Runner], Awaitable[T]]) -> T:
        """Try, and on transient faults again with growing pauses. Raises Lineal's errors."""
        end = time.monotonic() + self._patience
        tries = clashes = 0
        while True:
            try:
                async with self._runner("WRITE") as runner:
                    return await attempt(runner)
            except Resting as error:
                # What was begun before goes on: whether it was committed is to be found out.
                if not tries:
                    raise
                fault: Exception = error
            except (Again, *DRIVER_ERRORS) as error:
                fault = error
            tries += 1
            clashes += isinstance(fault, ConstraintError)
            pause = random.uniform(0, min(LONGEST_PAUSE, 0.01 * 2**tries))  # noqa: S311 - it spreads tries, it hides nothing
            if not is_transient(fault) or clashes > MAX_CLASHES or time.monotonic() + pause > end:
                raise as_lineal(fault) from fault
            await asyncio.sleep(pause)

    async def note(self, notes: Sequence[Note]) -> None:
        await self._patiently(auditing.Noting(notes))

    async def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        await self._patiently(auditing.Checkpointing(checkpoint))

    async def prune(self, ends: Sequence[Head], *, by: str, notes: Mapping[str, Mapping[str, Any]] = NO_NOTES) -> int:
        return await self._patiently(auditing.Pruning(ends, by, notes))

    async def claim(self, name: str, holder: str, seconds: float) -> Lease | None:
        async def attempt(runner: Runner) -> Lease | None:
            lease = await sequencing.claim(runner, name, holder, seconds)
            await runner.commit()
            return lease

        return await self._patiently(attempt)

    async def release(self, lease: Lease) -> None:
        async def attempt(runner: Runner) -> None:
            await sequencing.release(runner, lease)
            await runner.commit()

        await self._patiently(attempt)

    async def sequence(self, lease: Lease | None = None) -> int:
        async def attempt(runner: Runner) -> int:
            count = await sequencing.sequence(runner, lease)
            await runner.commit()
            return count

        return await self._patiently(attempt)

    async def strays(self) -> Strays:
        async with self._runner("READ") as runner:
            with translated():
                return await checking.strays(runner)

    async def drop_strays(self) -> None:
        while await self._patiently(partial(_take, checking.drop_strays)):
            pass

    async def migrate(self) -> list[str]:
        missing = await self.pending()
        await self._apply_schema()
        found = migrations.VERSION - len(missing)
        for number, step in enumerate(migrations.STEPS[found:], found + 1):
            for part in step.parts:
                while await self._patiently(partial(_take, part)):
                    pass
            await self._patiently(partial(_mark, number))
        return missing

    async def pending(self) -> list[str]:
        return migrations.pending(await self._version())

    async def unindexed(self) -> list[str]:
        async with self._runner("READ") as runner:
            with translated():
                (usable,) = await runner.run("indexes", migrations.USABLE_TEXT, {})
        return migrations.unindexed(usable)

    async def check_version(self) -> int:
        return migrations.check(await self._version())

    async def explain(self, text: str) -> list[str]:
        async with self._runner("READ") as runner:
            with translated():
                return await runner.explain(text)

    async def _version(self) -> int | None:
        async with self._runner("READ") as runner:
            with translated():
                (version,) = await runner.run("version", migrations.VERSION_TEXT, {})
        return None if version is None else int(version)

    async def _apply_schema(self) -> None:
        """Make the constraints and indexes that are missing; Neo4j allows one such statement in a transaction."""
        for text in migrations.schema():
            await self._patiently(partial(_define, text))


async def _closed(session: AsyncSession) -> None:
    """Close a session. What was asked has its answer by then, whatever becomes of the connection."""
    with suppress(*DRIVER_ERRORS):
        await session.close()


async def _take(part: migrations.Take, runner: Runner) -> bool:
    more = await part(runner)
    await runner.commit()
    return more


async def _mark(number: int, runner: Runner) -> None:
    await runner.run("migrate", migrations.MARK_TEXT, {"version": number})
    await runner.commit()


async def _define(text: str, runner: Runner) -> None:
    await runner.execute("migrate", text)
    await runner.commit()
