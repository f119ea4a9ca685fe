"""What comes in the body of a request, and in its preconditions."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from starlette.requests import Request

from gateway.problems import Problem
from gateway.rest.plans import Plan
from gateway.rest.routes import PATCH
from lineal.errors import Conflict, LimitExceeded

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"

TAG: Final = re.compile(r'(?:W/)?"([0-9]{1,10})(?:\.[0-9a-f]{1,64})?"')
"""What an entity tag looks like here: the revision, and a digest of the answer."""


async def body_of(request: Request, plan: Plan, limit: int) -> dict[str, Any]:
    """The fields of the input that were sent. Raises Problem: too large (413), another type (415), no object (400)."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise Problem(413, f"the body is larger than the {limit} bytes allowed", LimitExceeded.code)
    if not content:
        return {}
    if not plan.body and bytes(content).strip() != b"{}":
        raise Problem(400, "the body must be empty: this operation takes none")
    taken = (JSON, MERGE) if plan.route.method == PATCH else (JSON,)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in taken:
        raise Problem(415, f"content-type: must be {' or '.join(taken)}, not {media_type or 'absent'}")
    try:
        body = orjson.loads(bytes(content))
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Problem(400, "the body must be one JSON object")
    if unknown := [name for name in body if name not in plan.body]:
        said = [{"detail": "there is no such field here", "field": name[:80]} for name in unknown[:20]]
        raise Problem(400, f"{unknown[0]:.80}: there is no such field here", field=unknown[0][:80], errors=said)
    return body


def revision_of(header: str) -> int:
    """The revision that If-Match asks for. Raises Problem: several (400), or none that there can be (412)."""
    if "," in header:
        raise Problem(400, "If-Match: must be one entity tag", field="If-Match")
    match = TAG.fullmatch(header.strip())
    if match is None or int(match[1]) >= 2**31:
        raise Problem(412, "If-Match: no revision has this entity tag", Conflict.code, "If-Match")
    return int(match[1])
