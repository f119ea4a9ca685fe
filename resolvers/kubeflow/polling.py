"""The poller: looks for runs of Kubeflow Pipelines, and records them as they go on.

Any number of processes share the work: whoever holds the lease does it, alone, and what is written is fenced by it.
How far it came with a server is kept in the store: when the last run was created that it saw, and which runs go on. A
server that is away is left alone for a while, longer each time; what happened there meanwhile is found afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graph.port import EVERYTHING, Graph, Kept, Transaction
from lineal.errors import Conflict, LinealError, Unavailable
from lineal.observing import working
from resolvers.following import CURSOR
from resolvers.kubeflow.telling import Telling
from resolvers.leasing import Held, holding
from resolvers.openlineage.ingesting import ingest
from resolvers.writing.importing import record
from resolvers.writing.meanwhile import again_if_made_meanwhile
from storage.connectors.addresses import Resolve, system
from storage.threads import Threads
from storage.tracking.kubeflow import KubeflowServer
from storage.tracking.kubeflow_config import KubeflowConfig
from storage.tracking.kubeflow_records import PipelineRun
from storage.tracking.server import Away

LEASE: Final = "kubeflow"
LEASE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 1.0
"""Between two looks at which server is due."""
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 300.0
"""Seconds for which a server that was away is left alone: longer each time, and no longer than this."""
MAX_OPEN: Final = 1_000
"""Runs of one server that are followed until they end; of more the oldest ones are let go."""
THREADS: Final = 4
ACTION: Final = "recordKubeflowRun"

_log = logging.getLogger("lineal.kubeflow")


@dataclass(slots=True)
class _Place:
    """How far it came: the time of the last run that was seen, all runs of that very time, and those that go on."""

    since: int | None = None
    seen: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def passed(self, run: str, created: int, over: bool) -> None:
        """A run was recorded."""
        if self.since is None or created > self.since:
            self.since, self.seen = created, []
        if created == self.since:
            self.seen.append(run)
        if not over:
            self.open = [*self.open, run][-MAX_OPEN:]


@dataclass(slots=True)
class _Turn:
    """When a server is looked at next, by this process's clock, and how long it is left alone if it is away then."""

    due: float = 0.0
    pause: float = FIRST_PAUSE


class Poller:
    """Looks for runs on these servers. `by` is the name that its writes are recorded under, `holder` that of its lease.

    Close it in the end.
    """

    def __init__(
        self, graph: Graph, configs: Iterable[KubeflowConfig], *, by: str, holder: str, resolve: Resolve = system
    ) -> None:
        self._graph, self._by, self._holder = graph, by, holder
        self._servers = [KubeflowServer(config, resolve) for config in configs]
        self._turns = {server.config.name: _Turn() for server in self._servers}
        self._threads = Threads(THREADS, "kubeflow")

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while self._servers:
                await self.step()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of connections and threads."""
        for server in self._servers:
            server.close()
        self._threads.close()

    async def step(self) -> None:
        """Look at each server that is due."""
        for server in self._servers:
            turn = self._turns[server.config.name]
            if turn.due > time.monotonic():
                continue
            try:
                async with holding(self._graph, f"{LEASE}:{server.config.name}", self._holder, LEASE_SECONDS) as held:
                    if held is not None:
                        with working("poller"):
                            await self._poll(server, held)
            except Away as error:
                _log.warning("%s", error.message)
                turn.due = time.monotonic() + turn.pause
                turn.pause = min(turn.pause * 2, LONGEST_PAUSE)
                continue
            except LinealError as error:
                _log.warning("runs of %s wait: %s", server.config.name, error.message)
            except Exception:  # noqa: BLE001 - a defect met with one server must not end what is done about others
                _log.exception("runs of %s wait: a defect", server.config.name)
            else:
                turn.pause = FIRST_PAUSE
            turn.due = time.monotonic() + server.config.every

    # One server ───────────────────────────────────────────────────────────────────────────────────

    async def _poll(self, server: KubeflowServer, held: Held) -> None:
        owner = f"{LEASE}:{server.config.name}"
        place = await self._place(owner)
        for run in list(place.open):
            found = await self._record(server, held, run)
            if found is None or found.over:
                place.open.remove(run)
                await self._keep(owner, place, held)
        pages = server.created(place.since)
        while (page := await self._threads.run(next, pages, None)) is not None:
            for run, created in page:
                if created == place.since and run in place.seen:
                    continue
                found = await self._record(server, held, run)
                place.passed(run, created, over=found is None or found.over)
            await self._keep(owner, place, held)

    async def _record(self, server: KubeflowServer, held: Held, id: str) -> PipelineRun | None:
        """Record a run as it is now; None where there is none any more, or Lineal cannot take it."""
        try:
            run = await self._threads.run(server.run, id)
        except Away:
            raise
        except Unavailable as error:
            _log.warning("run %s is left out: %s", id, error.message)
            return None
        if run is not None:
            try:
                await self._write(server.config, held, run)
            except (Conflict, Unavailable):
                raise
            except LinealError as error:
                _log.warning("run %s of %s is left out: %s", id, server.config.name, error.message)
                return None
        return run

    async def _write(self, config: KubeflowConfig, held: Held, run: PipelineRun) -> None:
        held.check()
        telling = Telling(config.name, config.workspace, run)
        events = telling.events()

        async def work(tx: Transaction) -> None:
            await tx.fence(held.lease)
            await ingest(tx, config.workspace, events)
            await record(tx, nodes=telling.nodes(), edges=telling.edges())

        await again_if_made_meanwhile(lambda: self._graph.write(work, by=self._by, action=ACTION))

    # How far it came ──────────────────────────────────────────────────────────────────────────────

    async def _place(self, owner: str) -> _Place:
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            found: Sequence[Kept] = (await snapshot.kept([owner], [CURSOR], limit=1)).get(owner, [])
        data: dict[str, Any] = dict(found[0].data) if found else {}
        return _Place(data.get("since"), list(data.get("seen", ())), list(data.get("open", ())))

    async def _keep(self, owner: str, place: _Place, held: Held) -> None:
        data = {"since": place.since, "seen": place.seen, "open": place.open}

        async def work(tx: Transaction) -> None:
            await tx.fence(held.lease)
            await tx.keep([Kept(owner, 0, CURSOR, data)])

        await self._graph.write(work, by=self._by, action=ACTION)
