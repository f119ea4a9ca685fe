"""What was said, in the terms of the graph: properties, tags, parameters, and what leads to what.

Pure functions of what stands after all events. Whoever writes compares what they gave before with what they give
now, so that only what was said changes, and what somebody else wrote stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graph.editing import MAX_DISCRIMINATOR
from lineal.errors import LimitExceeded
from resolvers.openlineage import facets as read
from resolvers.openlineage.events import quoted
from resolvers.openlineage.facets import MAX_FIELDS, CodeSaid, FieldSaid, ModelSaid, Source
from resolvers.openlineage.merging import Said, lineage_facets


@dataclass(frozen=True, slots=True)
class Made:
    """What a run says of data that it made: the version (None: one of its own), rows and bytes."""

    version: str | None
    rows: int | None
    size: int | None


# ── Runs ──────────────────────────────────────────────────────────────────────────────────────────


def run_props(said: Said) -> dict[str, Any]:
    """The properties of a run; None of what it does not have."""
    ended = said.ended
    state = ended[1] if ended else "RUNNING" if "first" in said.times else None
    nominal = said.facets.get("nominalTime")
    times = {
        name: text
        for name in ("nominalStartTime", "nominalEndTime")
        if (text := read.words_of(nominal, name, "nominalTime"))
    }
    return {
        "state": state,
        "startedAt": said.started,
        "endedAt": ended[0] if ended else None,
        "description": read.words_of(said.facets.get("errorMessage"), "message", "errorMessage"),
        "attributes": times or None,
    }


def params(said: Said) -> dict[str, str]:
    """The parameters of a run."""
    return read.parameters_of(said.facets.get("executionParameters"), "executionParameters")


def tags(said: Said) -> dict[str, str]:
    """The tags of a run, a job or a data set; of the latter also what last became of it."""
    found = read.tags_of(said.facets.get("tags"), "tags")
    if change := read.words_of(said.facets.get("lifecycleStateChange"), "lifecycleStateChange", "lifecycleStateChange"):
        found["lifecycleStateChange"] = change
    return found


def owners(said: Said) -> set[str]:
    """The names of those who answer for a job or a data set."""
    return read.owners_of(said.facets.get("ownership"), "ownership")


def job_of(said: Said) -> str | None:
    """The key of the job that a run is of."""
    return said.facets.get("/job")


def parent_of(said: Said) -> str | None:
    """The id of the run that started a run."""
    return said.facets.get("/parent")


def code(said: Said) -> CodeSaid | None:
    """The commit that a run was made by."""
    return read.code_of(said.facets.get("/code"), "sourceCodeLocation")


def named_reads(said: Said) -> dict[str, str | None]:
    """The data sets that a run says it read, each with the version where one is named."""
    return {
        key: read.version_of(said.facets.get(f"/inputs/{quoted(key)}/version"), "version")
        for key in said.parts("/inputs")
    }


def reads(said: Said) -> dict[str, str | None]:
    """The data sets that a run read and did not make itself before that, each with the version where one is named."""
    inner = inner_reads(said)
    if not inner:
        return named_reads(said)
    own = {key for job in inner for key in inner[job]}
    takes = {job: set(used(said, job, "/inputs")) for job in said.parts("/jobs")}
    outer = {key for job, keys in takes.items() for key in keys - inner.get(job, set())}
    return {key: version for key, version in named_reads(said).items() if key in outer or key not in own}


def used(said: Said, job: str, path: str) -> list[str]:
    """The data sets that a run reads or writes as this job, where it is several."""
    return said.parts(f"/jobs/{quoted(job)}{path}")


def inner_reads(said: Said) -> dict[str, set[str]]:
    """What a run that is of several jobs made as one of them and read as another, by the job that read.

    So are runs that make one thing after the other, each as a job of its own. Where these go round in a circle nobody
    can say which was first: that is not among them.
    """
    jobs = said.parts("/jobs")
    if len(jobs) < 2:
        return {}
    own = {key for key, made in makes(said).items() if made.version is None}
    named = named_reads(said)
    gives = {job: set(used(said, job, "/outputs")) for job in jobs}
    takes = {job: set(used(said, job, "/inputs")) for job in jobs}
    found = {
        job: {
            key
            for key in takes[job] - gives[job]
            if key in own and named.get(key) is None and any(key in gives[other] for other in jobs)
        }
        for job in jobs
    }
    sources: dict[str, set[str]] = {}
    for job, keys in found.items():
        for made in gives[job]:
            sources.setdefault(made, set()).update(keys)
    return {
        job: straight
        for job, keys in found.items()
        if (straight := {key for key in keys if not gives[job] & _reach(key, sources)})
    }


def _reach(key: str, sources: Mapping[str, set[str]]) -> set[str]:
    """What something comes from, itself too."""
    seen, front = {key}, [key]
    while front:
        front = sorted(set().union(*(sources.get(each, set()) for each in front)) - seen)
        seen.update(front)
    return seen


def inner_derivations(said: Said) -> set[tuple[str, str, str]]:
    """What of the data that a run made it made from which other of these: (made, read, job)."""
    own = {key for key, made in makes(said).items() if made.version is None}
    return {
        (made, source, job[:MAX_DISCRIMINATOR])
        for job, keys in inner_reads(said).items()
        for made in used(said, job, "/outputs")
        if made in own
        for source in keys
    }


def makes(said: Said) -> dict[str, Made]:
    """The data sets that a run wrote, each with what it made there.

    A version that it also read was there before it: what it made is another one.
    """
    before = named_reads(said)
    found = {}
    for key in said.parts("/outputs"):
        own = said.under(f"/outputs/{quoted(key)}")
        version = read.version_of(own.get("version"), "version")
        if version is not None and before.get(key) == version:
            version = None
        statistics = own.get("outputStatistics")
        found[key] = Made(version, read.count_of(statistics, "rowCount"), read.count_of(statistics, "size"))
    return found


def model(said: Said, key: str) -> ModelSaid:
    """What a run says of the model that it made."""
    return read.model_of(said.facets.get(f"/outputs/{quoted(key)}/lineal_modelVersion"), "lineal_modelVersion")


def derivations(said: Said) -> set[tuple[str, str, str]]:
    """Which data came from which, where a run or a job says so by itself: (made, read, how)."""
    return {
        (key, source.data, source.relation)
        for key in said.parts("/outputs")
        for source in read.dataset_lineage(said.facets.get(f"/outputs/{quoted(key)}/lineage"), "lineage").data
        if source.data != key
    }


# ── Jobs ──────────────────────────────────────────────────────────────────────────────────────────


def job_props(said: Said) -> dict[str, Any]:
    """The properties of a job."""
    where = said.facets.get("sourceCodeLocation")
    url = read.without_password(where.get("url")) if isinstance(where, dict) else None
    return {"description": read.words_of(said.facets.get("documentation"), "description", "documentation"), "uri": url}


def static_derivations(said: Said) -> set[tuple[str, str, str]]:
    """Which data sets a job makes from which, whenever it runs, where it says so without a run: (made, read, how).

    Where it says what one comes from, that alone counts; else it comes from all that the job reads.
    """
    found = derivations(said)
    told = {made for made, _, _ in found}
    inputs = said.parts("/inputs")
    outputs = [key for key in said.parts("/outputs") if key not in told]
    return found | {(made, source, "") for made in outputs for source in inputs if source != made}


# ── Data sets ─────────────────────────────────────────────────────────────────────────────────────


def data_props(said: Said) -> dict[str, Any]:
    """The properties of a data set."""
    source = said.facets.get("dataSource")
    return {
        "description": read.words_of(said.facets.get("documentation"), "description", "documentation"),
        "uri": read.without_password(source.get("uri")) if isinstance(source, dict) else None,
    }


def symlinks(said: Said, key: str) -> set[str]:
    """The other names of a data set."""
    return read.symlinks_of(said.facets.get("symlinks"), "symlinks") - {key}


def data_derivations(said: Said, key: str) -> set[tuple[str, str, str]]:
    """The data sets that a data set comes from, where whoever knows it says so."""
    sources = read.dataset_lineage(said.facets.get("lineage"), "lineage").data
    return {(key, source.data, source.relation) for source in sources if source.data != key}


def is_model(said: Said) -> bool:
    """Whether a data set is a model."""
    return read.is_model(said.facets.get("datasetType"))


def schema(said: Said) -> dict[str, FieldSaid]:
    """The fields of a data set by name."""
    return read.fields_of(said.facets.get("schema"), "schema")


def field_props(said: FieldSaid | None) -> Mapping[str, Any]:
    """The properties of a field; one that is not in the schema is only named."""
    if said is None:
        return {"type": None, "ordinal": None, "description": None, "external": True}
    return {"type": said.type, "ordinal": said.ordinal, "description": said.description, "external": None}


def field_sources(said: Said, key: str) -> set[Source]:
    """The fields that the fields of a data set came from, as all its jobs say together.

    What bears on the whole data set bears on each of its fields. Raises LimitExceeded: these are too many.
    """
    found: set[Source] = set()
    whole: set[Source] = set()
    for name, facet in lineage_facets(said):
        sources = (
            read.column_sources(facet, name) if name == "columnLineage" else read.dataset_lineage(facet, name).fields
        )
        found.update(source for source in sources if source.target)
        whole.update(source for source in sources if not source.target)
    if whole:
        targets = {source.target for source in found} | schema(said).keys()
        if len(targets) * len(whole) > MAX_FIELDS:
            msg = f"columnLineage.dataset: bears on {len(targets)} fields, which makes more than {MAX_FIELDS} edges"
            raise LimitExceeded(msg, field="columnLineage.dataset")
        found |= {Source(target, s.data, s.field, s.relation) for target in targets for s in whole}
    # A field that an incremental job makes from itself leads nowhere else.
    return {source for source in found if (source.target, key) != (source.field, source.data)}
