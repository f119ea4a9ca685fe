"""What happened here, as OpenLineage tells it: of changes the events of the runs and deployments that they are about.

A run is told as it stands when its event is made, with what it read and made. A model version that no run made is told
as the registration that made it, and a change of what a deployment serves as a run that read the versions and put them
there. Models and deployments are data sets of their own (`models/…`, `deployments/…`). What came with OpenLineage is
not told again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from graph.ids import kind_of
from graph.ontology import DEPLOYMENT, MODEL_VERSION, RUN, UNVERSIONED
from graph.port import Change, Edge, Hop, Metric, Node, Order, Paging, Snapshot
from graph.text import iso
from resolvers.openlineage.naming import derived_id, job_name, named, place, run_id, serving_id
from resolvers.openlineage.recording import ACTION
from resolvers.reading import all_links

SPEC: Final = "https://openlineage.io/spec"
EVENT: Final = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
DATA_EVENT: Final = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/DatasetEvent"
FACETS_PATH: Final = "/openlineage/facets/1-0-0/"
"""Where the schemas of Lineal's own facets are served."""

MAX_FIELDS: Final = 500
"""Fields of a data set that are told."""

ENDS: Final = {"FINISHED": "COMPLETE", "FAILED": "FAIL", "KILLED": "ABORT"}
"""The type of the event that ends a run, by the state that it is in then."""

SCHEMAS: Final = {
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet",
    "datasetType": "1-0-1/DatasetTypeDatasetFacet.json#/$defs/DatasetTypeDatasetFacet",
    "documentation": "1-1-0/DocumentationDatasetFacet.json#/$defs/DocumentationDatasetFacet",
    "executionParameters": "1-0-0/ExecutionParametersRunFacet.json#/$defs/ExecutionParametersRunFacet",
    "lineage": "1-0-0/LineageFacet.json#/$defs/LineageDatasetFacet",
    "jobType": "2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "parent": "1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
    "schema": "1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "tags": "1-0-0/TagsDatasetFacet.json#/$defs/TagsDatasetFacet",
    "sourceCodeLocation": "1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
}
OWN_SCHEMAS: Final = {
    "lineal_metrics": "MetricsFacet.json#/$defs/MetricsFacet",
    "lineal_modelVersion": "ModelVersionFacet.json#/$defs/ModelVersionFacet",
}

_TOLD: Final = frozenset({"READ", "SERVES", "TRAINED_ON", "DERIVED_FROM", "BUILT_FROM"})
"""What is told of whoever such an edge leads from."""

Facets = dict[str, dict[str, Any]]


class Narrator:
    """Makes events. `namespace` is that of what is registered here, `base` the address of this server."""

    def __init__(self, namespace: str, base: str) -> None:
        self._namespace = namespace
        self.producer = f"{base}/"
        self._own = base + FACETS_PATH

    async def events(self, snapshot: Snapshot, change: Change) -> list[dict[str, Any]]:
        """The events of a change, of the runs first; none of one that came with OpenLineage."""
        if change.action == ACTION:
            return []
        concerned = _concerned(change.data)
        found = await snapshot.nodes(sorted(concerned)) if concerned else {}
        runs = [node for node in found.values() if node.kind == RUN.name]
        versions = [node for node in found.values() if node.kind == MODEL_VERSION.name]
        makers = (
            await all_links(snapshot, [v.id for v in versions], Hop("PRODUCED_BY", "OUT", RUN.name)) if versions else {}
        )
        for version in versions:
            runs += (link.node for link in makers[version.id])
        told = []
        for run in {run.id: run for run in runs}.values():
            told += await _Run(self, snapshot, change, run).events()
        alone = [version for version in versions if not makers[version.id]]
        told += [await self._registration(snapshot, change, version) for version in alone]
        deployments = [node for node in found.values() if node.kind == DEPLOYMENT.name]
        return told + [await self._deployment(snapshot, change, node) for node in deployments]

    async def _registration(self, snapshot: Snapshot, change: Change, version: Node) -> dict[str, Any]:
        """A version that no run is known of: it learned from data, or came of other versions."""
        sources = await _sources(snapshot, [version])
        data = await Data.of(self, snapshot, [version, *sources])
        code = (await all_links(snapshot, [version.id], Hop("BUILT_FROM", "OUT")))[version.id]
        where = location(next((link.node for link in code), None))
        name = named(version.kind, data.container(version))
        job = self.job(version.workspace, name, "REGISTRATION", sourceCodeLocation=where)
        run = {"runId": derived_id(version.id), "facets": {}}
        inputs, outputs = [data.one(node) for node in sources], [await data.made(snapshot, version)]
        return self.event(change.at, "COMPLETE", run=run, job=job, inputs=inputs, outputs=outputs)

    async def _deployment(self, snapshot: Snapshot, change: Change, deployment: Node) -> dict[str, Any]:
        """What a deployment serves is other than before."""
        served = (await all_links(snapshot, [deployment.id], Hop("SERVES", "OUT")))[deployment.id]
        data = await Data.of(self, snapshot, [link.node for link in served])
        name = named(deployment.kind, deployment.name)
        job = self.job(deployment.workspace, name, "DEPLOYMENT")
        run = {"runId": serving_id(deployment.id, [link.edge for link in served]), "facets": {}}
        output = {
            **self.place(deployment.workspace, name),
            "facets": self.facets(datasetType={"datasetType": "DEPLOYMENT"}),
        }
        inputs = [data.one(link.node) for link in served]
        return self.event(change.at, "COMPLETE", run=run, job=job, inputs=inputs, outputs=[output])

    # Parts of events ──────────────────────────────────────────────────────────────────────────────

    def event(
        self,
        at: int,
        type_: str,
        *,
        run: Mapping[str, Any],
        job: Mapping[str, Any],
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """A run event."""
        return {
            "eventTime": iso(at),
            "eventType": type_,
            "run": run,
            "job": job,
            "inputs": list(inputs),
            "outputs": list(outputs),
            "producer": self.producer,
            "schemaURL": EVENT,
        }

    def data_event(self, at: int, dataset: Mapping[str, Any]) -> dict[str, Any]:
        """An event of a data set alone."""
        return {"eventTime": iso(at), "dataset": dataset, "producer": self.producer, "schemaURL": DATA_EVENT}

    def facets(self, **bodies: Mapping[str, Any] | None) -> Facets:
        """Facets by name; those of None are left out."""
        return {
            name: {"_producer": self.producer, "_schemaURL": self._schema(name), **body}
            for name, body in bodies.items()
            if body is not None
        }

    def _schema(self, name: str) -> str:
        return self._own + OWN_SCHEMAS[name] if name in OWN_SCHEMAS else f"{SPEC}/facets/{SCHEMAS[name]}"

    def place(self, workspace: str, name: str) -> dict[str, str]:
        """The namespace and the name of something."""
        return place(self._namespace, workspace, name)

    def job(self, workspace: str, name: str, type_: str, **facets: Mapping[str, Any] | None) -> dict[str, Any]:
        """A job with its facets."""
        kind = {"processingType": "BATCH", "integration": "LINEAL", "jobType": type_}
        return {**self.place(workspace, name), "facets": self.facets(jobType=kind, **facets)}


class _Run:
    """One run, told with all that it has to do with."""

    def __init__(self, narrator: Narrator, snapshot: Snapshot, change: Change, run: Node) -> None:
        self._narrator = narrator
        self._snapshot = snapshot
        self._change = change
        self._run = run

    async def events(self) -> list[dict[str, Any]]:
        """What the change was for the run: its beginning, its end, both, or something more that is known of it."""
        parts = await self._parts()
        return [self._narrator.event(at, type_, **parts) for type_, at in self._moments()]

    def _moments(self) -> list[tuple[str, int]]:
        data, run, now = self._change.data, self._run, self._change.at
        born = next((props for id, _, _, *props in data.get("created", ()) if id == run.id), None)
        before = born[0] if born else {}
        state = data.get("updated", {}).get(run.id, {}).get("after", {}).get("state", before.get("state"))
        found = [("START", run.props.get("startedAt", now))] if born is not None else []
        if state in ENDS:
            found.append((ENDS[state], run.props.get("endedAt", now)))
        over = run.props.get("state") in ENDS and now > run.props.get("endedAt", now)
        return found or [("OTHER" if over else "RUNNING", now)]

    async def _parts(self) -> dict[str, Any]:
        run, narrator = self._run, self._narrator
        reads = [n for n in await self._near("READ", "OUT") if n.kind != "Field"]
        made = [n for n in await self._near("PRODUCED_BY", "IN") if n.kind != "Evaluation"]
        # What a version is told to come from besides, the run that made it has read.
        known = {node.id for node in (*reads, *made)}
        reads += [node for node in await _sources(self._snapshot, made) if node.id not in known]
        data = await Data.of(narrator, self._snapshot, [*reads, *made])
        params = (await self._snapshot.rows([run.id], "params")).get(run.id, {})
        metrics = await metrics_of(self._snapshot, [run.id])
        facets = narrator.facets(
            executionParameters=given(params),
            parent=await self._parent(),
            lineal_metrics=metrics.get(run.id),
        )
        return {
            "run": {"runId": run_id(run), "facets": facets},
            "job": await self._job(),
            "inputs": [data.one(node) for node in reads],
            "outputs": [await data.made(self._snapshot, node) for node in made],
        }

    async def _near(self, edge: str, direction: Any) -> list[Node]:
        links = await all_links(self._snapshot, [self._run.id], Hop(edge, direction))
        return [link.node for link in links[self._run.id]]

    async def _job(self) -> dict[str, Any]:
        """The job of the run."""
        homes = [*await self._near("RUN_OF", "OUT"), *await self._near("PART_OF", "OUT")]
        name = job_name(self._run, homes)
        code = next(iter(await self._near("BUILT_FROM", "OUT")), None)
        return self._narrator.job(self._run.workspace, name, "RUN", sourceCodeLocation=location(code))

    async def _parent(self) -> dict[str, Any] | None:
        parents = [node for node in await self._near("PART_OF", "OUT") if node.kind == RUN.name]
        if not parents:
            return None
        above = _Run(self._narrator, self._snapshot, self._change, parents[0])
        job = await above._job()
        named = {"namespace": job["namespace"], "name": job["name"]}
        return {"run": {"runId": run_id(parents[0])}, "job": named}


class Data:
    """Versions of data sets and models, as data sets of events."""

    def __init__(self, narrator: Narrator, containers: Mapping[str, Node]) -> None:
        self._narrator = narrator
        self._containers = containers

    @classmethod
    async def of(cls, narrator: Narrator, snapshot: Snapshot, nodes: Iterable[Node]) -> Data:
        """What these versions belong to is looked up."""
        ids = sorted({node.container for node in nodes})
        return cls(narrator, await snapshot.nodes(ids) if ids else {})

    def container(self, version: Node) -> str:
        """The name of what a version belongs to."""
        return self._containers[version.container].name

    def one(self, version: Node, **more: Mapping[str, Any] | None) -> dict[str, Any]:
        """A version as a data set, which is named by what it belongs to."""
        container = self.container(version)
        is_model = version.kind == MODEL_VERSION.name
        name = None if version.name == UNVERSIONED else {"datasetVersion": version.name}
        kind = {"datasetType": "MODEL"} if is_model else None
        facets = self._narrator.facets(version=name, datasetType=kind, **more)
        return {
            **self._narrator.place(version.workspace, named(version.kind, container)),
            "facets": facets,
        }

    async def made(self, snapshot: Snapshot, version: Node) -> dict[str, Any]:
        """A version that was made, with what it is."""
        description = version.props.get("description")
        documentation = {"description": description} if description else None
        if version.kind != MODEL_VERSION.name:
            schema, sources = await self._fields(snapshot, version)
            return self.one(version, documentation=documentation, schema=schema, columnLineage=sources)
        parents = (await all_links(snapshot, [version.id], Hop("DERIVED_FROM", "OUT", MODEL_VERSION.name)))[version.id]
        body = model_version(version, self.container(version), [link.edge for link in parents])
        metrics = (await metrics_of(snapshot, [version.id])).get(version.id)
        output = self.one(version, documentation=documentation, lineal_modelVersion=body)
        return {**output, "outputFacets": self._narrator.facets(lineal_metrics=metrics)}

    async def _fields(self, snapshot: Snapshot, version: Node) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """The schema of a data set, and what its fields came from."""
        id = version.container
        hop, order = Hop("PART_OF", "IN", "Field"), Order("ordinal")
        page = (await snapshot.neighbours([id], hop, order=order, paging=Paging(MAX_FIELDS)))[id]
        fields = [link.node for link in page.items]
        if not fields:
            return None, None
        schema = columns([f for f in fields if not f.props.get("external")])
        near = await all_links(snapshot, [f.id for f in fields], Hop("DERIVED_FROM", "OUT", "Field"))
        sources = [link.node for links in near.values() for link in links]
        homes = await Data.of(self._narrator, snapshot, sources)
        lineage = {
            field.name: {
                "inputFields": [
                    {
                        **self._narrator.place(link.node.workspace, homes.container(link.node)),
                        "field": link.node.name,
                        "transformations": transformations(link.edge.discriminator),
                    }
                    for link in near[field.id]
                ]
            }
            for field in fields
            if near[field.id]
        }
        return schema, {"fields": lineage} if lineage else None


async def metrics_of(snapshot: Snapshot, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The facet `lineal_metrics` of each owner that has any: the last values, but those that are no JSON numbers."""
    found = {id: measured(metrics) for id, metrics in (await snapshot.metrics(ids)).items()}
    return {id: body for id, body in found.items() if body is not None}


def measured(metrics: Sequence[Metric]) -> dict[str, Any] | None:
    """The body of the facet `lineal_metrics`: values that are JSON numbers; None of none."""
    points = [
        {"name": m.name, "value": m.value, "step": m.step, "time": iso(m.time)}
        for m in metrics
        if math.isfinite(m.value)
    ]
    return {"metrics": points} if points else None


def model_version(version: Node, model: str, parents: Iterable[Edge]) -> dict[str, Any]:
    """The body of the facet `lineal_modelVersion`; `parents` are the edges to the models that it came of."""
    told = ("state", "frameworks", "formats", "license", "uri")
    own = {name: version.props[name] for name in told if name in version.props}
    relations = {edge.discriminator for edge in parents}
    # The facet has one word for all of them.
    how = {"relation": relations.pop()} if len(relations) == 1 and "" not in relations else {}
    return {"model": model, "version": version.props["number"], **own, **how}


def given(params: Mapping[str, str]) -> dict[str, Any] | None:
    """The body of the facet `executionParameters`; None of none."""
    found = [{"key": name, "name": name, "value": value} for name, value in params.items()]
    return {"parameters": found} if found else None


def columns(fields: Iterable[Node]) -> dict[str, Any]:
    """The body of the facet `schema`."""
    return {"fields": [{"name": f.name, **({"type": f.props["type"]} if "type" in f.props else {})} for f in fields]}


async def _sources(snapshot: Snapshot, versions: Sequence[Node]) -> list[Node]:
    """What versions learned from, and what they came of."""
    ids = [version.id for version in versions]
    found: dict[str, Node] = {}
    for edge in ("TRAINED_ON", "DERIVED_FROM") if ids else ():
        for links in (await all_links(snapshot, ids, Hop(edge, "OUT"))).values():
            found |= {link.node.id: link.node for link in links}
    return list(found.values())


def transformations(relation: str) -> list[dict[str, Any]]:
    """How a field came from another, as it was told, or as well as one word can say it."""
    found = []
    for word in relation.split():
        kind, _, rest = word.partition(":")
        if kind not in {"DIRECT", "INDIRECT"}:
            kind, rest = "DIRECT", word
        parts = [part for part in rest.split(":") if part]
        masking = "MASKED" in parts
        subtype = next((part for part in parts if part != "MASKED"), None)
        found.append(
            {"type": kind, **({"subtype": subtype} if subtype else {}), **({"masking": True} if masking else {})}
        )
    return found


def location(code: Node | None) -> dict[str, Any] | None:
    """Where the code is; None where that is no address."""
    if code is None or "://" not in code.props["repository"]:
        return None
    more = {name: code.props[name] for name in ("branch", "path") if name in code.props}
    repository = code.props["repository"]
    return {"type": "git", "url": repository, "repoUrl": repository, "version": code.props["commit"], **more}


def _concerned(data: Mapping[str, Any]) -> set[str]:
    """The runs, model versions and deployments that a change is about, by their ids."""
    found = {id for id, kind, *_ in data.get("created", ()) if kind in {RUN.name, MODEL_VERSION.name}}
    for id, told in data.get("updated", {}).items():
        if kind_of(id) is RUN and {"state", "endedAt"} & told.get("after", {}).keys():
            found.add(id)
    for part in ("linked", "unlinked"):
        for source, edge, target, *_ in data.get(part, ()):
            if edge in _TOLD and kind_of(source) in {RUN, MODEL_VERSION, DEPLOYMENT}:
                found.add(source)
            elif edge == "PRODUCED_BY" and kind_of(source) is not None:
                found.add(target)
    return found
