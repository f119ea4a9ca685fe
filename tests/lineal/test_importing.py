"""lineal import: a file, or a whole registry of MLflow."""

from __future__ import annotations

import asyncio
import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from graph.port import Graph
from lineal.cli import app, importing
from lineal.cli.output import Format
from lineal.errors import LinealError, Unavailable
from resolvers.tracking.copying import Copier
from storage.tracking.config import from_environment
from storage.tracking.mlflow import MlflowServer
from tests.services import free_port
from tests.tracking.liar import Liar, says

ODD: Final = 'it\'s "it"'


def run(*arguments: str, **environment: str) -> Any:
    """What a command comes to; an error of Lineal's is raised."""
    result = CliRunner().invoke(app, list(arguments), env=environment)
    if isinstance(result.exception, LinealError):
        raise result.exception
    return result


def test_a_file_is_meant_where_nothing_else_is_named(nowhere: Path) -> None:
    store = f"sqlite:///{nowhere / 'a.db'}"
    assert run("migrate", "--graph", store).exit_code == 0
    assert run("export", "graph.jsonl", "--graph", store).exit_code == 0
    for words in (
        ("graph.jsonl", "--graph", store, "--format", "json"),
        ("--graph", store, "--format", "json", "graph.jsonl"),
        ("file", "graph.jsonl", "--graph", store, "--format", "json"),
    ):
        assert json.loads(run("import", *words).stdout)["new"] == 0


def test_an_empty_registry_is_looked_at(nowhere: Path) -> None:
    with Liar() as liar:
        liar.answer = says({})
        done = run("import", "mlflow", liar.url, MLFLOW_TRACKING_TOKEN="sesame")
        told = run("import", "mlflow", liar.url, "--format", "json")
        assert done.stdout == "looked at 0 models, 0 prompts and 0 versions; 0 things were new or changed\n"
        assert json.loads(told.stdout) == {"models": 0, "prompts": 0, "versions": 0, "written": 0, "problems": 0}


def test_what_could_not_be_brought_over_is_told(nowhere: Path) -> None:
    with Liar() as liar:
        liar.answer = odd
        done = run("import", "mlflow", liar.url)
    assert done.exit_code == 1
    assert "quotes of both kinds" in done.stderr


def test_a_model_that_is_listed_twice_is_looked_at_once(nowhere: Path) -> None:
    with Liar() as liar:
        liar.answer = odd
        done = run("import", "mlflow", liar.url, "--format", "json")
    searches = [path for path in liar.asked if path == "registered-models/search"]
    assert len(searches) == 2, "once for models, once for prompts"
    assert json.loads(done.stdout) == {"models": 1, "prompts": 0, "versions": 0, "written": 0, "problems": 1}
    assert done.stderr.count("quotes of both kinds") == 1


def test_a_server_that_is_away_says_how_to_go_on(nowhere: Path) -> None:
    with pytest.raises(Unavailable, match="do it again, and it goes on from there"):
        run("import", "mlflow", f"http://127.0.0.1:{free_port()}")


def test_no_address_of_a_server_is_refused(nowhere: Path) -> None:
    with pytest.raises(LinealError, match="uri: must be the address of a server"):
        run("import", "mlflow", "file:///mlruns")


async def test_following_waits_for_a_server_that_is_away_and_tells_a_problem_once(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importing, "FULL_SECONDS", 0.2)
    with Liar() as liar:
        copier = Copier(sqlite_graph, MlflowServer(from_environment(liar.url, {})), workspace="default", by="import")
        following = asyncio.create_task(importing._follow(copier, 0.01, Format.TEXT))
        for answer in (says({}, 503), odd):
            liar.answer = answer
            await _asked(liar, 30)
        following.cancel()
        await asyncio.wait([following])
        copier.close()
    told = capsys.readouterr()
    assert "503; trying again" in told.err
    assert told.err.count("quotes of both kinds") == 1


def odd(handler: BaseHTTPRequestHandler) -> None:
    """A registry with a model that cannot be asked for."""
    model = {"name": ODD}
    answers = {
        "registered-models/search": {"registered_models": [model]},
        "registered-models/get": {"registered_model": model},
    }
    says(answers.get(handler.path.partition("?")[0].rpartition("/mlflow/")[2], {}))(handler)


async def _asked(liar: Liar, times: int) -> None:
    """Wait until it was asked so many times more."""
    end, before = time.monotonic() + 60, len(liar.asked)
    while len(liar.asked) < before + times:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
