"""What happened lately, and what one is notified of."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from resolvers import activity as acting
from resolvers.reading import page_size
from resolvers.writing.watching import notification_id
from schema.connection import After, First, Page, Rows, page_info
from schema.context import Info
from schema.node import Change, changes_page, seq_after, told

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


async def _activity(info: Info, about: About = None, first: First = 50, after: After = None) -> Page[Change] | None:
    page_size(first)
    found = await acting.activity(info.context.op, about=about, after=seq_after(after), limit=first + 1)
    page: Any = changes_page(info, found, first, after)
    return page  # type: ignore[no-any-return]


async def _notifications(
    info: Info, unread: Unread = False, first: First = 50, after: After = None
) -> Page[Notification] | None:
    page_size(first)
    found = await acting.notifications(info.context.op, unread=unread, after=seq_after(after), limit=first)
    info.context.hold(len(found.items))
    nodes = [
        Notification(
            id=strawberry.ID(notification_id(item.change.seq or 0)), read=item.read, change=told(item.change, item.data)
        )
        for item in found.items
    ]
    page: Any = Rows(nodes, page_info([(found.end,)] if found.end else [], found.more, after is not None))
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
