"""GraphQL over HTTP: strict about what comes in, JSON whatever goes out.

See https://graphql.github.io/graphql-over-http/draft/. There is no page for people here, no batching
and no uploads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, TypeAlias

import orjson
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.http.parse_content_type import parse_content_type
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from auth.challenges import INSUFFICIENT_SCOPE, INVALID_TOKEN, Refusal, Resource, no_credentials, used
from graph.port import Graph
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, Unauthenticated, Unavailable
from resolvers.operation import Operation
from schema import parts, sse
from schema.budget import Budget
from schema.context import Context
from schema.documents import Documents
from schema.executing import LinealSchema, OnOperation, bookmark_of, extend, run
from schema.limits import Limits
from schema.sdl import build_schema
from schema.sockets import PROTOCOL, Sockets
from schema.streaming import Asked, Streams, Who, payload, ran
from schema.transport import (
    GRAPHQL_TYPE,
    JSON_TYPE,
    bounded,
    check_site,
    compressed,
    media_type,
    refusal,
    tagged,
)

LIVE = f"a subscription is answered by WebSocket ({PROTOCOL}), or with Accept: {sse.MEDIA_TYPE}"

NewOperation: TypeAlias = Callable[[Request], Operation]


@dataclass
class _Asked(GraphQLRequestData):
    """What is asked, and whether the document is a trusted one."""

    trusted: bool = False


class View(GraphQL[Context, None]):
    """The ASGI application of one schema. Each request gets an operation of its own."""

    def __init__(
        self,
        schema: LinealSchema,
        new_operation: NewOperation,
        *,
        on_operation: OnOperation | None = None,
        key: bytes | None = None,
        resource: Resource | None = None,
        origins: Collection[str] = (),
        budget: Budget | None = None,
        documents: Documents | None = None,
        streams: Streams | None = None,
        sockets: Sockets | None = None,
    ) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=(), multipart_uploads_enabled=False)
        self._streams = streams
        self._sockets = sockets
        self._schema = schema
        self._limits = schema.limits
        self._new_operation = new_operation
        self._on_operation = on_operation
        self._key = key
        self._resource = resource
        self._origins = frozenset(origins)
        self._budget = budget
        self._documents = documents or Documents()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one WebSocket; without `sockets` those are refused before their handshake."""
        if scope["type"] == "websocket":
            if self._sockets is None:
                await WebSocket(scope, receive=receive, send=send).close()
            else:
                await self._sockets(scope, receive, send)
            return
        request = Request(scope, bounded(receive, self._limits.body, self._limits.seconds))
        try:
            if request.method == "GET":
                check_site(request.headers, self._origins)
            request.state.parts = parts.Parts(send) if parts.are_wanted(request.headers.get("accept", "")) else None
            response = await (self._stream(request) if self._is_stream(request) else self.run(request))
            if request.state.parts and request.state.parts.begun:
                await request.state.parts.end()
                return
        except HTTPException as error:
            response = refusal(error, media_type(request.headers.get("accept")))
        await compressed(response, request.headers.get("accept-encoding"))(scope, receive, send)

    def _is_stream(self, request: Request) -> bool:
        return self._streams is not None and sse.is_wanted(request.headers.get("accept", ""))

    async def _stream(self, request: Request) -> Response:
        """The answer as server-sent events. Raises HTTPException: there is nothing to run."""
        assert self._streams is not None
        adapter = self.request_adapter_class(request)
        if not self.is_request_allowed(adapter):
            raise HTTPException(405, "GraphQL only supports GET and POST requests.")
        try:
            data = await self.parse_http_body(adapter)
        except JSONDecodeError as error:
            raise HTTPException(400, "Unable to parse request body as JSON") from error
        op = self._new_operation(request)
        who = Who(op.caller, op.request, op.address, op.after)
        asked = Asked(data.query, data.variables, data.operation_name, data.extensions)
        allowed = tuple(OperationType.from_http(adapter.method) - {OperationType.SUBSCRIPTION})
        return sse.EventStream(self._streams, asked, who, allowed, getattr(request.state, "opened", lambda: None))

    def should_render_graphql_ide(self, request: Any) -> bool:
        """Never: a browser that asks without a query gets an error like everyone else."""
        return False

    def decode_json(self, data: str | bytes) -> object:
        """JSON as orjson reads it, which bounds its depth. Raises JSONDecodeError."""
        return orjson.loads(data)

    def encode_json(self, data: object) -> bytes:
        """JSON as orjson writes it."""
        return orjson.dumps(data)

    async def get_context(self, request: Request | WebSocket, response: Any) -> Context:
        """A context with an operation that has read nothing yet."""
        assert isinstance(request, Request)
        context = Context(self._new_operation(request), self._limits, key=self._key, budget=self._budget)
        context.parts = request.state.parts
        return context

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        """What collects the answer's status and type."""
        response = await super().get_sub_response(request)
        response.headers["content-type"] = media_type(request.headers.get("accept"))
        return response

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        """What is asked. Raises HTTPException: not JSON (415, 400), not one object with what GraphQL needs (400)."""
        if request.method == "GET":
            data: Any = self.parse_query_params(request.query_params)
        elif parse_content_type(request.content_type or "")[0] == JSON_TYPE:
            data = self.parse_json(await request.get_body())
        else:
            raise HTTPException(415, f"content-type: must be {JSON_TYPE}, not {request.content_type or 'absent'}")
        if not isinstance(data, dict):
            raise HTTPException(400, "the body must be one JSON object; batches are not taken")
        for name, kind in (("query", str), ("operationName", str), ("variables", dict), ("extensions", dict)):
            if not isinstance(data.get(name), (kind, type(None))):
                raise HTTPException(400, f"{name}: must be {'text' if kind is str else 'an object'} or left out")
        text, trusted = self._documents.text(data)
        return _Asked(text, data.get("variables"), data.get("operationName"), data.get("extensions"), trusted=trusted)

    async def execute_single(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        sub_response: Response,
        context: Context,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        """Run the document and release the snapshot. Raises HTTPException where there is no operation to run."""
        allowed = OperationType.from_http(request_adapter.method) - {OperationType.SUBSCRIPTION}
        try:
            context.op.after = bookmark_of(request_data.extensions) or context.op.after
            result = await run(
                self._schema,
                context,
                request_data.query,
                request_data.variables,
                operation_name=request_data.operation_name,
                on_operation=self._on_operation,
                allowed_operation_types=allowed,
            )
        except InvalidArgument as error:
            raise HTTPException(400, error.message) from None
        except MissingQueryError:
            raise HTTPException(400, "query: must be a GraphQL document, and is missing") from None
        except CannotGetOperationTypeError as error:
            raise HTTPException(400, error.as_http_error_reason()) from None
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.SUBSCRIPTION:
                raise HTTPException(400, LIVE) from None
            raise HTTPException(405, error.as_http_error_reason(request_adapter.method)) from None
        if context.refusal is None and not ran(result):
            result = PreExecutionError(None, result.errors, result.extensions)
        self._head(request, request_data, sub_response, result, context)
        await extend(result, context, request_data.extensions)
        return result

    async def process_result(self, request: Request, result: Any) -> Any:
        """What is answered; a request error has no `data` in the newer media type, as its specification asks."""
        newer = media_type(request.headers.get("accept")) == GRAPHQL_TYPE
        return payload(result) if newer else await super().process_result(request, result)

    def _head(
        self,
        request: Request,
        request_data: GraphQLRequestData,
        sub_response: Response,
        result: ExecutionResult,
        context: Context,
    ) -> None:
        """Say by the answer's status and headers what the result is."""
        if wait := _wait(result, Unavailable.code):
            sub_response.headers["retry-after"] = str(wait)
        if refused := _refused(result, context):
            sub_response.status_code = refused.status
            refused.scheme = used(request.headers.get("authorization"))
            scope = _enough(context) if refused.code != INVALID_TOKEN else ""
            for challenge in self._challenges(refused, scope):
                sub_response.headers.append("www-authenticate", challenge)
        elif wait := _wait(result, LimitExceeded.code):
            sub_response.status_code = 429
            sub_response.headers["retry-after"] = str(wait)
        elif isinstance(result, PreExecutionError) and sub_response.headers.get("content-type") == GRAPHQL_TYPE:
            sub_response.status_code = Unavailable.status if _says(result, Unavailable.code) else 400
        elif getattr(request_data, "trusted", False) and request.method == "GET" and not result.errors:
            sub_response.headers["etag"] = request.headers.get("if-none-match", "")

    def _challenges(self, refusal: Refusal, scope: str) -> list[str]:
        if self._resource is not None:
            return self._resource.challenges(refusal, scope)
        said = {"error": refusal.code, "scope": scope}
        parts = ", ".join(f'{name}="{value}"' for name, value in said.items() if value)
        return [f"Bearer {parts}".rstrip()]

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        """The answer, with its status and headers."""
        media_type = sub_response.headers.get("content-type", JSON_TYPE)
        status = sub_response.status_code or 200
        response = Response(self.encode_json(response_data), status, media_type=f"{media_type}; charset=utf-8")
        for name in ("www-authenticate", "retry-after"):
            for value in sub_response.headers.getlist(name):
                response.headers.append(name, value)
        if "etag" in sub_response.headers and isinstance(response_data, dict):
            return tagged(response, response_data.get("data"), sub_response.headers["etag"])
        return response


def _says(result: ExecutionResult, code: str) -> bool:
    return any((error.extensions or {}).get("code") == code for error in result.errors or ())


def _wait(result: ExecutionResult, code: str) -> int:
    """Seconds that the caller has to wait for an error of this code, whose budget is spent say; 0 otherwise."""
    told = [each.extensions or {} for each in result.errors or ()]
    return next((int(each["retryAfter"]) for each in told if each.get("code") == code and "retryAfter" in each), 0)


def _refused(result: ExecutionResult, context: Context) -> Refusal | None:
    """Why the whole operation is refused, as RFC 6750 has it; None where it was answered."""
    if _says(result, Unauthenticated.code):
        return Refusal("inactive", "whoever the token speaks of may not come in any more", INVALID_TOKEN)
    if context.verdict.refusal is None:
        return None
    if context.caller.anonymous:
        return no_credentials()
    return Refusal("scope", "the token has too few scopes", INSUFFICIENT_SCOPE, Forbidden.status)


def _enough(context: Context) -> str:
    """The scopes that would open the operation; of several ways that with the fewest that the caller lacks."""
    refusal = context.verdict.refusal
    cause = refusal.original_error if refusal else None
    ways = cause.details["requiredScopes"] if isinstance(cause, Forbidden) else []
    return " ".join(min(ways, key=lambda way: len(set(way) - context.caller.scopes), default=()))


def create_graphql_app(
    graph: Graph,
    *,
    limits: Limits = Limits(),
    on_operation: OnOperation | None = None,
    new_operation: NewOperation | None = None,
    key: bytes | None = None,
    open_schema: bool = False,
    resource: Resource | None = None,
    origins: Collection[str] = (),
    budget: Budget | None = None,
    documents: Documents | None = None,
    streams: Streams | None = None,
    sockets: Sockets | None = None,
) -> View:
    """GraphQL over HTTP on a graph.

    `on_operation` is told of every operation that ended. `new_operation` says who asks and what they may
    see; without one it is the principal "local", who sees everything, with the request id that is found
    in the ASGI scope's `state.request_id`. `key` is the secret that handles of hidden nodes are made with.
    `open_schema` lets anybody read the schema by introspection. `resource` is what challenges speak of. `origins` are
    the other sites whose pages may ask by GET without a preflight. `budget` is what clients may ask for in a minute,
    `documents` are those that are known by name. `streams` and `sockets` serve what stays open.
    """

    def local(request: Request) -> Operation:
        id = request.scope.get("state", {}).get("request_id", "")
        return Operation(graph, request=str(id))

    schema = build_schema(limits, open_schema=open_schema)
    return View(
        schema,
        new_operation or local,
        on_operation=on_operation,
        key=key,
        resource=resource,
        origins=origins,
        budget=budget,
        documents=documents,
        streams=streams,
        sockets=sockets,
    )
