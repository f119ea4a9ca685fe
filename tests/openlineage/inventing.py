"""Events made up at random: jobs in circles, runs at the same time, facets that come, change and go."""

from __future__ import annotations

import random
import uuid
from typing import Any

PRODUCER = "https://example.org/producer/1"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json"


def facet(**body: Any) -> dict[str, Any]:
    """A facet."""
    return {"_producer": PRODUCER, "_schemaURL": f"{SCHEMA}#/$defs/BaseFacet", **body}


def data(name: str, *, own: str = "", namespace: str = "made-up", **facets: Any) -> dict[str, Any]:
    """A data set with these facets."""
    return {"namespace": namespace, "name": name, "facets": {n: facet(**f) for n, f in facets.items()}}


def event(time: str, **parts: Any) -> dict[str, Any]:
    """An event of this time."""
    return {"eventTime": time, "producer": PRODUCER, "schemaURL": SCHEMA, **parts}


def job(name: str, **facets: Any) -> dict[str, Any]:
    """A job with these facets."""
    return {"namespace": "made-up", "name": name, "facets": {n: facet(**f) for n, f in facets.items()}}


def run_id(number: int) -> str:
    """The id of a run by its number."""
    return str(uuid.UUID(int=number))


def at(minute: int) -> str:
    """A time of one day."""
    return f"2026-03-01T{minute // 60:02d}:{minute % 60:02d}:00Z"


def invent(chance: random.Random, count: int = 30) -> list[dict[str, Any]]:
    """Events of a few jobs that may all read what the others write, and of runs that are of one job each.

    Field lineage and named versions go from data sets of a higher number to those of a lower one only: nothing that
    events themselves say is a circle.
    """
    names = [f"d{i}" for i in range(6)]
    events = []
    for _ in range(count):
        time = at(chance.randrange(30))
        kind = chance.random()
        if kind < 0.1:
            body = _described(chance, chance.randrange(len(names)))
            events.append(event(time, dataset=body))
            continue
        number = chance.randrange(8)
        job_name = f"j{number % 4}"
        facets: dict[str, Any] = {}
        if chance.random() < 0.3:
            facets["documentation"] = (
                {"_deleted": True} if chance.random() < 0.3 else {"description": f"words {chance.randrange(3)}"}
            )
        if chance.random() < 0.3:
            facets["tags"] = {"tags": [{"key": f"k{chance.randrange(2)}", "value": f"v{chance.randrange(3)}"}]}
        inputs = [data(name) for name in chance.sample(names, chance.randrange(3))]
        outputs = [_described(chance, chance.randrange(len(names))) for _ in range(chance.randrange(3))]
        if kind < 0.2:
            inputs = [item for item in inputs if item["name"] > names[number % 6]]
            outputs = [item for item in outputs if item["name"] <= names[number % 6]]
            events.append(event(time, job=job(f"static{number % 6}", **facets), inputs=inputs, outputs=outputs))
            continue
        run: dict[str, Any] = {"runId": run_id(number), "facets": {}}
        if chance.random() < 0.2 and number:
            parent = {"run": {"runId": run_id(number - 1)}, "job": job(f"j{(number - 1) % 4}")}
            run["facets"]["parent"] = facet(**parent)
        if chance.random() < 0.3:
            run["facets"]["executionParameters"] = facet(parameters=[{"key": "lr", "value": str(chance.random())}])
        if chance.random() < 0.1:
            run["facets"][f"strange{chance.randrange(2)}"] = facet(anything=[chance.random(), None, "é"])
        type_ = chance.choice(["START", "RUNNING", "COMPLETE", "COMPLETE", "FAIL", "OTHER", None])
        parts = {"run": run, "job": job(job_name, **facets), "inputs": inputs, "outputs": outputs}
        events.append(event(time, **({"eventType": type_} if type_ else {}), **parts))
    return events


def _described(chance: random.Random, number: int) -> dict[str, Any]:
    """A data set that something is said of."""
    facets: dict[str, Any] = {}
    if chance.random() < 0.5:
        fields = chance.sample(["a", "b", "c", "d"], chance.randrange(4))
        facets["schema"] = {"fields": [{"name": name, "type": chance.choice(["int", "text"])} for name in fields]}
    if chance.random() < 0.4 and number < 5:
        source = {"namespace": "made-up", "name": f"d{chance.randrange(number + 1, 6)}", "field": chance.choice("abc")}
        how = {"transformations": [{"type": "DIRECT", "subtype": chance.choice(["IDENTITY", "AGGREGATION"])}]}
        facets["columnLineage"] = {"fields": {chance.choice("abcd"): {"inputFields": [{**source, **how}]}}}
        if chance.random() < 0.3:
            facets["columnLineage"]["dataset"] = [{**source, "field": "d"}]
    if chance.random() < 0.1:
        facets["columnLineage"] = {"_deleted": True}
    if chance.random() < 0.1:
        facets["lifecycleStateChange"] = {"lifecycleStateChange": chance.choice(["CREATE", "DROP"])}
    if number == 0 and chance.random() < 0.3:
        facets["symlinks"] = {"identifiers": [{"namespace": "made-up", "name": "d3", "type": "TABLE"}]}
    if chance.random() < 0.2:
        facets["version"] = {"datasetVersion": f"v{chance.randrange(3)}"}
    return data(f"d{number}", **facets)
