"""The schema, built once, and its committed text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from strawberry.schema.config import StrawberryConfig

from schema.artifact import Artifact
from schema.code import CodeRevision
from schema.comment import Comment, Notice
from schema.dataset import Dataset, DatasetVersion, Field
from schema.deployment import Deployment, DeploymentEvent, DeploymentRevision, Environment, ServingTarget
from schema.directives import SCOPE, RequiresScopes, Scope
from schema.evaluation import Evaluation
from schema.executing import LinealSchema
from schema.experiment import Experiment
from schema.facets import DatasetFacets, RunFacets
from schema.lifecycle import Approval, Gate, Mark, StageMove, StageScheme, Validation
from schema.limits import Limits
from schema.model import Model, ModelVersion
from schema.mutations import Mutation
from schema.people import Principal, Team
from schema.pipeline import Pipeline
from schema.query import Query
from schema.run import Run
from schema.scalars import SCALARS
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

COMMITTED: Final = Path(__file__).with_name("lineal.graphql")
"""The SDL as it is committed; `lineal schema` prints it anew."""


def build_schema(limits: Limits = Limits(), *, open_schema: bool = False) -> LinealSchema:
    """The schema with these limits, built once; with `open_schema` anybody may read it by introspection.

    Raises Internal: types, ontology and the table of scopes disagree.
    """
    return _build(limits, open_schema)


@cache
def _build(limits: Limits, open_schema: bool) -> LinealSchema:
    return LinealSchema(
        limits=limits,
        open_schema=open_schema,
        query=Query,
        mutation=Mutation,
        types=(*TYPES, RequiresScopes),
        config=StrawberryConfig(scalar_map={**SCALARS, Scope: SCOPE}, disable_field_suggestions=True),
    )


def print_sdl() -> str:
    """The schema in the GraphQL schema language."""
    return build_schema().as_str().rstrip() + "\n"
