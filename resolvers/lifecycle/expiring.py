"""Approvals whose time is over, which nobody decides on or uses any more."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from graph.ontology import APPROVAL
from graph.port import EVERYTHING, MAX_PAGE, All, Graph, Node, Paging, Prop, Transaction, Update
from lineal.errors import LinealError
from lineal.observing import working
from resolvers.lifecycle.standing import EXPIRED, UNDECIDED, expired

PAUSE: Final = 60.0
"""Seconds between two looks for some."""
ACTION: Final = "expireApprovals"

_log = logging.getLogger("lineal.lifecycle")


async def expiring(graph: Graph, *, by: str) -> None:
    """Have them say so, until cancelled; any number of processes may. `by` is who the writes are recorded under."""
    while True:
        try:
            with working("expiring"):
                while await expire(graph, by=by):
                    pass
        except LinealError as error:
            _log.warning("approvals wait to expire: %s", error.message)
        except Exception:  # noqa: BLE001 - nobody would expire any more, and nobody would hear of it
            _log.exception("approvals wait to expire: a defect")
        await asyncio.sleep(PAUSE)


async def expire(graph: Graph, *, by: str) -> int:
    """Have some whose time is over say so; how many did."""
    over = All((Prop("state", "in", UNDECIDED), Prop("expiresAt", "lte", time.time_ns() // 1_000)))
    async with graph.snapshot(EVERYTHING) as snapshot:
        found = (await snapshot.find(APPROVAL.name, over, paging=Paging(MAX_PAGE))).items
    if not found:
        return 0

    async def work(tx: Transaction) -> int:
        there = (await tx.lock([node.id for node in found])).values()
        updates = [Update(node.id, {"state": EXPIRED}) for node in there if _is_over(node, tx.now)]
        await tx.update(updates)
        return len(updates)

    return await graph.write(work, by=by, action=ACTION)


def _is_over(node: Node, now: int) -> bool:
    return node.props["state"] in UNDECIDED and expired(node, now)
