"""Principal and Team."""

from __future__ import annotations

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node


@noun(ontology.PRINCIPAL)
class Principal(Node):
    """A person or a service account."""

    type: str | None = prop()
    teams: Connection[Team] = edge(ontology.MEMBER_OF, "OUT", "The teams that it belongs to.")
    owns: Connection[Node] = edge(ontology.OWNED_BY, "IN", "What it answers for.")


@noun(ontology.TEAM)
class Team(Node):
    """A team."""

    members: Connection[Principal] = edge(ontology.MEMBER_OF, "IN", "Who belongs to it.")
    owns: Connection[Node] = edge(ontology.OWNED_BY, "IN", "What it answers for.")
