"""Run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema import rows
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node
from schema.scalars import DateTime

if TYPE_CHECKING:
    from schema.artifact import Artifact
    from schema.code import CodeRevision
    from schema.dataset import DatasetVersion, Field
    from schema.evaluation import Evaluation
    from schema.experiment import Experiment
    from schema.facets import RunFacets
    from schema.model import ModelVersion
    from schema.pipeline import Pipeline
    from schema.upload import Upload


@noun(ontology.RUN)
class Run(Node):
    """A run."""

    state: str | None = prop()
    started_at: DateTime | None = prop()
    ended_at: DateTime | None = prop()
    uri: str | None = prop()
    params: list[rows.Param] = rows.params()
    metrics: list[rows.Metric] | None = rows.metrics()
    experiment: Experiment | None = edge(ontology.PART_OF, "OUT", "The experiment that it belongs to.")
    parent: Run | None = edge(ontology.PART_OF, "OUT", "The run that started it.")
    children: Connection[Run] = edge(ontology.PART_OF, "IN", "The runs that it started.")
    pipeline: Pipeline | None = edge(ontology.RUN_OF, "OUT", "The pipeline that it is one execution of.")
    open_lineage: RunFacets | None = edge(
        ontology.FACETS_OF, "IN", "What producers of OpenLineage said of it, facet by facet."
    )
    reads: Connection[DatasetVersion] = edge(
        ontology.READ, "OUT", "The data that it read; the role is the edge's discriminator."
    )
    reads_models: Connection[ModelVersion] = edge(
        ontology.READ, "OUT", "The model versions that it read; the role is the edge's discriminator."
    )
    reads_fields: Connection[Field] = edge(
        ontology.READ, "OUT", "The columns or features that it read; the role is the edge's discriminator."
    )
    model_versions: Connection[ModelVersion] = edge(ontology.PRODUCED_BY, "IN", "The model versions that it made.")
    dataset_versions: Connection[DatasetVersion] = edge(ontology.PRODUCED_BY, "IN", "The data that it made.")
    evaluations: Connection[Evaluation] = edge(ontology.PRODUCED_BY, "IN", "The evaluations that it made.")
    built_from: Connection[CodeRevision] = edge(ontology.BUILT_FROM, "OUT", "The code that it ran.")
    uploads: Connection[Upload] = edge(ontology.UPLOAD_TO, "IN", "Files on their way to it.")
    artifacts: Connection[Artifact] = edge(
        ontology.HAS_ARTIFACT, "OUT", "Its files; the name is the edge's discriminator."
    )
