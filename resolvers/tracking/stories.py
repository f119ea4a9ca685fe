"""What is fetched from a tracking server about one version: its run, what started that, and the logged model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.tracking.mlflow import MlflowServer
from storage.tracking.records import LoggedModel, RunRecord, Value

MAX_ANCESTORS: Final = 8
"""Runs that each started the next."""
MAX_HISTORIES: Final = 100
"""Metrics of which every value is read."""
PARENT: Final = "mlflow.parentRunId"


@dataclass(frozen=True, slots=True)
class Story:
    """Where a version came from.

    `url` is the address of the server; `ancestors` are the runs that led to the run, the nearest first; `experiments`
    are names by id; `histories` all values of metrics of the run by name, where these are read.
    """

    url: str
    run: RunRecord | None = None
    ancestors: Sequence[RunRecord] = ()
    experiments: Mapping[str, str] = field(default_factory=dict)
    logged: LoggedModel | None = None
    histories: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    @property
    def goes_on(self) -> bool:
        """Whether the run has not ended, so that there will be more to tell."""
        return self.run is not None and self.run.state in {"SCHEDULED", "RUNNING"}


def fetch(server: MlflowServer, run_id: str, logged_id: str) -> Story | None:
    """The story of what a run, or a logged model, made; None where the server knows neither. Raises Unavailable."""
    run = server.run(run_id) if run_id else None
    logged = server.logged_model(logged_id) if logged_id else None
    if run is None and logged is not None and logged.run:
        run = server.run(logged.run)
    if run is None and logged is None:
        return None
    ancestors = [] if run is None else _ancestors(server, run)
    experiments = dict.fromkeys(each.experiment for each in ([run] if run else []) + ancestors if each.experiment)
    return Story(
        server.config.url,
        run,
        ancestors,
        {id: name for id in experiments if (name := server.experiment(id))},
        logged,
        _histories(server, run) if run is not None and server.config.with_history else {},
    )


def _ancestors(server: MlflowServer, run: RunRecord) -> list[RunRecord]:
    found: list[RunRecord] = []
    seen = {run.id}
    while len(found) < MAX_ANCESTORS and (id := run.tags.get(PARENT, "")) and id not in seen:
        seen.add(id)
        if (parent := server.run(id)) is None:
            break
        found.append(parent)
        run = parent
    return found


def _histories(server: MlflowServer, run: RunRecord) -> dict[str, list[Value]]:
    names = list(dict.fromkeys(metric.name for metric in run.metrics))[:MAX_HISTORIES]
    return {name: server.history(run.id, name) for name in names}
