"""What a tracking server knows: runs, logged models, registered models and their versions, as MLflow has them.

Times are microseconds since the epoch, UTC, None where the server does not say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.tracking.answers import Answer

_LOGGED: Final = re.compile(r"models:/(m-[0-9a-f]{8,64})(?:/.*)?")

STATES: Final = frozenset({"SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"})
"""States of runs."""

UPDATED: Final = "last_updated_timestamp"
"""When a registered model or a version was changed, but for tags and aliases."""

PROMPT: Final = "mlflow.prompt.is_prompt"
"""The tag by which MLflow tells prompts from models."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a metric; of a logged model perhaps on a data set, and measured by a run."""

    name: str
    value: float
    step: int = 0
    time: int | None = None
    dataset: str = ""
    digest: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class DataRead:
    """A data set that a run read. `context` is what for: training, eval, …; the rest is as its library wrote it."""

    name: str
    digest: str
    context: str = ""
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run. `inputs` and `outputs` are logged models by id."""

    id: str
    experiment: str
    state: str
    name: str = ""
    user: str = ""
    started: int | None = None
    ended: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Value] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[DataRead] = ()
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model as it was logged, which versions are made of. `run` logged it."""

    id: str
    run: str = ""
    name: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Value] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model of a registry. `aliases` are numbers of versions by name."""

    name: str
    description: str = ""
    created: int | None = None
    updated: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def prompt(self) -> bool:
        """Whether it is a prompt."""
        return self.tags.get(PROMPT) == "true"


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a registered model. `stage` is empty where it is in none."""

    model: str
    number: str
    user: str = ""
    description: str = ""
    created: int | None = None
    updated: int | None = None
    stage: str = ""
    status: str = ""
    source: str = ""
    run: str = ""
    run_link: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def logged_model(self) -> str:
        """The id of the logged model that it was made of; empty where it was made of none. Only the source tells."""
        found = _LOGGED.fullmatch(self.source)
        return found[1] if found else ""


def run_of(answer: Answer) -> RunRecord:
    """A run, as `runs/get` has it. Raises Unavailable."""
    info, data, inputs, outputs = (answer.object(name) for name in ("info", "data", "inputs", "outputs"))
    return RunRecord(
        info.text("run_id") or info.needed("run_uuid"),
        info.text("experiment_id"),
        state if (state := info.text("status")) in STATES else "RUNNING",
        info.text("run_name"),
        info.text("user_id"),
        info.micros("start_time"),
        info.micros("end_time"),
        data.pairs("params"),
        [value_of(item) for item in data.objects("metrics")],
        data.pairs("tags"),
        [_read(item) for item in inputs.objects("dataset_inputs")],
        [item.needed("model_id") for item in inputs.objects("model_inputs")],
        [item.needed("model_id") for item in outputs.objects("model_outputs")],
    )


def _read(answer: Answer) -> DataRead:
    dataset = answer.object("dataset")
    return DataRead(
        dataset.needed("name"),
        dataset.needed("digest"),
        answer.pairs("tags").get("mlflow.data.context", ""),
        dataset.text("source_type"),
        dataset.text("source"),
        dataset.text("schema"),
        dataset.text("profile"),
    )


def value_of(answer: Answer) -> Value:
    """A value of a metric. Raises Unavailable."""
    return Value(
        answer.needed("key"),
        answer.number("value"),
        answer.integer("step") or 0,
        answer.micros("timestamp"),
        answer.text("dataset_name"),
        answer.text("dataset_digest"),
        answer.text("run_id"),
    )


def logged_model_of(answer: Answer) -> LoggedModel:
    """A logged model, as `logged-models/{id}` has it. Raises Unavailable."""
    info, data = answer.object("info"), answer.object("data")
    return LoggedModel(
        info.needed("model_id"),
        info.text("source_run_id"),
        info.text("name"),
        data.pairs("params"),
        [value_of(item) for item in data.objects("metrics")],
        info.pairs("tags"),
    )


def registered_model_of(answer: Answer) -> RegisteredModel:
    """A registered model. Raises Unavailable."""
    return RegisteredModel(
        answer.needed("name"),
        answer.text("description"),
        answer.micros("creation_timestamp"),
        answer.micros(UPDATED),
        answer.pairs("tags"),
        answer.pairs("aliases", "alias", "version"),
    )


def registered_version_of(answer: Answer) -> RegisteredVersion:
    """A version of a registered model. Raises Unavailable."""
    stage = answer.text("current_stage")
    return RegisteredVersion(
        answer.needed("name"),
        answer.needed("version"),
        answer.text("user_id"),
        answer.text("description"),
        answer.micros("creation_timestamp"),
        answer.micros(UPDATED),
        "" if stage == "None" else stage,
        answer.text("status"),
        answer.text("source"),
        answer.text("run_id"),
        answer.text("run_link"),
        answer.pairs("tags"),
    )
