"""What stands after all events: a join, so that order and repeats change nothing.

Of each facet of each subject the value that was said last counts: that with the greatest (eventTime, digest of the
value). That it was deleted is a value, too. Jobs, runs, data sets, versions and fields that were once named stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graph.ontology import UNVERSIONED
from graph.port import Node, Point
from graph.recording import canonical
from lineal.errors import LimitExceeded
from resolvers.openlineage import facets as read
from resolvers.openlineage import feast
from resolvers.openlineage.events import DataSaid, Event, Facets, JobSaid, RunSaid, quoted, unquoted

ALWAYS: Final = -62_135_596_800_000_000
"""Before every event: what is only known from the side gives way to whoever speaks for itself."""

ENDS: Final = {"COMPLETE": "FINISHED", "FAIL": "FAILED", "ABORT": "KILLED"}
"""The state of a run after its last event, by that event's type."""

PER_JOB: Final = frozenset({"columnLineage", "lineage"})
"""Facets of a data set that each job has a say of its own in: where it takes data from."""

PER_RUN: Final = frozenset({"version", "lineal_modelVersion"})
"""Facets of a data set that are about what a run read or made of it."""

MAX_ITEMS: Final = 10_000
"""Data sets, versions and fields that one event names."""


@dataclass(slots=True)
class Said:
    """What was said of one subject: values by name, with when each was said last; and what its events told of time.

    `times` has `first` (of any event), `start`, `complete` (the earliest of each kind, in microseconds) and `end`
    (the last event that ended it).
    """

    facets: dict[str, Any] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    times: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Node | None) -> Said:
        """What a node keeps of it; nothing where there is none."""
        props = kept.props if kept is not None else {}
        return cls(*(dict(props.get(name, {})) for name in ("facets", "stamps", "times")))

    def put(self, name: str, time: int, value: Any) -> None:
        """Something is said; None takes it away."""
        digest = hashlib.sha256(canonical(value)).hexdigest()
        self._put(name, f"{time - ALWAYS:018d}.{digest[:16]}", value)

    def know(self, name: str, value: Any) -> None:
        """Something is known from the side."""
        self.put(name, ALWAYS, value)

    def _put(self, name: str, stamp: str, value: Any) -> None:
        if stamp <= self.stamps.get(name, ""):
            return
        self.stamps[name] = stamp
        if value is None:
            self.facets.pop(name, None)
        else:
            self.facets[name] = value

    def happened(self, type: str | None, time: int) -> None:
        """An event of this type came."""
        names = ["first", *(["start"] if type == "START" else ["complete"] if type == "COMPLETE" else [])]
        end = [f"{time - ALWAYS:018d}.{type}"] if type in ENDS else []
        self._join_times({**dict.fromkeys(names, time), **({"end": end[0]} if end else {})})
        if type in {"START", "RUNNING"}:
            self.times["began"] = True

    def _join_times(self, times: Mapping[str, Any]) -> None:
        for name, value in times.items():
            mine = self.times.get(name)
            later = name == "end"
            if mine is None or (value > mine if later else value < mine):
                self.times[name] = value

    def join(self, other: Said) -> None:
        """Everything that was said there, too."""
        for name, stamp in other.stamps.items():
            self._put(name, stamp, other.facets.get(name))
        self._join_times(other.times)

    def copy(self) -> Said:
        """The same, apart."""
        return Said(dict(self.facets), dict(self.stamps), dict(self.times))

    # What is said of parts ────────────────────────────────────────────────────────────────────────

    def under(self, path: str) -> dict[str, Any]:
        """What is said under a path, by the names that follow it."""
        head = f"{path}/"
        return {name[len(head) :]: value for name, value in self.facets.items() if name.startswith(head)}

    def parts(self, path: str) -> list[str]:
        """The keys of the parts under a path, in code-point order."""
        return sorted(unquoted(name) for name in self.under(path) if "/" not in name)

    # When it was ──────────────────────────────────────────────────────────────────────────────────

    @property
    def ended(self) -> tuple[int, str] | None:
        """When a run ended, and in which state; None where it has not."""
        if "end" not in self.times:
            return None
        time, _, type_ = str(self.times["end"]).partition(".")
        return int(time) + ALWAYS, ENDS[type_]

    @property
    def started(self) -> int | None:
        """When a run began: at its START, or else at its first event; never after its end."""
        began = self.times.get("start", self.times.get("first"))
        ends = [self.times.get("complete"), self.ended[0] if self.ended else None]
        return min((int(time) for time in (began, *ends) if time is not None), default=None)


@dataclass(slots=True)
class Told:
    """What some events said together."""

    runs: dict[str, Said] = field(default_factory=dict)
    jobs: dict[str, Said] = field(default_factory=dict)
    data: dict[str, Said] = field(default_factory=dict)
    versions: dict[tuple[str, str], int | None] = field(default_factory=dict)
    """Versions of data sets that were named, with when they are known to have been there, where an event says it."""
    fields: set[tuple[str, str]] = field(default_factory=set)
    points: dict[tuple[str, str], set[Point]] = field(default_factory=dict)
    """Values of metrics of runs, and of the models that they made: by the run, and the data set or nothing."""

    def run(self, id: str) -> Said:
        """What is said of a run."""
        return self.runs.setdefault(id, Said())

    def job(self, key: str) -> Said:
        """What is said of a job."""
        return self.jobs.setdefault(key, Said())

    def dataset(self, key: str) -> Said:
        """What is said of a data set."""
        return self.data.setdefault(key, Said())

    def version(self, key: str, name: str, time: int | None = None) -> None:
        """A version is named; with `time`, it was there then."""
        times = [t for t in (self.versions.get((key, name)), time) if t is not None]
        self.versions[key, name] = min(times, default=None)


def tell(event: Event) -> Told:
    """What one event says. Raises InvalidArgument, LimitExceeded, naming the place in the event."""
    told = Told()
    teller = _Teller(told, event)
    if event.run is not None:
        teller.run(event.run)
    if event.job is not None:
        teller.job(event.job)
    if event.dataset is not None:
        teller.dataset(event.dataset)
    if (count := len(told.data) + len(told.versions) + len(told.fields)) > MAX_ITEMS:
        raise LimitExceeded(f"the event names {count} data sets, versions and fields; at most {MAX_ITEMS} are allowed")
    return told


class _Teller:
    """Takes one event apart."""

    def __init__(self, told: Told, event: Event) -> None:
        self.told = told
        self.time = event.time
        self.event = event

    def _put_all(self, said: Said, given: Facets, before: str = "") -> None:
        for name, value in given.items():
            said.put(before + quoted(name), self.time, value)

    def run(self, given: RunSaid) -> None:
        """The run itself, and those that started it."""
        job = self.event.job
        assert job is not None
        run = self.told.run(given.id)
        run.happened(self.event.type, self.time)
        run.put("/job", self.time, job.key)
        run.know(f"/jobs/{quoted(job.key)}", True)
        self._put_all(run, given.facets)
        read.parameters_of(given.facets.get("executionParameters"), "run.facets.executionParameters")
        read.tags_of(given.facets.get("tags"), "run.facets.tags")
        self._points(given.facets, "run.facets", given.id, "")
        if "sourceCodeLocation" in job.facets:
            read.code_of(job.facets["sourceCodeLocation"], "job.facets.sourceCodeLocation")
            run.put("/code", self.time, job.facets["sourceCodeLocation"])
        if given.parent is not None:
            run.put("/parent", self.time, given.parent.run)
        for ancestor in (given.parent, given.root):
            if ancestor is not None:
                other = self.told.run(ancestor.run)
                other.know("/job", ancestor.job)
                other.know(f"/jobs/{quoted(ancestor.job)}", True)
                self.told.job(ancestor.job)

    def _points(self, facets: Facets, at: str, run: str, key: str) -> None:
        found = read.metrics_of(facets.get("lineal_metrics"), f"{at}.lineal_metrics", self.time)
        if found:
            self.told.points.setdefault((run, key), set()).update(found)

    def job(self, given: JobSaid) -> None:
        """The job, and the data that it, or this run of it, has to do with."""
        event = self.event
        job = self.told.job(given.key)
        self._put_all(job, given.facets)
        read.tags_of(given.facets.get("tags"), "job.facets.tags")
        read.owners_of(given.facets.get("ownership"), "job.facets.ownership")
        user = self.told.run(event.run.id) if event.run is not None else job
        for path, items in (("inputs", event.inputs), ("outputs", event.outputs)):
            for i, item in enumerate(items):
                self._data(item, f"{path}[{i}]", given.key)
                if path == "outputs" and (columns := feast.columns(event, item, f"{path}[{i}]")) is not None:
                    self._sources(DataSaid(item.key, {"columnLineage": columns}), f"{path}[{i}].facets", given.key)
                self._use(user, item, path, f"{path}[{i}]")
        for key, entry, at in read.job_lineage(given.facets.get("lineage"), "job.facets.lineage"):
            item = DataSaid(key, {"lineage": entry})
            self._sources(item, at, given.key)
            self._use(user, item, "outputs", at)

    def dataset(self, given: DataSaid) -> None:
        """A data set that nobody runs."""
        self._data(given, "dataset", None)
        version = read.version_of(given.facets.get("version"), "dataset.facets.version")
        if version is not None:
            self.told.version(given.key, version, self.time)
        for source in read.dataset_lineage(given.facets.get("lineage"), "dataset.facets.lineage").data:
            self.told.dataset(source.data)
            self.told.version(source.data, UNVERSIONED)
            self.told.version(given.key, UNVERSIONED)

    def _use(self, user: Said, item: DataSaid, path: str, at: str) -> None:
        """A run or a job takes data from a data set, or puts data into it."""
        self.told.dataset(item.key)
        part = f"/{path}/{quoted(item.key)}"
        user.know(part, True)
        if self.event.run is not None and self.event.job is not None:
            user.know(f"/jobs/{quoted(self.event.job.key)}{part}", True)
        version = None
        if self.event.run is not None and path == "outputs":
            self._points(item.own, f"{at}.outputFacets", self.event.run.id, item.key)
            if "lineal_modelVersion" in item.facets:
                read.model_of(item.facets["lineal_modelVersion"], f"{at}.facets.lineal_modelVersion")
                user.put(f"{part}/lineal_modelVersion", self.time, item.facets["lineal_modelVersion"])
        if "version" in item.facets and self.event.run is not None:
            version = read.version_of(item.facets["version"], f"{at}.facets.version")
            user.put(f"{part}/version", self.time, item.facets["version"])
        if "lineage" in item.facets and path == "outputs":
            user.put(f"{part}/lineage", self.time, item.facets["lineage"])
            for source in read.dataset_lineage(item.facets["lineage"], f"{at}.facets.lineage").data:
                self._use(user, DataSaid(source.data), "inputs", at)
        self._put_all(user, item.own, f"{part}/")
        if version is not None:
            self.told.version(item.key, version)
        elif path == "inputs" or self.event.run is None:
            self.told.version(item.key, UNVERSIONED)

    def _data(self, item: DataSaid, at: str, job: str | None) -> None:
        """What is said of a data set itself."""
        # Which version it is, is said of what a run has to do with it.
        apart = PER_JOB if self.event.run is None else PER_JOB | PER_RUN
        plain = {name: value for name, value in item.facets.items() if name not in apart}
        source = plain.get("dataSource")
        if isinstance(source, dict) and isinstance(source.get("uri"), str):
            plain["dataSource"] = {**source, "uri": read.without_password(source["uri"])}
        self._put_all(self.told.dataset(item.key), plain)
        read.tags_of(item.facets.get("tags"), f"{at}.facets.tags")
        read.owners_of(item.facets.get("ownership"), f"{at}.facets.ownership")
        for key in read.symlinks_of(item.facets.get("symlinks"), f"{at}.facets.symlinks"):
            self.told.dataset(key)
        fields = read.fields_of(item.facets.get("schema"), f"{at}.facets.schema")
        self.told.fields.update((item.key, name) for name in fields)
        self._sources(item, f"{at}.facets", job)

    def _sources(self, item: DataSaid, at: str, job: str | None) -> None:
        """Where a data set's fields come from, as one job says, or whoever knows the data set."""
        said = self.told.dataset(item.key)
        for name in PER_JOB & item.facets.keys():
            said.put(name if job is None else f"/jobs/{quoted(job)}/{name}", self.time, item.facets[name])
        sources = read.column_sources(item.facets.get("columnLineage"), f"{at}.columnLineage")
        sources += read.dataset_lineage(item.facets.get("lineage"), f"{at}.lineage").fields
        for source in sources:
            self.told.dataset(source.data)
            self.told.fields.add((source.data, source.field))
            if source.target:
                self.told.fields.add((item.key, source.target))


def together(all_: Iterable[Told]) -> Told:
    """What several events say together."""
    whole = Told()
    for told in all_:
        for mine, theirs in ((whole.runs, told.runs), (whole.jobs, told.jobs), (whole.data, told.data)):
            for key, said in theirs.items():
                mine.setdefault(key, Said()).join(said)
        for (key, name), time in told.versions.items():
            whole.version(key, name, time)
        whole.fields |= told.fields
        for owner, points in told.points.items():
            whole.points.setdefault(owner, set()).update(points)
    return whole


def lineage_facets(said: Said) -> Iterator[tuple[str, Any]]:
    """The facets that tell where a data set's fields come from, of all jobs and of none: name and value."""
    for name, value in said.facets.items():
        last = name.rpartition("/")[2]
        if last in PER_JOB and (name == last or name.startswith("/jobs/")):
            yield last, value
