"""What can be asked of the graph: one thing by address, lineage, paths, search.

Every face (GraphQL, REST, the command line) asks through these functions, so that limits, defaults and
refusals are the same everywhere. They take an Operation and read from its snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graph import ontology
from graph.address import Address, parse
from graph.port import (
    MAX_DEPTH,
    MAX_ENUMERATED,
    MAX_LINEAGE,
    MAX_PAGE,
    MAX_ROOTS,
    Closure,
    Direction,
    Hop,
    Link,
    Node,
    Order,
    Page,
    Paging,
    Paths,
    Snapshot,
    Walk,
    Where,
)
from lineal.errors import InvalidArgument, NotFound
from resolvers.operation import Operation

DEFAULT_DEPTH = 20
DEFAULT_LIMIT = 1_000
DEFAULT_PATHS = 10
MAX_SEARCH = 500
"""Characters in a search."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What was asked about, in the order asked, and what the walk found.

    `some_edges` says that it walked only some of the edges that carry lineage, `some_kinds` that only some kinds of
    what it came to are here.
    """

    roots: Sequence[Node]
    closure: Closure
    some_edges: bool = False
    some_kinds: bool = False


async def resolve(
    op: Operation,
    ref: str,
    *,
    kinds: Collection[str] | None = None,
    as_of: int | None = None,
    field: str = "address",
) -> Node | None:
    """The node of an id or an address, or None where nothing is visible.

    With `as_of` (microseconds), aliases and existence are those of that time. Raises InvalidArgument:
    the text is neither an id nor an address, or names another kind than asked for.
    """
    (node,) = await resolve_all(op, [ref], kinds=kinds, as_of=as_of, field=field)
    return node


async def resolve_all(
    op: Operation,
    refs: Sequence[str],
    *,
    kinds: Collection[str] | None = None,
    as_of: int | None = None,
    field: str = "address",
) -> list[Node | None]:
    """Like `resolve`, for many at once, in one statement and in order."""
    addresses = [parse(ref, field=field) for ref in refs]
    for ref, address in zip(refs, addresses, strict=True):
        if kinds is not None and address.kind not in kinds:
            msg = f"{field}: {ref!r} names a {address.kind}; what is asked for is a {' or '.join(sorted(kinds))}"
            raise InvalidArgument(msg, field=field)
    return await (await op.snapshot()).resolve(addresses, as_of=as_of)


async def find_all(
    op: Operation,
    refs: Sequence[str],
    *,
    kinds: Collection[str] | None = None,
    as_of: int | None = None,
    field: str = "address",
) -> list[Node]:
    """Like `resolve_all`, each node once. Raises NotFound, naming every one that is missing."""
    return there(refs, await resolve_all(op, refs, kinds=kinds, as_of=as_of, field=field), field=field)


def there(refs: Sequence[str], found: Sequence[Node | None], *, field: str) -> list[Node]:
    """Each node once that was found for these. Raises NotFound, naming every one that is missing."""
    missing = [ref for ref, node in zip(refs, found, strict=True) if node is None]
    if missing:
        msg = f"{field}: nothing is there for {', '.join(map(repr, missing))}"
        raise NotFound(msg, field=field, missing=missing)
    return list({node.id: node for node in found if node is not None}.values())


async def lineage(
    op: Operation,
    of: Sequence[str],
    *,
    direction: Direction,
    depth: int = DEFAULT_DEPTH,
    edges: Collection[str] | None = None,
    kinds: Collection[str] | None = None,
    as_of: int | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Lineage:
    """All that these came from (upstream), or that came of them (downstream), in two statements.

    `of` are ids or addresses, at most 100. `edges` are the kinds walked, all that carry lineage unless
    given; `kinds` filters what is returned, not what is walked. `depth` is 1 to 200, `limit` 1 to 20,000
    returned nodes. Raises InvalidArgument, NotFound (a root).
    """
    if not 1 <= len(of) <= MAX_ROOTS:
        msg = f"of: has {len(of)} entries; 1 to {MAX_ROOTS} are allowed"
        raise InvalidArgument(msg, field="of")
    walk = walk_of(op, direction, depth=depth, edges=edges, kinds=kinds, as_of=as_of, limit=limit)
    roots = await find_all(op, of, as_of=as_of, field="of")
    closure = await (await op.snapshot()).closure([root.id for root in roots], walk)
    return Lineage(
        roots,
        closure,
        some_edges=not set(walk.edges).issuperset(ontology.LINEAGE_EDGES),
        some_kinds=walk.kinds is not None,
    )


async def lineages(op: Operation, nodes: Sequence[Node], walk: Walk) -> list[Lineage]:
    """The lineage of each of these nodes, apart from the others, in one statement."""
    closures = await (await op.snapshot()).closures([[node.id] for node in nodes], walk)
    return [Lineage([node], closure) for node, closure in zip(nodes, closures, strict=True)]


def walk_of(
    op: Operation,
    direction: Direction,
    *,
    depth: int = DEFAULT_DEPTH,
    edges: Collection[str] | None = None,
    kinds: Collection[str] | None = None,
    as_of: int | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Walk:
    """A walk within the limits that everyone has; see `lineage`. Raises InvalidArgument."""
    return Walk(
        direction=direction,
        depth=bounded(depth, 1, MAX_DEPTH, field="depth"),
        edges=walked_edges(edges),
        kinds=None if kinds is None else frozenset(known_kinds(kinds)),
        limit=bounded(limit, 1, MAX_LINEAGE, field="limit"),
        walk_limit=op.walk_limit,
        as_of=as_of,
    )


async def paths(
    op: Operation,
    source: str,
    target: str,
    *,
    direction: Direction,
    edges: Collection[str] | None = None,
    as_of: int | None = None,
    limit: int = DEFAULT_PATHS,
) -> Paths:
    """The first ways from one thing to another, shortest first, and how many there are in all.

    Containers stand for their parts. `limit` is 1 to 1,000. Raises InvalidArgument, NotFound (either end).
    """
    walk = Walk(
        direction=direction,
        depth=MAX_DEPTH,
        edges=walked_edges(edges),
        limit=bounded(limit, 1, MAX_ENUMERATED, field="limit"),
        walk_limit=op.walk_limit,
        as_of=as_of,
    )
    ends = await resolve_all(op, [source, target], as_of=as_of, field="from, to")
    for field, ref, node in zip(("from", "to"), (source, target), ends, strict=True):
        if node is None:
            msg = f"{field}: nothing is there for {ref!r}"
            raise NotFound(msg, field=field, missing=[ref])
    start, end = (node.id for node in ends if node is not None)
    return await (await op.snapshot()).paths([start], [end], walk)


async def search(
    op: Operation, text: str, *, kinds: Collection[str] | None = None, paging: Paging | None = None
) -> Page[Node]:
    """What has every word of the text in its name, description or tags, best first.

    Raises InvalidArgument: more than 500 characters, an unknown kind.
    """
    if len(text) > MAX_SEARCH:
        msg = f"text: has {len(text)} characters; at most {MAX_SEARCH} are allowed"
        raise InvalidArgument(msg, field="text")
    names = None if kinds is None else known_kinds(kinds)
    return await (await op.snapshot()).search(text, names, paging=paging or Paging())


async def hidden_among(op: Operation, ids: Sequence[str], known: Mapping[str, bool]) -> set[str]:
    """Which of these ids the operation may not see, given what is known of some.

    Asks the store only where a view hides anything.
    """
    hidden = {id for id in ids if not known.get(id, True)}
    unknown = [id for id in ids if id not in known]
    if not op.view.whole and unknown:
        hidden |= set(unknown) - await (await op.snapshot()).seen(unknown)
    return hidden


async def principal_named(snapshot: Snapshot, name: str) -> Node | None:
    """The principal of this name, or None where there is none that shows."""
    (node,) = await snapshot.resolve([Address(ontology.PRINCIPAL.name, ontology.GLOBAL, name)])
    return node


async def all_links(
    snapshot: Snapshot, ids: Sequence[str], hop: Hop, where: Where | None = None
) -> dict[str, list[Link]]:
    """All live edges of the hop for each id, with the matching nodes at their other ends, page after page."""
    links: dict[str, list[Link]] = {}
    for id, page in (await snapshot.neighbours(ids, hop, where, paging=Paging(first=MAX_PAGE))).items():
        links[id], last = list(page.items), page
        while last.has_next:
            paging = Paging(first=MAX_PAGE, after=last.cursors[-1])
            last = (await snapshot.neighbours([id], hop, where, paging=paging))[id]
            links[id] += last.items
    return links


async def all_found(
    snapshot: Snapshot, kind: str, where: Where | None = None, *, order: Order = Order(), at_once: int = MAX_PAGE
) -> AsyncIterator[Node]:
    """All nodes of a kind that meet a condition, in order, asked for page after page as they are taken."""
    after, more = None, True
    while more:
        page = await snapshot.find(kind, where, order=order, paging=Paging(at_once, after))
        for node in page.items:
            yield node
        after, more = page.cursors[-1] if page.cursors else None, page.has_next


def bounded(value: int, low: int, high: int, *, field: str) -> int:
    """The value, when it is from `low` to `high`. Raises InvalidArgument otherwise."""
    if not low <= value <= high:
        msg = f"{field}: must be {low} to {high}, not {value}"
        raise InvalidArgument(msg, field=field)
    return value


def page_size(first: int, *, field: str = "first") -> int:
    """How many items a page may have. Raises InvalidArgument: not 1 to 500."""
    return bounded(first, 1, MAX_PAGE, field=field)


def walked_edges(edges: Collection[str] | None, *, field: str = "edges") -> tuple[str, ...]:
    """The edge kinds to walk: all that carry lineage unless some are named.

    Raises InvalidArgument: none, or one that no walk may take.
    """
    if edges is None:
        return ontology.LINEAGE_EDGES
    wrong = [name for name in edges if name not in ontology.WALKABLE_EDGES]
    if wrong or not edges:
        msg = f"{field}: must name some of {', '.join(ontology.WALKABLE_EDGES)}, not {', '.join(wrong) or 'none'}"
        raise InvalidArgument(msg, field=field)
    return tuple(dict.fromkeys(edges))


def known_kinds(kinds: Iterable[str], *, field: str = "kinds") -> list[str]:
    """The node kinds named, each once. Raises InvalidArgument: there is no such kind."""
    names = list(dict.fromkeys(kinds))
    for name in names:
        if name not in ontology.NODE_KINDS:
            msg = f"{field}: there is no node kind {name!r}; the kinds are {', '.join(ontology.NODE_KINDS)}"
            raise InvalidArgument(msg, field=field)
    return names
