"""Events out: what happens here goes to one address as OpenLineage tells it, at least once and in order.

One of many processes sends, by a lease, and keeps how far it came; nobody who writes waits for it. A receiver that is
away is tried again, each time after a longer pause; an event that it says is bad is told in the log and left out, for
it would be as bad the next time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Any, Final

import orjson

from graph.port import EVERYTHING, Graph, Transaction
from lineal.errors import LinealError
from lineal.observing import working
from resolvers import following
from resolvers.leasing import LEASE_SECONDS, Held, holding
from resolvers.openlineage.telling import Narrator
from resolvers.webhooks.sending import Answer, Sender

OWNER: Final = "openlineage"
"""Whose cursor it is, and the name of the lease."""
BATCH: Final = 100
POLL_SECONDS: Final = 0.5
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
AGAIN: Final = frozenset({401, 403, 404, 408, 425, 429})
"""Statuses that say nothing of the event: it is tried again."""

_log = logging.getLogger("lineal.openlineage")


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where events go, and the bearer token that they go with (empty: none)."""

    url: str
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What every request has."""
        bearer = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return {"content-type": "application/json", **bearer}


class Emitter:
    """Sends to a receiver. `holder` is the name under which this process holds the lease, `by` that of its writes."""

    def __init__(
        self,
        graph: Graph,
        narrator: Narrator,
        sender: Sender,
        receiver: Receiver,
        *,
        by: str,
        holder: str,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._graph, self._narrator, self._sender, self._receiver = graph, narrator, sender, receiver
        self._by, self._holder, self._first_pause = by, holder, first_pause

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with holding(self._graph, OWNER, self._holder) as held:
                    while held is not None:
                        with working("emitter"):
                            busy = await self._step(held)
                        if not busy:
                            await asyncio.sleep(POLL_SECONDS)
            except LinealError as error:
                _log.warning("OpenLineage events wait: %s", error.message)
            except Exception:  # noqa: BLE001 - a defect must not end it
                _log.exception("OpenLineage events wait: a defect")
            await asyncio.sleep(random.uniform(0.5, 1.0) * LEASE_SECONDS / 3)  # noqa: S311 - it spreads tries

    async def _step(self, held: Held) -> bool:
        """Send what some changes come to; whether there were any. Raises Conflict: the lease is lost."""
        held.check()
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            came = (await following.cursors(snapshot, [OWNER])).get(OWNER)
            now = await following.tip(snapshot) if came is None else 0
            changes = await snapshot.changes(after=came, limit=BATCH) if came is not None else []
        if came is None:
            # Whoever receives is told of what happens from now on.
            await self._keep(held, now)
            return False
        if not changes:
            return False
        sent = came
        try:
            for change in changes:
                async with self._graph.snapshot(EVERYTHING) as snapshot:
                    events = await self._narrator.events(snapshot, change)
                for event in events:
                    await self._send(held, event)
                sent = change.seq or sent
        finally:
            if sent > came:
                await self._keep(held, sent)
        return True

    async def _keep(self, held: Held, seq: int) -> None:
        async def work(tx: Transaction) -> None:
            await tx.fence(held.lease)
            await tx.keep([following.cursor(OWNER, seq)])

        await self._graph.write(work, by=self._by, action="emitOpenLineage")

    async def _send(self, held: Held, event: dict[str, Any]) -> None:
        """Send one event, as often as it takes. Raises Conflict: the lease is lost."""
        body, pause = orjson.dumps(event), self._first_pause
        while True:
            held.check()
            answer = await self._sender.post(self._receiver.url, body, self._receiver.headers)
            if answer.taken:
                return
            if _is_final(answer):
                _log.warning("an OpenLineage event was refused with %s: %.300s", answer.status, answer.body)
                return
            _log.info("OpenLineage events wait: %s", answer.error or f"status {answer.status}")
            wait = max(answer.retry_after, pause * random.uniform(0.5, 1.0))  # noqa: S311 - it spreads tries
            await asyncio.sleep(min(wait, LONGEST_PAUSE))
            pause = min(2 * pause, LONGEST_PAUSE)


def _is_final(answer: Answer) -> bool:
    """Whether the receiver says that the event itself is bad."""
    return answer.status is not None and 400 <= answer.status < 500 and answer.status not in AGAIN
