"""Sending: one POST, to an address that may be connected to, within a time, and little is taken of the answer.

No redirect is followed and no proxy asked; each connection goes to an address that was judged when the name was
looked up for it (storage.connectors.addresses).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpcore
import httpx
from opentelemetry.trace import SpanKind

from lineal.errors import InvalidArgument, LinealError
from lineal.observing import propagate_async, span
from storage.connectors.addresses import AsyncCheckedNetwork, Resolve, system

MAX_BODY: Final = 4_096
"""Bytes that are read of an answer."""
MAX_SHOWN: Final = 1_000
"""Characters of it that are shown to who tests a webhook."""
MAX_RETRY_AFTER: Final = 3_600.0
GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a POST: the status, or what was in the way, and how long it took in seconds.

    `retry_after` is for how many seconds the receiver asks to be left alone.
    """

    status: int | None
    seconds: float
    error: str = ""
    body: str = ""
    retry_after: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the receiver has it now."""
        return self.status is not None and 200 <= self.status < 300


class Sender:
    """What sends. `private` lets loopback and private addresses be sent to, `ca` is a file of certificates to trust
    besides, `seconds` is what one POST may take from its beginning to its end; `whose` and `setting` are for messages.
    """

    def __init__(
        self,
        *,
        private: bool = False,
        ca: Path | None = None,
        seconds: float = 10.0,
        resolve: Resolve = system,
        whose: str = "a webhook",
        setting: str = "webhook_ca",
    ) -> None:
        self.private = private
        self._seconds = seconds
        self._network = AsyncCheckedNetwork(private=private, whose=whose, resolve=resolve)
        context = ssl.create_default_context()
        if ca is not None:
            try:
                context.load_verify_locations(ca)
            except (OSError, ssl.SSLError):
                msg = f"{setting}: {ca} must be a file with certificates in PEM"
                raise InvalidArgument(msg, field=setting) from None
        transport = httpx.AsyncHTTPTransport()
        # How many are open at a time is bounded for each webhook: one bound for all would let one starve the others.
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=100,
            keepalive_expiry=30,
            network_backend=self._network,
        )
        self._client = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            timeout=seconds,
            follow_redirects=False,
            event_hooks={"request": [propagate_async]},
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send it. Whatever is in the way is told by the answer."""
        began = time.monotonic()
        try:
            # Of its address nothing is told: that may be a secret.
            with span("POST", {"http.request.method": "POST"}, kind=SpanKind.CLIENT) as sending:
                async with asyncio.timeout(self._seconds):
                    answer = await self._post(url, body, headers, began)
                sending.set_attribute("http.response.status_code", answer.status or 0)
                return answer
        except (TimeoutError, httpx.TimeoutException):
            error = f"no answer within {self._seconds:g} seconds"
        except LinealError as refused:
            error = refused.message
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as failed:
            error = f"{type(failed).__name__}: {failed}"[:MAX_SHOWN]
        return Answer(None, time.monotonic() - began, error)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str], began: float) -> Answer:
        sent = {"User-Agent": "lineal", "Accept-Encoding": "identity", **headers}
        async with self._client.stream("POST", url, content=body, headers=sent) as answer:
            read = bytearray()
            async for chunk in answer.aiter_raw(MAX_BODY):
                read += chunk
                if len(read) >= MAX_BODY:
                    break
            status, told = answer.status_code, answer.headers.get("retry-after", "")
        text = bytes(read).decode("utf-8", "replace").replace("\0", "")[:MAX_SHOWN]
        error = "" if 200 <= status < 300 else "redirects are not followed" if 300 <= status < 400 else ""
        return Answer(status, time.monotonic() - began, error, text, _retry_after(told))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()
        self._network.close()


def _retry_after(told: str) -> float:
    """The seconds of a Retry-After header (RFC 9110, section 10.2.3); 0 where there is none that can be read."""
    text = told.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
