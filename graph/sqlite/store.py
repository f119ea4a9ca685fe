"""SqliteGraph: the embedded store behind the port.

Statements run in worker threads. Each snapshot has a connection of its own while it lasts; writes
take turns on one more. Threads do not make reads faster here, they keep the event loop free.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from graph.address import Address
from graph.ids import new_id
from graph.port import (
    EVERYTHING,
    NO_DROPS,
    NO_NOTES,
    NOWHERE,
    Access,
    Aside,
    Change,
    Checkpoint,
    Chunk,
    Closure,
    Edge,
    EdgeMatch,
    Graph,
    Head,
    Hop,
    Kept,
    Key,
    Lease,
    Link,
    Load,
    Metric,
    Node,
    NodeRecord,
    Note,
    Observer,
    Order,
    Origin,
    Page,
    Paging,
    Paths,
    Remembered,
    Snapshot,
    Strays,
    Transaction,
    View,
    Walk,
    Where,
    Work,
    lost,
)
from graph.recording import ChangeLog, EdgeEnds, Series, Stored
from graph.sqlite import auditing, checking, keeping, migrations, restoring, seeing, walking
from graph.sqlite.auditing import Auditing
from graph.sqlite.reading import Reader
from graph.sqlite.running import Direct, Thread, TooLong, carried_out
from graph.sqlite.together import Together, begin, patiently, to_its_end
from graph.sqlite.writing import Writer
from graph.writing import Writing
from lineal.errors import Unavailable

T = TypeVar("T")

THREADS: Final = 5
"""Calls at a time; one of them may be the writer's."""
KEPT: Final = 16
"""Connections that wait for the next reader, at most; what more there are, at once, are closed after use."""
BUSY_SECONDS = 5.0
DIRECT: Final = Direct()


class SqliteSnapshot(Auditing):
    """A true snapshot: what commits after its first read is not seen at all."""

    def __init__(self, reader: Reader, run: Thread | Direct) -> None:
        self._reader = reader
        self._run = run

    @property
    def statements(self) -> int:  # type: ignore[override]
        """How many statements were sent."""
        return self._reader.statements

    @property
    def view(self) -> View:  # type: ignore[override]
        """What shows."""
        return self._reader.view

    def show(self, view: View) -> None:
        self._reader.view = view

    async def together(self, reads: Callable[[Self], Awaitable[T]], *, quick: bool = False) -> T:
        direct = copy(self)
        direct._run = DIRECT

        async def carry() -> T:
            return await reads(direct)

        if quick and isinstance(self._run, Thread) and self._run.idle:
            with suppress(TooLong):
                return self._run.here(lambda: carried_out(carry()))
        return await self._run(lambda: carried_out(carry()))

    def seeing(self, view: View) -> Snapshot:
        other = copy(self)
        other._reader = copy(self._reader)
        other.show(view)
        return other

    async def state(self) -> Hashable | None:
        return await self._run(seeing.state, self._reader)

    async def access(self, principal: str, teams: Sequence[str] = ()) -> Access:
        return await self._run(seeing.access, self._reader, principal, teams)

    async def workspaces(self, ids: Sequence[str]) -> dict[str, str]:
        return await self._run(seeing.workspaces, self._reader, ids)

    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        return await self._run(self._reader.nodes, self.view, ids)

    async def resolve(self, addresses: Sequence[Address], *, as_of: int | None = None) -> list[Node | None]:
        return await self._run(self._reader.resolve, addresses, as_of)

    async def find(
        self, kind: str, where: Where | None = None, *, order: Order = Order(), paging: Paging = Paging()
    ) -> Page[Node]:
        return await self._run(self._reader.find, kind, where, order, paging)

    async def neighbours(
        self,
        ids: Sequence[str],
        hop: Hop,
        where: Where | None = None,
        *,
        order: Order = Order(),
        paging: Paging = Paging(),
    ) -> dict[str, Page[Link]]:
        return await self._run(self._reader.neighbours, ids, hop, where, order, paging)

    async def history(
        self,
        ids: Sequence[str],
        hop: Hop,
        *,
        discriminator: str | None = None,
        at: int | None = None,
        paging: Paging = Paging(),
    ) -> dict[str, Page[Link]]:
        return await self._run(self._reader.history, ids, hop, discriminator, at, paging)

    async def rows(
        self, ids: Sequence[str], table: Literal["tags", "params"], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, str]]:
        return await self._run(self._reader.rows, self.view, ids, table, names)

    async def metrics(self, ids: Sequence[str], names: Sequence[str] | None = None) -> dict[str, list[Metric]]:
        return await self._run(self._reader.metrics, self.view, ids, names)

    async def points(
        self, ids: Sequence[str], names: Sequence[str] | None = None, *, after: int = -1, chunks: int = 10
    ) -> list[Chunk]:
        return await self._run(self._reader.points, ids, names, after, chunks)

    async def closures(self, groups: Sequence[Sequence[str]], walk: Walk) -> list[Closure]:
        return await self._run(walking.closures, self._reader, groups, walk)

    async def paths(self, sources: Sequence[str], targets: Sequence[str], walk: Walk) -> Paths:
        return await self._run(walking.paths, self._reader, sources, targets, walk)

    async def search(self, text: str, kinds: Sequence[str] | None = None, *, paging: Paging = Paging()) -> Page[Node]:
        return await self._run(self._reader.search, text, kinds, paging)

    async def kept(
        self,
        owners: Sequence[str],
        states: Sequence[str],
        *,
        after: int | None = None,
        descending: bool = False,
        limit: int = 100,
    ) -> dict[str, list[Kept]]:
        return await self._run(keeping.kept, self._reader, owners, states, after, descending, limit)

    async def all_kept(self, after: tuple[str, int], limit: int) -> list[Kept]:
        return await self._run(restoring.all_kept, self._reader, after, limit)

    async def keys(self, after: tuple[str, str], limit: int) -> list[Key]:
        return await self._run(restoring.keys, self._reader, after, limit)

    async def records(self, after: str, limit: int) -> list[NodeRecord]:
        return await self._run(self._reader.records, after, limit)

    async def edges_from(self, ids: Sequence[str]) -> list[Edge]:
        return await self._run(self._reader.edges_from, ids)


class SqliteTransaction(SqliteSnapshot, Writing):
    """A write; SQLite lets one in at a time. So a node is as it was last read or written here: it is not read again."""

    _reader: Writer

    def __init__(self, writer: Writer, run: Thread | Direct, *, by: str, now: int) -> None:
        SqliteSnapshot.__init__(self, writer, run)
        Writing.__init__(self, by)
        self.now = now
        self._known: dict[str, Node] = {}
        self._owners: set[str] = set()

    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        view = self.view
        return {id: node for id, node in (await self._locked(ids)).items() if view.shows(node)}

    async def resolve(self, addresses: Sequence[Address], *, as_of: int | None = None) -> list[Node | None]:
        ids = [a.id for a in addresses if a.id and a.id in self._known]
        if as_of is None and len(ids) == len(addresses):
            there = await self.nodes(ids)
            return [there.get(id) for id in ids]
        found = await super().resolve(addresses, as_of=as_of)
        self._known |= {node.id: node for node in found if node is not None}
        return found

    async def _locked(self, ids: Sequence[str]) -> dict[str, Node]:
        """Whoever writes to SQLite has locked everything already."""
        if missing := [id for id in ids if id not in self._known]:
            self._known |= await self._run(self._reader.nodes, EVERYTHING, missing)
        return {id: node for id in ids if (node := self._known.get(id)) and node.deleted_at is None}

    async def state(self) -> Hashable | None:
        """What it has written itself does not show in what SQLite tells."""
        return None

    async def unseen_dependants(self, ids: Sequence[str]) -> bool:
        return await self._run(seeing.unseen_dependants, self._reader, ids)

    async def rows(
        self, ids: Sequence[str], table: Literal["tags", "params"], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, str]]:
        return await super().rows(self._may_own(ids), table, names)

    async def _rows_of(self, ids: Sequence[str], table: Literal["tags", "params"]) -> dict[str, dict[str, str]]:
        return await self._run(self._reader.rows, EVERYTHING, self._may_own(ids), table)

    def _may_own(self, ids: Sequence[str]) -> list[str]:
        """Those that may have rows: what was born here has those that it got here."""
        return [id for id in ids if id not in self._born or id in self._owners]

    async def _metrics_of(self, ids: Sequence[str]) -> dict[str, list[Metric]]:
        return await self._run(self._reader.metrics, EVERYTHING, ids)

    async def recall(self, key: str) -> Remembered | None:
        return await self._run(self._reader.recall, self.by, key, self.now)

    async def remember(self, key: str, hash: str, ids: Sequence[str]) -> None:
        await self._run(self._reader.remember, self.by, key, hash, ids, self.now)

    async def keep(self, put: Sequence[Kept], *, drop: Mapping[str, Sequence[int] | None] = NO_DROPS) -> None:
        await self._run(keeping.keep, self._reader, put, drop)

    async def fence(self, lease: Lease) -> None:
        text = "SELECT 1 FROM lease WHERE name = ? AND holder = ? AND epoch = ? AND until > ?"
        found = (lease.name, lease.holder, lease.epoch, time.time_ns() // 1000)
        if not await self._run(self._reader.all, "fence", text, found):
            raise lost(lease)

    async def _holders(self, keys: Sequence[str]) -> dict[str, str]:
        return await self._run(self._reader.holders, keys)

    async def _former_workspaces(self, names: Sequence[str]) -> set[str]:
        return await self._run(self._reader.former_workspaces, names)

    async def _insert_nodes(self, nodes: Sequence[Stored]) -> None:
        await self._run(self._reader.insert_nodes, nodes)
        self._known |= {s.node.id: s.node for s in nodes}

    async def _insert_former(self, former: Sequence[tuple[str, str]]) -> None:
        await self._run(self._reader.insert_former, former)

    async def _rewrite_nodes(self, nodes: Sequence[Stored]) -> None:
        await self._run(self._reader.rewrite_nodes, nodes)
        self._known |= {s.node.id: s.node for s in nodes}

    async def _lock_lineage(self) -> None:
        """Nothing to do: the transaction keeps every other writer out."""

    async def _open_edges(self, ends: Sequence[EdgeEnds]) -> list[Edge]:
        return await self._run(self._reader.open_edges, ends)

    async def _held(self, open_keys: Sequence[str]) -> dict[str, Edge]:
        return await self._run(self._reader.held, open_keys)

    async def _recorded(self, edges: Sequence[Edge]) -> list[Edge]:
        return await self._run(self._reader.recorded, edges)

    async def _matching(self, matches: Sequence[EdgeMatch]) -> list[Edge]:
        return await self._run(self._reader.matching, matches)

    async def _open_edges_of(self, ids: Sequence[str]) -> list[Edge]:
        return await self._run(self._reader.open_edges_of, ids)

    async def _insert_edges(self, edges: Sequence[tuple[Edge, str | None]]) -> None:
        await self._run(self._reader.insert_edges, edges)

    async def _rewrite_edges(self, edges: Sequence[Edge]) -> None:
        await self._run(self._reader.rewrite_edges, edges)

    async def _end_edges(self, edges: Sequence[Edge]) -> None:
        await self._run(self._reader.end_edges, edges, self.now)

    async def _cycle(self, edges: Sequence[Edge]) -> list[str] | None:
        return await self._run(self._reader.cycle, edges)

    async def _write_rows(self, table: Literal["tags", "params"], rows: Sequence[tuple[str, str, str | None]]) -> None:
        self._owners.update(id for id, *_ in rows)
        await self._run(self._reader.write_rows, table, rows)

    async def _append(self, series: Sequence[Series]) -> None:
        await self._run(self._reader.append, series)

    async def _kinds_of(self, ids: Sequence[str]) -> dict[str, str]:
        return await self._run(self._reader.kinds_of, ids)

    async def _records_of(self, ids: Sequence[str]) -> dict[str, NodeRecord]:
        return await self._run(self._reader.records_of, ids)

    async def _insert_metrics(self, metrics: Sequence[tuple[str, Metric]]) -> None:
        await self._run(self._reader.insert_metrics, metrics)

    async def _insert_chunks(self, chunks: Sequence[Chunk]) -> int:
        return await self._run(self._reader.insert_chunks, chunks)

    async def put_back(self, part: Aside) -> None:
        await self._run(restoring.put_back, self._reader, part)

    async def _insert_change(self, change: Change, log: ChangeLog) -> None:
        await self._run(auditing.insert_change, self._reader, change, log)


class SqliteGraph(Graph):
    """A graph in one file. `observer` hears of every statement."""

    holds_writes = True

    def __init__(self, path: str | Path, *, observer: Observer | None = None) -> None:
        self.path = Path(path)
        self._observer = observer
        self._pool: ThreadPoolExecutor | None = None
        self._idle: list[sqlite3.Connection] = []
        self._turn = asyncio.Lock()
        self._together = Together(self._turn)
        self._writer: sqlite3.Connection | None = None
        self._reading_now = 0

    @property
    def load(self) -> Load:
        writing = self._turn.locked()
        return Load(self._reading_now + writing, self._together.waiting)

    async def open(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sqlite")
        try:
            self._writer = await asyncio.get_running_loop().run_in_executor(self._pool, self._connect)
        except (sqlite3.Error, OSError) as error:
            self._pool.shutdown()
            self._pool = None
            raise Unavailable(f"the store {self.path} cannot be opened: {error}") from error

    async def close(self) -> None:
        # First whatever is under way comes to its end: closing a connection that a thread uses crashes the process.
        if self._pool:
            await asyncio.to_thread(self._pool.shutdown)
            self._pool = None
        for db in (*self._idle, self._writer):
            if db is not None:
                db.close()
        self._idle, self._writer = [], None

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=seeing.Numbered
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        # SQLite forgets its pages whenever another connection wrote, and the system keeps those of the file: more is no
        # faster, and as many connections as there are would hold many times as much.
        db.execute("PRAGMA cache_size = -4000")
        db.execute("PRAGMA temp_store = MEMORY")
        return db

    def _opened(self) -> tuple[ThreadPoolExecutor, sqlite3.Connection]:
        if self._pool is None or self._writer is None:
            raise Unavailable("the store is not open")
        return self._pool, self._writer

    @asynccontextmanager
    async def snapshot(
        self,
        view: View = EVERYTHING,
        *,
        after: str = "",  # noqa: ARG002 - all processes read the one file
    ) -> AsyncIterator[Snapshot]:
        async with self._reading() as (db, run):
            yield SqliteSnapshot(Reader(db, view, self._observer), run)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[tuple[sqlite3.Connection, Thread]]:
        """A connection in a read transaction. No limit to how many: who has one may ask for another before its end."""
        pool, _ = self._opened()
        db = self._idle.pop() if self._idle else await asyncio.get_running_loop().run_in_executor(pool, self._connect)
        run = Thread(pool, db, "BEGIN")
        self._reading_now += 1
        try:
            yield db, run
        finally:
            self._reading_now -= 1
            # What was only read is let go of at once: that is not worth the way to a thread and back.
            if run.idle:
                _rollback(db)
            else:
                await to_its_end(run(_rollback, db))
            if self._pool is None or len(self._idle) >= KEPT:
                db.close()
            else:
                self._idle.append(db)

    async def write(
        self,
        work: Work[T],
        *,
        by: str,
        action: str,
        request: str = "",
        origin: Origin = NOWHERE,
        in_one_go: bool = False,
    ) -> T:
        change = new_id("ch")

        async def whole(tx: Transaction) -> T:
            result = await work(tx)
            await tx.finish(change, action, request, origin)  # type: ignore[attr-defined]
            return result

        if not in_one_go:
            async with self._transaction(by) as tx:
                return await whole(tx)
        pool, db = self._opened()

        def carry() -> T:
            writer = Writer(db, EVERYTHING, self._observer)
            now = writer.now(time.time_ns() // 1000)
            return carried_out(whole(SqliteTransaction(writer, DIRECT, by=by, now=now)))

        # Others may carry it out: it is still of this operation.
        return await self._together(db, Thread(pool, db), partial(copy_context().run, carry))

    async def note(self, notes: Sequence[Note]) -> None:
        async with self._transaction("") as tx:
            await tx._run(auditing.insert_notes, tx._reader, notes, tx.now)

    async def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        async with self._transaction("") as tx:
            await tx._run(auditing.put_checkpoint, tx._reader, checkpoint)

    async def prune(self, ends: Sequence[Head], *, by: str, notes: Mapping[str, Mapping[str, Any]] = NO_NOTES) -> int:
        async with self._transaction(by) as tx:
            return await tx._run(auditing.prune, tx._reader, ends, by, notes, tx.now)

    @asynccontextmanager
    async def _transaction(self, by: str, *, always: bool = False) -> AsyncIterator[SqliteTransaction]:
        pool, db = self._opened()
        async with self._turn:
            run = Thread(pool, db)
            try:
                # Within: whoever is cancelled while it begins may have begun.
                writer = Writer(db, EVERYTHING, self._observer)
                now = await self._begin(run, writer, always=always)
                yield SqliteTransaction(writer, run, by=by, now=now)
                await run(db.execute, "COMMIT")
            finally:
                if db.in_transaction or not run.idle:
                    await to_its_end(run(_rollback, db))

    async def _begin(self, run: Thread, writer: Writer, *, always: bool) -> int:
        """Wait for other processes to finish their writes; the time of this one.

        Raises Unavailable: for 30 seconds, or as Writer.now.
        """

        def begun() -> int | None:
            if not begin(writer.db):
                return None
            try:
                return writer.now(time.time_ns() // 1000, always=always)
            except BaseException:
                _rollback(writer.db)
                raise

        return await patiently(lambda: run(begun))

    async def claim(self, name: str, holder: str, seconds: float) -> Lease | None:
        def take(writer: Writer, now: int) -> Lease | None:
            rows = writer.all("claim", "SELECT holder, epoch, until FROM lease WHERE name = ?", (name,))
            current, epoch, until = rows[0] if rows else ("", 0, 0)
            if current != holder and until > now:
                return None
            lease = Lease(
                name, holder, epoch if current == holder and until > now else epoch + 1, now + int(seconds * 1e6)
            )
            writer.many(
                "claim",
                "INSERT OR REPLACE INTO lease (name, holder, epoch, until) VALUES (?, ?, ?, ?)",
                [(name, holder, lease.epoch, lease.until)],
            )
            return lease

        async with self._transaction(holder, always=True) as tx:
            return await tx._run(take, tx._reader, tx.now)

    async def release(self, lease: Lease) -> None:
        async with self._transaction(lease.holder, always=True) as tx:
            await tx._run(
                tx._reader.many,
                "release",
                "UPDATE lease SET until = 0 WHERE name = ? AND holder = ? AND epoch = ?",
                [(lease.name, lease.holder, lease.epoch)],
            )

    async def sequence(self, lease: Lease | None = None) -> int:  # noqa: ARG002 - nothing waits here
        return 0

    async def strays(self) -> Strays:
        async with self._reading() as (db, run):
            return await run(checking.strays, Reader(db, EVERYTHING, self._observer))

    async def drop_strays(self) -> None:
        async with self._transaction("") as tx:
            await tx._run(checking.drop_strays, tx._reader)

    async def explain(self, text: str) -> list[str]:
        async with self._reading() as (db, run):
            return await run(keeping.explain, db, text)

    async def migrate(self) -> list[str]:
        pool, db = self._opened()
        async with self._turn:
            return await Thread(pool, db)(migrations.migrate, db)

    async def pending(self) -> list[str]:
        async with self._reading() as (db, run):
            return await run(migrations.pending, db)

    async def check_version(self) -> int:
        async with self._reading() as (db, run):
            return await run(migrations.check, db)


def _rollback(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")
