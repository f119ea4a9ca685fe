"""The GraphQL types of all kinds, in one tuple."""

from __future__ import annotations

from typing import Final

from schema.artifact import Artifact
from schema.code import CodeRevision
from schema.comment import Comment, Notice
from schema.dataset import Dataset, DatasetVersion, Field
from schema.deployment import Deployment, DeploymentEvent, DeploymentRevision, Environment, ServingTarget
from schema.evaluation import Evaluation
from schema.experiment import Experiment
from schema.facets import DatasetFacets, RunFacets
from schema.lifecycle import Approval, Gate, Mark, StageMove, StageScheme, Validation
from schema.model import Model, ModelVersion
from schema.people import Principal, Team
from schema.pipeline import Pipeline
from schema.run import Run
from schema.upload import Upload
from schema.webhook import Webhook
from schema.workspace import Workspace

TYPES: Final = (
    *(
        Artifact,
        CodeRevision,
        Comment,
        Dataset,
        DatasetFacets,
        DatasetVersion,
        Deployment,
        DeploymentEvent,
        DeploymentRevision,
        Environment,
        Evaluation,
    ),
    *(Approval, Gate, Mark, Notice, RunFacets, StageMove, StageScheme, Validation),
    *(
        Experiment,
        Field,
        Model,
        ModelVersion,
        Pipeline,
        Principal,
        Run,
        ServingTarget,
        Team,
        Upload,
        Webhook,
        Workspace,
    ),
)
"""Every kind's type: some are only reached through the interface."""
