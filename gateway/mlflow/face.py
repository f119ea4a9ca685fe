"""What all of MLflow's routes have in common: who asks, how long it may take, and how refusals are told and audited."""

from __future__ import annotations

import asyncio
import logging
import re
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from auth.challenges import INSUFFICIENT_SCOPE, Refusal, Resource, no_credentials, used
from auth.scopes import Requirement
from gateway.mlflow.errors import NoEndpoint, refusal
from graph.ontology import DEFAULT_WORKSPACE
from lineal.errors import Forbidden, Internal, InvalidArgument, LimitExceeded, LinealError, Unauthenticated
from resolvers.auditing import note_refusal
from resolvers.operation import Operation

NewOperation = Callable[[Request], Operation]

WORKSPACE_HEADER: Final = "x-mlflow-workspace"
KEY: Final = "idempotency-key"

_FACE: Final = re.compile(
    r"(?:/w/[^/]+)?/(?:(?:ajax-)?api/[23]\.0/mlflow(?:-artifacts)?/.*|version|model-versions/get-artifact)", re.DOTALL
)

_HEALTH: Final = re.compile(r"(?:/w/[^/]+)?/health")

_log = logging.getLogger("lineal.mlflow")


def is_mlflow(path: str) -> bool:
    """Whether a path belongs to MLflow's clients, so that what is refused there is said in their words."""
    return _FACE.fullmatch(path) is not None


def is_health(path: str) -> bool:
    """Whether a path is that of MLflow's probe, which is open to everybody."""
    return _HEALTH.fullmatch(path) is not None


class Face(BaseRoute):
    """Routes that are found by one look at the path.

    `new_operation` says who asks, `resource` is what challenges speak of, and `seconds` the time that a request may
    take (None: as long as it moves).
    """

    paths: ClassVar[re.Pattern[str]]
    """The paths that it answers, with the group `workspace`."""

    def __init__(self, new_operation: NewOperation, *, resource: Resource, seconds: float | None) -> None:
        self._new_operation = new_operation
        self._resource = resource
        self._seconds = seconds

    @abstractmethod
    async def answer(self, op: Operation, request: Request, match: re.Match[str]) -> Response:
        """The answer to a request. Raises what the use case raises."""

    @abstractmethod
    def named(self, request: Request, match: re.Match[str]) -> str:
        """What is asked for in a few words, for the audit."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether it answers this path."""
        if scope["type"] != "http" or (match := self.paths.fullmatch(scope["path"])) is None:
            return Match.NONE, {}
        return Match.FULL, {"mlflow": match}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request, scope["mlflow"])
        except ClientDisconnect:
            # Nobody reads this answer.
            response = Response(status_code=400)
        await response(scope, receive, send)

    async def _answer(self, request: Request, match: re.Match[str]) -> Response:
        async with self._new_operation(request) as op:
            try:
                async with asyncio.timeout(self._seconds) as patience:
                    return await self.answer(op, request, match)
            except TimeoutError:
                if not patience.expired():
                    raise
                return refusal(LimitExceeded(f"the request took longer than the {self._seconds:g} seconds allowed"))
            except Internal:
                raise
            except LinealError as error:
                return await self._refused(op, request, error, match)

    async def _refused(self, op: Operation, request: Request, error: LinealError, match: re.Match[str]) -> Response:
        if isinstance(error, (Forbidden, Unauthenticated)):
            about = [{"workspace": workspace_of(request, match)}]
            await note_refusal(op, error, action=f"mlflow {self.named(request, match)}", arguments=about)
            return self._challenged(op, request, error)
        if error.status >= 500:
            _log.warning("an MLflow client was refused: %s", error.message)
        return refusal(error)

    def _challenged(self, op: Operation, request: Request, error: LinealError) -> Response:
        """A refusal with the challenge of RFC 6750, where a better token would help."""
        ways = error.details.get("scopes", ())
        scope = " ".join(min(ways, key=lambda way: len(set(way) - op.caller.scopes), default=()))
        if isinstance(error, Unauthenticated):
            refused = Refusal("principal", "whoever the token speaks of may not come in")
        elif op.caller.anonymous:
            refused, error = no_credentials(), Unauthenticated("a bearer token is needed")
        else:
            refused = Refusal("scope", "the token has too few scopes", INSUFFICIENT_SCOPE, Forbidden.status)
        response = refusal(error)
        refused.scheme = used(request.headers.get("authorization"))
        if scope or isinstance(error, Unauthenticated):
            for challenge in self._resource.challenges(refused, scope):
                response.headers.append("www-authenticate", challenge)
        return response


def check_scopes(op: Operation, needed: Requirement) -> None:
    """Raises Forbidden: the caller's scopes do not open this."""
    if not needed.opened_by(op.caller):
        raise Forbidden(f"the scope {needed} is needed", scopes=needed.lists())


def check_keyless(request: Request) -> None:
    """Raises InvalidArgument: a key was sent with what cannot be done once under it. Reads need none."""
    if request.method != "GET" and KEY in request.headers:
        raise InvalidArgument("Idempotency-Key: this endpoint keeps no keys", field="Idempotency-Key")


def workspace_of(request: Request, match: re.Match[str]) -> str:
    """The workspace that is asked for: by the address, else by the header that clients send."""
    return match["workspace"] or request.headers.get(WORKSPACE_HEADER) or DEFAULT_WORKSPACE


def no_endpoint(request: Request) -> NoEndpoint:
    """There is none here."""
    return NoEndpoint(f"No API found for '{request.method} {request.scope['path']:.500}'")
