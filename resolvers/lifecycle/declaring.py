"""Gates as data: declared, changed, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from auth.roles import Role
from graph import ontology, validation
from graph.ontology import GATE, STAGE_SCHEME
from graph.port import EVERYTHING, Hop, Node, Paging, Prop, Transaction, Update
from lineal.errors import InvalidArgument, LimitExceeded, PreconditionFailed
from resolvers.lifecycle import conditions, schemes, standing
from resolvers.lifecycle.parties import parties_of, people_behind
from resolvers.lifecycle.targets import Target, target_in, target_of
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.command import command
from resolvers.writing.common import UNSET, Unset, label, present
from resolvers.writing.deleting import Deleted, remove
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find

MAX_GATES: Final = 200
"""Gates in one workspace."""


@command("declareGate", needs=Role.OWNER)
async def declare_gate(
    tx: Transaction,
    *,
    name: str,
    conditions: Sequence[Mapping[str, Any]],
    stage: str | None = None,
    alias: str | None = None,
    environment: str | None = None,
    workspace: str = ontology.DEFAULT_WORKSPACE,
    description: str | None = None,
) -> str:
    """Declare what must hold before a version comes to a stage, gets an alias or goes to an environment.

    Raises InvalidArgument, naming the place as in `conditions[2].metric`, AlreadyExists, NotFound (the workspace),
    LimitExceeded.
    """
    target = await _target(tx, workspace, target_of(stage=stage, alias=alias, environment=environment))
    props = {**target.props, "conditions": await _kept(tx, conditions), "description": description}
    draft = Draft(tx)
    id = draft.create(GATE, validation.name(name), workspace, props=present(props))
    await draft.save()
    page = await tx.find(GATE.name, Prop("workspace", "eq", workspace), paging=Paging(1, count=True))
    if (page.total or 0) > MAX_GATES:
        raise LimitExceeded(f"name: the workspace has {MAX_GATES} gates, which is the most", field="name")
    return id


@command("updateGate", needs=Role.OWNER)
async def update_gate(
    tx: Transaction,
    *,
    address: str,
    conditions: Sequence[Mapping[str, Any]] | None = None,
    description: str | Unset | None = UNSET,
    revision: int | None = None,
) -> str:
    """Change what a gate asks for. Approvals that were given for what it asked before no longer count.

    Raises NotFound, Conflict, InvalidArgument, PreconditionFailed (the caller has something before this very gate).
    """
    id = await find(tx, address, "gate", GATE.name)
    gate = (await tx.lock([id]))[id]
    props: dict[str, Any] = {} if description is UNSET else {"description": description}
    if conditions is not None:
        props["conditions"] = await _kept(tx, conditions)
        if props["conditions"] != gate.props["conditions"]:
            await _refuse_interested(tx, gate)
    await tx.update([Update(id, props, revision=revision)])
    return id


async def delete_gate(op: Operation, *, address: str, revision: int | None = None) -> Deleted:
    """Delete a gate.

    Raises NotFound, Conflict, PreconditionFailed (the caller has something before this very gate).
    """

    async def work(tx: Transaction) -> Deleted:
        id = await find(tx, address, "gate", GATE.name)
        gate = (await tx.lock([id]))[id]
        await tx.update([Update(id, revision=revision)])
        await _refuse_interested(tx, gate)
        await remove(tx, [gate], "gate")
        return Deleted(gate, 0)

    return await op.write(work, "deleteGate", needs=Role.OWNER)


async def _kept(tx: Transaction, given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Conditions, and the ids of the data sets that they name, as far as those are there.

    What another data set is called later on is not what is asked for.
    """
    named = conditions.datasets_of(conditions.read(given))
    found = await tx.resolve(named) if named else []
    ids = {str(address): node.id for address, node in zip(named, found, strict=True) if node is not None}
    return {"conditions": list(given), **({"datasets": ids} if ids else {})}


async def _target(tx: Transaction, workspace: str, target: Target) -> Target:
    """The target as it is spelled. Raises InvalidArgument: no scheme of the workspace has such a stage."""
    if target.sort == "environment":
        return Target(target.sort, validation.name(target.name, field=target.sort))
    if target.sort == "alias":
        return Target(target.sort, label(target.name, target.sort))
    declared = await tx.find(STAGE_SCHEME.name, Prop("workspace", "eq", workspace), paging=Paging(500))
    known = [schemes.STANDARD, *(schemes.read(node) for node in declared.items)]
    for scheme in known:
        if (stage := scheme.find(target.name.strip())) is not None:
            return Target(target.sort, stage.name)
    names = ", ".join(dict.fromkeys(stage.name for scheme in known for stage in scheme.stages))
    msg = f"stage: no stage scheme of the workspace {workspace!r} has a stage {target.name!r:.100}; there are {names}"
    raise InvalidArgument(msg, field="stage")


async def _refuse_interested(tx: Transaction, gate: Node) -> None:
    """Raises PreconditionFailed: the caller made, or asks for, what is waiting before the gate.

    Else one could ask for approval, and then change how much of it is needed.
    """
    whole = tx.seeing(EVERYTHING)
    target = target_in(gate.props)
    waiting = await standing.undecided(whole, target, gate.workspace, tx.now)
    if not waiting:
        return
    links = await all_links(whole, [node.id for node in waiting], Hop("REQUESTS", "OUT", "ModelVersion"))
    me = {tx.by, *await people_behind(whole, [tx.by], since=min(node.created_at for node in waiting))}
    for request in waiting:
        for link in links.get(request.id, ()):
            if me & await parties_of(whole, link.node, asked_by=request.created_by):
                msg = (
                    f"gate: approval for {target} was asked for by you or for what you made ({request.id}); until that "
                    "is over, somebody else must change this gate"
                )
                raise PreconditionFailed(msg, field="gate", approval=request.id)
