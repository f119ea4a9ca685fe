"""What use cases are given, in the shapes that every face gives it, and how it becomes what stores take.

Lists of objects come as JSON has them, with names in camelCase, so that an error can name the very
place: `inputs[2].dataset`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Literal, NotRequired, TypedDict

from graph import validation
from graph.editing import MAX_DISCRIMINATOR
from graph.ontology import NodeKind
from graph.port import Point
from lineal.errors import InvalidArgument

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_RESERVED: Final = re.compile(r"latest|v\d+", re.IGNORECASE)


class Unset(Enum):
    """Not given, where None would mean: take it away."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class NamedValue(TypedDict):
    """A tag or a parameter."""

    name: str
    value: str


class MetricPoint(TypedDict):
    """A value of a metric. `step` is 0 and `time` (microseconds) now unless given."""

    name: str
    value: float
    step: NotRequired[int | None]
    time: NotRequired[int | None]


class Input(TypedDict):
    """A data set, or a version of it, that was learned from. Made if unknown and `create` says so."""

    dataset: str
    role: NotRequired[str | None]
    create: NotRequired[bool]


class RunInput(TypedDict):
    """A data set, model version or field that a run read. Data sets and fields are made if `create` says so."""

    address: str
    role: NotRequired[str | None]
    create: NotRequired[bool]


class Output(TypedDict):
    """A data set, or a version of it, that a run made. Registered if unknown and `create` says so."""

    dataset: str
    create: NotRequired[bool]


class Parent(TypedDict):
    """The version that a version was made from, and how."""

    version: str
    relation: NotRequired[str | None]


class FieldParent(TypedDict):
    """The field that a field was made from, and how."""

    field: str
    relation: NotRequired[str | None]


class Code(TypedDict):
    """A commit of a repository."""

    repository: str
    commit: str
    branch: NotRequired[str | None]
    path: NotRequired[str | None]


class ArtifactFile(TypedDict):
    """Files that belong to something, under a name there; known by digest, or else by where they are."""

    name: str
    uri: NotRequired[str | None]
    digest: NotRequired[str | None]
    sizeBytes: NotRequired[int | None]
    mediaType: NotRequired[str | None]


class Report(TypedDict):
    """The report of an evaluation: a file, known by digest, or else by where it is."""

    uri: NotRequired[str | None]
    digest: NotRequired[str | None]
    sizeBytes: NotRequired[int | None]
    mediaType: NotRequired[str | None]


class Served(TypedDict):
    """A model version that a deployment serves, with its share of the traffic, from 0 to 1."""

    version: str
    weight: NotRequired[float | None]


def rows(given: Sequence[NamedValue], field: Literal["tags", "params"], at: str = "") -> dict[str, str]:
    """Tags or parameters by name. Raises InvalidArgument: a name that comes twice."""
    result: dict[str, str] = {}
    for i, item in enumerate(given):
        if item["name"] in result:
            msg = f"{at}{field}[{i}].name: {item['name']!r} is given twice"
            raise InvalidArgument(msg, field=f"{at}{field}[{i}].name")
        result[item["name"]] = item["value"]
    return result


def points(given: Sequence[MetricPoint], now: int, at: str = "") -> list[Point]:
    """Points of metrics. Raises InvalidArgument: a value that is no number."""
    result = []
    for i, item in enumerate(given):
        value, step, time = item["value"], item.get("step"), item.get("time")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            msg = f"{at}metrics[{i}].value: must be a number, not {value!r}"
            raise InvalidArgument(msg, field=f"{at}metrics[{i}].value")
        result.append(Point(item["name"], float(value), step or 0, now if time is None else time))
    return result


def properties(kind: NodeKind, given: Mapping[str, Any], field: str = "") -> dict[str, Any]:
    """Properties that a client may set. Raises InvalidArgument, naming the property."""
    return validation.properties(kind, given, internal=False, field=field)


def present(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {name: value for name, value in given.items() if value is not None}


def new_alias(text: str, field: str) -> str:
    """The name of an alias to give. Raises InvalidArgument: as `label`, or clients of MLflow take it for a version."""
    name = label(text, field)
    if _RESERVED.fullmatch(name):
        msg = f"{field}: {name!r} is reserved; latest, and v with a number, mean versions by their numbers"
        raise InvalidArgument(msg, field=field)
    return name


def label(text: str, field: str) -> str:
    """The name of an alias or a stage. Raises InvalidArgument: not 1 to 200 printable characters."""
    name = validation.name(text, field=field)
    if len(name) > MAX_DISCRIMINATOR:
        msg = f"{field}: has {len(name)} characters; at most {MAX_DISCRIMINATOR} are allowed"
        raise InvalidArgument(msg, field=field)
    return name
