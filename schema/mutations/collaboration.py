"""Mutations of members, sharing, people, comments and watches."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.writing import comments, members, people, sharing, watching
from schema.comment import Comment
from schema.enums import PrincipalType, WorkspaceRole
from schema.mutations.declare import Answer, Noun, deletes, does, key, many, may, need, renames, takes
from schema.node import Node
from schema.people import Principal, Team
from schema.workspace import Workspace

PRINCIPAL: Final = Noun(ontology.PRINCIPAL, Principal, "principal", "principal", "principals:/corp%3Aann")
TEAM: Final = Noun(ontology.TEAM, Team, "team", "team", "teams:/search")
COMMENT: Final = Noun(ontology.COMMENT, Comment, "comment", "comment", "comments:/co_…")

_WORKSPACE: Final = "The workspace: its name, its id, or an address such as workspaces:/vision."
_MEMBER: Final = "A principal or a team: an id, or an address such as principals:/corp%3Aann or teams:/search."
_SHARED: Final = "The model or data set: an id, or an address such as models:/name."
_NODE: Final = "Anything: an id, or an address such as models:/name/3."
_TEXT: Final = (
    f"What to say, in Markdown, at most {comments.MAX_COMMENT} characters. @name mentions a principal or team."
)
_AS_IT_IS: Final = Answer("workspace", Workspace, "The workspace, as it now is.")
_IT: Final = Answer("node", Node, "What it was done to, as it now is.")


@takes("A role to give in a workspace, in the place of the one that somebody has.")
class GrantRoleInput:
    workspace: strawberry.ID = need(_WORKSPACE)
    to: strawberry.ID = need(_MEMBER)
    role: WorkspaceRole = need("The role.")
    idempotency_key: str | None = key()


@takes("A role to take away in a workspace.")
class RevokeRoleInput:
    workspace: strawberry.ID = need(_WORKSPACE)
    member: strawberry.ID = need(_MEMBER, "from")


@takes("A workspace to share a model or a data set with.")
class ShareWithInput:
    address: strawberry.ID = need(_SHARED, "node")
    workspace: strawberry.ID = need("The other " + _WORKSPACE[4:])


@takes("A workspace to share a model or a data set with no more.")
class UnshareInput:
    address: strawberry.ID = need(_SHARED, "node")
    workspace: strawberry.ID | None = may("The other workspace; all of them unless given.", None)


@takes("A principal to register before its first token.")
class RegisterPrincipalInput:
    name: str = need("Its name: the issuer's short name and the subject of its tokens, as in corp:ann.")
    type: PrincipalType = may("Whether it is a person or a service account.", PrincipalType("USER"))
    display_name: str | None = may("What people call it.", None)
    idempotency_key: str | None = key()


@takes("A principal.")
class DeactivatePrincipalInput:
    address: strawberry.ID = PRINCIPAL.address


@takes("A principal.")
class ReactivatePrincipalInput:
    address: strawberry.ID = PRINCIPAL.address


@takes("A team to create.")
class CreateTeamInput:
    name: str = need("Its name.")
    idempotency_key: str | None = key()


@takes("Principals to put into a team.")
class AddTeamMembersInput:
    address: strawberry.ID = TEAM.address
    members: list[strawberry.ID] = need("The principals: ids or addresses.")


@takes("Principals to take out of a team.")
class RemoveTeamMembersInput:
    address: strawberry.ID = TEAM.address
    members: list[strawberry.ID] = need("The principals: ids or addresses.")


@takes("Who answers for a service account.")
class SetActsForInput:
    address: strawberry.ID = PRINCIPAL.address
    people: list[strawberry.ID] = need(
        f"All of them, at most {people.MAX_PEOPLE}: ids, or addresses such as principals:/ann."
    )


@takes("Something to say about something.")
class AddCommentInput:
    about: strawberry.ID = need(_NODE + " About a comment, it is a reply.")
    text: str = need(_TEXT)
    idempotency_key: str | None = key()


@takes("Other words for a comment of yours.")
class UpdateCommentInput:
    address: strawberry.ID = COMMENT.address
    text: str = need(_TEXT)


@takes("Something to be notified of.")
class WatchInput:
    address: strawberry.ID = need(_NODE + " A model or another container stands for its parts too.", "node")


@takes("Something to be notified of no more.")
class UnwatchInput:
    address: strawberry.ID = need(_NODE, "node")


@takes("Notifications that you have read.")
class MarkNotificationsReadInput:
    ids: list[strawberry.ID] = many(f"These, at most {watching.MAX_SINGLE}.")
    up_to: strawberry.ID | None = may("This one and all that are older.", None)


@strawberry.type(description="Mutations of members, sharing, people, comments and watches.")
class CollaborationMutations:
    grant_role = does(
        members.grant_role, GrantRoleInput, "Gives a principal or a team a role in a workspace.", _AS_IT_IS
    )
    revoke_role = does(
        members.revoke_role, RevokeRoleInput, "Takes the role in a workspace from a principal or a team.", _AS_IT_IS
    )
    share_with = does(
        sharing.share_with,
        ShareWithInput,
        "Lets whoever may read another workspace read this model or data set with all its parts.",
        _IT,
    )
    unshare = does(sharing.unshare, UnshareInput, "Takes a sharing back.", _IT)
    register_principal = does(
        people.register_principal,
        RegisterPrincipalInput,
        "Registers a person or a service account before its first token.",
        PRINCIPAL.answer,
    )
    deactivate_principal = does(
        people.deactivate_principal,
        DeactivatePrincipalInput,
        "Lets no token of a principal open anything, from the next request on.",
        PRINCIPAL.answer,
    )
    reactivate_principal = does(
        people.reactivate_principal, ReactivatePrincipalInput, "Lets a principal in again.", PRINCIPAL.answer
    )
    set_acts_for = does(
        people.set_acts_for,
        SetActsForInput,
        "Says which people answer for a service account. What it does counts as done by them where four eyes are asked "
        "for.",
        PRINCIPAL.answer,
    )
    create_team = does(people.create_team, CreateTeamInput, "Creates a team.", TEAM.answer)
    rename_team = renames(people.rename_team, TEAM)
    delete_team = deletes(people.delete_team, TEAM)
    add_team_members = does(people.add_team_members, AddTeamMembersInput, "Puts principals into a team.", TEAM.answer)
    remove_team_members = does(
        people.remove_team_members, RemoveTeamMembersInput, "Takes principals out of a team.", TEAM.answer
    )
    add_comment = does(comments.add_comment, AddCommentInput, "Says something about something.", COMMENT.answer)
    update_comment = does(
        comments.update_comment, UpdateCommentInput, "Says in other words what you said.", COMMENT.answer
    )
    delete_comment = deletes(comments.delete_comment, COMMENT, "replies")
    watch = does(watching.watch, WatchInput, "Has you notified of what happens to something.", _IT)
    unwatch = does(watching.unwatch, UnwatchInput, "Has you notified no more.", _IT)
    mark_notifications_read = does(
        watching.mark_notifications_read, MarkNotificationsReadInput, "Takes notifications for read.", PRINCIPAL.answer
    )
