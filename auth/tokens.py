"""JWT access tokens (RFC 9068): read strictly, verified with the one key that may have signed them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaimsValidator  # type: ignore[import-untyped]
from joserfc import jws
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from auth.challenges import Refusal
from auth.issuer import ACCESS_TOKEN, PLAIN, Issuer, number, text

MAX_TOKEN: Final = 16 * 1024
"""Bytes; what is longer is refused unread."""
CLOCKS: Final = 60
"""Seconds that the issuer's clock may be ahead of ours."""

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_KEYS_IN_HEADER: Final = ("jku", "jwk", "x5u", "x5c")
_ID_TOKEN: Final = ("nonce", "at_hash", "c_hash")


@dataclass(frozen=True, slots=True)
class Jwt:
    """A signed JWT as it came: nothing of it is true until its signature was checked."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class Pinned(JWSRegistry):
    """Takes these algorithms only, and headers as large as those of DPoP proofs are."""

    max_header_length = 4 * 1024

    def __init__(self, algorithms: Collection[str]) -> None:
        # An empty collection means "the recommended ones" to joserfc.
        super().__init__(algorithms=algorithms or ("",), strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """The algorithm. Raises JoseError; does not warn of EdDSA, which issuers still use for Ed25519."""
        return self.algorithms[name] if name in (self.allowed or ()) else super().get_alg(name)


def read(token: str) -> Jwt:
    """A token's parts. Raises Refusal: it is no signed JWT in compact form, or says something twice."""
    if len(token) > MAX_TOKEN:
        raise Refusal("malformed", "the token is too long")
    if not _SHAPE.fullmatch(token):
        raise Refusal("malformed", "the token is no signed JWT")
    header, claims, _ = token.split(".")
    return Jwt(token, _object(header), _object(claims))


def check_signature(jwt: Jwt, key: Key, algorithms: Collection[str]) -> None:
    """Raises Refusal: the key did not make the signature by one of these algorithms."""
    try:
        jws.deserialize_compact(jwt.text, key, registry=Pinned(algorithms))
    except (JoseError, ValueError, TypeError):
        raise Refusal("signature", "the signature is wrong") from None


def check_header(jwt: Jwt, algorithms: Collection[str]) -> None:
    """Raises Refusal: another algorithm, or something that only an attacker or a stranger puts there."""
    if jwt.header.get("alg") not in algorithms:
        raise Refusal("algorithm", "the signing algorithm is not accepted")
    if "crit" in jwt.header or "b64" in jwt.header:
        raise Refusal("malformed", "the token has critical extensions, and none is understood")


def key_id(jwt: Jwt, issuer: Issuer) -> str:
    """Which key is said to have signed it. Raises Refusal: the header is not that of an access token."""
    check_header(jwt, issuer.algorithms)
    if any(name in jwt.header for name in _KEYS_IN_HEADER):
        raise Refusal("key", "the token brings a key of its own")
    type = jwt.header.get("typ")
    kind = type.lower().removeprefix("application/") if isinstance(type, str) else None
    if kind not in {known.lower() for known in issuer.token_types}:
        raise Refusal("type", "the token is no access token: its typ must be " + _either(issuer.token_types))
    kid = text(jwt.header.get("kid"))
    if not kid:
        raise Refusal("key", "the token does not say which key signed it")
    return kid


def verify(jwt: Jwt, issuer: Issuer, key: Key, now: float) -> Mapping[str, Any]:
    """The claims of a token that this issuer made for us and that is good now. Raises Refusal.

    `key` is the issuer's key of the id that `key_id` gave.
    """
    check_signature(jwt, key, issuer.algorithms)
    check_claims(jwt.claims, issuer, now)
    plain = str(jwt.header["typ"]).lower() == PLAIN.lower()
    if plain:
        _check_plain(jwt.claims, issuer)
    elif not (text(jwt.claims.get("jti")) and issuer.client(jwt.claims) and "iat" in jwt.claims):
        raise Refusal("claims", "the token lacks one of iat, jti and client_id, or it cannot be used")
    return jwt.claims


def check_claims(claims: Mapping[str, Any], issuer: Issuer, now: float) -> None:
    """Check what every token must say, signed or introspected. Raises Refusal."""
    for name in ("exp", "nbf", "iat"):
        if name in claims and number(claims[name]) is False:
            raise Refusal("claims", f"{name} is no date")
    if "exp" not in claims:
        raise Refusal("claims", "the token does not say when it expires")
    registry = JWTAccessTokenClaimsValidator(
        now=int(now), leeway=CLOCKS, iss={"value": issuer.url}, aud={"essential": True, "value": issuer.audience}
    )
    try:
        # authlib's one leeway is for clocks that are ahead; what has expired gets the issuer's, which is shorter.
        JWTClaimsRegistry(now=int(now), leeway=issuer.leeway).validate_exp(claims["exp"])
        registry.validate(dict(claims))
    except ExpiredTokenError:
        raise Refusal("expired", "the token has expired") from None
    except JoseError as error:
        raise _refused(getattr(error, "claim", "") or str(error)) from None
    age = issuer.max_token_age
    if age is not None and ("iat" not in claims or claims["iat"] + age + issuer.leeway < now):
        raise Refusal("expired", "the token is older than is accepted")


def _check_plain(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Raises Refusal: a JWT of no particular type is an ID token, or one that does not say whom it was given to."""
    if claims.get("typ", "Bearer") != "Bearer" or any(name in claims for name in _ID_TOKEN):
        raise Refusal("type", "the token is no access token")
    if not issuer.client(claims):
        raise Refusal("claims", "the token does not say which client it was given to")


def _refused(what: str) -> Refusal:
    for claim, reason, description in (
        ("aud", "audience", "the token is for somebody else"),
        ("iss", "issuer", "the token is from somebody else"),
        ("nbf", "early", "the token is not valid yet"),
        ("iat", "early", "the token was issued in the future"),
    ):
        if claim in what:
            return Refusal(reason, description)
    return Refusal("claims", "a claim of the token is missing or cannot be used")


def _object(part: str) -> Mapping[str, Any]:
    """The JSON object that a part holds. Raises Refusal: none, one with a name twice, or with NaN."""
    try:
        content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        value = json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refusal("malformed", "the token is no JSON, or says something twice") from None
    if not isinstance(value, dict):
        raise Refusal("malformed", "the token is no JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_number(name: str) -> None:
    raise ValueError(name)


def _either(types: Collection[str]) -> str:
    return " or ".join(sorted(types, key=lambda name: name != ACCESS_TOKEN))
