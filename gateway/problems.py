"""Errors as problem+json (RFC 9457), with the codes of Lineal's tree: the one place that writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from auth.caller import Caller
from auth.challenges import INSUFFICIENT_SCOPE, INVALID_TOKEN, Refusal, Resource, no_credentials, used
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

RETRY_SECONDS: Final = "1"
"""What is away or too busy may be back after so many seconds."""

STATUSES: Final[Mapping[str, int]] = {
    error.code: error.status
    for error in (
        *(InvalidArgument, NotFound, AlreadyExists, Conflict, PreconditionFailed, Unauthenticated, Forbidden),
        *(LimitExceeded, Unavailable, Internal),
    )
}


class TooLarge(LimitExceeded):
    """A body is larger than is allowed."""

    status = 413


class UnsupportedMediaType(InvalidArgument):
    """A body is of another type, or encoded in another way."""

    status = 415


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
        details = dict(error.details)
        if "scopes" in details:
            details["requiredScopes"] = details.pop("scopes")
        wait = details.get("retryAfter", RETRY_SECONDS if isinstance(error, Unavailable) else None)
        headers = [] if wait is None else [("retry-after", str(wait))]
        return cls(error.status, error.message, error.code, error.field, details, headers=headers)

    def response(self, request: str | None) -> Response:
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
        response.headers["x-content-type-options"] = "nosniff"
        for name, value in self.headers:
            response.headers.append(name, value)
        return response


def problem(request: Request, error: LinealError, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """The answer that an error of Lineal's tree is, with the id of the request."""
    response = Problem.of(error).response(getattr(request.state, "request_id", None))
    response.headers.update(headers)
    return response


def refused(request: Request, caller: Caller, error: LinealError, resource: Resource) -> Response:
    """What somebody without the scopes or the role is told (403), or nobody (401), with the challenges of RFC 6750."""
    scopes = [scope for way in error.details.get("scopes", ())[:1] for scope in way]
    if isinstance(error, Unauthenticated):
        refusal = Refusal("principal", "whoever the token speaks of may not come in", INVALID_TOKEN)
    elif caller.anonymous:
        refusal = no_credentials()
    else:
        refusal = Refusal("scope", "the token has too few scopes", INSUFFICIENT_SCOPE, error.status)
    told = error if refusal.status == error.status else Unauthenticated(refusal.description)
    response = problem(request, told)
    if scopes or refusal.status == Unauthenticated.status:
        refusal.scheme = used(request.headers.get("authorization"))
        for challenge in resource.challenges(refusal, " ".join(scopes)):
            response.headers.append("www-authenticate", challenge)
    return response
