"""Artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node
from schema.scalars import BigInt

if TYPE_CHECKING:
    from schema.dataset import DatasetVersion
    from schema.evaluation import Evaluation
    from schema.model import ModelVersion
    from schema.run import Run


@noun(ontology.ARTIFACT)
class Artifact(Node):
    """Files."""

    uri: str | None = prop()
    digest: str | None = prop()
    size_bytes: BigInt | None = prop()
    media_type: str | None = prop()
    model_versions: Connection[ModelVersion] = edge(ontology.HAS_ARTIFACT, "IN", "The model versions that have it.")
    dataset_versions: Connection[DatasetVersion] = edge(ontology.HAS_ARTIFACT, "IN", "The data that has it.")
    runs: Connection[Run] = edge(ontology.HAS_ARTIFACT, "IN", "The runs that have it.")
    evaluations: Connection[Evaluation] = edge(ontology.HAS_ARTIFACT, "IN", "The evaluations that have it.")
