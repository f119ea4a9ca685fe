"""What people log to a tracking server, by its own REST API."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECRET = "hunter2"


def tags(given: Mapping[str, str]) -> list[dict[str, str]]:
    """As MLflow takes them."""
    return [{"key": name, "value": value} for name, value in given.items()]


def dataset(name: str, digest: str, context: str = "training", url: str = "s3://lake/flats.csv") -> dict[str, Any]:
    """A data set as a run reads it, with two columns and three rows."""
    columns = [{"name": "area", "type": "double", "required": True}, {"name": "price", "type": "long"}]
    return {
        "tags": tags({"mlflow.data.context": context}),
        "dataset": {
            "name": name,
            "digest": digest,
            "source_type": "http",
            "source": json.dumps({"url": url}),
            "schema": json.dumps({"mlflow_colspec": columns}),
            "profile": json.dumps({"num_rows": 3, "num_elements": 6}),
        },
    }


class Logbook:
    """A tracking server and registry, in an experiment of one's own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=60)
        self.experiment = f"prices {uuid.uuid4().hex[:8]}"
        self._experiment = self.post("experiments/create", name=self.experiment)["experiment_id"]

    def call(self, method: str, path: str, **body: Any) -> Any:
        """What the server answers. Fails the test where it refuses."""
        answer = self._client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        """The same, by POST."""
        return self.call("POST", path, **body)

    def run(
        self,
        *,
        name: str = "try",
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        datasets: Sequence[Mapping[str, Any]] = (),
        end: bool = True,
        **given: str,
    ) -> str:
        """A run; its id. What is given beside are tags, with `_` for `.` after mlflow."""
        started = int(time.time() * 1_000) - 60_000
        labels = {f"mlflow.{key.replace('__', '.')}": value for key, value in given.items()}
        body = {"experiment_id": self._experiment, "user_id": "ann", "run_name": name, "start_time": started}
        id: str = self.post("runs/create", **body, tags=tags(labels))["run"]["info"]["run_id"]
        if params:
            self.post("runs/log-batch", run_id=id, params=tags(params))
        for step, (key, value) in enumerate((metrics or {}).items()):
            self.metric(id, key, value, step=step)
        if datasets:
            self.post("runs/log-inputs", run_id=id, datasets=list(datasets))
        if end:
            self.end(id)
        return id

    def metric(self, run: str, key: str, value: float, *, step: int = 0, **more: str) -> None:
        """A value of a metric; `more` says of which logged model, and on which data."""
        # JSON has no NaN; protocol buffers take the word.
        shown = "NaN" if math.isnan(value) else value
        point = {"key": key, "value": shown, "timestamp": int(time.time() * 1_000), "step": step, **more}
        self.post("runs/log-metric", run_id=run, **point)

    def end(self, run: str, status: str = "FINISHED") -> None:
        """A run ends."""
        self.post("runs/update", run_id=run, status=status, end_time=int(time.time() * 1_000))

    def logged_model(self, run: str, name: str = "model") -> str:
        """A logged model that a run made; its id."""
        body = {"experiment_id": self._experiment, "name": name, "source_run_id": run}
        made = self.post("logged-models", **body, params=tags({"trees": "10"}))
        id: str = made["model"]["info"]["model_id"]
        self.post("runs/outputs", run_id=run, models=[{"model_id": id, "step": 0}])
        return id

    def read_model(self, run: str, model: str) -> None:
        """A run reads a logged model."""
        self.post("runs/log-inputs", run_id=run, models=[{"model_id": model}])

    def registered(self, name: str, **more: Any) -> str:
        """A registered model; its name."""
        self.post("registered-models/create", name=name, **more)
        return name

    def version(self, name: str, source: str = "s3://models/x", **more: Any) -> str:
        """A version of it; its number."""
        number: str = self.post("model-versions/create", name=name, source=source, **more)["model_version"]["version"]
        return number

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
