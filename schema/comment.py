"""Comment."""

from __future__ import annotations

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node


@noun(ontology.NOTICE)
class Notice(Node):
    """A notice."""

    type: str = prop()
    text: str = prop()
    concerns: Node | None = edge(ontology.CONCERNS, "OUT", "What it is about.")
    because_of: Node | None = edge(
        ontology.BECAUSE_OF, "OUT", "What happened somewhere else that made it a notice; null where you may not see it."
    )
    notifies: Connection[Node] = edge(ontology.NOTIFIES, "OUT", "Who was told.")


@noun(ontology.COMMENT)
class Comment(Node):
    """A comment."""

    text: str = prop()
    about: Node | None = edge(ontology.ABOUT, "OUT", "What it is about.")
    mentions: Connection[Node] = edge(ontology.MENTIONS, "OUT", "The principals and teams that it mentions.")
