"""What to tell KServe next, from what a service is to what it shall be.

A service has one specification. Each change of it makes a revision, and requests are divided between two of them: the
latest one that is ready, which gets `canaryTrafficPercent`, and the one that was rolled out last, which gets the rest.
At 100 percent the latest is rolled out, and the one before is let go. So:

- A version that shall answer alone is rolled out: it becomes the latest, with the share that the one before it had,
  and gets 100 percent when it is ready.
- Beside a version that is rolled out already, another one becomes the latest, and never has more than its share.
- To go back to what is rolled out, the latest gets 0 percent, at once, and is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.port import ROUNDING

ALL: Final = 100
"""Percent."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What makes a revision one of a version: its number, the tag of its files, and a digest of all that is told.

    The number is None where somebody else told it.
    """

    number: int | None
    tag: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """What a service is: the shape of its specification, whether its revision is ready, the share of the latest.

    `base` is the shape of what was rolled out last, None where that is unknown or nothing.
    """

    latest: Shape
    ready: bool
    percent: int
    base: Shape | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that shall be served, with its share in percent."""

    shape: Shape
    percent: int


@dataclass(frozen=True, slots=True)
class Step:
    """What to tell: the version to specify, and the share of the latest."""

    shape: Shape
    percent: int


def percent_of(weight: float) -> int | None:
    """A weight in percent, None where that is not a whole number."""
    percent = round(weight * ALL)
    return percent if abs(percent / ALL - weight) < ROUNDING else None


def first(wanted: Sequence[Wanted]) -> Step:
    """What to tell where there is nothing: the version with the largest share, alone."""
    return Step(max(wanted, key=lambda each: each.percent).shape, ALL)


def following(service: Service, wanted: Sequence[Wanted]) -> Step | None:
    """What to tell next; None where there is nothing to do, or nothing but to wait."""
    base = _base(service, wanted)
    beside = next((each for each in wanted if each.shape != base), None)
    step: Step | None
    if service.base != base:
        step = _rolled_out(service, base)
    elif beside is not None:
        step = _beside(service, beside)
    else:
        # Whatever the share of the latest is, both it and what is rolled out are of this version.
        step = None if service.latest == base else Step(base, 0)
    return None if step == Step(service.latest, service.percent) else step


def _base(service: Service, wanted: Sequence[Wanted]) -> Shape:
    """What is to be rolled out: what has all requests, what is already, or what has most of them."""
    shapes = [each.shape for each in wanted if each.percent == ALL]
    if not shapes:
        shapes = [each.shape for each in wanted if each.shape == service.base]
    return shapes[0] if shapes else first(wanted).shape


def _rolled_out(service: Service, shape: Shape) -> Step:
    if service.latest != shape:
        return Step(shape, service.percent)
    return Step(shape, ALL if service.ready else service.percent)


def _beside(service: Service, wanted: Wanted) -> Step:
    if service.latest == wanted.shape and service.ready:
        return Step(wanted.shape, wanted.percent)
    # Until it is ready, its share goes to the one before it.
    return Step(wanted.shape, min(service.percent, wanted.percent))
