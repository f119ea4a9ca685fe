"""Tokens that Lineal signs itself, for a server on this machine that has no issuer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import Key, OKPKey

from auth.caller import ADMIN, Caller
from auth.challenges import Refusal
from auth.issuer import ACCESS_TOKEN, Issuer, text
from auth.keyring import Keyring
from auth.scopes import SCOPES
from auth.tokens import Pinned
from graph.validation import workspace_name
from lineal.errors import InvalidArgument

NAME: Final = "local"
ALGORITHM: Final = "Ed25519"
KEY: Final = "token"
WORKSPACES: Final = "lineal_workspaces"
CLIENT: Final = "lineal"
EVERY: Final = "all"
SHORTEST: Final = 60
LONGEST: Final = 366 * 24 * 3600
UNBOUNDED: Final = (ADMIN, "directory:write", "monitor:read")
"""Scopes that reach beyond any workspace: a token for some workspaces holds none of them."""

ISSUER: Final = Issuer(
    name=NAME, url="lineal:local", audience="lineal", algorithms=(ALGORITHM,), leeway=0, groups_claims=()
)


class LocalIssuer:
    """Signs tokens with a key of its folder, and trusts those signed with it."""

    def __init__(self, keyring: Keyring, *, clock: Callable[[], float] = time.time) -> None:
        self._key = keyring.ed25519(KEY)
        self._kid = self._key.thumbprint()
        self._public: Key = OKPKey.import_key(self._key.as_dict(private=False))
        self._clock = clock

    def token(
        self,
        *,
        name: str = "me",
        scopes: Collection[str] | None = None,
        workspaces: Collection[str] | None = None,
        seconds: int = 3600,
    ) -> str:
        """A token for `local:name` that makes its holder an owner of these workspaces (None: all), and opens no other.

        `scopes` are all but `admin` where None, beside workspaces all that these bound. Raises InvalidArgument: no
        such scope, or one that workspaces do not bound; no name; a time that is not 1 minute to 366 days.
        """
        if not text(name) or len(name) > 100:
            raise InvalidArgument("as: a name is 1 to 100 printable characters", field="as")
        if not SHORTEST <= seconds <= LONGEST:
            raise InvalidArgument("expires: must be 1 minute to 366 days", field="expires")
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": ISSUER.url,
            "aud": ISSUER.audience,
            "sub": name,
            "client_id": CLIENT,
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + seconds,
            "scope": " ".join(granted(scopes) if workspaces is None else _within(scopes)),
        }
        if workspaces is not None:
            claims[WORKSPACES] = [workspace_name(each, field="workspace") for each in workspaces]
        header = {"typ": ACCESS_TOKEN, "alg": ALGORITHM, "kid": self._kid}
        return jwt.encode(header, claims, self._key, registry=Pinned(ISSUER.algorithms))

    async def key(self, kid: str, algorithm: str) -> Key:  # noqa: ARG002 - there is one key, for one algorithm
        """The public key. Raises Refusal: the id is that of another key."""
        if kid != self._kid:
            raise Refusal("key", "the token was signed with a key that is not ours")
        return self._public


def caller(claims: Mapping[str, Any], found: Caller) -> Caller:
    """The caller with the workspaces that a token of our own says. Raises Refusal: it says them wrongly."""
    given = claims.get(WORKSPACES)
    if given is None:
        return replace(found, workspaces=None)
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise Refusal("claims", "the workspaces of the token cannot be used")
    return replace(found, workspaces=frozenset(given), bounded=True, scopes=found.scopes.difference(UNBOUNDED))


def granted(scopes: Collection[str] | None) -> list[str]:
    """The scopes that were asked for, in the table's order; `all` stands for every one, None for all but `admin`.

    Raises InvalidArgument that lists the scopes there are.
    """
    if scopes is None:
        return [scope for scope in SCOPES if scope != ADMIN]
    if unknown := sorted(set(scopes) - SCOPES.keys() - {EVERY}):
        msg = f"scope: there is no {unknown[0]!r:.80}; there are {', '.join(SCOPES)}, and {EVERY!r} for all of them"
        raise InvalidArgument(msg, field="scope")
    return [scope for scope in SCOPES if scope in scopes or EVERY in scopes]


def _within(scopes: Collection[str] | None) -> list[str]:
    """The scopes of a token for some workspaces. Raises InvalidArgument: one of those asked for reaches further."""
    found = granted(scopes)
    if scopes is not None and (beyond := [scope for scope in found if scope in UNBOUNDED]):
        msg = f"scope: {beyond[0]} is not bounded by workspaces; name the scopes that are needed, or no workspace"
        raise InvalidArgument(msg, field="scope")
    return [scope for scope in found if scope not in UNBOUNDED]
