"""A stand-in for the API server of Kubeflow Pipelines: runs, their tasks, pipelines and experiments, by v2beta1.

It behaves as the API reference says: pages by token, `sort_by`, `filter` with predicates, `namespace`, errors as
google.rpc.Status. As version 3 it tells tasks with their artifacts; as version 2 it has none of their routes, leaves
`inputs` and `outputs` of `task_details` empty, and gives the epoch for the end of a run that goes on.
"""

from __future__ import annotations

import copy
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.listening import Handler, Listening

EPOCH = "1970-01-01T00:00:00Z"
TOKEN = "a token of the cluster"


class Kubeflow(Listening):
    """The server. `runs`, `tasks`, `pipelines`, `versions` and `experiments` are what it has, by id.

    `status` is what it answers with instead, where it is set; `asked` are the paths that it was asked for.
    """

    def __init__(self, *, version: int = 3, page: int = 2) -> None:
        self.version, self.page = version, page
        self.runs: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, list[dict[str, Any]]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.status = 0
        self.token = ""
        self.body: bytes | None = None
        self.asked: list[str] = []
        super().__init__(_Handler)
        self.url = f"http://127.0.0.1:{self.port}"

    def told(self, path: str, query: dict[str, str], token: str) -> tuple[int, Any]:
        """The status and the body."""
        if self.status:
            return self.status, {"code": 14, "message": "unavailable"}
        if self.token and token != self.token:
            return 401, {"code": 16, "message": "Unauthenticated"}
        match path.split("/"):
            case ["runs"]:
                return 200, self._listed(query)
            case ["runs", id] if id in self.runs:
                return 200, self._shown(self.runs[id])
            case ["runs", id, "tasks"] if self.version >= 3 and id in self.runs:
                return 200, self._paged("tasks", self.tasks.get(id, []), query)
            case ["pipelines", _, "versions", id] if id in self.versions:
                return 200, self.versions[id]
            case ["pipelines", id] if id in self.pipelines:
                return 200, self.pipelines[id]
            case ["experiments", id] if id in self.experiments:
                return 200, self.experiments[id]
        return 404, {"code": 5, "message": f"{path} not found"}

    def _listed(self, query: dict[str, str]) -> Any:
        assert query["sort_by"] == "created_at asc"
        found = sorted(self.runs.values(), key=lambda run: (run["created_at"], run["run_id"]))
        if "namespace" in query:
            found = [run for run in found if run["namespace"] == query["namespace"]]
        for predicate in json.loads(query.get("filter", "{}")).get("predicates", ()):
            assert (predicate["key"], predicate["operation"]) == ("created_at", "GREATER_THAN_EQUALS")
            found = [run for run in found if run["created_at"] >= predicate["timestamp_value"]]
        return self._paged("runs", [self._shown(run) for run in found], query)

    def _paged(self, name: str, items: list[Any], query: dict[str, str]) -> Any:
        start = int(query.get("page_token", "0"))
        end = start + min(self.page, int(query["page_size"]))
        more = {"next_page_token": str(end)} if end < len(items) else {}
        return {name: items[start:end], "total_size": len(items), **more}

    def _shown(self, run: dict[str, Any]) -> dict[str, Any]:
        return {"finished_at": EPOCH, **copy.deepcopy(run)}


class _Handler(Handler):
    owner: Kubeflow

    def _handle(self) -> None:
        kubeflow, parts = self.owner, urlsplit(self.path)
        path = parts.path.removeprefix("/apis/v2beta1/")
        kubeflow.asked.append(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        status, body = kubeflow.told(path, query, token)
        content = kubeflow.body if kubeflow.body is not None else json.dumps(body).encode()
        self.answer(status, content, {"content-type": "application/json"})

    do_GET = _handle  # noqa: N815 - as the library wants it


# ── What it has ───────────────────────────────────────────────────────────────────────────────────


def uuid(number: int) -> str:
    """An id."""
    return f"00000000-0000-4000-8000-{number:012d}"


def at(minute: int) -> str:
    """A time of one day."""
    return f"2026-03-01T{minute // 60:02d}:{minute % 60:02d}:00Z"


def add_run(kubeflow: Kubeflow, number: int, *, minute: int = 0, state: str = "SUCCEEDED", **more: Any) -> str:
    """A run of the pipeline `iris`; its id."""
    kubeflow.pipelines[uuid(900)] = {"pipeline_id": uuid(900), "display_name": "iris"}
    kubeflow.experiments[uuid(901)] = {"experiment_id": uuid(901), "display_name": "Default"}
    id = uuid(number)
    ended = {"finished_at": at(minute + 9)} if state in {"SUCCEEDED", "FAILED", "CANCELED"} else {}
    kubeflow.runs[id] = {
        "run_id": id,
        "experiment_id": uuid(901),
        "display_name": f"iris run {number}",
        "namespace": "team-a",
        "state": state,
        "created_at": at(minute),
        "pipeline_version_reference": {"pipeline_id": uuid(900), "pipeline_version_id": uuid(902)},
        "runtime_config": {"parameters": {"epochs": 3, "optimizer": "adam", "layers": [8, 4]}},
        **ended,
        **more,
    }
    return id


def artifact(number: int, type_: str, name: str, uri: str = "", **more: Any) -> dict[str, Any]:
    """An artifact as version 3 has it."""
    return {"artifact_id": uuid(number), "type": type_, "name": name, "uri": uri, "namespace": "team-a", **more}


def task(number: int, name: str, minute: int, **sides: list[dict[str, Any]]) -> dict[str, Any]:
    """A task as version 3 has it, with artifacts by the side that they are on."""

    def side(artifacts: list[dict[str, Any]]) -> dict[str, Any]:
        return {"artifacts": [{"artifact_key": each["name"], "artifacts": [each]} for each in artifacts]}

    return {
        "task_id": uuid(number),
        "name": name,
        "display_name": name.title(),
        "type": "RUNTIME",
        "state": "SUCCEEDED",
        "create_time": at(minute),
        "end_time": at(minute + 1),
        "inputs": {
            **side(sides.get("inputs", [])),
            "parameters": [{"parameter_key": "epochs", "value": 3, "type": "COMPONENT_INPUT"}],
        },
        "outputs": side(sides.get("outputs", [])),
    }


def add_tasks(kubeflow: Kubeflow, run: int) -> None:
    """What the tasks of a run took and gave: a file of the lake, prepared, a model trained on it, and measured."""
    root = f"minio://mlpipeline/v2/artifacts/iris/{uuid(run)}"
    n = run * 10
    raw = artifact(801, "Dataset", "raw", "s3://user:secret@lake/iris/raw.csv?sig=secret")
    clean = artifact(n + 1, "Dataset", "clean", f"{root}/prepare/{uuid(n + 5)}/clean")
    model = artifact(n + 2, "Model", "model", f"{root}/train/{uuid(n + 6)}/model", metadata={"framework": "sklearn"})
    figures = artifact(n + 3, "Metric", "accuracy", number_value=0.9)
    page = artifact(n + 4, "HTML", "report", f"{root}/train/{uuid(n + 6)}/report")
    kubeflow.tasks[uuid(run)] = [
        {**task(n + 10, "root", 0), "type": "ROOT"},
        {**task(n + 11, "importer", 0, outputs=[raw]), "type": "IMPORTER"},
        task(n + 12, "prepare", 1, inputs=[raw], outputs=[clean]),
        task(n + 13, "train", 3, inputs=[clean], outputs=[model, figures, page]),
    ]


SPECIFICATION: dict[str, Any] = {
    "pipelineInfo": {"name": "iris"},
    "root": {
        "dag": {
            "tasks": {
                "prepare": {"componentRef": {"name": "comp-prepare"}},
                "train": {
                    "componentRef": {"name": "comp-train"},
                    "inputs": {
                        "artifacts": {
                            "data": {"taskOutputArtifact": {"producerTask": "prepare", "outputArtifactKey": "clean"}}
                        }
                    },
                },
            }
        }
    },
    "components": {
        "comp-prepare": {
            "outputDefinitions": {"artifacts": {"clean": {"artifactType": {"schemaTitle": "system.Dataset"}}}}
        },
        "comp-train": {
            "outputDefinitions": {
                "artifacts": {
                    "model": {"artifactType": {"schemaTitle": "system.Model"}},
                    "metrics": {"artifactType": {"schemaTitle": "system.Metrics"}},
                }
            }
        },
    },
}
"""A pipeline's specification, as its compiler writes it."""


def details(run: int) -> dict[str, Any]:
    """The tasks of a run as version 2 has them."""
    names = ("root", "root-driver", "prepare", "prepare-driver", "train", "train-driver")
    found = [
        {
            "run_id": uuid(run),
            "task_id": uuid(run * 10 + i),
            "display_name": name,
            "create_time": at(i),
            "start_time": at(i),
            "end_time": at(i + 1),
            "state": "SUCCEEDED",
        }
        for i, name in enumerate(names)
    ]
    return {"run_details": {"task_details": found}}
