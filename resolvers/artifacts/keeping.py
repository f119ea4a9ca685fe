"""What is done about artifacts in the background, by one process of all that share the store.

What stays where it is has a lease of its own, perhaps in another process: a slow place keeps nothing else waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from graph.ontology import ARTIFACT
from graph.port import EVERYTHING, All, Any_, Graph, Kept, Node, Not, Order, Paging, Prop, Transaction, Where
from lineal.errors import LinealError
from lineal.observing import METER, Round, working
from resolvers.artifacts.collecting import collect, workspaces
from resolvers.artifacts.common import REFERENCED
from resolvers.exporting.linking import clear_exports
from resolvers.leasing import Held, holding
from storage.port import Storage

LEASE: Final = "artifacts"
REFERENCES_LEASE: Final = "artifacts:references"
LEASE_SECONDS: Final = 60.0
PAUSE: Final = 2.0
"""Seconds between two looks for work."""
BACK_OFF: Final = 30.0
COLLECTED: Final = "collected"
"""The state of what says when storage was cleared last, by whichever process (microseconds)."""

_log = logging.getLogger("lineal.artifacts")

Check = Callable[[Node], Awaitable[str]]
"""Looks at one artifact whose verification is PENDING, and says what it is now."""


@dataclass(slots=True)
class _Turn:
    """The artifacts that are looked at one after the other, under which lease, and by what name that is measured."""

    worker: str
    lease: str
    among: Where
    looked: int = 0
    """When the artifact was made that was looked at last: it goes on with the next one, and around."""


class Keeper:
    """Verifies artifacts that wait for it, looks at those that stay where they are and clears storage every so many
    hours (0: never).

    `holder` is the name under which it holds the lease, `by` the one that its writes are recorded under.
    """

    def __init__(
        self,
        graph: Graph,
        storage: Storage,
        check: Check,
        *,
        by: str,
        holder: str,
        collect_hours: float,
        grace_hours: float,
        check_hours: float,
    ) -> None:
        self._graph, self._storage, self._check = graph, storage, check
        self._by, self._holder = by, holder
        self._every, self._grace = int(collect_hours * 3_600_000_000), grace_hours * 3_600
        self._recheck = int(check_hours * 3_600_000_000)
        self._due = 0
        """When to look again whether storage is to be cleared."""
        self._later: dict[str, float] = {}
        """Artifacts that could not be looked at, and when to try again."""

    async def run(self) -> None:
        """Until cancelled."""
        referenced = Prop("storage", "eq", REFERENCED)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._go_on(_Turn("keeper", LEASE, Not(referenced))))
            group.create_task(self._go_on(_Turn("references", REFERENCES_LEASE, referenced)))

    async def _go_on(self, turn: _Turn) -> None:
        while True:
            try:
                with working(turn.worker) as round:
                    busy = await self._step(turn, round)
            except LinealError as error:
                _log.warning("artifacts wait: %s", error.message)
                busy = False
            except Exception:  # noqa: BLE001 - as below
                _log.exception("artifacts wait: a defect")
                busy = False
            await asyncio.sleep(0 if busy else PAUSE)

    async def _step(self, turn: _Turn, round: Round) -> bool:
        """Do one thing; whether there may be more at once."""
        async with holding(self._graph, turn.lease, self._holder, LEASE_SECONDS) as held:
            if held is None:
                round.idle = True
                return False
            if turn.lease == LEASE and self._every and await self._is_time(held):
                await self._collect()
            if artifact := await self._waiting(turn):
                await self._look(artifact)
                return True
        return False

    async def _is_time(self, held: Held) -> bool:
        """Whether to clear storage, which is noted then; where nobody knows when it was cleared last, from now on."""
        now = time.time_ns() // 1_000
        if now <= self._due:
            return False
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            found = (await snapshot.kept([LEASE], [COLLECTED], limit=1)).get(LEASE)
        last = int(found[0].data["at"]) if found else now
        due = now > last + self._every
        if due or found is None:
            await self._note(held, last := now)
        self._due = last + self._every
        return due

    async def _note(self, held: Held, at: int) -> None:
        async def work(tx: Transaction) -> None:
            await tx.fence(held.lease)
            await tx.keep([Kept(LEASE, 0, COLLECTED, {"at": at})])

        await self._graph.write(work, by=self._by, action="collect")

    async def _look(self, artifact: Node) -> None:
        try:
            state = await self._check(artifact)
            _log.info("artifact %s: %s", artifact.id, state)
        except LinealError as error:
            _log.warning("artifact %s could not be verified: %s", artifact.id, error.message)
            self._later[artifact.id] = time.monotonic() + BACK_OFF
        except Exception:  # noqa: BLE001 - a defect met on one must not end what is done about the others
            _log.exception("artifact %s could not be verified: a defect", artifact.id)
            self._later[artifact.id] = time.monotonic() + BACK_OFF

    async def _waiting(self, turn: _Turn) -> Node | None:
        """An artifact that waits to be verified, or that was last looked at long ago where it is."""
        now = time.monotonic()
        self._later = {id: at for id, at in self._later.items() if at > now}
        waiting: Where = Prop("verification", "eq", "PENDING")
        if self._recheck:
            old = Prop("verifiedAt", "lt", time.time_ns() // 1_000 - self._recheck)
            waiting = Any_((waiting, All((Prop("storage", "eq", REFERENCED), old))))
        free = All((turn.among, waiting, Not(Prop("id", "in", sorted(self._later)))))
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            for where in (All((free, Prop("createdAt", "gt", turn.looked))), free):
                page = await snapshot.find(ARTIFACT.name, where, order=Order("createdAt"), paging=Paging(1))
                for artifact in page.items:
                    turn.looked = artifact.created_at
                    return artifact
        return None

    async def _collect(self) -> None:
        there, deleted = await workspaces(self._graph)
        for workspace in (*there, *deleted):
            await self._clear(workspace)
        await self._clear_exports()
        METER.get().set("lineal_collection_timestamp_seconds", time.time())

    async def _clear_exports(self) -> None:
        try:
            done = await clear_exports(self._storage)
            _log.info("exports: %d removed, %d kept", done.removed, done.too_young)
        except LinealError as error:
            _log.warning("exports are not cleared: %s", error.message)

    async def _clear(self, workspace: str) -> None:
        try:
            done = await collect(self._graph, self._storage, workspace, by=self._by, grace=self._grace)
            _log.info("storage of %s: %d blobs removed, %d kept", workspace, done.removed, done.kept)
        except LinealError as error:
            _log.warning("storage of %s is not cleared: %s", workspace, error.message)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("storage of %s is not cleared: a defect", workspace)
