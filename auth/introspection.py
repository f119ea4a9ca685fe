"""Tokens that only their issuer can read: it is asked what they are (RFC 7662)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote_plus

import httpx

from auth import tokens
from auth.challenges import Refusal, unavailable
from auth.fetching import FetchError
from auth.issuer import text
from auth.jwks import Keys

AT_ONCE: Final = 16
"""Questions that are open at one issuer at the same time."""
IN_LINE: Final = 256
"""Tokens that wait for an answer at the same time, open questions among them; more are sent away for now."""
REMEMBERED: Final = 5.0
"""Seconds for which a token that was refused is refused again without a question."""
ROOM: Final = 10_000
"""Refused tokens that are remembered."""

_log = logging.getLogger("lineal.auth")


class Introspector:
    """Asks one issuer: once about a token that many bring at the same time, and about few tokens at once.

    Tokens are known by their SHA-256 alone. Those that are good are for the caller to remember.
    """

    def __init__(self, source: Keys, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = source.issuer
        self.prefix = source.issuer.introspection.prefix if source.issuer.introspection else ""
        self._source = source
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._asking: dict[bytes, asyncio.Task[Mapping[str, Any]]] = {}
        self.refused: OrderedDict[bytes, tuple[float, Refusal | None]] = OrderedDict()

    async def aclose(self) -> None:
        """Give up the questions that are open."""
        for task in (tasks := list(self._asking.values())):
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, FetchError):
                await task

    async def ask(self, token: str, now: float) -> Mapping[str, Any] | None:
        """The claims of a token; None where it is not good, or not this issuer's. `now` is in seconds since the epoch.

        Raises Refusal: it is this issuer's and not for us, or the issuer cannot be asked now (503).
        """
        digest = hashlib.sha256(token.encode("ascii")).digest()
        until, refusal = self.refused.get(digest, (float("-inf"), None))
        if self._clock() < until:
            if refusal is not None:
                raise replace(refusal)
            return None
        claims = await self._answer(digest, token)
        if claims.get("active") is not True:
            self.remember(digest, None)
            return None
        try:
            return self._checked(claims, now)
        except Refusal as refused:
            self.remember(digest, replace(refused))
            raise

    def remember(self, digest: bytes, refusal: Refusal | None) -> None:
        """Refuse a token for a while without asking: None where it is not good, or not this issuer's."""
        self.refused[digest] = self._clock() + REMEMBERED, refusal
        self.refused.move_to_end(digest)
        if len(self.refused) > ROOM:
            self.refused.popitem(last=False)

    async def _answer(self, digest: bytes, token: str) -> Mapping[str, Any]:
        """What the issuer says, for all who ask about the token now. Raises Refusal: it cannot be asked (503)."""
        task = self._asking.get(digest)
        if task is None:
            if len(self._asking) >= IN_LINE:
                raise unavailable("the issuer of the token is asked about too many tokens at once")
            task = self._asking[digest] = asyncio.create_task(self._question(token))

            def answered(done: asyncio.Task[Mapping[str, Any]]) -> None:
                del self._asking[digest]
                # All who asked may have gone.
                _ = done.cancelled() or done.exception()

            task.add_done_callback(answered)
        try:
            # Whoever asked first may go away while others wait.
            return await asyncio.shield(task)
        except FetchError:
            raise unavailable("the issuer of the token cannot be reached") from None

    async def _question(self, token: str) -> Mapping[str, Any]:
        """Raises FetchError: the issuer cannot be asked, or is left alone now."""
        async with self._slots:
            try:
                return await self._ask(token)
            except FetchError as error:
                _log.warning("the issuer %s cannot be asked about a token: %s", self.issuer.name, error)
                raise

    async def _ask(self, token: str) -> Mapping[str, Any]:
        asked = self.issuer.introspection
        assert asked
        url = asked.url or (await self._source.metadata()).get("introspection_endpoint")
        if not isinstance(url, str):
            raise FetchError(f"the metadata of {self.issuer.url} has no introspection_endpoint")
        # RFC 6749, section 2.3.1: both are form-encoded before they go into the header.
        who = httpx.BasicAuth(quote_plus(asked.client_id), quote_plus(asked.client_secret))
        form = {"token": token, "token_type_hint": "access_token"}
        return (await self._source.ask(url, form=form, auth=who)).content

    def _checked(self, claims: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """Raises Refusal: it is for somebody else, has expired, or is no access token."""
        tokens.check_claims(claims, self.issuer, now)
        if str(claims.get("token_type", "Bearer")).lower() not in {"bearer", "dpop", "access_token"}:
            raise Refusal("type", "the token is no access token")
        if str(claims.get("token_type")).lower() == "dpop" and not claims.get("cnf"):
            raise Refusal("bound", "the token is bound to a key, and its issuer does not say to which")
        if not text(claims.get("client_id")):
            raise Refusal("claims", "the token does not say which client it was given to")
        # Where no person is behind it, RFC 7662 leaves the subject out; RFC 9068, section 2.2, says the client is it.
        return {"sub": claims["client_id"], **claims}
