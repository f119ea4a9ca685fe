"""What MLflow's clients are told when something is wrong: `{"error_code": …, "message": …}` and a status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.responses import Response

from gateway.problems import RETRY_SECONDS
from lineal.errors import InvalidArgument, LinealError

STATUSES: Final[Mapping[str, int]] = {
    "RESOURCE_ALREADY_EXISTS": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
    # Clients try again whatever is answered with 429 or 5xx, and these stay as they are.
    "INVALID_STATE": 400,
    "REQUEST_LIMIT_EXCEEDED": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_CONFLICT": 409,
    "TEMPORARILY_UNAVAILABLE": 503,
    "NOT_IMPLEMENTED": 501,
    "INTERNAL_ERROR": 500,
}
"""The HTTP status of each error code that is given out."""


class NoEndpoint(InvalidArgument):
    """There is no such endpoint here. Clients look for this code where a newer server has another one."""

    mlflow_code = "ENDPOINT_NOT_FOUND"


class NotImplementedHere(InvalidArgument):
    """An endpoint of MLflow's that is none here; clients have another way then."""

    mlflow_code = "NOT_IMPLEMENTED"


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON."""
    return Response(orjson.dumps(body), status, dict(headers or {}), media_type="application/json")


def refused(code: str, message: str) -> Response:
    """An error by its code."""
    headers = {"retry-after": RETRY_SECONDS} if code == "TEMPORARILY_UNAVAILABLE" else {}
    return answer({"error_code": code, "message": message}, STATUSES[code], headers)


def refusal(error: LinealError) -> Response:
    """An error of Lineal's tree."""
    return refused(error.mlflow_code, error.message)
