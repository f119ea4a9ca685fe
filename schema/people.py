"""Principal and Team."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node

if TYPE_CHECKING:
    from schema.comment import Comment
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
    mentioned_in: Connection[Comment] = edge(ontology.MENTIONS, "IN", "The comments that mention it.")
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
    mentioned_in: Connection[Comment] = edge(ontology.MENTIONS, "IN", "The comments that mention it.")
