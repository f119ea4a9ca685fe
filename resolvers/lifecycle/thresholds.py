"""What a figure of a version must come to: `auc >= 0.9`, or `auc >= champion.auc - 0.01`.

    threshold := metric op (number | name "." metric [("+" | "-") number])
    op        := ">=" | "<=" | ">" | "<"

`name` is a stage or an alias of the same model. Names with blanks, or with one of `"<>=`, stand in double quotes;
blanks go around `+` and `-`, which may be part of a name.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lineal.errors import InvalidArgument

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NAME: Final = r'(?:"[^"]+"|[^\s"<>={}]+(?:\{[^{}"]*\})?)'
_DIGITS: Final = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER: Final = rf"[+-]?{_DIGITS}"
_SHAPE: Final = re.compile(rf"\s*(?P<metric>{_NAME})\s*(?P<op>>=|<=|>|<)\s*(?P<rest>\S.*?)\s*")
_REST: Final = re.compile(rf'(?P<ref>"[^"]+"|[\w-]+)\.(?P<metric>{_NAME})(?:\s+(?P<sign>[+-])\s*(?P<delta>{_DIGITS}))?')


@dataclass(frozen=True, slots=True)
class Threshold:
    """A comparison of a metric with a number, or with a metric of the version that `reference` names, and `number`."""

    metric: str
    op: str
    number: float
    reference: str | None = None
    other: str = ""

    def met(self, value: float, theirs: float = 0.0) -> bool:
        """Whether it holds of these figures; of NaN and of what is infinite nothing holds."""
        return math.isfinite(value) and math.isfinite(theirs) and OPERATORS[self.op](value, self.limit(theirs))

    def limit(self, theirs: float = 0.0) -> float:
        """What the metric is compared with."""
        return theirs + self.number if self.reference is not None else self.number

    def words(self, value: float, theirs: float = 0.0) -> str:
        """The comparison with its figures."""
        said = f"{self.metric} {value:.6g} {self.op} "
        if self.reference is None:
            return f"{said}{self.number:.6g}"
        said += f"{self.reference}.{self.other} {theirs:.6g}"
        if self.number:
            said += f" {'+' if self.number > 0 else '-'} {abs(self.number):.6g} = {self.limit(theirs):.6g}"
        return said


def parse(text: str, field: str) -> Threshold:
    """Read a threshold. Raises InvalidArgument, showing what one looks like."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _wrong(text, field)
    metric, op, rest = _bare(shape["metric"]), shape["op"], shape["rest"]
    if re.fullmatch(_NUMBER, rest):
        return Threshold(metric, op, _finite(rest, text, field))
    found = _REST.fullmatch(rest)
    if found is None:
        raise _wrong(text, field)
    delta = _finite(f"{found['sign']}{found['delta']}", text, field) if found["sign"] else 0.0
    return Threshold(metric, op, delta, _bare(found["ref"]), _bare(found["metric"]))


def _finite(number: str, text: str, field: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise _wrong(text, field)
    return value


def _bare(name: str) -> str:
    return name.strip('"')


def _wrong(text: str, field: str) -> InvalidArgument:
    msg = (
        f"{field}: {text!r:.200} is no threshold; one looks like auc >= 0.9, or auc >= champion.auc - 0.01 where "
        "champion is an alias or a stage of the model"
    )
    return InvalidArgument(msg, field=field)


# ── Slices ────────────────────────────────────────────────────────────────────────────────────────

EVERY: Final = "*"
"""In the place of a slice's value: each one that there is."""


def sliced(metric: str, slice: Mapping[str, str]) -> str:
    """What a metric is called on a slice: auc{country=DE}."""
    if not slice:
        return metric
    return f"{metric}{{{','.join(f'{name}={slice[name]}' for name in sorted(slice))}}}"


def unsliced(name: str) -> tuple[str, dict[str, str]] | None:
    """The metric and the slice of such a name, or None where it is of no slice."""
    if not name.endswith("}") or "{" not in name:
        return None
    metric, _, inside = name[:-1].partition("{")
    pairs = [part.partition("=") for part in inside.split(",")]
    if not metric or any(not key or not equals for key, equals, _ in pairs):
        return None
    return metric, {key.strip(): value.strip() for key, _, value in pairs}
