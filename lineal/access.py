"""Who gets in: everything but health, metadata and signed addresses needs a caller.

The client's address is that of the connection. Where a proxy stands in front, uvicorn takes it from
`X-Forwarded-For` if it is told to trust that proxy (FORWARDED_ALLOW_IPS); nothing here reads such headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from auth.authenticator import Authenticator
from auth.caller import ANONYMOUS, Caller
from auth.challenges import INSUFFICIENT_SCOPE, METADATA_PATH, Refusal, Resource, no_credentials
from auth.directory import Directory
from auth.recorder import Recorder
from lineal.errors import Forbidden, InvalidArgument, LinealError, Unauthenticated, Unavailable
from lineal.http import problem
from schema.failures import body

OPEN: Final = ("/healthz", "/readyz")
SIGNED: Final = "/bytes/"
"""What is under here is opened by the signature in the address itself (gateway.bytes), and by no token."""
METRICS: Final = "/metrics"
METRICS_SCOPE: Final = "monitor:read"
GRAPHQL: Final = "/graphql"

_CODES: Final = {error.status: error.code for error in (InvalidArgument, Unauthenticated, Forbidden, Unavailable)}
_RETRY_SECONDS: Final = 5


class Access:
    """Puts the caller into the request's state, or answers that there is none that may ask.

    `anonymous` are the scopes of those without a token; None where everybody needs one. `loopback` says that only
    this machine can ask, so that its metrics are open. What fails is told to the `recorder`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        resource: Resource,
        loopback: bool,
        anonymous: frozenset[str] | None = None,
        recorder: Recorder | None = None,
        directory: Directory | None = None,
    ) -> None:
        self.app = app
        self.authenticator = authenticator
        self.resource = resource
        self.open = frozenset((*OPEN, METRICS) if loopback else OPEN) | set(metadata_paths(resource))
        self.nobody = None if anonymous is None else Caller(ANONYMOUS, anonymous)
        self.recorder = recorder
        self.directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with status 400, 401, 403 or 503."""
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close()
            return
        if scope["type"] != "http" or scope["path"] in self.open or scope["path"].startswith(SIGNED):
            await self.app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
        except Refusal as refusal:
            await self._record(scope, refusal)
            await self._refused(scope, refusal)(scope, receive, send)
            return
        if scope["path"] == METRICS and not caller.holds(METRICS_SCOPE):
            lacking = Refusal("scope", f"the scope {METRICS_SCOPE} is needed", INSUFFICIENT_SCOPE, 403)
            await self._refused(scope, lacking, METRICS_SCOPE)(scope, receive, send)
            return
        if self.directory is not None:
            try:
                await self.directory.admit(caller, _request_id(scope), address(scope))
            except LinealError as error:
                await self._away(scope, error)(scope, receive, send)
                return
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        """Raises Refusal: a token is wrong, or there is none where one is needed."""
        headers = Headers(scope=scope)
        query = scope.get("query_string", b"").decode("latin-1")
        caller = await self.authenticator.authenticate(
            headers.getlist("authorization"),
            headers.getlist("dpop"),
            scope["method"],
            self.resource.url(scope["path"]) + (f"?{query}" if query else ""),
        )
        if caller is None:
            caller = self.nobody
        if caller is None:
            raise no_credentials()
        return caller

    async def _record(self, scope: Scope, refusal: Refusal) -> None:
        """Audit a token that failed. Requests that brought none are no failures of one."""
        if self.recorder is not None and refusal.reason not in {"missing", "unavailable"}:
            await self.recorder.failed(reason=refusal.reason, address=address(scope), request=_request_id(scope))

    def _away(self, scope: Scope, error: LinealError) -> Response:
        """Whoever brought a good token could not be let in, because of their name or because the store is away."""
        refusal = Refusal("principal", "the subject of the token cannot be a principal")
        if not isinstance(error, Unauthenticated):
            refusal = Refusal("unavailable", "the store is away or too busy", "", Unavailable.status)
        return self._refused(scope, refusal)

    def _refused(self, scope: Scope, refusal: Refusal, needed: str = "") -> Response:
        code = _CODES[refusal.status]
        if scope["path"] == GRAPHQL:
            content = orjson.dumps(body(refusal.description, code))
            response = Response(content, refusal.status, media_type="application/json")
        else:
            response = problem(refusal.status, refusal.description, code)
        response.headers["cache-control"] = "no-store"
        if refusal.status == Unavailable.status:
            response.headers["retry-after"] = str(_RETRY_SECONDS)
            return response
        for challenge in self.resource.challenges(refusal, needed):
            response.headers.append("www-authenticate", challenge)
        return response


def address(scope: Scope) -> str:
    """Where a request comes from, as far as its connection says."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _request_id(scope: Scope) -> str:
    return str(scope.get("state", {}).get("request_id", ""))


def metadata_paths(resource: Resource) -> Iterable[str]:
    """Where the protected-resource metadata is served."""
    return {METADATA_PATH, resource.metadata_path}


def metadata_routes(resource: Resource) -> list[Route]:
    """The protected-resource metadata (RFC 9728), for anybody."""
    content = orjson.dumps(resource.metadata())

    async def metadata(_request: Request) -> Response:
        return Response(content, media_type="application/json", headers={"access-control-allow-origin": "*"})

    return [Route(path, metadata) for path in sorted(metadata_paths(resource))]
