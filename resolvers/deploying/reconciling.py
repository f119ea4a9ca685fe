"""The reconciler: drives serving targets to what deployments were told, and keeps in the graph what they truly serve.

Any number of processes share the targets: whoever holds the lease of a target acts on it, alone. Nothing is remembered
that is not in the graph, so another process goes on wherever this one stops. What is written is fenced by the lease,
and so is each single call to a platform: who lost the lease in the middle makes no further one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from graph.ontology import DEPLOYMENT, SERVING_TARGET
from graph.port import (
    EVERYTHING,
    All,
    Graph,
    Node,
    Paging,
    Prop,
    Snapshot,
    Transaction,
    Update,
)
from lineal.errors import Conflict, InvalidArgument, LinealError, PreconditionFailed
from lineal.observing import METER, working
from resolvers import leasing
from resolvers.deploying.bringing import Bringing
from resolvers.deploying.plans import ON_TARGET, TARGET, Plan, plans_of
from resolvers.deploying.settling import ACTION, Look, Settling
from resolvers.deploying.targets import Targets
from resolvers.leasing import Held, holding
from resolvers.reading import all_found, all_links
from serving.port import GUARD, Adapter, Desired, still_there
from storage.port import Storage

POLL_SECONDS: Final = 1.0
"""Between two looks for deployments that were told something."""
MAX_DELAYED: Final = 3
"""How many deployments of a target may find it too slow in one look."""
ON_THEIR_WAY: Final = "its files are on their way"

_log = logging.getLogger("lineal.serving")


class Reconciler:
    """Looks after the deployments on these targets.

    `holder` is the name under which this process holds leases, `by` the one that its writes are recorded under; `every`
    is the number of seconds between two looks at all that a target serves; `base` is this server's address.
    """

    def __init__(
        self, graph: Graph, storage: Storage, targets: Targets, *, by: str, holder: str, every: float, base: str
    ) -> None:
        self._graph, self._storage, self._targets = graph, storage, targets
        self._by, self._holder, self._every, self._base = by, holder, every, base
        self._settle = Settling(graph, by=by)
        self._others: dict[str, dict[str, Desired]] = {}
        """What is wanted of each target besides, as of the last full look, by the id of the deployment."""
        self._tried: dict[str, float] = {}
        """When each deployment's target was last told, by its id: so that nobody waits for others for ever."""
        self._hindered: dict[str, tuple[int, str]] = {}
        """What stood in the way when a target was last to be told of a deployment, by its id: a revision, and what."""
        self._bringing: dict[str, Bringing] = {}

    async def run(self) -> None:
        """Until cancelled."""
        if not self._targets.names:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            for name in self._targets.names:
                group.create_task(self._look_after(name))

    # ── When to look ──────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        """Wake those who look after targets on which something waits to be done; one statement where nothing does."""
        waiting = All((Prop("managed", "eq", True), Prop("phase", "in", ["PENDING", "ROLLING_OUT"])))
        while True:
            try:
                async with self._graph.snapshot(EVERYTHING) as snapshot:
                    page = await snapshot.find(DEPLOYMENT.name, waiting, paging=Paging(first=500))
                    places = await all_links(snapshot, [node.id for node in page.items], TARGET) if page.items else {}
                for name in {link.node.name for links in places.values() for link in links}:
                    self._targets.wake(name)
            except LinealError as error:
                _log.warning("deployments wait: %s", error.message)
            except Exception:  # noqa: BLE001 - as below
                _log.exception("deployments wait: a defect")
            await asyncio.sleep(POLL_SECONDS)

    async def _look_after(self, target: str) -> None:
        """Hold the lease of a target as long as it can be had, and look at it then."""
        while True:
            try:
                async with holding(self._graph, f"target {target}", self._holder) as held:
                    if held is not None:
                        with _guarded(held):
                            await self._act(target, held)
            except Conflict as error:
                _log.info("target %s: %s", target, error.message)
            except LinealError as error:
                _log.warning("target %s waits: %s", target, error.message)
            except Exception:  # noqa: BLE001 - a defect met on one target must not end what is done about the others
                _log.exception("target %s: a defect", target)
            await asyncio.sleep(random.uniform(0.5, 1.0) * leasing.LEASE_SECONDS / 3)  # noqa: S311 - it spreads tries, it hides nothing

    async def _act(self, target: str, held: Held) -> None:
        """Look at a target again and again, for as long as the lease holds."""
        changed, due = self._targets.changed(target), 0.0
        adapter = self._targets.adapter(target)
        try:
            while True:
                held.check()
                changed.clear()
                full = time.monotonic() >= due
                if full:
                    due = time.monotonic() + self._every
                with working("reconciler"):
                    await self._round(target, adapter, held, full=full)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - time.monotonic())):
                        await changed.wait()
        finally:
            # How it goes on is for the lease's next holder to say.
            _measure(target, ())
            # What is on its way is held to this lease.
            if bringing := self._bringing.pop(target, None):
                await bringing.close()

    # ── One look ──────────────────────────────────────────────────────────────────────────────────

    async def _round(self, target: str, adapter: Adapter, held: Held, *, full: bool) -> None:
        """Look at all deployments of a target, or at those that wait, write what follows, and act."""
        look = await self._read(target, full=full)
        before = {} if full else self._others.get(target, {})
        wanted = {id: each for id, each in look.desired.items() if each.served}
        self._others[target] = {id: each for id, each in before.items() if id not in look.desired} | wanted
        _measure(target, look.plans)
        if not look.plans:
            return
        try:
            look.seen = await adapter.observe([plan.name for plan in look.plans])
        except Conflict:
            raise
        except LinealError as error:
            # Whether it does not answer or does not let Lineal look, nothing is known.
            look.trouble = error.message
        verdicts = await self._settle(look, held.lease, full=full)
        for plan in look.plans:
            id = plan.deployment.id
            if look.seen is not None and plan.reports and verdicts[id].phase == "DRIFTED":
                # Whoever is told of all that a server serves must not be told to repair this one by the way.
                self._others[target][id] = still_there(look.desired[id], look.seen[plan.name])
        acting = [plan for plan in look.plans if verdicts[plan.deployment.id].act]
        if acting:
            await self._tell(target, adapter, look, acting, held)
        if look.refused:
            refused = [plan for plan in look.plans if plan.deployment.id in look.refused]
            await self._settle(replace(look, plans=refused, places=()), held.lease, full=False)

    async def _tell(self, target: str, adapter: Adapter, look: Look, plans: Sequence[Plan], held: Held) -> None:
        """Tell a target what these shall serve, those that waited longest first, and note who was told."""
        told, tried, away = set[str](), list[Plan](), 0
        if target not in self._bringing:
            self._bringing[target] = Bringing(adapter, lambda: self._targets.wake(target))
        files = self._bringing[target]
        await files.begin(look.desired, [plan.deployment.id for plan in plans])
        for plan in sorted(plans, key=lambda plan: self._tried.get(plan.deployment.id, 0.0)):
            id, outcome = plan.deployment.id, "told"
            others = [each for other, each in self._others[target].items() if other != id]
            tried.append(plan)
            asked = False
            try:
                if not files.there(id):
                    self._hindered[id] = plan.number, ON_THEIR_WAY
                    outcome = "files"
                    continue
                asked, self._tried[id] = True, time.monotonic()
                await adapter.apply(look.desired[id], others)
            except Conflict:
                raise
            except (PreconditionFailed, InvalidArgument) as error:
                self._hindered[id] = plan.number, error.message
                look.refused[id] = error.message
                outcome = "refused"
            except LinealError as error:
                self._hindered[id] = plan.number, error.message
                outcome = "away"
                # Files that cannot be had take no time, and say nothing of the target.
                away += asked
                if away >= MAX_DELAYED:
                    # It is likely to be away, and each call may take as long as it may.
                    break
            else:
                self._hindered.pop(id, None)
                told.add(id)
            finally:
                METER.get().add("lineal_reconciler_outcomes", 1, target, outcome)
        await self._note(tried, told, held)

    async def _note(self, tried: Sequence[Plan], told: set[str], held: Held) -> None:
        """Write down that time runs for what was tried, and that what was told is rolling out."""
        updates: dict[str, list[Update]] = {}
        now = time.time_ns() // 1_000
        for plan in tried:
            id, props = plan.deployment.id, plan.revision.props
            if props.get("state") == "PENDING":
                begun = {} if "startedAt" in props else {"startedAt": now}
                if begun or id in told:
                    state = {"state": "ROLLING_OUT"} if id in told else {}
                    updates.setdefault(id, []).append(Update(plan.revision.id, {**begun, **state}))
        if not updates:
            return
        numbers = {plan.deployment.id: plan.number for plan in tried}

        async def work(tx: Transaction) -> None:
            await tx.fence(held.lease)
            nodes = await tx.lock(sorted(updates))
            # What was told something else meanwhile is looked at next.
            current = [id for id in updates if nodes[id].props.get("desiredRevision") == numbers[id]]
            await tx.update([update for id in current for update in updates[id]])

        await self._graph.write(work, by=self._by, action=ACTION)

    async def _read(self, target: str, *, full: bool) -> Look:
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            places, found = await self._deployments(snapshot, target)
            active = [node for node in found if full or node.props.get("phase") in {"PENDING", "ROLLING_OUT"}]
            plans = await plans_of(snapshot, active)
        desired = {plan.deployment.id: plan.desired(self._storage, self._base) for plan in plans}
        met = {id: self._hindered[id] for id in desired if id in self._hindered}
        hindered = {id: text for id, (revision, text) in met.items() if desired[id].revision == revision}
        about = self._targets.about(target)
        return Look(plans, desired, hindered=hindered, places=places if full else (), about=about)

    async def _deployments(self, snapshot: Snapshot, target: str) -> tuple[list[Node], list[Node]]:
        """What stands for a target in the workspaces that may use it, and the managed deployments on it."""
        where = All((Prop("name", "eq", target), Prop("managed", "eq", True)))
        there = [node async for node in all_found(snapshot, SERVING_TARGET.name, where)]
        places = [node for node in there if self._targets.acts_on(target, node.workspace)]
        links = await all_links(snapshot, [node.id for node in places], ON_TARGET) if places else {}
        found = [link.node for each in links.values() for link in each if link.node.props.get("managed")]
        return places, [node for node in found if self._targets.acts_on(target, node.workspace)]


def _measure(target: str, plans: Sequence[Plan]) -> None:
    """Say how many deployments are not as they were told, and for how long."""
    now = time.time_ns() // 1_000
    since = [
        int(plan.revision.props.get("startedAt", plan.revision.created_at))
        for plan in plans
        if plan.revision.props.get("state") in {"PENDING", "ROLLING_OUT"}
    ]
    METER.get().set("lineal_reconciler_waiting", len(since), target)
    METER.get().set("lineal_reconciler_lag_seconds", max(0, now - min(since, default=now)) / 1_000_000, target)


@contextmanager
def _guarded(held: Held) -> Iterator[None]:
    """Every call to a platform is held to the lease meanwhile."""
    guarded = GUARD.set(held.check)
    try:
        yield
    finally:
        GUARD.reset(guarded)
