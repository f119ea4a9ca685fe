"""Who has which role in a workspace."""

from __future__ import annotations

from typing import Final

from auth.roles import Role, is_active
from graph.port import EdgeMatch, Hop, Link, NewEdge, Node, Transaction
from lineal.errors import InvalidArgument, NotFound, PreconditionFailed
from resolvers.reading import all_links
from resolvers.writing.command import command
from resolvers.writing.draft import Draft
from resolvers.writing.workspaces import address_of

MAX_MEMBERS: Final = 10_000
"""Principals and teams that have a role in one workspace."""


@command("grantRole", needs=Role.OWNER)
async def grant_role(tx: Transaction, *, workspace: str, to: str, role: str) -> str:
    """Give a principal or a team a role in a workspace, in place of the one it has; the workspace is the answer.

    Raises NotFound, InvalidArgument, PreconditionFailed (the principal is deactivated, the workspace would have no
    owner, or has 10,000 members).
    """
    if role not in Role.__members__:
        raise InvalidArgument(f"role: must be one of {', '.join(Role.__members__)}, not {role!r:.80}", field="role")
    id, member, links = await _found(tx, workspace, to, "to")
    if not is_active(member):
        raise PreconditionFailed(f"to: the principal {member.name!r} is deactivated", field="to")
    before = links.get(member.id)
    if before is not None and before.edge.discriminator == role:
        return id
    if before is None and len(links) >= MAX_MEMBERS:
        raise PreconditionFailed(f"workspace: has {MAX_MEMBERS} members already; give teams roles", field="workspace")
    if before is not None:
        _keep_an_owner(links, before, "role")
        await tx.unlink([EdgeMatch("GRANTS", id, member.id)])
    await tx.link([NewEdge("GRANTS", id, member.id, role)])
    return id


@command("revokeRole", needs=Role.OWNER)
async def revoke_role(tx: Transaction, *, workspace: str, member: str) -> str:
    """Take the role in a workspace from a principal or a team; the workspace is the answer.

    Raises NotFound (also: it has none), InvalidArgument, PreconditionFailed (the workspace would have no owner).
    """
    id, node, links = await _found(tx, workspace, member, "from")
    if node.id not in links:
        raise NotFound(f"from: {member!r} has no role in {workspace!r}", field="from")
    _keep_an_owner(links, links[node.id], "from")
    await tx.unlink([EdgeMatch("GRANTS", id, node.id)])
    return id


async def _found(tx: Transaction, workspace: str, member: str, field: str) -> tuple[str, Node, dict[str, Link]]:
    """The workspace, locked, the principal or team, and who has a role there. Raises NotFound, InvalidArgument."""
    draft = Draft(tx)
    place = draft.want(address_of(workspace), "workspace", "Workspace")
    who = draft.want(member, field, "Principal", "Team")
    await draft.find()
    assert who.node is not None
    await tx.lock([place.id])
    links = (await all_links(tx, [place.id], Hop("GRANTS", "OUT"))).get(place.id, [])
    return place.id, who.node, {link.node.id: link for link in links}


def _keep_an_owner(links: dict[str, Link], without: Link, field: str) -> None:
    """Raises PreconditionFailed: nobody else could act as an owner."""
    owners = {id for id, link in links.items() if link.edge.discriminator == Role.OWNER.name and is_active(link.node)}
    if owners == {without.node.id}:
        msg = f"{field}: {without.node.name!r} is the last owner of the workspace; make somebody else an owner first"
        raise PreconditionFailed(msg, field=field)
