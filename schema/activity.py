"""What happened lately, and what one is notified of."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from resolvers import activity as acting
from resolvers.reading import page_size
from resolvers.redacting import redacted
from resolvers.writing.watching import notification_id
from schema.connection import After, First, Page, PageInfo, decode_cursor, page_info
from schema.context import Info
from schema.node import Change, told

About = Annotated[
    list[strawberry.ID] | None,
    strawberry.argument(description="Only what happened to these or to their parts: 1 to 100 ids or addresses."),
]
Unread = Annotated[bool, strawberry.argument(description="Only those that were not read.")]


@strawberry.type(description="A change of what you watch, or that addresses you: a mention, a role given.")
class Notification:
    """A notification."""

    id: strawberry.ID = strawberry.field(description="Its id: what markNotificationsRead takes.")
    read: bool = strawberry.field(description="Whether it was read.")
    change: Change = strawberry.field(description="What was done.")


class Told:
    """A page of changes or notifications, as resolvers give it."""

    def __init__(self, nodes: list[Any], page: PageInfo) -> None:
        self.nodes = nodes
        self.page_info = page


def _seq(after: str | None) -> int:
    cursor = decode_cursor(after, length=1)
    return cursor[0] if cursor and isinstance(cursor[0], int) else 0


async def _activity(info: Info, about: About = None, first: First = 50, after: After = None) -> Page[Change] | None:
    page_size(first)
    found = await acting.activity(info.context.op, about=about, after=_seq(after), limit=first + 1)
    shown = found[:first]
    info.context.hold(len(shown))
    data = await redacted(info.context.op, shown)
    # Of a change that only joined what is seen to what is not, nothing is told.
    nodes = [told(change, part) for change, part in zip(shown, data, strict=True) if part]
    page: Any = Told(nodes, page_info([(c.seq,) for c in shown], len(found) > first, after is not None))
    return page  # type: ignore[no-any-return]


async def _notifications(
    info: Info, unread: Unread = False, first: First = 50, after: After = None
) -> Page[Notification] | None:
    page_size(first)
    found = await acting.notifications(info.context.op, unread=unread, after=_seq(after), limit=first)
    info.context.hold(len(found.items))
    data = await redacted(info.context.op, [item.change for item in found.items])
    nodes = [
        Notification(
            id=strawberry.ID(notification_id(item.change.seq or 0)), read=item.read, change=told(item.change, part)
        )
        for item, part in zip(found.items, data, strict=True)
    ]
    page: Any = Told(nodes, page_info([(found.end,)] if found.end else [], found.more, after is not None))
    return page  # type: ignore[no-any-return]


def activity() -> Any:
    """The field `activity`."""
    return strawberry.field(resolver=_activity, description="What was done to what you may read, the latest first.")


def notifications() -> Any:
    """The field `notifications`."""
    return strawberry.field(
        resolver=_notifications,
        description="What others did to what you watch, and what addresses you, the latest first.",
    )
