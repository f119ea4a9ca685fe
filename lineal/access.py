"""Who gets in: everything but health, metadata and signed addresses needs a caller.

The client's address is that of the connection. Where a proxy stands in front that the settings trust, uvicorn takes it
from `X-Forwarded-For`; nothing here reads such headers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from auth.authenticator import Authenticator
from auth.caller import ANONYMOUS, Caller
from auth.challenges import INSUFFICIENT_SCOPE, METADATA_PATH, Refusal, Resource, no_credentials, used
from auth.directory import Directory
from auth.recorder import Recorder
from gateway import inbound, scim
from gateway.mlflow import errors as mlflow_errors
from gateway.mlflow.face import is_health, is_mlflow
from gateway.openlineage.published import PATHS
from gateway.rest import pages as rest
from gateway.scim_errors import ScimError
from gateway.ui import pages as ui
from lineal.errors import Forbidden, InvalidArgument, LinealError, Unauthenticated, Unavailable
from lineal.http import SIGNED, problem
from schema.failures import body

OPEN: Final = ("/healthz", "/readyz")
METRICS: Final = "/metrics"
METRICS_SCOPE: Final = "monitor:read"
GRAPHQL_PATH: Final = "/graphql"
GRAPHQL: Final = "graphql"
SCIM: Final = "scim"
MLFLOW: Final = "mlflow"

_REFUSALS: Final = (InvalidArgument, Unauthenticated, Forbidden, Unavailable)
_CODES: Final = {error.status: error.code for error in _REFUSALS}
_MLFLOW_CODES: Final = {error.status: error.mlflow_code for error in _REFUSALS}
_RETRY_SECONDS: Final = 5


class Access:
    """Puts the caller into the request's state, or answers that there is none that may ask.

    `anonymous` are the scopes of those without a token; None where everybody needs one. `loopback` says that only
    this machine can ask, so that its metrics are open. `pages` are other paths that are open. What fails is told to
    the `recorder`.
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
        pages: Collection[str] = (),
    ) -> None:
        self.app = app
        self.authenticator = authenticator
        self.resource = resource
        healthy = (*OPEN, METRICS) if loopback else OPEN
        described = {*PATHS, *inbound.PATHS, *rest.PATHS, *ui.PATHS, *pages}
        self.open = frozenset(healthy) | set(metadata_paths(resource)) | described
        self.nobody = None if anonymous is None else Caller(ANONYMOUS, anonymous)
        self.recorder = recorder
        self.directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with status 400, 401, 403 or 503."""
        if scope["type"] == "websocket":
            if scope["path"] == GRAPHQL_PATH:
                # Who it is may only be said in the first message.
                scope.setdefault("state", {})["admit"] = partial(self._admit, scope)
                await self.app(scope, receive, send)
            else:
                await WebSocket(scope, receive, send).close()
            return
        if scope["type"] != "http" or self._is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            caller = await self._caller(scope, headers.getlist("authorization"), headers.getlist("dpop"))
        except Refusal as refusal:
            await self._record(scope, refusal)
            await self._refused(scope, refusal)(scope, receive, send)
            return
        if self.directory is not None:
            try:
                await self.directory.admit(caller, _request_id(scope), address(scope))
                # These look in the snapshot that they read anyway.
                if _face(scope) not in {GRAPHQL, MLFLOW}:
                    await self.directory.check(caller)
            except LinealError as error:
                away = await self._away(scope, caller, error)
                await self._refused(scope, away)(scope, receive, send)
                return
        if scope["path"] == METRICS:
            try:
                lacking = await self._metrics(scope, caller)
            except LinealError as error:
                lacking = await self._away(scope, caller, error)
            if lacking is not None:
                await self._refused(scope, lacking, METRICS_SCOPE)(scope, receive, send)
                return
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        """Whether a path is answered without looking at who asks."""
        return path in self.open or path.startswith(SIGNED) or is_health(path)

    async def _admit(self, scope: Scope, authorization: str | None, proof: str | None) -> Caller:
        """Who opened a WebSocket, by what the headers of these names would say. Raises Refusal."""
        try:
            caller = await self._caller(scope, [authorization] if authorization else (), [proof] if proof else ())
        except Refusal as refusal:
            await self._record(scope, refusal)
            raise
        if self.directory is not None:
            try:
                await self.directory.admit(caller, _request_id(scope), address(scope))
                await self.directory.check(caller)
            except LinealError as error:
                raise await self._away(scope, caller, error) from None
        return caller

    async def _caller(self, scope: Scope, authorization: Sequence[str], proofs: Sequence[str]) -> Caller:
        """Raises Refusal: a token is wrong, or there is none where one is needed."""
        query = scope.get("query_string", b"").decode("latin-1")
        caller = await self.authenticator.authenticate(
            authorization,
            proofs,
            scope.get("method", "GET"),
            self.resource.url(_sent(scope)) + (f"?{query}" if query else ""),
        )
        if caller is None:
            caller = self.nobody
        if caller is None:
            raise no_credentials()
        return caller

    async def _record(self, scope: Scope, refusal: Refusal) -> None:
        """Audit that nobody got in, but for an issuer that is away."""
        if self.recorder is not None and refusal.status != Unavailable.status:
            await self.recorder.failed(reason=refusal.reason, address=address(scope), request=_request_id(scope))

    async def _metrics(self, scope: Scope, caller: Caller) -> Refusal | None:
        """Why the metrics are not for this caller; None where they are.

        Raises Unavailable: they are read by an admin, and that cannot be audited.
        """
        if not caller.holds(METRICS_SCOPE):
            lacking = Refusal("scope", f"the scope {METRICS_SCOPE} is needed", INSUFFICIENT_SCOPE, Forbidden.status)
            await self._record_of(scope, caller, Forbidden.code, lacking.description, [[METRICS_SCOPE]])
            return lacking
        if caller.admin and self.recorder is not None:
            await self.recorder.read(
                caller, action="adminRead", data={"face": "metrics"}, address=address(scope), request=_request_id(scope)
            )
        return None

    async def _record_of(
        self, scope: Scope, caller: Caller, code: str, message: str, scopes: Sequence[Sequence[str]] = ()
    ) -> None:
        """Audit that somebody who is known was refused."""
        if self.recorder is not None:
            await self.recorder.refused(
                caller,
                action=_face(scope),
                code=code,
                message=message,
                scopes=scopes,
                address=address(scope),
                request=_request_id(scope),
            )

    async def _away(self, scope: Scope, caller: Caller, error: LinealError) -> Refusal:
        """Whoever brought a good token is not let in: because of who they are, or because the store is away."""
        if not isinstance(error, Unauthenticated):
            return Refusal("unavailable", "the store is away or too busy", "", Unavailable.status)
        await self._record_of(scope, caller, Unauthenticated.code, error.message)
        return Refusal("principal", "whoever the token speaks of may not come in")

    def _refused(self, scope: Scope, refusal: Refusal, needed: str = "") -> Response:
        code = _CODES[refusal.status]
        refusal.scheme = used(Headers(scope=scope).get("authorization"))
        if _face(scope) == GRAPHQL:
            content = orjson.dumps(body(refusal.description, code))
            response = Response(content, refusal.status, media_type="application/json")
        elif _face(scope) == MLFLOW:
            response = mlflow_errors.refused(_MLFLOW_CODES[refusal.status], refusal.description)
        elif _face(scope) == SCIM:
            said = ScimError(refusal.status, refusal.description).body()
            response = Response(orjson.dumps(said), refusal.status, media_type=scim.MEDIA_TYPE)
        else:
            response = problem(refusal.status, refusal.description, code)
        response.headers["cache-control"] = "no-store"
        if refusal.status == Unavailable.status:
            response.headers["retry-after"] = str(_RETRY_SECONDS)
            return response
        for challenge in self.resource.challenges(refusal, needed):
            response.headers.append("www-authenticate", challenge)
        return response


def _sent(scope: Scope) -> str:
    """The path as it was sent, with what is encoded in it."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("latin-1")


def _face(scope: Scope) -> str:
    """Which part of the application is asked for: one of a few words, for the audit."""
    path: str = scope["path"]
    if path == GRAPHQL_PATH:
        return GRAPHQL
    if path == METRICS:
        return "metrics"
    return SCIM if path.startswith(f"{scim.PATH}/") else MLFLOW if is_mlflow(path) else "http"


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
