"""Workspace."""

from __future__ import annotations

from graph import ontology
from schema.declare import noun
from schema.node import Node


@noun(ontology.WORKSPACE)
class Workspace(Node):
    """A workspace."""
