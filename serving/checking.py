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
    weights = [each.weight for each in desired.served]
    whole = [weight for weight in weights if abs(weight - 1) < ROUNDING]
    if weights and (len(whole) != 1 or any(ROUNDING <= weight <= 1 - ROUNDING for weight in weights)):
        msg = f"{platform} does not split requests: give weight 1 to one version and 0 to the others"
        raise PreconditionFailed(msg)


def default_of(desired: Desired) -> int | None:
    """The number of the version that answers requests that name none; None where nothing is served."""
    return max(desired.served, key=lambda each: each.weight).number if desired.served else None
