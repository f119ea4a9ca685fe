"""Calls to a platform by HTTP: bounded in time and size, with the target's own credentials, and in Lineal's errors."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson
from opentelemetry.trace import SpanKind

from lineal.breaking import Breaker
from lineal.errors import PreconditionFailed, Unavailable
from lineal.observing import propagate_async, span
from serving.port import GUARD
from serving.targets import TargetConfig
from storage.configuration import wrong

MAX_ANSWER: Final = 8 * 2**20
"""Bytes of one answer."""
MAX_REASON: Final = 300
"""Characters of a platform's own words that are repeated."""

GATEWAY: Final = frozenset({502, 504})
"""What a proxy answers in the place of a platform that is away. With 503 a platform says that it is busy itself."""

_WORDS: Final = ("message", "error", "detail", "reason")
_URL: Final = re.compile(r"(\w+://[^\s?\"'<>]{0,2000})\?[^\s\"'<>]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a platform answered: the status and the body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises Unavailable: it is none, as a proxy's page in the platform's place."""
        try:
            return orjson.loads(self.body)
        except ValueError:
            raise Unavailable("the platform's answer is not JSON") from None

    def reason(self) -> str:
        """Why it refused, in the platform's words as far as they can be found: one line, not bounded."""
        text = self.body[:65_536].decode(errors="replace")
        try:
            found = orjson.loads(text)
        except ValueError:
            found = text
        while isinstance(found, dict):
            found = next((found[word] for word in _WORDS if found.get(word)), "")
        return " ".join(str(found).split())


class SilentError(Unavailable):
    """The platform did not answer."""


class Http:
    """A client of one server of a target.

    It goes where it is told and nowhere else: it follows no redirects. `secrets` are what no message may hold.
    """

    def __init__(self, config: TargetConfig, url: str = "", *, bearer: str = "token") -> None:
        """`url` is the target's own unless given; `bearer` is the name of the secret that each call presents."""
        self.url = url or config.url
        self._config = config
        self._bearer = bearer
        self._breaker = Breaker("target", config.name, lambda error: isinstance(error, SilentError))
        self._client = httpx.AsyncClient(
            verify=_context(config),
            timeout=config.timeout,
            follow_redirects=False,
            event_hooks={"request": [propagate_async]},
            headers={"User-Agent": "lineal", "Accept": "application/json"},
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=8),
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        within: float | None = None,
        looks: bool = False,
    ) -> Answer:
        """The answer, when its status is 2xx or one of `accept`. One that `looks` changes nothing, whatever its method.

        `within` are the seconds for all of it, the target's timeout unless given. Raises Unavailable (the server is
        away, too busy, too slow, or failed), PreconditionFailed (it refuses, and says why).
        """
        if method not in {"GET", "HEAD"} and not looks:
            GUARD.get()()
        if json is not None:
            content = orjson.dumps(json)
        kind = {"Content-Type": "application/json"} if json is not None else {}
        seconds = self._config.timeout if within is None else within
        token = self._config.secret(self._bearer)
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        request = self._client.build_request(
            method,
            f"{self.url}{path}",
            params=params,
            content=content,
            headers={**kind, **authorization, **(headers or {})},
            timeout=seconds,
        )
        with self._breaker():
            answer = await self._answer(request, seconds)
            if 200 <= answer.status < 300 or answer.status in accept:
                return answer
            raise self.refusal(answer, f"{method} {path.partition('?')[0]}")

    async def _answer(self, request: httpx.Request, seconds: float) -> Answer:
        method = request.method
        try:
            with span(method, {"http.request.method": method}, kind=SpanKind.CLIENT) as calling:
                async with asyncio.timeout(seconds):
                    answer = await self._send(request)
                calling.set_attribute("http.response.status_code", answer.status)
                return answer
        except (TimeoutError, httpx.TimeoutException):
            raise SilentError(f"{self._what} did not answer {method} within {seconds:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise SilentError(f"{self._what} is away ({type(error).__name__})") from None

    async def _send(self, request: httpx.Request) -> Answer:
        answer = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in answer.aiter_bytes(65_536):
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise Unavailable(f"{self._what} answered with more than {MAX_ANSWER:,} bytes")
            return Answer(answer.status_code, bytes(body))
        finally:
            await answer.aclose()

    def refusal(self, answer: Answer, what: str) -> Unavailable | PreconditionFailed:
        """What to raise of an answer that is no success."""
        reason = self.clean(answer.reason())
        told = f": {reason}" if reason else ""
        if answer.status >= 500 or answer.status in {408, 425, 429}:
            kind = SilentError if answer.status in GATEWAY else Unavailable
            return kind(f"{self._what} failed with {answer.status} at {what}{told}")
        if 300 <= answer.status < 400:
            return PreconditionFailed(f"{self._what} sends {what} elsewhere ({answer.status}): configure its own url")
        return PreconditionFailed(f"{self._what} refused {what} with {answer.status}{told}")

    def clean(self, text: str) -> str:
        """A platform's words without the target's secrets and without what addresses are signed with, cut short."""
        for secret in self._config.secrets.values():
            try:
                text = text.replace(secret.value(), "…")
            except Unavailable:
                continue
        text = _URL.sub(r"\1", text)
        return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"

    @property
    def _what(self) -> str:
        parts = urlsplit(self.url)
        return f"target {self._config.name} ({parts.hostname}{f':{parts.port}' if parts.port else ''})"

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()


def _context(config: TargetConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca_file or None)
    except (OSError, ssl.SSLError):
        raise wrong(config.at("ca_file"), "must be a file with certificates in PEM") from None
