"""Asking issuers over HTTP: short, small, without redirects, and over TLS unless it is this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

SECONDS: Final = 5.0
MAX_BYTES: Final = 2**20

_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.ASCII | re.IGNORECASE)


class FetchError(Exception):
    """Nothing that can be used came back. The message has no secrets."""


class SilentError(FetchError):
    """Nobody answered, or nobody who could."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JSON object, and for how many seconds its sender lets it be kept (None: not said)."""

    content: Mapping[str, Any]
    max_age: int | None


def is_safe(url: str) -> bool:
    """Whether nobody between can read or change what is asked there: https, or this machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return bool(host) and not parts.username
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


async def fetch(
    client: httpx.AsyncClient, url: str, *, form: Mapping[str, str] | None = None, auth: httpx.Auth | None = None
) -> Fetched:
    """The JSON object at a URL; with a `form`, what it answers to that. Raises FetchError."""
    if not is_safe(url):
        raise FetchError(f"{url!r:.200} is neither https nor on this machine")
    try:
        async with asyncio.timeout(SECONDS):
            return await _fetch(client, client.build_request("POST" if form else "GET", url, data=form), auth)
    except TimeoutError:
        raise SilentError(f"{url} did not answer within {SECONDS:g} seconds") from None
    except httpx.HTTPError as error:
        raise SilentError(f"{url} cannot be reached: {type(error).__name__}") from None
    except (ValueError, RecursionError):
        raise FetchError(f"{url} did not answer with JSON") from None


async def _fetch(client: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None) -> Fetched:
    request.headers["accept"] = "application/json"
    # A small compressed answer may be a very large one, so none is asked for and none is read.
    request.headers["accept-encoding"] = "identity"
    response = await client.send(request, stream=True, auth=auth, follow_redirects=False)
    try:
        if response.status_code != 200:
            kind = SilentError if response.status_code >= 500 else FetchError
            raise kind(f"{request.url} answered with status {response.status_code}")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise FetchError(f"{request.url} answered with more than {MAX_BYTES} bytes")
    finally:
        await response.aclose()
    value = json.loads(content)
    if not isinstance(value, dict):
        raise FetchError(f"{request.url} did not answer with a JSON object")
    return Fetched(value, _max_age(response.headers.get("cache-control", "")))


def _max_age(control: str) -> int | None:
    if "no-store" in control or "no-cache" in control:
        return 0
    found = _MAX_AGE.search(control)
    return int(found[1]) if found else None
