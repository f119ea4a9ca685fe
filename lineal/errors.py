"""What can go wrong, as one tree.

    LinealError
    ├── InvalidArgument       the input is wrong, and `field` names where
    ├── NotFound              nothing there, or nothing that the caller may see
    ├── AlreadyExists         the name or the edge is taken
    ├── Conflict              somebody else changed it first, or a key was used for another input
    ├── PreconditionFailed    the input is right, the state of the graph forbids it
    ├── Unauthenticated       no principal, or one that can't be trusted
    ├── Forbidden             the principal lacks a scope or a role
    ├── LimitExceeded         larger, deeper or longer than allowed
    ├── Unavailable           a store or service is away; the same call may work later
    └── Internal              a defect of Lineal; the client gets an id, the log the rest

Every face maps this tree once: `code` goes to GraphQL's `extensions.code`, `status` to HTTP,
`mlflow_code` to MLflow's `error_code`. This module imports nothing, and every room may import it.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Forbidden",
    "Internal",
    "InvalidArgument",
    "LimitExceeded",
    "LinealError",
    "NotFound",
    "PreconditionFailed",
    "Unauthenticated",
    "Unavailable",
]


class LinealError(Exception):
    """The root of the tree; never raised itself.

    `details` are facts for a program to read (revisions, ids, limits); they go out with the message.
    """

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    mlflow_code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str, *, field: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.details = details


class InvalidArgument(LinealError):
    """The input is wrong: the message says what was wrong and what would be right."""

    code = "INVALID_ARGUMENT"
    status = 400
    mlflow_code = "INVALID_PARAMETER_VALUE"


class NotFound(LinealError):
    """Nothing is there, or nothing that the caller may see: the answer is the same."""

    code = "NOT_FOUND"
    status = 404
    mlflow_code = "RESOURCE_DOES_NOT_EXIST"


class AlreadyExists(LinealError):
    """A name, number or exclusive edge is taken; `details` has the id of what holds it where known."""

    code = "ALREADY_EXISTS"
    status = 409
    mlflow_code = "RESOURCE_ALREADY_EXISTS"


class Conflict(LinealError):
    """It changed since it was read (`expected`, `actual` revision), or an idempotency key came with other input."""

    code = "CONFLICT"
    status = 409
    mlflow_code = "RESOURCE_CONFLICT"


class PreconditionFailed(LinealError):
    """The state of the graph forbids it: a cycle, a dependant, a closed run."""

    code = "PRECONDITION_FAILED"
    status = 412
    mlflow_code = "INVALID_STATE"


class Unauthenticated(LinealError):
    """No principal, or a token that can't be trusted."""

    code = "UNAUTHENTICATED"
    status = 401
    mlflow_code = "UNAUTHENTICATED"


class Forbidden(LinealError):
    """The principal lacks a scope or a role."""

    code = "FORBIDDEN"
    status = 403
    mlflow_code = "PERMISSION_DENIED"


class LimitExceeded(LinealError):
    """Larger, deeper or longer than Lineal allows; the message names the limit."""

    code = "LIMIT_EXCEEDED"
    status = 422
    mlflow_code = "REQUEST_LIMIT_EXCEEDED"


class Unavailable(LinealError):
    """A store or service is away or too busy; the same call may work later."""

    code = "UNAVAILABLE"
    status = 503
    mlflow_code = "TEMPORARILY_UNAVAILABLE"


class Internal(LinealError):
    """A defect of Lineal: the client gets an id to quote, the log the rest."""
