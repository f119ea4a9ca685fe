"""The schemas of Lineal's own facets, at the addresses that events name."""

from __future__ import annotations

from importlib import resources
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from resolvers.openlineage.telling import FACETS_PATH

NAMES: Final = ("MetricsFacet.json", "ModelVersionFacet.json")
PATHS: Final = tuple(FACETS_PATH + name for name in NAMES)


def schema(name: str, base: str) -> dict[str, Any]:
    """A schema (JSON Schema 2020-12), with its address on the server of this address as its `$id`."""
    text = resources.files("gateway.openlineage").joinpath("schemas", name).read_bytes()
    body: dict[str, Any] = orjson.loads(text)
    return {"$schema": body.pop("$schema"), "$id": f"{base}{FACETS_PATH}{name}", **body}


def create_schema_routes(base: str) -> list[Route]:
    """The routes, for anybody: whoever validates an event that Lineal sent has no token."""

    def route(name: str) -> Route:
        content = orjson.dumps(schema(name, base), option=orjson.OPT_INDENT_2)

        async def endpoint(_request: Request) -> Response:
            headers = {"access-control-allow-origin": "*", "cache-control": "max-age=3600"}
            return Response(content, media_type="application/schema+json", headers=headers)

        return Route(FACETS_PATH + name, endpoint)

    return [route(name) for name in NAMES]
