"""What docs/mlflow-import.md shows is so: its file is read, its mutations and commands are run, with a real MLflow."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.remote import Remote
from storage.tracking.config import read
from tests.running import LinealServer
from tests.services import free_port
from tests.tracking.conftest import book, mlflow
from tests.tracking.logbook import Logbook

__all__ = ["book", "mlflow"]

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "mlflow-import.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n?)+", PAGE, re.MULTILINE)
COMMANDS = [line.strip() for block in BLOCKS for line in block.splitlines() if line.startswith("    lineal ")]
ADDRESS, RUN = "https://mlflow.example.org", "19122cefcbdb4555882a9eab2339e62d"
SECONDS = 120


@pytest.fixture
def server(tmp_path: Path, book: Logbook) -> Iterator[LinealServer]:
    """A Lineal with the file of the page, and the server that it names."""
    (file,) = [block for block in BLOCKS if "[trackers" in block]
    text = re.sub("^    ", "", file, flags=re.MULTILINE).replace(ADDRESS, book.url).replace("secrets =", "# secrets =")
    place = tmp_path / "trackers.toml"
    place.write_text(text.replace('["vision", "search"]', '"*"'))
    (tracker,) = read(tomllib.loads(text))
    assert tracker.serves("vision")
    with LinealServer(tmp_path, free_port(), (), trackers=str(place)) as started:
        yield started


def lineal(server: LinealServer, command: str, book: Logbook, run: str) -> subprocess.Popen[str]:
    """A command of the page, running."""
    program, *words = shlex.split(command.replace(ADDRESS, book.url).replace(RUN, run))
    assert program == "lineal"
    environment = {
        **os.environ,
        "PYTHONPATH": str(TOP),
        "LINEAL_GRAPH": f"sqlite:///{server.home / 'lineal.db'}",
        "LINEAL_KEYS": str(server.home / "keys"),
        "LINEAL_PORT": str(server.port),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "lineal", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(4 * SECONDS)
def test_the_page_can_be_followed(server: LinealServer, book: Logbook) -> None:
    run = book.run(params={"lr": "0.1"})
    name = book.registered(f"moved {run[:8]}")
    book.version(name, run_id=run)
    token = LocalIssuer(Keyring(server.home / "keys")).token(scopes=["all"])
    with Remote(server.url, lambda: token) as remote:
        remote.ask('mutation { createWorkspace(input: {name: "vision"}) { workspace { id } } }')
        created, again = (block for block in BLOCKS if "mutation" in block)
        assert remote.ask(created.replace(RUN, run))["createModelVersion"]["version"]["enrichment"] == "QUEUED"
        assert remote.ask(again)["enrichModelVersion"]["version"]["enrichment"] == "QUEUED"
        remote.ask('mutation { createModelVersion(input: {model: "models:/prices"}) { version { id } } }')
        for command in COMMANDS:
            process = lineal(server, command, book, run)
            if "--follow" in command:
                _follow(process, remote, book, name)
            else:
                out, problem = process.communicate(timeout=SECONDS)
                # What others left in the registry may not come over whole, which the command says.
                assert process.returncode == 0 or "import" in command, problem
                assert out
        found = remote.ask(
            "query At($address: ID!) { modelVersion(address: $address) { run { params { name value } } aliases } }",
            address=f"models:/vision:{name}/1",
        )["modelVersion"]
        assert found["run"]["params"] == [{"name": "lr", "value": "0.1"}]
        versions = remote.ask('{ model(address: "models:/prices") { versions { nodes { enrichment } } } }')
        assert json.dumps(versions).count("DONE") == 2


def _follow(process: subprocess.Popen[str], remote: Remote, book: Logbook, name: str) -> None:
    """While it is followed, a version that is made there comes over; an interruption ends it."""
    assert process.stdout is not None
    assert "looked at" in process.stdout.readline()
    book.version(name, "s3://models/second")
    end = time.monotonic() + SECONDS
    query = "query At($address: ID!) { modelVersion(address: $address) { id } }"
    while remote.ask(query, address=f"models:/vision:{name}/2")["modelVersion"] is None:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
