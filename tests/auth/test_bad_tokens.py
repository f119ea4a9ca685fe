"""Tokens that let nobody in: each with the status, the challenge and the body that the RFCs ask for."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from auth import tokens
from auth.challenges import Refusal
from tests.auth.bad import BAD, STRANGER, raw
from tests.auth.conftest import guarded
from tests.auth.issuer import RESOURCE, MiniIssuer, encoded

METADATA = 'resource_metadata="https://lineal.example/.well-known/oauth-protected-resource/graphql"'


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused_and_says_so_as_the_rfcs_ask(issuer: MiniIssuer, name: str) -> None:
    token = BAD[name](issuer)
    async with guarded(issuer) as client:
        answer = await client.post("/graphql", headers={"authorization": f"Bearer {token}"})
        elsewhere = await client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == elsewhere.status_code == 401
    bearer, dpop = answer.headers.get_list("www-authenticate")
    assert re.fullmatch(
        f'Bearer error="invalid_token", error_description="[ !#-\\[\\]-~]+", {re.escape(METADATA)}', bearer
    )
    assert dpop == f'DPoP algs="ES256 Ed25519 EdDSA", {METADATA}'
    assert answer.headers["cache-control"] == "no-store"
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    assert error["message"] in bearer
    assert elsewhere.headers["content-type"] == "application/problem+json"
    assert elsewhere.json()["code"] == "UNAUTHENTICATED"


def test_there_are_more_than_enough_of_them() -> None:
    assert len(BAD) >= 40


async def test_the_same_token_without_its_fault_is_accepted(issuer: MiniIssuer) -> None:
    async with guarded(issuer) as client:
        for token in (issuer.token(), raw()(issuer), issuer.token(padding="x" * 8_000)):
            answer = await client.post("/graphql", headers={"authorization": f"Bearer {token}"})
            assert answer.json() == {"name": "corp:alice", "scopes": ["lineage:read", "model:read"]}


async def test_no_token_is_challenged_without_an_error(issuer: MiniIssuer) -> None:
    async with guarded(issuer) as client:
        for headers in ({}, {"authorization": "Basic YTpi"}, {"authorization": ""}, {"authorization": "Negotiate x"}):
            answer = await client.post("/graphql", headers=headers)
            assert answer.status_code == 401
            assert answer.headers.get_list("www-authenticate") == [
                f"Bearer {METADATA}",
                f'DPoP algs="ES256 Ed25519 EdDSA", {METADATA}',
            ]
            assert answer.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


MALFORMED: Mapping[str, Callable[[str], list[tuple[str, str]]]] = {
    "a scheme alone": lambda _: [("authorization", "Bearer")],
    "a scheme and a space": lambda _: [("authorization", "Bearer ")],
    "two tokens": lambda token: [("authorization", f"Bearer {token} {token}")],
    "two headers": lambda token: [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")],
    "a token and a password": lambda token: [("authorization", f"Bearer {token}"), ("authorization", "Basic YTpi")],
    "two in one header": lambda token: [("authorization", f"Bearer {token}, Bearer {token}")],
    "percent signs": lambda token: [("authorization", f"Bearer {token.replace('.', '%2E')}")],
    "quotes": lambda token: [("authorization", f'Bearer "{token}"')],
    "a tab": lambda token: [("authorization", f"Bearer\t{token}")],
    "a line break": lambda token: [("authorization", f"Bearer {token}\n")],
    "a letter beyond ASCII": lambda token: [("authorization", f"Bearer {token}é")],
    "a space that is none": lambda token: [("authorization", f"Bearer\u00a0{token}")],
    "a proof without a token": lambda _: [("dpop", "proof")],
    "a proof with a bearer token": lambda token: [("authorization", f"Bearer {token}"), ("dpop", "proof")],
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request_is_refused_with_400_or_told_that_it_has_no_credentials(
    issuer: MiniIssuer, name: str
) -> None:
    headers = [(key.encode(), value.encode("latin-1")) for key, value in MALFORMED[name](issuer.token())]
    async with guarded(issuer) as client:
        answer = await client.post("/graphql", headers=headers)
    challenge = answer.headers.get_list("www-authenticate")[0]
    if name in {"a tab", "a space that is none"}:  # then it is the name of a scheme that nobody knows
        assert (answer.status_code, challenge) == (401, f"Bearer {METADATA}")
        return
    assert answer.status_code == 400
    assert challenge.startswith('Bearer error="invalid_request", error_description="')
    assert answer.json()["errors"][0]["extensions"] == {"code": "INVALID_ARGUMENT"}


@pytest.mark.parametrize("query", ["access_token={}", "a=1&access_token={}", "access%5Ftoken={}", "access_token="])
@pytest.mark.parametrize("header", [True, False])
async def test_a_token_in_the_url_is_refused_whatever_else_comes(issuer: MiniIssuer, query: str, header: bool) -> None:
    token = issuer.token()
    async with guarded(issuer) as client:
        answer = await client.get(
            f"/graphql?{query.format(token)}", headers={"authorization": f"Bearer {token}"} if header else {}
        )
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]
    assert token not in answer.text


async def test_a_token_in_a_form_is_no_token(issuer: MiniIssuer) -> None:
    async with guarded(issuer) as client:
        answer = await client.post("/graphql", data={"access_token": issuer.token()})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith(f"Bearer {METADATA}")


async def test_a_flood_of_unknown_keys_makes_one_fetch_more(issuer: MiniIssuer) -> None:
    authenticator = issuer.authenticator()
    head, claims, _ = issuer.token().split(".")
    assert head
    flood = [f"{encoded(issuer.header(f'k{number}'))}.{claims}.AAAA" for number in range(10_000)]
    outcomes = await asyncio.gather(*(authenticator.verified(token) for token in flood), return_exceptions=True)
    assert {outcome.reason if isinstance(outcome, Refusal) else outcome for outcome in outcomes} == {"key"}
    assert issuer.asked["jwks"] == 2
    assert (await authenticator.verified(issuer.token())).caller.name == "corp:alice"
    assert issuer.asked["jwks"] == 2


async def test_refusals_are_plain_and_nothing_of_them_is_kept(issuer: MiniIssuer) -> None:
    """Or else tokens that nobody ever issued would push out those that are good."""
    authenticator = issuer.authenticator()
    for name, make in BAD.items():
        with pytest.raises(Refusal) as caught:
            await authenticator.authenticate([f"Bearer {make(issuer)}"], [], "POST", RESOURCE)
        assert re.fullmatch("[a-z]+", caught.value.reason)
        assert re.fullmatch(r"[ !#-\[\]-~]+", caught.value.description)
        # A bound token is a good one, which was sent in the wrong way.
        assert not authenticator._known or name == "bound to a key, sent as bearer"
        authenticator._known.clear()


# ── whatever comes ────────────────────────────────────────────────────────────────────────────────


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**30), 10**30) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
NAMES = [
    "iss",
    "aud",
    "sub",
    "client_id",
    "jti",
    "iat",
    "exp",
    "nbf",
    "scope",
    "cnf",
    "groups",
    "auth_time",
    "amr",
    "typ",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(claims=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3), header=st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "jku", "cty", "x"]), JSON, max_size=2))  # fmt: skip
async def test_whatever_an_issuer_signs_there_is_an_answer(claims: dict[str, Any], header: dict[str, Any]) -> None:
    issuer = MiniIssuer()
    async with guarded(issuer, issuer.authenticator(issuer.issuer(teams={"x": "y"}))) as client:
        answer = await client.post(
            "/graphql", headers={"authorization": f"Bearer {issuer.token(header=header, **claims)}"}
        )
    assert answer.status_code in {200, 401}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=300) | st.from_regex(rb"(?i)(bearer|dpop) +[!-~]{0,200}", fullmatch=True))
async def test_whatever_a_client_sends_there_is_an_answer(value: bytes) -> None:
    issuer = MiniIssuer()
    async with guarded(issuer) as client:
        answer = await client.post("/graphql", headers=[(b"authorization", value), (b"dpop", value)])
    assert answer.status_code in {400, 401}


def parts() -> Iterator[st.SearchStrategy[bytes]]:
    yield st.binary(max_size=200)
    yield JSON.map(lambda value: json.dumps(value).encode())


@settings(max_examples=300, deadline=None)
@given(st.tuples(*[st.one_of(*parts())] * 3))
def test_whatever_a_token_holds_it_is_read_or_refused(content: tuple[bytes, ...]) -> None:
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in content)
    with suppress(Refusal):
        jwt = tokens.read(text)
        for key in (STRANGER, ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")):
            with pytest.raises(Refusal):
                tokens.check_signature(jwt, key, ("RS256", "ES256", "EdDSA"))
