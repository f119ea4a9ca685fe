"""The gate before the application: who gets in where, what they are told, and what is audited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
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
from graph.port import Entry, EntryFilter, Graph, Transaction, Update
from lineal.access import Access, metadata_routes
from lineal.app import create_app
from lineal.parts import opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from tests.auth.issuer import Holder, MiniIssuer

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
        "/health",
        "/w/vision/health",
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
        "/health/",
        "/w/a/b/health",
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
        await asked.get("/graphql", headers={"authorization": "Basic YTpi"})
    assert [(entry["reason"], entry["address"]) for entry in recorder.seen] == [
        ("malformed", "192.0.2.7"),
        ("query", "192.0.2.7"),
        ("missing", "192.0.2.7"),
        ("scheme", "192.0.2.7"),
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


# ── every face of it ──────────────────────────────────────────────────────────────────────────────

FACES = [
    "/graphql?query={viewer{name}}",
    "/metrics",
    "/scim/v2/Users",
    "/scim/v2/Schemas",
    "/scim/v2/ServiceProviderConfig",
    "/scim/v2/ResourceTypes",
    "/scim/v2/nothing",
    "/nothing",
]


class Site:
    """The whole application with an issuer, its store, and a client that gives the host any name."""

    def __init__(self, http: httpx.AsyncClient, graph: Graph, issuer: MiniIssuer) -> None:
        self.http = http
        self.graph = graph
        self.issuer = issuer

    async def get(self, path: str, name: str = "ann", *scopes: str) -> httpx.Response:
        """The answer to whoever holds these scopes."""
        token = self.issuer.token(sub=name, scope=" ".join(scopes))
        return await self.http.get(path, headers={"authorization": f"Bearer {token}"})

    async def entries(self, action: str) -> list[Entry]:
        """The entries of this action, those first that came first."""
        async with self.graph.snapshot() as snapshot:
            found = await snapshot.entries(EntryFilter(action=action, noted=True))
        return sorted(found, key=lambda entry: entry.change.at)


@pytest.fixture
async def site(issuer: MiniIssuer, tmp_path: Path) -> AsyncIterator[Site]:
    settings = configured(
        tmp_path,
        [{"name": "corp", "url": issuer.url}],
        host="0.0.0.0",
        storage=str(tmp_path / "artifacts"),
        keys=tmp_path / "keys",
    )
    async with opened(settings) as graph:
        app = create_app(settings, graph, Telemetry(), Authenticator(settings.trusted, client=issuer.client))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://evil.example") as http,
        ):
            yield Site(http, graph, issuer)


@pytest.mark.parametrize("path", FACES)
async def test_one_who_was_deactivated_is_refused_on_every_face_and_each_refusal_is_audited(
    site: Site, path: str
) -> None:
    everything = tuple(scope for scope in SCOPES if scope != "admin")
    assert (await site.get(path, "ann", *everything)).status_code in {200, 404}

    async def leave(tx: Transaction) -> None:
        principal = (await tx.access("corp:ann")).principal
        assert principal is not None
        await tx.update([Update(principal.id, {"active": False})])

    await site.graph.write(leave, by="root", action="deactivatePrincipal")
    answer = await site.get(path, "ann", *everything)
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert 'error="invalid_token"' in challenge
    assert 'resource_metadata="https://lineal.example/.well-known/oauth-protected-resource/graphql"' in challenge
    (entry,) = await site.entries("refused")
    assert (entry.change.by, entry.change.data["noted"]["code"]) == ("corp:ann", "UNAUTHENTICATED")


@pytest.mark.parametrize(("path", "scope"), [("/metrics", "monitor:read"), ("/scim/v2/Users", "directory:write")])
async def test_who_lacks_the_scope_of_a_face_is_told_so_and_it_is_audited(site: Site, path: str, scope: str) -> None:
    answer = await site.get(path, "ann", "model:read")
    assert answer.status_code == 403
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert f'scope="{scope}"' in challenge
    assert "resource_metadata=" in challenge
    (entry,) = await site.entries("refused")
    assert (entry.change.by, entry.change.data["noted"]["code"]) == ("corp:ann", "FORBIDDEN")
    assert entry.change.data["noted"]["scopes"] == [[scope]]


@pytest.mark.parametrize("path", ["/metrics", "/scim/v2/Users?filter=active eq true", "/scim/v2/Schemas"])
async def test_what_an_admin_reads_is_audited_on_every_face(site: Site, path: str) -> None:
    assert (await site.get(path, "root", "admin")).status_code == 200
    (entry,) = await site.entries("read")
    assert (entry.change.by, entry.change.data["noted"]["action"]) == ("corp:root", "adminRead")
    assert entry.change.data["noted"]["data"]["face"] in path
    assert entry.change.data["noted"]["data"].get("filter", "") in path


@pytest.mark.parametrize("path", FACES)
async def test_who_brings_nothing_is_told_where_to_get_a_token(site: Site, path: str) -> None:
    answer = await site.http.get(path)
    assert answer.status_code == 401
    assert "resource_metadata=" in answer.headers["www-authenticate"]
    scim = path.startswith("/scim")
    assert answer.headers["content-type"].startswith("application/scim+json") is scim


async def test_an_address_of_bytes_that_nobody_signed_is_audited(site: Site) -> None:
    for _ in range(3):
        assert (await site.http.get(f"/bytes/{'0' * 64}?token=forged")).status_code == 403
    (entry,) = await site.entries("failed")
    assert entry.change.data["noted"]["reason"] == "bytes"


async def test_addresses_of_people_are_made_from_the_settings_and_not_from_the_host_header(site: Site) -> None:
    token = site.issuer.token(sub="root", scope="admin")
    body = {"userName": "carol"}
    answer = await site.http.post("/scim/v2/Users", json=body, headers={"authorization": f"Bearer {token}"})
    assert answer.json()["meta"]["location"].startswith("https://lineal.example/scim/v2/Users/")
    assert answer.headers["location"] == answer.json()["meta"]["location"]


@pytest.mark.parametrize("path", ["/scim/v2/Users/a%20b", "/scim/v2/Users/a%2Fb", "/scim/v2/Users/%C3%BC"])
async def test_a_proof_for_an_encoded_path_is_one_for_the_path_as_it_was_sent(site: Site, path: str) -> None:
    holder = Holder()
    token = site.issuer.token(scope="directory:write", cnf=holder.confirmation)
    proof = holder.proof(token, htm="GET", url=f"https://lineal.example{path}")
    answer = await site.http.get(path, headers={"authorization": f"DPoP {token}", "dpop": proof})
    assert answer.status_code == 404


async def test_a_refusal_stands_in_the_challenge_of_the_scheme_that_was_used(site: Site) -> None:
    holder = Holder()
    token = site.issuer.token(scope="model:read", cnf=holder.confirmation)

    async def told(method: str, path: str, **more: Any) -> list[str]:
        proof = holder.proof(token, htm=method, url=f"https://lineal.example{path}")
        headers = {"authorization": f"DPoP {token}", "dpop": proof}
        answer = await site.http.request(method, path, headers=headers, **more)
        assert answer.status_code == 403
        return answer.headers.get_list("www-authenticate")

    register = 'mutation { registerModel(input: {name: "x"}) { model { id } } }'
    for bearer, dpop in (
        await told("POST", "/graphql", json={"query": register}),
        await told("GET", "/metrics"),
        await told("GET", "/scim/v2/Users"),
    ):
        assert "error=" not in bearer
        assert dpop.startswith("DPoP ")
        assert 'error="insufficient_scope"' in dpop
