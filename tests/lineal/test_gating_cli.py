"""lineal gate and stage, against a Lineal that runs as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineal.remote import Remote
from lineal.settings import Settings
from tests.lineal.test_transferring import Desk
from tests.running import LinealServer
from tests.services import free_port

CREATE = """mutation {
  createModelVersion(input: {model: "models:/net", createModel: true, metrics: [{name: "auc", value: 0.91}]}) {
    version { address }
  }
}"""
GATE = """mutation($conditions: [JSON!]!) {
  declareGate(input: {name: "out", stage: "Production", conditions: $conditions}) { gate { id } }
}"""
AUC = {"type": "threshold", "metric": "auc >= 0.9"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinealServer]:
    """A Lineal on SQLite, without issuers."""
    server = LinealServer(tmp_path_factory.mktemp("lineal"), free_port(), ())
    server.home.mkdir(exist_ok=True)
    with server:
        yield server


@pytest.fixture
def desk(server: LinealServer, nowhere: Path) -> Desk:
    """Somebody on the machine of the server."""
    return Desk(server, nowhere)


def test_a_gate_is_asked_and_passed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    with Remote.of(Settings.load()) as remote:
        version = remote.ask(CREATE)["createModelVersion"]["version"]["address"]
        assert (
            desk.run("gate", version, "--stage", "production").stdout
            == f"{version} → stage Production: no gate guards it\n"
        )
        remote.ask(GATE, conditions=[AUC, {"type": "verified"}])

    done = desk.run("gate", version, "--stage", "production")
    assert done.returncode == 1
    assert [line.split() for line in done.stdout.splitlines()[:2]] == [
        ["met", "out", "threshold", "the", "threshold", "is", "met:", "auc", "0.91", ">=", "0.9"],
        ["not", "met", "out", "verified", "the", "version", "has", "no", "files"],
    ]
    assert done.stdout.splitlines()[2] == f"{version} → stage Production: 1 of 2 conditions not met"

    code, problem = desk.refused("pull", version, "copy")
    assert (code, f"{version} has no files, or none that you may read" in problem) == (1, True)
    code, problem = desk.refused("stage", version, "Production", "--reason", "better")
    assert (code, "the gate of stage 'Production' is not passed: the version has no files" in problem) == (1, True)
    staged = desk.told("stage", version, "staging", "--reason", "looks right")
    assert (staged["address"], staged["stage"]) == (version, "Staging")
    told = desk.told("gate", version, "--stage", "Staging")
    assert (told["met"], told["conditions"]) == (True, [])
    assert desk.run("stage", version, "production", "--override", "outage").stdout == f"{version}  Production\n"
    assert desk.run("stage", version, "none").stdout == f"{version}  none\n"


def test_what_is_asked_wrongly_is_told_in_one_line(desk: Desk) -> None:
    assert desk.refused("gate", "models:/gone/1", "--stage", "Production")[0] == 1
    code, problem = desk.refused("gate", "models:/bert/1")
    assert (code, problem) == (2, "stage: name one of stage, alias, environment, not none of them")
