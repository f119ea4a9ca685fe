"""Errors as problem+json (RFC 9457), with the codes of GraphQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.responses import Response

from lineal.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Internal,
    InvalidArgument,
    LimitExceeded,
    LinealError,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
)

MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[Mapping[str, int]] = {
    error.code: error.status
    for error in (
        *(InvalidArgument, NotFound, AlreadyExists, Conflict, PreconditionFailed, Unauthenticated, Forbidden),
        *(LimitExceeded, Unavailable, Internal),
    )
}


@dataclass
class Problem(Exception):
    """Why a request is not answered.

    `field` is what is to blame: a parameter, or a place in the body. `errors` tell several such places, `details` are
    facts for programs.
    """

    status: int
    detail: str
    code: str = InvalidArgument.code
    field: str | None = None
    details: Mapping[str, Any] = default(default_factory=dict)
    errors: Sequence[Mapping[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, error: LinealError) -> Problem:
        """The problem that an error of Lineal's tree is."""
        return cls(error.status, error.message, error.code, error.field, error.details)

    def response(self, request: str) -> Response:
        """The answer to the request of this id."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request": request,
        }
        given = {"field": self.field, "errors": list(self.errors), "details": dict(self.details)}
        body |= {name: value for name, value in given.items() if value}
        response = Response(orjson.dumps(body, default=str), self.status, media_type=MEDIA_TYPE)
        response.headers["cache-control"] = "no-store"
        for name, value in self.headers:
            response.headers.append(name, value)
        return response
