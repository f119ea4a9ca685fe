"""POST /api/v1/lineage and /api/v1/lineage/batch, for the default workspace and under /w/WORKSPACE for any other.

What all faces have is here too: who asks must hold the scopes that the one table says, refusals are audited, errors
are those of Lineal's tree. Events need no idempotency key: taking one in again changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.challenges import Resource
from auth.scopes import ROUTES
from gateway.bodies import read_json
from gateway.openlineage.parsing import parse
from gateway.problems import problem, refused
from graph.ontology import DEFAULT_WORKSPACE
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, LinealError, Unauthenticated, Unavailable
from resolvers.openlineage.events import Event
from resolvers.openlineage.recording import record, record_batch
from resolvers.operation import Operation

PATH: Final = "/api/v1/lineage"
BATCH: Final = f"{PATH}/batch"
WITHIN: Final = "/w/{workspace}"
MAX_BODY: Final = 16 * 1024 * 1024
MAX_EVENTS: Final = 10_000

NewOperation = Callable[[Request], Operation]


def create_openlineage_routes(
    new_operation: NewOperation, *, resource: Resource, max_body: int = MAX_BODY
) -> list[Route]:
    """The routes. `new_operation` says who asks, `resource` what challenges speak of; `max_body` is in bytes."""

    def route(path: str, handle: Callable[[Operation, str, Any], Awaitable[Response]]) -> list[Route]:
        async def endpoint(request: Request) -> Response:
            op = new_operation(request)
            workspace = request.path_params.get("workspace", DEFAULT_WORKSPACE)
            try:
                async with op:
                    await _admit(op, path)
                    return await handle(op, workspace, await read_json(request, max_body))
            except (Forbidden, Unauthenticated) as error:
                await _record_refusal(op, workspace, error)
                return refused(request, op.caller, error, resource)
            except LinealError as error:
                if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Unavailable):
                    raise
                return problem(request, error)

        return [Route(at, endpoint, methods=["POST"]) for at in (path, WITHIN + path)]

    return [*route(BATCH, _batch), *route(PATH, _one)]


async def _one(op: Operation, workspace: str, body: Any) -> Response:
    """Take one event: 201, as Marquez answers."""
    await record(op, workspace, [parse(body)])
    return Response(status_code=HTTPStatus.CREATED)


async def _batch(op: Operation, workspace: str, body: Any) -> Response:
    """Take a list of events: 204 when all came in, else 200 with what is wrong with the others."""
    if not isinstance(body, list):
        raise InvalidArgument("the body must be a list of events")
    if len(body) > MAX_EVENTS:
        raise LimitExceeded(f"the body has {len(body)} events; at most {MAX_EVENTS} are allowed")
    failures: dict[int, LinealError] = {}
    events: list[tuple[int, Event]] = []
    for i, item in enumerate(body):
        try:
            events.append((i, parse(item)))
        except LinealError as error:
            failures[i] = error
    found = await record_batch(op, workspace, [event for _, event in events])
    failures |= {i: error for (i, _), error in zip(events, found, strict=True) if error is not None}
    if not failures:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    answer = {
        "status": "partial_success",
        "summary": {
            "received": len(body),
            "successful": len(body) - len(failures),
            "failed": len(failures),
            "retriable": 0,
            "non_retriable": len(failures),
        },
        "failed_events": [
            {"index": i, "reason": error.message, "retriable": False} for i, error in sorted(failures.items())
        ],
    }
    return Response(orjson.dumps(answer), media_type="application/json")


# ── Who may ───────────────────────────────────────────────────────────────────────────────────────


async def _admit(op: Operation, path: str) -> None:
    """Raises Forbidden, Unauthenticated: the caller lacks the scopes, or has been deactivated."""
    needed = ROUTES[f"POST {path}"]
    if not needed.opened_by(op.caller):
        raise Forbidden(f"to record events needs {needed}", scopes=needed.lists())
    await op.snapshot()


async def _record_refusal(op: Operation, workspace: str, error: LinealError) -> None:
    if op.recorder is not None:
        await op.recorder.refused(
            op.caller,
            action="openlineage",
            code=error.code,
            message=error.message,
            scopes=error.details.get("scopes", ()),
            on={workspace: []},
            address=op.address,
            request=op.request,
        )
