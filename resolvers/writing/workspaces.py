"""Workspaces: made, described, and deleted once they are empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from auth.roles import Role
from graph import ontology, validation
from graph.ontology import (
    APPROVAL,
    ARTIFACT,
    CODE_REVISION,
    COMMENT,
    ENVIRONMENT,
    NODE_KINDS,
    SERVING_TARGET,
    STAGE_MOVE,
    UPLOAD,
    WORKSPACE,
)
from graph.port import EVERY_RIGHT, EVERYTHING, Node, Paging, Prop, Transaction, Update
from lineal.errors import PreconditionFailed
from resolvers.operation import Operation
from resolvers.reading import all_found, principal_named
from resolvers.writing.command import command
from resolvers.writing.common import NOTHING, present
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import MAX_PARTS, Deleted, remove
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find

SHARED: Final = (ENVIRONMENT, SERVING_TARGET, ARTIFACT, UPLOAD, CODE_REVISION, STAGE_MOVE, APPROVAL)
"""Kinds that appear when something names them: they keep no workspace alive, and go with it."""

HELD: Final = tuple(k for k in NODE_KINDS.values() if not (k.is_global or k.within or k in (*SHARED, COMMENT)))
"""Kinds that a workspace must be empty of."""


@command("createWorkspace", needs=None)
async def create_workspace(tx: Transaction, *, name: str, properties: Mapping[str, Any] = NOTHING) -> str:
    """Make a workspace, with the principal that makes it as its owner, where there is one.

    Raises AlreadyExists (a workspace has or had the name), InvalidArgument (its name goes into addresses and never
    changes).
    """
    draft = Draft(tx)
    name = validation.workspace_name(name)
    id = draft.create(WORKSPACE, name, ontology.GLOBAL, props=settable(WORKSPACE, present(properties)))
    maker = await principal_named(tx, tx.by)
    if maker is not None:
        draft.link("GRANTS", id, maker.id, Role.OWNER.name)
    await draft.save()
    return id


@command("updateWorkspace", needs=Role.OWNER)
async def update_workspace(
    tx: Transaction, *, workspace: str, properties: Mapping[str, Any] = NOTHING, revision: int | None = None
) -> str:
    """Set properties of a workspace, given by name, address or id. Raises NotFound, Conflict, InvalidArgument."""
    id = await find_workspace(tx, workspace)
    await tx.update([Update(id, settable(WORKSPACE, properties), revision=revision)])
    return id


@command("setQuota", needs=None)
async def set_quota(tx: Transaction, *, workspace: str, bytes: int | None = None) -> str:
    """Set how many bytes a workspace's artifacts may take in storage; None: as many as there is room for.

    Raises NotFound, InvalidArgument.
    """
    id = await find_workspace(tx, workspace)
    await tx.update([Update(id, {"quotaBytes": bytes})])
    return id


async def delete_workspace(op: Operation, *, workspace: str, revision: int | None = None) -> Deleted:
    """Delete an empty workspace, given by name, address or id.

    Raises NotFound, Conflict, PreconditionFailed (something is in it, or it is the default one).
    """

    async def work(tx: Transaction) -> Deleted:
        id = await find_workspace(tx, workspace)
        node = (await tx.lock([id]))[id]
        await tx.update([Update(id, revision=revision)])
        if node.name == ontology.DEFAULT_WORKSPACE:
            msg = f"workspace: {node.name!r} is where things go that name no workspace; it stays"
            raise PreconditionFailed(msg, field="workspace")
        await _refuse_full(tx, node)
        # An owner of the workspace may lack the scopes for some of what is in it.
        narrow = not tx.view.whole
        tx.guard(EVERYTHING, EVERY_RIGHT)
        if await _counts(tx, node):
            msg = f"workspace: {node.name!r} is not empty, it has things that you may not read; delete these first"
            raise PreconditionFailed(msg, field="workspace")
        left = await _left(tx, node)
        try:
            await remove(tx, [node, *left], "workspace")
        except PreconditionFailed:
            if not narrow:
                raise
            # With everything in view, the refusal could name what the caller may not see.
            msg = f"workspace: something in {node.name!r} is still needed elsewhere"
            raise PreconditionFailed(msg, field="workspace") from None
        return Deleted(node, len(left))

    return await op.write(work, "deleteWorkspace", needs=Role.OWNER)


async def _refuse_full(tx: Transaction, workspace: Node) -> None:
    """Raises PreconditionFailed, naming kinds and how many of each are in it."""
    if counts := await _counts(tx, workspace):
        msg = f"workspace: {workspace.name!r} is not empty, it has {', '.join(counts)}; delete these first"
        raise PreconditionFailed(msg, field="workspace")


async def _counts(tx: Transaction, workspace: Node) -> list[str]:
    """How many of each kind are in it, in words."""
    counts = []
    for kind in HELD:
        page = await tx.find(kind.name, Prop("workspace", "eq", workspace.name), paging=Paging(1, count=True))
        if page.total:
            counts.append(f"{page.total} {kind.name}")
    return counts


async def _left(tx: Transaction, workspace: Node) -> list[Node]:
    """What is still in a workspace that is empty otherwise."""
    left: list[Node] = []
    for kind in SHARED:
        async for node in all_found(tx, kind.name, Prop("workspace", "eq", workspace.name)):
            left.append(node)
            if len(left) > MAX_PARTS:
                return left
    return left


async def find_workspace(tx: Transaction, workspace: str, field: str = "workspace") -> str:
    """The id of a workspace, given by name, address or id. Raises NotFound, InvalidArgument."""
    return await find(tx, address_of(workspace, field), field, WORKSPACE.name)


def address_of(workspace: str, field: str = "workspace") -> str:
    """A workspace's name, address or id, as an address or id. Raises InvalidArgument."""
    is_name = ":/" not in workspace and not workspace.startswith(f"{WORKSPACE.prefix}_")
    return f"workspaces:/{validation.workspace_name(workspace, field=field)}" if is_name else workspace
