"""Pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node

if TYPE_CHECKING:
    from schema.run import Run


@noun(ontology.PIPELINE)
class Pipeline(Node):
    """A pipeline."""

    uri: str | None = prop()
    runs: Connection[Run] = edge(ontology.RUN_OF, "IN", "Its runs.")
