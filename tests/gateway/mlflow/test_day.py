"""A user's day with real packages: training code of MLflow's users runs as it is, with Lineal as its registry."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.gateway.mlflow.serving import LinealProcess, Reference, run_client

QUERY = """{ modelVersion(address: "models:/%s@champion") {
  number runId loggedModel source model { name } artifacts { nodes { storage frameworks pickles } }
} }"""


@pytest.mark.timeout(900)
def test_a_model_that_was_logged_is_registered_loaded_and_predicts_the_same(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'lineal' / 'lineal.db'}"
    with Reference(tmp_path / "mlflow") as tracking, LinealProcess(tmp_path / "lineal", store) as lineal:
        script = Path(__file__).with_name("day.py")
        token = {"MLFLOW_TRACKING_TOKEN": lineal.token}
        said = run_client(script, tracking.url, lineal.url, cwd=tmp_path, **token)
        day = json.loads(said.splitlines()[-1])
        assert day["loaded"] == day["proxied"] == day["expected"]
        assert day["model"].startswith("models:/m-")
        assert day["status"] == "READY"
        headers = {"authorization": f"Bearer {lineal.token}"}
        version = httpx.post(f"{lineal.url}/graphql", json={"query": QUERY % "prices"}, headers=headers).json()
        found = version["data"]["modelVersion"]
        # The client names the logged model alone; which run made that, the tracking server knows.
        assert (found["number"], found["model"]["name"], found["source"]) == (1, "prices", day["model"])
        assert found["loggedModel"] == day["model"].removeprefix("models:/")
        kept = httpx.post(
            f"{lineal.url}/graphql",
            json={"query": QUERY.replace("@champion", "/1") % "rents"},
            headers=headers,
        ).json()["data"]["modelVersion"]
        (artifact,) = kept["artifacts"]["nodes"]
        assert artifact["storage"] == "MANAGED"
        assert "scikit-learn" in artifact["frameworks"]
