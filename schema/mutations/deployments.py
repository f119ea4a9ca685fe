"""Mutations of deployments."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.writing import deployments
from schema.deployment import Deployment
from schema.mutations.declare import (
    REVISION_DOC,
    WORKSPACE_DOC,
    Noun,
    deletes,
    does,
    key,
    many,
    may,
    need,
    renames,
    takes,
)
from schema.mutations.inputs import ServedInput, TagInput

DEPLOYMENT: Final = Noun(ontology.DEPLOYMENT, Deployment, "deployment", "deployment", "deployments:/name")

_ENVIRONMENT: Final = (
    "The environment it belongs to: an id, or an address such as environments:/production. Made if unknown."
)
_TARGET: Final = "The platform it runs on: an id, or an address such as targets:/name. Made if unknown."


@takes("A deployment to record.", ontology.DEPLOYMENT)
class RecordDeploymentInput:
    name: str = need("Its name, unique among the deployments of the workspace.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    environment: strawberry.ID | None = may(_ENVIRONMENT)
    target: strawberry.ID | None = may(_TARGET)
    serves: list[ServedInput] = many("The model versions that it serves; their weights come to at most 1.")
    tags: list[TagInput] = many("Its tags.")
    idempotency_key: str | None = key()


@takes("What to change in a deployment. What is not given stays; null takes away.", ontology.DEPLOYMENT)
class UpdateDeploymentInput:
    address: strawberry.ID = DEPLOYMENT.address
    environment: strawberry.ID | None = may(_ENVIRONMENT)
    target: strawberry.ID | None = may(_TARGET)
    serves: list[ServedInput] | None = may(
        "All that it serves from now on. If that is a change, it becomes a new revision; null or an empty list: "
        "nothing."
    )
    revision: int | None = may(REVISION_DOC)


@strawberry.type(description="Mutations of deployments.")
class DeploymentMutations:
    record_deployment = does(
        deployments.record_deployment,
        RecordDeploymentInput,
        "Records a deployment: what serves which model versions, and where.",
        DEPLOYMENT.answer,
    )
    update_deployment = does(
        deployments.update_deployment,
        UpdateDeploymentInput,
        "Changes a deployment. What it serves is ended and opened at one moment.",
        DEPLOYMENT.answer,
    )
    rename_deployment = renames(deployments.rename_deployment, DEPLOYMENT)
    delete_deployment = deletes(deployments.delete_deployment, DEPLOYMENT, "revisions")
