"""REST in the whole application: tokens, the page for people, and the commands that the docs show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.rest.pages import PATHS
from lineal.app import create_app
from lineal.parts import opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from tests.lineal.conftest import bearer

LOCAL = "http://127.0.0.1:8321"
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.load(graph=f"sqlite:///{tmp_path / 'lineal.db'}", max_depth=6)
    async with opened(settings) as graph:
        app = create_app(settings, graph, Telemetry())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
            yield client


async def test_a_token_opens_what_its_scopes_say(http: httpx.AsyncClient) -> None:
    nobody = await http.get("/api/v1/models")
    assert nobody.status_code == 401
    assert nobody.headers["content-type"] == "application/problem+json"
    assert nobody.headers["www-authenticate"].startswith("Bearer ")
    reader = await http.get("/api/v1/models", headers=bearer("model:read"))
    assert reader.json() == {"items": [], "nextCursor": None}
    denied = await http.post("/api/v1/models", json={"name": "bert"}, headers=bearer("model:read"))
    assert denied.status_code == 403
    assert denied.json()["request"] == denied.headers["x-request-id"]
    made = await http.post("/api/v1/models", json={"name": "bert"}, headers=bearer("model:read", "model:write"))
    assert made.headers["location"] == f"{LOCAL}/api/v1/models/{made.json()['id']}"


async def test_the_limits_are_those_of_the_settings(http: httpx.AsyncClient) -> None:
    deep = await http.get("/api/v1/models?fields=versions.nodes.model.versions.nodes.name", headers=bearer())
    assert deep.status_code == 422


async def test_the_page_is_for_everybody_and_the_document_for_who_may_read_the_schema(http: httpx.AsyncClient) -> None:
    for path in PATHS:
        assert (await http.get(path)).status_code == 200
    assert (await http.get("/api/v1/openapi.json")).status_code == 401
    assert (await http.get("/api/v1/openapi.json", headers=bearer("model:read"))).status_code == 403
    assert (await http.get("/api/v1/openapi.json", headers=bearer("schema:read"))).json()["openapi"] == "3.1.1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a `lineal serve` of one's own."""
    command = [sys.executable, "-m", "lineal", "serve", "--port", "0", "--graph", f"sqlite:///{tmp_path / 'lineal.db'}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LINEAL_LOG_FORMAT": "json"}
    with subprocess.Popen(command, text=True, stderr=subprocess.PIPE, env=env) as process:
        assert process.stderr
        lines = (json.loads(line) for line in process.stderr if line.startswith("{"))
        yield next(line["url"] for line in lines if line["event"] == "listening")
        process.terminate()


def test_the_commands_of_the_docs_work(server: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    shown = re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    commands = shown[1].replace("http://127.0.0.1:8321", server.removesuffix("/graphql").rstrip("/"))
    script = f'set -eu\nlineal() {{ "{sys.executable}" -m lineal "$@"; }}\n' + re.sub(
        r"^curl", "echo; curl -f", commands, flags=re.MULTILINE
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert answers[0]["items"] == []
    assert answers[1]["name"] == "resnet"
    assert answers[2]["aliases"] == ["champion"]
    assert answers[3] == {"number": 1, "model": {"name": "resnet"}}
    assert answers[4]["roots"][0]["address"] == "models:/resnet/1"
