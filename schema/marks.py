"""Marks: when they were on what, and all that came of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph import port
from resolvers.lifecycle import marked as marking
from resolvers.reading import page_size
from schema.connection import After, First, Page, Rows, decode_cursor, page_info, paging
from schema.context import Info
from schema.enums import MarkType
from schema.lineage import Lineage, Walked
from schema.scalars import DateTime

if TYPE_CHECKING:
    from schema.deployment import Deployment
    from schema.lifecycle import Mark
    from schema.model import Model
    from schema.node import Node

AsOf = Annotated[
    DateTime | None, strawberry.argument(description="Those that were on at this time; those that are on unless given.")
]
At = Annotated[DateTime | None, strawberry.argument(description="Only those that were on at this time.")]
OfType = Annotated[MarkType | None, strawberry.argument(description="Only those of this type.")]


@strawberry.type(description="A time during which a mark was on something.")
class MarkMoment:
    """A mark, on something, for a time."""

    mark: Annotated[Mark, strawberry.lazy("schema.lifecycle")] | None = strawberry.field(description="The mark.")
    of: Annotated[Node, strawberry.lazy("schema.node")] | None = strawberry.field(
        description="The data set, or the version of one, that it was on."
    )
    since: DateTime = strawberry.field(description="From when.")
    until: DateTime | None = strawberry.field(description="Until when, exclusively; null while it is on.")


def _moment(found: marking.Marked) -> Any:
    mark: Any = found.mark
    of: Any = found.of
    until = None if found.until is None else DateTime(found.until)
    return MarkMoment(mark=mark, of=of, since=DateTime(found.since), until=until)


async def _models(root: marking.Affected, info: Info, first: First = 50, after: After = None) -> Any:
    return await _page(info, root.models, first, after)


async def _deployments(root: marking.Affected, info: Info, first: First = 50, after: After = None) -> Any:
    return await _page(info, sorted(node.id for node in root.deployments if node.visible), first, after)


def _lineage(root: marking.Affected, info: Info) -> Lineage | None:
    walked: Any = Walked(info.context, root.lineage)
    return walked  # type: ignore[no-any-return]


async def _page(info: Info, ids: list[str] | Any, first: int, after: str | None) -> Any:
    page_size(first)
    cursor = decode_cursor(after, length=1)
    left = [id for id in ids if cursor is None or id > str(cursor[0])]
    found = [node for node in await info.context.loaders.nodes().load_many(left[:first]) if node is not None]
    info.context.hold(len(found))
    return Rows(found, page_info([(id,) for id in left[:first]], len(left) > first, after is not None))


@strawberry.type(
    description="What came of something: model versions, and the deployments that serve them or were told to."
)
class Affected:
    """All that is affected."""

    complete: bool = strawberry.field(
        description="Whether nothing was cut off, by limits or rights; if not, there may be more."
    )
    model_count: int = strawberry.field(
        description="How many models have affected versions, as far as you may read them.",
    )
    version_count: int = strawberry.field(
        description="How many model versions, those too that you may not read.",
    )
    deployment_count: int = strawberry.field(
        description="How many deployments, those too that you may not read.",
    )
    restricted_count: int = strawberry.field(description="How many of the versions and deployments you may not read.")
    models: Page[Annotated[Model, strawberry.lazy("schema.model")]] | None = strawberry.field(
        resolver=_models, description="The models that have affected versions, by id."
    )
    deployments: Page[Annotated[Deployment, strawberry.lazy("schema.deployment")]] | None = strawberry.field(
        resolver=_deployments, description="The deployments that serve affected versions, or were told to, by id."
    )
    lineage: Lineage | None = strawberry.field(
        resolver=_lineage,
        description="The versions and deployments as the walk found them, those that you may not read as restricted "
        "nodes.",
    )


async def _affected(root: port.Node, info: Info) -> Affected | None:
    info.context.walk()
    found = (await marking.last_marked(info.context.op, [root])).get(root.id)
    if found is None:
        return None
    affected: Any = await marking.affected(info.context.op, found)
    info.context.read(affected.lineage.closure.passed)
    info.context.hold(affected.version_count + affected.deployment_count)
    return affected  # type: ignore[no-any-return]


async def _moments_of(
    root: port.Node, info: Info, as_of: At = None, first: First = 50, after: After = None
) -> Page[MarkMoment] | None:
    asked = paging(first, after)
    hop = port.Hop(marking.MARKS.edge, "IN", "Mark")
    page = await info.context.loaders.history(hop, None, as_of, asked).load(root.id)
    info.context.hold(len(page.items))
    nodes = [_moment(marking.Marked(link.node, root, link.edge.since, link.edge.until)) for link in page.items]
    answer: Any = Rows(nodes, page_info(page.cursors, page.has_next, after is not None))
    return answer  # type: ignore[no-any-return]


async def _moment_of_mark(root: port.Node, info: Info) -> MarkMoment | None:
    found = (await marking.last_marked(info.context.op, [root])).get(root.id)
    moment: Any = found and _moment(found)
    return moment  # type: ignore[no-any-return]


async def _marked(
    info: Info, as_of: AsOf = None, type: OfType = None, first: First = 50, after: After = None
) -> Page[MarkMoment] | None:
    page_size(first)
    found, more = await marking.marked(
        info.context.op,
        type=None if type is None else type.value,
        as_of=as_of,
        after=decode_cursor(after),
        limit=first,
    )
    info.context.hold(len(found))
    nodes = [_moment(each) for each, _ in found]
    page: Any = Rows(nodes, page_info([cursor for _, cursor in found], more, after is not None))
    return page  # type: ignore[no-any-return]


def affected() -> Any:
    """The field `affected` of a mark."""
    return strawberry.field(
        resolver=_affected,
        description="All that came of what it is on, or was on last, as it is now: model versions and the deployments "
        "that serve them or were told to. Null where you may not see what it is on.",
    )


def mark_history() -> Any:
    """The field `markHistory` of what can be marked."""
    return strawberry.field(
        resolver=_moments_of, description="The marks that are on it, and those that were, the latest first."
    )


def moment() -> Any:
    """The field `moment` of a mark."""
    return strawberry.field(resolver=_moment_of_mark, description="What it is on, or was on last, and when.")


def marked() -> Any:
    """The field `marked` at the root."""
    return strawberry.field(
        resolver=_marked, description="Which data sets and versions of such are marked, or were at a time."
    )
