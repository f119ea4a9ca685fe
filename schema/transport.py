"""What HTTP says around a GraphQL request: which media type, how large, from which site, compressed or not."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Collection
from typing import Final

import orjson
from cross_web import HTTPException
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive

from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, NotFound
from schema.documents import Unknown
from schema.failures import body

JSON_TYPE: Final = "application/json"
GRAPHQL_TYPE: Final = "application/graphql-response+json"

COMPRESSED_FROM: Final = 1_024
"""Bytes from which on an answer is worth compressing."""
_LEVEL: Final = 5
VARY: Final = "Accept, Accept-Encoding, Authorization"

PREFLIGHT: Final = "graphql-require-preflight"
"""A header that a browser sends to another site only when that site said yes before."""
_CODES: Final = {408: LimitExceeded.code, 413: LimitExceeded.code, 403: Forbidden.code, 404: NotFound.code}


def accepted(header: str) -> list[tuple[str, float]]:
    """What a header like Accept or Accept-Encoding lists, in its order, each with its quality from 0 to 1."""
    found = []
    for part in header.split(","):
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = min(max(float(parameter[2:]), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        if name:
            found.append((name, quality))
    return found


def accepts(header: str, name: str) -> bool:
    """Whether a header like Accept or Accept-Encoding asks for this by its name."""
    return dict(accepted(header)).get(name, 0.0) > 0


def chunk(body: bytes, *, more: bool = True) -> Message:
    """A piece of an answer that is sent as it comes."""
    return {"type": "http.response.body", "body": body, "more_body": more}


def media_type(header: str | None) -> str:
    """The media type to answer in: the newer one where it is asked for by name and not less than the older one.

    Who asks for anything, or for nothing that there is, gets the older one, which everybody can read.
    """
    found = dict(reversed(accepted(header or "*/*")))
    newer = found.get(GRAPHQL_TYPE, 0.0)
    older = found.get(JSON_TYPE, 0.0)
    return GRAPHQL_TYPE if newer and newer >= older else JSON_TYPE


def bounded(receive: Receive, most: int, seconds: float) -> Receive:
    """Receive no more of a body than so many bytes, in so many seconds. Raises HTTPException 413, 408."""
    received = 0
    end = asyncio.get_running_loop().time() + seconds

    async def receiving() -> Message:
        nonlocal received
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the request's body took longer than the {seconds:g} seconds allowed") from None
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413, f"the request's body is larger than the {most} bytes allowed by max_body_bytes")
        return message

    return receiving


def check_site(headers: Headers, origins: Collection[str]) -> None:
    """Raises HTTPException 403 for what a page of another site made a browser ask, without a preflight.

    That cannot be a POST, which must be JSON. A GET is known by what browsers say of where it comes from; a token,
    or the header that is there for it, needs a preflight, and `origins` may ask anyway.
    """
    elsewhere = headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}
    if not elsewhere or "authorization" in headers or PREFLIGHT in headers:
        return
    if headers.get("origin") not in origins:
        raise HTTPException(403, f"a request from another site by GET needs the header {PREFLIGHT}")


def compressed(response: Response, header: str | None) -> Response:
    """The answer, compressed where its reader can read that and it is worth it."""
    response.headers["vary"] = VARY
    if len(response.body) >= COMPRESSED_FROM and accepts(header or "", "gzip"):
        response.body = gzip.compress(response.body, _LEVEL, mtime=0)
        response.headers["content-encoding"] = "gzip"
        response.headers["content-length"] = str(len(response.body))
    return response


def tagged(response: Response, data: object, header: str | None) -> Response:
    """An answer that its reader may keep, and ask whether it still holds; 304 where what the reader has does."""
    tag = f'W/"{hashlib.sha256(orjson.dumps(data)).hexdigest()[:32]}"'
    kept = {"etag": tag, "cache-control": "private, no-cache"}
    if header is not None and (header.strip() == "*" or tag in (each.strip() for each in header.split(","))):
        return Response(status_code=304, headers=kept)
    response.headers.update(kept)
    return response


def refusal(error: HTTPException, type_: str) -> Response:
    """A refusal as an answer of GraphQL."""
    status, message = error.status_code, error.reason
    headers = {"allow": "POST" if "mutations" in message else "GET, POST"} if status == 405 else None
    code = getattr(error, "code", None) or _CODES.get(status, InvalidArgument.code)
    if isinstance(error, Unknown) and type_ == JSON_TYPE:
        # Its clients read what is wrong with what they asked only where HTTP says that nothing is.
        status = 200
    answer = orjson.dumps(body(message, code))
    return Response(answer, status, headers, media_type=f"{type_}; charset=utf-8")
