"""Errors as problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from lineal.errors import InvalidArgument, LimitExceeded, LinealError

MEDIA_TYPE: Final = "application/problem+json"


class TooLarge(LimitExceeded):
    """A body is larger than is allowed."""

    status = 413


class UnsupportedMediaType(InvalidArgument):
    """A body is of another type, or encoded in another way."""

    status = 415


def problem(
    request: Request, error: LinealError, headers: Mapping[str, str] = MappingProxyType({}), *, status: int = 0
) -> Response:
    """An error of Lineal's tree, with the id of the request; `status` where it is not that of the error."""
    status = status or error.status
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "request": getattr(request.state, "request_id", None),
        **({} if error.field is None else {"field": error.field}),
    }
    more = {"cache-control": "no-store", "x-content-type-options": "nosniff", **headers}
    return Response(orjson.dumps(body), status, more, media_type=MEDIA_TYPE)
