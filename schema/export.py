"""exportLineage: a lineage in a form that other tools read, in the answer or at an address."""

from __future__ import annotations

from typing import Annotated, Any, Final

import strawberry

from graph import port
from resolvers import reading
from resolvers.artifacts.downloads import LINK_SECONDS
from resolvers.exporting.exporting import FORMATS, MAX_EXPORT, Exported, export
from resolvers.exporting.linking import link
from resolvers.reading import bounded
from schema.context import Info
from schema.enums import ExportFormat, LineageDirection
from schema.lineage import AsOf, Depth, Edges, Kinds, Limit, read_from
from schema.scalars import BigInt

INLINE: Final = 4 * 2**20
"""Bytes of an export that an answer has unless more are asked for."""


async def _content(
    root: Exported,
    at_most: Annotated[
        int, strawberry.argument(description=f"How many bytes it may have: 1 to {MAX_EXPORT}.")
    ] = INLINE,
) -> str | None:
    bounded(at_most, 1, MAX_EXPORT, field="atMost")
    return root.data.decode() if len(root.data) <= at_most else None


async def _url(
    root: Exported,
    info: Info,
    seconds: Annotated[
        int, strawberry.argument(description=f"How long it opens the export: 1 to {LINK_SECONDS}.")
    ] = LINK_SECONDS,
    above: Annotated[
        int, strawberry.argument(description="Null where it has no more bytes than this: `content` may have them then.")
    ] = 0,
) -> str | None:
    bounded(seconds, 1, LINK_SECONDS, field="seconds")
    bounded(above, 0, MAX_EXPORT, field="above")
    if len(root.data) <= above:
        return None
    return await link(info.context.op, root, seconds=seconds)


@strawberry.type(description="A lineage in a form that other tools read. What is not in it is said in it, too.")
class LineageExport:
    """Sources are resolvers.exporting.exporting.Exported."""

    format: ExportFormat = strawberry.field(resolver=lambda root: root.format.name, description="Its form.")
    media_type: str = strawberry.field(resolver=lambda root: root.format.media_type, description="Its media type.")
    filename: str = strawberry.field(description="What it may be saved as.")
    size: BigInt = strawberry.field(resolver=lambda root: BigInt(len(root.data)), description="Its size in bytes.")
    sha256: str = strawberry.field(description="The SHA-256 of its bytes, in hexadecimal.")
    complete: bool = strawberry.field(
        resolver=lambda root: root.of.complete,
        description="Whether nothing was cut off, by depth, limit or rights, or left out by edges or kinds.",
    )
    notes: list[str] = strawberry.field(
        resolver=lambda root: list(root.of.notes), description="What is not in it, each in one sentence."
    )
    content: str | None = strawberry.field(
        resolver=_content, description="All of it as text; null where it has more bytes than are asked for: see url."
    )
    url: str | None = strawberry.field(
        resolver=_url,
        description="An address that gives its bytes to a GET, with ranges, without a token. That it was asked for is "
        "in the audit.",
    )


async def export_lineage(
    info: Info,
    of: Annotated[
        list[strawberry.ID],
        strawberry.argument(
            description=f"Where to begin: 1 to {port.MAX_ROOTS} ids or addresses. A container stands for its parts."
        ),
    ],
    direction: Annotated[LineageDirection, strawberry.argument(description="Which way to walk.")],
    format: Annotated[ExportFormat, strawberry.argument(description="The form.")],
    depth: Depth = reading.DEFAULT_DEPTH,
    edges: Edges = None,
    kinds: Kinds = None,
    as_of: AsOf = None,
    limit: Limit = reading.DEFAULT_LIMIT,
) -> LineageExport | None:
    """A lineage, as `lineage` walks it, in a form."""
    context, way = info.context, direction.value
    async with context.exporting():
        found = await read_from(info, of, way, depth, edges, kinds, as_of, limit)
        form, handle = FORMATS[format.value], context.handle
        exported: Any = await export(context.op, found, form, direction=way, handle=handle, as_of=as_of)
    return exported  # type: ignore[no-any-return]
