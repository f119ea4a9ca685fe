"""Workspace."""

from __future__ import annotations

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node
from schema.scalars import BigInt


@noun(ontology.WORKSPACE)
class Workspace(Node):
    """A workspace."""

    visibility: str = prop(absent="PRIVATE")
    lineage: str = prop(absent="TRANSPARENT")
    quota_bytes: BigInt | None = prop()
    pickle_policy: str = prop(absent="ALLOW")
    signature_policy: str = prop(absent="OPTIONAL")
    retention_days: BigInt | None = prop()
    stage_scheme: str | None = prop()
    members: Connection[Node] = edge(
        ontology.GRANTS, "OUT", "The principals and teams that have a role in it; the role is the edge's discriminator."
    )
    shared: Connection[Node] = edge(
        ontology.SHARED_WITH, "IN", "The models and data sets of other workspaces that are shared with it."
    )
