"""What a webhook of another hub told: a model or a data set there, and perhaps one version of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from graph import validation
from graph.editing import MAX_ROW_NAME
from graph.ontology import MAX_STRING
from lineal.errors import InvalidArgument

Kind = Literal["Model", "Dataset"]


@dataclass(frozen=True, slots=True)
class Told:
    """A thing of another hub.

    `version` is the id of a version there, empty where none was told of; by it, as the tag `identity`, the version is
    known again. `part` is what it is called as a version of a data set, where no other is called so; models number
    their versions themselves. `tags` are what stands once it is told, `first` those that are written with a new version
    only, as are its properties, the `run` that made it, its commit (`repository`) and the data sets that it was
    `trained_on`.
    """

    kind: Kind
    name: str
    identity: str = ""
    version: str = ""
    part: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    repository: str = ""
    trained_on: Sequence[str] = ()


def object_of(given: Any, at: str) -> Mapping[str, Any]:
    """An object; empty where it is missing. Raises InvalidArgument."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"{at}: must be an object", field=at)
    return given


def text_of(given: Any, at: str) -> str:
    """A text; empty where it is missing. Raises InvalidArgument: it is none, or too long."""
    if given is None:
        return ""
    if not isinstance(given, str):
        raise InvalidArgument(f"{at}: must be text", field=at)
    if len(given) > MAX_STRING:
        raise InvalidArgument(f"{at}: has {len(given)} characters; at most {MAX_STRING} are allowed", field=at)
    return given.strip()


def name_of(given: Any, at: str) -> str:
    """A name that is there. Raises InvalidArgument."""
    if not (text := text_of(given, at)):
        raise InvalidArgument(f"{at}: is missing", field=at)
    return validation.name(text, field=at)


def row_name(text: str) -> str:
    """The name of a tag."""
    return text[:MAX_ROW_NAME].strip()
