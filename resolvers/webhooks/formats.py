"""What a webhook sends of changes: each event as bytes, in the format of the webhook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from graph.ids import new_id
from graph.ontology import NODE_KINDS, WEBHOOK, WORKSPACE
from graph.port import Change
from graph.recording import write_data
from resolvers import cloudevents
from resolvers.events import TYPES, Event, Position, events_of, tags_of
from resolvers.operation import Operation
from resolvers.webhooks import mlflow
from resolvers.webhooks.hooks import Hook
from resolvers.webhooks.signing import MLFLOW

TEST: Final = "lineal.webhook.test"
"""The type of what a test sends as a CloudEvent."""
TYPES_OF: Final = {MLFLOW: frozenset(mlflow.EVENTS), "CLOUDEVENTS": TYPES}
"""The types of events, by format."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it is sent. `number` is its place, `id` the same whenever it is sent."""

    number: int
    id: str
    type: str
    subject: str
    body: bytes

    @property
    def media_type(self) -> str:
        """What the body is."""
        return "application/json" if self.type in TYPES_OF[MLFLOW] else cloudevents.ONE


async def messages(op: Operation, hook: Hook, changes: Sequence[Change], source: str) -> list[Message]:
    """The events of these changes that the webhook takes, in order, as far as the operation sees them."""
    events = [event for event in await events_of(op, changes) if _is_of_workspace(event)]
    if not events:
        return []
    wanted = hook.filter
    tags = await tags_of(op, events) if wanted.tags else {}
    told = await _mlflow(op, changes, events) if hook.format == MLFLOW else _cloudevents(events, source)
    return [
        message
        for message, event in told
        if wanted.takes(message.type, event.kind, event.action, tags.get(event.subject, {}))
    ]


def trial_message(hook: Hook, at: int, source: str, type: str | None = None) -> Message:
    """Something to try the receiver with; `type` is of MLflow's, the first that the webhook takes unless given."""
    id = new_id("ch")
    if hook.format == MLFLOW:
        type = type or next(iter(hook.filter.types), mlflow.EVENTS[0])
        return Message(0, id, type, hook.id, orjson.dumps(mlflow.example(type, at)))
    event: dict[str, Any] = {
        "specversion": cloudevents.SPEC,
        "id": id,
        "source": source,
        "type": TEST,
        "subject": hook.id,
        "time": cloudevents.iso(at),
        "datacontenttype": "application/json",
        "linealworkspace": hook.node.workspace,
        "data": {"id": hook.id, "kind": WEBHOOK.constant, "name": hook.node.name, "workspace": hook.node.workspace},
    }
    return Message(0, id, TEST, hook.id, orjson.dumps(event))


def _is_of_workspace(event: Event) -> bool:
    """People and teams belong to no workspace: a webhook tells nothing of them."""
    return event.kind == WORKSPACE.name or not NODE_KINDS[event.kind].is_global


def _cloudevents(events: Sequence[Event], source: str) -> Iterator[tuple[Message, Event]]:
    for event in events:
        body = write_data(cloudevents.cloudevent(event, source)).encode()
        yield Message(event.position.number, event.id, event.type, event.subject, body), event


async def _mlflow(op: Operation, changes: Sequence[Change], events: Sequence[Event]) -> list[tuple[Message, Event]]:
    by_place: Mapping[tuple[int, str], Event] = {(event.position.seq, event.subject): event for event in events}
    teller = await mlflow.Teller.of(op, events)
    found = []
    for change in changes:
        for unit in mlflow.units(change):
            event = by_place.get((change.seq or 0, unit.subject))
            if event is not None and (said := teller.tell(unit, event)) is not None:
                number = Position(change.seq or 0, unit.index).number
                body = write_data(said.body).encode()
                found.append((Message(number, f"{change.id}.{unit.index}", said.type, unit.subject, body), event))
    return found
