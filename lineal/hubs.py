"""Other systems that tell what happens there: hubs that send webhooks, and pipelines that are asked."""

from __future__ import annotations

from pydantic import SecretStr

from auth.caller import named
from gateway.inbound import Hub
from graph.port import Graph
from lineal import logging
from lineal.settings import Settings
from resolvers.kubeflow.polling import Poller
from storage.tracking.kubeflow_config import KubeflowConfig, load


def hubs_of(settings: Settings) -> dict[str, Hub]:
    """The hubs that may send webhooks here, as `create_inbound_routes` takes them."""

    def hub(name: str, secret: SecretStr | None, workspace: str) -> Hub:
        return Hub(name, None if secret is None else secret.get_secret_value(), workspace)

    return {
        "of_wandb": hub("wandb", settings.wandb_secret, settings.wandb_workspace),
        "of_hugging_face": hub("huggingface", settings.huggingface_secret, settings.huggingface_workspace),
    }


def pipelines_of(settings: Settings) -> tuple[KubeflowConfig, ...]:
    """The Kubeflow Pipelines servers of these settings. Raises InvalidArgument."""
    return load(settings.kubeflow) if settings.kubeflow else ()


def poller(settings: Settings, graph: Graph) -> Poller:
    """What looks for runs of Kubeflow Pipelines. Raises InvalidArgument."""
    servers = pipelines_of(settings)
    return Poller(graph, servers, by=named("kubeflow").name, holder=logging.accept_request_id(None))
