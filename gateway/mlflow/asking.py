"""Requests as MLflow's clients send them: parameters of a GET in its query, all others as JSON in a body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from starlette.requests import Request

from lineal.errors import InvalidArgument, LimitExceeded

Type = Literal["string", "boolean", "integer", "strings", "tags", "parts"]

_INTEGER: Final = re.compile(r"[+-]?\d{1,18}")
_SEE: Final = " See the API docs for more information about request parameters."
_ABSENT: Final[Mapping[Type, Any]] = {
    "string": "",
    "boolean": False,
    "integer": None,
    "strings": (),
    "tags": (),
    "parts": {},
}


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of an endpoint. `most` bounds a number."""

    name: str
    type: Type = "string"
    required: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was asked, each parameter by name; those that were left out have the empty value of their type."""

    values: Mapping[str, Any]
    given: frozenset[str]

    def text(self, name: str) -> str:
        """A text, empty where it was left out."""
        return str(self.values[name])

    def tags(self, name: str = "tags") -> dict[str, str]:
        """Tags; the last of those with the same key counts."""
        return {tag["key"]: tag["value"] for tag in self.values[name]}


async def parameters(request: Request, fields: Sequence[Field], limit: int) -> Parameters:
    """What is asked. Raises InvalidArgument, LimitExceeded (the body is larger than `limit` bytes)."""
    if request.method == "GET" and request.scope["query_string"]:
        query = request.query_params
        found: Mapping[str, Any] = {
            field.name: query.getlist(field.name) if field.type == "strings" else query[field.name]
            for field in fields
            if field.name in query
        }
        return _read(found, fields, from_query=True)
    return _read(await _body(request, limit), fields)


async def _body(request: Request, limit: int) -> Mapping[str, Any]:
    """The JSON object that was sent; an empty one where there is no JSON. Raises InvalidArgument, LimitExceeded."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise LimitExceeded(f"the body is larger than the {limit} bytes allowed")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "GET" and media_type != "application/json":
        wrong = "must be one of ['application/json']" if media_type else "header is missing"
        raise InvalidArgument(f"Bad Request. Content-Type {wrong}.")
    try:
        body = orjson.loads(bytes(content))
        # Old clients wrote JSON into JSON.
        body = orjson.loads(body) if isinstance(body, str) else body
    except orjson.JSONDecodeError:
        return {}
    if body is not None and not isinstance(body, dict):
        raise InvalidArgument("Bad Request. The body must be one JSON object.")
    return body or {}


def _read(found: Mapping[str, Any], fields: Sequence[Field], *, from_query: bool = False) -> Parameters:
    values: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    for field in fields:
        value = found.get(field.name)
        if value is None:
            values[field.name] = _ABSENT[field.type]
            continue
        kept = _value(value, field.type, from_query=from_query)
        if kept is None or (field.most is not None and kept > field.most):
            wrong[field.name] = value
        values[field.name] = kept
    for field in fields:
        if field.required and values[field.name] == "" and field.name not in wrong:
            msg = f"Missing value for required parameter '{field.name}'.{_SEE}"
            raise InvalidArgument(msg, field=field.name)
        if field.name in wrong:
            value = wrong[field.name]
            shown = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
            hint = f" Hint: Value was of type '{type(value).__name__}'."
            msg = f"Invalid value {shown:.1000} for parameter '{field.name}' supplied: {hint}{_SEE}"
            raise InvalidArgument(msg, field=field.name)
    return Parameters(values, frozenset(name for name, value in found.items() if value is not None))


def _value(value: Any, type_: Type, *, from_query: bool) -> Any:
    """The value as it is kept; None where it is of another type."""
    match type_:
        case "string":
            return value if isinstance(value, str) else None
        case "boolean":
            if from_query:
                return {"true": True, "false": False}.get(value.lower())
            return value if isinstance(value, bool) else None
        case "integer":
            if isinstance(value, str) and _INTEGER.fullmatch(value):
                return int(value)
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        case "strings":
            return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None
        case "tags":
            return _tags(value)
        case "parts":
            return _parts(value)


def _parts(value: Any) -> dict[int, str] | None:
    """The tag of each part by its number."""
    parts = {}
    for item in value if isinstance(value, list) else [None]:
        match item:
            case {"part_number": int(number), "etag": str(tag)}:
                parts[number] = tag
            case _:
                return None
    return parts


def _tags(value: Any) -> list[dict[str, str]] | None:
    if not isinstance(value, list):
        return None
    tags = []
    for item in value:
        if not isinstance(item, dict):
            return None
        tag = {name: item.get(name) or "" for name in ("key", "value")}
        if not all(isinstance(text, str) for text in tag.values()):
            return None
        tags.append(tag)
    return tags
