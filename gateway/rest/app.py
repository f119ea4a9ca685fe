"""REST over HTTP: requests become documents, and what those give becomes answers."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from graphql import GraphQLError, GraphQLSchema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from auth.caller import ADMIN, Caller
from auth.challenges import INSUFFICIENT_SCOPE, INVALID_TOKEN, Refusal, Resource, no_credentials, used
from auth.scopes import OPEN, Requirement
from gateway.problems import STATUSES, Problem
from gateway.rest import exports, parameters
from gateway.rest.beside import BESIDE
from gateway.rest.bodies import body_of, revision_of
from gateway.rest.pages import PAGES
from gateway.rest.plans import INPUT, KEY, REVISION, Plan
from gateway.rest.router import Found, Router
from gateway.rest.routes import CREATED, NOUNS, PATH, routes
from gateway.rest.selecting import Needs, Selection, Selector, selection, unqualified
from lineal.errors import (
    Conflict,
    Forbidden,
    InvalidArgument,
    LimitExceeded,
    LinealError,
    NotFound,
    Unauthenticated,
)

JSON: Final = "application/json"
OPENAPI: Final = "/openapi.json"
DOCS: Final = "/docs"
MAX_BODY: Final = 4 * 2**20
MAX_PARAMETERS: Final = 200

MAY_READ_SCHEMA: Final = '{ __type(name: "Query") { name } }'
"""Whoever may run this may read the OpenAPI document: it says the same as GraphQL's introspection."""


class Outcome(Protocol):
    """What became of a document."""

    data: dict[str, Any] | None
    errors: list[GraphQLError] | None


Run = Callable[[Request, str, dict[str, Any]], Awaitable[Outcome]]
"""Runs a document with these variables for whoever sent the request, as the GraphQL face does."""


class Rest:
    """The ASGI application under PATH.

    `run` runs documents of this `schema`, of which fields need what `needs` says. `resource` is what challenges speak
    of and addresses are made from, `openapi` makes the OpenAPI document, `max_body` bounds a request's body in bytes.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        needs: Needs,
        run: Run,
        *,
        resource: Resource,
        openapi: Callable[[], bytes],
        max_body: int = MAX_BODY,
    ) -> None:
        selector = Selector(schema, needs)
        self.plans = [Plan(route, selector) for route in routes(schema)]
        self._export = exports.ExportPlan(selector)
        self._router = Router(self.plans, [(beside.method, beside.below) for beside in BESIDE if beside.below])
        self._run = run
        self._resource = resource
        self._openapi = openapi
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except LinealError as error:
            response = Problem.of(error).response(request.state.request_id)
        except Problem as problem:
            response = problem.response(request.state.request_id)
        if request.method == "HEAD":
            response.body = b""
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = _path_of(request)
        if path in {OPENAPI, DOCS} or path.startswith(f"{DOCS}/"):
            if request.method not in {"GET", "HEAD"}:
                raise Problem(405, f"{request.method} is not possible here", headers=[("allow", "GET, HEAD")])
            return await self._described(request) if path == OPENAPI else _page(path)
        found = self._router.find(path, request.method)
        request.state.route = f"{PATH}{found.plan.route.path}"
        if found.plan.name == exports.LINEAGE and exports.FORMAT in request.query_params:
            return await self._exported(request)
        _acceptable(request)
        asked = await self._asked(request, found)
        return self._shown(request, asked, await self._data(request, asked))

    async def _data(self, request: Request, asked: Asked) -> dict[str, Any]:
        """What GraphQL answers. Raises Problem."""
        outcome = await self._run(request, asked.document, asked.variables)
        if outcome.errors:
            raise self._problem(request, asked, outcome.errors)
        return outcome.data or {}

    async def _exported(self, request: Request) -> Response:
        query = _query(request)
        _once(exports.FORMAT, query[exports.FORMAT])
        _acceptable(request, exports.media_type(query))
        given = parameters.read(self._export.parameters, exports.named(query))
        document = self._export.document(given, request.state.caller.scopes, None, total=False)
        found = await self._data(request, Asked(self._export, document, given, None))
        return exports.file(found[self._export.route.fields[0]])

    async def _described(self, request: Request) -> Response:
        outcome = await self._run(request, MAY_READ_SCHEMA, {})
        if outcome.errors:
            raise self._refusal(request, outcome.errors[0])
        return _cached(request, Response(self._openapi(), media_type=JSON), hashlib.sha256(self._openapi()).hexdigest())

    # ── What is asked ─────────────────────────────────────────────────────────────────────────────

    async def _asked(self, request: Request, found: Found) -> Asked:
        """Raises Problem, LinealError: what was sent is wrong."""
        plan, caller = found.plan, request.state.caller
        query = _query(request)
        chosen = query.pop(parameters.FIELDS, None) if plan.selects else None
        total = query.pop(parameters.TOTAL, None) if plan.counted else None
        given = plan.bound(found.parts) | parameters.read(plan.parameters, query)
        if plan.route.writes:
            given |= await body_of(request, plan, self._max_body)
            given |= _headers(request, plan)
        fields = None if chosen is None else selection(_once(parameters.FIELDS, chosen))
        scopes = caller.scopes | ({ADMIN} if caller.admin else frozenset())
        names = [INPUT] if plan.route.writes else given
        document = plan.document(names, scopes, fields, total=_true(parameters.TOTAL, total))
        return Asked(plan, document, {INPUT: given} if plan.route.writes else given, fields)

    # ── What is answered ──────────────────────────────────────────────────────────────────────────

    def _shown(self, request: Request, asked: Asked, data: dict[str, Any]) -> Response:
        plan = asked.plan
        value: Any = data
        for name in plan.route.fields:
            value = value[0] if isinstance(value, list) and value else value
            value = value[name] if value else None
        if plan.unwrapped and value is not None:
            value = value[plan.unwrapped]
            if value is None:
                return Response(status_code=204, headers={"cache-control": "no-store"})
        if value is None:
            raise Problem(404, "nothing is there, or nothing that you may see", NotFound.code)
        if plan.paged:
            return self._listed(request, asked, value)
        if plan.shape == "list":
            _named(value, asked.fields)
            return _json({"items": value}, plan.route.status, writes=plan.route.writes)
        id, revision = (value.pop(name, None) for name in ("_id", "_revision"))
        _named(value, asked.fields)
        response = _json(value, plan.route.status, writes=plan.route.writes)
        kind = plan.item
        if plan.made is not None and value[plan.made[0]] is not None:
            id, kind = value[plan.made[0]]["id"], plan.made[1]
        if plan.route.status == CREATED and id is not None:
            response.headers["location"] = self._resource.url(f"{PATH}/{_collection(kind)}/{id}")
        if revision is not None:
            tag = f"{revision}.{hashlib.sha256(response.body).hexdigest()[:16]}"
            return _cached(request, response, tag)
        return response

    def _listed(self, request: Request, asked: Asked, value: dict[str, Any]) -> Response:
        if asked.plan.shape == "edges":
            items = [edge.pop("node") | {"edge": edge} for edge in value["edges"]]
        else:
            items = value["nodes"]
        _named(items, asked.fields)
        page = value["pageInfo"]
        cursor = page["endCursor"] if page["hasNextPage"] else None
        body = {"items": items, "nextCursor": cursor}
        if "totalCount" in value:
            body["total"] = value["totalCount"]
        response = _json(body)
        if cursor is not None:
            query = [(n, v) for n, v in parse_qsl(request.url.query, keep_blank_values=True) if n != "cursor"]
            target = self._resource.url(f"{PATH}{_path_of(request)}?{urlencode([*query, ('cursor', cursor)])}")
            response.headers["link"] = f'<{target}>; rel="next"'
        return response

    # ── What went wrong ───────────────────────────────────────────────────────────────────────────

    def _problem(self, request: Request, asked: Asked, errors: Sequence[GraphQLError]) -> Problem:
        """What is said of these errors: what scopes would open before all else, and of wrong arguments all that is."""
        first = min(errors, key=lambda error: not (error.extensions or {}).get("requiredScopes"))
        code = _code(first)
        if code in {Forbidden.code, Unauthenticated.code}:
            return self._refusal(request, first, asked.plan.needed)
        if (code == InvalidArgument.code or code not in STATUSES) and (wrong := asked.plan.wrong(asked.variables)):
            said = [{"detail": reason, "field": where} for where, reason in wrong]
            where, reason = wrong[0]
            return Problem(400, f"{where}: {reason}", field=where, errors=said)
        details = dict(first.extensions or {})
        details.pop("code", None)
        field = details.pop("field", None)
        shown = None if field is None else asked.plan.shown([field])
        message = first.message
        if field != shown and message.startswith(f"{field}:"):
            message = f"{shown}{message.removeprefix(field)}"
        status = STATUSES.get(code, InvalidArgument.status)
        if code == Conflict.code and "actual" in details and "if-match" in request.headers:
            status = 412
        headers = []
        if "retryAfter" in details:
            status = 429 if code == LimitExceeded.code else status
            headers = [("retry-after", str(details["retryAfter"]))]
        return Problem(
            status, message, code if code in STATUSES else InvalidArgument.code, shown, details, headers=headers
        )

    def _refusal(self, request: Request, error: GraphQLError, needed: Requirement = OPEN) -> Problem:
        """What somebody is told who may not, or not yet, with the challenges of RFC 6750.

        `needed` is what opens the whole route: an error speaks of one field of it.
        """
        caller: Caller = request.state.caller
        code, details = _code(error), dict(error.extensions or {})
        ways = details.get("requiredScopes", [])
        if ways and not needed.opened_by(caller):
            ways = needed.lists()
        if code == Unauthenticated.code:
            refusal = Refusal("inactive", "whoever the token speaks of may not come in any more", INVALID_TOKEN)
        elif not ways:
            return replace(Problem(Forbidden.status, error.message, code), field=details.get("field"))
        elif caller.anonymous:
            refusal = no_credentials()
        else:
            refusal = Refusal("scope", "the token has too few scopes", INSUFFICIENT_SCOPE, Forbidden.status)
        refusal.scheme = used(request.headers.get("authorization"))
        enough = " ".join(min(ways, key=lambda way: len(set(way) - caller.scopes), default=()))
        headers = [("www-authenticate", each) for each in self._resource.challenges(refusal, enough)]
        shown = {"requiredScopes": ways} if ways else {}
        said = Unauthenticated.code if refusal.status == Unauthenticated.status else code
        return Problem(refusal.status, error.message, said, details=shown, headers=headers)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a document: with its variables, and what `fields` said."""

    plan: Plan
    document: str
    variables: dict[str, Any]
    fields: Selection | None


def _path_of(request: Request) -> str:
    """The path below PATH as it was sent, with what is encoded in it."""
    raw: bytes | None = request.scope.get("raw_path")
    path = quote(request.scope["path"]) if raw is None else raw.decode("latin-1").partition("?")[0]
    _, found, below = path.partition(PATH)
    return below if found else ""


def _acceptable(request: Request, given: str = JSON) -> None:
    """Raises Problem 406: what is given is not among what is accepted."""
    accepted = request.headers.get("accept", "*/*")
    for part in accepted.split(","):
        media_type, *options = (word.strip().lower() for word in part.split(";"))
        if media_type in {given, f"{given.partition('/')[0]}/*", "*/*"} and "q=0" not in options:
            return
    raise Problem(406, f"accept: answers are {given}, which is not among {accepted:.200}")


def _query(request: Request) -> dict[str, list[str]]:
    """The parameters of a query. Raises Problem 400: too many, or no UTF-8."""
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            max_num_fields=MAX_PARAMETERS,
            errors="strict",
        )
    except UnicodeDecodeError:
        raise Problem(400, "the query must be UTF-8, percent-encoded") from None
    except ValueError:
        raise Problem(400, f"the query has more than the {MAX_PARAMETERS} parameters allowed") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _once(name: str, values: Sequence[str]) -> str:
    if len(values) > 1:
        raise Problem(400, f"{name}: must be given once", field=name)
    return values[0]


def _true(name: str, values: Sequence[str] | None) -> bool:
    if values is None:
        return False
    value = _once(name, values)
    if value not in {"true", "false"}:
        raise Problem(400, f"{name}: must be true or false", field=name)
    return value == "true"


def _headers(request: Request, plan: Plan) -> dict[str, Any]:
    """What headers put into the input. Raises Problem: one that is not for here (400), or matches nothing (412)."""
    found: dict[str, Any] = {}
    key = request.headers.get("idempotency-key")
    if key is not None:
        if not plan.takes_key:
            raise Problem(400, "Idempotency-Key: this operation keeps no keys", field="Idempotency-Key")
        found[KEY] = key
    match = request.headers.get("if-match")
    if match is not None and match.strip() != "*":
        if not plan.takes_revision:
            raise Problem(400, "If-Match: this operation is of no one revision", field="If-Match")
        found[REVISION] = revision_of(match)
    return found


def _collection(kind: str) -> str:
    return next((c for c, (name, one, _) in NOUNS.items() if name == kind and one), "nodes")


def _named(value: Any, asked: Selection | None) -> None:
    if asked is not None:
        unqualified(value, asked)


def _json(body: Any, status: int = 200, *, writes: bool = False) -> Response:
    response = Response(orjson.dumps(body), status, media_type=JSON)
    response.headers["cache-control"] = "no-store" if writes else "private, no-cache"
    response.headers["vary"] = "authorization"
    return response


def _cached(request: Request, response: Response, tag: str) -> Response:
    """The answer with its entity tag, or that it is what the client has already (RFC 9110, section 13.1.2)."""
    response.headers["etag"] = f'"{tag}"'
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if request.method in {"GET", "HEAD"} and (f'"{tag}"' in known or known == ["*"]):
        kept = {name: response.headers[name] for name in ("etag", "cache-control", "vary") if name in response.headers}
        return Response(status_code=304, headers=kept)
    return response


def _page(path: str) -> Response:
    page = PAGES.get(path)
    if page is None:
        raise Problem(404, "there is no such page", NotFound.code)
    return page()


def _code(error: GraphQLError) -> str:
    return str((error.extensions or {}).get("code"))


def create_rest_app(
    schema: GraphQLSchema,
    needs: Needs,
    run: Run,
    *,
    resource: Resource,
    openapi: Callable[[], bytes],
    max_body: int = MAX_BODY,
) -> Mount:
    """REST under PATH; see Rest."""
    return Mount(PATH, app=Rest(schema, needs, run, resource=resource, openapi=openapi, max_body=max_body))
