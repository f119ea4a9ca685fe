"""Node: what everything in the graph has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph import ontology, port
from graph.address import Address
from resolvers.reading import page_size
from resolvers.redacting import Told, tellable
from schema import rows
from schema.connection import After, Connection, First, Page, Rows, decode_cursor, page_info
from schema.context import Info
from schema.declare import edge, interface, prop
from schema.enums import NodeKind
from schema.lineage import Lineage, downstream, upstream
from schema.scalars import JSON, BigInt, DateTime

if TYPE_CHECKING:
    from schema.comment import Comment, Notice
    from schema.people import Principal
    from schema.workspace import Workspace


@strawberry.type(description="What one write did.")
class Change:
    """A change, as far as its reader may know it."""

    id: strawberry.ID = strawberry.field(description="Its id.")
    seq: BigInt = strawberry.field(description="Its place among all changes of the store.")
    at: DateTime = strawberry.field(description="When it was written.")
    by: str = strawberry.field(description="Who wrote it.")
    action: str = strawberry.field(description="What was done, in the words of the API.")
    request: str | None = strawberry.field(description="The id of the request, as logs have it.")
    data: JSON = strawberry.field(
        description="What it did, to this node where it is read from one: `updated` with `before` and `after`, "
        "`created` and `deleted` nodes as [id, kind, name, properties], `logged` with how many points of metrics, "
        "`linked` and `unlinked` edges as [source, kind, target, discriminator, {before, after}]. What is empty, and "
        "what you may not read, is left out."
    )


def _of(subject: str, whole: Mapping[str, Any]) -> dict[str, Any]:
    """What a change did to one node."""
    data: dict[str, Any] = {}
    for part in ("updated", "logged"):
        data |= {part: whole[part][subject]} if subject in whole.get(part, {}) else {}
    for part in ("created", "deleted"):
        data |= {part: True} if any(entry[0] == subject for entry in whole.get(part, ())) else {}
    for part in ("linked", "unlinked"):
        edges = [entry for entry in whole.get(part, ()) if subject in (entry[0], entry[2])]
        data |= {part: edges} if edges else {}
    return data


def told(change: port.Change, data: Mapping[str, Any]) -> Change:
    """A change, with what may be told of it."""
    return Change(
        id=strawberry.ID(change.id),
        seq=BigInt(change.seq or 0),
        at=DateTime(change.at),
        by=change.by,
        action=change.action,
        request=change.request or None,
        data=JSON(dict(data)),
    )


def changes_page(info: Info, found: Sequence[Told], first: int, after: str | None) -> Any:
    """A page of changes, of which one more was read than is shown."""
    shown = found[:first]
    info.context.hold(len(shown))
    nodes = [told(change, data) for change, data in shown]
    return Rows(nodes, page_info([(change.seq,) for change, _ in shown], len(found) > first, after is not None))


def seq_after(after: str | None) -> int:
    """The place in the order of all changes that a cursor stands for; 0 without one. Raises InvalidArgument."""
    cursor = decode_cursor(after, length=1)
    return cursor[0] if cursor and isinstance(cursor[0], int) else 0


async def _changes(root: port.Node, info: Info, first: First = 50, after: After = None) -> Any:
    page_size(first)

    async def parts(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [_of(root.id, data) for data in told]

    found = await tellable(
        info.context.op,
        lambda place, limit: info.context.loaders.changes(place, limit).load(root.id),
        after=seq_after(after),
        limit=first + 1,
        parts=parts,
    )
    return changes_page(info, found, first, after)


async def _address(root: port.Node, info: Info) -> str:
    return await info.context.loaders.addresses().load(root)


async def _workspace(root: port.Node, info: Info) -> Any:
    if not root.workspace:
        return None
    return await info.context.loaders.named().load(Address("Workspace", ontology.GLOBAL, root.workspace))


@interface("Anything in the graph: what all kinds have in common.")
class Node:
    """The interface of all kinds; sources are graph.port.Node."""

    id: strawberry.ID = strawberry.field(description="Its id: opaque, sortable by time of birth, never used again.")
    kind: NodeKind = strawberry.field(description="Its kind.")
    address: str = strawberry.field(
        resolver=_address, description="How people name it: models:/name/3. Arguments take it."
    )
    name: str = strawberry.field(description="Its name.")
    workspace: Annotated[Workspace, strawberry.lazy("schema.workspace")] | None = strawberry.field(
        resolver=_workspace, description="The workspace it belongs to; null for what belongs to none."
    )
    created_at: DateTime = strawberry.field(description="When it was registered.")
    created_by: str = strawberry.field(description="Who registered it.")
    updated_at: DateTime = strawberry.field(description="When it last changed.")
    revision: int = strawberry.field(description="How often it was written: what a guarded update must name.")
    deleted_at: DateTime | None = strawberry.field(
        description="When it was deleted; only seen in what is asked of an earlier time."
    )
    description: str | None = prop(ontology.MODEL.by_name["description"].doc)
    external: bool = prop(ontology.MODEL.by_name["external"].doc, absent=False)
    attributes: JSON | None = prop(ontology.MODEL.by_name["attributes"].doc)
    tags: list[rows.Tag] = rows.tags()
    changes: Page[Change] | None = strawberry.field(
        resolver=_changes, description="What was done to it, the latest first."
    )
    owners: Connection[Node] = edge(ontology.OWNED_BY, "OUT", "Who answers for it.")
    comments: Connection[Comment] = edge(ontology.ABOUT, "IN", "What was said about it.")
    notices: Connection[Notice] = edge(ontology.CONCERNS, "IN", "What the people who answer for it were told.")
    watchers: Connection[Principal] = edge(ontology.WATCHES, "IN", "Who is notified of what happens to it.")
    upstream: Lineage | None = upstream()
    downstream: Lineage | None = downstream()

    @classmethod
    def resolve_type(cls, source: port.Node, info: Any, type_: Any) -> str:
        """The name of the GraphQL type of a source: its kind."""
        return source.kind
