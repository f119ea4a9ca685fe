"""The OpenAPI 3.1 document, derived from the routes and the GraphQL schema.

See https://spec.openapis.org/oas/v3.1.1.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from graphql import GraphQLSchema, get_named_type

from auth.scopes import SCOPES, Requirement
from gateway.problems import MEDIA_TYPE, STATUSES
from gateway.rest import exports
from gateway.rest.addresses import kind_at, names_things
from gateway.rest.beside import BESIDE, SCHEMAS, Beside
from gateway.rest.bodies import TAG
from gateway.rest.examples import BODIES, PARTS
from gateway.rest.json_schemas import REF, Json, Schemas
from gateway.rest.parameters import FIELDS, ORDER, TOTAL, WHERE, Parameter, order_names
from gateway.rest.plans import Plan
from gateway.rest.routes import CREATED, GET, PATCH, PATH, Route, routes
from gateway.rest.selecting import MAX_FIELDS, Needs, Selector
from resolvers.writing.command import MAX_KEY

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
SCHEME: Final = "bearer"

ABOUT: Final = """\
Lineal's registry in plain REST. Each operation does what the GraphQL field of its `x-graphql` does, with the same
access, errors and audit; those without one are the feed of events, and what takes OpenLineage's events in.

- **Addresses.** What a path names is an id, an address such as `models:/vision:resnet` (percent-encoded as one
  part of the path), or what follows the scheme in it: `/models/vision:resnet`, `/models/BAAI%2Fbge-m3/versions/1`.
- **Answers** have the plain fields of a thing, and of single neighbours the id and address.
  `fields=name,versions.nodes.number` asks for others. What your scopes do not open is left out, and refused when it is
  asked for by name.
- **Lists** come in parts: `limit`, `cursor`, `order`; `nextCursor` in the answer and `Link: rel="next"` lead on.
- **Concurrency.** `ETag` begins with a thing's revision; `If-Match` lets a write happen only in that revision (412),
  `If-None-Match` saves an answer that you have (304).
- **Idempotency.** With `Idempotency-Key` the same request within seven days gives the first answer again.
- **Errors** are `application/problem+json` with the codes of GraphQL.
"""

_REASONS: Final[Mapping[int, str]] = {
    304: "It is what `If-None-Match` named.",
    400: "Something that was sent is wrong; `field` names it.",
    401: "There is no token, or none that is trusted.",
    403: "The token has too few scopes (`requiredScopes`), or its holder too small a role.",
    404: "Nothing is there, or nothing that you may see.",
    405: "There is no such operation here; `Allow` names those that there are.",
    406: "`Accept` does not take JSON.",
    409: "It is there already, or somebody else changed it, or the key was used for other input.",
    412: "The revision is another than `If-Match` says, or the state of the graph forbids it.",
    413: "The body is too large.",
    415: "The body has a type that is not taken.",
    422: "Larger, deeper or longer than is allowed; `details` names the limit.",
    500: "A defect of Lineal; the message has an id to quote.",
    503: "A store or service is away or too busy; the same request may work later.",
}
_READ: Final = (400, 401, 403, 404, 405, 406, 409, 412, 422, 500, 503)
_WRITE: Final = (*_READ, 413, 415)


def build_openapi(schema: GraphQLSchema, needs: Needs, version: str) -> Json:
    """The document of the API at this version of Lineal."""
    selector = Selector(schema, needs)
    plans = [Plan(route, selector) for route in routes(schema)]
    writer = _Writer(schema, needs, plans)
    paths: dict[str, Json] = {}
    for plan in plans:
        paths.setdefault(PATH + plan.route.path, {})[plan.route.method.lower()] = writer.operation(plan)
    for beside in BESIDE:
        paths.setdefault(beside.path, {})[beside.method.lower()] = _operation_beside(beside)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Lineal",
            "version": version,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "Where this document is served."}],
        "tags": [{"name": tag} for tag in sorted({tag_of(p.route) for p in plans} | {b.tag for b in BESIDE})],
        "paths": paths,
        "components": {
            "securitySchemes": {SCHEME: _scheme()},
            "parameters": dict(sorted(writer.parameters.items())),
            "headers": _HEADERS,
            "responses": _responses(),
            "links": writer.links,
            "schemas": dict(sorted((writer.schemas.components | dict(_OWN) | dict(SCHEMAS)).items())),
        },
    }


def tag_of(route: Route) -> str:
    """What part of the API a route belongs to: its collection."""
    return route.path.split("/")[1]


def _operation_beside(beside: Beside) -> Json:
    """An operation that is no document of GraphQL."""
    refused = {str(status): _refusal(status) for status in beside.refuses}
    return {
        "operationId": beside.name,
        "tags": [beside.tag],
        "summary": beside.summary,
        "security": _security(beside.needed),
        **beside.said,
        "responses": beside.said["responses"] | refused,
    }


def _security(needed: Requirement) -> list[Json]:
    return [{SCHEME: scopes} for scopes in needed.lists()] or [{SCHEME: []}]


def _refusal(status: int) -> Json:
    return {"$ref": f"#/components/responses/{HTTPStatus(status).name}"}


def _scheme() -> Json:
    scopes = "\n".join(f"- `{name}`: {what}" for name, what in SCOPES.items())
    doc = f"An OAuth access token, or one of `lineal token`. What operations need are its scopes:\n\n{scopes}"
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": doc}


_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "Why a request is not answered (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, and what would be right."},
        "code": {"type": "string", "enum": list(STATUSES)},
        "request": {"type": ["string", "null"], "description": "The id of the request, as logs and the audit have it."},
        "field": {"type": "string", "description": "What is to blame: a parameter, a header, or a place in the body."},
        "errors": {
            "type": "array",
            "description": "Every such place, where several are known.",
            "items": {
                "type": "object",
                "properties": {"detail": {"type": "string"}, "field": {"type": "string"}},
                "required": ["detail", "field"],
                "additionalProperties": False,
            },
        },
        "details": {"type": "object", "description": "Facts for programs: revisions, limits, `requiredScopes`."},
    },
}
_OWN: Final[Mapping[str, Json]] = {
    "Problem": _PROBLEM,
    "EdgeFacts": {
        "type": "object",
        "description": "The edge that led to a thing in a list of neighbours.",
        "additionalProperties": False,
        "properties": {
            "discriminator": {
                "type": ["string", "null"],
                "description": "What tells the edge from others of its kind: a role, a relation, the name of an alias.",
            },
            "since": {"type": ["string", "null"], "format": "date-time", "description": "When it began to hold."},
            "until": {"type": ["string", "null"], "format": "date-time", "description": "When it ceased to."},
            "weight": {"type": ["number", "null"], "description": "Share of the traffic, from 0 to 1."},
        },
    },
}
_HEADERS: Final[Json] = {
    "ETag": {"description": "The revision, and a digest of the answer.", "schema": {"type": "string"}},
    "Link": {"description": 'The next part: `<…>; rel="next"`.', "schema": {"type": "string"}},
    "Location": {"description": "Where what was made is.", "schema": {"type": "string", "format": "uri"}},
    "WWW-Authenticate": {"description": "What would open it (RFC 6750).", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that are possible.", "schema": {"type": "string"}},
}
_SAID_WITH: Final[Mapping[int, Sequence[str]]] = {401: ("WWW-Authenticate",), 403: (), 405: ("Allow",)}


def _responses() -> Json:
    problem = {MEDIA_TYPE: {"schema": {"$ref": REF + "Problem"}}}
    found: Json = {}
    for status, reason in _REASONS.items():
        headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _SAID_WITH.get(status, ())}
        body = {} if status == 304 else {"content": problem}
        found[HTTPStatus(status).name] = {"description": reason, **({"headers": headers} if headers else {}), **body}
    return found


class _Writer:
    """Writes operations, and keeps what several of them share."""

    def __init__(self, schema: GraphQLSchema, needs: Needs, plans: Sequence[Plan]) -> None:
        self.schemas = Schemas(schema, needs)
        self.parameters: dict[str, Json] = {}
        self.links: dict[str, Json] = {}
        self._about: dict[str, dict[str, Json]] = {}
        for plan in plans:
            self._link(plan)

    def _link(self, plan: Plan) -> None:
        """Note an operation that is about one thing alone: the id of one that was made leads to it."""
        match = re.match(r"/([a-z-]+)/\{(\w+)\}[^{}]*$", plan.route.path)
        kind = kind_at(match[1]) if match else None
        if match and kind:
            link = {"operationId": plan.name, "parameters": {match[2]: "$response.body#/id"}}
            self._about.setdefault(kind.name, {})[plan.name] = link

    def operation(self, plan: Plan) -> Json:
        """One operation."""
        route = plan.route
        made: Json = {
            "operationId": plan.name,
            "tags": [tag_of(route)],
            "summary": (plan.field.description or "").split("\n")[0],
            "x-graphql": f"{'Mutation' if route.writes else 'Query'}.{'.'.join(route.fields)}",
            "security": _security(plan.needed),
            "parameters": [*self._parts(plan), *(self._shared(p) for p in plan.parameters.values()), *self._own(plan)],
            "responses": self._answers(plan),
        }
        if plan.body:
            made["requestBody"] = self._body(plan)
        if plan.name == exports.LINEAGE:
            made["parameters"].append(exports.PARAMETER)
            made["responses"]["200"]["content"] |= exports.answers()
            made["responses"]["200"]["headers"] = exports.HEADERS
            made["responses"]["303"] = exports.ELSEWHERE
        return made

    def _parts(self, plan: Plan) -> list[Json]:
        """What stands in the path."""
        found = []
        for before, name in re.findall(r"([a-z-]+)/\{(\w+)\}", plan.route.path):
            kind = kind_at(before)
            schema: Json = {"type": "string", "minLength": 1}
            example = PARTS.get(kind.name if kind else name)
            if kind is not None:
                shown = f"{kind.scheme}:/"
                doc = f"The {kind.name}: an id, or an address, with or without its {shown}, percent-encoded."
            else:
                doc = "An id or an address, percent-encoded." if names_things(before) else "Its name, percent-encoded."
            said = {"name": name, "in": "path", "required": True, "description": doc, "schema": schema}
            found.append(said | ({"example": example} if example else {}))
        return found

    def _shared(self, parameter: Parameter) -> Json:
        """A parameter, kept once for all operations that have the same."""
        made: Json = {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            **({"required": True} if parameter.required else {}),
            **self._written(parameter),
        }
        key = f"{parameter.name}.{parameter.type_name}" if parameter.name in {WHERE, ORDER} else parameter.name
        for number in range(1, 1_000):
            name = key if number == 1 else f"{key}_{number}"
            if self.parameters.setdefault(name, made) == made:
                return {"$ref": f"#/components/parameters/{name}"}
        raise AssertionError(key)

    def _written(self, parameter: Parameter) -> Json:
        if parameter.keyed:
            values = {"type": "object", "additionalProperties": {"type": "string"}}
            return {"style": "deepObject", "explode": True, "schema": values}
        if parameter.name == ORDER:
            names = list(order_names(parameter))
            fields: Any = get_named_type(parameter.type)
            schema: Json = {"type": "string", "enum": [*names, *(f"-{name}" for name in names)]}
            if "metric" in fields.fields:
                schema = {"anyOf": [schema, {"type": "string", "pattern": "^-?metrics\\..+$"}]}
            return {"schema": schema}
        if parameter.name == WHERE or parameter.type_name == "JSON":
            return {"content": {JSON: {"schema": self.schemas.parameter(parameter.type)}}}
        if parameter.many:
            item = {"type": "string"} if parameter.within[-1:] == ("eq",) else None
            schema = {"type": "array", "items": item} if item else self.schemas.parameter(parameter.type)
            return {"style": "form", "explode": True, "schema": schema}
        schema = self.schemas.parameter(parameter.type)
        return {"schema": schema if parameter.default is None else {**schema, "default": parameter.default}}

    def _own(self, plan: Plan) -> list[Json]:
        """What every operation of its sort takes."""
        found = []
        if plan.selects:
            found.append(_FIELDS)
        if plan.counted:
            found.append(_TOTAL)
        if plan.identified and plan.route.method == GET:
            found.append(_header("If-None-Match", "The ETag of the answer that you have."))
        if plan.takes_key:
            key = {"minLength": 1, "maxLength": MAX_KEY}
            found.append(_header("Idempotency-Key", f"A text of your own making, 1 to {MAX_KEY} characters.", **key))
        if plan.takes_revision:
            what = "The ETag, or the revision in quotes, that it must still have."
            found.append(_header("If-Match", what, pattern=f"^(\\*|{TAG.pattern})$"))
        for each in found:
            self.parameters[each["name"]] = each
        return [{"$ref": f"#/components/parameters/{each['name']}"} for each in found]

    def _body(self, plan: Plan) -> Json:
        schema = self.schemas.fields(plan.body)
        name = f"{plan.name[0].upper()}{plan.name[1:]}Body"
        self.schemas.components[name] = schema
        content: Json = {"schema": {"$ref": REF + name}}
        if example := BODIES.get(plan.name):
            content["example"] = example
        types = (JSON, MERGE) if plan.route.method == PATCH else (JSON,)
        return {"required": "required" in schema, "content": dict.fromkeys(types, content)}

    def _answers(self, plan: Plan) -> Json:
        route = plan.route
        headers = []
        if plan.identified:
            headers.append("ETag")
        if route.status == CREATED:
            headers.append("Location")
        if plan.paged:
            headers.append("Link")
        shown = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
        answer = {"description": HTTPStatus(route.status).phrase, "content": {JSON: {"schema": self._answer(plan)}}}
        found: Json = {str(route.status): answer | ({"headers": shown} if shown else {})}
        if route.status == CREATED:
            about = self._about.get(plan.item, {})
            self.links |= about
            found[str(CREATED)]["links"] = {name: {"$ref": f"#/components/links/{name}"} for name in about}
        statuses = list(_WRITE if route.writes else _READ)
        if plan.unwrapped and plan.name == "leaseValidation":
            found["204"] = {"description": "There is nothing to do."}
        if plan.identified and not route.writes:
            statuses.append(304)
        for status in sorted(statuses):
            found[str(status)] = _refusal(status)
        return found

    def _answer(self, plan: Plan) -> Json:
        item = self.schemas.reference(plan.item)
        if plan.shape in {"one", "whole"}:
            return item
        if plan.shape == "list":
            name = f"{plan.item}List"
            # Of things that were asked for by their ids some may not be there.
            items = {"anyOf": [item, {"type": "null"}]}
            made: Json = {"type": "object", "required": ["items"], "additionalProperties": False}
            self.schemas.components[name] = made | {"properties": {"items": {"type": "array", "items": items}}}
            return {"$ref": REF + name}
        name = f"{plan.item}Part"
        self.schemas.components[name] = {
            "type": "object",
            "description": "Part of a list.",
            "required": ["items", "nextCursor"],
            "additionalProperties": False,
            "properties": {
                "items": {"type": "array", "items": item},
                "nextCursor": {"type": ["string", "null"], "description": "What `cursor` takes for the next part."},
                "total": {"type": "integer", "description": "How many there are in all, where `total` asks for it."},
            },
        }
        return {"$ref": REF + name}


def _header(name: str, description: str, **schema: Any) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


_FIELDS: Final[Json] = {
    "name": FIELDS,
    "in": "query",
    "description": "The fields to give, with dots into what is below them: `name,versions.nodes.number`. Of a thing "
    "that may be of any kind, those of one kind alone are asked for as `Deployment:phase`.",
    "schema": {"type": "string", "maxLength": MAX_FIELDS},
    "example": "name,createdAt",
}
_TOTAL: Final[Json] = {
    "name": TOTAL,
    "in": "query",
    "description": "Whether to say how many there are in all.",
    "schema": {"type": "boolean", "default": False},
}
