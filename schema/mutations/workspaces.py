"""Mutations of workspaces."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.writing import workspaces
from schema.mutations.declare import REVISION_DOC, Answer, does, key, may, need, takes, takes_away
from schema.scalars import BigInt
from schema.workspace import Workspace

_WORKSPACE: Final = "The workspace: its name, its id, or an address such as workspaces:/vision."
_ANSWER: Final = Answer("workspace", Workspace, "The workspace, as it now is.")


@takes("A workspace to create.", ontology.WORKSPACE)
class CreateWorkspaceInput:
    name: str = need(
        "Its name: 1 to 63 characters of a-z, 0-9, '.', '-' and '_'. It is part of every address in it and never "
        "changes; that of a workspace that was deleted is refused."
    )
    idempotency_key: str | None = key()


@takes("What to change in a workspace. What is not given stays; null takes away.", ontology.WORKSPACE)
class UpdateWorkspaceInput:
    workspace: strawberry.ID = need(_WORKSPACE)
    revision: int | None = may(REVISION_DOC)


@takes("How much a workspace may keep.")
class SetQuotaInput:
    workspace: strawberry.ID = need(_WORKSPACE)
    bytes: BigInt | None = may(
        "Bytes that its artifacts may take in storage; null for as many as there is room for.", None
    )


@takes("A workspace to delete.")
class DeleteWorkspaceInput:
    workspace: strawberry.ID = need(_WORKSPACE)
    revision: int | None = may(REVISION_DOC)


@strawberry.type(description="Mutations of workspaces.")
class WorkspaceMutations:
    create_workspace = does(
        workspaces.create_workspace,
        CreateWorkspaceInput,
        "Creates a workspace, a team's own part of the registry.",
        _ANSWER,
    )
    update_workspace = does(
        workspaces.update_workspace, UpdateWorkspaceInput, "Changes properties of a workspace.", _ANSWER
    )
    set_quota = does(
        workspaces.set_quota,
        SetQuotaInput,
        "Sets how many bytes a workspace's artifacts may take in storage. For admins alone.",
        _ANSWER,
    )
    delete_workspace = takes_away(
        workspaces.delete_workspace,
        DeleteWorkspaceInput,
        "Deletes an empty workspace, with what only ever appears beside other things: environments, serving targets, "
        "artifacts, code revisions. Refused while anything else is in it. Its name is never given to another one.",
    )
