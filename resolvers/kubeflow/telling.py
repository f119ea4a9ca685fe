"""A run of Kubeflow Pipelines as OpenLineage would tell of it, so that it is merged as everything is that comes so.

The run is a run of its pipeline, and each task a run of its own within it. An artifact is a version of a data set: of
the place that its address names, without what differs from run to run, or else of the output of a task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import orjson

from graph.address import Address
from graph.ontology import DATASET_VERSION, EXPERIMENT, RUN
from resolvers.openlineage.events import Ancestor, DataSaid, Event, EventType, JobSaid, RunSaid, key_of
from resolvers.tracking.telling import without_secrets
from resolvers.writing.importing import ImportedEdge, ImportedNode
from storage.tracking.kubeflow_records import ENDED, MAX_ARTIFACTS, WAITING, Artifact, PipelineRun, Task

MEASURES: Final = frozenset({"Metrics", "Metric"})
REPORTS: Final = frozenset({"HTML", "Markdown", "ClassificationMetrics", "SlicedClassificationMetrics",
                            "ClassificationMetric", "SlicedClassificationMetric"})  # fmt: skip
"""Types of artifacts that are about something, and are nothing that others are made of."""
MAX_PARAMETER: Final = 5_000
"""Characters of a parameter's value."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Ran:
    """Something that ran: what to say of it, its job, and how it went."""

    said: RunSaid
    job: str
    state: str
    began: int
    ended: int | None
    error: str
    measured: Sequence[Mapping[str, Any]]
    inputs: tuple[DataSaid, ...] = ()
    outputs: tuple[DataSaid, ...] = ()

    def events(self) -> Iterator[Event]:
        """That it began, and that it ended, where it has.

        What may be other the next time is told with the end alone: of two events of one time none is the later.
        """
        job = JobSaid(self.job)
        yield Event(self.began, "START", run=self.said, job=job, inputs=self.inputs)
        if self.state not in ENDED:
            return
        type_: EventType = next(each for each in get_args(EventType) if each == ENDED[self.state])
        facets = {
            **({"errorMessage": {"message": self.error}} if self.error else {}),
            **({"lineal_metrics": {"metrics": list(self.measured)}} if self.measured else {}),
        }
        over = replace(self.said, facets=facets)
        at = max(self.ended or self.began, self.began)
        yield Event(at, type_, run=over, job=job, inputs=self.inputs, outputs=self.outputs)


class Telling:
    """What there is to tell of a run of a server of this name, in a workspace."""

    def __init__(self, server: str, workspace: str, run: PipelineRun) -> None:
        self._namespace = f"kubeflow://{server}"
        self._workspace = workspace
        self._run = run
        self._job = key_of(self._namespace, run.pipeline, "pipeline")
        self._uris: dict[str, str] = {}

    def events(self) -> list[Event]:
        """The events. Raises InvalidArgument: a name is none that Lineal takes."""
        run = self._run
        facets = {"executionParameters": _parameters(run.params)}
        if run.name:
            facets["tags"] = {"tags": [{"key": "kubeflow.name", "value": run.name}]}
        # What its tasks measured is the run's, too: that is what runs are compared by.
        measured = [point for task in run.tasks for point in _points(task)]
        told = _Ran(RunSaid(run.id, facets), self._job, run.state, run.created, run.ended, run.error, measured)
        found = list(told.events())
        for task in run.tasks:
            found += self._task(task)
        return found

    def nodes(self) -> list[ImportedNode]:
        """What events do not tell: where versions of data are, and the experiment. Ask after `events`."""
        nodes: list[ImportedNode] = [{"address": at, "properties": {"uri": uri}} for at, uri in self._uris.items()]
        if self._run.experiment:
            nodes.append({"address": self._experiment()})
        return nodes

    def edges(self) -> list[ImportedEdge]:
        """That the run is part of its experiment."""
        run = str(Address(RUN.name, self._workspace, self._run.id))
        return [{"from": run, "kind": "PART_OF", "to": self._experiment()}] if self._run.experiment else []

    def _experiment(self) -> str:
        return str(Address(EXPERIMENT.name, self._workspace, self._run.experiment))

    def _task(self, task: Task) -> Iterator[Event]:
        if task.state in WAITING:
            return
        run = self._run
        above = Ancestor(run.id, self._job)
        said = RunSaid(task.id, {"executionParameters": _parameters(task.params)}, above, above)
        job = key_of(self._namespace, f"{run.pipeline}.{task.name}", "task")
        inputs = tuple(self._data(each) for each in _data_of(task.inputs))
        outputs = tuple(self._data(each, made=True) for each in _data_of(task.outputs))
        began = task.started or run.created
        told = _Ran(said, job, task.state, began, task.ended, task.error, _points(task), inputs, outputs)
        yield from told.events()

    def _data(self, artifact: Artifact, *, made: bool = False) -> DataSaid:
        key, source = self._place(artifact)
        version = artifact.id or self._run.id
        facets: dict[str, Any] = {"version": {"datasetVersion": version}}
        uri = without_secrets(artifact.uri)
        if source:
            facets["dataSource"] = {"uri": source}
            self._uris[str(Address(DATASET_VERSION.name, self._workspace, key, version))] = uri
        if artifact.type == "Model":
            facets["datasetType"] = {"datasetType": "MODEL"}
            if made:
                framework = artifact.metadata.get("framework")
                facets["lineal_modelVersion"] = {
                    "model": f"{self._run.pipeline}.{artifact.key}",
                    **({"uri": uri} if uri else {}),
                    **({"frameworks": [framework]} if isinstance(framework, str) and framework else {}),
                }
        return DataSaid(key, facets)

    def _place(self, artifact: Artifact) -> tuple[str, str]:
        """The data set that an artifact is a version of, by its key, and its address; empty where it has none."""
        scheme, separator, rest = without_secrets(artifact.uri).partition("://")
        if separator:
            authority, _, path = rest.partition("/")
            name = "/".join(part for part in path.split("/") if part and not _UUID.fullmatch(part))
            if name:
                return key_of(f"{scheme}://{authority}", name, "artifact"), f"{scheme}://{authority}/{name}"
        output = ".".join(filter(None, (artifact.task, artifact.name or artifact.key)))
        return key_of(self._namespace, f"{self._run.pipeline}.{output}", "artifact"), ""


def _data_of(artifacts: Sequence[Artifact]) -> list[Artifact]:
    return [each for each in artifacts if each.type not in MEASURES | REPORTS][:MAX_ARTIFACTS]


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    texts = {n: v if isinstance(v, str) else orjson.dumps(v).decode() for n, v in given.items() if n.strip()}
    return {"parameters": [{"key": name, "value": text[:MAX_PARAMETER]} for name, text in texts.items()]}


def _points(task: Task) -> list[dict[str, Any]]:
    """Figures that a task measured: those in the metadata of metrics, or a metric's own."""
    found: list[dict[str, Any]] = []
    for artifact in task.outputs:
        if artifact.type not in MEASURES:
            continue
        figures = dict(artifact.metadata)
        if artifact.value is not None:
            figures = {artifact.name or artifact.key: artifact.value}
        found += [
            {"name": name, "value": float(value)}
            for name, value in figures.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name.strip()
        ]
    return found
