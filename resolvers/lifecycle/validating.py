"""Validations: checks of a version that workers take, run and report on.

A worker leases the oldest one that waits, says from time to time that it is still there, and reports. Each lease has
an epoch, and whoever comes with an earlier one is refused: of two workers that hold themselves for the holder only
one is heard. What ran out of time, or lost its worker, goes to the next worker that asks, so nothing need run beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graph.ids import new_id
from graph.ontology import EVALUATION, VALIDATION
from graph.port import EVERYTHING, All, Any_, Hop, Node, Order, Paging, Prop, Transaction, Update
from lineal.errors import Conflict, InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers.lifecycle.evaluating import Slice, measured, with_report
from resolvers.reading import all_found, bounded
from resolvers.writing.command import command
from resolvers.writing.common import ArtifactFile, MetricPoint, NamedValue, Report, label
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find
from resolvers.writing.story import files, made_by, owned

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"

DEFAULT_TIMEOUT: Final = 3_600
DEFAULT_ATTEMPTS: Final = 3
DEFAULT_LEASE: Final = 60
MIN_LEASE, MAX_LEASE = 1, 3_600
"""Seconds that a worker may be silent."""

MAX_DATASETS: Final = 100
MAX_SUITES: Final = 100
_LOOKED_AT: Final = 20
"""Validations that are looked at together, to find one that nobody else takes."""


@command("requestValidation")
async def request_validation(
    tx: Transaction,
    *,
    version: str,
    suite: str,
    datasets: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    timeout_seconds: int = DEFAULT_TIMEOUT,
    max_attempts: int = DEFAULT_ATTEMPTS,
) -> str:
    """Queue a check of a version, on these data sets, for a worker that takes this suite.

    It belongs to the workspace and the model of the version. Raises NotFound, InvalidArgument (each naming the place
    in the input), LimitExceeded.
    """
    if len(datasets) > MAX_DATASETS:
        msg = f"datasets: has {len(datasets)} entries; at most {MAX_DATASETS} are allowed"
        raise LimitExceeded(msg, field="datasets")
    if settings is not None and not isinstance(settings, Mapping):
        raise InvalidArgument(f"settings: must be a JSON object, not {settings!r:.80}", field="settings")
    draft = Draft(tx)
    of = draft.want(version, "version", "ModelVersion")
    on = [draft.want(each, f"datasets[{i}]", "DatasetVersion") for i, each in enumerate(datasets)]
    await draft.find()
    assert of.node is not None
    props = {
        "state": QUEUED,
        "suite": label(suite, "suite"),
        "settings": dict(settings) if settings else None,
        "attempts": 0,
        "epoch": 0,
        "maxAttempts": max_attempts,
        "timeoutSeconds": timeout_seconds,
    }
    id = draft.create(VALIDATION, None, of.workspace, container=of.node.container, props=props)
    for target in (of, *on):
        draft.link("VALIDATES", id, target)
    await draft.save()
    return id


@command("leaseValidation")
async def lease_validation(
    tx: Transaction, *, suites: Sequence[str], worker: str, seconds: int = DEFAULT_LEASE
) -> str | None:
    """Take the oldest validation of these suites that waits, or whose worker was not heard of in time.

    It is then this worker's for so many seconds, and longer with each heartbeat. None where nothing waits. Raises
    InvalidArgument.

    It takes no idempotency key: an answer that is given again could be of an attempt that is another worker's by now,
    with that one's epoch. A lease whose answer got lost ends by itself.
    """
    if not 1 <= len(suites) <= MAX_SUITES:
        raise InvalidArgument(f"suites: has {len(suites)} entries; 1 to {MAX_SUITES} are allowed", field="suites")
    names = [label(suite, f"suites[{i}]") for i, suite in enumerate(suites)]
    worker = label(worker, "worker")
    seconds = bounded(seconds, MIN_LEASE, MAX_LEASE, field="seconds")
    lost = All((Prop("state", "eq", RUNNING), Prop("leasedUntil", "lte", tx.now)))
    waits: tuple[Any, ...] = (Prop("suite", "in", names), Any_((Prop("state", "eq", QUEUED), lost)))
    if tx.rights.workspaces is not None:
        waits += (Prop("workspace", "in", sorted(tx.rights.workspaces)),)
    async for node in all_found(tx, VALIDATION.name, All(waits), order=Order("createdAt"), at_once=_LOOKED_AT):
        if await _taken(tx, node.id, worker, seconds):
            return node.id
    return None


@command("heartbeatValidation")
async def heartbeat_validation(tx: Transaction, *, address: str, epoch: int, seconds: int = DEFAULT_LEASE) -> str:
    """Say that the attempt of this epoch goes on: it is the worker's for so many seconds more.

    Raises NotFound, InvalidArgument, Conflict (it is over: out of time, cancelled, or another worker's).
    """
    seconds = bounded(seconds, MIN_LEASE, MAX_LEASE, field="seconds")
    node = await _held(tx, address, epoch)
    await tx.update([Update(node.id, {"leasedUntil": _until(tx.now, seconds, int(node.props["deadline"]))})])
    return node.id


@command("reportValidation")
async def report_validation(
    tx: Transaction,
    *,
    address: str,
    epoch: int,
    success: bool,
    message: str | None = None,
    retry: bool = False,
    uncounted: bool = False,
    metrics: Sequence[MetricPoint] = (),
    slices: Sequence[Slice] = (),
    params: Sequence[NamedValue] = (),
    run: str | None = None,
    artifacts: Sequence[ArtifactFile] = (),
    report: Report | None = None,
) -> str:
    """Say what came of the attempt of this epoch, and record what was measured as an evaluation, together.

    With `retry` it was the worker that failed, and not the version: it waits again while attempts are left. With
    `uncounted` too the worker gives it back, and the attempt is as if it had not been made. A success
    has an evaluation even where nothing was measured. Raises NotFound, InvalidArgument, Conflict (the attempt is over).
    """
    tells = bool(metrics or slices or params or run or artifacts or report)
    if retry and (success or tells):
        msg = "retry: is for an attempt that could not be made, which neither succeeds nor measures anything"
        raise InvalidArgument(msg, field="retry")
    if uncounted and not retry:
        raise InvalidArgument("uncounted: goes with retry: what came of an attempt counts", field="uncounted")
    node = await _held(tx, address, epoch, late=not success)
    if retry:
        made = int(node.props["attempts"]) - uncounted
        state = QUEUED if made < int(node.props["maxAttempts"]) else FAILED
        await tx.update([Update(node.id, {**_ended(state, message), "attempts": made})])
        return node.id
    await tx.update([Update(node.id, _ended(SUCCEEDED if success else FAILED, message))])
    if not (success or tells):
        return node.id
    draft = Draft(tx)
    evaluation = draft.create(EVALUATION, None, node.workspace, id=new_id(EVALUATION.prefix))
    for edge, target in await _subjects(tx, node.id):
        draft.link(edge, evaluation, target.id)
    draft.link("REPORTED", node.id, evaluation)
    made_by(draft, evaluation, run)
    files(draft, evaluation, with_report(artifacts, report), node.workspace)
    await draft.find()
    owned(draft, evaluation, params=params, metrics=measured(metrics, slices))
    await draft.save()
    return node.id


@command("cancelValidation")
async def cancel_validation(tx: Transaction, *, address: str, reason: str | None = None) -> str:
    """Let it not be run; the worker that has it hears so with its next heartbeat.

    Raises NotFound, InvalidArgument, PreconditionFailed (it is over).
    """
    id = await find(tx, address, "validation", VALIDATION.name)
    node = (await tx.lock([id]))[id]
    if (state := node.props["state"]) not in {QUEUED, RUNNING}:
        raise PreconditionFailed(f"validation: it is {state} already", field="validation")
    await tx.update([Update(id, _ended(CANCELLED, reason))])
    return id


async def _taken(tx: Transaction, id: str, worker: str, seconds: int) -> bool:
    """Whether it could be taken: another worker may have been faster, or it may have no attempts left."""
    try:
        node = (await tx.lock([id]))[id]
    except NotFound:
        return False
    props, now = node.props, tx.now
    if props["state"] not in {QUEUED, RUNNING} or (props["state"] == RUNNING and int(props["leasedUntil"]) > now):
        return False
    attempts = int(props["attempts"])
    if attempts >= int(props["maxAttempts"]):
        why = f"the last of {attempts} attempts ran out of time, or its worker was not heard of any more"
        await tx.update([Update(id, _ended(FAILED, why))])
        return False
    if not (await tx.neighbours([id], Hop("VALIDATES", "OUT", "ModelVersion"), paging=Paging(1)))[id].items:
        await tx.update([Update(id, _ended(FAILED, "its version is gone"))])
        return False
    deadline = now + int(props["timeoutSeconds"]) * 1_000_000
    begun = {
        "state": RUNNING,
        "attempts": attempts + 1,
        "epoch": int(props["epoch"]) + 1,
        "worker": worker,
        "deadline": deadline,
        "leasedUntil": _until(now, seconds, deadline),
        "message": None,
    }
    await tx.update([Update(id, begun)])
    return True


async def _held(tx: Transaction, address: str, epoch: int, *, late: bool = False) -> Node:
    """The validation, locked, whose attempt has this epoch. Raises Conflict: that attempt is over.

    `late` says that the attempt may have taken too long.
    """
    id = await find(tx, address, "validation", VALIDATION.name)
    node = (await tx.lock([id]))[id]
    props = node.props
    if int(props["epoch"]) != epoch:
        msg = f"epoch: attempt {epoch} is over, the last one was {props['epoch']}; leave it, and lease another"
        raise Conflict(msg, field="epoch", expected=epoch, actual=props["epoch"])
    if props["state"] != RUNNING:
        raise Conflict(f"epoch: attempt {epoch} is over, the validation is {props['state']}", field="epoch")
    if not late and int(props["deadline"]) <= tx.now:
        msg = f"epoch: attempt {epoch} is over, it took longer than {props['timeoutSeconds']} seconds"
        raise Conflict(msg, field="epoch")
    return node


async def _subjects(tx: Transaction, id: str) -> list[tuple[str, Node]]:
    """What an evaluation of it leads to, by which edges. Raises PreconditionFailed: the version is gone."""
    view = tx.view
    tx.show(EVERYTHING)
    try:
        page = (await tx.neighbours([id], Hop("VALIDATES", "OUT"), paging=Paging(MAX_DATASETS + 1)))[id]
    finally:
        tx.show(view)
    nodes = [link.node for link in page.items]
    if not any(node.kind == "ModelVersion" for node in nodes):
        raise PreconditionFailed("validation: its version is gone", field="validation")
    if not all(view.shows(node) for node in nodes):
        msg = "validation: it is of something that you may not see, so that you cannot report on it"
        raise PreconditionFailed(msg, field="validation")
    return [("EVALUATES" if node.kind == "ModelVersion" else "EVALUATED_ON", node) for node in nodes]


def _until(now: int, seconds: int, deadline: int) -> int:
    """Until when a worker has it: never longer than the attempt may take, so that one figure tells both."""
    return min(now + seconds * 1_000_000, deadline)


def _ended(state: str, message: str | None) -> dict[str, Any]:
    return {"state": state, "message": message, "leasedUntil": None, "deadline": None}
