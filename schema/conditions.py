"""The smallest filters: of a text, a number, a time, a tag, a parameter, a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import strawberry
from strawberry import UNSET

from graph.port import All, Not, Op, Prop, Row, Where
from lineal.errors import InvalidArgument
from schema.enums import MetricFigure
from schema.scalars import BigInt, DateTime, MetricValue

_OPS: dict[str, Op] = {
    "eq": "eq",
    "in_": "in",
    "contains": "contains",
    "prefix": "prefix",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
}

MAX_LISTED = 500
"""Values in one `in`."""


def _field(description: str, name: str | None = None) -> Any:
    return strawberry.field(description=description, name=name, default=UNSET)


@strawberry.input(description="What a text must be like: all that is set must hold.")
class StringFilter:
    """A condition on a text."""

    eq: str | None = _field("Exactly this; null: there is none.")
    in_: list[str] | None = _field(f"One of these, at most {MAX_LISTED}.", name="in")
    contains: str | None = _field("Has this in it. Names are compared without regard to case.")
    prefix: str | None = _field("Begins with this. Names are compared without regard to case.")


@strawberry.input(description="What a whole number must be like: all that is set must hold.")
class IntFilter:
    """A condition on a whole number."""

    eq: BigInt | None = _field("Exactly this; null: there is none.")
    in_: list[BigInt] | None = _field(f"One of these, at most {MAX_LISTED}.", name="in")
    gt: BigInt | None = _field("Greater than this.")
    gte: BigInt | None = _field("This or greater.")
    lt: BigInt | None = _field("Less than this.")
    lte: BigInt | None = _field("This or less.")


@strawberry.input(description="When something must have been: all that is set must hold.")
class TimeFilter:
    """A condition on a time."""

    eq: DateTime | None = _field("Exactly then; null: there is none.")
    gt: DateTime | None = _field("After this.")
    gte: DateTime | None = _field("Then or after.")
    lt: DateTime | None = _field("Before this.")
    lte: DateTime | None = _field("Then or before.")


@strawberry.input(description="A tag that must be there, and what its value must be like.")
class TagFilter(StringFilter):
    """A condition on a tag."""

    name: str = strawberry.field(description="The tag's name.")


@strawberry.input(description="A parameter that must be there, and what its value must be like.")
class ParamFilter(StringFilter):
    """A condition on a parameter."""

    name: str = strawberry.field(description="The parameter's name.")


@strawberry.input(description="A metric that must be there, and what its figure must be like. NaN is like nothing.")
class MetricFilter:
    """A condition on a metric."""

    name: str = strawberry.field(description="The metric's name.")
    figure: MetricFigure = strawberry.field(
        description="Which figure is compared.", name="field", default=MetricFigure("value")
    )
    eq: MetricValue | None = _field("Exactly this.")
    gt: MetricValue | None = _field("Greater than this.")
    gte: MetricValue | None = _field("This or greater.")
    lt: MetricValue | None = _field("Less than this.")
    lte: MetricValue | None = _field("This or less.")


def _given(value: Any, at: str) -> Iterator[tuple[Op, Any]]:
    """The comparisons that were set. Raises InvalidArgument: null where it means nothing, too many values."""
    for name, op in _OPS.items():
        given = getattr(value, name, UNSET)
        if given is UNSET:
            continue
        if given is None and op != "eq":
            msg = f"{at}.{op}: must not be null; leave it out, or use eq: null for what is absent"
            raise InvalidArgument(msg, field=f"{at}.{op}")
        if isinstance(given, list):
            if len(given) > MAX_LISTED:
                msg = f"{at}.in: has {len(given)} values; at most {MAX_LISTED} are allowed"
                raise InvalidArgument(msg, field=f"{at}.in")
            given = tuple(given)
        yield op, given


def on_property(name: str, at: str) -> Callable[[Any], Where]:
    """Makes conditions on a property out of a filter of its type."""

    def compile(value: Any) -> Where:
        return All(tuple(Prop(name, op, given) for op, given in _given(value, at)))

    return compile


def on_rows(table: Literal["tags", "params", "metrics"]) -> Callable[[Any], Where]:
    """Makes conditions on tags, parameters or metrics out of a list of filters: each must hold."""

    def compile(values: Any) -> Where:
        return All(tuple(_row(table, value) for value in values))

    return compile


def _row(table: Literal["tags", "params", "metrics"], value: Any) -> Where:
    figure: Any = value.figure.value if isinstance(value, MetricFilter) else "value"
    conditions: list[Where] = []
    for op, given in _given(value, table):
        if given is None:
            conditions.append(Not(Row(table, value.name)))
        else:
            conditions.append(Row(table, value.name, op, given, figure))
    return All(tuple(conditions)) if conditions else Row(table, value.name)
