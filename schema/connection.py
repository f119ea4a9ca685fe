"""Pages of lists: Relay connections by keyset, and plain pages of what has no edges.

Cursors are the port's, as opaque text: see https://relay.dev/graphql/connections.htm.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar

import strawberry

from graph import port
from lineal.errors import InvalidArgument
from resolvers.reading import page_size
from schema.scalars import DateTime

T = TypeVar("T")

DEFAULT_FIRST = 50

FIRST_DOC = f"How many to give: 1 to {port.MAX_PAGE}."
AFTER_DOC = "Give those after this cursor: an endCursor from before."

First = Annotated[int, strawberry.argument(description=FIRST_DOC)]
After = Annotated[str | None, strawberry.argument(description=AFTER_DOC)]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Relay's PageInfo."""

    has_next_page: bool = strawberry.field(description="Whether there is more after this page.")
    has_previous_page: bool = strawberry.field(description="Whether this page was asked for by a cursor.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first item here.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last item here: what `after` takes.")


@strawberry.type(description="One item of a list, and the graph's edge that led to it, where one did.")
class Edge(Generic[T]):
    """Relay's edge, with the facts of the graph's."""

    cursor: str = strawberry.field(description="Where the item stands in the list.")
    node: T = strawberry.field(description="The item.")
    discriminator: str | None = strawberry.field(
        description="What tells the edge from others of its kind: the role of a read, the relation of a derivation, "
        "the split of a training, the name of an alias, a stage or an artifact."
    )
    since: DateTime | None = strawberry.field(description="When the edge began to hold.")
    until: DateTime | None = strawberry.field(description="When the edge ceased to hold; null while it holds.")
    weight: float | None = strawberry.field(
        description="Share of the traffic, from 0 to 1, where the edge carries some."
    )


@strawberry.type(description="Part of a list.")
class Connection(Generic[T]):
    """Relay's connection."""

    edges: list[Edge[T]] = strawberry.field(description="The items, each with the edge that led to it.")
    nodes: list[T] = strawberry.field(description="The items alone.")
    page_info: PageInfo = strawberry.field(description="Where this part stands in the list.")
    total_count: int = strawberry.field(description="How many items the list has in all. Counted only when asked for.")


@strawberry.type(description="Part of a list of what has no identity of its own.")
class Page(Generic[T]):
    """A page without edges."""

    nodes: list[T] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this part stands in the list.")


class Rows:
    """A page without edges, as resolvers give it."""

    def __init__(self, nodes: Sequence[Any], page: PageInfo) -> None:
        self.nodes = nodes
        self.page_info = page


def encode_cursor(cursor: Sequence[Any]) -> str:
    """A cursor as opaque text."""
    return base64.urlsafe_b64encode(json.dumps(list(cursor), separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(text: str | None, *, length: int | None = None) -> port.Cursor | None:
    """The cursor of such text. Raises InvalidArgument: it is none of ours."""
    if text is None:
        return None
    try:
        cursor = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        cursor = None
    plain = isinstance(cursor, list) and all(map(_is_plain, cursor))
    if not plain or not 0 < len(cursor) <= 8 or (length is not None and len(cursor) != length):
        msg = f"after: must be a cursor that this list gave, such as an endCursor, not {text[:80]!r}"
        raise InvalidArgument(msg, field="after")
    return tuple(cursor)


def _is_plain(value: Any) -> bool:
    """Whether a store can compare it: text that is UTF-8, a number of 64 bits, or nothing."""
    if isinstance(value, str):
        return not re.search("[\ud800-\udfff]", value)
    return value is None or isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def paging(first: int, after: str | None, count: bool = False) -> port.Paging:
    """Which part of a list is asked for. Raises InvalidArgument: first is not 1 to 500, after is no cursor."""
    return port.Paging(page_size(first), decode_cursor(after), count)


class Listed:
    """An item of a connection, as resolvers give it."""

    __slots__ = ("_cursor", "_edge", "node")

    def __init__(self, cursor: port.Cursor, node: port.Node, edge: port.Edge | None) -> None:
        self._cursor = cursor
        self._edge = edge
        self.node = node

    @property
    def cursor(self) -> str:
        """The cursor as text."""
        return encode_cursor(self._cursor)

    @property
    def discriminator(self) -> str | None:
        """None where the edge has none."""
        return (self._edge.discriminator or None) if self._edge else None

    @property
    def since(self) -> int | None:
        """When the edge began."""
        return self._edge.since if self._edge else None

    @property
    def until(self) -> int | None:
        """When the edge ended."""
        return self._edge.until if self._edge else None

    @property
    def weight(self) -> float | None:
        """The edge's weight."""
        return self._edge.props.get("weight") if self._edge else None


class Listing:
    """A connection, as resolvers give it: made of a port's page of nodes or links."""

    def __init__(self, page: port.Page[port.Node] | port.Page[port.Link], asked: port.Paging) -> None:
        self._page = page
        self._asked = asked

    @cached_property
    def edges(self) -> list[Listed]:
        """The items with their edges."""
        items: Sequence[port.Node | port.Link] = self._page.items
        return [
            Listed(cursor, item.node, item.edge) if isinstance(item, port.Link) else Listed(cursor, item, None)
            for item, cursor in zip(items, self._page.cursors, strict=True)
        ]

    @property
    def nodes(self) -> list[port.Node]:
        """The items."""
        return [item.node if isinstance(item, port.Link) else item for item in self._page.items]

    @property
    def page_info(self) -> PageInfo:
        """Where the page stands."""
        return page_info(self._page.cursors, self._page.has_next, self._asked.after is not None)

    @property
    def total_count(self) -> int | None:
        """How many there are in all, when that was asked."""
        return self._page.total


def page_info(cursors: Sequence[Sequence[Any]], has_next: bool, has_previous: bool) -> PageInfo:
    """Where a page with these cursors stands."""
    return PageInfo(
        has_next_page=has_next,
        has_previous_page=has_previous,
        start_cursor=encode_cursor(cursors[0]) if cursors else None,
        end_cursor=encode_cursor(cursors[-1]) if cursors else None,
    )
