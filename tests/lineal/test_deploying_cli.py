"""lineal deploy, promote, rollback, stop and status, against a Lineal and a platform that run as processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lineal.test_transferring import Desk
from tests.running import ROOT, LinealServer
from tests.services import free_port
from tests.serving.bento_server import BentoServer
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformServer]:
    """A platform, running."""
    with PlatformServer(tmp_path_factory.mktemp("platform"), SECRET) as server:
        yield server


@pytest.fixture(scope="module")
def cloud() -> Iterator[BentoServer]:
    """A platform that needs settings, standing in for BentoCloud."""
    server = BentoServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, platform: PlatformServer, cloud: BentoServer
) -> Iterator[LinealServer]:
    """A Lineal that has the platforms as its targets `farm` and `cloud`."""
    home = tmp_path_factory.mktemp("lineal")
    (home / "models").mkdir()
    (home / "targets.toml").write_text(f"""
[targets.farm]
platform = "webhook"
url = "{platform.url}/deployments"
workspaces = "*"
secrets = {{ key_file = "{home / "secret"}" }}
files = {{ mode = "folder", path = "{home / "models"}" }}

[targets.cloud]
platform = "bentoml"
url = "http://127.0.0.1:{cloud.port}"
workspaces = "*"
secrets = {{ token_file = "{home / "secret"}" }}
""")
    (home / "secret").write_text(SECRET)
    with LinealServer(home, free_port(), (), targets=str(home / "targets.toml"), observe_seconds="1") as server:
        yield server


@pytest.fixture
def desk(server: LinealServer, nowhere: Path) -> Desk:
    """Somebody on the machine of the server."""
    return Desk(server, nowhere)


def pushed(desk: Desk, model: str, answer: str) -> str:
    """The address of a new version that answers so."""
    told = desk.told("push", str(desk.write(answer=answer.encode())), model)
    return str(told["version"])


def answers(desk: Desk, platform: PlatformServer, name: str) -> int | None:
    query = "query One($of: ID!) { deployment(address: $of) { platformName } }"
    found = _ask(desk, query, of=f"deployments:/{name}")["deployment"]["platformName"]
    answer: int | None = httpx.get(f"{platform.url}/predict/{found}", timeout=30).json()["answer"]
    return answer


def _ask(desk: Desk, query: str, **variables: Any) -> dict[str, Any]:
    token = desk.run("token").stdout.strip()
    answer = desk.server.ask(token, query=query, **variables).json()
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


def _mutation(name: str, gives: str) -> str:
    return f"mutation M($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ {gives} {{ id }} }} }}"


def test_from_a_push_to_a_rollback(desk: Desk, platform: PlatformServer) -> None:
    one, two = pushed(desk, "ranker", "1"), pushed(desk, "ranker", "2")
    ready = desk.told("deploy", one, "farm", "--environment", "staging", "--reason", "the first")
    assert (ready["address"], ready["phase"], ready["verifiedRevision"]) == ("deployments:/ranker", "READY", 1)
    assert answers(desk, platform, "ranker") == 1
    for elsewhere, field in (["barn"], "target"), (["farm", "--environment", "moon"], "environment"):
        code, said = desk.refused("deploy", two, *elsewhere, "--canary", "--weight", "0.5")
        assert (code, said.partition(": deployments:/")[0]) == (2, field)
    desk.told("deploy", two, "farm", "--canary", "--weight", "0.5")
    (row,) = desk.told("status", "ranker")["deployments"]
    assert {edge["node"]["address"]: edge["weight"] for edge in row["serves"]["edges"]} == {one: 0.5, two: 0.5}
    desk.told("promote", "ranker")
    assert answers(desk, platform, "ranker") == 2
    back = desk.told("rollback", "ranker", "--reason", "two is worse")
    assert (back["phase"], back["desiredRevision"]) == ("READY", 4)
    desk.told("rollback", "ranker", "--to", "1")
    assert answers(desk, platform, "ranker") == 1
    assert desk.told("stop", "deployments:/ranker")["phase"] == "STOPPED"
    assert answers(desk, platform, "ranker") is None


def test_a_rollback_past_a_mark_on_the_data_is_overridden_with_a_reason(desk: Desk, platform: PlatformServer) -> None:
    # What guards an environment is asked of everything else in its workspace too.
    _ask(desk, 'mutation { createWorkspace(input: {name: "walled"}) { workspace { id } } }')
    given = {"dataset": "datasets:/walled:flats", "createDataset": True, "name": "v1"}
    _ask(desk, _mutation("registerDatasetVersion", "version"), input=given)
    conditions = [{"type": "cleanData"}]
    given = {"name": "clean", "workspace": "walled", "environment": "production", "conditions": conditions}
    _ask(desk, _mutation("declareGate", "gate"), input=given)
    for answer in ("1", "2"):
        folder = str(desk.write(answer=answer.encode()))
        pushed = desk.told("push", folder, "models:/walled:flats", "--trained-on", "datasets:/walled:flats/v1")
        desk.told("deploy", pushed["version"], "farm", "--environment", "production")
    desk.told("mark", "datasets:/walled:flats", "--reason", "those of another city")

    code, said = desk.refused("rollback", "deployments:/walled:flats")
    assert (code, "datasets:/walled:flats" in said) == (1, True)
    assert answers(desk, platform, "walled:flats") == 2
    back = desk.told("rollback", "deployments:/walled:flats", "--override", "nothing else is left")
    assert (back["phase"], back["desiredRevision"]) == ("READY", 3)
    assert answers(desk, platform, "walled:flats") == 1
    entries = _ask(desk, '{ audit(workspace: "walled", action: "overrideGate") { nodes { data } } }')["audit"]["nodes"]
    assert ["nothing else is left" in json.dumps(entry["data"]) for entry in entries] == [True]


def test_a_platform_is_told_the_settings_that_it_needs(desk: Desk, cloud: BentoServer) -> None:
    cloud.bentos |= {"flats:v1": 1, "flats:v2": 2}
    one, two = pushed(desk, "bentos", "1"), pushed(desk, "bentos", "2")
    code, said = desk.refused("deploy", one, "cloud")
    assert (code, said.partition(": ")[0]) == (2, "settings.bento")
    settings = ("--setting", "bento=flats:v{number}", "--setting", "service=main", "--setting", 'env={"MODE": "a=b"}')
    resources = ("--resource", "min_replicas=2", "--resource", "instance_type=cpu.1")
    others = ("--drift-policy", "REPORT", "--progress-seconds", "120")
    assert desk.told("deploy", one, "cloud", *settings, *resources, *others)["phase"] == "READY"
    query = "query One($of: ID!) { deployment(address: $of) { platformName driftPolicy progressSeconds } }"
    found = _ask(desk, query, of="deployments:/bentos")["deployment"]
    assert (found["driftPolicy"], found["progressSeconds"]) == ("REPORT", 120)
    # What is not said again stays.
    assert desk.told("deploy", two, "cloud")["phase"] == "READY"
    told = cloud.deployments[found["platformName"]].told
    assert (told["bento"], {"name": "MODE", "value": "a=b"} in told["envs"]) == ("flats:v2", True)
    assert told["services"] == {"main": {"instance_type": "cpu.1", "scaling": {"min_replicas": 2}}}


def test_status_is_a_table_of_all_deployments(desk: Desk) -> None:
    version = pushed(desk, "shown", "1")
    desk.told("deploy", version, "farm", "--name", "shown-here")
    lines = desk.run("status").stdout.splitlines()
    assert lines[0].split() == [
        "deployment",
        "phase",
        "serves",
        "replicas",
        "revision",
        "environment",
        "target",
        "message",
    ]
    (row,) = [line.split() for line in lines if line.startswith("deployments:/shown-here")]
    assert row[:3] == ["deployments:/shown-here", "READY", version]
    assert "farm" in row


def watched(desk: Desk, *arguments: str, terminal: bool = False) -> str:
    """What is shown of a deployment that is watched while it is stopped, until Ctrl-C, which ends it with 0."""
    version = pushed(desk, "watched", "1")
    desk.told("deploy", version, "farm")
    ours, theirs = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "lineal", "status", "watched", "--watch", *arguments],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, **desk.environment, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(theirs)
    said = b""

    def until(word: bytes) -> None:
        nonlocal said
        while word not in said:
            more = os.read(ours, 65_536)
            assert more, process.communicate()
            said += more

    try:
        until(b"READY")
        # Long enough for it to look again, and find nothing new.
        time.sleep(3)
        desk.told("stop", "watched")
        until(b"STOPPED")
        process.send_signal(signal.SIGINT)
        _, problem = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert (process.returncode, problem) == (0, b"")
    return said.decode()


def test_what_is_watched_is_shown_in_its_place_on_a_terminal(desk: Desk) -> None:
    up = "\x1b[1A"
    assert up in watched(desk, terminal=True)


def test_what_is_watched_is_shown_in_a_pipe_whenever_it_is_another(desk: Desk) -> None:
    shown = watched(desk)
    assert "\x1b" not in shown
    heads, rows = shown.splitlines()[::2], shown.splitlines()[1::2]
    assert {head.split()[0] for head in heads} == {"deployment"}
    assert {row.split()[0] for row in rows} == {"deployments:/watched"}
    assert all(before != after for before, after in pairwise(rows))


def test_what_is_watched_is_a_line_of_json_whenever_it_is_another(desk: Desk) -> None:
    shown = [json.loads(line)["deployments"] for line in watched(desk, "--format", "json").splitlines()]
    assert [shown[0][0]["phase"], shown[-1][0]["phase"]] == ["READY", "STOPPED"]
    assert all(before != after for before, after in pairwise(shown))


def test_what_fails_says_so_and_ends_with_one(desk: Desk) -> None:
    good, bad = pushed(desk, "fragile", "1"), pushed(desk, "fragile", "nonsense")
    desk.told("deploy", good, "farm")
    done = desk.run("deploy", bad, "farm", "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["phase"] == "READY"
    assert "revision 2 of deployments:/fragile failed" in done.stderr


def test_who_does_not_wait_is_told_what_shall_be(desk: Desk) -> None:
    version = pushed(desk, "patient", "1")
    told = desk.told("deploy", version, "farm", "--no-wait")
    assert told["desiredRevision"] == 1
    assert told["phase"] in {"PENDING", "ROLLING_OUT", "READY"}


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["deploy", "models:/unknown/1", "farm"], 1, "there is no 'models:/unknown/1'"),
        (["deploy", "models:/ranker/1", "farm", "--weight", "0.5"], 2, "goes with --canary"),
        (["deploy", "models:/ranker/1", "farm", "--setting", "batch"], 2, "--setting: 'batch' must be KEY=VALUE"),
        (["deploy", "models:/ranker/1", "farm", "--resource", "=1"], 2, "--resource: '=1' must be KEY=VALUE"),
        (["deploy", "models:/ranker/1", "farm", "--canary", "--setting", "a=1"], 2, "--canary: is served like"),
        (["deploy", "models:/ranker/1", "farm", "--canary", "--progress-seconds", "9"], 2, "--canary: is served like"),
        (["deploy", "models:/ranker/1", "nowhere", "--name", "new"], 2, "no target 'nowhere' is configured"),
        (["rollback", "unknown"], 1, "there is no Deployment"),
        (["status", "unknown"], 1, "there is no 'deployments:/unknown'"),
        (["status", "unknown", "--watch"], 1, "there is no 'deployments:/unknown'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(desk: Desk, arguments: list[str], code: int, why: str) -> None:
    pushed(desk, "ranker", "1")
    returned, said = desk.refused(*arguments)
    assert returned == code
    assert why in said
