"""Holding a lease: renewed meanwhile, given back afterwards, and never acted on when it may be somebody else's."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from graph.port import Graph, Lease
from lineal.errors import Conflict, LinealError, Unavailable
from lineal.observing import METER

LEASE_SECONDS: Final = 10.0
MARGIN_SECONDS: Final = 2.0
"""How long before the end of a lease nothing more is begun under it."""


class Held:
    """A lease, and until when it may be acted on by this process's own clock."""

    def __init__(self, lease: Lease, until: float) -> None:
        self.lease = lease
        self.until = until
        self.lost = False

    def check(self) -> None:
        """Raises Conflict: it does not hold any more, or not long enough to begin anything."""
        if self.lost or time.monotonic() > self.until - MARGIN_SECONDS:
            raise Conflict(f"the lease {self.lease.name} does not hold any more")


@asynccontextmanager
async def holding(graph: Graph, name: str, holder: str, seconds: float = LEASE_SECONDS) -> AsyncIterator[Held | None]:
    """The lease of this name for as long as the block lasts; None while another has it. Raises Unavailable.

    `seconds` is how long it outlives a process that ends without giving it back.
    """
    began = time.monotonic()
    lease = await graph.claim(name, holder, seconds)
    if lease is None:
        yield None
        return
    held = Held(lease, began + seconds)
    # Names of leases end with what they are for.
    what = re.split(r"[ :]", name, maxsplit=1)[0]
    meter = METER.get()
    meter.add("lineal_leases_held", 1, what)

    async def renew() -> None:
        while not held.lost:
            await asyncio.sleep(seconds / 4)
            began = time.monotonic()
            with suppress(Unavailable):
                again = await graph.claim(name, holder, seconds)
                if again is None or again.epoch != held.lease.epoch:
                    held.lost = True
                else:
                    held.until = began + seconds

    renewing = asyncio.create_task(renew())
    try:
        yield held
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])
        held.lost = True
        meter.add("lineal_leases_held", -1, what)
        with suppress(LinealError):
            await graph.release(held.lease)
