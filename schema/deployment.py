"""Deployment, its revisions, and where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node

if TYPE_CHECKING:
    from schema.model import ModelVersion


@noun(ontology.DEPLOYMENT)
class Deployment(Node):
    """A deployment."""

    state: str | None = prop()
    uri: str | None = prop()
    serves: Connection[ModelVersion] = edge(
        ontology.SERVES, "OUT", "The model versions that it serves now; the share of each is the edge's weight."
    )
    revisions: Connection[DeploymentRevision] = edge(
        ontology.REVISION_OF, "IN", "What it was told to serve, over time."
    )
    target: ServingTarget | None = edge(ontology.DEPLOYED_TO, "OUT", "The platform that it runs on.")
    environment: Environment | None = edge(ontology.IN_ENVIRONMENT, "OUT", "The environment that it belongs to.")


@noun(ontology.DEPLOYMENT_REVISION)
class DeploymentRevision(Node):
    """A revision of a deployment."""

    number: int = prop()
    deployment: Deployment | None = edge(ontology.REVISION_OF, "OUT", "The deployment that it is a revision of.")
    specifies: Connection[ModelVersion] = edge(
        ontology.SPECIFIES, "OUT", "The model versions that it asked for; the share of each is the edge's weight."
    )


@noun(ontology.ENVIRONMENT)
class Environment(Node):
    """An environment."""

    deployments: Connection[Deployment] = edge(ontology.IN_ENVIRONMENT, "IN", "The deployments in it.")


@noun(ontology.SERVING_TARGET)
class ServingTarget(Node):
    """A serving platform."""

    platform: str | None = prop()
    uri: str | None = prop()
    deployments: Connection[Deployment] = edge(ontology.DEPLOYED_TO, "IN", "The deployments on it.")
