"""Webhook, and what became of its deliveries."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from graph import ontology, port
from resolvers.reading import page_size
from resolvers.webhooks import deliveries as delivering
from schema.connection import After, First, Page, Rows, decode_cursor, page_info
from schema.context import Info
from schema.declare import noun, prop
from schema.enums import DeliveryState
from schema.node import Node
from schema.scalars import JSON, DateTime

State = Annotated[
    DeliveryState | None, strawberry.argument(description="Only those that this became of; all unless given.")
]


@strawberry.type(description="One try of a delivery.")
class DeliveryTry:
    """A try."""

    at: DateTime = strawberry.field(description="When it was.")
    status: int | None = strawberry.field(description="The status that the receiver answered with; null for no answer.")
    error: str | None = strawberry.field(description="What was in the way.")
    seconds: float = strawberry.field(description="How long it took.")


@strawberry.type(description="An event on its way to a webhook.")
class Delivery:
    """A delivery."""

    sequence: str = strawberry.field(
        description="The place of its event among all events: what replayDeliveries takes, and `sequence` of the event."
    )
    state: DeliveryState = strawberry.field(description="What became of it.")
    event: str = strawberry.field(description="The id of its event: the receiver sees the same.")
    type: str = strawberry.field(description="The type of its event.")
    subject: str = strawberry.field(description="The id of what its event is about.")
    taken_at: DateTime = strawberry.field(description="When it was taken on, or last asked for again.")
    due_at: DateTime | None = strawberry.field(description="When it is tried next; null for one that is over.")
    done_at: DateTime | None = strawberry.field(description="When it was over.")
    attempts: int = strawberry.field(description="How often it was tried since it was taken on.")
    tries: list[DeliveryTry] = strawberry.field(
        description=f"The latest {delivering.MAX_TRIES} tries, the last one at the end."
    )


def shown(delivery: delivering.Delivery) -> Delivery:
    """A delivery as GraphQL has it."""
    return Delivery(
        sequence=delivery.sequence,
        state=DeliveryState(delivery.state),
        event=delivery.event,
        type=delivery.type,
        subject=delivery.subject,
        taken_at=DateTime(delivery.taken),
        due_at=DateTime(delivery.due) if delivery.state == delivering.PENDING else None,
        done_at=None if delivery.done is None else DateTime(delivery.done),
        attempts=delivery.attempts,
        tries=[
            DeliveryTry(at=DateTime(each.at), status=each.status, error=each.error or None, seconds=each.seconds)
            for each in delivery.tries
        ],
    )


async def _deliveries(
    root: port.Node, info: Info, state: State = None, first: First = 50, after: After = None
) -> Page[Delivery] | None:
    page_size(first)
    cursor = decode_cursor(after, length=1)
    place = cursor[0] if cursor and isinstance(cursor[0], int) else None
    asked = None if state is None else state.value
    found = await delivering.deliveries(info.context.op, root, state=asked, after=place, limit=first + 1)
    nodes = found[:first]
    info.context.hold(len(nodes))
    cursors = [(each.number,) for each in nodes]
    page: Any = Rows([shown(each) for each in nodes], page_info(cursors, len(found) > first, after is not None))
    return page  # type: ignore[no-any-return]


@noun(ontology.WEBHOOK)
class Webhook(Node):
    """A webhook."""

    url: str = prop()
    format: str = prop(absent="CLOUDEVENTS")
    kinds: list[str] = prop(absent=())
    actions: list[str] = prop(absent=())
    types: list[str] = prop(absent=())
    with_tags: JSON | None = prop()
    state: str | None = prop()
    reason: str | None = prop()
    scopes: list[str] = prop(absent=())
    rotated_at: DateTime | None = prop()
    replayed_at: DateTime | None = prop()
    deliveries: Page[Delivery] | None = strawberry.field(
        resolver=_deliveries,
        description="What it had to deliver, the latest event first, for owners of its workspace. Of those that are "
        f"over the latest {delivering.REMEMBERED} are remembered.",
    )
