"""The deliverer: gives every webhook its turn, in whichever of many processes gets the webhook's lease.

A look at all of them costs two or three statements, however many there are; a webhook that nothing happened for costs
one more when something happened elsewhere. Each turn is a task of its own: a receiver that hangs holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from typing import Final

from graph.ontology import WEBHOOK
from graph.port import EVERYTHING, MAX_PAGE, Graph, Node, Paging, Prop
from lineal.errors import Conflict, LinealError, NotFound
from lineal.observing import METER, working
from resolvers import following
from resolvers.leasing import LEASE_SECONDS, holding
from resolvers.webhooks.deliveries import PENDING
from resolvers.webhooks.hooks import ACTIVE, Hook, Webhooks
from resolvers.webhooks.turn import Patience, Turn, some_of

POLL_SECONDS: Final = 0.5

_log = logging.getLogger("lineal.webhooks")


class Deliverer:
    """Delivers for all webhooks of a store.

    `holder` is the name under which this process holds leases, `by` the one that its writes are recorded under.
    """

    def __init__(
        self, graph: Graph, webhooks: Webhooks, *, by: str, holder: str, patience: Patience = Patience()
    ) -> None:
        self._graph, self._webhooks = graph, webhooks
        self._by, self._holder, self._patience = by, holder, patience
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, Turn] = {}
        self._seen: dict[str, int] = {}
        """Up to which change there was nothing for a webhook, as this process found."""
        self._later: dict[str, float] = {}
        """When to try a webhook again that another process has, or that met with trouble."""

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    with working("deliverer"):
                        await self._look()
                except LinealError as error:
                    _log.warning("webhooks wait: %s", error.message)
                except Exception:  # noqa: BLE001 - a defect must not end what is done about the others
                    _log.exception("webhooks wait: a defect")
                await asyncio.sleep(POLL_SECONDS)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _look(self) -> None:
        """Begin a turn for each webhook that may have something to do."""
        nodes = {node.id: node async for node in self._active()}
        self._seen = {id: seq for id, seq in self._seen.items() if id in nodes}
        self._later = {id: at for id, at in self._later.items() if id in nodes and at > time.monotonic()}
        if not nodes:
            _measure(0, 0)
            return
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            end = await following.tip(snapshot)
            came = await following.cursors(snapshot, list(nodes))
            waiting = await snapshot.kept(list(nodes), [PENDING], limit=1)
        behind = [end - max(came.get(id, end), self._seen.get(id, 0)) for id in nodes]
        _measure(len(waiting), max(0, *behind))
        for id, node in nodes.items():
            if (turn := self._turns.get(id)) is not None and (turn.seq or 0) < end:
                turn.woken.set()
            if id in self._tasks or id in self._later:
                continue
            start = max(came.get(id, -1), self._seen.get(id, -1)) if id in came else -1
            if id in waiting or start < end:
                self._tasks[id] = asyncio.create_task(self._serve(node, None if id in waiting else start))

    async def _active(self) -> AsyncIterator[Node]:
        after, more = None, True
        while more:
            async with self._graph.snapshot(EVERYTHING) as snapshot:
                page = await snapshot.find(WEBHOOK.name, Prop("state", "eq", ACTIVE), paging=Paging(MAX_PAGE, after))
            for node in page.items:
                yield node
            after, more = page.cursors[-1] if page.cursors else None, page.has_next

    async def _serve(self, node: Node, start: int | None) -> None:
        """Give a webhook its turn, unless nothing happened for it after `start` (-1: not known; None: it has work)."""
        id = node.id
        try:
            if start is not None and start >= 0 and await self._nothing(node, start):
                return
            async with holding(self._graph, f"webhook {id}", self._holder) as held:
                if held is None:
                    self._wait(id)
                    return
                turn = self._turns[id] = Turn(
                    self._graph, self._webhooks, id, held, by=self._by, patience=self._patience
                )
                await turn.run()
                self._seen[id] = max(turn.seq or 0, self._seen.get(id, 0))
        except (Conflict, NotFound) as error:
            _log.info("webhook %s: %s", id, error.message)
        except LinealError as error:
            _log.warning("webhook %s waits: %s", id, error.message)
            self._wait(id)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("webhook %s: a defect", id)
            self._wait(id)
        finally:
            self._turns.pop(id, None)
            del self._tasks[id]

    async def _nothing(self, node: Node, start: int) -> bool:
        """Whether nothing happened for a webhook: most of what happens is for others, and needs no lease."""
        seq, found = await some_of(self._graph, Hook(node, ()), start, "")
        if not found:
            self._seen[node.id] = seq
        return not found

    def _wait(self, id: str) -> None:
        pause = random.uniform(0.5, 1.0) * LEASE_SECONDS / 3  # noqa: S311 - it spreads tries, it hides nothing
        self._later[id] = time.monotonic() + pause


def _measure(waiting: int, behind: int) -> None:
    METER.get().set("lineal_webhooks_waiting", waiting)
    METER.get().set("lineal_webhook_lag_changes", behind)
