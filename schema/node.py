"""Node: what everything in the graph has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph import ontology, port
from resolvers.reading import page_size
from schema import rows
from schema.connection import After, Connection, First, Page, PageInfo, decode_cursor, page_info
from schema.context import Info
from schema.declare import edge, interface, prop
from schema.enums import NodeKind
from schema.lineage import Lineage, downstream, upstream
from schema.scalars import JSON, BigInt, DateTime

if TYPE_CHECKING:
    from schema.workspace import Workspace


@strawberry.type(description="What one write did to a node.")
class Change:
    """A change, as far as it concerns the node it is read from."""

    id: strawberry.ID = strawberry.field(description="Its id.")
    seq: BigInt = strawberry.field(description="Its place among all changes of the store.")
    at: DateTime = strawberry.field(description="When it was written.")
    by: str = strawberry.field(description="Who wrote it.")
    action: str = strawberry.field(description="What was done, in the words of the API.")
    request: str | None = strawberry.field(description="The id of the request, as logs have it.")
    data: JSON = strawberry.field(
        description="What it did to this node: `updated` with `before` and `after`, `created`, `deleted`, `logged` "
        "with how many points of metrics, `linked` and `unlinked` edges as [source, kind, target, discriminator]."
    )


class Changes:
    """A page of changes, as resolvers give it."""

    def __init__(self, subject: str, found: list[port.Change], first: int, later: bool) -> None:
        shown = found[:first]
        self.nodes = [_change(subject, change) for change in shown]
        self.page_info: PageInfo = page_info([(change.seq,) for change in shown], len(found) > first, later)


def _change(subject: str, change: port.Change) -> Change:
    data: dict[str, Any] = {}
    for part in ("updated", "logged"):
        data |= {part: change.data[part][subject]} if subject in change.data.get(part, {}) else {}
    for part in ("created", "deleted"):
        data |= {part: True} if any(entry[0] == subject for entry in change.data.get(part, ())) else {}
    for part in ("linked", "unlinked"):
        edges = [entry for entry in change.data.get(part, ()) if subject in (entry[0], entry[2])]
        data |= {part: edges} if edges else {}
    return Change(
        id=strawberry.ID(change.id),
        seq=BigInt(change.seq or 0),
        at=DateTime(change.at),
        by=change.by,
        action=change.action,
        request=change.request or None,
        data=JSON(data),
    )


async def _changes(root: port.Node, info: Info, first: First = 50, after: After = None) -> Any:
    page_size(first)
    cursor = decode_cursor(after, length=1)
    seq = cursor[0] if cursor and isinstance(cursor[0], int) else 0
    # One more than shown tells whether there is another page.
    found = await info.context.loaders.changes(seq, first + 1).load(root.id)
    info.context.hold(len(found))
    return Changes(root.id, found, first, cursor is not None)


async def _address(root: port.Node, info: Info) -> str:
    return await info.context.loaders.addresses().load(root)


async def _workspace(root: port.Node, info: Info) -> Any:
    return await info.context.loaders.workspaces().load(root.workspace) if root.workspace else None


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
    changes: Page[Change] = strawberry.field(resolver=_changes, description="What was done to it, the latest first.")
    owners: Connection[Node] = edge(ontology.OWNED_BY, "OUT", "Who answers for it.")
    upstream: Lineage = upstream()
    downstream: Lineage = downstream()

    @classmethod
    def resolve_type(cls, source: port.Node, info: Any, type_: Any) -> str:
        """The name of the GraphQL type of a source: its kind."""
        return source.kind
