"""Lineage and paths, as GraphQL shows them: what is hidden goes by a handle, everywhere alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final

import strawberry

from graph import port
from resolvers import reading
from schema.context import Context, Info
from schema.costs import HEAVY
from schema.enums import EdgeKind, NodeKind
from schema.scalars import BigInt, DateTime

if TYPE_CHECKING:
    from schema.node import Node

AnyNode = Annotated["Node", strawberry.lazy("schema.node")]

Depth = Annotated[int, strawberry.argument(description=f"How many hops to walk: 1 to {port.MAX_DEPTH}.")]
Edges = Annotated[
    list[EdgeKind] | None,
    strawberry.argument(description="The kinds of edge to walk; all that carry lineage unless given."),
]
Kinds = Annotated[
    list[NodeKind] | None,
    strawberry.argument(description="The kinds of node to return; the walk goes through the others."),
]
AsOf = Annotated[DateTime | None, strawberry.argument(description="Look at the edges and nodes of this time.")]
Limit = Annotated[int, strawberry.argument(description=f"How many nodes to return: 1 to {port.MAX_LINEAGE}.")]
FrontierFirst = Annotated[int, strawberry.argument(description=f"How many to give: 1 to {port.MAX_LINEAGE}.")]


@strawberry.type(description="A node in lineage.")
class LineageNode:
    """A node that a walk found."""

    id: strawberry.ID = strawberry.field(
        description="Its id; of a restricted one a handle that only stands for it here, begins with restricted_, and "
        "is the same for one reader at all times."
    )
    kind: NodeKind = strawberry.field(description="Its kind.")
    distance: int = strawberry.field(
        description="How many hops it is from the nearest root; in a path, from its start."
    )
    node: AnyNode | None = strawberry.field(description="The node itself; null when it is restricted.")
    restricted: bool = strawberry.field(description="Whether it is there, but not to be read by you.")


@strawberry.type(description="An edge in lineage. It points from what exists because of something to that something.")
class LineageEdge:
    """An edge that a walk found."""

    kind: EdgeKind = strawberry.field(description="Its kind.")
    source: strawberry.ID = strawberry.field(description="The id or handle of the node that it begins at.")
    target: strawberry.ID = strawberry.field(description="The id or handle of the node that it points to.")
    discriminator: str | None = strawberry.field(description="The role, relation or split, where it has one.")
    since: DateTime = strawberry.field(description="When it began to hold.")
    until: DateTime | None = strawberry.field(description="When it ceased to hold; null while it holds.")
    weight: float | None = strawberry.field(description="Share of the traffic, from 0 to 1, where it carries some.")


@strawberry.type(description="How many walked nodes are of a kind.")
class KindCount:
    """A count by kind."""

    kind: NodeKind = strawberry.field(description="The kind.")
    count: int = strawberry.field(description="How many.")


async def _frontier(root: Walked, info: Info, first: FrontierFirst = 1_000) -> list[strawberry.ID]:
    reading.bounded(first, 1, port.MAX_LINEAGE, field="first")
    ids = root.closure.frontier[:first]
    hidden = await reading.hidden_among(info.context.op, ids, root.known)
    return [strawberry.ID(info.context.handle(id) if id in hidden else id) for id in ids]


@strawberry.type(description="What a walk through lineage found.")
class Lineage:
    """The answer of a walk."""

    roots: list[AnyNode] = strawberry.field(description="Where the walk began, as asked.")
    nodes: list[LineageNode] = strawberry.field(
        description="What was found, by (distance, id). A container given as root stands for its parts at distance 0."
    )
    edges: list[LineageEdge] = strawberry.field(description="All edges of the walked kinds between two of the nodes.")
    complete: bool = strawberry.field(
        description="Whether nothing was cut off, by depth, limit or rights: exactly when there is no frontier."
    )
    frontier: list[strawberry.ID] = strawberry.field(
        resolver=_frontier, description="The walked nodes that have more behind them, by id: where to go on from."
    )
    frontier_count: int = strawberry.field(description="How many nodes the frontier has.")
    counts_by_kind: list[KindCount] = strawberry.field(
        description="How many nodes of each kind were walked, returned or not."
    )


@strawberry.type(description="One way from a node to another.")
class LineagePath:
    """A path."""

    length: int = strawberry.field(description="How many hops it has.")
    nodes: list[LineageNode] = strawberry.field(description="Its nodes, from start to end.")
    hops: list[LineageHop] = strawberry.field(description="Its hops, one fewer than nodes.")


@strawberry.type(description="A step between two nodes that follow each other in a path.")
class LineageHop:
    """A hop."""

    edges: list[LineageEdge] = strawberry.field(description="All edges between the two.")


@strawberry.type(description="The ways between two nodes.")
class Paths:
    """The answer of a question for paths."""

    count: BigInt | None = strawberry.field(description="How many there are in all, exactly; null when not complete.")
    complete: bool = strawberry.field(description="Whether everything between the two could be walked.")
    paths: list[LineagePath] = strawberry.field(description="The first of them, by (length, ids).")


class Reached:
    """A node of lineage, as resolvers give it."""

    __slots__ = ("distance", "id", "kind", "node", "restricted")

    def __init__(self, context: Context, node: port.Node, distance: int) -> None:
        self.id = node.id if node.visible else context.handle(node.id)
        self.kind = node.kind
        self.distance = distance
        self.node = node if node.visible else None
        self.restricted = not node.visible


class Arrow:
    """An edge of lineage, as resolvers give it."""

    __slots__ = ("discriminator", "kind", "since", "source", "target", "until", "weight")

    def __init__(self, edge: port.Edge, name: Callable[[str], str]) -> None:
        self.kind = edge.kind
        self.source = name(edge.source)
        self.target = name(edge.target)
        # What an edge says was written at its source, and is hidden with it; the two ends are its shape.
        told = self.source == edge.source
        self.discriminator = edge.discriminator or None if told else None
        self.since = edge.since
        self.until = edge.until
        self.weight = edge.props.get("weight") if told else None


class Walked:
    """A lineage, as resolvers give it."""

    def __init__(self, context: Context, found: reading.Lineage) -> None:
        self._context = context
        self.roots = found.roots
        self.closure = found.closure

    @cached_property
    def known(self) -> Mapping[str, bool]:
        """Whether each returned node is visible."""
        return {node.id: node.visible for node, _ in self.closure.nodes}

    @cached_property
    def nodes(self) -> list[Reached]:
        """The nodes."""
        return [Reached(self._context, node, distance) for node, distance in self.closure.nodes]

    @cached_property
    def edges(self) -> list[Arrow]:
        """The edges."""
        name = _namer(self._context, (node for node, _ in self.closure.nodes))
        return [Arrow(edge, name) for edge in self.closure.edges]

    @property
    def complete(self) -> bool:
        """Whether nothing was cut off."""
        return self.closure.complete

    @property
    def frontier_count(self) -> int:
        """How many nodes there are to go on from."""
        return len(self.closure.frontier)

    @property
    def counts_by_kind(self) -> list[KindCount]:
        """Counts, in the ontology's order of kinds."""
        counts = self.closure.counts
        return [KindCount(kind=kind, count=counts[kind.value]) for kind in NodeKind if counts.get(kind.value)]


def path_answer(context: Context, found: port.Paths) -> Any:
    """Paths, as resolvers give them."""
    name = _namer(context, found.nodes.values())
    hops = {pair: LineageHop(edges=[Arrow(edge, name) for edge in edges]) for pair, edges in found.edges.items()}  # type: ignore[misc]

    def path(ids: Sequence[str]) -> LineagePath:
        return LineagePath(
            length=len(ids) - 1,
            nodes=[Reached(context, found.nodes[id], place) for place, id in enumerate(ids)],  # type: ignore[misc]
            hops=[hops[pair] for pair in pairwise(ids)],
        )

    return Paths(
        count=None if found.count is None else BigInt(found.count),
        complete=found.complete,
        paths=[path(ids) for ids in found.paths],
    )


def _namer(context: Context, nodes: Iterable[port.Node]) -> Callable[[str], str]:
    handles = {node.id: context.handle(node.id) for node in nodes if not node.visible}
    return lambda own: handles.get(own, own)


def values(members: Iterable[Any] | None) -> list[str] | None:
    """The ontology's names of enum members."""
    return None if members is None else [member.value for member in members]


async def read_from(
    info: Info,
    of: Sequence[str],
    direction: port.Direction,
    depth: int,
    edges: Any,
    kinds: Any,
    as_of: int | None,
    limit: int,
) -> reading.Lineage:
    """A lineage from ids or addresses, as it was read; what it has counts in the answer."""
    context = info.context
    context.read(HEAVY)
    found = await reading.lineage(
        context.op,
        of,
        direction=direction,
        depth=depth,
        edges=values(edges),
        kinds=values(kinds),
        as_of=as_of,
        limit=limit,
    )
    context.read(found.closure.passed)
    context.hold(len(found.closure.nodes))
    return found


def _from_node(direction: port.Direction, description: str) -> Any:
    async def walk(
        root: port.Node,
        info: Info,
        depth: Depth = reading.DEFAULT_DEPTH,
        edges: Edges = None,
        kinds: Kinds = None,
        as_of: AsOf = None,
        limit: Limit = reading.DEFAULT_LIMIT,
    ) -> Lineage | None:
        context = info.context
        context.walk()
        asked = reading.walk_of(
            context.op, direction, depth=depth, edges=values(edges), kinds=values(kinds), as_of=as_of, limit=limit
        )
        found = await context.loaders.lineages(asked).load(root)
        context.read(found.closure.passed)
        context.hold(len(found.closure.nodes))
        walked: Any = Walked(context, found)
        return walked  # type: ignore[no-any-return]

    return strawberry.field(resolver=walk, description=description)


UPSTREAM: Final = "What it came from, along the arrows; for each node of a list a walk of its own."
DOWNSTREAM: Final = "What came of it, against the arrows; for each node of a list a walk of its own."


def upstream() -> Any:
    """The field `upstream`."""
    return _from_node(port.Direction.UPSTREAM, UPSTREAM)


def downstream() -> Any:
    """The field `downstream`."""
    return _from_node(port.Direction.DOWNSTREAM, DOWNSTREAM)
