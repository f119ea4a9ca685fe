"""Workspaces: made, described, and deleted once they are empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graph import ontology, validation
from graph.ontology import ARTIFACT, CODE_REVISION, ENVIRONMENT, NODE_KINDS, SERVING_TARGET, WORKSPACE
from graph.port import Node, Paging, Prop, Transaction, Update
from lineal.errors import PreconditionFailed
from resolvers.operation import Operation
from resolvers.writing.command import command
from resolvers.writing.common import NOTHING, present
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import MAX_PARTS, Deleted, remove
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find

SHARED: Final = (ENVIRONMENT, SERVING_TARGET, ARTIFACT, CODE_REVISION)
"""Kinds that appear when something names them: they keep no workspace alive, and go with it."""

HELD: Final = tuple(k for k in NODE_KINDS.values() if not (k.is_global or k.within or k in SHARED))
"""Kinds that a workspace must be empty of."""


@command("createWorkspace")
async def create_workspace(tx: Transaction, *, name: str, properties: Mapping[str, Any] = NOTHING) -> str:
    """Make a workspace. Raises AlreadyExists, InvalidArgument (its name goes into addresses and never changes)."""
    draft = Draft(tx)
    name = validation.workspace_name(name)
    id = draft.create(WORKSPACE, name, ontology.GLOBAL, props=settable(WORKSPACE, present(properties)))
    await draft.save()
    return id


@command("updateWorkspace")
async def update_workspace(
    tx: Transaction, *, workspace: str, properties: Mapping[str, Any] = NOTHING, revision: int | None = None
) -> str:
    """Set properties of a workspace, given by name, address or id. Raises NotFound, Conflict, InvalidArgument."""
    id = await find(tx, _address(workspace), "workspace", WORKSPACE.name)
    await tx.update([Update(id, settable(WORKSPACE, properties), revision=revision)])
    return id


async def delete_workspace(op: Operation, *, workspace: str, revision: int | None = None) -> Deleted:
    """Delete an empty workspace, given by name, address or id.

    Raises NotFound, Conflict, PreconditionFailed (something is in it, or it is the default one).
    """

    async def work(tx: Transaction) -> Deleted:
        id = await find(tx, _address(workspace), "workspace", WORKSPACE.name)
        node = (await tx.lock([id]))[id]
        await tx.update([Update(id, revision=revision)])
        if node.name == ontology.DEFAULT_WORKSPACE:
            msg = f"workspace: {node.name!r} is where things go that name no workspace; it stays"
            raise PreconditionFailed(msg, field="workspace")
        await _refuse_full(tx, node)
        left = await _left(tx, node)
        await remove(tx, [node, *left], "workspace")
        return Deleted(node, len(left))

    return await op.write(work, "deleteWorkspace")


async def _refuse_full(tx: Transaction, workspace: Node) -> None:
    """Raises PreconditionFailed, naming kinds and how many of each are in it."""
    counts = []
    for kind in HELD:
        page = await tx.find(kind.name, Prop("workspace", "eq", workspace.name), paging=Paging(1, count=True))
        if page.total:
            counts.append(f"{page.total} {kind.name}")
    if counts:
        msg = f"workspace: {workspace.name!r} is not empty, it has {', '.join(counts)}; delete these first"
        raise PreconditionFailed(msg, field="workspace")


async def _left(tx: Transaction, workspace: Node) -> list[Node]:
    """What is still in a workspace that is empty otherwise."""
    left: list[Node] = []
    for kind in SHARED:
        after, more = None, True
        while more and len(left) <= MAX_PARTS:
            page = await tx.find(kind.name, Prop("workspace", "eq", workspace.name), paging=Paging(500, after))
            left += page.items
            after, more = page.cursors[-1] if page.cursors else None, page.has_next
    return left


def _address(workspace: str) -> str:
    """A workspace's name, address or id, as an address or id."""
    is_name = ":/" not in workspace and not workspace.startswith(f"{WORKSPACE.prefix}_")
    return f"workspaces:/{validation.workspace_name(workspace, field='workspace')}" if is_name else workspace
