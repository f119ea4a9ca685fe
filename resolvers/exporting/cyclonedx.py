"""Lineage as a machine-learning bill of materials: CycloneDX 1.6 (ECMA-424), https://cyclonedx.org/docs/1.6/json/.

Versions of models and data and code are components, deployments services, runs workflows of the formulation. What was
cut off or may not be read makes the composition incomplete.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

import orjson

from graph.port import Metric
from resolvers.exporting.licences import identifier
from resolvers.exporting.provenance import Provenance, Thing

Json = dict[str, Any]

TYPES: Final = {
    "ModelVersion": "machine-learning-model",
    "DatasetVersion": "data",
    "Field": "data",
    "CodeRevision": "application",
    "Evaluation": "data",
}
"""The type of a component, by the kind of node."""
_COUNTED: Final = ("parameterCount", "rowCount", "sizeBytes")
"""Properties that CycloneDX has no place for."""


def bom(of: Provenance) -> Json:
    """The bill of materials, as an object for JSON."""
    components = [_component(of, thing) for thing in of.things if thing.node.kind in TYPES]
    made: Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, orjson.dumps([of.moment, components]).decode()).urn,
        "version": 1,
        "metadata": _metadata(of),
        "components": components,
        "services": [_service(thing) for thing in of.of_kind("Deployment")],
        "dependencies": [_dependency(of, thing) for thing in of.things if thing.node.kind != "Run"],
        "compositions": _compositions(of),
        "formulation": _formulation(of),
    }
    return {name: value for name, value in made.items() if value}


def _metadata(of: Provenance) -> Json:
    facts = {"direction": of.direction.name.lower(), "complete": str(of.complete).lower()}
    said = [*facts.items(), *(("note", note) for note in of.notes)]
    tool = {
        "type": "application",
        "name": "lineal",
        "description": "A model registry that knows where every model came from.",
    }
    made: Json = {
        "timestamp": of.created,
        "tools": {"components": [tool]},
        "properties": [{"name": f"lineal:{name}", "value": value} for name, value in said],
    }
    starts = [thing for thing in of.things if thing.distance == 0 and thing.node.kind in TYPES]
    if len(starts) == 1:
        # A reference is unique in the document: the component itself, with all that it has, is among the others.
        made["component"] = _short(starts[0])
    return made


def _short(thing: Thing) -> Json:
    return {"type": TYPES[thing.node.kind], "name": thing.title, **({"version": thing.part} if thing.part else {})}


def _component(of: Provenance, thing: Thing) -> Json:
    made: Json = {**_short(thing), "bom-ref": thing.id, "properties": _properties(thing)}
    if thing.restricted:
        return made
    if thing.owners:
        made["supplier"] = {"name": thing.owners[0].name}
    if thing.description:
        made["description"] = thing.description
    if thing.license:
        known = identifier(thing.license)
        made["licenses"] = [{"license": {"id": known} if known else {"name": thing.license}}]
    if thing.sha256:
        made["hashes"] = [{"alg": "SHA-256", "content": thing.sha256}]
    if references := _references(thing):
        made["externalReferences"] = references
    if thing.files:
        made["components"] = [_file(thing, number) for number in range(len(thing.files))]
    if thing.node.kind == "ModelVersion":
        made["modelCard"] = _model_card(of, thing)
        parents = [_short(other) for edge, other in of.because_of(thing, "DERIVED_FROM") if not other.restricted]
        if parents:
            made["pedigree"] = {"ancestors": parents}
    elif made["type"] == "data":
        made["data"] = [_data(thing)]
    return made


def _properties(thing: Thing) -> list[Json]:
    said = [("kind", thing.node.kind), ("distance", str(thing.distance))]
    if thing.restricted:
        said.append(("restricted", "true"))
    else:
        said.append(("address", thing.address))
        said += [(name, str(thing.get(name))) for name in _COUNTED if thing.get(name) is not None]
        said += [("releasedAt", time)] if (time := thing.time("releasedAt")) else []
        said += [("framework", name) for name in thing.get("frameworks") or ()]
        said += [("alias", alias) for alias in thing.aliases]
        said += [(f"param:{name}", value) for name, value in thing.params.items()]
        said += [(f"tag:{name}", value) for name, value in thing.tags.items()]
    return [{"name": f"lineal:{name}", "value": value} for name, value in said]


def _references(thing: Thing) -> list[Json]:
    """Where it is. What a digest of files stands for, which are elsewhere, is told with that."""
    kind = "vcs" if thing.node.kind == "CodeRevision" else "distribution"
    found = [{"type": kind, "url": uri} for uri in (thing.get("uri"), thing.get("repository")) if uri]
    return [*found, *({"type": "distribution", "url": uri} for a in thing.artifacts if (uri := a.props.get("uri")))]


def _file(thing: Thing, number: int) -> Json:
    filed = thing.files[number]
    hashes = [{"alg": "SHA-256", "content": filed.file.sha256}] if filed.file.sha256 else []
    size = {"name": "lineal:size", "value": str(filed.file.size)}
    ref = f"{thing.id}/{number}"
    return {"type": "file", "bom-ref": ref, "name": filed.file.path, "hashes": hashes, "properties": [size]}


def _data(thing: Thing) -> Json:
    said = [{"name": "lineal:type", "value": thing.get("type")}] if thing.get("type") else []
    said += [{"name": f"lineal:column:{each.name}", "value": each.props.get("type", "")} for each in thing.fields]
    contents: Json = {"properties": said} if said else {}
    if thing.get("uri"):
        contents["url"] = thing.get("uri")
    kind = "dataset" if thing.node.kind == "DatasetVersion" else "other"
    return {"type": kind, "name": thing.title, **({"contents": contents} if contents else {})}


def _model_card(of: Provenance, thing: Thing) -> Json:
    near = [other for _, other in of.sources(thing)]
    signature = thing.get("signature") or {}
    parameters: Json = {
        "task": thing.container.props.get("task") if thing.container else None,
        "datasets": [{"ref": other.id} for other in near if other.node.kind == "DatasetVersion"],
        **{name: [{"format": _shape(each)} for each in signature.get(name) or ()] for name in ("inputs", "outputs")},
    }
    card: Json = {"modelParameters": {name: value for name, value in parameters.items() if value}}
    measured: list[tuple[Metric, str | None]] = [(metric, None) for metric in thing.metrics]
    measured += [(metric, each.dataset) for each in thing.evaluations for metric in each.metrics]
    if measured:
        card["quantitativeAnalysis"] = {"performanceMetrics": [_metric(metric, on) for metric, on in measured]}
    return card


def _shape(given: Any) -> str:
    if not isinstance(given, dict):
        return str(given)
    return " ".join(str(given[name]) for name in ("name", "type", "dtype", "shape") if given.get(name) is not None)


def _metric(metric: Metric, on: str | None) -> Json:
    return {"type": metric.name, "value": repr(metric.value), **({"slice": on} if on else {})}


def _service(thing: Thing) -> Json:
    made: Json = {"bom-ref": thing.id, "name": thing.title, "properties": _properties(thing)}
    return made | ({"endpoints": [thing.get("uri")]} if thing.get("uri") else {})


def _dependency(of: Provenance, thing: Thing) -> Json:
    """What a thing depends on; what a run read for it stands for the run, which is no component."""
    return {"ref": thing.id, "dependsOn": sorted({o.id for _, o in of.sources(thing) if o.node.kind != "Run"})}


def _compositions(of: Provenance) -> list[Json]:
    """Of what all dependencies are here, and of what not (CycloneDX, compositions)."""
    found: dict[str, list[str]] = {"complete": [], "incomplete": []}
    for thing in of.things:
        if thing.node.kind != "Run":
            found["complete" if of.knows(thing) else "incomplete"].append(thing.id)
    return [{"aggregate": word, "dependencies": ids} for word, ids in found.items() if ids]


def _formulation(of: Provenance) -> list[Json]:
    workflows = [_workflow(of, run) for run in of.of_kind("Run")]
    return [{"workflows": workflows}] if workflows else []


def _workflow(of: Provenance, run: Thing) -> Json:
    read = [{"resource": {"ref": other.id}} for _, other in of.because_of(run)]
    made = [
        {"resource": {"ref": e.source}, "type": "artifact"}
        for e in of.edges
        if e.kind == "PRODUCED_BY" and e.target == run.id
    ]
    facts: Json = {
        "name": run.title,
        "timeStart": run.time("startedAt"),
        "timeEnd": run.time("endedAt"),
        "inputs": read,
        "outputs": made,
        "properties": _properties(run),
    }
    required = {"bom-ref": run.id, "uid": run.node.name or run.id, "taskTypes": ["other"]}
    return required | {name: value for name, value in facts.items() if value}
