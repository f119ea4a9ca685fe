"""The conditions of gates: what each says as JSON, read strictly into what is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from auth.roles import Role
from graph.address import Address, parse
from graph.ontology import MARK_TYPES
from lineal.errors import InvalidArgument
from resolvers.lifecycle import thresholds
from resolvers.lifecycle.members import Members, wrong

MAX_CONDITIONS: Final = 50
"""Conditions of one gate."""
MAX_APPROVALS: Final = 100
MAX_DAYS: Final = 36_500
REFUSED, ALLOWED = "refused", "allowed"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """There is an evaluation of the version on each of these data sets, none older than `days`.

    The latest one counts, and not as one where a validation reported it that failed.
    A data set stands for any of its versions, a version of one for itself.
    """

    type: ClassVar[str] = "evaluated"
    datasets: tuple[Address, ...]
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric comes to a threshold: in the latest evaluation on a data set, else in the version's own metrics.

    `slice` are the names and values of a slice; of a value * each slice that there is counts. `first` says that it
    holds where the version that it is compared with is not there yet.
    """

    type: ClassVar[str] = "threshold"
    threshold: thresholds.Threshold
    dataset: Address | None = None
    slice: tuple[tuple[str, str], ...] = ()
    first: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """The version has files, and all of them were found as they were told."""

    type: ClassVar[str] = "verified"


@dataclass(frozen=True, slots=True)
class Signed:
    """The version has files, and all of them have a VALID signature, by one of `signers` where they are given."""

    type: ClassVar[str] = "signed"
    signers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SafePickles:
    """The version has files, and each was looked through and has no pickle that is not SAFE."""

    type: ClassVar[str] = "safePickles"


@dataclass(frozen=True, slots=True)
class Licensed:
    """The licence of the version and of every version that it came from is among these, with `datasets` theirs too.

    A licence that is not known is refused unless `unknown` allows it.
    """

    type: ClassVar[str] = "license"
    allowed: frozenset[str]
    datasets: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class CleanData:
    """Nothing that the version came from is a data set, a version or a field of one, with one of these marks."""

    type: ClassVar[str] = "cleanData"
    marks: frozenset[str] = frozenset(MARK_TYPES)


@dataclass(frozen=True, slots=True)
class Approved:
    """So many people who have this role, and are not the version's authors, approved that it comes to the target."""

    type: ClassVar[str] = "approved"
    count: int = 1
    role: Role = Role.APPROVER


Condition = Evaluated | Measured | Verified | Signed | SafePickles | Licensed | CleanData | Approved


def _evaluated(given: Members) -> Evaluated:
    datasets = [
        _dataset(text, f"{given.place('datasets')}[{i}]") for i, text in enumerate(given.texts("datasets", most=50))
    ]
    return Evaluated(tuple(datasets), given.whole("newerThanDays", 1, MAX_DAYS))


def _measured(given: Members) -> Measured:
    place = given.place("metric")
    threshold = thresholds.parse(given.text("metric"), place)
    dataset = given.text("dataset", "")
    slice = given.mapping("slice")
    if slice and thresholds.unsliced(threshold.metric):
        raise InvalidArgument(f"{place}: {threshold.metric!r} names a slice, which is given beside it too", field=place)
    first = given.flag("first")
    if first and threshold.reference is None:
        msg = f"{given.place('first')}: goes with a threshold that compares with another version, as champion.auc"
        raise InvalidArgument(msg, field=given.place("first"))
    on = _dataset(dataset, given.place("dataset")) if dataset else None
    return Measured(threshold, on, slice, first)


def _licensed(given: Members) -> Licensed:
    allowed = frozenset(text.strip().casefold() for text in given.texts("allowed", most=1_000))
    unknown = given.text("unknown", REFUSED, among=(REFUSED, ALLOWED))
    return Licensed(allowed, given.flag("datasets"), unknown == ALLOWED)


def _clean(given: Members) -> CleanData:
    marks = given.texts("marks", needed=False) or MARK_TYPES
    for i, mark in enumerate(marks):
        if mark not in MARK_TYPES:
            raise wrong(f"{given.place('marks')}[{i}]", f"one of {', '.join(MARK_TYPES)}", mark)
    return CleanData(frozenset(marks))


def _approved(given: Members) -> Approved:
    count = given.whole("count", 1, MAX_APPROVALS, 1) or 1
    return Approved(count, Role[given.text("role", Role.APPROVER.name, among=(Role.APPROVER.name, Role.OWNER.name))])


_READERS: Final[Mapping[str, Callable[[Members], Condition]]] = {
    Evaluated.type: _evaluated,
    Measured.type: _measured,
    Verified.type: lambda _: Verified(),
    Signed.type: lambda given: Signed(given.texts("signers", needed=False)),
    SafePickles.type: lambda _: SafePickles(),
    Licensed.type: _licensed,
    CleanData.type: _clean,
    Approved.type: _approved,
}
TYPES: Final = tuple(_READERS)


def read(given: Any, field: str = "conditions") -> list[Condition]:
    """Conditions from their JSON.

    Raises InvalidArgument, naming the place as in `conditions[2].metric`, and saying what would be right.
    """
    if not isinstance(given, Sequence) or isinstance(given, str) or not 1 <= len(given) <= MAX_CONDITIONS:
        raise wrong(field, f"a list of 1 to {MAX_CONDITIONS} conditions", given)
    conditions = []
    for i, item in enumerate(given):
        members = Members(item, f"{field}[{i}]")
        conditions.append(_READERS[members.text("type", among=TYPES)](members))
        members.done()
    return conditions


def datasets_of(given: Sequence[Condition]) -> list[Address]:
    """The data sets, and versions of them, that conditions name, each once."""
    named: dict[Address, None] = {}
    for condition in given:
        if isinstance(condition, Evaluated):
            named |= dict.fromkeys(condition.datasets)
        elif isinstance(condition, Measured) and condition.dataset is not None:
            named[condition.dataset] = None
    return list(named)


def _dataset(text: str, field: str) -> Address:
    """A data set or a version of one, by address: what is named need not be there yet."""
    address = parse(text, field=field)
    if address.kind not in {"Dataset", "DatasetVersion"}:
        msg = f"{field}: {text!r:.200} names a {address.kind}; what belongs here is a data set or a version of one"
        raise InvalidArgument(msg, field=field)
    return address
