"""Who asks: the cache of verified tokens, several issuers, and what starting means."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from starlette.responses import Response

from auth.authenticator import Authenticator
from auth.challenges import Refusal
from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.errors import Unavailable
from tests.auth.issuer import RESOURCE, Clock, MiniIssuer


async def name(authenticator: Authenticator, token: str, scheme: str = "Bearer") -> str:
    caller = await authenticator.authenticate([f"{scheme} {token}"], [], "POST", RESOURCE)
    assert caller is not None
    return caller.name


class Counting(Authenticator):
    """Counts the tokens that it had to verify."""

    verifications = 0

    async def _verify(self, *args: Any) -> Any:
        self.verifications += 1
        return await super()._verify(*args)


def counting(issuer: MiniIssuer, clock: Clock) -> Counting:
    return Counting((issuer.issuer(leeway=0),), client=issuer.client, clock=clock)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_schemes_are_written_in_any_case(issuer: MiniIssuer, scheme: str) -> None:
    assert await name(issuer.authenticator(), issuer.token(), scheme) == "corp:alice"


async def test_a_verified_token_is_believed_for_a_minute(issuer: MiniIssuer) -> None:
    clock = Clock(time.time())
    authenticator = counting(issuer, clock)
    token = issuer.token()
    for _ in range(3):
        await name(authenticator, token)
    clock.now += 59
    await name(authenticator, token)
    assert authenticator.verifications == 1
    clock.now += 1
    await name(authenticator, token)
    assert authenticator.verifications == 2


async def test_a_verified_token_is_not_believed_when_it_has_expired(issuer: MiniIssuer) -> None:
    clock = Clock(time.time())
    authenticator = counting(issuer, clock)
    token = issuer.token(exp=int(clock.now) + 10)
    await name(authenticator, token)
    clock.now += 11
    with pytest.raises(Refusal, match="expired"):
        await name(authenticator, token)


async def test_a_token_that_was_refused_is_looked_at_again(issuer: MiniIssuer) -> None:
    clock = Clock(time.time())
    authenticator = counting(issuer, clock)
    token = issuer.token(nbf=int(clock.now) + 100)
    for _ in range(2):
        with pytest.raises(Refusal, match="not valid yet"):
            await name(authenticator, token)
    assert authenticator.verifications == 2
    clock.now += 100
    assert await name(authenticator, token) == "corp:alice"


async def test_the_tokens_that_were_not_used_longest_are_forgotten_first(
    issuer: MiniIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth.authenticator.KEPT", 2)
    authenticator = counting(issuer, Clock(time.time()))
    first, second, third = (issuer.token(jti=f"t{number}") for number in range(3))
    for token in (first, second, first, third, first):
        await name(authenticator, token)
    assert authenticator.verifications == 3
    await name(authenticator, second)
    assert authenticator.verifications == 4


async def test_a_known_token_with_another_signature_is_another_token(issuer: MiniIssuer) -> None:
    authenticator = issuer.authenticator()
    token = issuer.token()
    await name(authenticator, token)
    with pytest.raises(Refusal, match="signature"):
        await name(authenticator, token[:-8] + "AAAAAAAA")


async def test_each_issuer_vouches_for_its_own_tokens_only(issuer: MiniIssuer) -> None:
    other = MiniIssuer("https://other.example")
    other.keys["rsa"] = (RSAKey.generate_key(2048), "RS256")

    async def route(request: httpx.Request) -> httpx.Response:
        client = issuer.client if request.url.host == "issuer.example" else other.client
        answer = await client.request(request.method, request.url)
        return httpx.Response(answer.status_code, stream=httpx.ByteStream(answer.content))

    authenticator = Authenticator(
        (issuer.issuer(), other.issuer(name="partner")), client=httpx.AsyncClient(transport=httpx.MockTransport(route))
    )
    assert await name(authenticator, issuer.token()) == "corp:alice"
    assert await name(authenticator, other.token()) == "partner:alice"
    with pytest.raises(Refusal, match="signature"):
        await name(authenticator, other.token(iss=issuer.url))


async def test_it_does_not_start_without_the_keys_of_its_issuers(issuer: MiniIssuer) -> None:
    issuer.broken = Response(status_code=500)
    with pytest.raises(Unavailable, match=r"issuers: the keys of corp cannot be had: .* status 500"):
        async with issuer.authenticator():
            pass


async def test_it_may_be_told_to_start_without_keys_and_then_tokens_wait(issuer: MiniIssuer) -> None:
    issuer.broken = Response(status_code=500)
    ticks = Clock(0.0)
    async with issuer.authenticator(patient=True, monotonic=ticks) as authenticator:
        with pytest.raises(Refusal) as caught:
            await name(authenticator, issuer.token())
        assert caught.value.status == 503
        issuer.broken = None
        ticks.now += 30
        assert await name(authenticator, issuer.token()) == "corp:alice"


async def test_starting_fetches_the_keys_and_requests_need_not_wait_for_them(issuer: MiniIssuer) -> None:
    async with issuer.authenticator() as authenticator:
        asked = issuer.asked.total()
        await name(authenticator, issuer.token())
        assert issuer.asked.total() == asked


async def test_with_issuers_tokens_of_lineal_itself_are_refused(issuer: MiniIssuer, tmp_path: Any) -> None:
    own = LocalIssuer(Keyring(tmp_path))
    assert await name(Authenticator(own=own), own.token()) == "local:me"
    with pytest.raises(Refusal, match="not from an issuer that is trusted"):
        await name(Authenticator((issuer.issuer(),), own, client=issuer.client), own.token())
