"""A client of the REST API, v2beta1, of Kubeflow Pipelines, as far as runs are read.

It is called from threads that may wait, by several at a time.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from storage.connectors.addresses import Resolve, system
from storage.tracking.answers import Answer
from storage.tracking.kubeflow_config import KubeflowConfig
from storage.tracking.kubeflow_records import PipelineRun, Task, pipeline_in, run_of, specified, task_of
from storage.tracking.server import Server

PAGE: Final = 50
MAX_PAGES: Final = 10_000
"""Pages of one list: a server whose lists have no end is not followed for ever."""
MAX_NAMES: Final = 1_000
"""Names of pipelines and experiments that are kept."""


class KubeflowServer(Server):
    """One server. Every method raises Away, and Unavailable where one answer is not as Kubeflow's are."""

    def __init__(self, config: KubeflowConfig, resolve: Resolve = system) -> None:
        super().__init__(config, "Kubeflow Pipelines server", resolve)
        self.config = config
        self._names: dict[str, str] = {}
        self._specs: dict[str, Answer] = {}

    def created(self, since: int | None) -> Iterator[list[tuple[str, int]]]:
        """The runs that were created at or after a time, by id and with when, the first ones first, page by page."""
        params: dict[str, Any] = {"page_size": PAGE, "sort_by": "created_at asc"}
        if self.config.namespace:
            params["namespace"] = self.config.namespace
        if since is not None:
            at = dt.datetime.fromtimestamp(since // 1_000_000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            predicate = {"key": "created_at", "operation": "GREATER_THAN_EQUALS", "timestamp_value": at}
            params["filter"] = json.dumps({"predicates": [predicate]})
        for page in self._pages("runs", params):
            yield [(run.needed("run_id"), run.time("created_at") or 0) for run in page.objects("runs")]

    def run(self, id: str) -> PipelineRun | None:
        """A run with its tasks, or None where the server knows none of this id."""
        run = self._get(f"runs/{id}")
        if run is None:
            return None
        reference = run.object("pipeline_version_reference")
        spec = _spec(run)
        tasks = self._tasks(id)
        if tasks is None:
            if not spec.names():
                spec = self._version(reference.text("pipeline_id"), reference.text("pipeline_version_id"))
            tasks = specified(list(run.object("run_details").objects("task_details")), spec)
        pipeline = self._name("pipelines", reference.text("pipeline_id")) or pipeline_in(spec)
        experiment = self._name("experiments", run.text("experiment_id"))
        return run_of(run, pipeline or run.text("display_name") or id, experiment, tasks)

    def _tasks(self, run: str) -> list[Task] | None:
        """The tasks of a run; None where the server is of a version that does not tell them."""
        found: list[Task] = []
        pages = list(self._pages(f"runs/{run}/tasks", {"page_size": PAGE}))
        for page in pages:
            found += [task for each in page.objects("tasks") if (task := task_of(each)) is not None]
        return found if pages else None

    def _name(self, what: str, id: str) -> str:
        """What a pipeline or an experiment is called; empty where the server does not know it."""
        if not id:
            return ""
        if id not in self._names:
            answer = self._get(f"{what}/{id}")
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            self._names[id] = "" if answer is None else answer.text("display_name") or answer.text("name")
        return self._names[id]

    def _version(self, pipeline: str, version: str) -> Answer:
        """The specification of a version of a pipeline; an empty one where there is none."""
        if not pipeline or not version:
            return Answer({}, "pipeline_spec")
        if version not in self._specs:
            answer = self._get(f"pipelines/{pipeline}/versions/{version}")
            if len(self._specs) >= MAX_NAMES:
                self._specs.clear()
            self._specs[version] = Answer({}, "pipeline_spec") if answer is None else _spec(answer)
        return self._specs[version]

    # Calls ────────────────────────────────────────────────────────────────────────────────────────

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Answer]:
        return self.paged(path, lambda page: self._get(path, {**params, **page}), MAX_PAGES)

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Answer | None:
        """An answer, or None where the server says that there is no such thing."""
        status, value = self.asked(f"{self.config.url}/apis/v2beta1/{path}", params or {}, path)
        if status == 200:
            return Answer(value, self.place(path))
        if status == 404:
            return None
        raise self.refused(status, path, value.get("message") if isinstance(value, Mapping) else None)


def _spec(answer: Answer) -> Answer:
    """The specification of a pipeline, which newer servers have beside that of the platform."""
    spec = answer.object("pipeline_spec")
    return spec.object("pipeline_spec") if "pipeline_spec" in spec.names() else spec
