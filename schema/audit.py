"""The audit."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from graph.port import Entry, EntryFilter
from lineal.errors import InvalidArgument
from resolvers import auditing
from resolvers.reading import page_size, resolve
from resolvers.redacting import redacted
from schema.connection import After, First, Page, Rows, decode_cursor, page_info
from schema.context import Info
from schema.scalars import JSON, BigInt, DateTime

Workspace = Annotated[str | None, strawberry.argument(description="Only the chain of this workspace.")]
By = Annotated[str | None, strawberry.argument(description="Only what this principal did, by name.")]
Action = Annotated[str | None, strawberry.argument(description="Only this action.")]
Subject = Annotated[
    strawberry.ID | None, strawberry.argument(description="Only what was done to this: an id or an address.")
]
Request = Annotated[str | None, strawberry.argument(description="Only what this request did.")]
Since = Annotated[DateTime | None, strawberry.argument(description="Only from this time on.")]
Until = Annotated[DateTime | None, strawberry.argument(description="Only before this time.")]
Noted = Annotated[
    bool | None,
    strawberry.argument(
        description="Only what changed nothing (refusals, tokens that failed, reads), or only what changed something."
    ),
]


@strawberry.type(description="An entry of the audit: a write, a refusal, a token that failed, an admin's read.")
class AuditEntry:
    """An entry in the chain of a workspace."""

    workspace: str = strawberry.field(description="The workspace whose chain it is in; empty for what belongs to none.")
    number: BigInt = strawberry.field(description="Its number in the chain, from 1.")
    hash: str = strawberry.field(description="SHA-256 of the hash before it and of the entry.")
    seq: BigInt = strawberry.field(description="Its place among all changes of the store.")
    id: strawberry.ID = strawberry.field(description="The id of the change.")
    at: DateTime = strawberry.field(description="When it was.")
    by: str = strawberry.field(description="Who it was.")
    client: str | None = strawberry.field(description="The OAuth client that they used.")
    token: str | None = strawberry.field(description="The id of their token.")
    address: str | None = strawberry.field(description="The network address that they asked from.")
    action: str = strawberry.field(description="What was done, or refused.")
    request: str | None = strawberry.field(description="The id of the request, as logs have it.")
    data: JSON = strawberry.field(
        description="What it did, before and after; or what was noted. What you may not read is left out."
    )


def _told(entry: Entry, data: Any) -> AuditEntry:
    change = entry.change
    return AuditEntry(
        workspace=entry.workspace,
        number=BigInt(entry.number),
        hash=entry.hash,
        seq=BigInt(change.seq or 0),
        id=strawberry.ID(change.id),
        at=DateTime(change.at),
        by=change.by,
        client=change.origin.client or None,
        token=change.origin.token or None,
        address=change.origin.address or None,
        action=change.action,
        request=change.request or None,
        data=JSON(dict(data)),
    )


async def _audit(
    info: Info,
    workspace: Workspace = None,
    by: By = None,
    action: Action = None,
    subject: Subject = None,
    request: Request = None,
    since: Since = None,
    until: Until = None,
    noted: Noted = None,
    first: First = 50,
    after: After = None,
) -> Page[AuditEntry] | None:
    page_size(first)
    place = decode_cursor(after, length=2)
    if place is not None and not (isinstance(place[0], int) and isinstance(place[1], str)):
        msg = f"after: must be a cursor that this list gave, not {after!r:.80}"
        raise InvalidArgument(msg, field="after")
    op = info.context.op
    node = None if subject is None else await resolve(op, subject, field="subject")
    where = EntryFilter(None, by, action, node.id if node else None, request, since, until, noted)
    found: list[Entry] = []
    if subject is None or node is not None:
        start = None if place is None else (int(place[0]), str(place[1]))
        found = await auditing.audit(op, where, workspace=workspace, after=start, limit=first + 1)
    shown = found[:first]
    info.context.hold(len(shown))
    data = await redacted(op, [entry.change for entry in shown])
    nodes = [_told(entry, part) for entry, part in zip(shown, data, strict=True)]
    cursors = [(entry.change.seq, entry.workspace) for entry in shown]
    page: Any = Rows(nodes, page_info(cursors, len(found) > first, after is not None))
    return page  # type: ignore[no-any-return]


def audit() -> Any:
    """The field `audit`."""
    return strawberry.field(
        resolver=_audit,
        description="What was done, refused and read in the workspaces that you own, the latest first. Admins also see "
        "what belongs to no workspace. Reading it is an entry itself.",
    )
