"""The gate before the application: who gets in where, what they are told, and what is audited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from auth.authenticator import Authenticator
from auth.challenges import Resource
from auth.keyring import Keyring
from auth.local import LocalIssuer
from auth.recorder import Recorder
from auth.scopes import SCOPES
from lineal.access import Access, metadata_routes
from lineal.app import create_app, opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from tests.auth.issuer import MiniIssuer

RESOURCE = Resource(
    "https://lineal.example/graphql", ["https://issuer.example"], ["ES256"], "https://lineal.example/doc"
)


class Failures(Recorder):
    """Keeps what failed."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def failed(self, *, reason: str, address: str = "", request: str = "", detail: str = "") -> None:
        self.seen.append({"reason": reason, "address": address, "request": request, "detail": detail})


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    caller = getattr(Request(scope, receive).state, "caller", None)
    await JSONResponse(caller and [caller.name, sorted(caller.scopes)])(scope, receive, send)


@pytest.fixture
def own(tmp_path: Path) -> LocalIssuer:
    return LocalIssuer(Keyring(tmp_path / "keys"))


def client(own: LocalIssuer, **more: Any) -> httpx.AsyncClient:
    gate = Access(whoami, **{"authenticator": Authenticator(own=own), "resource": RESOURCE, "loopback": True, **more})
    return httpx.AsyncClient(transport=httpx.ASGITransport(gate, client=("192.0.2.7", 5)), base_url="http://internal")


def header(own: LocalIssuer, *scopes: str) -> dict[str, str]:
    return {"authorization": f"Bearer {own.token(scopes=scopes or None)}"}


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/readyz",
        "/metrics",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/graphql",
    ],
)
async def test_health_and_metadata_and_the_metrics_of_a_local_server_are_open(own: LocalIssuer, path: str) -> None:
    async with client(own) as asked:
        answer = await asked.get(path)
        assert (answer.status_code, answer.json()) == (200, None)
        assert (await asked.get(path, headers={"authorization": "Bearer nonsense"})).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/graphql",
        "/",
        "/nothing",
        "/healthz/",
        "/healthz/x",
        "//healthz",
        "/HEALTHZ",
        "/.well-known/x",
        "/scim/v2/Users",
    ],
)
async def test_everything_else_needs_a_token(own: LocalIssuer, path: str) -> None:
    async with client(own) as asked:
        answer = await asked.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer resource_metadata=")
        assert (await asked.get(path, headers=header(own, "model:read"))).json() == ["local:me", ["model:read"]]


async def test_metrics_that_others_can_reach_need_their_scope(own: LocalIssuer) -> None:
    async with client(own, loopback=False) as asked:
        assert (await asked.get("/metrics")).status_code == 401
        assert (await asked.get("/metrics", headers=header(own, "monitor:read"))).status_code == 200
        assert (await asked.get("/metrics", headers=header(own, "admin"))).status_code == 200
        answer = await asked.get("/metrics", headers=header(own, "model:read"))
    assert answer.status_code == 403
    assert answer.json()["code"] == "FORBIDDEN"
    challenge = answer.headers.get_list("www-authenticate")[0]
    assert challenge.startswith('Bearer error="insufficient_scope", error_description="the scope monitor:read')
    assert 'scope="monitor:read", resource_metadata=' in challenge


async def test_where_it_is_allowed_nobody_is_somebody_with_few_scopes(own: LocalIssuer) -> None:
    async with client(own, anonymous=frozenset({"model:read"})) as asked:
        assert (await asked.get("/graphql")).json() == ["anonymous", ["model:read"]]
        assert (await asked.get("/graphql", headers=header(own, "schema:read"))).json() == ["local:me", ["schema:read"]]


@pytest.mark.parametrize("given", ["Bearer nonsense", "Bearer", "Basic YTpi", "DPoP x", ""])
async def test_a_wrong_token_is_never_nobody(own: LocalIssuer, given: str) -> None:
    async with client(own, anonymous=frozenset({"model:read"})) as asked:
        answer = await asked.get("/graphql", headers={"authorization": given})
    assert answer.status_code in {400, 401}


async def test_what_failed_is_audited_with_its_reason_and_where_it_came_from(own: LocalIssuer) -> None:
    recorder = Failures()
    async with client(own, recorder=recorder) as asked:
        await asked.get("/graphql", headers={"authorization": "Bearer a.b.c", "x-forwarded-for": "203.0.113.9"})
        await asked.get("/graphql?access_token=secret")
        await asked.get("/graphql")
        await asked.get("/graphql", headers=header(own))
    assert [(entry["reason"], entry["address"]) for entry in recorder.seen] == [
        ("malformed", "192.0.2.7"),
        ("query", "192.0.2.7"),
    ]


async def test_a_websocket_is_closed_before_it_opens(own: LocalIssuer) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    gate = Access(whoami, authenticator=Authenticator(own=own), resource=RESOURCE, loopback=True)
    await gate({"type": "websocket", "path": "/healthz", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


# ── metadata ──────────────────────────────────────────────────────────────────────────────────────


async def metadata(resource: Resource, path: str) -> Any:
    app = Starlette(routes=metadata_routes(resource))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://internal") as asked:
        return (await asked.get(path)).raise_for_status().json()


@pytest.mark.parametrize("path", ["", "/graphql"])
async def test_the_metadata_says_what_clients_need_to_know(path: str) -> None:
    assert await metadata(RESOURCE, f"/.well-known/oauth-protected-resource{path}") == {
        "resource": "https://lineal.example/graphql",
        "authorization_servers": ["https://issuer.example"],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "resource_name": "Lineal",
        "resource_documentation": "https://lineal.example/doc",
    }


async def test_without_issuers_the_metadata_names_none() -> None:
    found = await metadata(Resource("http://127.0.0.1:8321/graphql"), "/.well-known/oauth-protected-resource")
    assert found.keys() == {"resource", "scopes_supported", "bearer_methods_supported", "resource_name"}


@pytest.mark.parametrize(
    ("identifier", "metadata_path", "url"),
    [
        ("https://a.example/graphql", "/.well-known/oauth-protected-resource/graphql", "https://a.example/x"),
        ("https://a.example/l/graphql", "/.well-known/oauth-protected-resource/l/graphql", "https://a.example/l/x"),
        ("https://a.example", "/.well-known/oauth-protected-resource", "https://a.example/x"),
        ("https://a.example/", "/.well-known/oauth-protected-resource", "https://a.example/x"),
        ("http://[::1]:8321/graphql", "/.well-known/oauth-protected-resource/graphql", "http://[::1]:8321/x"),
    ],
)
def test_urls_are_made_from_the_identifier(identifier: str, metadata_path: str, url: str) -> None:
    resource = Resource(identifier)
    assert (resource.metadata_path, resource.url("/x")) == (metadata_path, url)


# ── the whole application with an issuer ──────────────────────────────────────────────────────────


@pytest.fixture
def issuer() -> MiniIssuer:
    return MiniIssuer()


def configured(tmp_path: Path, issuers: Sequence[dict[str, Any]], **more: Any) -> Settings:
    url = f"sqlite:///{tmp_path / 'lineal.db'}"
    return Settings.load(graph=url, issuers=issuers, resource="https://lineal.example/graphql", **more)


async def test_with_an_issuer_any_name_of_the_host_is_answered_and_its_tokens_get_in(
    issuer: MiniIssuer, tmp_path: Path
) -> None:
    settings = configured(tmp_path, [{"name": "corp", "url": issuer.url}], host="0.0.0.0")
    authenticator = Authenticator(settings.trusted, client=issuer.client)
    async with opened(settings) as graph:
        app = create_app(settings, graph, Telemetry(), authenticator)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://lineal.example") as asked:
            body = {"query": "{models {nodes {name}}}"}
            answer = await asked.post("/graphql", json=body, headers={"authorization": f"Bearer {issuer.token()}"})
            assert answer.json() == {"data": {"models": {"nodes": []}}}
            assert (await asked.post("/graphql", json=body)).status_code == 401
            assert (await asked.get("/metrics")).status_code == 401
            assert (await asked.get("/readyz")).json() == {"status": "ready"}


async def test_readiness_shows_an_issuer_that_is_away(issuer: MiniIssuer, tmp_path: Path) -> None:
    settings = configured(tmp_path, [{"name": "corp", "url": issuer.url}], start_without_issuers=True)
    authenticator = Authenticator(settings.trusted, client=issuer.client, patient=True)
    async with opened(settings) as graph:
        app = create_app(settings, graph, Telemetry(), authenticator)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://lineal.example") as asked:
            answer = await asked.get("/readyz")
            assert (answer.status_code, answer.json()["detail"]) == (503, "the keys of the issuer corp cannot be had")
            await authenticator.keys[0].start()
            assert (await asked.get("/readyz")).json() == {"status": "ready"}
            authenticator.keys[0].problem = "away"
            assert (await asked.get("/readyz")).json() == {"status": "ready", "unreachable": ["corp"]}
