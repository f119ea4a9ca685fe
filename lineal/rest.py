"""REST put together: the GraphQL schema and what runs its documents, handed to the face that needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.routing import Mount
from strawberry.types import ExecutionResult

from auth.challenges import Resource
from gateway.rest.app import create_rest_app
from gateway.rest.openapi import build_openapi
from lineal import __version__
from resolvers.operation import Operation
from schema.budget import Budget
from schema.context import Context
from schema.executing import LinealSchema, OnOperation, run
from schema.sdl import build_schema


def create_rest(
    schema: LinealSchema,
    new_operation: Callable[[Request], Operation],
    *,
    resource: Resource,
    on_operation: OnOperation | None = None,
    key: bytes | None = None,
    budget: Budget | None = None,
) -> Mount:
    """REST on this schema. The rest is as `schema.view.create_graphql_app` takes it."""

    async def execute(request: Request, document: str, variables: dict[str, Any]) -> ExecutionResult:
        context = Context(new_operation(request), schema.limits, key=key, budget=budget)
        return await run(schema, context, document, variables, on_operation=on_operation)

    return create_rest_app(
        schema._schema,
        schema.gates.fields,
        execute,
        resource=resource,
        openapi=served_openapi,
        max_body=schema.limits.body,
    )


@cache
def served_openapi() -> bytes:
    """The OpenAPI document as it is served."""
    return orjson.dumps(_document())


def print_openapi() -> str:
    """The OpenAPI document as it is committed, in schema/openapi.json: a line for each operation and component."""
    document = _document()
    paths, components = document.pop("paths"), document.pop("components")
    lines = [f"{_json(name)}: {_json(value)}," for name, value in document.items()]
    lines += ['"paths": {', *_lines(paths), "},", '"components": {', *_lines(components), "}"]
    return "\n".join(["{", *lines, "}", ""])


def _lines(groups: dict[str, dict[str, Any]]) -> Iterator[str]:
    for number, (name, group) in enumerate(groups.items(), 1):
        parts = ",\n".join(f"{_json(key)}: {_json(value)}" for key, value in group.items())
        yield f"{_json(name)}: {{\n{parts}\n}}{'' if number == len(groups) else ','}"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _document() -> dict[str, Any]:
    schema = build_schema()
    return build_openapi(schema._schema, schema.gates.fields, __version__)
