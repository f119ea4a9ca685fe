"""Tokens of a real OpenID provider at a running Lineal: what opens the door, and what is said where it stays shut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from auth import tokens
from auth.authenticator import KEPT_SECONDS, Authenticator
from auth.challenges import Refusal
from auth.dpop import ALGORITHMS
from auth.issuer import Introspection, Issuer
from auth.scopes import SCOPES
from tests.oidc import OTHER_RESOURCE, OidcProvider, Proofs
from tests.running import TEAM, LinealServer, Said, challenges, request_headers, resource_at, said
from tests.services import free_port

pytestmark = pytest.mark.services

READ = "model:read"
REGISTER = "mutation ($name: String!) { registerModel(input: {name: $name}) { model { name createdBy } } }"
BERT = {"data": {"models": {"nodes": [{"name": "bert"}]}}}
NOTHING: dict[str, Any] = {"data": {"models": {"nodes": []}}}
GROUPS = {"alice": ["scientists"], "ci": ["scientists"], "opaque": ["scientists"], "brief": ["scientists"]}

NO_TOKEN = Said(401, "UNAUTHENTICATED", {})
INVALID = Said(401, "UNAUTHENTICATED", {"Bearer": "invalid_token"})


@dataclass(frozen=True)
class Place:
    """A provider, and a Lineal that trusts it."""

    provider: OidcProvider
    lineal: LinealServer

    def token(self, scope: str = READ, **more: Any) -> str:
        return self.provider.token(scope, **more)


@asynccontextmanager
async def opened(home: Path, *, lifetime: int = 5) -> AsyncIterator[Place]:
    port = free_port()
    provider = OidcProvider(home / "provider", resource_at(port), lifetime=lifetime, groups=GROUPS)
    issuer = {
        "name": "corp",
        "url": provider.url,
        "leeway": 0,
        "teams": {"scientists": TEAM},
        "introspection": {"client_id": "resource-server", "client_secret": "resource-server-secret"},
    }
    lineal = LinealServer(home / "lineal", port, [issuer])
    with provider:
        await lineal.furnish()
        with lineal:
            yield Place(provider, lineal)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """For tests that leave both as they were."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield runner.run(stack.enter_async_context(opened(tmp_path_factory.mktemp("place"))))
        runner.run(stack.aclose())


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Place]:
    """For tests that change keys, or end the provider."""
    async with opened(tmp_path) as place:
        yield place


def key_of(token: str) -> Any:
    return tokens.read(token).header["kid"]


def test_client_credentials_open_what_the_clients_team_may_read(place: Place) -> None:
    answer = place.lineal.ask(place.token())
    assert answer.status_code == 200
    assert answer.json() == BERT
    assert "www-authenticate" not in answer.headers


def test_a_person_who_logged_in_by_authorization_code_with_pkce_is_the_principal(place: Place) -> None:
    token = place.provider.log_in("alice", f"{READ} model:write")["access_token"]
    assert place.lineal.ask(token).json() == BERT
    written = place.lineal.ask(token, query=REGISTER, name="of alice").json()
    assert written == {"data": {"registerModel": {"model": {"name": "of alice", "createdBy": "corp:alice"}}}}
    delete = 'mutation { deleteModel(input: {model: "models:/of alice"}) { deletedId } }'
    gone = place.lineal.ask(place.token("admin"), query=delete)
    assert "errors" not in gone.json()


def test_a_person_without_a_role_is_let_in_and_finds_nothing(place: Place) -> None:
    answer = place.lineal.ask(place.provider.log_in("mallory", READ)["access_token"])
    assert answer.status_code == 200
    assert answer.json() == NOTHING


def test_without_a_token_the_challenge_leads_to_metadata_that_name_the_issuer(place: Place) -> None:
    answer = place.lineal.ask()
    assert said(answer) == NO_TOKEN
    where = challenges(answer)["Bearer"]
    assert where.keys() == {"resource_metadata"}
    assert challenges(answer)["DPoP"] == {"algs": " ".join(ALGORITHMS), **where}
    metadata = httpx.get(where["resource_metadata"])
    assert metadata.status_code == 200
    assert metadata.headers["content-type"] == "application/json"
    told = metadata.json()
    assert told["resource"] == place.lineal.url
    assert told["authorization_servers"] == [place.provider.url]
    assert told["bearer_methods_supported"] == ["header"]
    assert told["scopes_supported"] == list(SCOPES)
    assert told["dpop_signing_alg_values_supported"] == list(ALGORITHMS)
    found = httpx.get(f"{told['authorization_servers'][0]}/.well-known/openid-configuration").json()
    assert found["issuer"] == place.provider.url


def test_a_token_for_another_resource_is_invalid(place: Place) -> None:
    answer = place.lineal.ask(place.token(resource=OTHER_RESOURCE))
    assert said(answer) == INVALID
    assert challenges(answer)["Bearer"].keys() == {"error", "error_description", "resource_metadata"}


def test_an_id_token_is_no_access_token(place: Place) -> None:
    answer = place.lineal.ask(place.provider.log_in("alice", READ)["id_token"])
    assert said(answer) == INVALID


def test_a_token_ends_when_it_says(place: Place) -> None:
    token = place.token(client="brief")
    expires = tokens.read(token).claims["exp"]
    while True:
        before = time.time()
        answer = place.lineal.ask(token)
        after = time.time()
        if answer.status_code == 401:
            break
        assert answer.json() == BERT
        assert before < expires
        time.sleep(0.1)
    # JWTs count in whole seconds.
    assert after >= expires - 1
    assert said(answer) == INVALID
    assert "expired" in challenges(answer)["Bearer"]["error_description"]


def test_an_opaque_token_is_good_as_its_issuer_says(place: Place) -> None:
    token = place.token(client="opaque")
    assert "." not in token
    asked = place.provider.requests("/token/introspection")
    assert [place.lineal.ask(token).json() for _ in range(3)] == [BERT] * 3
    assert place.provider.requests("/token/introspection") == asked + 1


def test_a_revoked_opaque_token_is_invalid(place: Place) -> None:
    token = place.token(client="opaque")
    place.provider.revoke(token, client="opaque")
    assert said(place.lineal.ask(token)) == INVALID


def test_an_opaque_token_for_another_resource_is_invalid(place: Place) -> None:
    assert said(place.lineal.ask(place.token(client="opaque", resource=OTHER_RESOURCE))) == INVALID


@pytest.mark.parametrize("client", ["ci", "opaque"])
def test_a_bound_token_opens_with_a_proof_once(place: Place, client: str) -> None:
    proofs = Proofs()
    token = place.token(client=client, proofs=proofs)
    proof = proofs.proof("POST", place.lineal.url, token)
    first = place.lineal.ask(token, scheme="DPoP", proof=proof)
    assert first.status_code == 200
    assert first.json() == BERT
    replayed = place.lineal.ask(token, scheme="DPoP", proof=proof)
    assert said(replayed) == Said(401, "UNAUTHENTICATED", {"DPoP": "invalid_dpop_proof"})
    assert challenges(replayed)["DPoP"]["algs"] == " ".join(ALGORITHMS)


@pytest.mark.parametrize("client", ["ci", "opaque"])
def test_a_bound_token_is_refused_as_bearer(place: Place, client: str) -> None:
    assert said(place.lineal.ask(place.token(client=client, proofs=Proofs()))) == INVALID


def test_a_bound_token_needs_a_proof_of_its_own_key_for_this_request_and_this_token(place: Place) -> None:
    proofs, url = Proofs(), place.lineal.url
    token, other = place.token(proofs=proofs), place.token(proofs=proofs)
    wrong = {
        "key of another": Proofs().proof("POST", url, token),
        "other method": proofs.proof("GET", url, token),
        "other place": proofs.proof("POST", url.replace("graphql", "mlflow"), token),
        "other token": proofs.proof("POST", url, other),
        "no token": proofs.proof("POST", url),
    }
    for reason, proof in wrong.items():
        answer = place.lineal.ask(token, scheme="DPoP", proof=proof)
        assert said(answer) == Said(401, "UNAUTHENTICATED", {"DPoP": "invalid_dpop_proof"}), reason


async def test_keys_rotate_while_requests_are_under_way_and_none_fails(own: Place) -> None:
    old = [own.token() for _ in range(12)]

    async with httpx.AsyncClient(timeout=60) as client:

        async def ask(token: str) -> tuple[int, Any]:
            answer = await client.post(
                own.lineal.url, json={"query": "{ models { nodes { name } } }"}, headers=request_headers(token)
            )
            return answer.status_code, answer.json()

        first, *_ = await asyncio.gather(
            asyncio.gather(*map(ask, old[:6])), asyncio.to_thread(own.provider.rotate, keep=1)
        )
        new = [own.token() for _ in range(6)]
        assert {key_of(token) for token in old}.isdisjoint(map(key_of, new))
        # None of these tokens was seen before, so each is checked with its key.
        second = await asyncio.gather(*(ask(token) for pair in zip(old[6:], new, strict=True) for token in pair))
    assert [*first, *second] == [(200, BERT)] * 18
    assert own.provider.requests("/jwks") == 2


async def test_a_withdrawn_key_counts_no_longer_once_another_was_fetched(own: Place) -> None:
    seen, unseen = own.token(), own.token()
    assert own.lineal.ask(seen).json() == BERT
    own.provider.rotate(keep=0)
    assert own.lineal.ask(own.token()).json() == BERT
    assert said(own.lineal.ask(unseen)) == INVALID


async def test_while_the_provider_is_away_its_keys_go_on_working_and_opaque_tokens_wait(own: Place) -> None:
    signed, opaque = own.token(), own.token(client="opaque")
    own.provider.kill()
    assert own.lineal.ask(signed).json() == BERT
    answer = own.lineal.ask(opaque)
    assert said(answer) == Said(503, "UNAVAILABLE", {})
    assert challenges(answer) == {}
    assert int(answer.headers["retry-after"]) > 0
    async with httpx.AsyncClient() as client:
        assert (await client.get(own.lineal.url.replace("graphql", "readyz"))).status_code == 200
    own.provider.start()
    assert own.lineal.ask(own.token(client="opaque")).json() == BERT


async def test_a_token_revoked_after_it_was_seen_is_believed_for_a_minute_at_most(place: Place) -> None:
    issuer = Issuer(
        name="corp",
        url=place.provider.url,
        audience=place.lineal.url,
        introspection=Introspection("resource-server", "resource-server-secret"),
    )
    later = 0.0
    async with Authenticator([issuer], clock=lambda: time.time() + later) as authenticator:
        token = place.token(client="opaque")
        first = await authenticator.verified(token)
        place.provider.revoke(token, client="opaque")
        assert await authenticator.verified(token) is first
        later = KEPT_SECONDS
        with pytest.raises(Refusal) as refused:
            await authenticator.verified(token)
    assert refused.value.reason == "inactive"
