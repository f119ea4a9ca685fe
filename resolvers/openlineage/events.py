"""What an event says, once it was read and found right."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from graph import validation
from graph.ontology import MAX_NAME
from graph.text import normalize
from lineal.errors import InvalidArgument

OWN: Final = "lineal"
"""The namespace of what is registered here: its names are those of Lineal itself."""

MAX_KEY: Final = MAX_NAME - len("dataset/")
"""Characters in the name of a job or a data set: what is said of it is kept under that name, with a word before."""

Facets = Mapping[str, Any]
"""Facets by name, verbatim; None stands for one that was deleted."""

EventType = Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]


def key_of(namespace: str, name: str, field: str) -> str:
    """The name that a job or a data set has here: `namespace#name`, or the name alone in the namespace OWN.

    `%` and `#` of the namespace are percent-encoded, so that two of them never come to the same. Raises
    InvalidArgument, naming the field: empty, too long, or with control characters.
    """
    validation.name(namespace, field=f"{field}.namespace")
    validation.name(name, field=f"{field}.name")
    key = normalize(name if namespace == OWN else f"{namespace.replace('%', '%25').replace('#', '%23')}#{name}")
    if len(key) > MAX_KEY:
        msg = f"{field}.name: has {len(key)} characters with its namespace; at most {MAX_KEY} are allowed"
        raise InvalidArgument(msg, field=f"{field}.name")
    return key


_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,12})?([Zz]|[+-]\d\d:?\d\d)?")
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def time_of(given: Any, field: str) -> int:
    """A time of RFC 3339 in microseconds since the epoch, UTC; without a zone it is UTC. Raises InvalidArgument."""
    if isinstance(given, str) and _TIME.fullmatch(given):
        try:
            time = dt.datetime.fromisoformat(given.upper())
            time = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
            return (time - _EPOCH) // dt.timedelta(microseconds=1)
        except (ValueError, OverflowError):
            pass
    msg = f"{field}: must be a time such as 2026-01-05T08:00:00.000Z, not {given!r:.80}"
    raise InvalidArgument(msg, field=field)


def quoted(name: str) -> str:
    """A name as a part of a path."""
    return name.replace("%", "%25").replace("/", "%2F")


def unquoted(part: str) -> str:
    """A part of a path as the name that it is of."""
    return part.replace("%2F", "/").replace("%25", "%")


@dataclass(frozen=True, slots=True)
class JobSaid:
    """A job, by its key, with what was said of it."""

    key: str
    facets: Facets = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataSaid:
    """A data set, by its key, with what was said of it, and of what a run has to do with it (`own`)."""

    key: str
    facets: Facets = field(default_factory=dict)
    own: Facets = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """The run that started a run, or the first one of all, with its job's key."""

    run: str
    job: str


@dataclass(frozen=True, slots=True)
class RunSaid:
    """A run, by its id, with what was said of it."""

    id: str
    facets: Facets = field(default_factory=dict)
    parent: Ancestor | None = None
    root: Ancestor | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event: of a run and its job, of a job alone, or of a data set alone. `time` is in microseconds, UTC."""

    time: int
    type: EventType | None = None
    run: RunSaid | None = None
    job: JobSaid | None = None
    inputs: tuple[DataSaid, ...] = ()
    outputs: tuple[DataSaid, ...] = ()
    dataset: DataSaid | None = None
