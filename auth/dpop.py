"""DPoP proofs (RFC 9449): whoever sends a bound token shows that they have the key that it is bound to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from auth import tokens
from auth.challenges import INVALID_PROOF, Refusal, unavailable
from auth.issuer import number

ALGORITHMS: Final = ("ES256", "Ed25519", "EdDSA")
TYPE: Final = "dpop+jwt"
WINDOW: Final = 60
"""Seconds that a proof is good for, and that its clock may be ahead."""
MAX_PROOF: Final = 4 * 1024
MAX_ID: Final = 200
KEPT: Final = 200_000
"""Proofs remembered, so that none is used twice. Where there are more, bound tokens wait for the oldest to end."""

_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}


class Proofs:
    """Checks proofs, and remembers them while they could be used again. Each process has its own memory."""

    def __init__(self, *, clock: Callable[[], float] = time.time, kept: int = KEPT) -> None:
        self._clock = clock
        self._kept = kept
        self._used: OrderedDict[bytes, float] = OrderedDict()

    def check(self, proof: str, *, method: str, url: str, token: str, thumbprint: str) -> None:
        """Check a proof for one request (RFC 9449, section 4.3). Raises Refusal.

        `url` is that of the request as its sender sees it; `thumbprint` is what the token is bound to.
        """
        try:
            self._check(proof, method, url, token, thumbprint)
        except Refusal as refusal:
            refusal.scheme = "DPoP"
            raise

    def _check(self, proof: str, method: str, url: str, token: str, thumbprint: str) -> None:
        if len(proof) > MAX_PROOF:
            raise _refused("the DPoP proof is too long")
        try:
            jwt = tokens.read(proof)
            tokens.check_header(jwt, ALGORITHMS)
            if jwt.header.get("typ") != TYPE:
                raise _refused(f"the DPoP proof has no typ {TYPE}")
            key = _public(jwt.header.get("jwk"))
            tokens.check_signature(jwt, key, ALGORITHMS)
        except Refusal as refusal:
            raise _refused(refusal.description) from None
        if not hmac.compare_digest(key.thumbprint().encode(), thumbprint.encode()):
            raise _refused("the DPoP proof is of another key than the one that the token is bound to")
        said = jwt.claims
        if said.get("htm") != method or _place(said.get("htu")) != _place(url):
            raise _refused("the DPoP proof is for another request")
        if said.get("ath") != digest(token):
            raise _refused("the DPoP proof is for another token")
        self._remember(said, key)

    def _remember(self, said: Mapping[str, Any], key: Key) -> None:
        """Raises Refusal: the proof is too old, or from the future, or was used before."""
        id, now = said.get("jti"), self._clock()
        issued = number(said.get("iat"))
        if not isinstance(id, str) or not 1 <= len(id) <= MAX_ID:
            raise _refused("the DPoP proof has no jti that can be used")
        if issued is False or abs(now - issued) > WINDOW:
            raise _refused("the DPoP proof was not made just now")
        while self._used and next(iter(self._used.values())) < now:
            self._used.popitem(last=False)
        mark = hashlib.sha256(f"{key.thumbprint()} {id}".encode("utf-8", "surrogatepass")).digest()
        if mark in self._used:
            raise _refused("the DPoP proof was used before")
        if len(self._used) >= self._kept:
            raise unavailable("there are too many DPoP proofs to remember")
        # The latest time at which this very proof would still be taken, whenever it was made.
        self._used[mark] = now + 2 * WINDOW


def digest(token: str) -> str:
    """The `ath` of a token (RFC 9449, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode("ascii")).digest()).rstrip(b"=").decode()


def _refused(description: str) -> Refusal:
    return Refusal("proof", description, INVALID_PROOF, scheme="DPoP")


def _public(jwk: Any) -> Key:
    """The public key of a proof's header. Raises Refusal: it is of another kind, weak, or has its private part."""
    if isinstance(jwk, dict) and _CURVES.get(str(jwk.get("kty"))) == jwk.get("crv") and "d" not in jwk:
        try:
            return JWKRegistry.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y") if name in jwk})
        except (JoseError, ValueError, TypeError, KeyError):
            pass
    raise _refused("the DPoP proof has no public key of an accepted kind")


def _place(url: Any) -> tuple[str, str, int | None, str] | None:
    """What of a URL must agree: not its query or fragment (RFC 9449, section 4.3), nor how it is written."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return parts.scheme, parts.hostname or "", port, _ENCODED.sub(_plain, parts.path) or "/"


def _plain(encoded: re.Match[str]) -> str:
    """An encoded octet in its one form: as itself where that may stand in any URL (RFC 3986, section 6.2.2)."""
    character = chr(int(encoded[1], 16))
    return character if _UNRESERVED.fullmatch(character) else encoded[0].upper()
