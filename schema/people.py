"""Principal and Team."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node

if TYPE_CHECKING:
    from schema.comment import Comment, Notice
    from schema.lifecycle import Approval
    from schema.workspace import Workspace


@noun(ontology.PRINCIPAL)
class Principal(Node):
    """A person or a service account."""

    type: str | None = prop()
    display_name: str | None = prop()
    user_name: str | None = prop()
    active: bool = prop(absent=True)
    external_id: str | None = prop()
    teams: Connection[Team] = edge(ontology.MEMBER_OF, "OUT", "The teams that it belongs to.")
    owns: Connection[Node] = edge(ontology.OWNED_BY, "IN", "What it answers for.")
    workspaces: Connection[Workspace] = edge(
        ontology.GRANTS, "IN", "The workspaces that it has a role in by itself; the role is the edge's discriminator."
    )
    notified_of: Connection[Notice] = edge(ontology.NOTIFIES, "IN", "What it was told.")
    mentioned_in: Connection[Comment] = edge(ontology.MENTIONS, "IN", "The comments that mention it.")
    acts_for: Connection[Principal] = edge(
        ontology.ACTS_FOR, "OUT", "The people who answer for it, where it is a service account."
    )
    service_accounts: Connection[Principal] = edge(ontology.ACTS_FOR, "IN", "The service accounts that it answers for.")
    reviews: Connection[Approval] = edge(ontology.REVIEWER, "IN", "The approvals that it is asked to decide.")
    decided: Connection[Approval] = edge(ontology.DECIDED_BY, "IN", "The approvals that it decided.")
    watches: Connection[Node] = edge(ontology.WATCHES, "OUT", "What it watches.")


@noun(ontology.TEAM)
class Team(Node):
    """A team."""

    external_id: str | None = prop()
    members: Connection[Principal] = edge(ontology.MEMBER_OF, "IN", "Who belongs to it.")
    owns: Connection[Node] = edge(ontology.OWNED_BY, "IN", "What it answers for.")
    workspaces: Connection[Workspace] = edge(
        ontology.GRANTS, "IN", "The workspaces that it has a role in; the role is the edge's discriminator."
    )
    reviews: Connection[Approval] = edge(ontology.REVIEWER, "IN", "The approvals that it is asked to decide.")
    notified_of: Connection[Notice] = edge(ontology.NOTIFIES, "IN", "What it was told.")
    mentioned_in: Connection[Comment] = edge(ontology.MENTIONS, "IN", "The comments that mention it.")
