"""Roles in workspaces, and what a caller may see and change because of them.

Roles decide rows, scopes decide columns; both must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from auth.caller import Caller
from auth.scopes import readable_kinds, writable_kinds
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


def is_active(principal: Node) -> bool:
    """Whether a principal may act: it was not deactivated. Teams may."""
    return principal.props.get("active") is not False


def check_active(caller: Caller, access: Access) -> None:
    """Raises Unauthenticated: the caller has been deactivated."""
    if access.principal is not None and not is_active(access.principal):
        raise Unauthenticated(f"the principal {caller.name!r} is deactivated")


def roles_of(caller: Caller, access: Access) -> Mapping[str, Role]:
    """The highest role in each workspace where the caller has one. An admin has OWNER wherever it is asked for."""
    roles: dict[str, Role] = {}
    for workspace, name in access.roles:
        roles[workspace] = max(Role[name], roles.get(workspace, Role.VIEWER))
    for workspace in caller.workspaces or ():
        roles[workspace] = Role.OWNER
    return roles


def view_of(caller: Caller, access: Access) -> View:
    """What the caller may see: the workspaces of their roles, internal and public ones, and what is shared with those.

    Kinds that their scopes do not open are hidden whatever the workspace.
    """
    kinds = None if caller.admin else readable_kinds(caller.scopes)
    if caller.admin or caller.workspaces is None:
        return View(kinds=kinds)
    open_to = {PUBLIC} if caller.anonymous else {PUBLIC, INTERNAL}
    readable = {name for name, visibility in access.visibility.items() if visibility in open_to}
    if not caller.anonymous:
        readable |= roles_of(caller, access).keys()
    shared = frozenset(container for container, workspace in access.shared if workspace in readable)
    return View(frozenset(readable), shared, kinds, access.opaque - readable)


def rights_of(caller: Caller, access: Access, needed: Role | None) -> Rights:
    """What the caller may change in a write that needs this role.

    Without a needed role the write is not held to workspaces, only to what the caller sees, and to kinds.
    """
    kinds, scopes = (None, None) if caller.admin else (writable_kinds(caller.scopes), caller.scopes)
    if needed is None or caller.admin or caller.workspaces is None:
        return Rights(kinds=kinds, scopes=scopes)
    held = {name for name, role in roles_of(caller, access).items() if role >= needed}
    return Rights(frozenset(held), kinds, needed.name, scopes)
