"""Evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema import rows
from schema.connection import Connection
from schema.declare import edge, noun
from schema.node import Node

if TYPE_CHECKING:
    from schema.artifact import Artifact
    from schema.dataset import DatasetVersion
    from schema.lifecycle import Validation
    from schema.model import ModelVersion
    from schema.run import Run
    from schema.upload import Upload


@noun(ontology.EVALUATION)
class Evaluation(Node):
    """An evaluation."""

    params: list[rows.Param] = rows.params()
    metrics: list[rows.Metric] | None = rows.metrics()
    slices: list[rows.EvaluationSlice] | None = rows.slices()
    evaluates: Connection[ModelVersion] = edge(ontology.EVALUATES, "OUT", "The model versions whose metrics these are.")
    evaluated_on: Connection[DatasetVersion] = edge(
        ontology.EVALUATED_ON, "OUT", "The data that the metrics were measured on."
    )
    run: Run | None = edge(ontology.PRODUCED_BY, "OUT", "The run that made it.")
    validation: Validation | None = edge(ontology.REPORTED, "IN", "The validation that it came of.")
    uploads: Connection[Upload] = edge(ontology.UPLOAD_TO, "IN", "Files on their way to it.")
    artifacts: Connection[Artifact] = edge(
        ontology.HAS_ARTIFACT, "OUT", "Its files; the name is the edge's discriminator."
    )
