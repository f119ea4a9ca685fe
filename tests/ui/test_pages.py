"""The pages as they are served: for anybody, under a strict policy, with all that they need."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.ui.pages import NAMES, PATHS
from lineal.app import create_app
from lineal.errors import InvalidArgument
from lineal.parts import opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from tests.lineal.conftest import bearer

LOCAL = "http://127.0.0.1:8321"
CORP = {"name": "corp", "url": "https://login.example.org/realms/corp"}
BROWSER = {
    "browser_client_id": "lineal-web",
    "browser_scopes": ["models"],
    "browser_origins": ["https://token.example.org/x"],
}


@asynccontextmanager
async def served(home: Path, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.load(graph=f"sqlite:///{home / 'lineal.db'}", keys=home / "keys", **more)
    async with opened(settings) as graph:
        app = create_app(settings, graph, Telemetry())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
            yield client


def policy(answer: httpx.Response) -> dict[str, str]:
    rules = answer.headers["content-security-policy"].split("; ")
    return dict(rule.split(" ", 1) for rule in rules)


async def test_pages_and_files_are_for_everybody_and_the_embedded_one_starts_there(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        for path in PATHS:
            assert (await http.get(path)).status_code == 200, path
        start = await http.get("/")
        assert (start.status_code, start.headers["location"]) == (307, "graphiql")
        assert (await http.get("/graphiql/nothing.js", headers=bearer(keys=tmp_path / "keys"))).status_code == 404
        config = (await http.get("/graphiql/config.json")).json()
    assert config == {"issuers": [], "resource": f"{LOCAL}/graphql", "local": True, "anonymous": False}


async def test_the_policy_lets_nothing_run_that_is_not_of_this_origin(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        first, second = [await http.get("/graphiql") for _ in range(2)]
    rules = policy(first)
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["worker-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in first.headers["content-security-policy"]
    assert first.headers["cache-control"] == "no-store"
    nonces = [re.search(r"'nonce-([^']+)'", policy(page)["style-src"])[1] for page in (first, second)]  # type: ignore[index]
    assert nonces[0] != nonces[1]
    assert f'content="{nonces[0]}"' in first.text


async def test_pages_name_nothing_elsewhere(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        for path in ("/graphiql", "/lineage"):
            linked = re.findall(r'(?:href|src)="([^"]+)"', (await http.get(path)).text)
            assert linked
            for link in linked:
                assert link.startswith("data:") or link.removeprefix("graphiql/") in NAMES


async def test_files_travel_compressed_and_once(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        whole = await http.get("/graphiql/lineage.js", headers={"accept-encoding": "identity"})
        small = await http.get("/graphiql/lineage.js", headers={"accept-encoding": "gzip"})
        again = await http.get("/graphiql/lineage.js", headers={"if-none-match": whole.headers["etag"]})
    assert "content-encoding" not in whole.headers
    assert small.headers["content-encoding"] == "gzip"
    assert small.content == whole.content
    assert (again.status_code, again.content) == (304, b"")


async def test_people_sign_in_at_the_issuers_that_have_a_client_for_browsers(tmp_path: Path) -> None:
    issuers = [CORP | BROWSER, {"name": "ci", "url": "https://ci.example.org"}]
    async with served(tmp_path, issuers=issuers, resource=f"{LOCAL}/graphql", anonymous=True) as http:
        config = (await http.get("/graphiql/config.json")).json()
        rules = policy(await http.get("/graphiql"))
    assert config["issuers"] == [{"name": "corp", "url": CORP["url"], "clientId": "lineal-web", "scopes": ["models"]}]
    assert (config["local"], config["anonymous"]) == (False, True)
    assert rules["connect-src"] == "'self' https://login.example.org https://token.example.org"


async def test_only_the_picture_is_framed_and_only_where_the_settings_say(tmp_path: Path) -> None:
    async with served(tmp_path, embed_origins=("https://wiki.example.org", "http://127.0.0.1:9")) as http:
        assert policy(await http.get("/lineage"))["frame-ancestors"] == "https://wiki.example.org http://127.0.0.1:9"
        assert policy(await http.get("/graphiql"))["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("origin", ["wiki.example.org", "https://wiki.example.org/", "https://*; script-src *", "*"])
def test_what_may_frame_it_is_an_origin(origin: str) -> None:
    with pytest.raises(InvalidArgument, match="is no origin"):
        Settings.load(embed_origins=(origin,))


async def test_the_pages_can_be_left_out(tmp_path: Path) -> None:
    async with served(tmp_path, graphiql=False) as http:
        for path in ("/graphiql", "/lineage", "/graphiql/lineage.js", "/graphiql/config.json"):
            assert (await http.get(path)).status_code == 404
