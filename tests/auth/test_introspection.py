"""Opaque tokens: their issuer is asked, seldom, and one that is away is no fault of the token's."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from auth.authenticator import Authenticator
from auth.caller import Caller
from auth.challenges import Refusal
from auth.introspection import AT_ONCE, IN_LINE, REMEMBERED, ROOM, Introspector
from auth.issuer import Introspection
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


@pytest.mark.parametrize(("said", "reason"), [({"active": False}, "inactive"), ({"aud": "https://other"}, "audience")])
async def test_what_is_not_good_is_not_asked_about_again_for_a_few_seconds(
    issuer: MiniIssuer, said: dict[str, Any], reason: str
) -> None:
    ticks = Clock(0.0)
    issuer.opaque["opaque"] = {**active(issuer), **said}
    authenticator = issuer.authenticator(issuer.introspected(), monotonic=ticks)
    for _ in range(3):
        assert (await refused(authenticator)).reason == reason
    issuer.opaque["opaque"] = active(issuer)
    ticks.now += REMEMBERED - 0.1
    assert (await refused(authenticator)).reason == reason
    assert issuer.asked["introspect"] == 1
    ticks.now += 0.1
    await ask(authenticator)


async def test_no_more_refused_tokens_are_remembered_than_there_is_room_for(issuer: MiniIssuer) -> None:
    introspector = Introspector(issuer.authenticator(issuer.introspected()).keys[0])
    for i in range(ROOM + 10):
        introspector.remember(str(i).encode(), None)
    assert len(introspector.refused) == ROOM


class Waiting:
    """An issuer that answers when it is let, and counts how many wait for it at once."""

    def __init__(self, issuer: MiniIssuer) -> None:
        self.issuer = issuer
        self.go = asyncio.Event()
        self.now = self.most = 0
        self.answer = issuer.answer
        app = Starlette(routes=[Route("/{path:path}", self.slowly, methods=["GET", "POST"])])
        issuer.client = httpx.AsyncClient(transport=httpx.ASGITransport(app))

    async def slowly(self, request: Request) -> Response:
        if request.url.path.endswith("/introspect"):
            self.now += 1
            self.most = max(self.most, self.now)
            await self.go.wait()
            self.now -= 1
        return await self.answer(request)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it becomes true in the turns of others
            await asyncio.sleep(0)


async def test_many_who_bring_the_same_token_at_once_make_one_question(issuer: MiniIssuer) -> None:
    issuer.opaque["opaque"] = active(issuer)
    waiting = Waiting(issuer)
    authenticator = issuer.authenticator(issuer.introspected())
    first = asyncio.create_task(ask(authenticator))
    await until(lambda: waiting.now == 1)
    others = [asyncio.create_task(ask(authenticator)) for _ in range(30)]
    await asyncio.sleep(0)
    # Whoever asked first goes away, and the others are answered all the same.
    first.cancel()
    waiting.go.set()
    assert {caller.name for caller in await asyncio.gather(*others)} == {"corp:alice"}
    assert issuer.asked["introspect"] == 1


async def test_no_more_questions_than_a_few_are_open_at_once_at_one_issuer(issuer: MiniIssuer) -> None:
    waiting = Waiting(issuer)
    authenticator = issuer.authenticator(issuer.introspected())
    tasks = [asyncio.create_task(refused(authenticator, f"junk{i}")) for i in range(3 * AT_ONCE)]
    await until(lambda: waiting.now == AT_ONCE)
    waiting.go.set()
    assert {refusal.reason for refusal in await asyncio.gather(*tasks)} == {"inactive"}
    assert waiting.most == AT_ONCE


async def test_when_too_many_wait_for_an_issuer_more_are_sent_away_at_once(issuer: MiniIssuer) -> None:
    waiting = Waiting(issuer)
    authenticator = issuer.authenticator(issuer.introspected())
    tasks = [asyncio.create_task(refused(authenticator, f"junk{i}")) for i in range(IN_LINE)]
    await until(lambda: waiting.now == AT_ONCE)
    assert (await refused(authenticator, "one-more")).status == 503
    waiting.go.set()
    await asyncio.gather(*tasks)
    assert (await refused(authenticator, "one-more")).status == 401


async def test_a_token_whose_beginning_tells_whose_it_is_goes_to_no_other_issuer(issuer: MiniIssuer) -> None:
    trusted = [
        issuer.issuer(name="first", introspection=Introspection("lineal", "x", prefix="first_")),
        issuer.issuer(name="second", introspection=Introspection("lineal", "x", prefix="second_")),
        issuer.issuer(name="third", introspection=Introspection("lineal", "x")),
    ]
    for token, name in (("second_a", "second"), ("other", "third")):
        issuer.opaque[token] = active(issuer)
        assert (await ask(issuer.authenticator(*trusted), token)).name == f"{name}:alice"
    assert issuer.asked["introspect"] == 2


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
        ({"token_type": "DPoP"}, "bound"),
        ({"token_type": "dpop", "cnf": None}, "bound"),
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
