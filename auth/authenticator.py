"""Authorization headers into callers."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self
from urllib.parse import unquote_plus, urlsplit

import httpx
from joserfc.jwk import Key

from auth import local, tokens
from auth.caller import Caller
from auth.challenges import INVALID_PROOF, Refusal, Scheme, malformed, no_credentials, unavailable
from auth.dpop import Proofs
from auth.introspection import Introspector
from auth.issuer import Issuer
from auth.jwks import Keys
from auth.local import LocalIssuer
from lineal.errors import Unavailable
from lineal.observing import METER, propagate_async

KEPT_SECONDS: Final = 60.0
"""How long a verified token is believed without being looked at again: so long may a withdrawn one still count."""
KEPT: Final = 10_000

_CREDENTIALS: Final = re.compile(r"(Bearer|DPoP) +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)
_SCHEME: Final = re.compile(r"(?:Bearer|DPoP)(?: |$)", re.ASCII | re.IGNORECASE)


class KeySource(Protocol):
    """Whatever knows the public keys of an issuer."""

    async def key(self, kid: str, algorithm: str) -> Key:
        """The key of this id. Raises Refusal."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that is good, until when it is believed, and the thumbprint of the key it is bound to (else empty)."""

    caller: Caller
    until: float
    bound_to: str


class Authenticator:
    """Says who asks. With issuers it believes their tokens, without any those that Lineal signs itself.

    Use it with `async with`: entering fetches the keys of all issuers, and raises Unavailable when those of one
    cannot be had, unless `patient`.
    """

    def __init__(
        self,
        issuers: Sequence[Issuer] = (),
        own: LocalIssuer | None = None,
        *,
        client: httpx.AsyncClient | None = None,
        patient: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuers = issuers
        self._client = client or httpx.AsyncClient(event_hooks={"request": [propagate_async]})
        self._patient = patient
        self._clock = clock
        self.keys = [Keys(issuer, self._client, clock=monotonic) for issuer in issuers]
        self._trusted: dict[str, tuple[Issuer, KeySource]] = {k.issuer.url: (k.issuer, k) for k in self.keys}
        if own is not None and not issuers:
            self._trusted[local.ISSUER.url] = (local.ISSUER, own)
        self._introspectors = [Introspector(keys, clock=monotonic) for keys in self.keys if keys.issuer.introspection]
        self._proofs = Proofs(clock=clock)
        self._known: OrderedDict[bytes, Verified] = OrderedDict()

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(keys.start() for keys in self.keys))
        if not self._patient:
            for keys in self.keys:
                if not keys.usable:
                    await self.aclose()
                    msg = f"issuers: the keys of {keys.issuer.name} cannot be had: {keys.problem}"
                    raise Unavailable(msg, field="issuers")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of connections, and of what is being asked."""
        await asyncio.gather(*(keys.aclose() for keys in self.keys), *(i.aclose() for i in self._introspectors))
        await self._client.aclose()

    async def authenticate(
        self, authorization: Sequence[str], dpop: Sequence[str], method: str, url: str
    ) -> Caller | None:
        """Who asks, by all values of the Authorization and DPoP headers; None where nobody said so.

        `url` is that of the request as clients see it, with its query. Raises Refusal.
        """
        if any(unquote_plus(part.partition("=")[0]) == "access_token" for part in urlsplit(url).query.split("&")):
            raise malformed("query", "a token in the URL is not accepted: send it in the Authorization header")
        if not authorization:
            if dpop:
                raise malformed("proof", "there is a DPoP proof and no token")
            return None
        scheme, token = _credentials(authorization)
        try:
            verified = await self.verified(token)
            if scheme == "DPoP" or dpop or verified.bound_to:
                proof = _proof(verified, scheme, dpop)
                self._proofs.check(proof, method=method, url=url, token=token, thumbprint=verified.bound_to)
        except Refusal as refusal:
            refusal.scheme = scheme
            raise
        return verified.caller

    async def verified(self, token: str) -> Verified:
        """What a token says. Verified ones are kept by their hash; those that are refused are not. Raises Refusal."""
        if len(token) > tokens.MAX_TOKEN:
            raise Refusal("malformed", "the token is too long")
        digest, now = hashlib.sha256(token.encode("ascii")).digest(), self._clock()
        known = self._known.get(digest)
        if known is not None and now < known.until:
            self._known.move_to_end(digest)
            METER.get().add("lineal_token_lookups", 1, "hit")
            return known
        self._known.pop(digest, None)
        try:
            found = await self._verify(token, f"sha256:{digest.hex()[:32]}", now)
        except Refusal:
            METER.get().add("lineal_token_lookups", 1, "refused")
            raise
        METER.get().add("lineal_token_lookups", 1, "miss")
        if now < found.until:
            self._known[digest] = found
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found

    async def _verify(self, token: str, fallback: str, now: float) -> Verified:
        dots = token.count(".")
        if dots == 4:
            raise Refusal("malformed", "encrypted tokens are not accepted")
        issuer, claims = await (self._signed(token, now) if dots == 2 else self._opaque(token, now))
        caller = issuer.caller(claims, fallback)
        if issuer is local.ISSUER:
            caller = local.caller(claims, caller)
        return Verified(caller, min(claims["exp"], now + KEPT_SECONDS), _bound_to(claims))

    async def _signed(self, token: str, now: float) -> tuple[Issuer, Mapping[str, Any]]:
        jwt = tokens.read(token)
        named = jwt.claims.get("iss")
        issuer, source = self._trusted.get(named if isinstance(named, str) else "", (None, None))
        if issuer is None or source is None:
            raise Refusal("issuer", "the token is not from an issuer that is trusted here")
        key = await source.key(tokens.key_id(jwt, issuer), jwt.header["alg"])
        return issuer, tokens.verify(jwt, issuer, key, now)

    async def _opaque(self, token: str, now: float) -> tuple[Issuer, Mapping[str, Any]]:
        """What the first issuer says that knows the token. Raises Refusal: none does, or one cannot be asked.

        Whose it is may show by its beginning; only where it does not are issuers asked one after the other.
        """
        away: Refusal | None = None
        prefixes = [(each.prefix, each) for each in self._introspectors]
        told = [each for prefix, each in prefixes if prefix and token.startswith(prefix)]
        for introspector in told or [each for prefix, each in prefixes if not prefix]:
            try:
                claims = await introspector.ask(token, now)
            except Refusal as refusal:
                if refusal.status != unavailable("").status:
                    raise
                away = refusal
                continue
            if claims is not None:
                return introspector.issuer, claims
        raise away or Refusal("inactive", "the token is not good, or not from an issuer that is trusted here")


def _proof(verified: Verified, scheme: Scheme, dpop: Sequence[str]) -> str:
    """The proof that came with a token. Raises Refusal: scheme, token and proof do not go together (RFC 9449, 7)."""
    if scheme == "Bearer":
        if verified.bound_to:
            raise Refusal("bound", "the token is bound to a key and needs the scheme DPoP with a proof")
        raise malformed("bound", "there is a DPoP proof, and the scheme is Bearer")
    if not verified.bound_to:
        raise Refusal("bound", "the token is not bound to a key: send it with the scheme Bearer")
    if len(dpop) != 1:
        raise Refusal("proof", "there must be exactly one DPoP proof", INVALID_PROOF)
    return dpop[0]


def _credentials(authorization: Sequence[str]) -> tuple[Scheme, str]:
    if len(authorization) > 1:
        raise malformed("malformed", "there is more than one Authorization header")
    value = authorization[0]
    if not _SCHEME.match(value):
        raise Refusal("scheme", no_credentials().description, "")
    # RFC 9110 lets schemes be written in any case.
    found = _CREDENTIALS.fullmatch(value)
    if found is None:
        raise malformed("malformed", "the Authorization header has no token after its scheme, or more than one")
    return "DPoP" if found[1].lower() == "dpop" else "Bearer", found[2]


def _bound_to(claims: Mapping[str, Any]) -> str:
    """The thumbprint that a token is bound to. Raises Refusal: it is bound in a way that cannot be checked here."""
    if "cnf" not in claims:
        return ""
    confirmation = claims["cnf"]
    thumbprint = confirmation.get("jkt") if isinstance(confirmation, dict) else None
    if not isinstance(thumbprint, str) or not thumbprint or len(confirmation) != 1:
        raise Refusal("bound", "the token is bound in a way that is not supported")
    return thumbprint
