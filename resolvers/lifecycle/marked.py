"""What is marked, or was at a time, and all that came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from graph.ontology import MARK
from graph.port import EVERYTHING, All, Cursor, Hop, Node, Order, Paging, Prop, Where
from resolvers.lifecycle.descent import as_seen, descendants
from resolvers.lifecycle.told import told_to_serve
from resolvers.operation import Operation
from resolvers.reading import Lineage

MARKS = Hop("MARKS", "OUT")
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Marked:
    """A time during which a mark was on something; `until` is None while it is."""

    mark: Node
    of: Node
    since: int
    until: int | None

    def at(self, time: int | None) -> bool:
        """Whether it was on at this time (None: whether it is on)."""
        return self.until is None if time is None else self.since <= time < (self.until or time + 1)


@dataclass(frozen=True)
class Affected:
    """What came of something that is marked: model versions, and the deployments that serve them or were told to.

    `told` are those of these that do not serve any yet. `seen` is whether none of them was left out for want of rights.
    """

    lineage: Lineage
    told: Sequence[Node]
    seen: bool

    @cached_property
    def versions(self) -> Sequence[Node]:
        """The versions, those that are hidden too, nearest first."""
        return self._of("ModelVersion")

    @cached_property
    def deployments(self) -> Sequence[Node]:
        """The deployments, those that are hidden too: those that serve them nearest first, then the others."""
        return [*self._of("Deployment"), *self.told]

    @cached_property
    def models(self) -> Sequence[str]:
        """The ids of the models of those versions that are not hidden, in order."""
        return sorted({node.container for node in self.versions if node.visible})

    @property
    def model_count(self) -> int:
        """How many models there are of those that are not hidden."""
        return len(self.models)

    @property
    def version_count(self) -> int:
        """How many versions there are."""
        return len(self.versions)

    @property
    def deployment_count(self) -> int:
        """How many deployments there are."""
        return len(self.deployments)

    @property
    def restricted_count(self) -> int:
        """How many of the versions and deployments are hidden."""
        return sum(not node.visible for node in (*self.versions, *self.deployments))

    @property
    def complete(self) -> bool:
        """Whether nothing was cut off, by limits or rights."""
        return self.lineage.closure.complete and self.seen

    def _of(self, kind: str) -> list[Node]:
        return [node for node, _ in self.lineage.closure.nodes if node.kind == kind]


async def last_marked(op: Operation, marks: Sequence[Node]) -> dict[str, Marked]:
    """What each of these marks is on, or was on last; those of which that is hidden or deleted are missing."""
    found = await (await op.snapshot()).history([mark.id for mark in marks], MARKS, paging=Paging(first=1))
    last = [(mark, link) for mark in marks if mark.id in found for link in found[mark.id].items]
    return {mark.id: Marked(mark, link.node, link.edge.since, link.edge.until) for mark, link in last}


async def marked(
    op: Operation, *, type: str | None = None, as_of: int | None = None, after: Cursor | None = None, limit: int = 50
) -> tuple[list[tuple[Marked, Cursor]], bool]:
    """Marks that are on, or were at a time (microseconds), the oldest first; and whether there are more."""
    conditions: tuple[Where, ...] = () if as_of is None else (Prop("createdAt", "lte", as_of),)
    if type is not None:
        conditions += (Prop("type", "eq", type),)
    snapshot = await op.snapshot()
    found: list[tuple[Marked, Cursor]] = []
    more = True
    while more and len(found) <= limit:
        page = await snapshot.find(MARK.name, All(conditions), order=Order("createdAt"), paging=Paging(_BATCH, after))
        on = await last_marked(op, page.items)
        pairs = zip(page.items, page.cursors, strict=True)
        found += [(on[mark.id], cursor) for mark, cursor in pairs if mark.id in on and on[mark.id].at(as_of)]
        after, more = page.cursors[-1] if page.cursors else None, page.has_next
    return found[:limit], len(found) > limit


async def affected(op: Operation, marked: Marked) -> Affected:
    """All that came of what a mark is or was on, as far as lineage shows it to the caller."""
    snapshot = await op.snapshot()
    view = snapshot.view
    closure = await descendants(snapshot, marked.of, walk_limit=op.walk_limit)
    found = {node.id: node.kind for node, _ in closure.nodes}
    versions = [id for id, kind in found.items() if kind == "ModelVersion"]
    told = {each.deployment.id: each.deployment for each in await told_to_serve(snapshot.seeing(EVERYTHING), versions)}
    more = [told[id] for id in sorted(told.keys() - found.keys())]
    reached = [node for node in more if view.shows(node) or node.workspace not in view.opaque]
    return Affected(
        Lineage([marked.of], closure), [as_seen(node, view) for node in reached], seen=len(reached) == len(more)
    )
