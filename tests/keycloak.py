"""A real Keycloak for tests, from Maven Central."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx

from tests.services import Server, cache_home, downloaded, missing

KEYCLOAK_VERSION: Final = "26.5.6"
REALM: Final = "lab"

_POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>lineal</groupId><artifactId>services</artifactId><version>1</version>
</project>
"""


def keycloak_home() -> Path:
    """The folder with Keycloak's distribution; Maven brings it the first time."""
    dist = downloaded(
        "keycloak",
        cache_home() / f"keycloak-{KEYCLOAK_VERSION}" / "dist",
        {"pom.xml": _POM},
        [
            *("mvn", "-q", "-B", "dependency:unpack", "-DoutputDirectory=dist"),
            f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK_VERSION}:zip",
        ],
        "install Maven (mvn), which downloads it the first time",
    )
    return dist / f"keycloak-{KEYCLOAK_VERSION}"


class Keycloak(Server):
    """A Keycloak with one realm.

    Its clients are service accounts whose tokens are for `audience`: those of `plain` are as Keycloak makes them
    unless told otherwise, with `typ: JWT` in the header; those of `typed` have `typ: at+jwt`; those of `standard` say
    their client_id too, so that they are as RFC 9068 wants them. All are in the group `research` and hold the realm's
    role `curator`. `scopes` can be asked for.
    """

    name: ClassVar[str] = "keycloak"
    start_seconds: ClassVar[int] = 240

    def __init__(self, home: Path, audience: str, scopes: Collection[str]) -> None:
        super().__init__(home)
        self.issuer = f"http://127.0.0.1:{self.port}/realms/{REALM}"
        self._realm = _realm(audience, scopes)

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        if shutil.which("java") is None:
            missing("keycloak", "install Java 17 or newer (java)")
        own = self.home / "keycloak"
        if not own.exists():
            # It writes beside its own files as it starts.
            shutil.copytree(keycloak_home(), own)
        realms = own / "data" / "import"
        realms.mkdir(parents=True, exist_ok=True)
        (realms / f"{REALM}.json").write_text(json.dumps(self._realm))
        options = ["--http-host", "127.0.0.1", "--http-port", str(self.port), "--import-realm"]
        # The script ends in `exec java`, so the process that is started is the one to end.
        return [str(own / "bin" / "kc.sh"), "start-dev", *options], {"JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m"}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.issuer}/.well-known/openid-configuration", timeout=10).is_success
        except httpx.TransportError:
            return False

    def token(self, client: str, scope: str) -> str:
        """An access token by client credentials."""
        form = {"grant_type": "client_credentials", "scope": scope}
        url = f"{self.issuer}/protocol/openid-connect/token"
        answer = httpx.post(url, data=form, auth=(client, f"{client}-secret"), timeout=60)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def _realm(audience: str, scopes: Collection[str]) -> dict[str, Any]:
    named = {"protocol": "openid-connect", "attributes": {"include.in.token.scope": "true"}}
    typed = {"access.token.header.type.rfc9068": "true"}
    clients: dict[str, dict[str, str]] = {"plain": {}, "typed": typed, "standard": typed}
    told = {"claim.name": "client_id", "claim.value": "standard", "jsonType.label": "String"}
    return {
        "realm": REALM,
        "enabled": True,
        "sslRequired": "none",
        "groups": [{"name": "research"}],
        "roles": {"realm": [{"name": "curator"}]},
        "clientScopes": [
            {
                "name": "lineal",
                "protocol": "openid-connect",
                "attributes": {"include.in.token.scope": "false"},
                "protocolMappers": [
                    _mapper("sub", "oidc-sub-mapper"),
                    _mapper("aud", "oidc-audience-mapper", **{"included.custom.audience": audience}),
                    _mapper("groups", "oidc-group-membership-mapper", **{"claim.name": "groups", "full.path": "false"}),
                    _mapper(
                        "roles",
                        "oidc-usermodel-realm-role-mapper",
                        **{"claim.name": "realm_access.roles", "multivalued": "true", "jsonType.label": "String"},
                    ),
                ],
            },
            *({"name": scope, **named} for scope in scopes),
        ],
        "clients": [
            {
                "clientId": client,
                "secret": f"{client}-secret",
                "publicClient": False,
                "serviceAccountsEnabled": True,
                "standardFlowEnabled": False,
                "directAccessGrantsEnabled": False,
                "attributes": attributes,
                "protocolMappers": [_mapper("client", "oidc-hardcoded-claim-mapper", **told)]
                if client == "standard"
                else [],
                "defaultClientScopes": ["lineal"],
                "optionalClientScopes": list(scopes),
            }
            for client, attributes in clients.items()
        ],
        "users": [
            {
                "username": f"service-account-{client}",
                "enabled": True,
                "serviceAccountClientId": client,
                "groups": ["/research"],
                "realmRoles": ["curator"],
            }
            for client in clients
        ],
    }


def _mapper(name: str, kind: str, **config: str) -> dict[str, Any]:
    """What puts a claim into access tokens."""
    shown = {"access.token.claim": "true", "id.token.claim": "false", "introspection.token.claim": "true"}
    return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": {**shown, **config}}
