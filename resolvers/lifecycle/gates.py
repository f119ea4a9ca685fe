"""Gates: asked what they say of a version, and passed or not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from graph.port import EVERY_RIGHT, EVERYTHING, Node, Snapshot, Transaction, Update
from lineal.errors import Conflict, Forbidden, InvalidArgument, PreconditionFailed
from resolvers.lifecycle import conditions, standing
from resolvers.lifecycle.case import Case
from resolvers.lifecycle.conditions import CleanData
from resolvers.lifecycle.findings import METRICS, Found, Told, Verdict, tell
from resolvers.lifecycle.judging import Judge
from resolvers.lifecycle.schemes import Schemes
from resolvers.lifecycle.targets import Target, target_of
from resolvers.operation import Operation
from resolvers.reading import find_all
from resolvers.writing.command import OVERRIDING

OVERRIDDEN: Final = "overrideGate"
"""What the change of a write says that let a version through although a gate said no."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the caller is told about a version before the gates of a target; met where there is no gate."""

    version: Node
    target: Target
    met: bool
    conditions: Sequence[Told]


async def check_gate(
    op: Operation,
    version: str,
    *,
    stage: str | None = None,
    alias: str | None = None,
    environment: str | None = None,
    workspace: str | None = None,
) -> Checked:
    """What the gates of a stage, an alias or an environment say of a version, condition by condition.

    `workspace` is that of the environment, where it is another than the version's. Raises NotFound, InvalidArgument.
    """
    target = target_of(stage=stage, alias=alias, environment=environment)
    (node,) = await find_all(op, [version], kinds={"ModelVersion"}, field="version")
    if workspace is not None:
        await find_all(op, [f"workspaces:/{workspace}"], kinds={"Workspace"}, field="workspace")
    snapshot = await op.snapshot()
    target = await spelled(snapshot, node, target)
    now = time.time_ns() // 1_000
    case = Case(snapshot, node, target, now)
    verdict = await judge(case, workspace)
    told = await tell(case.whole, verdict.found, op.view, figures=op.caller.holds(METRICS))
    return Checked(node, target, verdict.met, told)


async def pass_gate(
    tx: Transaction,
    version: Node,
    *,
    stage: str | None = None,
    alias: str | None = None,
    environment: str | None = None,
    workspace: str | None = None,
    override: str | None = None,
    field: str | None = None,
    again: bool = False,
) -> Verdict:
    """Let a version come to a stage, an alias or an environment, or not: whoever may do that asks here first.

    The gates are those of the version's workspace, and of `workspace`, that of the environment, where it is another.
    Everything is judged with everything in view; what the caller may not see is named nowhere. Approvals that it
    rests on are used up by this. `override` is why it shall pass even so, and needs the scope lifecycle:override; if
    it is made use of, the change of the transaction says so by its action. `field` is what a refusal names. With
    `again` it was let through before, and only marks on its data are looked at, which may have come since.

    Raises PreconditionFailed (`unmet` in its details has what is not met), Forbidden (the scope), InvalidArgument (an
    override without a reason), Conflict (an approval was used for something else at the same moment).
    """
    target = target_of(stage=stage, alias=alias, environment=environment)
    check_override(tx, override)
    target = await spelled(tx, version, target)
    case = Case(tx, version, target, tx.now)
    verdict = await judge(case, workspace, override, (CleanData,) if again else None)
    if not verdict.met and not verdict.overridden:
        told = await tell(case.whole, verdict.found, tx.view, figures=tx.rights.holds(METRICS))
        raise _refusal(target, [each for each in told if not each.met], field or target.sort)
    if verdict.overridden:
        tx.action = OVERRIDDEN
    await _use(tx, verdict.approvals)
    return verdict


async def judge(
    case: Case, workspace: str | None = None, override: str | None = None, only: tuple[type, ...] | None = None
) -> Verdict:
    """What the gates say, or their conditions of these types."""
    gates = await standing.gates_of(
        case.whole, case.target, case.version.workspace, workspace or case.version.workspace
    )
    found, approvals = [], dict[str, Node]()
    for gate in gates:
        given = gate.props["conditions"]["conditions"]
        judging = Judge(case, gates, gate.props["conditions"].get("datasets", {}), approvals)
        for said, condition in zip(given, conditions.read(given), strict=True):
            if only is not None and not isinstance(condition, only):
                continue
            found.append(Found(gate, said, await judging(condition)))
    return Verdict(case.target, found, list(approvals.values()), override)


async def spelled(snapshot: Snapshot, version: Node, target: Target) -> Target:
    """The target with a stage as the model's scheme spells it. Raises InvalidArgument: there is no such stage."""
    if target.sort != "stage":
        return target
    whole = snapshot.seeing(EVERYTHING)
    model = (await whole.nodes([version.container]))[version.container]
    return Target("stage", (await Schemes(whole).of(model)).stage(target.name).name)


@contextmanager
def unguarded(tx: Transaction) -> Iterator[None]:
    """For what follows of a write that its caller may make: it is theirs to bring about, if not to do by themselves."""
    view, rights = tx.view, tx.rights
    tx.guard(EVERYTHING, EVERY_RIGHT)
    try:
        yield
    finally:
        tx.guard(view, rights)


def check_override(tx: Transaction, override: str | None) -> None:
    """Raises InvalidArgument (no reason), Forbidden (no scope): whoever writes may override nothing so."""
    if override is None:
        return
    if not override.strip():
        raise InvalidArgument("override: say why it shall pass although the gate says no", field="override")
    if not tx.rights.holds(OVERRIDING):
        raise Forbidden(f"override: needs the scope {OVERRIDING}", scopes=[[OVERRIDING]])


def _refusal(target: Target, unmet: Sequence[Told], field: str) -> PreconditionFailed:
    reasons = "; ".join(each.detail for each in unmet)
    msg = f"{field}: the gate of {target} is not passed: {reasons}"
    return PreconditionFailed(msg, field=field, unmet=[each.plain() for each in unmet])


async def _use(tx: Transaction, approvals: Sequence[Node]) -> None:
    """Use approvals up: one opens one move. Raises Conflict: somebody else was faster."""
    if not approvals:
        return
    with unguarded(tx):
        locked = await tx.lock([approval.id for approval in approvals])
        if any(node.props["state"] != standing.APPROVED for node in locked.values()):
            raise Conflict("an approval that this rests on was used or taken back meanwhile; ask for a new one")
        await tx.update([Update(id, {"state": standing.USED}) for id in locked])
