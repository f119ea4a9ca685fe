"""Lineage as events of OpenLineage 2-0-2: run events of runs, of registrations and of deployments, and data events.

They are told as those are that go out when something happens (resolvers.openlineage.telling), under the same names. A
version of data that no run made has an event of its own, which those have no cause for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from graph.ontology import DEFAULT_WORKSPACE
from graph.port import Node
from resolvers.exporting.provenance import Provenance, Thing
from resolvers.openlineage.naming import derived_id, job_name, named, run_id, serving_id
from resolvers.openlineage.telling import (
    ENDS,
    Narrator,
    columns,
    given,
    location,
    measured,
    model_version,
    transformations,
)

Json = dict[str, Any]

_DATA = frozenset({"ModelVersion", "DatasetVersion"})


def events(of: Provenance) -> list[Json]:
    """The events, in the order of their times, as an array for JSON: what the batch endpoint of a consumer takes."""
    teller = _Teller(of)
    told = [event for thing in of.things for event in teller.of(thing)] + teller.columns_alone()
    return sorted(told, key=lambda event: str(event["eventTime"]))


class _Teller:
    """Tells the things of one lineage."""

    def __init__(self, of: Provenance) -> None:
        self._of = of
        self._narrator = Narrator(of.namespace, of.base)
        self._made: dict[str, list[Thing]] = {}
        for edge in of.edges:
            if edge.kind == "PRODUCED_BY":
                self._made.setdefault(edge.target, []).append(of.by_id[edge.source])
        self._used = {edge.target for edge in of.edges}

    def of(self, thing: Thing) -> list[Json]:
        """The events of a thing; none of one that another's event tells of."""
        match thing.node.kind:
            case "Run":
                return self._run(thing)
            case "ModelVersion" | "DatasetVersion" if self._of.because_of(thing, "PRODUCED_BY"):
                return []
            case "ModelVersion" | "DatasetVersion" if thing.id in self._used and self._unknown(thing):
                # Who read it tells of it; how it came to be is not in this lineage.
                return []
            case "ModelVersion":
                run = {"runId": derived_id(thing.id), "facets": {}}
                return [self._alone(thing, "REGISTRATION", run, self._output(thing))]
            case "DatasetVersion":
                return [self._narrator.data_event(self._time(thing), self._item(thing, whole=True))]
            case "Deployment":
                edges = thing.serves or [edge for edge, _ in self._of.because_of(thing, "SERVES")]
                run = {"runId": derived_id(thing.id) if thing.restricted else serving_id(thing.id, edges), "facets": {}}
                facets = self._narrator.facets(datasetType={"datasetType": "DEPLOYMENT"}, tags=_tags(thing))
                return [self._alone(thing, "DEPLOYMENT", run, {**self._place(thing), "facets": facets})]
        return []

    def columns_alone(self) -> list[Json]:
        """Data events of data sets of which the lineage has columns, and no version."""
        versions = {thing.node.container for thing in self._of.of_kind("DatasetVersion")}
        fields = [f for f in self._of.of_kind("Field") if not f.restricted and f.node.container not in versions]
        told = []
        for _, each in groupby(sorted(fields, key=lambda f: f.node.container), key=lambda f: f.node.container):
            some = list(each)
            facets = self._narrator.facets(
                schema=columns(field.node for field in some), columnLineage=self._columns([f.node for f in some])
            )
            place = self._narrator.place(some[0].node.workspace, _container(some[0]))
            told.append(self._narrator.data_event(self._time(some[0]), {**place, "facets": facets}))
        return told

    def _unknown(self, thing: Thing) -> bool:
        return thing.restricted or (thing.more and not self._of.because_of(thing))

    def _run(self, run: Thing) -> list[Json]:
        facets = self._narrator.facets(
            executionParameters=given(run.params), parent=self._parent(run), lineal_metrics=measured(run.metrics)
        )
        job = self._narrator.job(_workspace(run), self._job(run), "RUN", sourceCodeLocation=self._code(run))
        id = derived_id(run.id) if run.restricted else run_id(run.node)
        made = [thing for thing in self._made.get(run.id, ()) if thing.node.kind in _DATA]
        end = ENDS.get(run.get("state") or "")
        began, ended = run.get("startedAt"), run.get("endedAt")
        moments = [("START", began)] if began is not None else []
        moments += [(end, ended or self._of.moment)] if end else []
        told: Json = {
            "run": {"runId": id, "facets": facets},
            "job": job,
            "inputs": self._inputs([run, *made]),
            "outputs": [self._output(thing) for thing in made],
        }
        return [self._narrator.event(at, type_, **told) for type_, at in moments or [("OTHER", self._time(run))]]

    def _code(self, thing: Thing) -> Mapping[str, Any] | None:
        """Where the code is that something was made by."""
        code = (other.node for _, other in self._of.because_of(thing, "BUILT_FROM") if not other.restricted)
        return location(next(code, None))

    def _job(self, run: Thing) -> str:
        return named("Run", run.id) if run.restricted else job_name(run.node, run.homes)

    def _parent(self, run: Thing) -> Json | None:
        """The run that started it."""
        if (parent := run.parent) is None:
            return None
        job = self._narrator.place(parent.node.workspace, self._job(parent))
        return {"run": {"runId": run_id(parent.node)}, "job": job}

    def _alone(self, thing: Thing, type_: str, run: Json, output: Json) -> Json:
        """What no run is known of: that it was registered, or deployed, stands for one."""
        job = self._narrator.job(_workspace(thing), _name(thing), type_, sourceCodeLocation=self._code(thing))
        inputs, at = self._inputs([thing]), self._time(thing)
        return self._narrator.event(at, "COMPLETE", run=run, job=job, inputs=inputs, outputs=[output])

    def _time(self, thing: Thing) -> int:
        """When it came to be, as far as that is known."""
        since = [edge.since for edge in self._of.outward.get(thing.id, ())]
        return thing.node.created_at or max(since, default=self._of.moment)

    def _inputs(self, things: Sequence[Thing]) -> list[Json]:
        """What these came from, but from each other."""
        near = {o.id: o for thing in things for _, o in self._of.because_of(thing) if o.node.kind in _DATA}
        return [self._item(other) for id, other in near.items() if other not in things]

    def _place(self, thing: Thing) -> dict[str, str]:
        return self._narrator.place(_workspace(thing), _name(thing))

    def _output(self, thing: Thing) -> Json:
        """A version that was made, with what it is."""
        item = self._item(thing, whole=True)
        if thing.node.kind != "ModelVersion" or thing.restricted:
            return item
        return {**item, "outputFacets": self._narrator.facets(lineal_metrics=measured(thing.metrics))}

    def _item(self, thing: Thing, *, whole: bool = False) -> Json:
        """A version as a data set; `whole` with all that it is."""
        is_model = thing.node.kind == "ModelVersion"
        told: dict[str, Json | None] = {}
        if whole and not thing.restricted:
            told["documentation"] = {"description": thing.description} if thing.description else None
            if is_model:
                near = self._of.because_of(thing, "DERIVED_FROM")
                told["lineal_modelVersion"] = model_version(thing.node, thing.title, [edge for edge, _ in near])
            else:
                told["schema"] = columns(thing.fields) if thing.fields else None
                told["columnLineage"] = self._columns(thing.fields)
                told["lineage"] = self._derived(thing)
        facets = self._narrator.facets(
            version={"datasetVersion": thing.part} if thing.part else None,
            datasetType={"datasetType": "MODEL"} if is_model else None,
            tags=_tags(thing),
            **told,
        )
        return {**self._place(thing), "facets": facets}

    def _derived(self, thing: Thing) -> Json | None:
        """What a version of data came from, where no run says so."""
        if self._of.because_of(thing, "PRODUCED_BY"):
            return None
        near = [(edge, other) for edge, other in self._of.because_of(thing) if other.node.kind in _DATA]
        inputs = [
            {**self._place(other), "type": "DATASET", "transformations": transformations(edge.discriminator)}
            for edge, other in near
        ]
        return {"inputs": inputs} if inputs else None

    def _columns(self, fields: Sequence[Node]) -> Json | None:
        """What columns came from, of what the lineage has."""
        found = {}
        for field in fields:
            near = [(edge, self._of.by_id[edge.target]) for edge in self._of.outward.get(field.id, ())]
            inputs = [
                {
                    **self._narrator.place(other.node.workspace, _container(other)),
                    "field": other.node.name,
                    "transformations": transformations(edge.discriminator),
                }
                for edge, other in near
                if edge.kind == "DERIVED_FROM" and not other.restricted
            ]
            if inputs:
                found[field.name] = {"inputFields": inputs}
        return {"fields": found} if found else None


def _workspace(thing: Thing) -> str:
    return thing.node.workspace or DEFAULT_WORKSPACE


def _name(thing: Thing) -> str:
    return named(thing.node.kind, thing.id if thing.restricted else thing.title)


def _container(field: Thing) -> str:
    """The name of the data set that a field is of."""
    assert field.container is not None
    return field.container.name


def _tags(thing: Thing) -> Mapping[str, Any] | None:
    """What a reader must know of it: that it may not be read, or that there is more behind it."""
    said = (("restricted", thing.restricted), ("frontier", thing.more))
    tags = [{"key": f"lineal.{name}", "value": "true", "source": "LINEAL"} for name, is_so in said if is_so]
    return {"tags": tags} if tags else None
