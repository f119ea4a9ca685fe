"""A user's day with real packages: training code of MLflow's users runs as it is, with Lineal as its registry."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.mlflow.serving import LinealProcess, Reference, run_client

QUERY = """{ modelVersion(address: "%s") {
  number runId loggedModel source enrichment enrichmentMessage model { name }
  artifacts { nodes { storage frameworks pickles } }
} }"""
LINEAGE = """{ lineage(of: ["models:/prices@champion"], direction: UPSTREAM) {
  complete
  nodes { distance node { kind name ... on CodeRevision { commit } ... on DatasetVersion { dataset { name } } } }
  edges { kind }
} }"""
SECONDS = 300


def committed(script: Path, home: Path) -> tuple[Path, str]:
    """The script in a repository of its user, and its commit."""
    home.mkdir()
    mine = home / "train.py"
    shutil.copy(script, mine)
    git = ["git", "-C", str(home), "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    for command in (["init", "-q"], ["add", "train.py"], ["commit", "-q", "-m", "Train"]):
        subprocess.run([*git, *command], check=True)
    said = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return mine, said.stdout.strip()


@pytest.mark.timeout(900)
def test_a_model_that_was_logged_is_registered_loaded_and_predicts_the_same_and_its_lineage_is_there(
    tmp_path: Path,
) -> None:
    store = f"sqlite:///{tmp_path / 'lineal' / 'lineal.db'}"
    trackers = tmp_path / "trackers.toml"
    with Reference(tmp_path / "mlflow") as tracking:
        options = "options = { allow_private = true }"
        trackers.write_text(f'[trackers.mlflow]\nurl = "{tracking.url}"\nworkspaces = "*"\n{options}\n')
        script, commit = committed(Path(__file__).with_name("day.py"), tmp_path / "code")
        with LinealProcess(tmp_path / "lineal", store, {"LINEAL_TRACKERS": str(trackers)}) as lineal:
            said = run_client(script, tracking.url, lineal.url, cwd=tmp_path, MLFLOW_TRACKING_TOKEN=lineal.token)
            day = json.loads(said.splitlines()[-1])
            assert day["loaded"] == day["proxied"] == day["expected"]
            assert day["model"].startswith("models:/m-")
            assert day["status"] == "READY"

            def ask(query: str) -> Any:
                headers = {"authorization": f"Bearer {lineal.token}"}
                answer = httpx.post(f"{lineal.url}/graphql", json={"query": query}, headers=headers, timeout=60).json()
                assert "errors" not in answer, answer
                return next(iter(answer["data"].values()))

            found = ask(QUERY % "models:/prices@champion")
            assert (found["number"], found["model"]["name"], found["source"]) == (1, "prices", day["model"])
            assert found["loggedModel"] == day["model"].removeprefix("models:/")
            (artifact,) = ask(QUERY % "models:/rents/1")["artifacts"]["nodes"]
            assert artifact["storage"] == "MANAGED"
            assert "scikit-learn" in artifact["frameworks"]

            deadline = time.monotonic() + SECONDS
            while (found := ask(QUERY % "models:/prices/1"))["enrichment"] != "DONE" and time.monotonic() < deadline:
                time.sleep(0.2)
            assert found["enrichment"] == "DONE", found
            lineage = ask(LINEAGE)
            nodes = {each["node"]["kind"]: each["node"] for each in lineage["nodes"]}
            assert lineage["complete"]
            assert nodes["MODEL_VERSION"]["name"] == "1"
            assert nodes["RUN"]["name"] == day["run"]
            assert nodes["DATASET_VERSION"]["dataset"]["name"] == "flats"
            assert nodes["CODE_REVISION"]["commit"] == commit
            assert {each["kind"] for each in lineage["edges"]} >= {"PRODUCED_BY", "READ", "BUILT_FROM"}
