"""An authorization server of a few lines, in this process, and tokens of every kind: good ones and the others."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import httpx
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auth import dpop
from auth.authenticator import Authenticator
from auth.issuer import Introspection, Issuer

URL = "https://issuer.example/tenant"
RESOURCE = "https://lineal.example/graphql"

_RSA = RSAKey.generate_key(2048)
"""Made once: it takes a while."""


def encoded(data: bytes | Mapping[str, Any]) -> str:
    """A part of a JWT."""
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(header: bytes | Mapping[str, Any], payload: bytes | Mapping[str, Any], key: Key, algorithm: str) -> str:
    """A JWS of exactly these parts, whatever its header says."""
    text = f"{encoded(header)}.{encoded(payload)}"
    return f"{text}.{encoded(JWSRegistry.algorithms[algorithm].sign(text.encode(), key))}"


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class MiniIssuer:
    """Publishes metadata and keys, answers introspection, and counts what it was asked."""

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self.keys: dict[str, tuple[Key, str]] = {
            "rsa": (_RSA, "RS256"),
            "ec": (ECKey.generate_key("P-256"), "ES256"),
            "ed": (OKPKey.generate_key("Ed25519"), "Ed25519"),
        }
        self.asked: Counter[str] = Counter()
        self.credentials: list[str] = []
        self.opaque: dict[str, dict[str, Any]] = {}
        self.metadata: dict[str, Any] = {
            "issuer": url,
            "jwks_uri": f"{url}/jwks",
            "introspection_endpoint": f"{url}/introspect",
        }
        self.more_keys: list[Any] = []
        self.cache_control: str | None = None
        self.broken: Response | None = None
        app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app))

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked[path.rpartition("/")[2]] += 1
        if self.broken is not None:
            return self.broken
        headers = {"cache-control": self.cache_control} if self.cache_control else {}
        if path.endswith("/openid-configuration"):
            return JSONResponse(self.metadata, headers=headers)
        if path.endswith("/jwks"):
            return JSONResponse({"keys": [*self.published(), *self.more_keys]}, headers=headers)
        if path.endswith("/introspect"):
            self.credentials.append(request.headers["authorization"])
            (token,) = parse_qs((await request.body()).decode())["token"]
            return JSONResponse(self.opaque.get(token, {"active": False}))
        return Response(status_code=404)

    def published(self) -> list[dict[str, Any]]:
        """The public keys."""
        return [
            {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}
            for kid, (key, algorithm) in self.keys.items()
        ]

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a good token, with some changed; those that are `...` are left out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": RESOURCE,
            "sub": "alice",
            "client_id": "ci",
            "jti": "token-1",
            "iat": now,
            "exp": now + 300,
            "scope": "model:read lineage:read",
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not ...}

    def header(self, kid: str = "rsa", /, **changed: Any) -> dict[str, Any]:
        """The header of a good token, likewise."""
        header = {"typ": "at+jwt", "alg": self.keys[kid][1] if kid in self.keys else "RS256", "kid": kid, **changed}
        return {name: value for name, value in header.items() if value is not ...}

    def token(self, kid: str = "rsa", header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token, good unless what is changed makes it bad."""
        key, algorithm = self.keys[kid]
        return signed(self.header(kid, **(header or {})), self.claims(**claims), key, algorithm)

    def issuer(self, **changed: Any) -> Issuer:
        """How Lineal knows it."""
        return Issuer(**{"name": "corp", "url": self.url, "audience": RESOURCE, **changed})

    def introspected(self, **changed: Any) -> Issuer:
        """How Lineal knows it where it is asked about tokens."""
        return self.issuer(introspection=Introspection("lineal", "s3cret:/ü"), **changed)

    def authenticator(self, *issuers: Issuer, **more: Any) -> Authenticator:
        """An authenticator that trusts it."""
        return Authenticator(issuers or (self.issuer(),), client=self.client, **more)


class Holder:
    """Somebody with a key of their own, who makes DPoP proofs."""

    def __init__(self, key: Key | None = None, algorithm: str = "ES256") -> None:
        self.key = key or ECKey.generate_key("P-256")
        self.algorithm = algorithm

    @property
    def confirmation(self) -> dict[str, str]:
        """The claim `cnf` of a token that is bound to the key."""
        return {"jkt": self.key.thumbprint()}

    def proof(self, token: str, *, header: Mapping[str, Any] | None = None, url: str = RESOURCE, **changed: Any) -> str:
        """A proof for a POST to /graphql, good unless what is changed makes it bad."""
        claims = {
            "jti": f"proof-{time.monotonic_ns()}",
            "htm": "POST",
            "htu": url,
            "iat": int(time.time()),
            "ath": dpop.digest(token),
            **changed,
        }
        whole = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.key.as_dict(private=False), **(header or {})}
        return signed(
            {name: value for name, value in whole.items() if value is not ...},
            {name: value for name, value in claims.items() if value is not ...},
            self.key,
            self.algorithm,
        )


def hashed(header: Mapping[str, Any], payload: Mapping[str, Any], secret: bytes) -> str:
    """A JWT with a symmetric signature (HS256)."""
    text = f"{encoded(header)}.{encoded(payload)}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"
