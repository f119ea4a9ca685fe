"""One process of all that share a store gives changes their order."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from graph.port import Graph, Lease
from lineal import logging
from lineal.errors import LinealError
from lineal.observing import working
from lineal.telemetry import Telemetry

LEASE: Final = "sequencer"
LEASE_SECONDS: Final = 10.0
SEQUENCE_EVERY: Final = 0.05
BACK_OFF: Final = 1.0

_log = logging.get("lineal.sequencing")


class Sequencer:
    """Gives changes their store-wide order, in one process of all that share the store."""

    def __init__(self, graph: Graph, telemetry: Telemetry, holder: str) -> None:
        self._graph = graph
        self._telemetry = telemetry
        self._holder = holder
        self._lease: Lease | None = None
        self._renewed = 0.0

    async def run(self) -> None:
        """Until cancelled: hold the lease, and sequence what waits."""
        try:
            while True:
                try:
                    with working("sequencer") as round:
                        await self._step()
                        round.idle = self._lease is None
                except LinealError as error:
                    _log.warning("changes wait for their order", reason=error.message)
                    self._lease = None
                except Exception:  # noqa: BLE001 - nobody would order changes any more, and nobody would hear of it
                    _log.exception("changes wait for their order: a defect")
                    self._lease = None
                await asyncio.sleep(SEQUENCE_EVERY if self._lease else BACK_OFF)
        finally:
            if self._lease is not None:
                with suppress(LinealError):
                    await self._graph.release(self._lease)

    async def _step(self) -> None:
        """Sequence what waits, if the lease is held. It is claimed again at half its time."""
        now = asyncio.get_running_loop().time()
        if self._lease is None or now > self._renewed + LEASE_SECONDS / 2:
            self._lease = await self._graph.claim(LEASE, self._holder, LEASE_SECONDS)
            self._renewed = now
        if self._lease is not None:
            self._telemetry.add("lineal_changes_sequenced", await self._graph.sequence(self._lease))
        else:
            # What was seen while the lease was here is for its new holder to say.
            for gauge in ("lineal_changes_unsequenced", "lineal_sequencer_lag_seconds"):
                self._telemetry.set(gauge, 0)
