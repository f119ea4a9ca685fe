"""What those ask who watch the process: whether it lives, whether it is ready, and its metrics."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.authenticator import Authenticator
from graph.port import Graph, NewerStore
from lineal.balancing import Load
from lineal.errors import LinealError, Unavailable
from lineal.http import problem_of
from lineal.telemetry import Telemetry

READY_SECONDS: Final = 5.0
PROBES: Final = ("/healthz", "/readyz", "/metrics")


def probes(graph: Graph, authenticator: Authenticator, telemetry: Telemetry, load: Load) -> list[Route]:
    """Their routes."""

    async def healthz(_request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        if load.draining:
            return problem_of(Unavailable("this process is about to end"))
        if load.broken:
            return problem_of(Unavailable(f"what runs in the background ended: {load.broken}"))
        newer: dict[str, str] = {}
        try:
            async with asyncio.timeout(READY_SECONDS):
                await graph.check_version()
        except NewerStore:
            # Were they not ready any more, all processes would go at once when the first of the next version comes.
            newer = {"store": "newer"}
        except TimeoutError:
            return problem_of(Unavailable(f"the store did not answer within {READY_SECONDS:g} seconds"))
        except LinealError as error:
            return problem_of(Unavailable(error.message))
        for keys in authenticator.keys:
            keys.renew()
        if missing := [keys.issuer.name for keys in authenticator.keys if not keys.usable]:
            return problem_of(Unavailable(f"the keys of the issuer {', '.join(missing)} cannot be had"))
        away = [keys.issuer.name for keys in authenticator.keys if keys.problem]
        return _json({"status": "ready", **newer, **({"unreachable": away} if away else {})})

    async def metrics(request: Request) -> Response:
        content, media_type = telemetry.negotiated(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": media_type})

    return [Route(path, answer) for path, answer in zip(PROBES, (healthz, readyz, metrics), strict=True)]


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
