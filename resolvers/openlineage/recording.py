"""Taking events in, for a caller: one, or many of which each may fail for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from auth.roles import Role
from graph.port import Transaction
from lineal.errors import Forbidden, LinealError, Unauthenticated, Unavailable
from resolvers.openlineage.events import Event
from resolvers.openlineage.ingesting import ingest
from resolvers.operation import Operation
from resolvers.writing.meanwhile import again_if_made_meanwhile

ACTION: Final = "recordEvents"
CHUNK: Final = 100
"""Events of a batch that are taken in one transaction."""


async def record(op: Operation, workspace: str, events: Sequence[Event]) -> None:
    """Take these in, all or none. Raises Forbidden, NotFound (no such workspace), and what is wrong with an event."""

    async def work(tx: Transaction) -> None:
        await ingest(tx, workspace, events)

    await again_if_made_meanwhile(lambda: op.write(work, ACTION, needs=Role.CONTRIBUTOR))


async def record_batch(op: Operation, workspace: str, events: Sequence[Event]) -> list[LinealError | None]:
    """Take these in, a hundred in one transaction; for each what was wrong with it, or None.

    A hundred with a bad one among them are halved until it stands alone. Raises what concerns all of them:
    Forbidden, Unauthenticated, Unavailable, and that there is no such workspace.
    """
    failures: list[LinealError | None] = []
    for start in range(0, len(events), CHUNK):
        failures += await _record_part(op, workspace, events[start : start + CHUNK])
    return failures


async def _record_part(op: Operation, workspace: str, events: Sequence[Event]) -> list[LinealError | None]:
    try:
        await record(op, workspace, events)
    except (Forbidden, Unauthenticated, Unavailable):
        raise
    except LinealError as error:
        if error.field == "workspace":
            raise
        if len(events) == 1:
            return [error]
        half = len(events) // 2
        first = await _record_part(op, workspace, events[:half])
        return first + await _record_part(op, workspace, events[half:])
    return [None] * len(events)
