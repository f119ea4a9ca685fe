"""Model and ModelVersion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema import rows
from schema.connection import Connection, Page
from schema.declare import edge, noun, prop
from schema.history import Moment, history
from schema.node import Node
from schema.scalars import JSON, BigInt, DateTime

if TYPE_CHECKING:
    from schema.artifact import Artifact
    from schema.code import CodeRevision
    from schema.comment import Notice
    from schema.dataset import DatasetVersion, Field
    from schema.deployment import Deployment, DeploymentRevision
    from schema.evaluation import Evaluation
    from schema.lifecycle import Approval, StageMove, Validation
    from schema.run import Run
    from schema.upload import Upload
    from schema.workspace import Workspace


@noun(ontology.MODEL)
class Model(Node):
    """A model."""

    task: str | None = prop()
    stage_scheme: str | None = prop()
    deprecated_at: DateTime | None = prop()
    deprecation_reason: str | None = prop()
    versions: Connection[ModelVersion] = edge(ontology.VERSION_OF, "IN", "Its versions.")
    aliases: Connection[ModelVersion] = edge(
        ontology.ALIAS, "OUT", "The versions that its aliases point to; the alias is the edge's discriminator."
    )
    stages: Connection[ModelVersion] = edge(
        ontology.STAGE, "OUT", "The versions that are in a stage; the stage is the edge's discriminator."
    )
    shared_with: Connection[Workspace] = edge(ontology.SHARED_WITH, "OUT", "The other workspaces that may read it.")
    superseded_by: Connection[Model] = edge(ontology.SUPERSEDED_BY, "OUT", "The models to use instead.")
    supersedes: Connection[Model] = edge(ontology.SUPERSEDED_BY, "IN", "The models that it is to be used instead of.")
    caused_notices: Connection[Notice] = edge(ontology.BECAUSE_OF, "IN", "What people were told because of it.")
    history: Page[Moment] | None = history("How its aliases and stages moved, the latest first.")


@noun(ontology.MODEL_VERSION)
class ModelVersion(Node):
    """A version of a model."""

    number: int = prop()
    state: str | None = prop()
    formats: list[str] | None = prop()
    signature: JSON | None = prop()
    frameworks: list[str] = prop(absent=())
    license: str | None = prop()
    parameter_count: BigInt | None = prop()
    size_bytes: BigInt | None = prop()
    released_at: DateTime | None = prop()
    uri: str | None = prop()
    source: str | None = prop()
    run_id: str | None = prop()
    run_link: str | None = prop()
    logged_model: str | None = prop()
    deprecated_at: DateTime | None = prop()
    deprecation_reason: str | None = prop()
    retired_at: DateTime | None = prop()
    enrichment: str | None = prop()
    enrichment_message: str | None = prop()
    enrichment_due: DateTime | None = prop()
    enriched_at: DateTime | None = prop()
    params: list[rows.Param] = rows.params()
    metrics: list[rows.Metric] | None = rows.metrics()
    model: Model | None = edge(ontology.VERSION_OF, "OUT", "The model that it is a version of.")
    run: Run | None = edge(ontology.PRODUCED_BY, "OUT", "The run that made it.")
    derived_from: Connection[ModelVersion] = edge(
        ontology.DERIVED_FROM, "OUT", "The versions that it was made from; how is the edge's discriminator."
    )
    derivatives: Connection[ModelVersion] = edge(
        ontology.DERIVED_FROM, "IN", "The versions made from it; how is the edge's discriminator."
    )
    trained_on: Connection[DatasetVersion] = edge(
        ontology.TRAINED_ON,
        "OUT",
        "What it learned from, as far as no run is known; the split is the edge's discriminator.",
    )
    uses: Connection[Field] = edge(ontology.USES, "OUT", "The features that it takes as input.")
    built_from: Connection[CodeRevision] = edge(ontology.BUILT_FROM, "OUT", "The code that made it.")
    evaluations: Connection[Evaluation] = edge(ontology.EVALUATES, "IN", "The evaluations of it.")
    read_by: Connection[Run] = edge(ontology.READ, "IN", "The runs that read it; the role is the edge's discriminator.")
    deployments: Connection[Deployment] = edge(ontology.SERVES, "IN", "The deployments that serve it now.")
    revisions: Connection[DeploymentRevision] = edge(
        ontology.SPECIFIES, "IN", "The deployment revisions that asked for it."
    )
    uploads: Connection[Upload] = edge(ontology.UPLOAD_TO, "IN", "Files on their way to it.")
    artifacts: Connection[Artifact] = edge(
        ontology.HAS_ARTIFACT, "OUT", "Its files; the name is the edge's discriminator."
    )
    moves: Connection[StageMove] = edge(ontology.MOVED, "IN", "How it moved between stages.")
    approvals: Connection[Approval] = edge(ontology.REQUESTS, "IN", "The approvals that were asked for it.")
    validations: Connection[Validation] = edge(ontology.VALIDATES, "IN", "The validations of it.")
    aliases: list[str] = edge(ontology.ALIAS, "IN", "The aliases that point to it.")
    stage: str | None = edge(ontology.STAGE, "IN", "The stage that it is in.")
    superseded_by: Connection[ModelVersion] = edge(ontology.SUPERSEDED_BY, "OUT", "The versions to use instead.")
    supersedes: Connection[ModelVersion] = edge(
        ontology.SUPERSEDED_BY, "IN", "The versions that it is to be used instead of."
    )
    caused_notices: Connection[Notice] = edge(ontology.BECAUSE_OF, "IN", "What people were told because of it.")
    history: Page[Moment] | None = history("Which aliases pointed to it and which stages it was in, the latest first.")
