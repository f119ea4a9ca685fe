"""Every route of the application, and who may ask it: a route that is in no list fails a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from auth.local import UNBOUNDED
from auth.scopes import MLFLOW, OPEN, ROUTES, SCOPES, Requirement, needs
from gateway.inbound import PATHS as HOOKS
from gateway.mlflow import webhooks
from gateway.mlflow.artifacts import MlflowArtifactsRoute
from gateway.mlflow.routes import ENDPOINTS, MlflowRoute
from gateway.mlflow.webhooks import MlflowWebhooksRoute
from gateway.openlineage.published import PATHS as FACETS
from gateway.openlineage.view import WITHIN
from gateway.rest.app import DOCS, OPENAPI, Rest
from gateway.rest.beside import BESIDE
from gateway.rest.routes import PATH
from gateway.ui.pages import CONFIG, FILES, GRAPHIQL, LINEAGE, NAMES, START
from graph.port import Graph, NewNode
from lineal.app import create_app
from lineal.parts import opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from tests import building
from tests.lineal.conftest import bearer

LOCAL: Final = "http://127.0.0.1:8321"

ANYBODY: Final = {
    *("GET /healthz", "GET /readyz", "GET /health", "GET /w/{workspace}/health"),
    # Open where only this machine can ask; tests/lineal/test_access.py has it elsewhere.
    "GET /metrics",
    "GET /.well-known/oauth-protected-resource",
    "GET /.well-known/oauth-protected-resource/graphql",
    *(f"GET {path}" for path in FACETS),
    *(f"GET {path}" for path in (GRAPHIQL, LINEAGE, CONFIG, f"{FILES}{{name}}", START)),
}
"""For whoever asks: a browser that opens a page has no token yet."""

ELSEWHERE: Final = {
    "* /graphql": "each field by itself: tests/schema/test_scope_matrix.py",
    "WS /graphql": "each field by itself, as whoever the first message says: tests/live",
    **{f"POST {path}": "the secret that its hub has: tests/gateway/test_inbound.py" for path in HOOKS},
    "GET /bytes/{sha256}": "the address is signed, and opens one thing: tests/gateway/test_bytes.py",
    "PUT /bytes/{sha256}": "the address is signed, and opens one thing: tests/gateway/test_bytes.py",
}
"""What has no scopes of its own to be opened by."""

SCIM: Final = {
    f"{method} /scim/v2{path}"
    for path in ("/Users", "/Users/{id}", "/Groups", "/Groups/{id}")
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
} | {
    f"{method} /scim/v2{path}"
    for path in (
        *("/ServiceProviderConfig", "/ResourceTypes", "/ResourceTypes/{id}", "/Schemas", "/Schemas/{id}"),
        "/{rest:path}",
    )
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
}

_MLFLOW: Final = "/api/2.0/mlflow"
_FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"


def _of_mlflow() -> Iterator[tuple[str, Requirement]]:
    """MLflow's endpoints, each under both of its prefixes, of the default workspace and of another."""
    for place in ("", "/w/{workspace}"):
        for api in ("/api/2.0", "/ajax-api/2.0"):
            at = f"{place}{api}/mlflow"
            for path, methods in ENDPOINTS.items():
                for method, endpoint in methods.items():
                    yield f"{method} {at}/{path}", endpoint.needs
            for path, handlers in webhooks.HANDLERS.items():
                for method in handlers:
                    yield f"{method} {at}/webhooks{path}", MLFLOW[webhooks.ASKS]
            for method, name in (("GET", "artifacts"), ("PUT", "artifacts (write)"), ("DELETE", "artifacts (write)")):
                yield f"{method} {place}{api}/mlflow-artifacts/artifacts/a/b", MLFLOW[name]
            yield f"GET {place}{api}/mlflow-artifacts/artifacts", MLFLOW["artifacts"]
        for at in ("", "/ajax-api/2.0/mlflow"):
            yield f"GET {place}{at}/model-versions/get-artifact", MLFLOW["model-versions/get-artifact"]
        yield f"GET {place}/api/3.0/mlflow/server-info", MLFLOW["server-info"]


def listed(routes: Iterable[BaseRoute], before: str = "") -> Iterator[tuple[str, Requirement]]:
    """The routes of an application with what opens each. Raises AssertionError: nobody said what opens one."""
    mlflow = set()
    for route in routes:
        if isinstance(route, Mount) and isinstance(route.app, Rest):
            yield f"GET {PATH}{OPENAPI}", needs("schema:read")
            yield f"GET {PATH}{DOCS}", OPEN
            for plan in route.app.plans:
                yield f"{plan.route.method} {PATH}{plan.route.path}", plan.needed
        elif isinstance(route, Mount) and route.routes:
            yield from listed(route.routes, before + route.path)
        elif isinstance(route, (MlflowRoute, MlflowArtifactsRoute, MlflowWebhooksRoute)):
            mlflow.add(type(route))
        elif isinstance(route, WebSocketRoute):
            yield _plain(f"WS {before}{route.path}")
        else:
            assert isinstance(route, Route), f"{route}: say what opens it"
            for method in sorted((route.methods or {"*"}) - {"HEAD"}):
                yield _plain(f"{method} {before}{route.path}")
    if mlflow:
        assert len(mlflow) == 3
        yield from _of_mlflow()


def _plain(name: str) -> tuple[str, Requirement]:
    if name in ANYBODY or name in ELSEWHERE:
        return name, OPEN
    if name in SCIM:
        return name, needs("directory:write")
    line = name.replace(f" {WITHIN}", " ")
    assert line in ROUTES, f"{name}: a line of auth.scopes.ROUTES must say what opens it"
    return name, ROUTES[line]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[tuple[Starlette, Graph]]:
    """The whole application and its store."""
    settings = Settings.load(graph=f"sqlite:///{tmp_path / 'lineal.db'}", storage=str(tmp_path / "artifacts"))
    async with opened(settings) as graph:
        app = create_app(settings, graph, Telemetry())
        async with app.router.lifespan_context(app):
            yield app, graph


@pytest.fixture
async def http(app: tuple[Starlette, Graph]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app[0]), base_url=LOCAL) as client:
        yield client


async def asked(http: httpx.AsyncClient, name: str, headers: dict[str, str], workspace: str = "x") -> httpx.Response:
    """The answer of a route to a request with nothing in it that it could use."""
    method, path = name.split(" ", 1)
    path = path.replace("{workspace}", workspace).replace("{rest:path}", "x")
    path = path.replace(f"{FILES}{{name}}", f"{FILES}{min(NAMES)}")
    while "{" in path:
        path = f"{path[: path.index('{')]}x{path[path.index('}') + 1 :]}"
    body: dict[str, Any] = {} if method in {"GET", "DELETE"} else {"json": {}}
    return await http.request("GET" if method == "*" else method, path, headers=headers, **body)


async def test_whatever_is_answered_is_listed_with_what_opens_it(app: tuple[Starlette, Graph]) -> None:
    found = dict(listed(app[0].routes))
    assert len(found) > 350
    assert {f"{beside.method} {beside.path}" for beside in BESIDE} <= found.keys()
    assert {name.replace(f" {WITHIN}", " ") for name in found} >= ROUTES.keys()
    assert found.keys() >= ANYBODY | ELSEWHERE.keys() | SCIM


async def test_without_a_token_nothing_is_open_but_what_is_for_anybody(
    app: tuple[Starlette, Graph], http: httpx.AsyncClient
) -> None:
    for name, _ in listed(app[0].routes):
        if name.startswith("WS "):
            continue
        answer = await asked(http, name, {})
        if name in ANYBODY or name == f"GET {PATH}{DOCS}":
            assert answer.status_code in {200, 307}, name
        elif name.removeprefix("POST ") in HOOKS:
            assert answer.status_code == 404, "no hub has a secret here"
        elif name.partition(" ")[2].startswith("/bytes/"):
            assert answer.status_code == 403, name
        else:
            assert answer.status_code == 401, (name, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer "), name


async def test_a_token_with_too_few_scopes_opens_nothing_and_is_told_which_would_do(
    app: tuple[Starlette, Graph], http: httpx.AsyncClient
) -> None:
    useless = bearer("monitor:read")
    tried = 0
    for name, needed in listed(app[0].routes):
        if not needed:
            continue
        answer = await asked(http, name, useless)
        if f" {PATH}/" in name and name not in ROUTES and answer.status_code == 400:
            # It needs more than this to be tried: tests/gateway/rest/test_access.py has that.
            continue
        assert answer.status_code == 403, (name, answer.text)
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge, name
        shown = challenge.partition('scope="')[2].partition('"')[0]
        assert frozenset(shown.split()) in needed.alternatives, name
        tried += 1
    assert tried > 300


async def test_the_scopes_of_each_route_beside_rest_open_it_and_none_fewer_do(
    app: tuple[Starlette, Graph], http: httpx.AsyncClient
) -> None:
    tried = 0
    for name, needed in listed(app[0].routes):
        if not needed or (f" {PATH}/" in name and name not in ROUTES):
            # Each of REST's own is tried with every scope in tests/gateway/rest/test_access.py.
            continue
        for way in needed.alternatives:
            answer = await asked(http, name, bearer(*way), "default")
            assert answer.status_code not in {401, 403, 500}, (name, answer.text)
            for scope in way if len(way) > 1 else ():
                answer = await asked(http, name, bearer(*(way - {scope})), "default")
                assert answer.status_code == 403, (name, scope)
            tried += 1
    assert tried > 100


async def test_a_workspace_that_is_hidden_and_one_that_is_absent_are_the_same_at_every_route(
    app: tuple[Starlette, Graph], http: httpx.AsyncClient
) -> None:
    await building.create(app[1], NewNode("Workspace", "hidden", "", props={"visibility": "PRIVATE"}))
    await building.model(app[1], "basalt", versions=1, workspace="hidden")
    mine = bearer(*(SCOPES.keys() - {*UNBOUNDED}), workspaces=["default"])
    tried = 0
    for name, _ in listed(app[0].routes):
        if "/w/{workspace}" not in name:
            continue
        hidden, absent = [await asked(http, name, mine, workspace) for workspace in ("hidden", "absent")]
        assert hidden.status_code == absent.status_code < 500, name
        assert _bare(hidden) == _bare(absent), name
        assert "basalt" not in hidden.text
        tried += 1
    assert tried > 50


def _bare(answer: httpx.Response) -> tuple[str, dict[str, str]]:
    """An answer without what is its own: the id of the request, and the name of the workspace."""
    id = answer.headers["x-request-id"]
    more = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    text = answer.text.replace(id, "ID").replace("hidden", "WORKSPACE").replace("absent", "WORKSPACE")
    return text, {
        name: value.replace("hidden", "WORKSPACE").replace("absent", "WORKSPACE") for name, value in more.items()
    }
