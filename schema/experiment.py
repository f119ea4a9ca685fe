"""Experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun
from schema.node import Node

if TYPE_CHECKING:
    from schema.run import Run


@noun(ontology.EXPERIMENT)
class Experiment(Node):
    """An experiment."""

    runs: Connection[Run] = edge(ontology.PART_OF, "IN", "Its runs.")
