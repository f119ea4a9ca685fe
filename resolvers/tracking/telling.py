"""Records of a tracking server as nodes and edges to be recorded: the same records tell the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from graph.address import Address
from graph.editing import MAX_DISCRIMINATOR, check_row
from graph.ontology import MAX_NAME, NODE_KINDS, RUN_ENDED
from graph.port import Birth
from graph.text import normalize
from lineal.errors import InvalidArgument
from resolvers.tracking.stories import Story
from resolvers.writing.common import MetricPoint, NamedValue, present, properties
from resolvers.writing.importing import ImportedEdge, ImportedNode
from storage.tracking.records import DataRead, LoggedModel, RegisteredModel, RegisteredVersion, RunRecord, Value

MAX_ROWS: Final = 9_000
"""Tags, parameters or values of metrics of all things that are told of together."""
MAX_DATASETS: Final = 200
"""Data sets of one run."""
MAX_COLUMNS: Final = 1_000
"""Columns of all data sets of a run together."""

BY: Final = "mlflow"
"""Who made things, with a colon and the user that MLflow says after it: it is no principal, whatever is said there."""

COMMIT, REPOSITORY, BRANCH = "mlflow.source.git.commit", "mlflow.source.git.repoURL", "mlflow.source.git.branch"
SOURCE, NOTE, USER = "mlflow.source.name", "mlflow.note.content", "mlflow.user"
UNKNOWN: Final = "unknown"
"""What a repository is called that no run says the name of."""

_PLACES: Final = ("uri", "url", "path", "table_name", "table", "delta_table_name", "sql")
_STATES: Final = {"READY": "READY", "PENDING_REGISTRATION": "PENDING", "FAILED_REGISTRATION": "FAILED"}


class Telling:
    """Gathers what is to be recorded in a workspace.

    With `now`, the store's time, things are told to have been made when the server says (which is for those who may
    write everything). `known` are the versions of the workspace by the logged model that they are made of, by id.
    `left_out` counts what Lineal has no place for.
    """

    def __init__(
        self, workspace: str, *, now: int | None = None, known: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.workspace = workspace
        self.left_out = 0
        self._now = now
        self._known = known or {}
        self._nodes: dict[str, ImportedNode] = {}
        self._edges: dict[tuple[str, str, str, str], ImportedEdge] = {}
        self._columns = 0
        self._room: dict[str, int] = {}

    @property
    def nodes(self) -> list[ImportedNode]:
        """The nodes."""
        return list(self._nodes.values())

    @property
    def edges(self) -> list[ImportedEdge]:
        """The edges."""
        return list(self._edges.values())

    # Registries ───────────────────────────────────────────────────────────────────────────────────

    def model(self, model: RegisteredModel) -> str:
        """A registered model; its address."""
        return self._node(
            "Model",
            model.name,
            {"description": model.description or None},
            tags=model.tags,
            birth=self._birth(model.created, model.updated),
        )

    def version(self, version: RegisteredVersion) -> str:
        """A version of a registered model that is told, too; its address."""
        return self._node(
            "ModelVersion",
            version.model,
            {
                "description": version.description or None,
                "state": _STATES.get(version.status, "READY"),
                "uri": without_password(version.source) or None,
                "source": without_password(version.source) or None,
                "runId": version.run or None,
                "runLink": without_password(version.run_link) or None,
                "loggedModel": version.logged_model or None,
            },
            part=version.number,
            tags=version.tags,
            birth=self._birth(version.created, version.updated, version.user),
        )

    # Runs ─────────────────────────────────────────────────────────────────────────────────────────

    def story(self, version: str, story: Story, since: int | None = None, *, without: int = 0) -> None:
        """Where a version, by its address or id, came from; `since` when that is so.

        `without` is 1 for no models that its run read, and 2 for no data either.
        """
        run = None
        if story.run is not None:
            run = self._run(story, story.run)
            child = run
            for ancestor in story.ancestors:
                parent = self._run(story, ancestor, brief=True)
                self._edge(child, "PART_OF", parent, since=self._time(ancestor.started))
                child = parent
            self._edge(version, "PRODUCED_BY", run, since=self._time(since))
            if without < 2:
                self._read(run, story.run)
            if without < 1:
                self._models(run, story.run, version, story.logged)
        if story.logged is not None:
            self._logged(version, story.logged, run)

    def _run(self, story: Story, record: RunRecord, *, brief: bool = False) -> str:
        """A run; of one that only led to it, `brief`, the last values of metrics alone."""
        birth = self._birth(record.started, record.ended, record.user)
        ended = record.ended if record.state in RUN_ENDED else None
        if ended is not None and record.started is not None:
            ended = max(ended, record.started)
        tags = {**({USER: record.user} if record.user else {}), **record.tags}
        tags = {name: without_password(value) if name.startswith("mlflow.") else value for name, value in tags.items()}
        values = [value for value in record.metrics if brief or value.name not in story.histories]
        if not brief:
            values += [value for each in story.histories.values() for value in each]
        run = self._node(
            "Run",
            record.id,
            {
                "description": record.tags.get(NOTE) or None,
                "state": record.state,
                "startedAt": record.started,
                "endedAt": ended,
                "uri": f"{story.url}/#/experiments/{record.experiment}/runs/{record.id}",
            },
            tags=tags,
            params=record.params,
            metrics=values,
            birth=birth,
        )
        if name := story.experiments.get(record.experiment):
            self._edge(run, "PART_OF", self._node("Experiment", name, birth=birth), since=self._time(record.started))
        self._code(run, record, birth)
        return run

    def _read(self, run: str, record: RunRecord) -> None:
        """The data sets that a run read."""
        self.left_out += max(0, len(record.datasets) - MAX_DATASETS)
        birth = self._birth(record.started, record.ended, record.user)
        for read in record.datasets[:MAX_DATASETS]:
            self._edge(run, "READ", self._dataset(read, birth), read.context, since=self._time(record.started))

    def _code(self, run: str, record: RunRecord, birth: Birth | None) -> None:
        tags = record.tags
        if not (commit := tags.get(COMMIT, "").strip()):
            return
        source = tags.get(SOURCE, "")
        repository = without_secrets(tags.get(REPOSITORY, "").strip() or (source if "://" in source else "")) or UNKNOWN
        name = f"{_name(repository)}@{_name(commit)}"
        if len(name) > MAX_NAME:
            self.left_out += 1
            return
        props = {"branch": tags.get(BRANCH), "path": without_secrets(source) or None}
        code = self._node(
            "CodeRevision", name, {"repository": _name(repository), "commit": _name(commit), **props}, birth=birth
        )
        self._edge(run, "BUILT_FROM", code, since=self._time(record.started))

    def _dataset(self, read: DataRead, birth: Birth | None) -> str:
        """A version of a data set, with its columns."""
        self._node("Dataset", read.name, birth=birth)
        profile, schema = _object(read.profile), _object(read.schema)
        rows = profile.get("num_rows")
        version = self._node(
            "DatasetVersion",
            read.name,
            {
                "uri": _place(read.source),
                "digest": f"mlflow:{read.digest}",
                "rowCount": rows if isinstance(rows, int) else None,
                "attributes": {"mlflow": {"sourceType": read.source_type, "profile": profile}} if profile else None,
            },
            part=read.digest,
            birth=birth,
        )
        for ordinal, (name, type_) in enumerate(_columns(schema)):
            if self._columns >= MAX_COLUMNS:
                self.left_out += 1
                continue
            self._columns += 1
            self._node("Field", read.name, {"type": type_, "ordinal": ordinal}, part=name, birth=birth)
        return version

    def _models(self, run: str, record: RunRecord, version: str, logged: LoggedModel | None) -> None:
        """The versions here that are made of logged models that the run made or read."""
        made = {*record.outputs, *([logged.id] if logged is not None else [])}
        for id in made:
            for other in self._known.get(id, ()):
                if other != version:
                    self._edge(other, "PRODUCED_BY", run)
        # A run that logs a model reads it, too, as soon as it measures it.
        for id in set(record.inputs) - made:
            for other in self._known.get(id, ()):
                if other != version:
                    self._edge(run, "READ", other, "model")

    def _logged(self, version: str, logged: LoggedModel, run: str | None) -> None:
        """Parameters and metrics of the logged model; what was measured on a data set is an evaluation."""
        plain = [value for value in logged.metrics if not value.dataset]
        self._own(self._nodes.setdefault(version, {"address": version}), params=logged.params, metrics=plain)
        measured: dict[tuple[str, str, str], list[Value]] = {}
        for value in logged.metrics:
            if value.dataset:
                measured.setdefault((value.dataset, value.digest or UNKNOWN, value.run), []).append(value)
        self.left_out += max(0, len(measured) - MAX_DATASETS)
        for (name, digest, by), values in list(measured.items())[:MAX_DATASETS]:
            birth = self._birth(values[0].time, None)
            evaluation = self._node(
                "Evaluation", f"{logged.id} on {name}@{digest} by {by or UNKNOWN}", metrics=values, birth=birth
            )
            self._edge(evaluation, "EVALUATES", version, since=birth.at if birth else None)
            data = self._node("DatasetVersion", name, part=digest, birth=birth)
            self._node("Dataset", name, birth=birth)
            self._edge(evaluation, "EVALUATED_ON", data, since=birth.at if birth else None)
            if run is not None and by and run == self._address("Run", by):
                self._edge(evaluation, "PRODUCED_BY", run, since=birth.at if birth else None)

    # What is recorded ─────────────────────────────────────────────────────────────────────────────

    def _address(self, kind: str, name: str, part: str | None = None) -> str:
        return str(Address(kind, self.workspace, _name(name), None if part is None else _name(part)))

    def _node(
        self,
        kind: str,
        name: str,
        props: Mapping[str, Any] | None = None,
        *,
        part: str | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        metrics: Iterable[Value] = (),
        birth: Birth | None = None,
    ) -> str:
        """Tell of a node, or more of one that was told of; its address."""
        address = self._address(kind, name, part)
        node = self._nodes.setdefault(address, {"address": address, "properties": {}, "birth": birth})
        node["properties"] = {**(node.get("properties") or {}), **self._fitting(kind, present(props or {}))}
        self._own(node, tags=tags, params=params, metrics=metrics)
        return address

    def _fitting(self, kind: str, props: Mapping[str, Any]) -> dict[str, Any]:
        """Those of these properties that Lineal has room for."""
        kept: dict[str, Any] = {}
        for name, value in props.items():
            try:
                kept |= properties(NODE_KINDS[kind], {name: value})
            except InvalidArgument:
                self.left_out += 1
        return kept

    def _own(
        self,
        node: ImportedNode,
        *,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        metrics: Iterable[Value] = (),
    ) -> None:
        if tags:
            node["tags"] = self._rows("tags", tags)
        if params:
            node["params"] = self._rows("params", params)
        if points := self._points(metrics):
            node["metrics"] = points

    def _rows(self, table: str, given: Mapping[str, str]) -> list[NamedValue]:
        return [{"name": name, "value": value} for name, value in given.items() if self._takes(table, name, value)]

    def _points(self, values: Iterable[Value]) -> list[MetricPoint]:
        return [
            {"name": value.name, "value": value.value, "step": value.step, "time": value.time}
            for value in values
            if self._takes("metrics", value.name, "")
        ]

    def _takes(self, table: str, name: str, value: str) -> bool:
        """Whether there is room for a row; what has none is counted."""
        try:
            check_row(table, name, value)
        except InvalidArgument:
            fits = False
        else:
            fits = self._room.get(table, MAX_ROWS) > 0
        if fits:
            self._room[table] = self._room.get(table, MAX_ROWS) - 1
        else:
            self.left_out += 1
        return fits

    def _edge(self, source: str, kind: str, target: str, discriminator: str = "", *, since: int | None = None) -> None:
        discriminator = _name(discriminator)[:MAX_DISCRIMINATOR] if discriminator.strip() else ""
        edge: ImportedEdge = {"from": source, "kind": kind, "to": target, "discriminator": discriminator or None}
        if since is not None:
            edge["since"] = since
        self._edges.setdefault((source, kind, target, discriminator), edge)

    # Times ────────────────────────────────────────────────────────────────────────────────────────

    def _time(self, time: int | None) -> int | None:
        """A time of the server, if times are told; its clock may be ahead of the store's."""
        return None if self._now is None or time is None else min(time, self._now)

    def _birth(self, created: int | None, updated: int | None, by: str = "") -> Birth | None:
        at = self._time(created)
        if at is None:
            return None
        return Birth(at, f"{BY}:{_name(by)}" if by.strip() else BY, max(at, self._time(updated) or at))


def without_secrets(place: str) -> str:
    """An address without a user, a password, a query and a fragment: any may be what opens it."""
    place = without_password(place)
    return place.partition("#")[0].partition("?")[0] if "://" in place else place


def without_password(place: str) -> str:
    """An address without a user and a password."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return place
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _place(source: str) -> str | None:
    """Where data is, of what its library wrote of its source."""
    said = _object(source)
    for word in _PLACES:
        if isinstance(found := said.get(word), str) and found.strip():
            return without_secrets(found)
    return None


def _columns(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and types of columns, of what MLflow wrote of a schema."""
    found: dict[str, str] = {}
    columns = schema.get("mlflow_colspec")
    for column in columns if isinstance(columns, list) else ():
        if isinstance(column, dict) and isinstance(name := column.get("name"), str) and name.strip():
            found.setdefault(_name(name), str(column.get("type") or UNKNOWN))
    return list(found.items())


def _object(text: str) -> Mapping[str, Any]:
    """A JSON object in a text; an empty one where it is none."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}


def _name(text: str) -> str:
    """A name as Lineal's may be: printable, and not too long."""
    shown = "".join(" " if ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF else c for c in text)
    return normalize(shown)[:MAX_NAME].strip() or UNKNOWN
