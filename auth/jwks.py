"""The keys of an issuer: discovered (RFC 8414, OpenID Connect Discovery), kept, and fetched again when they change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
from authlib.oauth2.rfc8414 import get_well_known_url as oauth_url  # type: ignore[import-untyped]
from authlib.oidc.discovery import get_well_known_url as openid_url  # type: ignore[import-untyped]
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from auth.challenges import Refusal, unavailable
from auth.fetching import Fetched, FetchError, SilentError, fetch
from auth.issuer import Issuer, text
from auth.tokens import Pinned
from lineal.breaking import Breaker, Resting

SHORTEST: Final = 300.0
LONGEST: Final = 24 * 3600.0
UNSAID: Final = 3600.0
"""Seconds that keys and metadata are kept: at least, at most, and where the issuer does not say."""
COOL_DOWN: Final = 30.0
"""Seconds of rest after a fetch that failed, and after one for a key that was not known: tokens name any they like."""
FAILURES: Final = 3
"""Questions in a row without an answer after which an issuer is left alone for a while."""
REST: Final = 15.0
"""Seconds that it is left alone."""
MAX_KEYS: Final = 200

_RSA_DIGITS: Final = range(342, 1_367)
"""Base64 digits of a modulus of 2,048 to 8,192 bits."""

_log = logging.getLogger("lineal.auth")


class Keys:
    """The keys of one issuer, fetched when they are first needed or when `start` is called."""

    def __init__(
        self, issuer: Issuer, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.issuer = issuer
        self._client = client
        self._clock = clock
        self._breaker = Breaker(
            "issuer",
            issuer.name,
            lambda error: isinstance(error, SilentError),
            failures=FAILURES,
            rest=REST,
            clock=clock,
        )
        self._keys: Mapping[str, list[Key]] = {}
        self._expires = float("-inf")
        self._rest_until = float("-inf")
        self._fetches = 0
        self._metadata: Mapping[str, Any] = {}
        self._metadata_expires = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        self._meanwhile: asyncio.Task[None] | None = None
        self.problem = ""
        self._failing_since: float | None = None
        self.fetched = 0.0
        """When the keys came, in Unix time."""

    @property
    def usable(self) -> bool:
        """Whether there are keys, and none too old to be trusted."""
        return bool(self._keys) and self._clock() < self._expires + self.issuer.stale

    @property
    def failing(self) -> float:
        """For how many seconds they could not be fetched, by all tries since; 0.0 where the last one did."""
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    def renew(self) -> None:
        """Have keys that have expired fetched in the background: who watches a process without callers asks for it."""
        now = self._clock()
        if self._expires <= now and self._rest_until <= now and (self._meanwhile is None or self._meanwhile.done()):
            self._meanwhile = asyncio.create_task(self._refresh())

    async def start(self) -> None:
        """Fetch the keys now, where there are none. What goes wrong is in `problem`."""
        if not self.usable:
            await self._refresh()

    async def key(self, kid: str, algorithm: str) -> Key:
        """The key of this id. Raises Refusal: there is none, or nobody can tell now (503)."""
        if self._clock() >= self._expires:
            await self._renewed()
        if not self.usable:
            raise unavailable("the issuer of the token cannot be reached")
        if kid not in self._keys:
            await self._refresh(missed=True)
        for key in self._keys.get(kid, ()):
            if _fits(key, algorithm):
                return key
        raise Refusal("key", "the token was signed with a key that its issuer does not publish")

    async def settled(self) -> None:
        """Wait until no keys are fetched in the background."""
        if self._meanwhile is not None:
            await asyncio.wait([self._meanwhile])

    async def aclose(self) -> None:
        """Give up a fetch in the background."""
        if self._meanwhile is not None:
            self._meanwhile.cancel()
            await self.settled()

    async def _renewed(self) -> None:
        """Fetch keys that have expired: in the background where they can be used until there are newer ones."""
        if not self.usable:
            await self._refresh()
        else:
            self.renew()

    async def metadata(self) -> Mapping[str, Any]:
        """The issuer's metadata. Raises FetchError."""
        if self._clock() >= self._metadata_expires:
            found = await self._discover()
            self._metadata, self._metadata_expires = found.content, self._clock() + _seconds(found.max_age)
        return self._metadata

    async def ask(self, url: str, *, form: Mapping[str, str] | None = None, auth: httpx.Auth | None = None) -> Fetched:
        """What the issuer answers at one of its addresses. Raises FetchError, also while it is left alone."""
        try:
            with self._breaker():
                return await fetch(self._client, url, form=form, auth=auth)
        except Resting as error:
            raise FetchError(error.message) from None

    async def _refresh(self, *, missed: bool = False) -> None:
        """Fetch once for all who wait. After a failure, and after a fetch for a `missed` key, there is a rest."""
        seen = self._fetches
        async with self._one_at_a_time:
            if self._fetches != seen or self._clock() < self._rest_until:
                return
            try:
                await self._fetch()
            except FetchError as error:
                missed = True
                self.problem = str(error)
                if self._failing_since is None:
                    self._failing_since = self._clock()
                _log.warning("keys of the issuer %s cannot be fetched: %s", self.issuer.name, error)
            else:
                self.problem, self._failing_since = "", None
            finally:
                self._fetches += 1
            if missed:
                self._rest_until = self._clock() + COOL_DOWN

    async def _fetch(self) -> None:
        url = self.issuer.jwks_url or (await self.metadata()).get("jwks_uri")
        if not isinstance(url, str):
            raise FetchError(f"the metadata of {self.issuer.url} has no jwks_uri")
        try:
            found = await self.ask(url)
        except FetchError:
            # The address itself may be what has changed.
            self._metadata_expires = float("-inf")
            raise
        keys = _usable(found.content)
        if not keys:
            raise FetchError(f"{url} has no key that can verify a signature")
        self._keys, self._expires = keys, self._clock() + _seconds(found.max_age)
        self.fetched = time.time()

    async def _discover(self) -> Fetched:
        """Either metadata, if it is the issuer's own. Raises FetchError."""
        problem: FetchError | None = None
        issuer = self.issuer.url.rstrip("/")
        for url in (oauth_url(issuer, external=True), openid_url(issuer, external=True)):
            try:
                found = await self.ask(url)
            except FetchError as error:
                problem = problem or error
                continue
            if found.content.get("issuer") == self.issuer.url:
                return found
            problem = FetchError(f"{url} is the metadata of another issuer than {self.issuer.url}")
        assert problem
        raise problem


def _seconds(max_age: int | None) -> float:
    return UNSAID if max_age is None else min(max(float(max_age), SHORTEST), LONGEST)


def _usable(jwks: Mapping[str, Any]) -> Mapping[str, list[Key]]:
    """The public signature keys of a set, by id; what is anything else is passed over (RFC 7517, section 5)."""
    found: dict[str, list[Key]] = {}
    given = jwks.get("keys")
    for data in given[:MAX_KEYS] if isinstance(given, list) else ():
        key = _imported(data)
        if key is not None and (kid := text(key.kid)):
            found.setdefault(kid, []).append(key)
    return found


def _imported(data: Any) -> Key | None:
    if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP") or data.get("use", "sig") != "sig":
        return None
    operations = data.get("key_ops", ["verify"])
    weak = data["kty"] == "RSA" and len(str(data.get("n"))) not in _RSA_DIGITS
    if weak or not isinstance(operations, list) or "verify" not in operations:
        return None
    # The same signatures have two names (RFC 8037, RFC 9864), and a key that has one of them is good for the other.
    said = {name: value for name, value in data.items() if name != "alg" or value not in ("EdDSA", "Ed25519")}
    try:
        key = JWKRegistry.import_key(said)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if key.is_private else key


def _fits(key: Key, algorithm: str) -> bool:
    """Whether a key is for this algorithm."""
    try:
        Pinned((algorithm,)).get_alg(algorithm).check_key(key)
    except JoseError:
        return False
    return True
