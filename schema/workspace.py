"""Workspace."""

from __future__ import annotations

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node


@noun(ontology.WORKSPACE)
class Workspace(Node):
    """A workspace."""

    visibility: str = prop(absent="PRIVATE")
    lineage: str = prop(absent="TRANSPARENT")
    members: Connection[Node] = edge(
        ontology.GRANTS, "OUT", "The principals and teams that have a role in it; the role is the edge's discriminator."
    )
    shared: Connection[Node] = edge(
        ontology.SHARED_WITH, "IN", "The models and data sets of other workspaces that are shared with it."
    )
