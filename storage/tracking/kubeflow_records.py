"""What a Kubeflow Pipelines server knows of a run: its tasks, and the artifacts that they took and gave.

Servers of version 3 tell both. Those of version 2 leave the artifacts of tasks empty, but have the pipeline's
specification: that says which task takes which output of which other one, and an output is then known by the run.
Times are microseconds since the epoch, UTC, None where the server does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from storage.tracking.answers import Answer

ENDED: Final[Mapping[str, str]] = {
    "SUCCEEDED": "COMPLETE",
    "SKIPPED": "COMPLETE",
    "CACHED": "COMPLETE",
    "FAILED": "FAIL",
    "CANCELED": "ABORT",
}
"""What an OpenLineage event calls the end of a run or task in this state; others have not ended."""

WAITING: Final = frozenset({"", "PENDING", "RUNTIME_STATE_UNSPECIFIED"})
LEAF: Final = frozenset({"", "RUNTIME", "IMPORTER", "TYPE_UNSPECIFIED"})
"""Types of tasks that do something themselves; the others only have tasks within them."""
MAX_ARTIFACTS: Final = 2_000
"""Artifacts of one run."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact. `type` is Dataset, Model, Metrics, …, `value` that of a single metric.

    `id` is empty, and `task` and `key` say which output of which task it is, where only the specification tells of it.
    """

    key: str
    type: str
    id: str = ""
    name: str = ""
    uri: str = ""
    task: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a run."""

    id: str
    name: str
    state: str
    started: int | None = None
    ended: int | None = None
    error: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Artifact] = ()
    outputs: Sequence[Artifact] = ()


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """A run of a pipeline. `pipeline` and `experiment` are what these are called."""

    id: str
    name: str
    state: str
    created: int
    ended: int | None
    pipeline: str
    experiment: str = ""
    description: str = ""
    error: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    tasks: Sequence[Task] = ()

    @property
    def over(self) -> bool:
        """Whether there will be nothing more to tell."""
        return self.state in ENDED


def run_of(run: Answer, pipeline: str, experiment: str, tasks: Sequence[Task]) -> PipelineRun:
    """A run, as `runs/{id}` has it. Raises Unavailable."""
    return PipelineRun(
        run.needed("run_id"),
        run.text("display_name"),
        run.text("state"),
        run.time("created_at") or 0,
        run.time("finished_at"),
        pipeline,
        experiment,
        run.text("description"),
        run.object("error").text("message"),
        run.object("runtime_config").table("parameters"),
        tasks,
    )


def task_of(task: Answer) -> Task | None:
    """A task, as `runs/{id}/tasks` has it; None of one that only has others within it. Raises Unavailable."""
    if task.text("type") not in LEAF:
        return None
    inputs, outputs = task.object("inputs"), task.object("outputs")
    return Task(
        task.needed("task_id"),
        task.text("name") or task.needed("display_name"),
        task.text("state"),
        task.time("create_time"),
        task.time("end_time"),
        task.object("status_metadata").text("message"),
        {each.text("parameter_key"): each.value("value") for each in inputs.objects("parameters")},
        list(_artifacts(inputs)),
        list(_artifacts(outputs)),
    )


def _artifacts(side: Answer) -> Iterator[Artifact]:
    for entry in side.objects("artifacts"):
        for each in entry.objects("artifacts"):
            yield Artifact(
                entry.text("artifact_key") or each.text("name"),
                _type(each.text("type")),
                each.needed("artifact_id"),
                each.text("name"),
                each.text("uri"),
                metadata=each.table("metadata"),
                value=None if each.value("number_value") is None else each.number("number_value"),
                created=each.time("created_at"),
            )


# ── Of the specification ──────────────────────────────────────────────────────────────────────────


def specified(details: Sequence[Answer], spec: Answer) -> list[Task]:
    """Tasks as `run_details` has them, with the artifacts that the specification tells of. Raises Unavailable."""
    components, tasks = spec.object("components"), spec.object("root").object("dag").object("tasks")
    names = set(tasks.names())

    def component(task: str) -> Answer:
        return components.object(tasks.object(task).object("componentRef").text("name"))

    def artifact(task: str, key: str) -> Artifact:
        declared = component(task).object("outputDefinitions").object("artifacts").object(key)
        return Artifact(key, _type(declared.object("artifactType").text("schemaTitle")), task=task)

    found = []
    for detail in details:
        name = detail.text("display_name")
        if name not in names:
            continue  # the drivers and the like, that Kubeflow adds
        taken = tasks.object(name).object("inputs").object("artifacts")
        sources = [taken.object(key).object("taskOutputArtifact") for key in taken.names()]
        given = component(name).object("outputDefinitions").object("artifacts")
        found.append(
            Task(
                detail.needed("task_id"),
                name,
                detail.text("state"),
                detail.time("start_time") or detail.time("create_time"),
                detail.time("end_time"),
                detail.object("error").text("message"),
                {},
                [
                    artifact(source.text("producerTask"), source.text("outputArtifactKey"))
                    for source in sources
                    if source.text("producerTask") in names
                ],
                [artifact(name, key) for key in given.names()],
            )
        )
    return found


def pipeline_in(spec: Answer) -> str:
    """What a specification calls its pipeline."""
    return spec.object("pipelineInfo").text("name")


def _type(given: str) -> str:
    """The type of an artifact, without its schema: Dataset for `system.Dataset`."""
    return given.rpartition(".")[2]
