"""Who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from auth.roles import roles_of
from auth.scopes import SCOPES
from resolvers.activity import principal_of
from schema.context import Info

if TYPE_CHECKING:
    from schema.people import Principal

AnyPrincipal = Annotated["Principal", strawberry.lazy("schema.people")]


@strawberry.type(description="A role that you have in a workspace.")
class ViewerRole:
    """A role."""

    workspace: str = strawberry.field(description="The name of the workspace.")
    role: str = strawberry.field(
        description="VIEWER, CONTRIBUTOR, APPROVER or OWNER; each may do what those before it may."
    )


async def _principal(info: Info) -> AnyPrincipal | None:
    found: Any = await principal_of(info.context.op)
    return found  # type: ignore[no-any-return]


async def _roles(info: Info) -> list[ViewerRole]:
    op = info.context.op
    await op.snapshot()
    found = roles_of(op.caller, op.access)
    info.context.hold(len(found))
    return [ViewerRole(workspace=name, role=found[name].name) for name in sorted(found)]


def _scopes(info: Info) -> list[str]:
    return [scope for scope in SCOPES if info.context.caller.holds(scope)]


@strawberry.type(description="You, as Lineal knows you.")
class Viewer:
    """Whoever asks."""

    name: str = strawberry.field(description="The name that your writes are recorded under.")
    anonymous: bool = strawberry.field(description="Whether you brought no token.")
    teams: list[str] = strawberry.field(description="The names of the teams that your token puts you into.")
    scopes: list[str] = strawberry.field(resolver=_scopes, description="The scopes that you hold.")
    roles: list[ViewerRole] = strawberry.field(
        resolver=_roles, description="Your roles in workspaces, by name, those of your teams among them."
    )
    principal: AnyPrincipal | None = strawberry.field(
        resolver=_principal, description="Your principal; null when you have none."
    )


def _viewer(info: Info) -> Viewer:
    caller = info.context.caller
    return Viewer(name=caller.name, anonymous=caller.anonymous, teams=sorted(caller.teams))


def viewer() -> Any:
    """The field `viewer`."""
    return strawberry.field(resolver=_viewer, description="Who you are, and what you may.")
