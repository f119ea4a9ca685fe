"""Whose the bytes of a workspace are: of several graphs that reach the same storage one alone clears it up.

A graph has a name of its own, which a copy of it does not have: a restored store gets another one. The storage of each
workspace says which graph it belongs to, from the first upload or collection on. A store that moves takes its name
along, and is read-only where it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from graph.aside import SELF
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.ontology import UPLOAD
from graph.port import EVERYTHING, Graph, Kept, Paging, Prop, Snapshot, Transaction
from lineal.errors import PreconditionFailed
from resolvers.artifacts.paths import needed as sent_by_path
from resolvers.artifacts.sweeping import sweeping
from storage.port import Storage

OWNER: Final = "owner"
"""The document that names the graph that a workspace's storage belongs to."""
_NAME: Final = "name"


def named_anew(*, copied: bool) -> Kept:
    """A name for a graph that has none, or must not have that of another one any more.

    `copied` says that it refers to bytes that another graph has put there.
    """
    return Kept(SELF, 0, _NAME, {"id": secrets.token_hex(16), "copied": copied})


async def name_of(snapshot: Snapshot) -> Kept | None:
    """The name of a graph, if it has one yet."""
    found = await snapshot.kept([SELF], [_NAME])
    return found[SELF][0] if SELF in found else None


async def own(graph: Graph, storage: Storage, workspace: str, *, dry_run: bool = False) -> None:
    """Make sure that this graph is the one that a workspace's storage belongs to; what belongs to none is its own then.

    Raises PreconditionFailed: it belongs to another one, or has bytes that this graph has put there not. Raises
    Unavailable: the graph was moved elsewhere, and its bytes with it.
    """
    name = await _named(graph, dry_run=dry_run)
    owner = await storage.get(workspace, OWNER)
    if owner is None:
        await _refuse_strangers(graph, storage, workspace, copied=name.get("copied", False))
        if not dry_run:
            await storage.put(workspace, OWNER, name["id"].encode())
    elif owner.decode() != name.get("id"):
        msg = (
            f"{storage.name} belongs to another graph, as far as the workspace {workspace!r} goes: nothing is sent "
            "there or removed; where that graph is used no more, lineal artifacts gc --take-over makes it this one's"
        )
        raise PreconditionFailed(msg)


async def take_over(graph: Graph, storage: Storage, workspace: str) -> None:
    """Have a workspace's storage belong to this graph, whosever it was. Raises Unavailable, as `own` does."""
    name = await _named(graph)
    async with sweeping(storage, workspace):
        await storage.put(workspace, OWNER, name["id"].encode())


async def _named(graph: Graph, *, dry_run: bool = False) -> Mapping[str, Any]:
    """The name of a graph, which it gets where it has none; with `dry_run` that is nothing."""
    async with graph.snapshot(EVERYTHING) as snapshot:
        name = await name_of(snapshot)

    async def work(tx: Transaction) -> Kept:
        await tx.lock([DEFAULT_WORKSPACE_ID])
        given = await name_of(tx) or named_anew(copied=False)
        await tx.keep([given])
        return given

    if graph.holds_writes:
        # A write that writes nothing is refused where the store was moved.
        await graph.write(lambda tx: tx.keep(()), by="", action="nameGraph")
    if name is None and not dry_run:
        name = await graph.write(work, by="", action="nameGraph")
    return name.data if name else {}


async def _refuse_strangers(graph: Graph, storage: Storage, workspace: str, *, copied: bool) -> None:
    """Raises PreconditionFailed: there are bytes, but this graph has put none there: they are those of another one."""
    async with graph.snapshot(EVERYTHING) as snapshot:
        page = await snapshot.find(UPLOAD.name, Prop("workspace", "eq", workspace), paging=Paging(1))
    if page.items and not copied:
        return
    known = {sha256 async for sha256 in sent_by_path(storage, workspace)}
    async for blob in storage.blobs(workspace):
        if blob.sha256 in known:
            continue
        msg = (
            f"{storage.name} keeps bytes of a workspace {workspace!r} that this graph has never sent anything for; "
            "where no other graph needs them, lineal artifacts gc --take-over makes them this one's"
        )
        raise PreconditionFailed(msg)
