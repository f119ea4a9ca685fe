"""Who has which role in a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from auth.roles import Role, is_active
from graph.port import EVERY_RIGHT, EVERYTHING, EdgeMatch, Hop, Link, NewEdge, Node, Transaction
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


async def owned_by(tx: Transaction, id: str) -> list[str]:
    """The workspaces that a principal or a team owns by itself, whether they show or not."""
    view = tx.view
    tx.show(EVERYTHING)
    try:
        links = (await all_links(tx, [id], Hop("GRANTS", "IN"))).get(id, [])
    finally:
        tx.show(view)
    return [link.node.id for link in links if link.edge.discriminator == Role.OWNER.name]


async def check_owned(tx: Transaction, workspaces: Sequence[str], field: str) -> None:
    """The last thing that a write does: make sure that these workspaces have an owner, now that it is done.

    A team counts, since its members may come from tokens. Raises PreconditionFailed, naming those that show.
    """
    if not workspaces:
        return
    view = tx.view
    tx.guard(EVERYTHING, EVERY_RIGHT)
    places = await tx.lock(workspaces)
    grants = await all_links(tx, workspaces, Hop("GRANTS", "OUT"))
    left = [id for id in workspaces if not any(map(_is_owner, grants.get(id, ())))]
    if left:
        names = sorted(repr(places[id].name) for id in left if view.shows(places[id]))
        hidden = len(left) - len(names)
        shown = ", ".join([*names[:10], *(["workspaces that you may not see"] if hidden else [])])
        msg = f"{field}: is the last owner of {shown}; make somebody else an owner first"
        raise PreconditionFailed(msg, field=field)


def _is_owner(link: Link) -> bool:
    return link.edge.discriminator == Role.OWNER.name and is_active(link.node)


def _keep_an_owner(links: dict[str, Link], without: Link, field: str) -> None:
    """Raises PreconditionFailed: nobody else could act as an owner."""
    owners = {id for id, link in links.items() if _is_owner(link)}
    if owners == {without.node.id}:
        msg = f"{field}: {without.node.name!r} is the last owner of the workspace; make somebody else an owner first"
        raise PreconditionFailed(msg, field=field)
