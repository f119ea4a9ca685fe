"""Keys of issuers: how they are found, kept, changed, and done without."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from auth.challenges import Refusal
from auth.fetching import FetchError, fetch, is_safe
from auth.issuer import Issuer
from auth.jwks import Keys
from tests.auth.issuer import URL, Clock, MiniIssuer


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)


def keys(issuer: MiniIssuer, clock: Clock, **changed: Any) -> Keys:
    return Keys(issuer.issuer(**changed), issuer.client, clock=clock)


async def refused(source: Keys, kid: str = "rsa", algorithm: str = "RS256") -> Refusal:
    with pytest.raises(Refusal) as caught:
        await source.key(kid, algorithm)
    return caught.value


async def test_keys_are_found_by_openid_discovery(issuer: MiniIssuer, clock: Clock) -> None:
    assert (await keys(issuer, clock).key("rsa", "RS256")).kid == "rsa"
    assert issuer.asked == {"tenant": 1, "openid-configuration": 1, "jwks": 1}


async def test_keys_are_found_by_the_metadata_of_rfc_8414(clock: Clock) -> None:
    asked = []
    issuer = MiniIssuer()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        content = issuer.metadata if "well-known" in asked[-1] else {"keys": issuer.published()}
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(content).encode()))

    source = Keys(issuer.issuer(), httpx.AsyncClient(transport=httpx.MockTransport(answer)), clock=clock)
    assert (await source.key("ec", "ES256")).kid == "ec"
    assert asked == ["https://issuer.example/.well-known/oauth-authorization-server/tenant", f"{URL}/jwks"]


async def test_where_the_keys_are_may_be_a_setting(issuer: MiniIssuer, clock: Clock) -> None:
    await keys(issuer, clock, jwks_url=f"{URL}/jwks").start()
    assert issuer.asked == {"jwks": 1}


@pytest.mark.parametrize("claimed", ["https://evil.example", f"{URL}/", None])
async def test_metadata_of_another_issuer_is_not_believed(
    issuer: MiniIssuer, clock: Clock, claimed: str | None
) -> None:
    issuer.metadata["issuer"] = claimed
    source = keys(issuer, clock)
    assert (await refused(source)).status == 503
    assert "another issuer" in source.problem
    assert issuer.asked["jwks"] == 0


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        (None, 3_600),
        ("max-age=600", 600),
        ("public, max-age=600", 600),
        ("max-age=1", 300),
        ("no-store", 300),
        ("max-age=999999999", 86_400),
        ("max-age=nonsense", 3_600),
    ],
)
async def test_keys_are_kept_as_long_as_the_issuer_says_within_bounds(
    issuer: MiniIssuer, clock: Clock, control: str | None, seconds: int
) -> None:
    issuer.cache_control = control
    source = keys(issuer, clock)
    await source.key("rsa", "RS256")
    clock.now += seconds - 1
    await source.key("rsa", "RS256")
    assert issuer.asked["jwks"] == 1
    clock.now += 1
    await source.key("rsa", "RS256")
    await source.settled()
    assert issuer.asked["jwks"] == 2


async def test_a_new_key_is_used_at_once_and_one_that_was_withdrawn_no_more(issuer: MiniIssuer, clock: Clock) -> None:
    source = keys(issuer, clock)
    await source.key("rsa", "RS256")
    issuer.keys["new"] = (ECKey.generate_key("P-256"), "ES256")
    del issuer.keys["rsa"]
    assert (await source.key("new", "ES256")).kid == "new"
    assert (await refused(source)).reason == "key"


async def test_after_a_key_was_missed_there_is_a_rest(issuer: MiniIssuer, clock: Clock) -> None:
    source = keys(issuer, clock)
    await source.key("rsa", "RS256")
    await refused(source, "unknown")
    issuer.keys["new"] = (ECKey.generate_key("P-256"), "ES256")
    clock.now += 29
    assert (await refused(source, "new", "ES256")).status == 401
    assert issuer.asked["jwks"] == 2
    clock.now += 1
    assert (await source.key("new", "ES256")).kid == "new"
    assert issuer.asked["jwks"] == 3


async def test_while_keys_are_usable_nobody_waits_for_newer_ones(issuer: MiniIssuer, clock: Clock) -> None:
    source = keys(issuer, clock, jwks_url=f"{URL}/jwks")
    await source.key("rsa", "RS256")
    hanging, go = 0, asyncio.Event()

    async def hang(_request: httpx.Request) -> httpx.Response:
        nonlocal hanging
        hanging += 1
        await go.wait()
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps({"keys": issuer.published()}).encode()))

    source._client = httpx.AsyncClient(transport=httpx.MockTransport(hang))
    clock.now += 3_600
    issuer.keys["new"] = (ECKey.generate_key("P-256"), "ES256")
    for _ in range(5):
        async with asyncio.timeout(1):
            assert (await source.key("rsa", "RS256")).kid == "rsa"
    go.set()
    await source.settled()
    assert hanging == 1
    assert (await source.key("new", "ES256")).kid == "new"


async def test_a_fetch_that_is_under_way_ends_with_the_authenticator(issuer: MiniIssuer, clock: Clock) -> None:
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    authenticator = issuer.authenticator(monotonic=clock)
    async with authenticator:
        (source,) = authenticator.keys
        source._client = httpx.AsyncClient(transport=httpx.MockTransport(hang))
        clock.now += 3_600
        await source.key("rsa", "RS256")
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_many_who_wait_make_one_fetch(issuer: MiniIssuer, clock: Clock) -> None:
    source = keys(issuer, clock)
    found = await asyncio.gather(*(source.key("rsa", "RS256") for _ in range(100)))
    assert len(found) == 100
    assert issuer.asked["jwks"] == 1


async def test_while_an_issuer_is_away_its_keys_are_used_for_so_many_hours(issuer: MiniIssuer, clock: Clock) -> None:
    source = keys(issuer, clock, stale=7_200.0)
    await source.key("rsa", "RS256")
    issuer.broken = Response(status_code=500)
    clock.now += 3_600 + 7_199
    await source.key("rsa", "RS256")
    await source.settled()
    assert "status 500" in source.problem
    clock.now += 1
    assert (await refused(source)).status == 503
    issuer.broken = None
    clock.now += 30
    await source.key("rsa", "RS256")
    assert source.problem == ""


async def test_an_issuer_that_is_away_is_asked_again_every_half_minute_only(issuer: MiniIssuer, clock: Clock) -> None:
    issuer.broken = Response(status_code=500)
    source = keys(issuer, clock, jwks_url=f"{URL}/jwks")
    for _ in range(60):
        assert (await refused(source)).status == 503
        clock.now += 1
    assert issuer.asked["jwks"] == 2


async def test_a_withdrawn_address_of_the_keys_is_looked_up_again(issuer: MiniIssuer, clock: Clock) -> None:
    source = keys(issuer, clock)
    await source.key("rsa", "RS256")
    issuer.metadata["jwks_uri"] = f"{URL}/elsewhere/jwks"
    issuer.broken = Response(status_code=404)
    clock.now += 3_600
    await source.key("rsa", "RS256")
    await source.settled()
    issuer.broken = None
    clock.now += 30
    await source.key("rsa", "RS256")
    await source.settled()
    assert source.problem == ""
    assert issuer.asked["openid-configuration"] == 3


WEAK = {"kty": "RSA", "kid": "weak", "n": "A" * 171, "e": "AQAB"}
USELESS: list[Any] = [
    None,
    "key",
    {},
    {"kty": "unheard-of", "kid": "rsa"},
    {**OctKey.generate_key(256).as_dict(), "kid": "rsa"},
    {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "rsa", "use": "enc"},
    {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "rsa", "key_ops": ["encrypt"]},
    {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "rsa", "key_ops": "verify"},
    {**ECKey.generate_key("P-256").as_dict(private=True), "kid": "rsa"},
    {**WEAK, "kid": "rsa"},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "rsa"},
    {"kty": "EC", "crv": "P-0", "x": "AA", "y": "AA", "kid": "rsa"},
    {"kty": "EC", "crv": ["P-256"], "x": 1, "y": None, "kid": "rsa"},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "rsa"},
    {"kty": ["RSA"], "kid": "rsa"},
    {**RSAKey.generate_key(2048).as_dict(private=False), "kid": 7},
]


@pytest.mark.parametrize("useless", USELESS)
async def test_what_is_no_public_signature_key_is_passed_over(issuer: MiniIssuer, clock: Clock, useless: Any) -> None:
    issuer.more_keys = [useless]
    assert (await keys(issuer, clock).key("rsa", "RS256")).kid == "rsa"
    issuer.keys.clear()
    source = keys(issuer, clock)
    assert (await refused(source)).status == 503
    assert "no key that can verify" in source.problem


async def test_a_key_is_used_with_its_own_algorithm_only(issuer: MiniIssuer, clock: Clock) -> None:
    source = keys(issuer, clock)
    for kid, algorithm in (("rsa", "PS256"), ("rsa", "ES256"), ("ec", "ES384"), ("ed", "RS256"), ("ec", "HS256")):
        assert (await refused(source, kid, algorithm)).reason == "key"


async def test_two_keys_of_one_id_are_told_apart_by_their_algorithms(issuer: MiniIssuer, clock: Clock) -> None:
    other = OKPKey.generate_key("Ed25519").as_dict(private=False)
    issuer.more_keys = [{**other, "kid": "rsa"}]
    source = keys(issuer, clock)
    assert (await source.key("rsa", "RS256")).key_type == "RSA"
    assert (await source.key("rsa", "Ed25519")).key_type == "OKP"


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://issuer.example", True),
        ("http://127.0.0.1:9100/x", True),
        ("http://[::1]:9100", True),
        ("http://localhost", True),
        ("http://issuer.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://10.0.0.1", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://user@issuer.example", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_only_tls_is_safe_or_this_machine(url: str, safe: bool) -> None:
    assert is_safe(url) is safe


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (RedirectResponse("https://evil.example/jwks"), "status 307"),
        (Response(status_code=404), "status 404"),
        (PlainTextResponse("x" * (2**20 + 1)), "more than 1048576 bytes"),
        (PlainTextResponse("<html>"), "did not answer with JSON"),
        (PlainTextResponse("[" * 100_000), "did not answer with JSON"),
        (JSONResponse([]), "did not answer with a JSON object"),
        (JSONResponse({"keys": 7}), "no key that can verify"),
    ],
)
async def test_what_an_issuer_must_not_answer_is_an_error_that_says_so(
    issuer: MiniIssuer, clock: Clock, answer: Response, problem: str
) -> None:
    issuer.broken = answer
    source = keys(issuer, clock, jwks_url=f"{URL}/jwks")
    assert (await refused(source)).status == 503
    assert problem in source.problem
    assert issuer.asked == {"jwks": 1}


@pytest.mark.parametrize("address", [None, 7, "http://issuer.example/jwks", "file:///etc/passwd", "https://user@x/"])
async def test_the_address_of_keys_must_be_safe(issuer: MiniIssuer, clock: Clock, address: Any) -> None:
    issuer.metadata["jwks_uri"] = address
    assert (await refused(keys(issuer, clock))).status == 503
    assert issuer.asked["jwks"] == 0


async def test_an_issuer_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("auth.fetching.SECONDS", 0.01)
    with pytest.raises(FetchError, match=r"did not answer within 0\.01 seconds"):
        await fetch(httpx.AsyncClient(transport=httpx.MockTransport(never)), f"{URL}/jwks")


async def test_an_issuer_that_cannot_be_reached_is_an_error_that_says_so(clock: Clock) -> None:
    async def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to 10.1.2.3", request=request)

    source = Keys(Issuer(name="x", url=URL, audience="x"), httpx.AsyncClient(transport=httpx.MockTransport(fails)))
    await source.start()
    assert not source.usable
    assert source.problem.endswith("cannot be reached: ConnectError")


async def test_who_watches_has_expired_keys_fetched_though_nobody_brings_a_token(
    issuer: MiniIssuer, clock: Clock
) -> None:
    source = keys(issuer, clock)
    await source.start()
    source.renew()
    await source.settled()
    assert issuer.asked["jwks"] == 1
    clock.now += 3_600
    source.renew()
    source.renew()
    await source.settled()
    assert issuer.asked["jwks"] == 2


async def test_an_issuer_that_was_away_at_the_start_is_found_by_who_watches(issuer: MiniIssuer, clock: Clock) -> None:
    issuer.broken = Response(status_code=500)
    source = keys(issuer, clock)
    await source.start()
    assert not source.usable
    issuer.broken = None
    clock.now += 60
    source.renew()
    await source.settled()
    assert source.usable


async def test_how_long_keys_could_not_be_fetched_is_told_and_an_idle_process_is_not_failing(
    issuer: MiniIssuer, clock: Clock
) -> None:
    source = keys(issuer, clock)
    await source.start()
    clock.now += 100_000
    assert source.failing == 0.0
    issuer.broken = Response(status_code=500)
    for _ in range(3):
        source.renew()
        await source.settled()
        clock.now += 600
    assert source.failing == 1_800
    issuer.broken = None
    source.renew()
    await source.settled()
    assert source.failing == 0.0
