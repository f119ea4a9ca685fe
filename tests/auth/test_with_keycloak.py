"""Tokens of a real Keycloak at a running Lineal: as it makes them unless told otherwise, and as RFC 9068 wants them."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth import tokens
from tests.conftest import SOAK
from tests.keycloak import Keycloak
from tests.running import TEAM, LinealServer, Said, challenges, resource_at, said
from tests.services import free_port

pytestmark = [
    pytest.mark.services,
    pytest.mark.soak,
    pytest.mark.skipif(not SOAK, reason="Keycloak takes half a minute to start: `make soak` runs this"),
]

READ = "model:read"
BERT = {"data": {"models": {"nodes": [{"name": "bert"}]}}}


async def test_tokens_of_keycloak_open_lineal_as_far_as_their_kind_is_accepted(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    audience = resource_at(ports[0])
    with Keycloak(tmp_path / "keycloak", audience, [READ, "dataset:read"]) as keycloak:
        plain, typed, standard = (keycloak.token(client, READ) for client in ("plain", "typed", "standard"))
        assert [tokens.read(token).header["typ"] for token in (plain, typed, standard)] == ["JWT", "at+jwt", "at+jwt"]
        assert ["client_id" in tokens.read(token).claims for token in (plain, typed, standard)] == [False, False, True]
        issuer = {"name": "corp", "url": keycloak.issuer, "audience": audience}
        by_group = {**issuer, "groups_claims": ["groups"], "teams": {"research": TEAM}}
        by_role = {**issuer, "groups_claims": ["realm_access.roles"], "teams": {"curator": TEAM}}
        lenient = LinealServer(tmp_path / "lenient", ports[0], [{**by_role, "token_types": ["at+jwt", "JWT"]}])
        strict = LinealServer(tmp_path / "strict", ports[1], [by_group], resource=audience)
        await lenient.furnish()
        await strict.furnish()
        with lenient, strict:
            assert [lenient.ask(token).json() for token in (plain, typed, standard)] == [BERT] * 3
            assert strict.ask(standard).json() == BERT
            for token, reason in ((plain, "its typ must be at+jwt"), (typed, "client_id")):
                refused = strict.ask(token)
                assert said(refused) == Said(401, "UNAUTHENTICATED", {"Bearer": "invalid_token"})
                assert reason in challenges(refused)["Bearer"]["error_description"]
            denied = lenient.ask(keycloak.token("plain", "dataset:read"))
            assert denied.status_code == 200
            assert denied.json()["data"] == {"models": None}
            assert [error["extensions"]["code"] for error in denied.json()["errors"]] == ["FORBIDDEN"]
