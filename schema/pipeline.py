"""Pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node

if TYPE_CHECKING:
    from schema.dataset import Dataset
    from schema.facets import RunFacets
    from schema.run import Run


@noun(ontology.PIPELINE)
class Pipeline(Node):
    """A pipeline."""

    uri: str | None = prop()
    runs: Connection[Run] = edge(ontology.RUN_OF, "IN", "Its runs.")
    consumes: Connection[Dataset] = edge(ontology.CONSUMES, "OUT", "The data sets that its runs take data from.")
    produces: Connection[Dataset] = edge(ontology.PRODUCES, "OUT", "The data sets that its runs put data into.")
    open_lineage: RunFacets | None = edge(
        ontology.FACETS_OF, "IN", "What producers of OpenLineage said of it, facet by facet."
    )
