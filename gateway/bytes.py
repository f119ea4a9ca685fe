"""Bytes of the local folder over HTTP: PUT and GET at addresses that the storage signed.

The signature is the authority: these routes ask for no token of OAuth, and open nothing but the one thing that the
address names. Nothing that comes from here is ever shown by a browser, or may be read by another site's page.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from auth.recorder import Recorder
from gateway.problems import TooLarge, problem
from lineal.errors import Forbidden, InvalidArgument, LinealError, Unavailable
from resolvers.exporting.linking import AREA
from storage.grant import Grant
from storage.local import LocalStorage, Opened
from storage.naming import attachment
from storage.port import CHUNK

PREFIX: Final = "/bytes/"
"""What the paths begin with that need no token of OAuth."""
IDLE_SECONDS: Final = 60.0
"""How long a client may send nothing before its PUT ends."""

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,40})-([0-9]{0,40})|-([0-9]{1,40}))", re.IGNORECASE)
SAVED: Final = {
    "accept-ranges": "bytes",
    "cache-control": "private, no-transform",
    "content-security-policy": "default-src 'none'; sandbox",
    "content-type": "application/octet-stream",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def create_bytes_route(
    storage: LocalStorage, recorder: Recorder | None = None, *, idle_seconds: float = IDLE_SECONDS
) -> Route:
    """The route of the addresses that this storage gives out. `recorder` hears what was fetched, or refused."""

    async def endpoint(request: Request) -> Response:
        try:
            grant = await _granted(storage, recorder, request)
            if request.method == "PUT":
                return await _put(storage, grant, request, idle_seconds)
            response = await _get(storage, grant, request)
            if recorder is not None and isinstance(response, StreamingResponse):
                # An export is of no one workspace.
                home = "" if grant.workspace == AREA else grant.workspace
                told = {"workspace": home, "sha256": grant.sha256, "file": grant.filename}
                await recorder.fetched(**told, **_where(request))
        except ClientDisconnect:
            # Nobody reads this answer.
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        except LinealError as error:
            return problem(request, error)
        else:
            return response

    return Route(PREFIX + "{sha256}", endpoint, methods=["GET", "HEAD", "PUT"])


def _where(request: Request) -> dict[str, str]:
    """Where a request comes from, and its id."""
    address = request.client.host if request.client else ""
    return {"address": address, "request": str(getattr(request.state, "request_id", ""))}


async def _granted(storage: LocalStorage, recorder: Recorder | None, request: Request) -> Grant:
    """What the address opens for this method. Raises Forbidden, which is audited."""
    try:
        return _grant(storage, request)
    except Forbidden as error:
        if recorder is not None:
            await recorder.failed(reason="bytes", detail=error.message, **_where(request))
        raise


def _grant(storage: LocalStorage, request: Request) -> Grant:
    """What the address opens for this method. Raises Forbidden."""
    grant = storage.grant(request.query_params.get("token", ""))
    method = "GET" if request.method == "HEAD" else request.method
    if (grant.method, grant.sha256) != (method, request.path_params["sha256"]):
        raise Forbidden(f"this address is not one to {request.method}")
    return grant


# ── In ────────────────────────────────────────────────────────────────────────────────────────────


async def _put(storage: LocalStorage, grant: Grant, request: Request, idle_seconds: float) -> Response:
    """Take bytes, and only those that were announced: 201 when they are new, 204 when they were there."""
    length = request.headers.get("content-length", "")
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise _LengthRequired("content-length: a PUT must say how many bytes come")
    if int(length) > grant.length:
        raise TooLarge(f"content-length: this address takes {grant.length:,} bytes, not {int(length):,}")
    if int(length) < grant.length:
        raise InvalidArgument(f"content-length: this address takes {grant.length:,} bytes, not {int(length):,}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidArgument("content-encoding: the bytes must come as they are")
    new = await storage.receive(grant, chunks(request, idle_seconds))
    etag = {"etag": _etag(grant)} if grant.length == grant.size else {}
    return Response(status_code=HTTPStatus.CREATED if new else HTTPStatus.NO_CONTENT, headers=etag)


async def chunks(request: Request, idle_seconds: float) -> AsyncIterator[bytes]:
    """The body in chunks of about CHUNK, whatever the pieces are that the network brings. Raises Unavailable."""
    gathered, size = list[bytes](), 0
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise Unavailable(f"no byte came for {idle_seconds:g} seconds") from None
        gathered.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    if size:
        yield b"".join(gathered)


# ── Out ───────────────────────────────────────────────────────────────────────────────────────────


async def _get(storage: LocalStorage, grant: Grant, request: Request) -> Response:
    """Give bytes: all of them, one range (RFC 9110, section 14), or none when the client has them (section 13)."""
    blob = await storage.opened(grant.workspace, grant.sha256)
    try:
        response = _response(blob, grant, request)
    except BaseException:
        blob.close()
        raise
    if not isinstance(response, StreamingResponse):
        blob.close()
    return response


def _response(blob: Opened, grant: Grant, request: Request) -> Response:
    etag = _etag(grant)
    headers = {**SAVED, "etag": etag, "content-disposition": attachment(grant.filename)}
    match, none_match = (request.headers.get(name) for name in ("if-match", "if-none-match"))
    if match is not None and not _among(etag, match):
        return Response(status_code=HTTPStatus.PRECONDITION_FAILED, headers={"etag": etag})
    if none_match is not None and _among(etag, none_match, weakly=True):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    first, size, status = 0, blob.size, HTTPStatus.OK
    if (asked := _range(request, etag)) is not None:
        first, last = _bounds(asked, blob.size)
        if first > last:
            unsatisfied = {"content-range": f"bytes */{blob.size}"}
            error = _RangeNotSatisfiable(f"range: the file has {blob.size:,} bytes")
            return problem(request, error, unsatisfied)
        size, status = last - first + 1, HTTPStatus.PARTIAL_CONTENT
        headers["content-range"] = f"bytes {first}-{last}/{blob.size}"
    headers["content-length"] = str(size)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(blob.chunks(first, size), status, headers)


def _range(request: Request, etag: str) -> re.Match[str] | None:
    """The one range that is asked for. Several ones, other units and what is not well formed are ignored.

    So is a range of another representation: If-Range must be this very entity tag, strongly compared, and never is a
    date, for no date is given out (RFC 9110, section 13.1.5).
    """
    if request.method != "GET" or request.headers.get("if-range", etag).strip() != etag:
        return None
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if found and found[2] and int(found[1]) > int(found[2]):
        return None
    return found


def _bounds(asked: re.Match[str], size: int) -> tuple[int, int]:
    """The first and the last byte; the first is behind the last where the range has none of the bytes there are."""
    if asked[3] is not None:
        return max(0, size - int(asked[3])), size - 1
    return int(asked[1]), min(int(asked[2] or size), size - 1)


def _etag(grant: Grant) -> str:
    return f'"{grant.sha256}"'


def _among(etag: str, header: str, *, weakly: bool = False) -> bool:
    """Whether a list of entity tags has this one, or is `*` (RFC 9110, sections 13.1.1 and 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") if weakly else tag.strip() for tag in header.split(",")}
    return etag in tags or header.strip() == "*"


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────────


class _LengthRequired(InvalidArgument):
    status = 411


class _RangeNotSatisfiable(InvalidArgument):
    status = 416
