"""Lineage as SPDX 3.0.1 in JSON-LD, with the profiles AI, Dataset and Build (https://spdx.github.io/spdx-spec/v3.0.1/).

Model versions are AIPackages, versions of data DatasetPackages, runs Builds, code and deployments Packages. Each
relationship says whether all of its kind are there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from graph.port import Edge
from resolvers.exporting.licences import expression
from resolvers.exporting.provenance import Provenance, Thing, second

Json = dict[str, Any]

CONTEXT: Final = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NO_LICENCE: Final = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
"""What stands for a licence of which nothing is said."""
NODE: Final = "urn:lineal:node:"
COMPLETE: Final = "Complete: nothing was cut off, and nothing is restricted."
INFO: Final = "_:creationinfo"
TOOL: Final = "urn:lineal:spdx:tool"
AGENT: Final = "urn:lineal:spdx:agent"
DOCUMENT: Final = "urn:lineal:spdx:document"

TYPES: Final = {
    "ModelVersion": ("ai_AIPackage", "model"),
    "DatasetVersion": ("dataset_DatasetPackage", "data"),
    "Field": ("dataset_DatasetPackage", "data"),
    "CodeRevision": ("software_Package", "source"),
    "Deployment": ("software_Package", "application"),
    "Evaluation": ("software_Package", "evidence"),
}
"""The class and the purpose of an element, by the kind of node."""

ASKED: Final = {
    "ai_AIPackage": ("suppliedBy", "software_downloadLocation", "software_packageVersion", "releaseTime"),
    "dataset_DatasetPackage": ("originatedBy", "software_downloadLocation", "builtTime", "releaseTime"),
}
"""What the profiles AI and Dataset ask of each element of a class, and the graph may not know."""

RELATIONS: Final = {
    "DERIVED_FROM": "descendantOf",
    "TRAINED_ON": "trainedOn",
    "USES": "dependsOn",
    "SERVES": "dependsOn",
    "BUILT_FROM": "dependsOn",
    "EVALUATES": "dependsOn",
    "EVALUATED_ON": "dependsOn",
    "READ": "hasInput",
}
"""The type of a relationship, by the kind of edge; that of what a run made is told from the run."""


def document(of: Provenance) -> Json:
    """The document, as an object for JSON."""
    graph = [*_head(of)]
    elements: list[Json] = []
    for thing in of.things:
        elements += _element(of, thing)
    elements += (_relationship(of, edge) for edge in of.edges)
    # A licence or an owner that several things have is one element.
    elements = list({each["spdxId"]: each for each in elements}.values())
    starts = [_id(thing) for thing in of.things if thing.distance == 0]
    whole: Json = {
        "type": "SpdxDocument",
        # Another document says something else, and is another one.
        "spdxId": f"{DOCUMENT}:{_digest(of.name, of.notes, elements)}",
        "creationInfo": INFO,
        "name": of.name,
        "comment": " ".join([*(of.notes or [COMPLETE]), *_unknown(elements)]),
        "profileConformance": ["core", "software", "ai", "dataset", "build", "simpleLicensing"],
        "element": [each["spdxId"] for each in elements],
        "rootElement": starts,
    }
    return {"@context": CONTEXT, "@graph": [*graph, whole, *elements]}


def _unknown(elements: Sequence[Json]) -> Iterator[str]:
    """What the profiles ask for and is not here, since nobody told it to the registry."""
    for type_, asked in ASKED.items():
        some = [each for each in elements if each["type"] == type_]
        lacking = [(name, sum(name not in each for each in some)) for name in asked]
        words = [f"{name.removeprefix('software_')} of {count:,}" for name, count in lacking if count]
        if words:
            yield f"Of {len(some):,} {type_} nobody told {', '.join(words)}."


def _head(of: Provenance) -> Iterator[Json]:
    yield {
        "type": "CreationInfo",
        "@id": INFO,
        "specVersion": "3.0.1",
        "created": of.created,
        "createdBy": [AGENT],
        "createdUsing": [TOOL],
    }
    yield {"type": "SoftwareAgent", "spdxId": AGENT, "creationInfo": INFO, "name": "Lineal"}
    yield {"type": "Tool", "spdxId": TOOL, "creationInfo": INFO, "name": "Lineal"}


def _id(thing: Thing) -> str:
    return NODE + thing.id


def _element(of: Provenance, thing: Thing) -> Iterator[Json]:
    """A node, and what it refers to."""
    made: Json = {"type": "", "spdxId": _id(thing), "creationInfo": INFO, "name": thing.title}
    if thing.node.kind == "Run":
        yield made | {"type": "build_Build", **_build(thing)}
        return
    made["type"], made["software_primaryPurpose"] = TYPES.get(thing.node.kind, ("software_Package", "other"))
    if thing.node.kind in {"DatasetVersion", "Field"}:
        made["dataset_datasetType"] = ["noAssertion"]
    if thing.restricted:
        yield made | {"comment": "It may not be read by whoever asked for this document."}
        return
    made |= {name: value for name, value in _common(of, thing).items() if value}
    if thing.node.kind == "ModelVersion":
        made |= {name: value for name, value in _ai(thing).items() if value}
    elif thing.node.kind == "DatasetVersion" and thing.get("sizeBytes") is not None:
        made["dataset_datasetSize"] = thing.get("sizeBytes")
    yield made
    for owner in thing.owners:
        kind = "Organization" if owner.kind == "Team" else "Agent"
        yield {"type": kind, "spdxId": NODE + owner.id, "creationInfo": INFO, "name": owner.name}
    if thing.license or thing.node.kind == "ModelVersion":
        yield from _license(thing)
    if thing.files:
        yield from _files(thing)


def _common(of: Provenance, thing: Thing) -> Json:
    runs = [run.get("endedAt") for _, run in of.because_of(thing, "PRODUCED_BY")]
    times = {"releaseTime": thing.get("releasedAt"), "builtTime": thing.get("madeAt") or next(iter(runs), None)}
    owners = [NODE + owner.id for owner in thing.owners[:1]]
    places = [thing.get("uri") or thing.get("repository"), *(a.props.get("uri") for a in thing.artifacts)]
    places += [thing.container.props.get("uri")] if thing.container else []
    place = next((text for text in places if text and "://" in text), None)
    return {
        "software_packageVersion": thing.part or thing.get("commit"),
        "software_downloadLocation": place,
        "description": thing.description,
        "summary": thing.address,
        "suppliedBy": owners[0] if owners else None,
        "originatedBy": owners if thing.node.kind == "DatasetVersion" else None,
        **{name: None if time is None else second(time) for name, time in times.items()},
        "verifiedUsing": [_hash(thing.sha256)] if thing.sha256 else None,
    }


def _hash(sha256: str) -> Json:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": sha256}


def _entries(pairs: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> list[Json]:
    return [{"type": "DictionaryEntry", "key": key, "value": value} for key, value in pairs]


def _ai(thing: Thing) -> Json:
    libraries = thing.get("frameworks") or ()
    measured = [(metric.name, repr(metric.value)) for metric in thing.metrics]
    for each in thing.evaluations:
        on = f" on {each.dataset}" if each.dataset else ""
        measured += [(f"{metric.name}{on}", repr(metric.value)) for metric in each.metrics]
    return {
        "ai_hyperparameter": _entries(list(thing.params.items())),
        "ai_metric": _entries(measured),
        "ai_informationAboutApplication": f"Libraries that load it: {', '.join(libraries)}." if libraries else None,
        "ai_domain": [task] if thing.container and (task := thing.container.props.get("task")) else [],
    }


def _build(thing: Thing) -> Json:
    times = {"build_buildStartTime": thing.get("startedAt"), "build_buildEndTime": thing.get("endedAt")}
    made: Json = {name: second(value) for name, value in times.items() if value is not None}
    if thing.params:
        made["build_parameter"] = _entries(list(thing.params.items()))
    return {"build_buildType": "urn:lineal:kind:Run", "build_buildId": thing.node.name or thing.id, **made}


def _license(thing: Thing) -> Iterator[Json]:
    """The licence that it says it has. Which one it truly has nobody has concluded, which the profile AI wants said."""
    if thing.node.kind == "ModelVersion":
        yield _related(f"{_id(thing)}:concluded", "hasConcludedLicense", _id(thing), [NO_LICENCE])
    known = expression(thing.license)
    if not thing.license:
        yield _related(f"{_id(thing)}:declared", "hasDeclaredLicense", _id(thing), [NO_LICENCE])
        return
    if known:
        id = f"urn:lineal:licence:{known.replace(' ', '-')}"
        said: Json = {"type": "simplelicensing_LicenseExpression", "simplelicensing_licenseExpression": known}
    else:
        id = f"{_id(thing)}:licence"
        said = {"type": "simplelicensing_SimpleLicensingText", "simplelicensing_licenseText": thing.license}
    yield said | {"spdxId": id, "creationInfo": INFO}
    yield _related(f"{_id(thing)}:declared", "hasDeclaredLicense", _id(thing), [id])


def _files(thing: Thing) -> Iterator[Json]:
    for number, filed in enumerate(thing.files):
        made: Json = {"type": "software_File", "spdxId": f"{_id(thing)}:file:{number}", "creationInfo": INFO}
        if filed.file.sha256:
            made["verifiedUsing"] = [_hash(filed.file.sha256)]
        yield made | {"name": filed.file.path}
    ids = [f"{_id(thing)}:file:{number}" for number in range(len(thing.files))]
    yield _related(f"{_id(thing)}:files", "contains", _id(thing), ids)


def _digest(*said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _relationship(of: Provenance, edge: Edge) -> Json:
    source, target = of.by_id[edge.source], of.by_id[edge.target]
    # Whether all of its sort are there is known of what the walk was not cut off at, along the arrows.
    whole = "complete" if of.knows(source) else "incomplete"
    id = f"urn:lineal:edge:{_digest(edge.source, edge.kind, edge.target, edge.discriminator, edge.since)}"
    if edge.kind == "PRODUCED_BY":
        return _related(id, "hasOutput", _id(target), [_id(source)], "noAssertion")
    type_ = "hasInput" if source.node.kind == "Run" else RELATIONS[edge.kind]
    if edge.kind == "DERIVED_FROM" and edge.discriminator:
        return _related(id, type_, _id(source), [_id(target)], whole) | {"comment": edge.discriminator}
    return _related(id, type_, _id(source), [_id(target)], whole)


def _related(id: str, type_: str, source: str, targets: list[str], completeness: str = "complete") -> Json:
    return {
        "type": "Relationship",
        "spdxId": id,
        "creationInfo": INFO,
        "relationshipType": type_,
        "from": source,
        "to": targets,
        "completeness": completeness,
    }
