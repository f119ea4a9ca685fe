"""DPoP: a bound token is good for those only who have its key, and each proof once (RFC 9449)."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from auth.authenticator import Authenticator
from auth.caller import Caller
from auth.challenges import INVALID_PROOF, Refusal
from auth.dpop import Proofs
from tests.auth.conftest import guarded
from tests.auth.issuer import RESOURCE, Clock, Holder, MiniIssuer

HOLDER = Holder()


async def ask(authenticator: Authenticator, scheme: str, token: str, *proofs: str, **more: str) -> Caller:
    place = {"method": "POST", "url": RESOURCE, **more}
    caller = await authenticator.authenticate([f"{scheme} {token}"], proofs, **place)
    assert caller is not None
    return caller


@pytest.mark.parametrize(
    "holder",
    [Holder(), Holder(OKPKey.generate_key("Ed25519"), "Ed25519"), Holder(OKPKey.generate_key("Ed25519"), "EdDSA")],
    ids=lambda holder: holder.algorithm,
)
@pytest.mark.parametrize("scheme", ["DPoP", "dpop"])
async def test_a_bound_token_with_a_proof_is_accepted(issuer: MiniIssuer, holder: Holder, scheme: str) -> None:
    token = issuer.token(cnf=holder.confirmation)
    authenticator = issuer.authenticator()
    for _ in range(2):
        assert (await ask(authenticator, scheme, token, holder.proof(token))).name == "corp:alice"


@pytest.mark.parametrize("htu", [f"{RESOURCE}?a=b", f"{RESOURCE}#x", "https://LINEAL.example:443/graphql"])
async def test_a_proof_may_write_the_url_in_another_way(issuer: MiniIssuer, htu: str) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    assert (
        await ask(issuer.authenticator(), "DPoP", token, HOLDER.proof(token, htu=htu), url=f"{RESOURCE}?query=x")
    ).name == "corp:alice"


BAD: dict[str, dict[str, Any]] = {
    "another method": {"htm": "GET"},
    "a method in small letters": {"htm": "post"},
    "no method": {"htm": ...},
    "another path": {"htu": "https://lineal.example/graphql/x"},
    "another host": {"htu": "https://evil.example/graphql"},
    "another scheme": {"htu": "http://lineal.example/graphql"},
    "another port": {"htu": "https://lineal.example:8443/graphql"},
    "a port that is none": {"htu": "https://lineal.example:x/graphql"},
    "no url": {"htu": ...},
    "a url that is a list": {"htu": [RESOURCE]},
    "another token": {"ath": "x" * 43},
    "no token": {"ath": ...},
    "a token that is a number": {"ath": 1},
    "no jti": {"jti": ...},
    "an empty jti": {"jti": ""},
    "a jti that is a number": {"jti": 1},
    "a long jti": {"jti": "x" * 201},
    "no iat": {"iat": ...},
    "an iat that is text": {"iat": "now"},
    "an iat that is true": {"iat": True},
    "an old iat": {"iat": 1_000_000},
    "an iat to come": {"iat": 4_000_000_000},
    "no typ": {"header": {"typ": ...}},
    "the typ of an access token": {"header": {"typ": "at+jwt"}},
    "alg none": {"header": {"alg": "none"}},
    "alg HS256": {"header": {"alg": "HS256"}},
    "another alg than the key's": {"header": {"alg": "EdDSA"}},
    "no key": {"header": {"jwk": ...}},
    "a key that is text": {"header": {"jwk": "key"}},
    "a key with its private part": {"header": {"jwk": HOLDER.key.as_dict(private=True)}},
    "a symmetric key": {"header": {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}},
    "somebody else's key": {"header": {"jwk": Holder().key.as_dict(private=False)}},
    "an RSA key": {"header": {"jwk": RSAKey.generate_key(2048).as_dict(private=False)}},
    "a key on another curve": {"header": {"jwk": ECKey.generate_key("P-384").as_dict(private=False)}},
    "a key on no curve": {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}},
    "a curve that is a list": {"header": {"jwk": {"kty": "EC", "crv": ["P-256"]}}},
    "a critical extension": {"header": {"crit": ["jwk"]}},
    "5 kB": {"padding": "x" * 4_000},
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_proof_is_refused_as_rfc_9449_asks(issuer: MiniIssuer, name: str) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    proof = HOLDER.proof(token, **BAD[name])
    async with guarded(issuer) as client:
        answer = await client.post("/graphql", headers={"authorization": f"DPoP {token}", "dpop": proof})
    assert answer.status_code == 401
    bearer, dpop = answer.headers.get_list("www-authenticate")
    assert "error" not in bearer
    assert dpop.startswith('DPoP algs="ES256 Ed25519 EdDSA", error="invalid_dpop_proof", error_description="')
    assert answer.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "é", "x" * 5_000])
async def test_what_is_no_proof_is_refused(issuer: MiniIssuer, proof: str) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    with pytest.raises(Refusal) as caught:
        await ask(issuer.authenticator(), "DPoP", token, proof)
    assert (caught.value.code, caught.value.scheme) == (INVALID_PROOF, "DPoP")


@pytest.mark.parametrize("count", [0, 2])
async def test_there_is_exactly_one_proof(issuer: MiniIssuer, count: int) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    with pytest.raises(Refusal) as caught:
        await ask(issuer.authenticator(), "DPoP", token, *(HOLDER.proof(token) for _ in range(count)))
    assert (caught.value.status, caught.value.code) == (401, INVALID_PROOF)


async def test_a_bound_token_as_bearer_is_refused_even_with_a_proof_and_when_it_is_known(issuer: MiniIssuer) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    authenticator = issuer.authenticator()
    await ask(authenticator, "DPoP", token, HOLDER.proof(token))
    for proofs in ([], [HOLDER.proof(token)]):
        with pytest.raises(Refusal) as caught:
            await ask(authenticator, "Bearer", token, *proofs)
        assert (caught.value.status, caught.value.reason) == (401, "bound")


async def test_a_token_that_is_not_bound_is_refused_with_the_scheme_dpop(issuer: MiniIssuer) -> None:
    token = issuer.token()
    with pytest.raises(Refusal) as caught:
        await ask(issuer.authenticator(), "DPoP", token, HOLDER.proof(token))
    assert (caught.value.code, caught.value.scheme) == ("invalid_token", "DPoP")


async def test_a_token_of_another_key_than_the_proofs_is_refused(issuer: MiniIssuer) -> None:
    token = issuer.token(cnf=Holder().confirmation)
    with pytest.raises(Refusal) as caught:
        await ask(issuer.authenticator(), "DPoP", token, HOLDER.proof(token))
    assert "another key" in caught.value.description


async def test_a_proof_is_good_once(issuer: MiniIssuer) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    authenticator = issuer.authenticator()
    proof = HOLDER.proof(token)
    await ask(authenticator, "DPoP", token, proof)
    with pytest.raises(Refusal, match="used before"):
        await ask(authenticator, "DPoP", token, proof)


async def test_a_signature_that_is_written_otherwise_makes_no_new_proof(issuer: MiniIssuer) -> None:
    """The last digit of base64 has bits to spare, so that a proof can be spelled in several ways."""
    token = issuer.token(cnf=HOLDER.confirmation)
    authenticator = issuer.authenticator()
    proof = HOLDER.proof(token)
    await ask(authenticator, "DPoP", token, proof)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = proof[:-1] + alphabet[alphabet.index(proof[-1]) ^ 1]
    assert base64.urlsafe_b64decode(other.split(".")[2] + "==") == base64.urlsafe_b64decode(proof.split(".")[2] + "==")
    with pytest.raises(Refusal):
        await ask(authenticator, "DPoP", token, other)


def check(proofs: Proofs, proof: str) -> None:
    proofs.check(proof, method="POST", url=RESOURCE, token="token", thumbprint=HOLDER.confirmation["jkt"])


def test_a_proof_is_remembered_as_long_as_it_could_be_used_and_no_longer() -> None:
    clock = Clock(time.time())
    proofs = Proofs(clock=clock)
    ahead = HOLDER.proof("token", jti="one", iat=int(clock.now) + 59)
    check(proofs, ahead)
    clock.now += 118
    with pytest.raises(Refusal, match="used before"):
        check(proofs, ahead)
    clock.now += 2
    with pytest.raises(Refusal, match="not made just now"):
        check(proofs, ahead)
    clock.now += 10
    check(proofs, HOLDER.proof("token", jti="two", iat=int(clock.now)))
    assert len(proofs._used) == 1


def test_where_no_more_proofs_can_be_remembered_none_is_taken() -> None:
    clock = Clock(time.time())
    proofs = Proofs(clock=clock, kept=2)
    for _ in range(2):
        check(proofs, HOLDER.proof("token"))
    with pytest.raises(Refusal) as caught:
        check(proofs, HOLDER.proof("token"))
    assert caught.value.status == 503
    clock.now += 121
    check(proofs, HOLDER.proof("token", iat=int(clock.now)))


async def test_a_proof_for_get_is_no_proof_for_post(issuer: MiniIssuer) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    authenticator = issuer.authenticator()
    assert (await ask(authenticator, "DPoP", token, HOLDER.proof(token, htm="GET"), method="GET")).name == "corp:alice"
    with pytest.raises(Refusal, match="another request"):
        await ask(authenticator, "DPoP", token, HOLDER.proof(token, htm="GET"))


async def test_the_url_is_the_one_that_clients_see_and_not_the_one_in_the_host_header(issuer: MiniIssuer) -> None:
    token = issuer.token(cnf=HOLDER.confirmation)
    headers = {"authorization": f"DPoP {token}", "host": "internal:8321"}
    async with guarded(issuer) as client:
        good = await client.post("/graphql", headers={**headers, "dpop": HOLDER.proof(token)})
        bad = await client.post(
            "/graphql", headers={**headers, "dpop": HOLDER.proof(token, htu="http://internal:8321/graphql")}
        )
    assert (good.status_code, bad.status_code) == (200, 401)
    assert json.loads(good.content)["name"] == "corp:alice"
