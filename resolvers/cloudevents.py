"""Events as CloudEvents 1.0 (https://github.com/cloudevents/spec), in the JSON format."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from graph.ontology import constant
from resolvers.events import Event

SPEC: Final = "1.0"
ONE: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def cloudevent(event: Event, source: str) -> dict[str, Any]:
    """An event as JSON has it; `source` is the URL of this server.

    Beside the attributes of the specification it has `sequence`, its place in the order of all events (of the
    extension of that name), `linealworkspace` and `linealcause`, the use case that did it.
    """
    data = {
        "id": event.subject,
        "kind": constant(event.kind),
        "name": event.name,
        "address": event.address,
        "workspace": event.workspace,
        "by": event.by,
        "request": event.request or None,
        "change": event.change,
    }
    return {
        "specversion": SPEC,
        "id": event.id,
        "source": source,
        "type": event.type,
        "subject": event.subject,
        "time": iso(event.at),
        "datacontenttype": "application/json",
        "sequence": str(event.position),
        "linealcause": event.cause,
        # An attribute that has no value is left out.
        **({"linealworkspace": event.workspace} if event.workspace else {}),
        "data": {name: value for name, value in data.items() if value is not None},
    }


def iso(micros: int) -> str:
    """Microseconds since the epoch as RFC 3339, in UTC."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds").replace("+00:00", "Z")
