"""What the facets that Lineal knows say, in plain terms.

Each function takes a facet and its place in the event. Raises InvalidArgument, naming the very place: a part is of
another type than its schema says. What is null counts as left out, as many producers have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import orjson

from graph import validation
from graph.editing import MAX_DISCRIMINATOR, MAX_ROW_NAME, check_row
from graph.ontology import MAX_NAME, MAX_STRING, MAX_TEXT, MODEL_VERSION
from graph.port import Point
from lineal.errors import InvalidArgument, LimitExceeded
from resolvers.openlineage.events import key_of, time_of

MAX_FIELDS: Final = 10_000
"""Fields in a schema, and sources of fields in a facet."""

CONCLUDED: Final = "_lineal_key"
"""What has the key of a data set in the place of its namespace and name, in facets that Lineal concluded itself."""

MAX_SYMLINKS: Final = 100
"""Other names of one data set."""

MAX_OWNERS: Final = 100
"""Those who answer for one job or data set."""

MAX_LEVELS: Final = 32
"""Levels of structs in each other."""


@dataclass(frozen=True, slots=True)
class FieldSaid:
    """A column; those of a struct have its name and a dot before theirs."""

    type: str | None
    ordinal: int
    description: str | None


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A field that a field came from, and how. `target` is empty where it bears on all fields of the data set."""

    target: str
    data: str
    field: str
    relation: str


@dataclass(frozen=True, slots=True, order=True)
class DataSource:
    """A data set that a data set came from, and how."""

    data: str
    relation: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the facet `lineage` says of one data set."""

    data: Sequence[DataSource] = ()
    fields: Sequence[Source] = ()


@dataclass(frozen=True, slots=True)
class ModelSaid:
    """What `lineal_modelVersion` says of a model that a run made; `props` are properties of the version."""

    model: str | None
    task: str | None
    relation: str
    props: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CodeSaid:
    """A commit of a repository."""

    repository: str
    commit: str
    branch: str | None
    path: str | None


# ── Parts, each of its type ───────────────────────────────────────────────────────────────────────


def of_object(value: Any, at: str) -> Mapping[str, Any]:
    """An object; empty where it is null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{at}: must be an object", field=at)
    return value


def of_list(value: Any, at: str) -> Sequence[Any]:
    """A list; empty where it is null."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidArgument(f"{at}: must be a list", field=at)
    return value


def of_text(value: Any, at: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{at}: must be text", field=at)
    return value


def text_of(value: Any, limit: int = MAX_STRING) -> str:
    """Anything as a text that the graph has room for."""
    text = value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()
    return text.replace("\0", "")[:limit]


def _named(item: Mapping[str, Any], at: str) -> str:
    """The key of the data set that an object names. What Lineal itself concluded has the key already."""
    if CONCLUDED in item:
        return validation.name(item[CONCLUDED], field=f"{at}.{CONCLUDED}")
    return key_of(of_text(item.get("namespace"), f"{at}.namespace"), of_text(item.get("name"), f"{at}.name"), at)


# ── Data sets ─────────────────────────────────────────────────────────────────────────────────────


def fields_of(schema: Any, at: str) -> dict[str, FieldSaid]:
    """The fields of a schema by name, in their order."""
    found: dict[str, FieldSaid] = {}

    def take(given: Any, before: str, at: str, level: int) -> None:
        if level > MAX_LEVELS:
            raise LimitExceeded(f"{at}: structs lie in each other more than {MAX_LEVELS} levels deep", field=at)
        for i, entry in enumerate(of_list(given, at)):
            here = f"{at}[{i}]"
            item = of_object(entry, here)
            name = before + validation.name(item.get("name"), field=f"{here}.name")
            validation.name(name, field=f"{here}.name")
            if len(found) == MAX_FIELDS:
                raise LimitExceeded(f"{at}: more than {MAX_FIELDS} fields", field=at)
            kind, doc = item.get("type"), item.get("description")
            found.setdefault(
                name,
                FieldSaid(text_of(kind) if kind else None, len(found), text_of(doc, MAX_TEXT) if doc else None),
            )
            take(item.get("fields"), f"{name}.", f"{here}.fields", level + 1)

    take(of_object(schema, at).get("fields"), "", f"{at}.fields", 1)
    return found


def column_sources(facet: Any, at: str) -> list[Source]:
    """What `columnLineage` says of a data set's fields."""
    body = of_object(facet, at)
    found = []
    for target, entry in of_object(body.get("fields"), f"{at}.fields").items():
        here = f"{at}.fields.{target}"
        item = of_object(entry, here)
        name = validation.name(target, field=here)
        older = text_of(item.get("transformationType"), MAX_DISCRIMINATOR)
        for i, source in enumerate(of_list(item.get("inputFields"), f"{here}.inputFields")):
            found.append(_source(name, source, f"{here}.inputFields[{i}]", older))
    for i, source in enumerate(of_list(body.get("dataset"), f"{at}.dataset")):
        found.append(_source("", source, f"{at}.dataset[{i}]", ""))
    return _bounded(found, at)


def _source(target: str, given: Any, at: str, older: str) -> Source:
    item = of_object(given, at)
    field = validation.name(item.get("field"), field=f"{at}.field")
    return Source(target, _named(item, at), field, _relation(item, at) or older)


def _relation(item: Mapping[str, Any], at: str) -> str:
    """How something came from something, in one word for each transformation: DIRECT:IDENTITY, INDIRECT:JOIN, …"""
    words = set()
    for i, given in enumerate(of_list(item.get("transformations"), f"{at}.transformations")):
        how = of_object(given, f"{at}.transformations[{i}]")
        parts = [text_of(how.get("type")), text_of(how.get("subtype")), "MASKED" if how.get("masking") is True else ""]
        words.add(":".join(part for part in parts if part))
    return " ".join(sorted(words))[:MAX_DISCRIMINATOR].strip()


def dataset_lineage(facet: Any, at: str) -> Lineage:
    """What `lineage` of a data set, or one entry of that of a job, says; inputs that are jobs are left out."""
    body = of_object(facet, at)
    data: list[DataSource] = []
    fields: list[Source] = []

    def take(inputs: Any, target: str, at: str) -> None:
        for i, given in enumerate(of_list(inputs, at)):
            here = f"{at}[{i}]"
            item = of_object(given, here)
            if item.get("type") == "JOB":
                continue
            key, how = _named(item, here), _relation(item, here)
            if item.get("field") is None:
                data.append(DataSource(key, how))
            else:
                fields.append(Source(target, key, validation.name(item["field"], field=f"{here}.field"), how))

    take(body.get("inputs"), "", f"{at}.inputs")
    for target, entry in of_object(body.get("fields"), f"{at}.fields").items():
        here = f"{at}.fields.{target}"
        take(of_object(entry, here).get("inputs"), validation.name(target, field=here), f"{here}.inputs")
    _bounded([*data, *fields], at)
    return Lineage(data, fields)


def job_lineage(facet: Any, at: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """The entries of a job's `lineage` that are about data sets: the key, the entry, and its place."""
    for i, given in enumerate(of_list(of_object(facet, at).get("entries"), f"{at}.entries")):
        here = f"{at}.entries[{i}]"
        item = of_object(given, here)
        if item.get("type") != "JOB":
            yield _named(item, here), {"inputs": item.get("inputs"), "fields": item.get("fields")}, here


def _bounded(found: list[Any], at: str) -> list[Any]:
    if len(found) > MAX_FIELDS:
        raise LimitExceeded(f"{at}: names {len(found)} sources; at most {MAX_FIELDS} are allowed", field=at)
    return found


def symlinks_of(facet: Any, at: str) -> set[str]:
    """Other names of the same data set, as keys."""
    found = of_list(of_object(facet, at).get("identifiers"), f"{at}.identifiers")
    if len(found) > MAX_SYMLINKS:
        raise LimitExceeded(f"{at}.identifiers: has {len(found)}; at most {MAX_SYMLINKS} are allowed", field=at)
    return {_named(of_object(item, f"{at}.identifiers[{i}]"), f"{at}.identifiers[{i}]") for i, item in enumerate(found)}


def version_of(facet: Any, at: str) -> str | None:
    """The name of a data set's version; None where it says none."""
    given = of_object(facet, at).get("datasetVersion")
    return None if given is None or given == "" else validation.name(text_of(given), field=f"{at}.datasetVersion")


def without_password(uri: Any) -> str | None:
    """An address without the password of its user; None where there is none."""
    if not isinstance(uri, str) or not uri:
        return None
    head, sep, rest = uri.partition("jdbc:")
    prefix, bare = (head + sep, rest) if sep and not head else ("", uri)
    try:
        parts = urlsplit(bare)
    except ValueError:
        return text_of(uri)
    if parts.password is None:
        return text_of(uri)
    host = parts.netloc.rpartition("@")[2]
    return text_of(prefix + urlunsplit(parts._replace(netloc=f"{parts.username or ''}@{host}")))


# ── What runs, jobs and data sets have ────────────────────────────────────────────────────────────


def tags_of(facet: Any, at: str) -> dict[str, str]:
    """Tags by name; those of single fields have the field and a dot before theirs."""
    found = {}
    for i, given in enumerate(of_list(of_object(facet, at).get("tags"), f"{at}.tags")):
        item = of_object(given, f"{at}.tags[{i}]")
        name = of_text(item.get("key"), f"{at}.tags[{i}].key")
        field = item.get("field")
        full = (f"{field}.{name}" if isinstance(field, str) and field else name)[:MAX_ROW_NAME].strip()
        found[full or "tag"] = text_of(item.get("value"))
    return found


def owners_of(facet: Any, at: str) -> set[str]:
    """Names of owners; those without a name are left out."""
    found = of_list(of_object(facet, at).get("owners"), f"{at}.owners")
    if len(found) > MAX_OWNERS:
        raise LimitExceeded(f"{at}.owners: has {len(found)}; at most {MAX_OWNERS} are allowed", field=f"{at}.owners")
    names = (text_of(of_object(item, f"{at}.owners[{i}]").get("name"), MAX_NAME) for i, item in enumerate(found))
    return {name.strip() for name in names} - {""}


def parameters_of(facet: Any, at: str) -> dict[str, str]:
    """Parameters by name."""
    found = {}
    for i, given in enumerate(of_list(of_object(facet, at).get("parameters"), f"{at}.parameters")):
        item = of_object(given, f"{at}.parameters[{i}]")
        name = of_text(item.get("key"), f"{at}.parameters[{i}].key")[:MAX_ROW_NAME].strip()
        found[name or "parameter"] = text_of(item.get("value"))
    return found


def code_of(facet: Any, at: str) -> CodeSaid | None:
    """The commit; None where the repository or the commit is not said."""
    item = of_object(facet, at)
    repository = without_password(item.get("repoUrl") or item.get("url"))
    commit = item.get("version")
    if not repository or not isinstance(commit, str) or not commit:
        return None
    validation.name(f"{repository}@{commit}", field=f"{at}.repoUrl")
    branch, path = (text_of(v) if isinstance(v := item.get(n), str) and v else None for n in ("branch", "path"))
    return CodeSaid(repository, commit, branch, path)


def is_model(facet: Any) -> bool:
    """Whether `datasetType` says that a data set is a model."""
    kind = facet.get("datasetType") if isinstance(facet, dict) else None
    return isinstance(kind, str) and kind.upper() == "MODEL"


def model_of(facet: Any, at: str) -> ModelSaid:
    """What is said of a version of a model."""
    body = of_object(facet, at)
    model = None if body.get("model") is None else validation.name(body["model"], field=f"{at}.model")
    given = {name: body[name] for name in ("frameworks", "formats", "license", "uri") if body.get(name) is not None}
    props = validation.properties(MODEL_VERSION, given, internal=False, field=at)
    task = text_of(body.get("task")) or None
    return ModelSaid(model, task, text_of(body.get("relation"), MAX_DISCRIMINATOR).strip(), props)


def metrics_of(facet: Any, at: str, time: int) -> list[Point]:
    """The values of metrics; `time` is that of those that have none, in microseconds."""
    found = []
    for i, given in enumerate(of_list(of_object(facet, at).get("metrics"), f"{at}.metrics")):
        here = f"{at}.metrics[{i}]"
        item = of_object(given, here)
        name = of_text(item.get("name"), f"{here}.name")
        check_row("metrics", name, "")
        value, step, when = item.get("value"), item.get("step"), item.get("time")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidArgument(f"{here}.value: must be a number", field=f"{here}.value")
        if step is not None and (isinstance(step, bool) or not isinstance(step, int)):
            raise InvalidArgument(f"{here}.step: must be a whole number", field=f"{here}.step")
        at_ = time if when is None else time_of(when, f"{here}.time")
        found.append(Point(name, float(value), step or 0, at_))
    return found


def words_of(facet: Any, name: str, at: str) -> str | None:
    """A text of a facet, such as a description; None where there is none."""
    given = of_object(facet, at).get(name)
    return text_of(given, MAX_TEXT) if isinstance(given, str) and given else None


def count_of(facet: Any, *names: str) -> int | None:
    """A count of a facet, by the first of these names that has one; None where none has."""
    body = facet if isinstance(facet, dict) else {}
    for name in names:
        value = body.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**63:
            return int(value)
    return None
