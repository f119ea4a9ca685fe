"""Lineage as events of OpenLineage 2-0-2: a run event for each run, and for what came to be without one.

They are told as those are that go out when something happens (resolvers.openlineage.telling).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from graph.text import iso
from resolvers.exporting.provenance import Provenance, Thing
from resolvers.openlineage.telling import ENDS, Narrator, derived_id, location, run_id

Json = dict[str, Any]

_DATA = frozenset({"ModelVersion", "DatasetVersion"})


def events(of: Provenance) -> list[Json]:
    """The events, in the order of their times, as an array for JSON: what the batch endpoint of a consumer takes."""
    teller = _Teller(of)
    told = [event for thing in of.things for event in teller.of(thing)]
    return sorted(told, key=lambda event: str(event["eventTime"]))


class _Teller:
    """Tells the things of one lineage."""

    def __init__(self, of: Provenance) -> None:
        self._of = of
        self._narrator = Narrator("lineal", of.base or "urn:lineal:openlineage")
        self._made: dict[str, list[Thing]] = {}
        for edge in of.edges:
            if edge.kind == "PRODUCED_BY":
                self._made.setdefault(edge.target, []).append(of.by_id[edge.source])

    def of(self, thing: Thing) -> list[Json]:
        """The events of a thing; none of one that a run's event tells of."""
        match thing.node.kind:
            case "Run":
                return self._run(thing)
            case "ModelVersion" | "DatasetVersion" if not self._of.because_of(thing, "PRODUCED_BY"):
                return [self._alone(thing, "REGISTRATION", [self._data(thing)])]
            case "Deployment":
                facets = self._narrator.facets(datasetType={"datasetType": "DEPLOYMENT"}, tags=_tags(thing))
                return [self._alone(thing, "DEPLOYMENT", [{**self._place(thing), "facets": facets}])]
        return []

    def _run(self, run: Thing) -> list[Json]:
        params = [{"key": name, "name": name, "value": value} for name, value in run.params.items()]
        facets = self._narrator.facets(
            executionParameters={"parameters": params} if params else None, lineal_metrics=_metrics(run)
        )
        code = next((o.node for _, o in self._of.because_of(run, "BUILT_FROM") if not o.restricted), None)
        job = self._narrator.job(run.node.workspace, self._name(run), "RUN", sourceCodeLocation=location(code))
        id = derived_id(run.id) if run.restricted else run_id(run.node)
        outputs = [self._data(thing) for thing in self._made.get(run.id, ()) if thing.node.kind in _DATA]
        end = ENDS.get(run.get("state") or "")
        began, ended = run.get("startedAt"), run.get("endedAt")
        moments = [("START", began)] if began is not None else []
        moments += [(end, ended or self._of.moment)] if end else []
        told: Json = {
            "run": {"runId": id, "facets": facets},
            "job": job,
            "inputs": self._inputs(run),
            "outputs": outputs,
        }
        return [self._narrator.event(at, type_, **told) for type_, at in moments or [("OTHER", self._of.moment)]]

    def _alone(self, thing: Thing, type_: str, outputs: list[Json]) -> Json:
        """What no run is known of: that it was registered, or deployed, stands for one."""
        job = self._narrator.job(thing.node.workspace, self._name(thing), type_)
        run = {"runId": derived_id(thing.id), "facets": {}}
        since = [edge.since for edge in self._of.outward.get(thing.id, ())]
        at = thing.node.created_at or max(since, default=self._of.moment)
        return self._narrator.event(at, "COMPLETE", run=run, job=job, inputs=self._inputs(thing), outputs=outputs)

    def _inputs(self, thing: Thing) -> list[Json]:
        return [self._data(other) for _, other in self._of.because_of(thing) if other.node.kind in _DATA]

    def _name(self, thing: Thing) -> str:
        title = thing.id if thing.restricted else thing.title
        return {"ModelVersion": "models/", "Deployment": "deployments/", "Run": "runs/"}.get(
            thing.node.kind, ""
        ) + title

    def _place(self, thing: Thing) -> dict[str, str]:
        return self._narrator.place(thing.node.workspace or "default", self._name(thing))

    def _data(self, thing: Thing) -> Json:
        is_model = thing.node.kind == "ModelVersion"
        columns = [{"name": f.name, **({"type": f.props["type"]} if "type" in f.props else {})} for f in thing.fields]
        facets = self._narrator.facets(
            version={"datasetVersion": thing.part} if thing.part else None,
            datasetType={"datasetType": "MODEL"} if is_model else None,
            documentation={"description": thing.description} if thing.description else None,
            schema={"fields": columns} if columns else None,
            tags=_tags(thing),
        )
        return {**self._place(thing), "facets": facets}


def _tags(thing: Thing) -> Mapping[str, Any] | None:
    """What a reader must know of it: that it may not be read, or that there is more behind it."""
    said = (("restricted", thing.restricted), ("frontier", thing.more))
    tags = [{"key": f"lineal.{name}", "value": "true", "source": "LINEAL"} for name, is_so in said if is_so]
    return {"tags": tags} if tags else None


def _metrics(run: Thing) -> Mapping[str, Any] | None:
    points = [
        {"name": m.name, "value": m.value, "step": m.step, "time": iso(m.time)}
        for m in run.metrics
        if math.isfinite(m.value)
    ]
    return {"metrics": points} if points else None
