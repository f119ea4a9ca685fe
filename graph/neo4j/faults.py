"""What the driver raises, as Lineal's errors: the one place where they meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from neo4j.exceptions import (
    AuthError,
    ConfigurationError,
    ConstraintError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
)

from lineal.breaking import Resting
from lineal.errors import AlreadyExists, Internal, InvalidArgument, LinealError, Unavailable


class Again(Exception):
    """Another transaction was faster: run the work again from its start."""


DRIVER_ERRORS = (Neo4jError, DriverError)
"""Whatever the driver raises on its way to the server and back."""

_UNPLANNED = "insanely frequent schema changes"
"""What a server says that gave up planning a statement, as its labels, properties or indexes changed meanwhile.

That happens to one that has just started. It has no code of its own: Neo.DatabaseError.General.UnknownError.
"""


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed when it is run again.

    A constraint that fails means that somebody else made the same thing at the same moment: on the
    next run the work sees it and says so itself.
    """
    match error:
        case Again() | Resting() | ConstraintError() | ServiceUnavailable():
            return True
        case Neo4jError() if _UNPLANNED in (error.message or ""):
            return True
        case Neo4jError() | DriverError():
            return error.is_retryable()
        case _:
            return False


def is_away(error: BaseException) -> bool:
    """Whether the server did not answer at all, or says that it has no database to answer from.

    Of a cluster all must be away: where one member is, or none leads, the driver says SessionExpired, and asks others.
    """
    match error:
        case ServiceUnavailable() | OSError():
            return True
        case Neo4jError():
            return error.code == "Neo.TransientError.General.DatabaseUnavailable"
        case _:
            return False


@contextmanager
def translated() -> Iterator[None]:
    """Raise Lineal's errors in the place of the driver's."""
    try:
        yield
    except (*DRIVER_ERRORS, OSError) as error:
        raise as_lineal(error) from error


def as_lineal(error: BaseException) -> LinealError:
    """The error of Lineal's tree that says the same."""
    match error:
        case LinealError():
            return error
        case ConstraintError():
            return AlreadyExists("somebody else made the same thing at the same moment; read again and decide anew")
        case AuthError():
            return Unavailable(f"the store refuses Lineal's user or password: {error.message or error}")
        case ConfigurationError():
            return InvalidArgument(f"graph: the store's address or TLS settings cannot be used: {error}", field="graph")
        case Neo4jError() if "Bookmark" in error.code and not error.is_retryable():
            return InvalidArgument(f"bookmark: the store does not know it: {error.message}", field="bookmark")
        case Neo4jError() if "too large to index" in (error.message or ""):
            return InvalidArgument(
                "a text is too long for the store's index: filtered ones have at most 8,000 characters"
            )
        case Neo4jError() if error.code.startswith("Neo.ClientError.Transaction.TransactionTimedOut"):
            return Unavailable("the store did not answer within the time limit; ask for less, or raise the limit")
        case Neo4jError() if not is_transient(error) and not error.code.startswith("Neo.ClientError.Database."):
            return Internal(f"the store refused a statement: {error.code}: {error.message}")
        case _:
            return Unavailable(f"the store is away or too busy: {error}")
