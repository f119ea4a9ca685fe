"""A real OpenID provider for tests: npm's oidc-provider, on a port of this machine.

Its exact packages are pinned in tests/oidc/package-lock.json and brought once by `npm ci`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from auth.scopes import SCOPES
from tests.services import Server, cache_home, downloaded, missing

SOURCES = Path(__file__).parent / "oidc"
OLDEST_NODE = (20, 19)
_INSTALL = "install Node.js 20.19 or newer, with npm"

OTHER_RESOURCE = "urn:other:api"
"""The audience of tokens that are not for Lineal."""

REDIRECT = "http://127.0.0.1:3000/callback"
"""Where people are sent back to after they logged in. Nothing listens there."""


def node_modules() -> Path:
    """The folder with the provider's packages; npm brings them the first time."""
    files = {name: (SOURCES / name).read_text() for name in ("package.json", "package-lock.json")}
    version = hashlib.sha256(files["package-lock.json"].encode()).hexdigest()[:16]
    return downloaded(
        "oidc",
        cache_home() / f"oidc-provider-{version}" / "node_modules",
        files,
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        _INSTALL,
    )


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        missing("oidc", _INSTALL)
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, told.strip().removeprefix("v").split(".")))[:2] < OLDEST_NODE:
        missing("oidc", f"{_INSTALL}: there is {told.strip()}")
    return node


class Proofs:
    """A client's key for DPoP, and the proofs that it signs (RFC 9449, section 4.2)."""

    def __init__(self) -> None:
        self._key = ECKey.generate_key("P-256")

    def proof(self, method: str, url: str, token: str | None = None) -> str:
        """A proof for one request; with `token` for one that presents this access token."""
        claims = {"jti": secrets.token_urlsafe(), "htm": method, "htu": url, "iat": int(time.time())}
        if token is not None:
            claims["ath"] = _hashed(token)
        header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": self._key.as_dict(private=False)}
        return jwt.encode(header, claims, self._key, algorithms=["ES256"])


class OidcProvider(Server):
    """The provider, its clients and what they do to get tokens.

    Clients are `ci` (JWTs), `opaque` (opaque tokens), `brief` (JWTs that live for `lifetime` seconds),
    `resource-server` (may introspect) and `browser` (public, for people, who are sent back to REDIRECT or one of
    `redirects`). `groups` are those of people, by name.
    """

    name: ClassVar[str] = "oidc"

    def __init__(
        self,
        home: Path,
        resource: str,
        *,
        lifetime: int = 5,
        groups: Mapping[str, Sequence[str]] | None = None,
        redirects: Sequence[str] = (),
    ) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"
        self._resource = resource
        self._configuration = {
            "scopes": list(SCOPES),
            "resource": resource,
            "other": OTHER_RESOURCE,
            "redirects": [REDIRECT, *redirects],
            "lifetime": lifetime,
            "groups": groups or {},
        }

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        node = _node()
        packages = node_modules()
        self.home.mkdir(parents=True, exist_ok=True)
        # Node looks for packages beside the script.
        script = str(shutil.copy(SOURCES / "oidc.mjs", self.home))
        if not (self.home / "node_modules").exists():
            (self.home / "node_modules").symlink_to(packages)
        return [node, script, str(self.port)], {"CONFIG": json.dumps(self._configuration)}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/.well-known/openid-configuration").is_success
        except httpx.TransportError:
            return False

    def token(
        self, scope: str, *, client: str = "ci", resource: str | None = None, proofs: Proofs | None = None
    ) -> str:
        """An access token by client credentials (RFC 6749, section 4.4); with `proofs` bound to their key."""
        form = {"grant_type": "client_credentials", "scope": scope} | ({"resource": resource} if resource else {})
        headers = {"dpop": proofs.proof("POST", f"{self.url}/token")} if proofs else {}
        return str(self._post("/token", form, client=client, headers=headers)["access_token"])

    def revoke(self, token: str, *, client: str) -> None:
        """End a token before its time (RFC 7009)."""
        httpx.post(
            f"{self.url}/token/revocation", data={"token": token}, auth=(client, f"{client}-secret")
        ).raise_for_status()

    def log_in(self, person: str, scope: str) -> dict[str, Any]:
        """What the token endpoint answers after a person logged in: authorization code with PKCE (RFC 7636)."""
        verifier = secrets.token_urlsafe(48)
        state = secrets.token_urlsafe()
        asked = {
            "client_id": "browser",
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": f"openid {scope}",
            "resource": self._resource,
            "state": state,
            "nonce": secrets.token_urlsafe(),
            "code_challenge": _hashed(verifier),
            "code_challenge_method": "S256",
        }
        with httpx.Client(base_url=self.url) as browser:
            answer = browser.get("/auth", params=asked)
            while not (came_back := answer.headers.get("location", "")).startswith(REDIRECT):
                if answer.is_redirect:
                    answer = browser.get(came_back)
                    continue
                answer.raise_for_status()
                action, form = _filled(answer.text, person)
                answer = browser.post(action, data=form)
        sent = httpx.URL(came_back).params
        assert sent["state"] == state
        assert sent["iss"] == self.url
        form = {
            "grant_type": "authorization_code",
            "client_id": "browser",
            "code": sent["code"],
            "redirect_uri": REDIRECT,
            "code_verifier": verifier,
        }
        return self._post("/token", form)

    def rotate(self, *, keep: int = 1) -> None:
        """Sign with a new key from now on, and go on publishing that many of the earlier ones."""
        httpx.post(f"{self.url}/test/rotate", params={"keep": keep}).raise_for_status()

    def requests(self, path: str) -> int:
        """How often a path has been asked for."""
        return int(httpx.get(f"{self.url}/test/requests").raise_for_status().json().get(path, 0))

    def _post(
        self, path: str, form: Mapping[str, str], *, client: str | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        auth = (client, f"{client}-secret") if client else None
        answer = httpx.post(f"{self.url}{path}", data=form, auth=auth, headers=headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


def _filled(page: str, person: str) -> tuple[str, dict[str, str]]:
    """The form of a page of the provider's, filled in: where to post it, and what."""
    action = re.search(r'action="([^"]+)"', page)
    prompt = re.search(r'name="prompt" value="([^"]+)"', page)
    assert action, page
    assert prompt, page
    return action[1], {"prompt": prompt[1], "login": person, "password": "any"}


def _hashed(text: str) -> str:
    """Its SHA-256 in base64url, as `code_challenge` and `ath` are."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
