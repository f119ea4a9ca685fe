"""Deployment, its revisions, and where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node
from schema.scalars import JSON, BigInt, DateTime

if TYPE_CHECKING:
    from schema.model import ModelVersion


@noun(ontology.DEPLOYMENT)
class Deployment(Node):
    """A deployment."""

    state: str | None = prop()
    uri: str | None = prop()
    managed: bool = prop(absent=False)
    phase: str | None = prop()
    message: str | None = prop()
    desired_revision: int | None = prop()
    verified_revision: int | None = prop()
    replicas: int | None = prop()
    drift_policy: str = prop(absent="REPAIR")
    progress_seconds: int | None = prop()
    platform_name: str | None = prop()
    serves: Connection[ModelVersion] = edge(
        ontology.SERVES, "OUT", "The model versions that it serves now; the share of each is the edge's weight."
    )
    revisions: Connection[DeploymentRevision] = edge(
        ontology.REVISION_OF, "IN", "What it was told to serve, over time."
    )
    events: Connection[DeploymentEvent] = edge(ontology.EVENT_OF, "IN", "What happened to it.")
    target: ServingTarget | None = edge(ontology.DEPLOYED_TO, "OUT", "The platform that it runs on.")
    environment: Environment | None = edge(ontology.IN_ENVIRONMENT, "OUT", "The environment that it belongs to.")


@noun(ontology.DEPLOYMENT_REVISION)
class DeploymentRevision(Node):
    """A revision of a deployment."""

    number: int = prop()
    cause: str | None = prop()
    reason: str | None = prop()
    state: str | None = prop()
    message: str | None = prop()
    canary: int | None = prop()
    restores: int | None = prop()
    started_at: DateTime | None = prop()
    verified_at: DateTime | None = prop()
    resources: JSON | None = prop()
    settings: JSON | None = prop()
    overridden: bool = prop(absent=False)
    verdict: JSON | None = prop()
    deployment: Deployment | None = edge(ontology.REVISION_OF, "OUT", "The deployment that it is a revision of.")
    specifies: Connection[ModelVersion] = edge(
        ontology.SPECIFIES, "OUT", "The model versions that it asked for; the share of each is the edge's weight."
    )


@noun(ontology.DEPLOYMENT_EVENT)
class DeploymentEvent(Node):
    """An event of a deployment."""

    phase: str = prop()
    message: str | None = prop()
    revision_number: int | None = prop()
    seen: JSON | None = prop()
    holder: str | None = prop()
    epoch: BigInt | None = prop()
    left_out: int = prop(absent=0)
    deployment: Deployment | None = edge(ontology.EVENT_OF, "OUT", "The deployment that it happened to.")


@noun(ontology.ENVIRONMENT)
class Environment(Node):
    """An environment."""

    deployments: Connection[Deployment] = edge(ontology.IN_ENVIRONMENT, "IN", "The deployments in it.")


@noun(ontology.SERVING_TARGET)
class ServingTarget(Node):
    """A serving platform."""

    platform: str | None = prop()
    uri: str | None = prop()
    managed: bool = prop(absent=False)
    reachable: bool | None = prop()
    message: str | None = prop()
    deployments: Connection[Deployment] = edge(ontology.DEPLOYED_TO, "IN", "The deployments on it.")
