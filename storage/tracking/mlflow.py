"""A client of an MLflow server's REST API, as far as it is read: runs, logged models, the registry.

It is called from threads that may wait, by several at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lineal.errors import InvalidArgument
from storage.connectors.addresses import Resolve, system
from storage.tracking.answers import Answer
from storage.tracking.config import TrackerConfig
from storage.tracking.records import (
    PROMPT,
    UPDATED,
    LoggedModel,
    RegisteredModel,
    RegisteredVersion,
    RunRecord,
    Value,
    logged_model_of,
    registered_model_of,
    registered_version_of,
    run_of,
    value_of,
)
from storage.tracking.server import Server

MAX_PAGES: Final = 100_000
"""Pages of one list: a server whose lists have no end is not followed for ever."""
PAGE: Final = 100
"""Registered models or versions of a page; each may have tags of 100,000 characters."""
MAX_HISTORY: Final = 10_000
"""Values of one metric."""
_HISTORY_PAGE: Final = 1_000

_PROMPTS: Final = f"tags.`{PROMPT}` = 'true'"
_UNKNOWN: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"})
"""What MLflow says of an id that is none of its own."""


class MlflowServer(Server):
    """One server. Every method raises Away, and Unavailable where one answer is not as MLflow's are."""

    def __init__(self, config: TrackerConfig, resolve: Resolve = system) -> None:
        super().__init__(config, "tracking server", resolve)
        self.config = config

    # Runs and logged models ───────────────────────────────────────────────────────────────────────

    def run(self, id: str) -> RunRecord | None:
        """A run, or None where the server knows none of this id."""
        answer = self._get("runs/get", {"run_id": id})
        return None if answer is None else run_of(answer.object("run"))

    def experiment(self, id: str) -> str:
        """The name of an experiment; empty where the server knows none of this id."""
        answer = self._get("experiments/get", {"experiment_id": id})
        return "" if answer is None else answer.object("experiment").text("name")

    def logged_model(self, id: str) -> LoggedModel | None:
        """A logged model, or None where the server knows none of this id, or is of a time before there were any."""
        path = f"logged-models/{id}"
        answer = self._get(path, {}, old=True) if id.replace("-", "").isalnum() else None
        return None if answer is None else logged_model_of(answer.object("model"))

    def history(self, run: str, metric: str) -> list[Value]:
        """The values of a metric of a run, the first 10,000 of them."""
        found: list[Value] = []
        pages = self._pages("metrics/get-history", run_id=run, metric_key=metric, max_results=_HISTORY_PAGE)
        for page in pages:
            found += [value_of(item) for item in page.objects("metrics")]
            if len(found) >= MAX_HISTORY:
                break
        return found[:MAX_HISTORY]

    # The registry ─────────────────────────────────────────────────────────────────────────────────

    def models(self) -> Iterator[Sequence[RegisteredModel]]:
        """All registered models, and then all prompts, a page at a time."""
        # Where nothing is said of prompts, the server leaves them out.
        for where in ({}, {"filter": _PROMPTS}):
            for page in self._pages("registered-models/search", max_results=PAGE, order_by="name ASC", **where):
                yield [registered_model_of(item) for item in page.objects("registered_models")]

    def versions(self, model: RegisteredModel) -> Iterator[Sequence[RegisteredVersion]]:
        """All versions of a model or prompt, a page at a time, by number. Raises InvalidArgument: its name."""
        where = f"name = {_quoted(model.name)}" + (f" AND {_PROMPTS}" if model.prompt else "")
        pages = self._pages("model-versions/search", filter=where, max_results=PAGE, order_by="version_number ASC")
        for page in pages:
            found = [registered_version_of(item) for item in page.objects("model_versions")]
            yield [version for version in found if version.model == model.name]

    def model(self, name: str) -> RegisteredModel | None:
        """A registered model or prompt, or None where there is none of this name."""
        answer = self._get("registered-models/get", {"name": name})
        return None if answer is None else registered_model_of(answer.object("registered_model"))

    def changed(self, since: int) -> set[str]:
        """The names of models and prompts that were changed, or a version of which was, at or after a time.

        MLflow does not tell so of tags and aliases.
        """
        names: set[str] = set()
        for where in ({}, {"filter": _PROMPTS}):
            for path, items in (("registered-models", "registered_models"), ("model-versions", "model_versions")):
                order = "last_updated_timestamp DESC"
                for page in self._pages(f"{path}/search", max_results=PAGE, order_by=order, **where):
                    found = list(page.objects(items))
                    recent = [each.needed("name") for each in found if (each.micros(UPDATED) or 0) >= since]
                    names.update(recent)
                    if len(recent) < len(found):
                        break
        return names

    # Calls ────────────────────────────────────────────────────────────────────────────────────────

    def _pages(self, path: str, **params: Any) -> Iterator[Answer]:
        return self.paged(path, lambda page: self._get(path, {**params, **page}), MAX_PAGES)

    def _get(self, path: str, params: Mapping[str, Any], *, old: bool = False) -> Answer | None:
        """An answer, or None where the server says that there is no such thing; of `old` servers there may be no such
        path, either.
        """
        status, value = self.asked(f"{self.config.url}/api/2.0/mlflow/{path}", params, path)
        if status == 200:
            return Answer(value, self.place(path))
        code = value.get("error_code") if isinstance(value, Mapping) else None
        if (status in {400, 404} and code in _UNKNOWN) or (old and status == 404):
            return None
        raise self.refused(status, path, code)


def _quoted(name: str) -> str:
    """A name as MLflow's filters take it, which know no escapes. Raises InvalidArgument."""
    for quote in ("'", '"'):
        if quote not in name:
            return f"{quote}{name}{quote}"
    raise InvalidArgument(f"{name!r} has quotes of both kinds: MLflow's search cannot be asked for it", field="name")
