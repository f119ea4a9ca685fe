"""Opaque tokens: their issuer is asked, seldom, and one that is away is no fault of the token's."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response

from auth.authenticator import Authenticator
from auth.caller import Caller
from auth.challenges import Refusal
from tests.auth.conftest import guarded
from tests.auth.issuer import RESOURCE, Clock, Holder, MiniIssuer


def active(issuer: MiniIssuer, **changed: Any) -> dict[str, Any]:
    """What an issuer says of a good token."""
    return {"active": True, "token_type": "Bearer", **issuer.claims(**changed)}


async def ask(authenticator: Authenticator, token: str = "opaque") -> Caller:
    caller = await authenticator.authenticate([f"Bearer {token}"], [], "POST", RESOURCE)
    assert caller is not None
    return caller


async def refused(authenticator: Authenticator, token: str = "opaque") -> Refusal:
    with pytest.raises(Refusal) as caught:
        await ask(authenticator, token)
    return caught.value


@pytest.mark.parametrize("token", ["opaque", "ya29.a0Af_with-a.dot", "a.b.c.d", "x" * 5_000, "b64+/=="])
async def test_a_token_that_is_no_jwt_by_its_shape_is_asked_about(issuer: MiniIssuer, token: str) -> None:
    if token.count(".") == 2:
        token = token.replace(".", "_", 1)
    issuer.opaque[token] = active(issuer)
    caller = await ask(issuer.authenticator(issuer.introspected()), token)
    assert (caller.name, caller.scopes, caller.token) == (
        "corp:alice",
        frozenset({"model:read", "lineage:read"}),
        "token-1",
    )


async def test_lineal_says_who_it_is_with_both_halves_encoded(issuer: MiniIssuer) -> None:
    issuer.opaque["opaque"] = active(issuer)
    await ask(issuer.authenticator(issuer.introspected()))
    (header,) = issuer.credentials
    assert base64.b64decode(header.removeprefix("Basic ")) == b"lineal:s3cret%3A%2F%C3%BC"


async def test_a_token_is_known_for_a_minute_at_most(issuer: MiniIssuer) -> None:
    clock = Clock(time.time())
    issuer.opaque["opaque"] = active(issuer)
    authenticator = issuer.authenticator(issuer.introspected(), clock=clock)
    await ask(authenticator)
    clock.now += 59
    await ask(authenticator)
    assert issuer.asked["introspect"] == 1
    issuer.opaque.clear()
    clock.now += 1
    assert (await refused(authenticator)).reason == "inactive"


async def test_a_token_is_not_known_longer_than_it_is_good(issuer: MiniIssuer) -> None:
    clock = Clock(time.time())
    issuer.opaque["opaque"] = active(issuer, exp=int(clock.now) + 10)
    authenticator = issuer.authenticator(issuer.introspected(leeway=0), clock=clock)
    await ask(authenticator)
    clock.now += 11
    assert (await refused(authenticator)).reason == "expired"


async def test_what_is_not_good_is_asked_about_each_time(issuer: MiniIssuer) -> None:
    authenticator = issuer.authenticator(issuer.introspected())
    for _ in range(3):
        assert (await refused(authenticator)).reason == "inactive"
    assert issuer.asked["introspect"] == 3
    issuer.opaque["opaque"] = active(issuer)
    await ask(authenticator)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"active": False}, "inactive"),
        ({"active": "true"}, "inactive"),
        ({"active": 1}, "inactive"),
        ({"active": None}, "inactive"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"aud": "https://other.example"}, "audience"),
        ({"aud": ...}, "audience"),
        ({"exp": 1}, "expired"),
        ({"exp": ...}, "claims"),
        ({"exp": "soon"}, "claims"),
        ({"sub": ""}, "claims"),
        ({"client_id": ...}, "claims"),
        ({"token_type": "refresh_token"}, "type"),
        ({"cnf": {"jkt": "x" * 43}}, "bound"),
        ({"cnf": {"x5t#S256": "x"}}, "bound"),
    ],
)
async def test_what_the_issuer_says_is_checked(issuer: MiniIssuer, said: dict[str, Any], reason: str) -> None:
    issuer.opaque["opaque"] = {k: v for k, v in {**active(issuer), **said}.items() if v is not ...}
    async with guarded(issuer, issuer.authenticator(issuer.introspected())) as client:
        answer = await client.post("/graphql", headers={"authorization": "Bearer opaque"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert (await refused(issuer.authenticator(issuer.introspected()))).reason == reason


async def test_an_issuer_need_not_repeat_its_name(issuer: MiniIssuer) -> None:
    issuer.opaque["opaque"] = {k: v for k, v in active(issuer).items() if k not in {"iss", "jti", "token_type"}}
    caller = await ask(issuer.authenticator(issuer.introspected()))
    assert caller.token.startswith("sha256:")


async def test_where_nobody_is_behind_a_token_its_client_is_the_subject(issuer: MiniIssuer) -> None:
    issuer.opaque["opaque"] = {k: v for k, v in active(issuer).items() if k != "sub"}
    caller = await ask(issuer.authenticator(issuer.introspected()))
    assert (caller.name, caller.type) == ("corp:ci", "SERVICE")


@pytest.mark.parametrize(
    "broken", [Response(status_code=500), Response(status_code=401), RedirectResponse("/x"), JSONResponse([])]
)
async def test_an_issuer_that_cannot_be_asked_is_no_fault_of_the_token(issuer: MiniIssuer, broken: Response) -> None:
    authenticator = issuer.authenticator(issuer.introspected())
    await authenticator.keys[0].start()
    await authenticator.keys[0].metadata()
    issuer.broken = broken
    async with guarded(issuer, authenticator) as client:
        answer = await client.post("/graphql", headers={"authorization": "Bearer opaque"})
        elsewhere = await client.get("/x", headers={"authorization": "Bearer opaque"})
    assert answer.status_code == elsewhere.status_code == 503
    assert answer.json()["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
    assert elsewhere.json()["code"] == "UNAVAILABLE"
    assert "www-authenticate" not in answer.headers
    assert answer.headers["retry-after"] == "5"


async def test_an_issuer_that_failed_three_times_is_left_alone_for_a_while(issuer: MiniIssuer) -> None:
    ticks = Clock(0.0)
    authenticator = issuer.authenticator(issuer.introspected(), monotonic=ticks)
    await authenticator.keys[0].metadata()
    issuer.broken = Response(status_code=500)
    for _ in range(10):
        assert (await refused(authenticator)).status == 503
    assert issuer.asked["introspect"] == 3
    issuer.broken = None
    issuer.opaque["opaque"] = active(issuer)
    ticks.now += 14
    assert (await refused(authenticator)).status == 503
    ticks.now += 1
    assert (await ask(authenticator)).name == "corp:alice"


async def test_issuers_are_asked_in_turn_and_only_those_that_are_set_so(issuer: MiniIssuer) -> None:
    trusted = [
        issuer.issuer(name="silent"),
        issuer.introspected(name="first", audience="https://first.example"),
        issuer.introspected(name="second"),
    ]
    issuer.opaque["opaque"] = active(issuer)
    # Both are at one place here, and the first says that the token is for somebody else: then it is nobody's.
    assert (await refused(issuer.authenticator(*trusted))).reason == "audience"
    assert issuer.asked["introspect"] == 1
    assert (await ask(issuer.authenticator(*trusted[::2]))).name == "second:alice"


async def test_one_issuer_that_is_away_does_not_hide_another_and_its_tokens_wait(issuer: MiniIssuer) -> None:
    elsewhere = MiniIssuer("https://elsewhere.example")
    away = elsewhere.introspected(name="away", jwks_url="https://elsewhere.example/jwks")
    issuer.metadata["issuer"] = issuer.url
    authenticator = issuer.authenticator(away, issuer.introspected())
    issuer.opaque["opaque"] = active(issuer)
    assert (await ask(authenticator)).name == "corp:alice"
    assert (await refused(authenticator, "other")).status == 503


async def test_without_an_issuer_to_ask_an_opaque_token_is_refused(issuer: MiniIssuer) -> None:
    assert (await refused(issuer.authenticator())).reason == "inactive"
    assert issuer.asked == {}


async def test_a_bound_opaque_token_is_accepted_with_a_proof(issuer: MiniIssuer) -> None:
    holder = Holder()
    issuer.opaque["opaque"] = active(issuer, token_type="DPoP", cnf=holder.confirmation)
    authenticator = issuer.authenticator(issuer.introspected())
    caller = await authenticator.authenticate(["DPoP opaque"], [holder.proof("opaque")], "POST", RESOURCE)
    assert caller is not None
    assert caller.name == "corp:alice"
    assert (await refused(authenticator)).reason == "bound"
