"""Errors as clients see them: the tree of lineal.errors with its codes, and nothing of anything else."""

from __future__ import annotations

import logging
import secrets
from typing import Any, Final

from graphql import GraphQLError, GraphQLSyntaxError

from lineal.errors import Internal, InvalidArgument, LinealError

PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"

_log = logging.getLogger("lineal.graphql")


def present(error: GraphQLError, *, executed: bool) -> GraphQLError:
    """The error as it may leave: with a code, and masked when it is not of the tree.

    `executed` says whether it came up while the document ran. What is masked is logged with an id, and
    the client gets the id.
    """
    cause = _cause(error)
    if isinstance(cause, LinealError):
        return _with(error, cause.message, extensions(cause))
    if not executed:
        code = PARSE_FAILED if isinstance(error, GraphQLSyntaxError) else VALIDATION_FAILED
        return _with(error, error.message, {"code": code})
    if isinstance(cause, GraphQLError) or (error.path is None and error.nodes):
        # graphql-core refused an argument, or a variable, which has a place in the document but not in the answer.
        return _with(error, error.message, {"code": InvalidArgument.code})
    id = secrets.token_hex(8)
    _log.error("internal error %s at %s", id, error.path, exc_info=cause, extra={"error_id": id})
    return _with(error, "internal error", {"code": Internal.code, "id": id})


def extensions(error: LinealError) -> dict[str, Any]:
    """What goes out with a message: the code, the field where one is to blame, and facts for programs."""
    field = {} if error.field is None else {"field": error.field}
    return {**error.details, **field, "code": error.code}


def body(message: str, code: str, **details: Any) -> dict[str, Any]:
    """A whole answer that is one error, for requests that never became an operation."""
    return {"errors": [{"message": message, "extensions": {**details, "code": code}}]}


def _cause(error: GraphQLError) -> Exception:
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _with(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )
