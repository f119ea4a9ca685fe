"""What nodes own by name: tags, parameters, metrics and their series."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import strawberry

from graph import port
from lineal.errors import InvalidArgument
from resolvers.lifecycle.evaluating import by_slice
from resolvers.reading import bounded
from schema.connection import Page, PageInfo, decode_cursor, page_info
from schema.context import Info
from schema.scalars import BigInt, DateTime, MetricValue

MAX_NAMES = 500

Names = Annotated[
    list[str] | None,
    strawberry.argument(description=f"Only those of these names, at most {MAX_NAMES}; all unless given."),
]


@strawberry.type(description="A tag.")
class Tag:
    """A tag of a node."""

    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value.")


@strawberry.type(description="A parameter.")
class Param:
    """A parameter of a node."""

    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value, as text.")


@strawberry.type(description="One recorded value of a metric.")
class MetricPoint:
    """A point of a series."""

    value: MetricValue = strawberry.field(description="The value.")
    step: BigInt = strawberry.field(description="The step it was recorded at.")
    time: DateTime = strawberry.field(description="The time it was recorded at.")


class Series:
    """A page of a series, as resolvers give it: points in order of recording, cursors of (chunk, place in it)."""

    def __init__(self, chunks: list[port.Chunk], asked: int, first: int, after: port.Cursor | None) -> None:
        start = (-1, -1) if after is None else after
        places = [
            ((chunk.number, place), point)
            for chunk in chunks
            for place, point in enumerate(chunk.points)
            if (chunk.number, place) > start
        ]
        self.nodes = [
            MetricPoint(value=MetricValue(value), step=BigInt(step), time=DateTime(time))
            for _, (value, step, time) in places[:first]
        ]
        self.page_info: PageInfo = page_info(
            [cursor for cursor, _ in places[:first]], len(places) > first or len(chunks) == asked, after is not None
        )


async def _series(
    root: Owned,
    info: Info,
    first: Annotated[int, strawberry.argument(description=f"How many to give: 1 to {port.CHUNK}.")] = 100,
    after: Annotated[str | None, strawberry.argument(description="Give those after this cursor.")] = None,
) -> Any:
    bounded(first, 1, port.CHUNK, field="first")
    cursor = decode_cursor(after, length=2)
    if cursor and not all(isinstance(part, int) for part in cursor):
        msg = f"after: must be a cursor that this series gave, not {after!r}"
        raise InvalidArgument(msg, field="after")
    # A chunk may be partly read already, and the next one tells whether there is more.
    chunks = 3
    found = await info.context.loaders.points(cursor[0] - 1 if cursor else -1, chunks).load((root.owner, root.stored))
    info.context.hold(min(first, sum(len(chunk.points) for chunk in found)))
    return Series(found, chunks, first, cursor)


@strawberry.type(description="What is kept of a metric.")
class Metric:
    """A metric of a node."""

    name: str = strawberry.field(description="Its name.")
    value: MetricValue = strawberry.field(description="The last value: that of the highest step.")
    minimum: MetricValue = strawberry.field(description="The smallest value.")
    maximum: MetricValue = strawberry.field(description="The largest value.")
    step: BigInt = strawberry.field(description="The step of the last value.")
    time: DateTime = strawberry.field(description="The time of the last value.")
    count: int = strawberry.field(description="How many values were recorded.")
    series: Page[MetricPoint] = strawberry.field(resolver=_series, description="The values, in order of recording.")


class Owned:
    """A metric with its owner, as resolvers give it; `name` is shown instead of the one that it is stored under."""

    __slots__ = ("_metric", "name", "owner", "stored")

    def __init__(self, owner: str, metric: port.Metric, name: str | None = None) -> None:
        self.owner = owner
        self.stored = metric.name
        self.name = metric.name if name is None else name
        self._metric = metric

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metric, name)


@strawberry.type(description="Metrics of one part of the data that an evaluation was made on.")
class EvaluationSlice:
    """A slice."""

    name: str = strawberry.field(description="Which part, as in country=DE.")
    metrics: list[Metric] | None = strawberry.field(description="Its metrics, by name.")


async def _rows(
    kind: Any, table: Literal["tags", "params"], root: port.Node, info: Info, names: list[str] | None
) -> Any:
    found = await info.context.loaders.rows(table, _names(names)).load(root.id)
    info.context.hold(len(found))
    return [kind(name=name, value=value) for name, value in found.items()]


async def _tags(root: port.Node, info: Info, names: Names = None) -> list[Tag]:
    tags: list[Tag] = await _rows(Tag, "tags", root, info, names)
    return tags


async def _params(root: port.Node, info: Info, names: Names = None) -> list[Param]:
    params: list[Param] = await _rows(Param, "params", root, info, names)
    return params


async def _metrics(root: port.Node, info: Info, names: Names = None) -> list[Metric] | None:
    found: list[Any] = await info.context.loaders.metrics(_names(names)).load(root.id)
    info.context.hold(len(found))
    return [Owned(root.id, metric) for metric in found]  # type: ignore[misc]


async def _slices(root: port.Node, info: Info) -> list[EvaluationSlice] | None:
    found: list[port.Metric] = await info.context.loaders.metrics(None).load(root.id)
    info.context.hold(len(found))
    return [
        EvaluationSlice(name=slice, metrics=[Owned(root.id, metric, name) for name, metric in of])  # type: ignore[misc]
        for slice, of in by_slice(found).items()
    ]


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    bounded(len(names), 0, MAX_NAMES, field="names")
    return tuple(sorted(set(names)))


def tags() -> Any:
    """The field `tags`."""
    return strawberry.field(resolver=_tags, description="Its tags, by name.")


def params() -> Any:
    """The field `params`."""
    return strawberry.field(resolver=_params, description="Its parameters, by name.")


def metrics() -> Any:
    """The field `metrics`."""
    return strawberry.field(resolver=_metrics, description="Its metrics, by name.")


def slices() -> Any:
    """The field `slices`."""
    return strawberry.field(
        resolver=_slices,
        description="Its metrics on parts of the data, by part. Among its metrics they are called auc{country=DE}.",
    )
