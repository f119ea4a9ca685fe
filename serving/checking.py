"""What adapters refuse before a platform is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lineal.errors import InvalidArgument, PreconditionFailed
from serving.port import ROUNDING, Desired
from storage import configuration
from storage.configuration import Kind


def check_words(given: Mapping[str, Any], kinds: Mapping[str, Kind], at: str) -> None:
    """Settings or resources: only these, each of its kind. Raises InvalidArgument."""
    configuration.known(given, kinds, at)
    for name, value in given.items():
        configuration.check(value, kinds[name], f"{at}.{name}")


def check_count(given: Mapping[str, Any], name: str, at: str, largest: int) -> None:
    """A whole number from 1, where it is given. Raises InvalidArgument."""
    if name in given and not 1 <= given[name] <= largest:
        raise InvalidArgument(f"{at}.{name}: must be from 1 to {largest:,}", field=f"{at}.{name}")


def check_unsplit(desired: Desired, platform: str) -> None:
    """One version with all requests, and the others beside it. Raises PreconditionFailed."""
    whole = 0
    for i, each in enumerate(desired.served):
        whole += abs(each.weight - 1) < ROUNDING
        if ROUNDING <= each.weight <= 1 - ROUNDING or whole > 1:
            raise wrong_weight(i, each.weight, f"{platform} does not split requests: one version has 1, the others 0")
    if desired.served and not whole:
        raise wrong_weight(0, desired.served[0].weight, f"{platform} needs one version with 1, the others with 0")


def wrong_weight(i: int, weight: float, right: str) -> PreconditionFailed:
    """The refusal of the share of a version, by its place, which says what would be right."""
    at = f"serves[{i}].weight"
    return PreconditionFailed(f"{at}: must not be {weight:g}; {right}", field=at)


def too_many(desired: Desired, most: int, whom: str) -> None:
    """Raises PreconditionFailed: these are more versions than may be served at a time."""
    if len(desired.served) > most:
        n = len(desired.served)
        raise PreconditionFailed(f"serves: has {n} versions; {whom} serves at most {most} at a time", field="serves")


def default_of(desired: Desired) -> int | None:
    """The number of the version that answers requests that name none; None where nothing is served."""
    return max(desired.served, key=lambda each: each.weight).number if desired.served else None
