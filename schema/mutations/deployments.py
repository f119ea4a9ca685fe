"""Mutations of deployments."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.deploying import deploying
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
from schema.scalars import JSON

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


_REASON: Final = "Why, for the history."
_OVERRIDE: Final = (
    "Go on although the gate of the environment says no, and why. Needs the scope lifecycle:override, and stands out "
    "in the audit."
)


@takes("What shall be served from now on, under a name.")
class DeployInput:
    name: str = need("The deployment's name, as it is called now. One that is not there is made.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    serves: list[ServedInput] = need(
        "The versions of one model to serve; their weights come to 1. A single one has all."
    )
    target: str | None = may("The configured target to run on, by name. A new deployment needs it; it never changes.")
    environment: str | None = may("The environment it belongs to, by name; its gate is asked. It never changes.")
    resources: JSON | None = may(
        "Replicas, memory and the like, in the words of the platform, all of them. Unless given, as before; {}: none."
    )
    settings: JSON | None = may("All else that the platform takes. Unless given, as before; {}: nothing.")
    drift_policy: str | None = may(ontology.DEPLOYMENT.by_name["driftPolicy"].doc)
    progress_seconds: int | None = may(ontology.DEPLOYMENT.by_name["progressSeconds"].doc)
    reason: str | None = may(_REASON)
    override: str | None = may(_OVERRIDE)
    idempotency_key: str | None = key()


@takes("A version to serve beside the one that is.")
class CanaryInput:
    address: strawberry.ID = DEPLOYMENT.address
    version: strawberry.ID = need("The version: an id, or an address such as models:/name/3.")
    weight: float | None = may(
        "Its share of the requests, from 0 up to but not 1. Unless given, 0.1 where the platform splits traffic, else "
        "0: then it answers to its own number alone."
    )
    reason: str | None = may(_REASON)
    override: str | None = may(_OVERRIDE)
    idempotency_key: str | None = key()


@takes("A deployment whose canary shall serve all requests.")
class PromoteInput:
    address: strawberry.ID = DEPLOYMENT.address
    reason: str | None = may(_REASON)
    override: str | None = may(_OVERRIDE)
    idempotency_key: str | None = key()


@takes("A deployment to take back to what it served before.")
class RollBackInput:
    address: strawberry.ID = DEPLOYMENT.address
    to: int | None = may(
        "The number of the revision to go back to. Unless given, the last one before this that was seen to be served "
        "as told and was no canary."
    )
    reason: str | None = may(_REASON)
    override: str | None = may(_OVERRIDE)
    idempotency_key: str | None = key()


@takes("A deployment that shall serve nothing.")
class StopDeploymentInput:
    address: strawberry.ID = DEPLOYMENT.address
    reason: str | None = may(_REASON)
    idempotency_key: str | None = key()


@strawberry.type(description="Mutations of deployments.")
class DeploymentMutations:
    deploy = does(
        deploying.deploy,
        DeployInput,
        "Has model versions served on a configured target, as a new revision. It answers at once; what comes of it is "
        "in phase, events and serves.",
        DEPLOYMENT.answer,
    )
    canary = does(
        deploying.canary, CanaryInput, "Has another version served beside the one that is.", DEPLOYMENT.answer
    )
    promote = does(deploying.promote, PromoteInput, "Has the canary serve all requests.", DEPLOYMENT.answer)
    roll_back = does(
        deploying.roll_back,
        RollBackInput,
        "Has served again what was, as a new revision. It was let through before: gates are asked about marks on its "
        "data alone.",
        DEPLOYMENT.answer,
    )
    stop_deployment = does(
        deploying.stop_deployment, StopDeploymentInput, "Has nothing served any more.", DEPLOYMENT.answer
    )
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
