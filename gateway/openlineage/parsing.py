"""Events as they come over the wire, read and held against what the specification asks of all of them.

Read as producers write them: `schemaURL` and `producer` may be missing, what is null is left out, and a time without a
zone is UTC. What an event is about says its kind, not its schema.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, get_args

from graph import validation
from lineal.errors import InvalidArgument
from resolvers.openlineage.events import Ancestor, DataSaid, Event, EventType, Facets, JobSaid, RunSaid, key_of, time_of

TYPES: Final = get_args(EventType)
MAX_FACETS: Final = 200
"""Facets of one thing in one event."""


def parse(event: Any) -> Event:
    """An event. Raises InvalidArgument, naming the place in it: something is missing, or not what it should be."""
    if not isinstance(event, dict):
        raise InvalidArgument("the event must be an object")
    time = time_of(event.get("eventTime"), "eventTime")
    if event.get("run") is not None:
        return Event(time, _type(event.get("eventType")), run=_run(event["run"]), **_job_and_data(event))
    if event.get("job") is not None:
        return Event(time, **_job_and_data(event))
    if event.get("dataset") is not None:
        return Event(time, dataset=_data(event["dataset"], "dataset"))
    msg = "run, job, dataset: an event must have a run and its job, or a job, or a dataset"
    raise InvalidArgument(msg, field="run")


def _job_and_data(event: Mapping[str, Any]) -> dict[str, Any]:
    job = _object(event.get("job"), "job")
    return {
        "job": JobSaid(_key(job, "job"), _facets(job.get("facets"), "job.facets")),
        "inputs": _all_data(event.get("inputs"), "inputs", "inputFacets"),
        "outputs": _all_data(event.get("outputs"), "outputs", "outputFacets"),
    }


def _run(given: Any) -> RunSaid:
    run = _object(given, "run")
    facets = _facets(run.get("facets"), "run.facets")
    parent, at = facets.get("parent") or _parent_of_prefect(facets), "run.facets.parent"
    root = parent.get("root")
    return RunSaid(
        _run_id(run.get("runId"), "run.runId"),
        facets,
        _ancestor(parent, at) if parent else None,
        _ancestor(_object(root, f"{at}.root"), f"{at}.root") if root is not None else None,
    )


def _parent_of_prefect(facets: Facets) -> Mapping[str, Any]:
    """Prefect's emitter calls the facet parentRun, and may not know the run that it is of."""
    given = facets.get("parentRun") or {}
    run = given.get("run")
    return given if isinstance(run, dict) and run.get("runId") else {}


def _ancestor(given: Mapping[str, Any], at: str) -> Ancestor:
    run = _object(given.get("run"), f"{at}.run")
    job = _object(given.get("job"), f"{at}.job")
    return Ancestor(_run_id(run.get("runId"), f"{at}.run.runId"), _key(job, f"{at}.job"))


def _all_data(given: Any, at: str, own: str) -> tuple[DataSaid, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise InvalidArgument(f"{at}: must be a list of data sets", field=at)
    return tuple(_data(item, f"{at}[{i}]", own) for i, item in enumerate(given))


def _data(given: Any, at: str, own: str = "") -> DataSaid:
    item = _object(given, at)
    facets = _facets(item.get("facets"), f"{at}.facets")
    return DataSaid(_key(item, at), facets, _facets(item.get(own), f"{at}.{own}") if own else {})


def _facets(given: Any, at: str) -> Facets:
    """Facets by name; None stands for one that is to be deleted."""
    if given is None:
        return {}
    facets = {name: facet for name, facet in _object(given, at).items() if facet is not None}
    if len(facets) > MAX_FACETS:
        raise InvalidArgument(f"{at}: has {len(facets)} facets; at most {MAX_FACETS} are allowed", field=at)
    for name, facet in facets.items():
        validation.name(name, field=f"{at}.{name}")
        _object(facet, f"{at}.{name}")
    return {name: None if facet.get("_deleted") is True else facet for name, facet in facets.items()}


# ── Parts ─────────────────────────────────────────────────────────────────────────────────────────


def _object(given: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        problem = "is missing" if given is None else "must be an object"
        raise InvalidArgument(f"{at}: {problem}", field=at)
    return given


def _key(given: Mapping[str, Any], at: str) -> str:
    for name in ("namespace", "name"):
        if not isinstance(given.get(name), str):
            raise InvalidArgument(f"{at}.{name}: must be text", field=f"{at}.{name}")
    return key_of(given["namespace"], given["name"], at)


def _run_id(given: Any, at: str) -> str:
    """A run's id in the form of RFC 9562."""
    try:
        return str(uuid.UUID(given if isinstance(given, str) else ""))
    except ValueError:
        msg = f"{at}: must be a UUID such as 0198c1fb-30e4-7c9b-a1b1-9a7c1e1f7a2d, not {given!r:.80}"
        raise InvalidArgument(msg, field=at) from None


def _type(given: Any) -> EventType | None:
    if given is None:
        return None
    for type_ in TYPES:
        if isinstance(given, str) and given.upper() == type_:
            return type_  # type: ignore[no-any-return]
    raise InvalidArgument(f"eventType: must be one of {', '.join(TYPES)}, not {given!r:.80}", field="eventType")
