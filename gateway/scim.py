"""SCIM 2.0 over HTTP (RFC 7644): a directory provisions principals and teams.

Whoever calls needs the scope `directory:write`, and with it reads what it writes. Each request is one
operation of its own, and each change one write with its entry in the audit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from auth.challenges import INSUFFICIENT_SCOPE, Refusal, Resource, no_credentials, used
from gateway.scim_errors import ScimError
from gateway.scim_patch import PATCH_OP, carry_out, change_members, member_ids, operations
from gateway.scim_resources import document, etag, group, group_json, person, said, user_json, where_of
from gateway.scim_schemas import MAX_RESULTS, resource_types, schemas, service_provider_config
from graph.ontology import PRINCIPAL, TEAM
from graph.port import Node
from lineal.errors import Forbidden, LinealError, Unauthenticated
from resolvers import provisioning
from resolvers.nesting import nests_deeper
from resolvers.operation import Operation
from resolvers.provisioning import Check, Members

PATH: Final = "/scim/v2"
MEDIA_TYPE: Final = "application/scim+json"
LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SCOPE: Final = "directory:write"
DEFAULT_COUNT: Final = 100
MAX_BODY: Final = 1_048_576
MAX_LEVELS: Final = 32
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

NewOperation = Callable[[Request], Operation]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its operation, the address that resources have here, and the issuer that names people."""

    request: Request
    op: Operation
    base: str
    issuer: str
    body: dict[str, Any]

    @property
    def id(self) -> str:
        """The id in the path."""
        return str(self.request.path_params["id"])

    def matching(self, node: Node) -> None:
        """Raises ScimError 412: the node is not in the version that If-Match asks for (RFC 9110, section 13.1.1)."""
        wanted = self.request.headers.get("if-match")
        if wanted is not None and wanted.strip() != "*" and not _among(etag(node), wanted):
            raise ScimError(412, f"the resource is in version {etag(node)}; read it again")


Handler = Callable[[Asked], Awaitable[Response]]


def create_scim_app(
    new_operation: NewOperation, *, resource: Resource, issuer: str = "local", max_body: int = MAX_BODY
) -> Mount:
    """SCIM 2.0 under PATH.

    `new_operation` says who asks. `resource` is what challenges speak of and addresses are made from. `issuer` is
    the short name of the issuer whose tokens the provisioned people will come with. `max_body` bounds a request,
    in bytes.
    """
    base = resource.url(PATH)

    def route(at: str, **handlers: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            request.state.route = f"{PATH}{at}"
            try:
                return await _answer(Asked(request, new_operation(request), base, issuer, {}), handlers, max_body)
            except ScimError as error:
                return _json(error.body(), error.status, **error.headers)
            except Refusal as refusal:
                refusal.scheme = used(request.headers.get("authorization"))
                response = _json(ScimError(refusal.status, refusal.description).body(), refusal.status)
                for challenge in resource.challenges(refusal, SCOPE if refusal.reason != "principal" else ""):
                    response.headers.append("www-authenticate", challenge)
                return response

        return Route(at, endpoint, methods=list(METHODS))

    return Mount(
        PATH,
        routes=[
            route("/Users", GET=_list_users, POST=_create_user),
            route("/Users/{id}", GET=_get_user, PUT=_put_user, PATCH=_patch_user, DELETE=_delete_user),
            route("/Groups", GET=_list_groups, POST=_create_group),
            route("/Groups/{id}", GET=_get_group, PUT=_put_group, PATCH=_patch_group, DELETE=_delete_group),
            route("/ServiceProviderConfig", GET=_config),
            route("/ResourceTypes", GET=_resource_types),
            route("/ResourceTypes/{id}", GET=_resource_types),
            route("/Schemas", GET=_schemas),
            route("/Schemas/{id}", GET=_schemas),
            route("/{rest:path}"),
        ],
    )


async def _answer(asked: Asked, handlers: Mapping[str, Handler], max_body: int) -> Response:
    """Answer one request. Raises ScimError, Refusal."""
    request, op = asked.request, asked.op
    async with op:
        try:
            allowed = op.caller.holds(SCOPE)
            # Whoever writes the directory reads it back, and sees no more of the graph by that.
            op.caller = replace(op.caller, scopes=op.caller.scopes | {"workspace:read"})
            await op.snapshot()
            if not allowed:
                raise await _lacking(op)
            if not handlers:
                raise ScimError(404, "there is no such endpoint")
            handler = handlers.get(request.method)
            if handler is None:
                raise ScimError(405, f"{request.method} is not possible here", allow=", ".join(handlers))
            body = await _body(request, max_body) if request.method in {"POST", "PUT", "PATCH"} else {}
            if request.method == "GET":
                await _record_read(op, request)
            return await handler(replace(asked, body=body))
        except Unauthenticated as error:
            await _record_refusal(op, error)
            raise Refusal("principal", "whoever the token speaks of may not come in") from None
        except LinealError as error:
            if error.status >= 500 and error.status != 503:
                raise
            raise ScimError.of(error) from error


async def _lacking(op: Operation) -> Refusal:
    """What somebody without the scope is told (403, RFC 6750 section 3.1), or nobody (401); it is audited."""
    lacking = Forbidden(f"the scope {SCOPE} is needed")
    await _record_refusal(op, lacking, [[SCOPE]])
    if op.caller.anonymous:
        return no_credentials()
    return Refusal("scope", lacking.message, INSUFFICIENT_SCOPE, Forbidden.status)


async def _record_refusal(op: Operation, error: LinealError, scopes: Sequence[Sequence[str]] = ()) -> None:
    if op.recorder is not None:
        await op.recorder.refused(
            op.caller,
            action="scim",
            code=error.code,
            message=error.message,
            scopes=scopes,
            address=op.address,
            request=op.request,
        )


async def _record_read(op: Operation, request: Request) -> None:
    """Audit what an admin reads, before it is given out. Raises Unavailable."""
    if op.recorder is not None and op.caller.admin and not op.caller.trusted:
        asked = {
            name: value for name, value in request.query_params.items() if name in {"filter", "startIndex", "count"}
        }
        data = {"face": "scim", "path": request.url.path, **asked}
        await op.recorder.read(op.caller, action="adminRead", data=data, address=op.address, request=op.request)


async def _body(request: Request, limit: int) -> dict[str, Any]:
    """The JSON object that was sent. Raises ScimError: too large (413), another type (415), no JSON (400)."""
    media_type = request.headers.get("content-type", MEDIA_TYPE).partition(";")[0].strip().lower()
    if media_type not in {MEDIA_TYPE, "application/json"}:
        raise ScimError(415, f"content-type: must be {MEDIA_TYPE} or application/json")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise ScimError(413, f"the body is larger than the {limit} bytes allowed")
    try:
        body = orjson.loads(bytes(content))
    except orjson.JSONDecodeError as error:
        raise ScimError(400, f"the body is not JSON: {error}", "invalidSyntax") from None
    if not isinstance(body, dict):
        raise ScimError(400, "the body must be one JSON object", "invalidSyntax")
    if nests_deeper(body, MAX_LEVELS):
        raise ScimError(400, f"the body is nested more than {MAX_LEVELS} levels deep", "invalidSyntax")
    return body


# ── Users ─────────────────────────────────────────────────────────────────────────────────────────


async def _list_users(asked: Asked) -> Response:
    return await _list(asked, PRINCIPAL.name)


async def _create_user(asked: Asked) -> Response:
    node = await provisioning.create_person(asked.op, asked.issuer, person(document(asked.body)))
    return await _one(asked, node, 201)


async def _get_user(asked: Asked) -> Response:
    return await _get(asked, PRINCIPAL.name)


async def _put_user(asked: Asked) -> Response:
    given = person(document(asked.body))

    def put(node: Node) -> provisioning.Person:
        asked.matching(node)
        return given

    return await _one(asked, await provisioning.change_person(asked.op, asked.issuer, asked.id, put))


async def _patch_user(asked: Asked) -> Response:
    wanted = _operations(asked)

    def patch(node: Node) -> provisioning.Person:
        asked.matching(node)
        resource = _copy(said(node))
        carry_out(resource, wanted)
        return person(document(resource))

    return await _one(asked, await provisioning.change_person(asked.op, asked.issuer, asked.id, patch))


async def _delete_user(asked: Asked) -> Response:
    await provisioning.retire_person(asked.op, asked.id, asked.matching)
    return Response(status_code=204)


# ── Groups ────────────────────────────────────────────────────────────────────────────────────────


async def _list_groups(asked: Asked) -> Response:
    return await _list(asked, TEAM.name)


async def _create_group(asked: Asked) -> Response:
    given = document(asked.body)
    members = Members(added=member_ids(given.get("members")))
    return await _one(asked, await provisioning.create_group(asked.op, group(given), members), 201)


async def _get_group(asked: Asked) -> Response:
    return await _get(asked, TEAM.name)


async def _put_group(asked: Asked) -> Response:
    given = document(asked.body)
    wanted = group(given)

    def put(node: Node) -> provisioning.Group:
        asked.matching(node)
        return wanted

    members = Members(exactly=member_ids(given.get("members")))
    return await _one(asked, await provisioning.change_group(asked.op, asked.id, put, members))


async def _patch_group(asked: Asked) -> Response:
    """Answers without a body, for a group can be large (RFC 7644, section 3.5.2)."""
    members, others = Members(), []
    for op, path, value in _operations(asked):
        if path.name.lower() == "members" and not path.schema:
            change_members(members, op, path, value)
        else:
            others.append((op, path, value))

    def patch(node: Node) -> provisioning.Group:
        asked.matching(node)
        resource = _copy(said(node))
        carry_out(resource, others)
        return group(document(resource))

    node = await provisioning.change_group(asked.op, asked.id, patch, members)
    return Response(status_code=204, headers={"etag": etag(node)})


async def _delete_group(asked: Asked) -> Response:
    check: Check = asked.matching
    await provisioning.delete_group(asked.op, asked.id, check)
    return Response(status_code=204)


# ── What the service provider tells of itself ─────────────────────────────────────────────────────


async def _config(asked: Asked) -> Response:
    return _json(service_provider_config(asked.base))


async def _resource_types(asked: Asked) -> Response:
    return _described(asked, resource_types(asked.base))


async def _schemas(asked: Asked) -> Response:
    return _described(asked, schemas(asked.base))


def _described(asked: Asked, all_: Sequence[dict[str, Any]]) -> Response:
    if "id" not in asked.request.path_params:
        return _listed(all_, len(all_))
    found = next((item for item in all_ if item["id"].lower() == asked.id.lower()), None)
    if found is None:
        raise ScimError(404, f"there is no {asked.id!r:.80} here")
    return _json(found)


# ── Answers ───────────────────────────────────────────────────────────────────────────────────────


async def _get(asked: Asked, kind: str) -> Response:
    node = await provisioning.get(asked.op, kind, asked.id)
    if _among(etag(node), asked.request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers={"etag": etag(node)})
    return await _one(asked, node)


async def _list(asked: Asked, kind: str) -> Response:
    query = asked.request.query_params
    start = max(1, _number(query.get("startIndex"), "startIndex", 1))
    count = min(MAX_RESULTS, max(0, _number(query.get("count"), "count", DEFAULT_COUNT)))
    where = where_of(query.get("filter"), kind)
    nodes, total = await provisioning.page(asked.op, kind, where, start=start, count=count)
    return _listed(await _shown(asked, nodes), total, start)


async def _one(asked: Asked, node: Node, status: int = 200) -> Response:
    (shown,) = await _shown(asked, [node])
    location = {"location": shown["meta"]["location"]} if status == 201 else {}
    return _json(shown, status, **location, etag=etag(node))


async def _shown(asked: Asked, nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Resources as they are asked for: all attributes, only some, or all but some (RFC 7644, section 3.9)."""
    only, without = (_names(asked.request.query_params.get(n)) for n in ("attributes", "excludedAttributes"))
    people = bool(nodes) and nodes[0].kind == PRINCIPAL.name
    links = "groups" if people else "members"
    wanted = links not in without and (not only or links in only)
    hop = provisioning.TEAMS if people else provisioning.MEMBERS
    near = await provisioning.neighbours(asked.op, [n.id for n in nodes], hop) if wanted else {}
    make = user_json if people else group_json
    return [_chosen(make(n, near.get(n.id, []), asked.base), only, without) for n in nodes]


def _chosen(resource: dict[str, Any], only: frozenset[str], without: frozenset[str]) -> dict[str, Any]:
    always = {"schemas", "id"}
    return {
        name: value
        for name, value in resource.items()
        if name in always or (name.lower() in only if only else name.lower() not in without)
    }


def _names(text: str | None) -> frozenset[str]:
    """The attributes of a list, each by its first part, in small letters."""
    return frozenset(name.strip().lower().partition(".")[0] for name in (text or "").split(",") if name.strip())


def _listed(resources: Sequence[dict[str, Any]], total: int, start: int = 1) -> Response:
    return _json(
        {
            "schemas": [LIST],
            "totalResults": total,
            "startIndex": start,
            "itemsPerPage": len(resources),
            "Resources": list(resources),
        }
    )


def _operations(asked: Asked) -> list[Any]:
    if PATCH_OP.lower() not in [str(s).lower() for s in document(asked.body).get("schemas", [PATCH_OP])]:
        raise ScimError(400, f"schemas: must name {PATCH_OP}", "invalidSyntax")
    return operations(asked.body)


def _number(text: str | None, name: str, default: int) -> int:
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise ScimError(400, f"{name}: must be a whole number", "invalidValue")
    return int(text)


def _among(tag: str, header: str) -> bool:
    """Whether an entity tag is in a header's list, weakly compared (RFC 9110, section 8.8.3.2)."""
    return tag.removeprefix("W/") in {part.strip().removeprefix("W/") for part in header.split(",")}


def _copy(value: Any) -> Any:
    """A value of its own: a write may be tried again, from the beginning."""
    return orjson.loads(orjson.dumps(value))


def _json(body: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type=MEDIA_TYPE)
