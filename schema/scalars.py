"""Scalars of our own: how times, large integers and odd floats look in JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NewType

import strawberry
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

__all__ = ["JSON", "SCALARS", "BigInt", "DateTime", "MetricValue", "iso", "micros"]

DateTime = NewType("DateTime", int)
BigInt = NewType("BigInt", int)
MetricValue = NewType("MetricValue", float)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SHAPE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_TAGGED: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def iso(value: int) -> str:
    """Microseconds since the epoch as RFC 3339 with microseconds, in UTC: 2026-01-31T08:00:00.000000Z."""
    return (_EPOCH + value * _MICROSECOND).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def micros(value: Any) -> int:
    """RFC 3339 as microseconds since the epoch. Raises ValueError: no such text, or no offset."""
    if not isinstance(value, str) or not _SHAPE.fullmatch(value):
        msg = f"DateTime: must look like 2026-01-31T08:00:00Z or 2026-01-31T09:00:00.123456+01:00, not {value!r}"
        raise ValueError(msg)
    return (datetime.fromisoformat(value.upper()) - _EPOCH) // _MICROSECOND


def _big(value: Any) -> int:
    """A whole number of 64 bits. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        msg = f"BigInt: must be a whole number of 64 bits, as a number or as decimal digits in a string, not {value!r}"
        raise ValueError(msg)
    return value


def _show_figure(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _figure(value: Any) -> float:
    """A figure of a metric. Raises TypeError."""
    if isinstance(value, str) and value in _TAGGED:
        return _TAGGED[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f'MetricValue: must be a number, "NaN", "Infinity" or "-Infinity", not {value!r}'
        raise TypeError(msg)
    return float(value)


SCALARS: Final[Mapping[object, ScalarDefinition]] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A time in UTC with microseconds, as RFC 3339 has it: 2026-01-31T08:00:00.000000Z. "
        "Any offset is taken, UTC is given.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=iso,
        parse_value=micros,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number that may exceed 32 bits, as decimal digits in a string. Numbers are taken too.",
        serialize=str,
        parse_value=_big,
    ),
    MetricValue: strawberry.scalar(
        name="MetricValue",
        description='A figure of a metric: a number, or "NaN", "Infinity" or "-Infinity", for which JSON has none.',
        serialize=_show_figure,
        parse_value=_figure,
    ),
}
"""What to give StrawberryConfig as `scalar_map`."""
