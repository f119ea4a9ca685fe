"""Models and versions as MLflow's messages have them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from graph.port import Node
from resolvers.registry.looking import Measured, Registered, Version, source_of

STATUSES: Final[Mapping[str, str]] = {
    "PENDING": "PENDING_REGISTRATION",
    "READY": "READY",
    "FAILED": "FAILED_REGISTRATION",
}


def shown_name(name: str) -> str:
    """The name of a model as MLflow's clients can write it in an address: `/` as %2F, `:` as %3A."""
    return name.replace("/", "%2F").replace(":", "%3A")


def model_message(found: Registered) -> dict[str, Any]:
    """RegisteredModel."""
    model = found.model
    return {
        **_times(model),
        "name": shown_name(model.name),
        "user_id": model.created_by,
        "description": model.props.get("description", ""),
        "latest_versions": [version_message(version) for version in found.latest],
        "tags": _tags(found.tags),
        "aliases": [{"alias": alias, "version": number} for alias, number in found.aliases.items()],
    }


def version_message(version: Version) -> dict[str, Any]:
    """ModelVersion."""
    node, props = version.node, version.node.props
    return {
        **_times(node),
        "name": shown_name(version.model.name),
        "version": node.name,
        "user_id": node.created_by,
        "current_stage": version.stage,
        "description": props.get("description", ""),
        "source": source_of(node),
        "run_id": props.get("runId", ""),
        "run_link": props.get("runLink", ""),
        "status": STATUSES.get(props.get("state", "READY"), "READY"),
        "tags": _tags(version.tags),
        "aliases": list(version.aliases),
        **({"model_id": props["loggedModel"]} if "loggedModel" in props else {}),
        **_learned(version),
    }


def _learned(version: Version) -> dict[str, Any]:
    """Parameters and metrics, where they were asked for and there are any."""
    params = [{"name": name, "value": value} for name, value in version.params.items()]
    logged = str(version.node.props.get("loggedModel", ""))
    metrics = [_metric(metric, logged) for metric in version.metrics]
    return {**({"model_params": params} if params else {}), **({"model_metrics": metrics} if metrics else {})}


def _metric(found: Measured, logged: str) -> dict[str, Any]:
    metric, value = found.metric, found.metric.value
    shown: float | str = value
    if not math.isfinite(value):
        # As JSON of protocol buffers has them.
        shown = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    of = {"dataset_name": found.dataset, "dataset_digest": found.digest, "model_id": logged, "run_id": found.run}
    told = {name: text for name, text in of.items() if text}
    return {"key": metric.name, "value": shown, "timestamp": metric.time // 1_000, "step": metric.step, **told}


def download_uri(node: Node) -> str:
    """Where the files of a version are."""
    return str(node.props.get("uri") or node.props.get("source") or "")


def _times(node: Node) -> dict[str, int]:
    return {"creation_timestamp": node.created_at // 1_000, "last_updated_timestamp": node.updated_at // 1_000}


def _tags(tags: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
