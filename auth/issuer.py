"""Who is trusted to issue tokens, and what their claims mean here."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from auth.caller import Caller
from auth.challenges import Refusal
from auth.scopes import SCOPES

ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 - a media type of RFC 9068
PLAIN: Final = "JWT"
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA", "Ed25519")
MAX_TEXT: Final = 200
MAX_VALUES: Final = 500
"""Scopes and groups of one token that are looked at."""

_CLIENTS: Final = ("client_id", "azp", "appid", "cid")
"""Where issuers say which client a token was given to; RFC 9068 knows the first only."""


@dataclass(frozen=True, slots=True)
class Introspection:
    """How an issuer is asked about tokens that only it can read (RFC 7662). Without `url`, as its metadata says.

    `prefix` is what all its tokens begin with, where that tells them from those of others.
    """

    client_id: str
    client_secret: str = field(repr=False)
    url: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An authorization server, and how its tokens are read. `url` is its identifier: `iss` must equal it.

    `scopes_map` says which scopes of Lineal a scope or role of the issuer's stands for; with it, nothing
    else counts. `scope_claims` and `groups_claims` are paths with dots. `teams` maps groups to names of
    teams. Times are in seconds.
    """

    name: str
    url: str
    audience: str
    algorithms: tuple[str, ...] = ALGORITHMS
    token_types: frozenset[str] = frozenset({ACCESS_TOKEN})
    subject_claim: str = "sub"
    scope_claims: tuple[str, ...] = ("scope",)
    scopes_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups_claims: tuple[str, ...] = ("groups",)
    teams: Mapping[str, str] = field(default_factory=dict)
    introspection: Introspection | None = None
    jwks_url: str = ""
    leeway: int = 30
    max_token_age: int | None = None
    stale: float = 24 * 3600.0

    @property
    def plain(self) -> bool:
        """Whether tokens count that do not say that they are access tokens."""
        return PLAIN in self.token_types

    def caller(self, claims: Mapping[str, Any], fallback: str) -> Caller:
        """Who verified claims are about; `fallback` names the token where it has no id of its own.

        Raises Refusal: there is no subject, or none that can be a name.
        """
        subject = text(at(claims, self.subject_claim))
        client = self.client(claims)
        if not subject or len(f"{self.name}:{subject}") > MAX_TEXT:
            raise Refusal("claims", "the token has no subject that can be used")
        service = subject in {client, f"{client}@clients"} and bool(client)
        service |= claims.get("gty") == "client-credentials" or claims.get("idtyp") == "app"
        return Caller(
            f"{self.name}:{subject}",
            scopes=self.scopes(claims),
            issuer=self.url,
            subject=subject,
            client=client,
            token=text(claims.get("jti")) or fallback,
            type="SERVICE" if service else "USER",
            display_name=text(claims.get("name")) or text(claims.get("preferred_username")),
            teams=frozenset(self.teams[g] for g in self._values(claims, self.groups_claims) if g in self.teams),
            expires=int(claims["exp"]),
        )

    def client(self, claims: Mapping[str, Any]) -> str:
        """The client that the token was given to; empty where it does not say."""
        names = _CLIENTS if self.plain else _CLIENTS[:1]
        return next((found for name in names if (found := text(claims.get(name)))), "")

    def scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """The scopes of Lineal that the claims give; others are nothing here."""
        given = self._values(claims, self.scope_claims)
        if self.scopes_map:
            given = (scope for value in given for scope in self.scopes_map.get(value, ()))
        return frozenset(scope for scope in given if scope in SCOPES)

    @staticmethod
    def _values(claims: Mapping[str, Any], paths: tuple[str, ...]) -> Iterator[str]:
        for path in paths:
            found = at(claims, path)
            values = found.split(" ") if isinstance(found, str) else found if isinstance(found, list) else []
            yield from (value for value in values[:MAX_VALUES] if isinstance(value, str))


def at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name, or what a path with dots leads to; None where there is nothing.

    A claim may have dots in its own name, such as https://example.org/roles.
    """
    if path in claims:
        return claims[path]
    first, dot, rest = path.partition(".")
    inner = claims.get(first)
    return at(inner, rest) if dot and isinstance(inner, dict) else None


def text(value: Any) -> str:
    """The value if it is 1 to 200 printable characters in Unicode form NFC, which has one spelling; else nothing."""
    sane = isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable() and value == value.strip()
    return value if sane and unicodedata.is_normalized("NFC", value) else ""


def number(value: Any) -> Literal[False] | float:
    """A date of a token (NumericDate of RFC 7519) if it is one that can be compared and kept, else False."""
    sane = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if sane and math.isfinite(value) and 0 <= value < 2**53 else False
