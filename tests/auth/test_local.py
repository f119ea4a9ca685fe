"""Tokens that Lineal signs itself: what they say, and whom they convince."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from auth import local
from auth.authenticator import Authenticator
from auth.caller import Caller
from auth.challenges import Refusal
from auth.keyring import Keyring
from auth.local import LocalIssuer
from auth.scopes import SCOPES
from lineal.errors import InvalidArgument
from tests.auth.issuer import RESOURCE, Clock


@pytest.fixture
def own(tmp_path: Path) -> LocalIssuer:
    return LocalIssuer(Keyring(tmp_path / "keys"))


async def ask(own: LocalIssuer, token: str, **more: Any) -> Caller:
    caller = await Authenticator(own=own, **more).authenticate([f"Bearer {token}"], [], "POST", RESOURCE)
    assert caller is not None
    return caller


async def test_a_token_says_who_may_do_what_where(own: LocalIssuer) -> None:
    token = own.token(name="ann", scopes=["model:read", "lineage:read"], workspaces=["vision"], seconds=600)
    caller = await ask(own, token)
    assert (caller.name, caller.issuer, caller.subject, caller.type) == ("local:ann", "lineal:local", "ann", "USER")
    assert caller.scopes == {"model:read", "lineage:read"}
    assert caller.workspaces == frozenset({"vision"})
    assert 590 < caller.expires - time.time() <= 600
    assert not caller.trusted


async def test_without_scopes_it_opens_all_but_admin_and_without_workspaces_every_one(own: LocalIssuer) -> None:
    caller = await ask(own, own.token())
    assert caller.scopes == SCOPES.keys() - {"admin"}
    assert caller.workspaces is None


async def test_a_token_for_workspaces_is_bound_to_them_and_holds_no_scope_that_reaches_further(
    own: LocalIssuer,
) -> None:
    caller = await ask(own, own.token(workspaces=["vision"]))
    assert caller.bounded
    assert caller.scopes == SCOPES.keys() - {"admin", "directory:write", "monitor:read"}
    assert not (await ask(own, own.token())).bounded


@pytest.mark.parametrize("scopes", [["admin"], ["all"], ["model:read", "directory:write"], ["monitor:read"]])
def test_a_scope_that_no_workspace_bounds_is_refused_beside_workspaces(own: LocalIssuer, scopes: list[str]) -> None:
    with pytest.raises(InvalidArgument, match=r"scope: \S+ is not bounded by workspaces"):
        own.token(scopes=scopes, workspaces=["vision"])


async def test_a_token_that_says_both_a_workspace_and_admin_is_no_admins(own: LocalIssuer) -> None:
    claims = {**jwt.decode(own.token(scopes=["all"]), own._key, ["Ed25519"]).claims, local.WORKSPACES: ["vision"]}
    token = jwt.encode({"typ": "at+jwt", "alg": "Ed25519", "kid": own._kid}, claims, own._key, ["Ed25519"])
    assert (await ask(own, token)).scopes == SCOPES.keys() - {"admin", "directory:write", "monitor:read"}


async def test_no_workspace_is_not_every_workspace(own: LocalIssuer) -> None:
    assert (await ask(own, own.token(workspaces=[]))).workspaces == frozenset()


async def test_all_is_every_scope(own: LocalIssuer) -> None:
    assert (await ask(own, own.token(scopes=["all"]))).scopes == SCOPES.keys()


async def test_two_tokens_have_two_ids(own: LocalIssuer) -> None:
    first, second = [await ask(own, own.token()) for _ in range(2)]
    assert first.token != second.token


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scopes": ["model:read", "modle:read"]}, "scope: there is no 'modle:read'; there are model:read, "),
        ({"seconds": 59}, "expires: must be 1 minute to 366 days"),
        ({"seconds": 366 * 86_400 + 1}, "expires: must be 1 minute to 366 days"),
        ({"name": ""}, "as: a name is 1 to 100 printable characters"),
        ({"name": "a\nb"}, "as: a name is"),
        ({"name": "x" * 101}, "as: a name is"),
        ({"workspaces": ["Not A Name"]}, "workspace: a workspace's name is"),
    ],
)
def test_what_cannot_be_in_a_token_is_refused(own: LocalIssuer, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        own.token(**given)


async def test_a_token_of_another_key_folder_is_refused(own: LocalIssuer, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="a key that is not ours"):
        await ask(own, LocalIssuer(Keyring(tmp_path / "others")).token())


async def test_a_token_of_the_same_folder_is_good_in_another_process(own: LocalIssuer, tmp_path: Path) -> None:
    assert (await ask(LocalIssuer(Keyring(tmp_path / "keys")), own.token())).name == "local:me"


async def test_a_token_that_has_expired_is_refused_at_once(own: LocalIssuer) -> None:
    token = own.token(seconds=60)
    with pytest.raises(Refusal, match="expired"):
        await ask(own, token, clock=Clock(time.time() + 61))


@pytest.mark.parametrize("workspaces", ["default", 7, {"default": True}, [1], [["default"]]])
async def test_workspaces_that_are_no_list_of_names_are_refused(own: LocalIssuer, workspaces: Any) -> None:
    claims = {**jwt.decode(own.token(), own._key, ["Ed25519"]).claims, local.WORKSPACES: workspaces}
    token = jwt.encode({"typ": "at+jwt", "alg": "Ed25519", "kid": own._kid}, claims, own._key, ["Ed25519"])
    with pytest.raises(Refusal, match="workspaces"):
        await ask(own, token)


async def test_a_strangers_key_under_our_id_is_refused(own: LocalIssuer) -> None:
    claims = jwt.decode(own.token(), own._key, ["Ed25519"]).claims
    header = {"typ": "at+jwt", "alg": "Ed25519", "kid": own._kid}
    with pytest.raises(Refusal, match="signature"):
        await ask(own, jwt.encode(header, claims, OKPKey.generate_key("Ed25519"), ["Ed25519"]))
