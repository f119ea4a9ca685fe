"""Examples in the OpenAPI document. A test runs each of the bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PARTS: Final[Mapping[str, str]] = {
    "Workspace": "default",
    "Model": "bert",
    "ModelVersion": "bert/1",
    "Dataset": "nq",
    "DatasetVersion": "nq/v1",
    "Field": "nq/question",
    "Deployment": "search",
    "Run": "training-7",
    "Experiment": "tuning",
}
"""What stands in a path, by the kind of what it names."""

BODIES: Final[Mapping[str, Any]] = {
    "createWorkspace": {"name": "vision", "description": "Everything that looks at pictures."},
    "registerModel": {"name": "resnet", "task": "image-classification", "tags": [{"name": "team", "value": "vision"}]},
    "updateModel": {"description": "Answers questions."},
    "renameModel": {"name": "bert-base"},
    "createModelVersion": {
        "inputs": [{"dataset": "datasets:/nq/v1", "role": "train"}],
        "params": [{"name": "lr", "value": "0.1"}],
        "metrics": [{"name": "auc", "value": 0.93}],
        "aliases": ["challenger"],
    },
    "setAlias": {"version": "models:/bert/1", "reason": "It did better in the trial."},
    "registerDataset": {"name": "squad", "license": "cc-by-4.0"},
    "registerDatasetVersion": {"name": "v3", "rowCount": 87599},
    "recordRun": {"name": "training-8", "inputs": [{"address": "datasets:/nq/v1", "role": "train"}]},
    "logMetrics": {"metrics": [{"name": "loss", "value": 0.25, "step": 100}]},
    "recordEvaluation": {"dataset": "datasets:/nq/v2", "metrics": [{"name": "recall", "value": 0.81}]},
    "recordDeployment": {"name": "helpdesk", "serves": [{"version": "models:/bert/1", "weight": 1}]},
    "setTags": {"tags": [{"name": "area", "value": "search"}]},
    "addComment": {"text": "Ready for a trial?"},
    "markDataset": {"type": "CONTAMINATED", "reason": "Test questions are in it."},
}
"""Bodies of requests, by the operation."""
