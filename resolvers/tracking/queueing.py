"""Which versions wait to be looked up in tracking servers: the queue is in the versions themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

QUEUED, FOLLOWING, DONE, FAILED = "QUEUED", "FOLLOWING", "DONE", "FAILED"

MAX_MESSAGE: Final = 2_000


def queued(props: Mapping[str, Any], now: int) -> dict[str, Any]:
    """What a version says that is to be looked up from now on; nothing where it names neither run nor logged model."""
    if props.get("runId") is None and props.get("loggedModel") is None:
        return {}
    return {"enrichment": QUEUED, "enrichmentDue": now, "enrichmentSince": None, "enrichmentMessage": None}


def waiting(state: str, since: int, due: int, message: str | None) -> dict[str, Any]:
    """What a version says that is looked up again at `due`, and was tried since `since`."""
    return {
        "enrichment": state,
        "enrichmentSince": since,
        "enrichmentDue": due,
        "enrichmentMessage": message and message[:MAX_MESSAGE],
    }


def ended(state: str, message: str | None, **more: Any) -> dict[str, Any]:
    """What a version says that is not looked up any more."""
    return {
        "enrichment": state,
        "enrichmentSince": None,
        "enrichmentDue": None,
        "enrichmentMessage": message and message[:MAX_MESSAGE],
        **more,
    }
