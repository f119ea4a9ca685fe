"""The root of all that is told as it happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import strawberry

from graph import port
from resolvers import events as telling
from resolvers.events import position
from resolvers.following import tip
from resolvers.streaming import Stream, Wanted
from schema.context import Info
from schema.enums import EventAction, NodeKind
from schema.lineage import values
from schema.node import Node
from schema.scalars import JSON, DateTime

_ROOTS = f"1 to {port.MAX_ROOTS} ids or addresses"


def _says(description: str) -> Any:
    return strawberry.argument(description=description)


AfterSequence = Annotated[
    str | None,
    _says(
        "Go on after the event of this `sequence`: nothing is missed, and nothing comes twice. "
        '"0" begins with the first event that there is; without it events are told from now on. Refused where not all '
        "that came after it can be told."
    ),
]
About = Annotated[
    list[strawberry.ID] | None,
    _says(f"Only what happens to these or to their parts, as versions are of a model: {_ROOTS}."),
]
DownstreamOf = Annotated[
    list[strawberry.ID] | None,
    _says(
        f"Only what happens to these and to all that came of them, as lineage then had it: {_ROOTS}. "
        "Needs the scope lineage:read."
    ),
]
Kinds = Annotated[list[NodeKind] | None, _says("Only what happens to things of these kinds.")]
Actions = Annotated[list[EventAction] | None, _says("Only these actions.")]
Workspaces = Annotated[list[str] | None, _says("Only what happens in the workspaces of these names.")]
Changed = Annotated[
    list[str] | None,
    _says(
        "Only where one of these properties was written, or was there from the start: phase, tags.team, params.lr. "
        "What a deployment is doing, for one, is in `phase`."
    ),
]


def _change(root: telling.Event) -> JSON:
    return JSON(dict(root.change))


@strawberry.type(description="What one change did to one thing, as far as its reader may know it.")
class Event:
    """An event; sources are resolvers.events.Event."""

    id: strawberry.ID = strawberry.field(description="Its id, the same whenever and wherever it is told.")
    sequence: str = strawberry.field(
        description="Its place among all events: what `after` takes, here and at /api/v1/events.",
        resolver=lambda root: str(root.position),
    )
    type: str = strawberry.field(description="Its type as CloudEvents and webhooks have it: lineal.model.created.")
    action: EventAction = strawberry.field(description="What happened.")
    kind: NodeKind = strawberry.field(description="The kind of the thing.")
    subject: strawberry.ID = strawberry.field(description="The id of the thing.")
    name: str | None = strawberry.field(description="What the thing is called.")
    address: str | None = strawberry.field(description="How people name the thing; null where it is gone.")
    workspace: str | None = strawberry.field(
        description="The name of its workspace; null for what belongs to none.",
        resolver=lambda root: root.workspace or None,
    )
    node: Node | None = strawberry.field(description="The thing as it now is; null where it is gone.")
    at: DateTime = strawberry.field(description="When it was written.")
    by: str = strawberry.field(description="Who wrote it.")
    cause: str = strawberry.field(description="What was done, in the words of the API: createModelVersion.")
    request: str | None = strawberry.field(
        description="The id of the request, as logs have it.", resolver=lambda root: root.request or None
    )
    change: JSON = strawberry.field(
        description="What was done to the thing: `created` and `deleted` with its properties, `updated` with `before` "
        "and `after`, `logged` with how many points of metrics, `linked` and `unlinked` edges as [source, kind, "
        "target, discriminator, {before, after}]. What is empty, and what you may not read, is left out.",
        resolver=_change,
    )


async def _events(
    info: Info,
    after: AfterSequence = None,
    about: About = None,
    downstream_of: DownstreamOf = None,
    kinds: Kinds = None,
    actions: Actions = None,
    workspaces: Workspaces = None,
    changed: Changed = None,
) -> AsyncGenerator[Event | None, None]:
    context = info.context
    assert context.follow is not None
    wanted = Wanted(about, downstream_of, values(kinds), values(actions), workspaces, changed)
    place = None if after is None else position(after)
    # It gives rounds of events: schema.streaming runs the document for each event of them.
    stream: Any = await Stream.opened(context.op, *context.follow, wanted, place)
    return stream  # type: ignore[no-any-return]


@strawberry.type(description="Everything that is told as it happens.")
class Subscription:
    """The root of all that is told as it happens."""

    events: Event | None = strawberry.subscription(  # type: ignore[assignment]
        resolver=_events,
        description="What happens to what you may read, in the order in which it happened. What you may read is looked "
        "at anew for every few events.",
    )


async def _sequence(info: Info) -> str | None:
    return str(telling.Position(await tip(await info.context.op.snapshot())))


def sequence() -> Any:
    """The field `sequence`."""
    return strawberry.field(
        resolver=_sequence,
        description="The place of the latest event: what `events(after:)` takes to tell all that happens after what "
        "this operation reads.",
    )
