"""An embedded store moves into another one while reads of it go on.

Writes are held meanwhile, in all processes that share the store, and for good once it has moved: what came into the old
one afterwards would be lost. A move that dies lets go of the writes after a minute.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Final

from graph.aside import aside_lines
from graph.port import MOVED, WRITES, Graph, Note
from graph.transfer import Progress, export_lines
from lineal.errors import Conflict, PreconditionFailed
from resolvers.artifacts.owning import name_of, named_anew, take_over
from resolvers.backup.folder import ASIDE, GRAPH, Writing
from resolvers.backup.restoring import begin, bring_graph, end
from resolvers.backup.taking import workspaces_of
from resolvers.leasing import holding
from storage.port import Storage

LEASE_SECONDS: Final = 60.0
"""How long writes stay held after a move that died."""
FOR_GOOD: Final = 100 * 365 * 24 * 3_600.0


async def move(source: Graph, target: Graph, to: str, *, by: str, progress: Progress | None = None) -> None:
    """Move all that a store has into an empty one, which people know as `to`.

    Raises PreconditionFailed (the source cannot hold its writes, the target is not empty), Conflict (somebody else
    moves it, or did), Internal (what came is not what was there: nothing has moved).
    """
    if not source.holds_writes:
        msg = "only an embedded store can be moved while it is read; of another one take a backup, and restore that"
        raise PreconditionFailed(msg)
    async with holding(source, WRITES, f"{to} ({secrets.token_hex(4)})", LEASE_SECONDS) as held:
        if held is None:
            raise Conflict("the store is being moved by somebody else")
        with tempfile.TemporaryDirectory(prefix="lineal-move-") as scratch:
            writing = Writing(Path(scratch))
            async with source.snapshot() as snapshot:
                await writing.write(GRAPH, export_lines(snapshot))
                await writing.write(ASIDE, aside_lines(snapshot))
            mark = {"backup": "of a move", "sha256": writing.parts[GRAPH]["sha256"]}
            async with source.snapshot() as snapshot:
                # The bytes stay where they are, and are those of the new store.
                name = await name_of(snapshot) or named_anew(copied=False)
            await begin(target, mark, name)
            await bring_graph(target, writing.path, writing.parts, by=by, progress=progress)
        held.check()
        if await source.claim(MOVED, to, FOR_GOOD) is None:
            raise Conflict("the store was moved to another place already")
        await end(target, Note(by, "moveStore", mark))


async def stay(source: Graph, storage: Storage, to: str) -> None:
    """Let a store that was moved be written to again, and have its storage back.

    Raises Conflict: it was moved to another place.
    """
    lease = await source.claim(MOVED, to, LEASE_SECONDS)
    if lease is None:
        raise Conflict(f"the store was not moved to {to}")
    await source.release(lease)
    await source.write(lambda tx: tx.keep([named_anew(copied=True)]), by="", action="nameGraph")
    async with source.snapshot() as snapshot:
        workspaces = await workspaces_of(snapshot)
    for workspace in workspaces:
        await take_over(source, storage, workspace)
