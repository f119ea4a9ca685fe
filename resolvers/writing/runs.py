"""Experiments, pipelines and runs: recorded whole, or as they go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graph import ontology, validation
from graph.ids import new_id
from graph.ontology import EXPERIMENT, PIPELINE, RUN, RUN_ENDED
from graph.port import Node, Transaction, Update
from lineal.errors import Conflict, InvalidArgument, PreconditionFailed
from resolvers.writing.command import command
from resolvers.writing.common import (
    NOTHING,
    ArtifactFile,
    Code,
    MetricPoint,
    NamedValue,
    Output,
    RunInput,
    points,
    present,
    rows,
)
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import deleting
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.nodes import find, registering, renaming, updating
from resolvers.writing.story import built_from, files, owned, refuse_retired

create_experiment = registering("createExperiment", EXPERIMENT)
update_experiment = updating("updateExperiment", EXPERIMENT, "experiment")
rename_experiment = renaming("renameExperiment", EXPERIMENT, "experiment")
delete_experiment = deleting("deleteExperiment", EXPERIMENT, "experiment")
create_pipeline = registering("createPipeline", PIPELINE)
update_pipeline = updating("updatePipeline", PIPELINE, "pipeline")
rename_pipeline = renaming("renamePipeline", PIPELINE, "pipeline")
delete_pipeline = deleting("deletePipeline", PIPELINE, "pipeline")
rename_run = renaming("renameRun", RUN, "run")
delete_run = deleting("deleteRun", RUN, "run")

READABLE: Final = ("DatasetVersion", "ModelVersion", "Field")
STAGES: Final = {"SCHEDULED": 0, "RUNNING": 1, **dict.fromkeys(RUN_ENDED, 2)}


@command("recordRun")
async def record_run(
    tx: Transaction,
    *,
    name: str | None = None,
    workspace: str | None = None,
    experiment: str | None = None,
    create_experiment: bool = False,
    pipeline: str | None = None,
    create_pipeline: bool = False,
    parent: str | None = None,
    properties: Mapping[str, Any] = NOTHING,
    inputs: Sequence[RunInput] = (),
    outputs: Sequence[Output] = (),
    code: Code | None = None,
    params: Sequence[NamedValue] = (),
    metrics: Sequence[MetricPoint] = (),
    tags: Sequence[NamedValue] = (),
    artifacts: Sequence[ArtifactFile] = (),
) -> str:
    """Record a run, with what it read and what it made. Model versions it made name it in createModelVersion.

    Its workspace is that of its experiment, pipeline or parent unless given, its name its own id. A run
    with an end is FINISHED unless a state is given, any other RUNNING, since now unless a start is given.
    Raises InvalidArgument, NotFound (each naming the place in the input), AlreadyExists, PreconditionFailed (it read
    a version that is retired).
    """
    draft = Draft(tx)
    run = new_id(RUN.prefix)
    props = _begun(settable(RUN, present(properties)), tx.now)
    homes = []
    for edge, text, field, kind, create in (
        ("PART_OF", experiment, "experiment", EXPERIMENT, create_experiment),
        ("RUN_OF", pipeline, "pipeline", PIPELINE, create_pipeline),
        ("PART_OF", parent, "parent", RUN, False),
    ):
        if text is not None:
            homes.append(draft.want(text, field, kind.name, create=create))
            draft.link(edge, run, homes[-1])
    reads = _read(draft, run, inputs)
    for i, item in enumerate(outputs):
        made = draft.want(item["dataset"], f"outputs[{i}].dataset", "DatasetVersion", create=item.get("create", False))
        draft.link("PRODUCED_BY", made, run)
    await draft.find()
    refuse_retired(reads)
    place = workspace or next((home.workspace for home in homes), ontology.DEFAULT_WORKSPACE)
    built_from(draft, run, code, place)
    files(draft, run, artifacts, place)
    await draft.find()
    draft.create(RUN, None if name is None else validation.name(name), place, props=props, id=run)
    owned(draft, run, tags=tags, params=params, metrics=metrics)
    await draft.save()
    return run


def _read(draft: Draft, run: str, inputs: Sequence[RunInput]) -> list[Reference]:
    found = []
    for i, item in enumerate(inputs):
        read = draft.want(item["address"], f"inputs[{i}].address", *READABLE)
        read.create = read.create_container = item.get("create", False) and read.kind.name != "ModelVersion"
        draft.link("READ", run, read, item.get("role"))
        found.append(read)
    return found


def _begun(props: dict[str, Any], now: int) -> dict[str, Any]:
    """The properties of a new run. Raises InvalidArgument: it ends before it begins, or has not ended."""
    props.setdefault("state", "FINISHED" if "endedAt" in props else "RUNNING")
    if props["state"] == "RUNNING":
        props.setdefault("startedAt", now)
    return _checked_times(props)


def _checked_times(props: dict[str, Any]) -> dict[str, Any]:
    started, ended = props.get("startedAt"), props.get("endedAt")
    if ended is not None and props.get("state") not in RUN_ENDED:
        msg = f"endedAt: a run that is {props.get('state')} has no end; give it a state of {', '.join(RUN_ENDED)}"
        raise InvalidArgument(msg, field="endedAt")
    if started is not None and ended is not None and ended < started:
        raise InvalidArgument("endedAt: must not be before startedAt", field="endedAt")
    return props


@command("updateRun")
async def update_run(
    tx: Transaction,
    *,
    address: str,
    properties: Mapping[str, Any] = NOTHING,
    revision: int | None = None,
    reopen: bool = False,
) -> str:
    """Set properties of a run; one that ends now gets its end. Only `reopen` takes a state back.

    Raises NotFound, Conflict, InvalidArgument, PreconditionFailed (it ended, and would go on).
    """
    id = await find(tx, address, "run", RUN.name)
    run = (await tx.lock([id]))[id]
    await tx.update([Update(id, _moved(run, settable(RUN, properties), tx.now, reopen), revision=revision)])
    return id


def _moved(run: Node, props: dict[str, Any], now: int, reopen: bool) -> dict[str, Any]:
    """What to set, so that state and times agree."""
    before = run.props.get("state", "RUNNING")
    after = props.get("state", before)
    if after is None:
        raise InvalidArgument("state: a run always has one", field="state")
    if STAGES[after] < STAGES[before]:
        if not reopen:
            msg = f"state: the run is {before} and cannot go back to {after}, unless `reopen` is true"
            raise PreconditionFailed(msg, field="state")
        props.setdefault("endedAt", None)
    if after != before:
        if after in RUN_ENDED and before not in RUN_ENDED:
            props.setdefault("endedAt", now)
        if after == "RUNNING" and "startedAt" not in run.props:
            props.setdefault("startedAt", now)
    _checked_times({**run.props, **props})
    return props


@command("logMetrics")
async def log_metrics(tx: Transaction, *, address: str, metrics: Sequence[MetricPoint]) -> str:
    """Append to the metrics of a run. Points that arrive after its end are taken too.

    Raises NotFound, InvalidArgument, LimitExceeded (more than 10,000 points).
    """
    id = await find(tx, address, "run", RUN.name)
    await tx.log_metrics({id: points(metrics, tx.now)})
    return id


@command("logParams")
async def log_params(tx: Transaction, *, address: str, params: Sequence[NamedValue]) -> str:
    """Add parameters to a run. Raises NotFound, InvalidArgument, Conflict (one has another value already)."""
    id = await find(tx, address, "run", RUN.name)
    await tx.lock([id])
    given = rows(params, "params")
    there = (await tx.rows([id], "params", list(given))).get(id, {})
    for i, (name, value) in enumerate(given.items()):
        if there.get(name, value) != value:
            msg = f"params[{i}].value: {name!r} of this run is {there[name]!r}, and a parameter keeps its value"
            raise Conflict(msg, field=f"params[{i}].value")
    await tx.put_rows("params", {id: given})
    return id
