"""Tokens that only their issuer can read: it is asked what they are (RFC 7662)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import httpx

from auth import tokens
from auth.challenges import Refusal, unavailable
from auth.fetching import FetchError, fetch
from auth.issuer import text
from auth.jwks import Keys

FAILURES: Final = 3
"""Failures in a row after which an issuer is left alone for a while."""
REST: Final = 15.0
"""Seconds that it is left alone."""

_log = logging.getLogger("lineal.auth")


class Introspector:
    """Asks one issuer."""

    def __init__(self, source: Keys, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = source.issuer
        self._source = source
        self._client = client
        self._clock = clock
        self._failures = 0
        self._rest_until = float("-inf")

    async def ask(self, token: str, now: float) -> Mapping[str, Any] | None:
        """The claims of a token; None where it is not good, or not this issuer's. `now` is in seconds since the epoch.

        Raises Refusal: it is this issuer's and not for us, or the issuer cannot be asked now (503).
        """
        if self._clock() < self._rest_until:
            raise unavailable("the issuer of the token cannot be reached")
        try:
            claims = await self._ask(token)
        except FetchError as error:
            self._failures += 1
            if self._failures >= FAILURES:
                self._rest_until = self._clock() + REST
            _log.warning("the issuer %s cannot be asked about a token: %s", self.issuer.name, error)
            raise unavailable("the issuer of the token cannot be reached") from None
        self._failures = 0
        if claims.get("active") is not True:
            return None
        return self._checked(claims, now)

    async def _ask(self, token: str) -> Mapping[str, Any]:
        asked = self.issuer.introspection
        assert asked
        url = asked.url or (await self._source.metadata()).get("introspection_endpoint")
        if not isinstance(url, str):
            raise FetchError(f"the metadata of {self.issuer.url} has no introspection_endpoint")
        # RFC 6749, section 2.3.1: both are form-encoded before they go into the header.
        who = httpx.BasicAuth(quote_plus(asked.client_id), quote_plus(asked.client_secret))
        form = {"token": token, "token_type_hint": "access_token"}
        return (await fetch(self._client, url, form=form, auth=who)).content

    def _checked(self, claims: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """Raises Refusal: it is for somebody else, has expired, or is no access token."""
        tokens.check_claims(claims, self.issuer, now)
        if str(claims.get("token_type", "Bearer")).lower() not in {"bearer", "dpop", "access_token"}:
            raise Refusal("type", "the token is no access token")
        if not text(claims.get("client_id")):
            raise Refusal("claims", "the token does not say which client it was given to")
        # Where no person is behind it, RFC 7662 leaves the subject out; RFC 9068, section 2.2, says the client is it.
        return {"sub": claims["client_id"], **claims}
