"""Roles in workspaces, and what a caller may see and change because of them.

Roles decide rows, scopes decide columns; both must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from auth.caller import Caller
from auth.scopes import readable_kinds, writable_kinds
from graph.ontology import GLOBAL, PRINCIPAL, TEAM, WORKSPACE
from graph.port import Access, Node, Rights, View
from lineal.errors import Unauthenticated


class Role(IntEnum):
    """What somebody is in a workspace; each may do all that those before it may."""

    VIEWER = 1
    CONTRIBUTOR = 2
    APPROVER = 3
    OWNER = 4


PUBLIC: Final = "PUBLIC"
INTERNAL: Final = "INTERNAL"
OF_NO_WORKSPACE: Final = frozenset({PRINCIPAL.name, TEAM.name})


def is_active(principal: Node) -> bool:
    """Whether a principal may act: it was not deactivated. Teams may."""
    return principal.props.get("active") is not False


def check_active(caller: Caller, access: Access) -> None:
    """Raises Unauthenticated: the caller has been deactivated."""
    if access.principal is not None and not is_active(access.principal):
        raise Unauthenticated(f"the principal {caller.name!r} is deactivated")


def roles_of(caller: Caller, access: Access) -> Mapping[str, Role]:
    """The highest role in each workspace where the caller has one. An admin has OWNER wherever it is asked for.

    A bounded token has none but its own: what its holder was given elsewhere does not count.
    """
    roles: dict[str, Role] = {}
    for workspace, name in () if caller.bounded else access.roles:
        roles[workspace] = max(Role[name], roles.get(workspace, Role.VIEWER))
    for workspace in caller.workspaces or ():
        roles[workspace] = Role.OWNER
    return roles


def view_of(caller: Caller, access: Access) -> View:
    """What the caller may see: the workspaces of their roles, internal and public ones, and what is shared with those.

    Kinds that their scopes do not open are hidden whatever the workspace. Those without a token see public
    workspaces and nothing that is of none: no people and no teams. A bounded token sees its own workspaces alone.
    """
    kinds = None if caller.admin else readable_kinds(caller.scopes)
    if kinds is not None and caller.anonymous:
        kinds -= OF_NO_WORKSPACE
    if caller.admin or caller.workspaces is None:
        return View(kinds=kinds)
    open_to = set[str]() if caller.bounded else {PUBLIC} if caller.anonymous else {PUBLIC, INTERNAL}
    readable = {name for name, visibility in access.visibility.items() if visibility in open_to}
    if not caller.anonymous:
        readable |= roles_of(caller, access).keys()
    shared = frozenset(container for container, workspace in access.shared if workspace in readable)
    return View(frozenset(readable), shared, kinds, access.opaque - readable)


def rights_of(caller: Caller, access: Access, needed: Role | None) -> Rights:
    """What the caller may change in a write that needs this role.

    Without a needed role the write is not held to workspaces, only to what the caller sees, and to kinds; that of
    a bounded token stays in its workspaces all the same, and makes no other.
    """
    kinds, scopes = (None, None) if caller.admin else (writable_kinds(caller.scopes), caller.scopes)
    if needed is None and kinds is not None and caller.bounded:
        return Rights(
            frozenset({GLOBAL, *(caller.workspaces or ())}), kinds - {WORKSPACE.name}, Role.OWNER.name, scopes
        )
    if needed is None or caller.admin or caller.workspaces is None:
        return Rights(kinds=kinds, scopes=scopes)
    held = {name for name, role in roles_of(caller, access).items() if role >= needed}
    return Rights(frozenset(held), kinds, needed.name, scopes)
