"""Sharing a model or a data set with another workspace: whoever may read that one may then read it too."""

from __future__ import annotations

from auth.roles import Role
from graph.port import EVERY_RIGHT, EVERYTHING, EdgeMatch, Transaction
from lineal.errors import InvalidArgument, NotFound
from resolvers.writing.command import command
from resolvers.writing.draft import Draft
from resolvers.writing.workspaces import address_of

SHAREABLE = ("Model", "Dataset")


@command("shareWith", needs=Role.OWNER)
async def share_with(tx: Transaction, *, address: str, workspace: str) -> str:
    """Share a model or a data set, with all its parts, with a workspace that one sees; it is the answer.

    Raises NotFound, InvalidArgument (its own workspace).
    """
    draft = Draft(tx)
    node = draft.want(address, "node", *SHAREABLE)
    other = draft.want(address_of(workspace), "workspace", "Workspace")
    await draft.find()
    assert other.node is not None
    if node.workspace == other.node.name:
        msg = f"workspace: {address!r} is in {other.node.name!r}; it is shared with others"
        raise InvalidArgument(msg, field="workspace")
    draft.link("SHARED_WITH", node, other)
    await draft.save()
    return node.id


@command("unshare", needs=Role.OWNER)
async def unshare(tx: Transaction, *, address: str, workspace: str | None = None) -> str:
    """Share it no more with this workspace, or with any, those too that one does not see; it is the answer.

    Raises NotFound (also: it is not shared with that one), InvalidArgument.
    """
    draft = Draft(tx)
    node = draft.want(address, "node", *SHAREABLE)
    other = None if workspace is None else draft.want(address_of(workspace), "workspace", "Workspace")
    await draft.find()
    await tx.lock([node.id])
    if other is None:
        # The lock has made sure that the caller owns it: whom it is shared with is theirs to end, seen or not.
        tx.guard(EVERYTHING, EVERY_RIGHT)
        await tx.unlink([EdgeMatch("SHARED_WITH", node.id)])
    elif not await tx.unlink([EdgeMatch("SHARED_WITH", node.id, other.id)]):
        raise NotFound(f"workspace: {address!r} is not shared with {workspace!r}", field="workspace")
    return node.id
