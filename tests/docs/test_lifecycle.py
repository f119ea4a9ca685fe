"""The pages of the lifecycle can be followed: every command and every document of them is run as it stands there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.remote import Remote
from tests.docs.following import TOP, follow
from tests.environments import environment, run
from tests.lineal.test_transferring import Desk
from tests.lineal.test_validating import LIBRARIES, TRAIN
from tests.running import LinealServer
from tests.services import free_port

STAGES: Final = (TOP / "docs" / "lifecycle.md").read_text(encoding="utf-8")
TESTING: Final = (TOP / "docs" / "lifecycle-validation.md").read_text(encoding="utf-8")
SECONDS: Final = 240
WORKER: Final = "lineal validate --suite tabular"
VERSION: Final = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { id } }
}"""
DATASET: Final = """mutation Register($name: ID!, $version: String!) {
  registerDatasetVersion(input: {dataset: $name, name: $version, createDataset: true}) { version { id } }
}"""

pytestmark = pytest.mark.timeout(SECONDS + 60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LinealServer]:
    """A Lineal on SQLite, without issuers."""
    home = tmp_path / "lineal"
    home.mkdir()
    with LinealServer(home, free_port(), ()) as server:
        yield server


@pytest.fixture
def remote(server: LinealServer) -> Iterator[Remote]:
    """Its API."""
    token = LocalIssuer(Keyring(server.home / "keys")).token(scopes=["all"])
    with Remote(server.url, lambda: token) as remote:
        yield remote


def documents(page: str) -> list[str]:
    """The GraphQL documents of a page, fenced or indented, in order."""
    fenced = re.findall(r"```graphql\n(.*?)```", page, re.DOTALL)
    indented = [block for block in re.findall(r"(?:^    .*\n)+", page, re.MULTILINE) if "{" in block]
    return fenced or [block for block in indented if '"success"' not in block]


def test_the_page_of_stages_and_gates_can_be_followed(server: LinealServer, remote: Remote, tmp_path: Path) -> None:
    scheme, history, gate, request = documents(STAGES)
    (conditions,) = map(json.loads, re.findall(r"```json\n(.*?)```", STAGES, re.DOTALL))
    remote.ask(DATASET, name="datasets:/nq", version="v2")
    for auc in (0.8, 0.85, 0.91):
        measured = {"model": "models:/net", "createModel": True, "metrics": [{"name": "auc", "value": auc}]}
        remote.ask(VERSION, input=measured)
    assert remote.ask(scheme)["declareStageScheme"]["scheme"]["address"]

    remote.ask(gate.replace("to production", "first"), conditions=[{"type": "threshold", "metric": "auc >= 0.9"}])
    said = follow(STAGES, tmp_path, Desk(server, tmp_path).environment, seconds=SECONDS)
    assert "models:/net/3 → stage Production: it passes" in said
    assert said.endswith("models:/net/3  Production\n")
    moments = remote.ask(re.sub(r', at: "[^"]+"', "", history))["model"]["history"]["nodes"]
    assert [(each["reason"], each["move"]["verdict"]["met"]) for each in moments] == [("better on every slice", True)]
    assert remote.ask(history)["model"]["history"]["nodes"] == []

    remote.ask('mutation { createTeam(input: {name: "quality"}) { team { id } } }')
    remote.ask(gate, conditions=conditions)
    remote.ask('mutation { setStage(input: {version: "models:/net/3", stage: "Staging"}) { version { id } } }')
    asked = remote.ask(request)["requestApproval"]["approval"]
    assert (asked["needed"], asked["role"]) == ("2", "APPROVER")


def test_the_page_of_testing_and_retiring_can_be_followed(server: LinealServer, remote: Remote, tmp_path: Path) -> None:
    python = environment("sklearn", *LIBRARIES)
    desk = Desk(server, tmp_path)
    shutil.copytree(TOP / "examples", tmp_path / "examples")
    for name in ("model", "data"):
        (tmp_path / name).mkdir()
    run(python, TRAIN, tmp_path / "model" / "model.joblib", tmp_path / "data" / "rows.csv", cwd=tmp_path)
    for name in ("datasets:/NQ", "datasets:/clicks"):
        remote.ask(DATASET, name=name, version="v2")
    desk.told("push", str(tmp_path / "data"), "datasets:/clicks/v2")
    for alias in ([], ["champion"]):
        remote.ask(VERSION, input={"model": "models:/churn", "createModel": True, "aliases": alias})
    desk.told("push", str(tmp_path / "model"), "churn", "--alias", "challenger")

    record, compare = documents(TESTING)
    remote.ask(record.replace("churn/3", "churn/2").replace("0.91", "0.9"))
    slices = remote.ask(record)["recordEvaluation"]["evaluation"]["slices"]
    assert slices == [{"name": "country=DE", "metrics": [{"name": "auc", "value": 0.84}]}]
    (measured,) = remote.ask(compare)["compareVersions"]["evaluations"]
    whole = next(each for each in measured["metrics"] if each["slice"] is None)
    assert [each["absolute"] for each in whole["deltas"]] == [0.0, pytest.approx(0.01)]

    wanted: dict[str, Any] = {"version": "models:/churn/3", "suite": "tabular", "datasets": ["datasets:/clicks/v2"]}
    wanted["settings"] = {"slices": ["garden"]}
    ask = "mutation R($input: RequestValidationInput!) { requestValidation(input: $input) { validation { id } } }"
    id = remote.ask(ask, input=wanted)["requestValidation"]["validation"]["id"]
    assert WORKER in TESTING
    # A worker goes on until it is stopped.
    page = TESTING.replace(WORKER, f"{WORKER} --once")
    said = follow(page, tmp_path, desk.environment, seconds=SECONDS, python=python)
    assert (
        remote.ask("query V($id: ID!) { validation(address: $id) { state } }", id=id)["validation"]["state"]
        == "SUCCEEDED"
    )
    assert "models:/churn/1" in said
    retired = remote.ask('{ modelVersion(address: "models:/churn/1") { stage retiredAt } }')["modelVersion"]
    assert (retired["stage"], retired["retiredAt"] is not None) == ("Retired", True)
    marks = remote.ask("{ marked { nodes { mark { reason } of { address } } } }")["marked"]["nodes"]
    assert marks == [{"mark": {"reason": "its questions are in the test sets"}, "of": {"address": "datasets:/NQ"}}]
