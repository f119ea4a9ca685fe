"""RunFacets and DatasetFacets: what producers of OpenLineage said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.declare import edge, noun, prop
from schema.node import Node
from schema.scalars import JSON

if TYPE_CHECKING:
    from schema.dataset import Dataset
    from schema.pipeline import Pipeline
    from schema.run import Run


@noun(ontology.RUN_FACETS)
class RunFacets(Node):
    """The facets of a run or a job."""

    facets: JSON | None = prop()
    run: Run | None = edge(ontology.FACETS_OF, "OUT", "The run that they are of.")
    pipeline: Pipeline | None = edge(ontology.FACETS_OF, "OUT", "The job that they are of.")


@noun(ontology.DATASET_FACETS)
class DatasetFacets(Node):
    """The facets of a data set."""

    facets: JSON | None = prop()
    dataset: Dataset | None = edge(ontology.FACETS_OF, "OUT", "The data set that they are of.")
