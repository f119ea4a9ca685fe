"""Good tokens: what is read from them, and the five faults of authlib's validator that are no faults here."""

from __future__ import annotations

import time
from typing import Any

import pytest

from auth.caller import Caller
from auth.challenges import Refusal
from auth.issuer import Issuer
from tests.auth.issuer import RESOURCE, MiniIssuer


async def ask(issuer: MiniIssuer, token: str, *issuers: Issuer, **more: Any) -> Caller:
    caller = await issuer.authenticator(*issuers, **more).authenticate([f"Bearer {token}"], [], "POST", RESOURCE)
    assert caller is not None
    return caller


async def refused(issuer: MiniIssuer, token: str, *issuers: Issuer) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await ask(issuer, token, *issuers)
    return caught.value


async def test_a_caller_is_what_the_token_says(issuer: MiniIssuer) -> None:
    exp = int(time.time()) + 300
    token = issuer.token(exp=exp, name="Alice Liddell", groups=["ml", "strangers"])
    assert await ask(issuer, token, issuer.issuer(teams={"ml": "machine-learning", "cats": "cats"})) == Caller(
        "corp:alice",
        frozenset({"model:read", "lineage:read"}),
        issuer=issuer.url,
        subject="alice",
        client="ci",
        token="token-1",
        type="USER",
        display_name="Alice Liddell",
        teams=frozenset({"machine-learning"}),
        workspaces=frozenset(),
        expires=exp,
    )


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
async def test_each_pinned_algorithm_is_accepted(issuer: MiniIssuer, kid: str) -> None:
    assert (await ask(issuer, issuer.token(kid))).name == "corp:alice"


async def test_ed25519_may_be_called_eddsa(issuer: MiniIssuer) -> None:
    assert (await ask(issuer, issuer.token("ed", {"alg": "EdDSA"}))).name == "corp:alice"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_the_type_of_an_access_token_has_several_spellings(issuer: MiniIssuer, typ: str) -> None:
    assert (await ask(issuer, issuer.token(header={"typ": typ}))).name == "corp:alice"


async def test_one_audience_of_several_is_enough(issuer: MiniIssuer) -> None:
    assert (await ask(issuer, issuer.token(aud=["https://other.example", RESOURCE]))).name == "corp:alice"


async def test_a_fraction_of_a_second_is_a_date(issuer: MiniIssuer) -> None:
    exp = time.time() + 10.5
    assert (await ask(issuer, issuer.token(exp=exp))).expires == int(exp)


async def test_header_parameters_that_nobody_knows_are_ignored(issuer: MiniIssuer) -> None:
    assert (await ask(issuer, issuer.token(header={"x5t": "abc", "made-up": [1]}))).name == "corp:alice"


async def test_scopes_that_lineal_does_not_have_are_nothing(issuer: MiniIssuer) -> None:
    caller = await ask(issuer, issuer.token(scope="openid  model:read ADMIN root"))
    assert caller.scopes == {"model:read"}


@pytest.mark.parametrize("scope", [7, None, {"admin": True}, [["admin"], 3], ""])
async def test_scopes_of_another_shape_are_nothing(issuer: MiniIssuer, scope: object) -> None:
    assert (await ask(issuer, issuer.token(scope=scope))).scopes == frozenset()


async def test_scopes_may_be_in_lists_under_other_names(issuer: MiniIssuer) -> None:
    trusted = issuer.issuer(scope_claims=("scp", "permissions"))
    caller = await ask(issuer, issuer.token(scp="model:read", permissions=["dataset:read", 1], scope="admin"), trusted)
    assert caller.scopes == {"model:read", "dataset:read"}


async def test_with_a_map_only_what_is_mapped_counts(issuer: MiniIssuer) -> None:
    trusted = issuer.issuer(scope_claims=("roles",), scopes_map={"Reader": ("model:read", "dataset:read")})
    caller = await ask(issuer, issuer.token(roles=["Reader", "admin", "model:write"]), trusted)
    assert caller.scopes == {"model:read", "dataset:read"}


async def test_groups_are_found_by_paths_and_in_claims_with_dots(issuer: MiniIssuer) -> None:
    trusted = issuer.issuer(
        groups_claims=("realm_access.roles", "https://example.org/groups", "no.such.claim"),
        teams={"a": "team-a", "b": "team-b"},
    )
    claims: dict[str, Any] = {"realm_access": {"roles": ["a"]}, "https://example.org/groups": ["b"]}
    token = issuer.token(**claims)
    assert (await ask(issuer, token, trusted)).teams == {"team-a", "team-b"}


async def test_another_claim_may_be_the_subject(issuer: MiniIssuer) -> None:
    assert (await ask(issuer, issuer.token(oid="1234"), issuer.issuer(subject_claim="oid"))).name == "corp:1234"


@pytest.mark.parametrize(
    ("claims", "type"),
    [
        ({}, "USER"),
        ({"sub": "ci"}, "SERVICE"),
        ({"sub": "ci@clients"}, "SERVICE"),
        ({"gty": "client-credentials"}, "SERVICE"),
        ({"idtyp": "app"}, "SERVICE"),
    ],
)
async def test_a_client_that_acts_for_itself_is_a_service(
    issuer: MiniIssuer, claims: dict[str, Any], type: str
) -> None:
    assert (await ask(issuer, issuer.token(**claims))).type == type


@pytest.mark.parametrize("name", ["x" * 201, "two\nlines", 7, " padded", "e\u0301"])
async def test_a_name_for_display_that_cannot_be_shown_is_left_out(issuer: MiniIssuer, name: object) -> None:
    assert (await ask(issuer, issuer.token(name=name, preferred_username="al"))).display_name == "al"


async def test_no_issuer_can_give_workspaces(issuer: MiniIssuer) -> None:
    assert (await ask(issuer, issuer.token(lineal_workspaces=["default"]))).workspaces == frozenset()


# ── issuers that do not follow RFC 9068 ───────────────────────────────────────────────────────────


async def test_plain_jwts_are_accepted_where_the_issuer_is_set_so(issuer: MiniIssuer) -> None:
    trusted = issuer.issuer(token_types=frozenset({"at+jwt", "JWT"}))
    token = issuer.token(header={"typ": "JWT"}, client_id=..., jti=..., azp="web", typ="Bearer")
    caller = await ask(issuer, token, trusted)
    assert caller.client == "web"
    assert caller.token.startswith("sha256:")
    assert (await refused(issuer, token)).reason == "type"


@pytest.mark.parametrize(
    "claims",
    [{"client_id": ...}, {"typ": "ID"}, {"typ": "Refresh"}, {"nonce": "n"}, {"at_hash": "h"}, {"aud": "web"}],
)
async def test_id_tokens_are_refused_even_then(issuer: MiniIssuer, claims: dict[str, Any]) -> None:
    trusted = issuer.issuer(token_types=frozenset({"at+jwt", "JWT"}))
    assert (await refused(issuer, issuer.token(header={"typ": "JWT"}, **claims), trusted)).status == 401


@pytest.mark.parametrize("typ", [..., "", None])
async def test_a_token_without_a_type_is_refused_even_then(issuer: MiniIssuer, typ: Any) -> None:
    trusted = issuer.issuer(token_types=frozenset({"at+jwt", "JWT"}))
    assert (await refused(issuer, issuer.token(header={"typ": typ}), trusted)).reason == "type"


# ── what authlib's own validator does otherwise ───────────────────────────────────────────────────


@pytest.mark.parametrize("typ", [..., ""])
async def test_a_token_that_does_not_say_its_type_is_refused(issuer: MiniIssuer, typ: Any) -> None:
    assert (await refused(issuer, issuer.token(header={"typ": typ}))).reason == "type"


async def test_algorithms_are_those_of_the_issuer(issuer: MiniIssuer) -> None:
    only = issuer.issuer(algorithms=("ES256",))
    assert (await refused(issuer, issuer.token("rsa"), only)).reason == "algorithm"
    assert (await ask(issuer, issuer.token("ec"), only)).name == "corp:alice"


async def test_a_clock_that_is_a_little_ahead_is_forgiven(issuer: MiniIssuer) -> None:
    soon = int(time.time()) + 50
    assert (await ask(issuer, issuer.token(iat=soon, nbf=soon))).name == "corp:alice"


async def test_groups_never_make_a_token_invalid(issuer: MiniIssuer) -> None:
    assert (await ask(issuer, issuer.token(groups=[], roles=[], entitlements=[]))).teams == frozenset()


async def test_no_credentials_are_no_error_and_an_unknown_scheme_has_no_code(issuer: MiniIssuer) -> None:
    authenticator = issuer.authenticator()
    assert await authenticator.authenticate([], [], "POST", RESOURCE) is None
    with pytest.raises(Refusal) as caught:
        await authenticator.authenticate(["Basic YTpi"], [], "POST", RESOURCE)
    assert (caught.value.status, caught.value.code) == (401, "")


# ── time ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("ago", "accepted"), [(0, True), (29, True), (31, False)])
async def test_an_expired_token_is_good_for_the_leeway_and_no_longer(
    issuer: MiniIssuer, ago: int, accepted: bool
) -> None:
    token = issuer.token(exp=1_000_000, iat=999_000)
    trusted = issuer.authenticator(clock=lambda: 1_000_000.0 + ago)
    if accepted:
        assert await trusted.authenticate([f"Bearer {token}"], [], "POST", RESOURCE)
        return
    with pytest.raises(Refusal) as caught:
        await trusted.authenticate([f"Bearer {token}"], [], "POST", RESOURCE)
    assert caught.value.reason == "expired"


async def test_a_token_may_be_too_old_although_it_has_not_expired(issuer: MiniIssuer) -> None:
    old = issuer.token(iat=int(time.time()) - 1_000, exp=int(time.time()) + 1_000)
    assert (await ask(issuer, old)).name == "corp:alice"
    assert (await refused(issuer, old, issuer.issuer(max_token_age=900))).reason == "expired"
