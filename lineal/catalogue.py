"""The demo's input: 968 real embedding models as nodes and edges, nothing dropped.

See lineal/data/README.md for origin and licence. Untidy input is kept: a base model that the set does
not have, and a name that is a path on somebody's drive, become models marked external.
"""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from graph.address import Address
from graph.ontology import DEFAULT_WORKSPACE, UNVERSIONED
from resolvers.writing.common import NamedValue
from resolvers.writing.importing import ImportedEdge, ImportedNode

SOURCE: Final = "mteb 2.26.24"
MADE_UP: Final = "made-up-"
UNKNOWN_LICENCES: Final = (None, "not specified", "other")

KEPT: Final = ("embeddingDimension", "maxTokens", "license", "supersededBy")
"""What has no property of its own, or may be too odd for one, and stays as the source has it."""

DEPLOYMENTS: Final = (
    ("search-api", "production", "BAAI/bge-m3"),
    ("support-chat", "production", "intfloat/multilingual-e5-base"),
    ("support-chat-next", "staging", "nomic-ai/nomic-embed-text-v1.5"),
    ("medical-search", "production", "abhinand/MedEmbed-small-v0.1"),
    ("korean-search", "production", "nlpai-lab/KURE-v1"),
    ("legal-search", "staging", "Mira190/Euler-Legal-Embedding-V1"),
    ("shop-search", "production", "Alibaba-NLP/gte-multilingual-base"),
    ("code-search", "production", "codesage/codesage-base-v2"),
)
"""(name, environment, model): no such deployment exists anywhere, and each says so of itself."""


@dataclass(slots=True)
class Story:
    """Nodes and edges in the form that recordLineage takes them."""

    nodes: dict[str, ImportedNode] = field(default_factory=dict)
    edges: list[ImportedEdge] = field(default_factory=list)

    def node(self, address: Address, **facts: Any) -> str:
        """Name a node; the first facts given about it stay."""
        text = str(address)
        self.nodes.setdefault(text, {"address": text, **facts})  # type: ignore[typeddict-item]
        return text

    def edge(self, kind: str, source: str, target: str, discriminator: str = "") -> None:
        """Join two named nodes."""
        self.edges.append({"from": source, "kind": kind, "to": target, "discriminator": discriminator})


def read() -> list[Mapping[str, Any]]:
    """The models, one mapping each, as the data file has them."""
    text = resources.files("lineal").joinpath("data/mteb-models.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def story(models: Sequence[Mapping[str, Any]]) -> Story:
    """The models with their data sets, base models and code, and the made-up deployments."""
    told = Story()
    for model in models:
        _model(told, model)
    for model in models:
        _lineage(told, model)
    for name, environment, model_name in DEPLOYMENTS:
        _deployment(told, name, environment, model_name)
    return told


def batches(told: Story, size: int) -> Iterator[tuple[list[ImportedNode], list[ImportedEdge]]]:
    """The story in parts of at most `size` items, nodes first."""
    nodes = list(told.nodes.values())
    for start in range(0, len(nodes), size):
        yield nodes[start : start + size], []
    for start in range(0, len(told.edges), size):
        yield [], told.edges[start : start + size]


def version_of(name: str) -> Address:
    """The one version that is known of each model."""
    return Address("ModelVersion", DEFAULT_WORKSPACE, name, "1")


def _model(told: Story, model: Mapping[str, Any]) -> None:
    name = model["name"]
    told.node(Address("Model", DEFAULT_WORKSPACE, name), properties={"task": "embedding"}, tags=_tags(model))
    told.node(version_of(name), properties=_facts(model), tags=_tags(model))


def _facts(model: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "frameworks": model.get("frameworks"),
        "license": None if (licence := model.get("license")) in UNKNOWN_LICENCES else licence,
        "parameterCount": model.get("parameters"),
        "sizeBytes": round(model["memoryMb"] * 2**20) if model.get("memoryMb") is not None else None,
        "releasedAt": _midnight(model["releaseDate"]) if model.get("releaseDate") else None,
        "attributes": {key: model[key] for key in KEPT if model.get(key) is not None},
    }
    return {key: value for key, value in facts.items() if value}


def _tags(model: Mapping[str, Any]) -> list[NamedValue]:
    tags: list[NamedValue] = [{"name": "source", "value": SOURCE}]
    if model.get("openWeights") is not None:
        tags.append({"name": "openWeights", "value": str(model["openWeights"]).lower()})
    tags += [{"name": f"modality:{modality}", "value": "true"} for modality in model.get("modalities") or ()]
    return tags


def _midnight(date: str) -> int:
    return calendar.timegm(time.strptime(date, "%Y-%m-%d")) * 1_000_000


def _lineage(told: Story, model: Mapping[str, Any]) -> None:
    name = model["name"]
    version = str(version_of(name))
    if commit := model.get("revision"):
        code = told.node(
            Address("CodeRevision", DEFAULT_WORKSPACE, f"{name}@{commit}"), properties={"repository": name, "commit": commit}
        )
        told.edge("BUILT_FROM", version, code)
    for dataset in model.get("trainingDatasets") or ():
        told.node(Address("Dataset", DEFAULT_WORKSPACE, dataset))
        data = told.node(Address("DatasetVersion", DEFAULT_WORKSPACE, dataset, UNVERSIONED))
        told.edge("TRAINED_ON", version, data, "train")
    for base in model.get("adaptedFrom") or ():
        told.node(Address("Model", DEFAULT_WORKSPACE, base), external=True)
        told.edge("DERIVED_FROM", version, told.node(version_of(base), external=True), "finetune")
    # Some models are listed as their own successor; that stays among the attributes alone.
    if (successor := model.get("supersededBy")) and successor != name:
        newer = told.node(Address("Model", DEFAULT_WORKSPACE, successor), external=True)
        told.edge("SUPERSEDED_BY", str(Address("Model", DEFAULT_WORKSPACE, name)), newer)


def _deployment(told: Story, name: str, environment: str, model: str) -> None:
    deployment = told.node(
        Address("Deployment", DEFAULT_WORKSPACE, f"{MADE_UP}{name}"),
        properties={"description": "Made up for the demo: no such deployment exists.", "state": "AVAILABLE"},
        tags=[{"name": "made-up", "value": "true"}],
    )
    place = told.node(Address("Environment", DEFAULT_WORKSPACE, environment))
    told.edge("IN_ENVIRONMENT", deployment, place)
    told.edge("SERVES", deployment, str(version_of(model)))
