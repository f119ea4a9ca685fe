"""The enricher: looks up in tracking servers where registered versions came from, and records it.

Versions wait in the graph, with when they are looked up next. Any number of processes share the work: whoever holds the
lease does it, alone, and what is written is fenced by it. A server that is away is left alone for a while, longer each
time; what could not be had within so many hours is given up, and says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from graph.ontology import MODEL_VERSION
from graph.port import EVERYTHING, All, Graph, Lease, Node, Order, Paging, Prop, Transaction, Update, Where
from lineal.errors import Conflict, LinealError, NotFound, Unavailable
from lineal.observing import Round, working
from resolvers.leasing import holding
from resolvers.tracking.queueing import DONE, FAILED, FOLLOWING, QUEUED, ended, waiting
from resolvers.tracking.recording import recorded, versions_of, write
from resolvers.tracking.stories import Story
from resolvers.tracking.telling import Telling
from resolvers.tracking.trackers import Trackers

LEASE: Final = "tracking"
LEASE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 1.0
"""Between two looks for versions that wait."""
BATCH: Final = 8
"""Versions that are looked up at a time."""
LEAST_PAUSE: Final = 2.0
MOST_PAUSE: Final = 600.0
"""Seconds between two looks at the same version: a quarter of the time since the first, within these."""
ACTION: Final = "enrichModelVersion"

_log = logging.getLogger("lineal.tracking")


class Enricher:
    """Looks up versions that wait.

    `by` is the name that its writes are recorded under, `holder` that under which it holds the lease, `hours` how long
    a version is tried.
    """

    def __init__(self, graph: Graph, trackers: Trackers, *, by: str, holder: str, hours: float) -> None:
        self._graph, self._trackers, self._by, self._holder = graph, trackers, by, holder
        self._patience = int(hours * 3_600_000_000)

    async def run(self) -> None:
        """Until cancelled."""
        if self._trackers.workspaces == frozenset():
            return
        while True:
            busy = False
            try:
                busy = await self.step()
            except LinealError as error:
                _log.warning("versions wait to be looked up: %s", error.message)
            except Exception:  # noqa: BLE001 - a defect met with one version must not end what is done about others
                _log.exception("versions wait to be looked up: a defect")
            await asyncio.sleep(0 if busy else POLL_SECONDS)

    async def step(self) -> bool:
        """Look up some of those that are due; whether there were any."""
        with working("enricher") as round:
            return await self._step(round)

    async def _step(self, round: Round) -> bool:
        if self._trackers.pause > 0 or not (due := await self._due()):
            return False
        async with holding(self._graph, LEASE, self._holder, LEASE_SECONDS) as held:
            if held is None:
                round.idle = True
                return False
            results = await asyncio.gather(*(self._one(node, held.lease) for node in due), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return True

    async def _due(self) -> Sequence[Node]:
        """Versions that are due, the longest ones first. Each state is asked for by itself: so an index leads there."""
        rest: tuple[Where, ...] = (Prop("enrichmentDue", "lte", time.time_ns() // 1_000),)
        if (workspaces := self._trackers.workspaces) is not None:
            rest += (Prop("workspace", "in", sorted(workspaces)),)
        found: list[Node] = []
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            for state in (QUEUED, FOLLOWING):
                where = All((Prop("enrichment", "eq", state), *rest))
                order = Order("enrichmentDue")
                found += (await snapshot.find(MODEL_VERSION.name, where, order=order, paging=Paging(BATCH))).items
        return found

    async def _one(self, node: Node, lease: Lease) -> None:
        run, logged = str(node.props.get("runId", "")), str(node.props.get("loggedModel", ""))
        try:
            story = await self._trackers.story(node.workspace, run, logged)
        except NotFound as error:
            await self._settle(node, lease, ended(FAILED, error.message))
        except Unavailable as error:
            await self._settle(node, lease, self._later(node, QUEUED, error.message))
        else:
            try:
                await recorded(lambda refused: self._write(node, lease, story, refused))
            except (Conflict, Unavailable):
                raise
            except LinealError as error:
                await self._settle(node, lease, ended(FAILED, error.message))

    async def _write(self, node: Node, lease: Lease, story: Story, refused: Sequence[str]) -> None:
        """Record a story; without some of what its run read, where it was refused before."""

        async def work(tx: Transaction) -> None:
            await tx.fence(lease)
            if (version := await _wanted(tx, node)) is None:
                return
            known = await versions_of(tx, version.workspace, story)
            telling = Telling(version.workspace, known=known)
            telling.story(version.id, story, without=len(refused))
            message = "; ".join([*await write(tx, telling), *refused]) or None
            props = ended(DONE, message, enrichedAt=tx.now)
            if story.goes_on:
                props = self._later(version, FOLLOWING, message)
            await tx.update([Update(version.id, props)])

        await self._graph.write(work, by=self._by, action=ACTION)

    def _later(self, node: Node, state: str, message: str | None) -> dict[str, Any]:
        """When a version is looked up again; or that it is given up, after so long."""
        now = time.time_ns() // 1_000
        since = int(node.props.get("enrichmentSince", now))
        if now - since > self._patience:
            hours = f"{self._patience / 3_600_000_000:g} hours"
            return ended(FAILED, f"given up after {hours}: {message or 'its run still goes on'}")
        pause = max(self._trackers.pause, min(MOST_PAUSE, max(LEAST_PAUSE, (now - since) / 4_000_000)))
        return waiting(state, since, now + int(pause * 1_000_000), message)

    async def _settle(self, node: Node, lease: Lease, props: dict[str, Any]) -> None:
        async def work(tx: Transaction) -> None:
            await tx.fence(lease)
            if await _wanted(tx, node) is not None:
                await tx.update([Update(node.id, props)])

        await self._graph.write(work, by=self._by, action=ACTION)


async def _wanted(tx: Transaction, node: Node) -> Node | None:
    """The version, locked, if it is there and still waits for what was looked up."""
    if node.id not in await tx.nodes([node.id]):
        return None
    now = (await tx.lock([node.id]))[node.id]
    same = all(now.props.get(name) == node.props.get(name) for name in ("runId", "loggedModel"))
    return now if same and now.props.get("enrichmentDue") is not None else None
