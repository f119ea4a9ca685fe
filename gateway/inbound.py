"""Webhooks that other hubs send here: POST /api/v1/hooks/wandb and /api/v1/hooks/huggingface.

Who sends them has no token: the secret that both sides were given says that it is the hub, and the settings say into
which workspace its events go. The same event again changes nothing, so one that was kept and sent again does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.bodies import json_of, read_bytes
from gateway.problems import problem
from lineal.errors import LinealError, NotFound, Unauthenticated, Unavailable
from resolvers.inbound import huggingface, wandb
from resolvers.inbound.recording import record
from resolvers.inbound.told import Told
from resolvers.operation import Operation

WANDB: Final = "/api/v1/hooks/wandb"
HUGGING_FACE: Final = "/api/v1/hooks/huggingface"
PATHS: Final = (WANDB, HUGGING_FACE)
MAX_BODY: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that may send: `name` is what its writes are recorded under, `secret` what it has, None for nobody."""

    name: str
    secret: str | None
    workspace: str


NewOperation = Callable[[Request, Hub], Operation]


def create_inbound_routes(new_operation: NewOperation, *, of_wandb: Hub, of_hugging_face: Hub) -> Sequence[Route]:
    """The routes. `new_operation` gives the operation that a hub writes in."""

    def by_wandb(request: Request, body: bytes, secret: str) -> bool:
        return wandb.is_signed(body, request.headers.get(wandb.SIGNATURE, ""), secret)

    def by_hugging_face(request: Request, _body: bytes, secret: str) -> bool:
        return huggingface.is_secret(request.headers.get(huggingface.HEADER, ""), secret)

    return (
        _route(WANDB, new_operation, of_wandb, by_wandb, wandb.told),
        _route(HUGGING_FACE, new_operation, of_hugging_face, by_hugging_face, huggingface.told),
    )


def _route(
    path: str,
    new_operation: NewOperation,
    hub: Hub,
    is_from: Callable[[Request, bytes, str], bool],
    told: Callable[[Any], Told | None],
) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            if hub.secret is None:
                raise NotFound(f"no secret for {path} is configured, so nothing is taken there")
            body = await read_bytes(request, MAX_BODY)
            async with new_operation(request, hub) as op:
                if not is_from(request, body, hub.secret):
                    if op.recorder is not None:
                        await op.recorder.failed(
                            reason="signature", address=op.address, request=op.request, detail=hub.name
                        )
                    raise Unauthenticated("the signature is not by the secret that is configured here")
                if (found := told(json_of(body))) is not None:
                    await record(op, hub.workspace, found)
        except LinealError as error:
            if error.status >= 500 and not isinstance(error, Unavailable):
                raise
            return problem(request, error)
        return Response(status_code=204)

    return Route(path, endpoint, methods=["POST"])
