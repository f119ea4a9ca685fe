"""Bodies of requests: JSON, perhaps compressed, and bounded however they come."""

from __future__ import annotations

import zlib
from typing import Any, Final

import orjson
from starlette.requests import Request

from gateway.problems import TooLarge, UnsupportedMediaType
from lineal.errors import InvalidArgument

MAX_LEVELS: Final = 64
"""Objects and lists in each other."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_JSON: Final = "application/json"


async def read_json(request: Request, limit: int) -> Any:
    """The JSON of a body of at most `limit` bytes, as it came and as it is when it is unpacked.

    Raises TooLarge, UnsupportedMediaType (neither JSON nor said to be, or packed by something else than gzip),
    InvalidArgument (not JSON, not gzip, or nested too deeply).
    """
    media_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if media_type != _JSON and not media_type.endswith("+json"):
        raise UnsupportedMediaType(f"content-type: must be {_JSON}, not {media_type!r:.80}", field="content-type")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        msg = f"content-encoding: must be gzip or left out, not {encoding!r:.80}"
        raise UnsupportedMediaType(msg, field="content-encoding")
    content = await read_bytes(request, limit)
    return json_of(_unpacked(content, limit) if encoding == "gzip" else content)


async def read_bytes(request: Request, limit: int) -> bytes:
    """A body of at most `limit` bytes as it came. Raises TooLarge."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise _too_large(limit)
    return bytes(content)


def json_of(text: bytes) -> Any:
    """The JSON of a body. Raises InvalidArgument: it is none, or nested too deeply."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is not JSON: {error}") from None
    _check_depth(body)
    return body


def _unpacked(content: bytes, limit: int) -> bytes:
    """What was packed by gzip, one member of it."""
    unpacking = zlib.decompressobj(_GZIP)
    try:
        text = unpacking.decompress(content, limit + 1)
    except zlib.error:
        raise InvalidArgument("the body is not packed by gzip, as its content-encoding says") from None
    if len(text) > limit:
        raise _too_large(limit)
    if not unpacking.eof or unpacking.unused_data:
        raise InvalidArgument("the body is not one whole gzip member")
    return text


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than the {limit:,} bytes allowed", limit="body", maximum=limit)


def _check_depth(body: Any) -> None:
    level = [body]
    for _ in range(MAX_LEVELS):
        inner = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list)))
        level = [part for parts in inner for part in parts if isinstance(part, (dict, list))]
        if not level:
            return
    raise InvalidArgument(f"the body is nested more than {MAX_LEVELS} levels deep")
