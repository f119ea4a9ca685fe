"""recordLineage: up to 10,000 nodes and edges in one atomic call, for importers.

The same again changes nothing. However many items, the statements stay a few: one to find all that is
named, one to create, to update, to set rows, to link.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NotRequired, TypedDict

from auth.roles import Role
from graph import ontology, validation
from graph.address import parse
from graph.editing import MAX_DISCRIMINATOR
from graph.ids import kind_of
from graph.ontology import EDGE_KINDS, NODE_KINDS, EdgeKind
from graph.port import MAX_PAGE, Birth, Hop, NewEdge, Node, Paging, Point, Transaction
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, PreconditionFailed
from resolvers.artifacts.losing import becomes_ready, refuse_lacking
from resolvers.lifecycle.moving import Mover, Wish
from resolvers.lifecycle.schemes import role_for
from resolvers.writing.command import APPROVING, batch_command
from resolvers.writing.common import MetricPoint, NamedValue, label, points, present, properties, rows
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.refusing import (
    refuse_kept_files,
    refuse_lost_files,
    refuse_managed,
    refuse_other_files,
    refuse_retired_uses,
)

MAX_ITEMS: Final = 10_000
"""Nodes and edges in one call."""

MOVING: Final = (ontology.ALIAS, ontology.STAGE)
"""Kinds of edges that, while they are open, say where a version is: what was, is only told."""

CHUNKS: Final = 10
"""Chunks of a series that are read at a time."""

DECIDED: Final = frozenset({"StageScheme", "Gate", "StageMove", "Approval", "Validation", "Mark", "Notice", "Webhook"})
"""Kinds that decide of versions, tell who decided, or send what happens elsewhere: nobody writes these by another way
than their own mutations."""

KEPT: Final = frozenset({"Workspace", "Comment", "DeploymentEvent", "RunFacets", "DatasetFacets", *DECIDED})

KNOWN: Final = tuple(kind for kind in NODE_KINDS if kind not in KEPT)
"""Kinds that an importer may write; a workspace is made on purpose, comments are somebody's, and facets come with
events."""

REFUSED: Final = frozenset(
    {
        *("GRANTS", "SHARED_WITH", "ABOUT", "MENTIONS", "WATCHES", "ACTS_FOR", "EVENT_OF", "FACETS_OF"),
        *("MOVED", "REQUESTS", "REVIEWER", "DECIDED_BY", "VALIDATES", "REPORTED", "MARKS", "CONCERNS", "NOTIFIES"),
    }
)
"""Edges that no importer may record: who may see what, who said or watches what, and what was decided, have mutations
of their own."""


class ImportedNode(TypedDict):
    """A node to register, or to add to when it is there. Its address says kind, workspace and name.

    `external` marks what is named but not registered here: true only when it is new, false also when
    it is there.
    """

    address: str
    properties: NotRequired[Mapping[str, Any] | None]
    tags: NotRequired[Sequence[NamedValue]]
    params: NotRequired[Sequence[NamedValue]]
    metrics: NotRequired[Sequence[MetricPoint]]
    external: NotRequired[bool | None]
    birth: NotRequired[Birth | None]
    """When and by whom it was made, which only those say who may write everything."""
    id: NotRequired[str]
    """The id that it gets where it is new: a free one of its kind, which no face lets clients say."""


ImportedEdge = TypedDict(
    "ImportedEdge",
    {
        "from": str,
        "kind": str,
        "to": str,
        "discriminator": NotRequired[str | None],
        "since": NotRequired[int | None],
        "until": NotRequired[int | None],
        "properties": NotRequired[Mapping[str, Any] | None],
    },
)
"""An edge to record; `until` says that it has ended. Its ends are in the same call, or in the store."""


def _needed(*, nodes: Sequence[ImportedNode] = (), edges: Sequence[ImportedEdge] = (), **_: Any) -> Role:
    """Whoever puts a version into a stage approves it; which stages there are is for owners to say."""
    given = (_properties(node, f"nodes[{i}]") for i, node in enumerate(nodes))
    role = max(map(role_for, given), default=Role.CONTRIBUTOR)
    return max(role, Role.APPROVER) if any(edge["kind"] == "STAGE" for edge in edges) else role


def _properties(item: ImportedNode | ImportedEdge, at: str) -> Mapping[str, Any]:
    """The properties of an item. Raises InvalidArgument: they are JSON of another kind."""
    given: Any = item.get("properties") or {}
    if not isinstance(given, Mapping):
        msg = f"{at}.properties: must be an object of properties by name, not {given!r:.40}"
        raise InvalidArgument(msg, field=f"{at}.properties")
    return given


async def record(
    tx: Transaction, *, nodes: Sequence[ImportedNode] = (), edges: Sequence[ImportedEdge] = ()
) -> list[str]:
    """Record all of this, or nothing; the nodes are the answer, in their order.

    What is there gets the properties, tags, parameters and new points of metrics given. The edge from a
    version, field or revision to what it belongs to is made by itself. Raises InvalidArgument, NotFound,
    LimitExceeded, PreconditionFailed (each naming the place in the input, as in `edges[3].to`): also of what a
    managed deployment was told or serves, of new uses of a retired version, and where a version cannot be READY.
    """
    if (count := len(nodes) + len(edges)) > MAX_ITEMS:
        raise LimitExceeded(f"nodes, edges: {count} in one call; at most {MAX_ITEMS} are allowed", field="nodes")
    # Where something beside it needs an owner, the role alone does not say that a stage is set, too.
    if any(edge["kind"] == "STAGE" for edge in edges) and not tx.rights.holds(APPROVING):
        raise Forbidden(f"recordLineage: to set a stage needs the scope {APPROVING}", scopes=[[APPROVING]])
    draft = Draft(tx)
    named = [_named(draft, item, f"nodes[{i}]") for i, item in enumerate(nodes)]
    joined = [_joined(draft, item, f"edges[{i}]") for i, item in enumerate(edges)]
    await draft.find()
    _refuse_twice(named)
    refuse_kept_files(named)
    new_points = await _new_points(tx, named, nodes)
    for i, (reference, item) in enumerate(zip(named, nodes, strict=True)):
        if reference.node is not None:
            draft.set(reference.id, _for_existing(reference.props))
        draft.own(
            reference.id,
            tags=rows(item.get("tags", ()), "tags", f"nodes[{i}]."),
            params=rows(item.get("params", ()), "params", f"nodes[{i}]."),
            points=new_points.get(reference.id, ()),
        )
    places = [i for i, moving in enumerate(joined) if moving is None]
    _check_pairs(draft.edges(), places)
    await refuse_managed(draft, named, draft.edges(), places)
    await refuse_other_files(draft, draft.edges(), places)
    await refuse_retired_uses(draft, draft.edges(), places)
    await _raise_numbers(draft, named)
    ready = _made_ready(named)
    for id in ready:
        draft.set(id, {"lostAt": None})
    await draft.save()
    await refuse_lacking(tx, ready)
    await refuse_lost_files(tx, draft.edges(), places)
    await _move(tx, [moving for moving in joined if moving is not None])
    return [reference.id for reference in named]


record_lineage = batch_command("recordLineage", needs=_needed)(record)


@dataclass(frozen=True, slots=True)
class _Moving:
    """An open edge of a stage or an alias: it is no mere record, but moves a version."""

    model: Reference
    version: Reference
    kind: EdgeKind
    name: str
    field: str
    since: int | None

    def wish(self, version: Node) -> Wish:
        """What is wished for the version, now that it is found."""
        stage, alias = (self.name, None) if self.kind is ontology.STAGE else (None, self.name)
        return Wish(version, stage, alias, self.field, self.since)


async def _move(tx: Transaction, moving: Sequence[_Moving]) -> None:
    """Let versions come to their stages and aliases, by the one way that there is."""
    found = await tx.nodes([each.version.id for each in moving]) if moving else {}
    wishes = []
    for each in moving:
        version = found[each.version.id]
        if version.container != each.model.id:
            msg = f"{each.version.field}: {str(each.version.address)!r} is no version of {str(each.model.address)!r}"
            raise InvalidArgument(msg, field=each.version.field)
        wishes.append(each.wish(version))
    await Mover(tx, replace=False)(wishes)


def _named(draft: Draft, item: ImportedNode, at: str) -> Reference:
    field = f"{at}.address"
    address = parse(item["address"], field=field)
    if address.alias is not None:
        msg = f"{field}: {item['address']!r} is an alias; a version is written by its number, as models:/name/3"
        raise InvalidArgument(msg, field=field)
    kind = NODE_KINDS[address.kind]
    props = properties(kind, _properties(item, at), f"{at}.properties")
    if (external := item.get("external")) is not None:
        props["external"] = external
    for rows_of, has in (("params", kind.has_params), ("metrics", kind.has_metrics)):
        if item.get(rows_of) and not has:
            raise InvalidArgument(f"{at}.{rows_of}: a {kind.name} has none", field=f"{at}.{rows_of}")
    birth, new_id = item.get("birth"), item.get("id")
    return draft.expect(Reference(field, address, KNOWN, create=True, props=props, birth=birth, new_id=new_id))


def _joined(draft: Draft, item: ImportedEdge, at: str) -> _Moving | None:
    """Have an edge recorded, or say how it moves a version."""
    kind = EDGE_KINDS.get(item["kind"])
    if kind is None:
        msg = f"{at}.kind: there is no edge kind {item['kind']!r}; the kinds are {', '.join(EDGE_KINDS)}"
        raise InvalidArgument(msg, field=f"{at}.kind")
    if kind.name in REFUSED:
        raise InvalidArgument(f"{at}.kind: {kind.name} is not recorded as lineage", field=f"{at}.kind")
    source = draft.want(item["from"], f"{at}.from", *dict.fromkeys(a for a, _ in kind.ends))
    target = draft.want(item["to"], f"{at}.to", *dict.fromkeys(b for _, b in kind.ends))
    discriminator, since, until = item.get("discriminator"), item.get("since"), item.get("until")
    _check_discriminator(kind, discriminator, f"{at}.discriminator")
    now = draft.tx.now
    if since is not None and since > now:
        raise InvalidArgument(f"{at}.since: must not be in the future", field=f"{at}.since")
    if until is not None and not (now if since is None else since) <= until <= now:
        msg = f"{at}.until: must not be before `since` (now, unless given), nor in the future"
        raise InvalidArgument(msg, field=f"{at}.until")
    given = present(_properties(item, at))
    props = validation.properties(kind, given, internal=False, field=f"{at}.properties")
    if kind in MOVING and until is None:
        field = f"{at}.discriminator"
        return _Moving(source, target, kind, label(discriminator or "", field), field, since)
    draft.link(kind.name, source, target, discriminator, props=props, since=since, until=until)
    return None


def _check_discriminator(kind: EdgeKind, given: str | None, field: str) -> None:
    problem = ""
    if given and not kind.discriminator:
        problem = f"{kind.name} has none"
    elif given and len(given) > MAX_DISCRIMINATOR:
        problem = f"has {len(given)} characters; at most {MAX_DISCRIMINATOR} are allowed"
    elif not given and kind in {ontology.ALIAS, ontology.STAGE}:
        problem = f"{kind.name} needs one, its {kind.discriminator}"
    if problem:
        raise InvalidArgument(f"{field}: {problem}", field=field)


def _check_pairs(edges: Sequence[NewEdge], places: Sequence[int]) -> None:
    """Raises InvalidArgument: an edge kind that does not join these two kinds, or a part of something else."""
    for i, edge in zip(places, edges, strict=False):
        source, target = kind_of(edge.source), kind_of(edge.target)
        assert source is not None
        assert target is not None
        validation.edge_kind(edge.kind, source.name, target.name, field=f"edges[{i}].kind")


def _refuse_twice(named: Sequence[Reference]) -> None:
    first: dict[str, Reference] = {}
    for reference in named:
        if (other := first.setdefault(reference.id, reference)) is not reference:
            msg = f"{reference.field}: {str(reference.address)!r} is what {other.field} names already"
            raise InvalidArgument(msg, field=reference.field)


def _made_ready(named: Sequence[Reference]) -> dict[str, str]:
    """The model versions that are there and become READY, each with its place in the input."""
    return {
        reference.id: f"{reference.field.removesuffix('.address')}.properties.state"
        for reference in named
        if reference.node is not None
        and reference.node.kind == ontology.MODEL_VERSION.name
        and becomes_ready(reference.node, reference.props)
    }


def _for_existing(props: Mapping[str, Any]) -> dict[str, Any]:
    """What an import changes in a node that is there: naming it from elsewhere does not unregister it."""
    return {name: value for name, value in props.items() if not (name == "external" and value)}


async def _new_points(
    tx: Transaction, named: Sequence[Reference], nodes: Sequence[ImportedNode]
) -> dict[str, list[Point]]:
    """The points of each node that it does not have yet, so that importing again doubles none."""
    given = {
        reference.id: (item["metrics"], points(item["metrics"], tx.now, f"nodes[{i}]."))
        for i, (reference, item) in enumerate(zip(named, nodes, strict=True))
        if item.get("metrics")
    }
    there = await points_of(tx, [r.id for r in named if r.id in given and r.node is not None])
    return {
        id: [
            point
            for item, point in zip(items, made, strict=True)
            if trace(point, item.get("time") is not None) not in there.get(id, ())
        ]
        for id, (items, made) in given.items()
    }


async def new_points(
    tx: Transaction, given: Mapping[str, Collection[Point]], born: Collection[str]
) -> dict[str, list[Point]]:
    """Of the points of each node those that it does not have yet; those that are in `born` have none."""
    there = await points_of(tx, [id for id in given if id not in born])
    found = {
        id: sorted((p for p in points if trace(p, True) not in there.get(id, ())), key=_in_order)
        for id, points in given.items()
    }
    return {id: points for id, points in found.items() if points}


def _in_order(point: Point) -> tuple[str, int, int, str]:
    return point.name, point.step, point.time, repr(point.value)


async def points_of(tx: Transaction, owners: Sequence[str]) -> dict[str, set[tuple[str, str, int, int | None]]]:
    """All points of these owners' metrics, each with its time and without."""
    found: dict[str, set[tuple[str, str, int, int | None]]] = {}
    after, more = -1, bool(owners)
    while more:
        chunks = await tx.points(owners, after=after, chunks=CHUNKS)
        for chunk in chunks:
            for value, step, time in chunk.points:
                point = Point(chunk.name, value, step, time)
                found.setdefault(chunk.owner, set()).update((trace(point, True), trace(point, False)))
        after += CHUNKS
        more = any(chunk.number == after for chunk in chunks)
    return found


def trace(point: Point, timed: bool) -> tuple[str, str, int, int | None]:
    """What tells a point from others; figures as text, where NaN equals NaN."""
    return point.name, repr(point.value), point.step, point.time if timed else None


async def _raise_numbers(draft: Draft, named: Sequence[Reference]) -> None:
    """Let each model's last number cover its new versions. Raises PreconditionFailed: one was used before."""
    fresh: dict[str, list[Reference]] = {}
    for reference in named:
        if reference.node is None and reference.address.kind == "ModelVersion":
            fresh.setdefault(draft.created[reference.id].container or "", []).append(reference)
    known = [id for id in fresh if id not in draft.created]
    locked = await draft.tx.lock(known) if known else {}
    for id, versions in fresh.items():
        last = int(locked[id].props.get("lastNumber", 0)) if id in locked else 0
        numbers = {int(reference.address.part or 0): reference for reference in versions}
        if min(numbers) <= last:
            await _refuse_used(draft.tx, id, numbers)
        draft.set(id, {"lastNumber": max(last, *numbers)})


async def _refuse_used(tx: Transaction, model: str, numbers: Mapping[int, Reference]) -> None:
    """Raises PreconditionFailed: a deleted version had one of these numbers."""
    after, more = None, True
    while more:
        found = await tx.history([model], Hop("VERSION_OF", "IN", "ModelVersion"), paging=Paging(MAX_PAGE, after))
        page = found[model]
        for link in page.items:
            if link.edge.until is not None and (again := numbers.get(int(link.node.name))) is not None:
                msg = f"{again.field}: version {link.node.name} was deleted, and numbers are never used again"
                raise PreconditionFailed(msg, field=again.field)
        after, more = page.cursors[-1] if page.cursors else None, page.has_next
