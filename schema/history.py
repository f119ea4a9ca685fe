"""How aliases and stages moved: all their edges, ended ones too, as one list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import strawberry

from graph import ontology, port
from lineal.errors import InvalidArgument
from schema.connection import After, First, PageInfo, decode_cursor, encode_cursor, paging
from schema.context import Info
from schema.enums import EdgeKind
from schema.scalars import DateTime

if TYPE_CHECKING:
    from schema.lifecycle import StageMove
    from schema.model import ModelVersion

KINDS: Final = (ontology.ALIAS.name, ontology.STAGE.name)

At = Annotated[
    DateTime | None, strawberry.argument(description="Only what was true at this time: what was in production then.")
]
Named = Annotated[str | None, strawberry.argument(description="Only the alias or stage of this name.")]


@strawberry.type(description="A time during which an alias or a stage meant a version.")
class Moment:
    """One edge of an alias or a stage."""

    kind: EdgeKind = strawberry.field(description="ALIAS or STAGE.")
    name: str = strawberry.field(description="The name of the alias or stage.")
    version: Annotated[ModelVersion, strawberry.lazy("schema.model")] | None = strawberry.field(
        description="The version that it meant."
    )
    since: DateTime = strawberry.field(description="From when.")
    until: DateTime | None = strawberry.field(description="Until when, exclusively; null while it holds.")
    by: str | None = strawberry.field(description="Who brought it about, where that was kept as a move.")
    reason: str | None = strawberry.field(description="Why, in their words.")
    from_: str | None = strawberry.field(name="from", description="The stage that the version came from.")
    overridden: bool | None = strawberry.field(
        description="Whether it was let through although its gate said no; null where no move was kept."
    )
    move: Annotated[StageMove, strawberry.lazy("schema.lifecycle")] | None = strawberry.field(
        description="The move that brought it about. Every one of a stage is kept; of an alias those that a gate "
        "guards, and those with a reason."
    )


class Moments:
    """A page of the aliases' and the stages' histories, merged; its cursors say how far each of the two was read."""

    def __init__(
        self, pages: list[port.Page[port.Link]], asked: list[port.Paging], first: int, subject: port.Node
    ) -> None:
        places: list[port.Cursor | None] = [part.after for part in asked]
        items = [
            (link, cursor, which)
            for which, page in enumerate(pages)
            for link, cursor in zip(page.items, page.cursors, strict=True)
        ]
        merged = sorted(items, key=lambda item: (-item[0].edge.since, item[2]))
        cursors = []
        for _, cursor, which in merged[:first]:
            places[which] = cursor
            cursors.append([None if place is None else encode_cursor(place) for place in places])
        self.links = [link for link, _, _ in merged[:first]]
        self.subject = subject
        self.nodes: list[Any] = []
        more = len(merged) > first or any(page.has_next for page in pages)
        started = any(part.after for part in asked)
        self.page_info = PageInfo(
            has_next_page=more,
            has_previous_page=started,
            start_cursor=encode_cursor(cursors[0]) if cursors else None,
            end_cursor=encode_cursor(cursors[-1]) if cursors else None,
        )

    async def tell(self, info: Info) -> None:
        """Look up the moves that brought them about, all at once."""
        ids = [str(link.edge.props["move"]) for link in self.links if "move" in link.edge.props]
        moves = dict(zip(ids, await info.context.loaders.nodes().load_many(ids), strict=True)) if ids else {}
        self.nodes = [_moment(link, self.subject, moves.get(link.edge.props.get("move", ""))) for link in self.links]


def _moment(link: port.Link, subject: port.Node, move: port.Node | None) -> Any:
    version: Any = link.node if subject.kind == ontology.MODEL.name else subject
    edge = link.edge
    kept: Any = move
    return Moment(
        kind=EdgeKind(edge.kind),
        name=edge.discriminator,
        version=version,
        since=DateTime(edge.since),
        until=None if edge.until is None else DateTime(edge.until),
        by=None if move is None else move.created_by,
        reason=None if move is None else move.props.get("reason"),
        from_=None if move is None else move.props.get("fromStage"),
        overridden=None if move is None else bool(move.props.get("overridden")),
        move=kept,
    )


async def _history(
    root: port.Node, info: Info, name: Named = None, at: At = None, first: First = 50, after: After = None
) -> Any:
    starts = decode_cursor(after, length=len(KINDS)) or (None,) * len(KINDS)
    if not all(start is None or isinstance(start, str) for start in starts):
        msg = f"after: must be a cursor that this history gave, not {after!r}"
        raise InvalidArgument(msg, field="after")
    asked = [paging(first, start) for start in starts]
    of_model = root.kind == ontology.MODEL.name
    pages = []
    for kind, part in zip(KINDS, asked, strict=True):
        hop = port.Hop(kind, "OUT", "ModelVersion") if of_model else port.Hop(kind, "IN", "Model")
        pages.append(await info.context.loaders.history(hop, name, at, part).load(root.id))
    info.context.hold(sum(len(page.items) for page in pages))
    moments = Moments(pages, asked, first, root)
    await moments.tell(info)
    return moments


def history(description: str) -> Any:
    """The field `history` of a model or a version."""
    return strawberry.field(resolver=_history, description=description)
