"""Approvals: asked for, given, refused, taken back. Nobody decides on what they made or asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from auth.roles import Role
from graph.ids import new_id
from graph.naming import addresses
from graph.ontology import APPROVAL, NOTICE
from graph.port import EVERYTHING, EdgeMatch, Hop, NewEdge, NewNode, Node, Snapshot, Transaction, Update
from lineal.errors import AlreadyExists, Forbidden, InvalidArgument, PreconditionFailed
from resolvers.lifecycle import conditions, standing
from resolvers.lifecycle.case import Case
from resolvers.lifecycle.gates import spelled, unguarded
from resolvers.lifecycle.parties import SERVICE, is_person, parties_of, role_in
from resolvers.lifecycle.targets import target_in, target_of
from resolvers.operation import Operation
from resolvers.reading import all_links, principal_named
from resolvers.writing.command import APPROVING, command, procedure
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find
from resolvers.writing.workspaces import address_of

DAYS: Final = 14
"""For how long a request may be decided and used unless it says otherwise."""
MAX_DAYS: Final = 366
DAY: Final = 86_400_000_000
MAX_REVIEWERS: Final = 100
MAX_COMMENT: Final = 10_000


@command("requestApproval")
async def request_approval(
    tx: Transaction,
    *,
    version: str,
    stage: str | None = None,
    alias: str | None = None,
    environment: str | None = None,
    workspace: str | None = None,
    reviewers: Sequence[str] = (),
    reason: str | None = None,
    expires_at: int | None = None,
) -> str:
    """Ask that a version may come to a stage, get an alias, or go to an environment; the request is the answer.

    `workspace` is that of the environment, where it is another than the version's. How many must approve, and in
    which role, is what the gates say now; without one that says, it is one APPROVER. Reviewers are told; whoever has
    the role may decide. Raises NotFound, InvalidArgument, AlreadyExists (it was asked
    for, and is not over).
    """
    if len(reviewers) > MAX_REVIEWERS:
        msg = f"reviewers: has {len(reviewers)} entries; at most {MAX_REVIEWERS} are allowed"
        raise InvalidArgument(msg, field="reviewers")
    target = target_of(stage=stage, alias=alias, environment=environment)
    until = _until(tx.now, expires_at)
    draft = Draft(tx)
    meant = draft.want(version, "version", "ModelVersion")
    asked = [draft.want(text, f"reviewers[{i}]", "Principal", "Team") for i, text in enumerate(reviewers)]
    if workspace is not None:
        draft.want(address_of(workspace), "workspace", "Workspace")
    await draft.find()
    assert meant.node is not None
    node = meant.node
    target = await spelled(tx, node, target)
    await tx.lock([node.id])
    case = Case(tx, node, target, tx.now)
    if there := await standing.requests_of(case.whole, node, target, tx.now):
        msg = f"version: approval for {target} was asked for already: {there[0].id}; withdraw that first"
        raise AlreadyExists(msg, field="version", id=there[0].id)
    gates = await standing.gates_of(case.whole, target, node.workspace, workspace or node.workspace)
    wanted = [each for gate in gates for each in _approvals(gate)] or [conditions.Approved()]
    id = new_id(APPROVAL.prefix)
    props: dict[str, Any] = {
        **target.props,
        "state": standing.OPEN,
        "needed": max(each.count for each in wanted),
        "role": max(each.role for each in wanted).name,
        "reason": reason,
        "expiresAt": until,
        "basis": await standing.basis_of(case, gates),
    }
    await tx.create([NewNode(APPROVAL.name, id, node.workspace, node.container, props, id)])
    told = list(dict.fromkeys(reference.id for reference in asked))
    await tx.link([NewEdge("REQUESTS", id, node.id), *(NewEdge("REVIEWER", id, who) for who in told)])
    return id


def _approvals(gate: Node) -> list[conditions.Approved]:
    given = conditions.read(gate.props["conditions"]["conditions"])
    return [condition for condition in given if isinstance(condition, conditions.Approved)]


def _until(now: int, given: int | None) -> int:
    """Until when a request may be decided. Raises InvalidArgument."""
    if given is None:
        return now + DAYS * DAY
    if not now < given <= now + MAX_DAYS * DAY:
        raise InvalidArgument(f"expiresAt: must be in the future, at most {MAX_DAYS} days away", field="expiresAt")
    return given


@procedure
async def approve(op: Operation, *, address: str, comment: str | None = None) -> Node:
    """Approve what is asked for; see `_decide`."""
    return await _decide(op, "approve", standing.APPROVE, address, comment)


@procedure
async def reject(op: Operation, *, address: str, comment: str | None = None) -> Node:
    """Refuse what is asked for: one who does ends the request; see `_decide`."""
    return await _decide(op, "reject", standing.REJECT, address, comment)


async def _decide(op: Operation, action: str, decision: str, address: str, comment: str | None) -> Node:
    """Decide on a request: the one who asked is told. Deciding the same again changes nothing.

    Raises NotFound, InvalidArgument, PreconditionFailed (it is over), Forbidden (the scope lifecycle:approve, the role,
    a service account, or somebody who made the version or asks for it, or stands behind whoever did).
    """
    if not op.caller.holds(APPROVING):
        raise Forbidden(f"{action}: to decide on approvals needs the scope {APPROVING}", scopes=[[APPROVING]])
    if comment is not None and len(comment) > MAX_COMMENT:
        msg = f"comment: has {len(comment)} characters; at most {MAX_COMMENT} are allowed"
        raise InvalidArgument(msg, field="comment")

    async def work(tx: Transaction) -> str:
        id = await find(tx, address, "approval", APPROVAL.name)
        approval = (await tx.lock([id]))[id]
        if approval.props["state"] not in standing.UNDECIDED or standing.expired(approval, tx.now):
            state = approval.props["state"] if approval.props["state"] not in standing.UNDECIDED else "EXPIRED"
            raise PreconditionFailed(
                f"approval: it is {state}; what is wanted anew is asked for anew", field="approval"
            )
        whole = tx.seeing(EVERYTHING)
        version = await _version(whole, approval)
        person = await _allowed(op, tx, approval, version)
        with unguarded(tx):
            said = {"comment": comment, "teams": sorted(op.caller.teams)}
            await tx.unlink([EdgeMatch("DECIDED_BY", approval.id, person.id)])
            await tx.link(
                [NewEdge("DECIDED_BY", approval.id, person.id, decision, {n: v for n, v in said.items() if v})]
            )
            await _settle(tx, approval, version, decision)
        return id

    id = await op.write(work, action, needs=None)
    return (await (await op.snapshot()).nodes([id]))[id]


async def _allowed(op: Operation, tx: Transaction, approval: Node, version: Node) -> Node:
    """The caller's principal, if they may decide. Raises Forbidden."""
    whole = tx.seeing(EVERYTHING)
    person = await principal_named(whole, tx.by)
    if person is None or op.caller.type == SERVICE or not await is_person(whole, person):
        msg = "approval: only people decide, under their own name: no service account, and nobody without a principal"
        raise Forbidden(msg, field="approval")
    if person.name in await parties_of(whole, version, asked_by=approval.created_by):
        msg = (
            "approval: four eyes are asked for: you made this version or ask for it, or stand behind the service "
            "account that did"
        )
        raise Forbidden(msg, field="approval")
    needed = Role[approval.props["role"]]
    held = await role_in(whole, version.workspace, person.name, op.caller.teams)
    if held is None or held < needed:
        msg = f"approval: needs the role {needed.name} in the workspace {version.workspace!r}, granted to you or a team"
        raise Forbidden(msg, field="approval", role=needed.name, workspace=version.workspace)
    return person


async def _version(whole: Snapshot, approval: Node) -> Node:
    """The version that a request is about. Raises PreconditionFailed: it has been deleted."""
    links = (await all_links(whole, [approval.id], Hop("REQUESTS", "OUT", "ModelVersion"))).get(approval.id, [])
    if not links:
        raise PreconditionFailed("approval: the version that it is about is there no more", field="approval")
    return links[0].node


async def _settle(tx: Transaction, approval: Node, version: Node, decision: str) -> None:
    """Bring a request to what it has come to by a decision, and tell the one who asked."""
    state = standing.REJECTED
    if decision == standing.APPROVE:
        counted = await standing.approvers(tx, approval, version, Role[approval.props["role"]])
        state = standing.APPROVED if len(counted) >= int(approval.props["needed"]) else standing.OPEN
    await tx.update([Update(approval.id, {"state": state})])
    asker = await principal_named(tx, approval.created_by)
    if asker is None:
        return
    what = (await addresses(tx, [version]))[version.id]
    id = new_id(NOTICE.prefix)
    verb = "approved" if decision == standing.APPROVE else "rejected"
    text = f"{what} was {verb} for {target_in(approval.props)}"
    props = {"type": "APPROVAL", "text": text}
    await tx.create([NewNode(NOTICE.name, id, approval.workspace, approval.container, props, id)])
    await tx.link([NewEdge("CONCERNS", id, approval.id), NewEdge("NOTIFIES", id, asker.id)])


@command("withdrawApproval", needs=None)
async def withdraw_approval(tx: Transaction, *, address: str) -> str:
    """Take back what one asked for.

    Raises NotFound, Forbidden (somebody else asked), PreconditionFailed (it is over).
    """
    id = await find(tx, address, "approval", APPROVAL.name)
    approval = (await tx.lock([id]))[id]
    if approval.created_by != tx.by:
        raise Forbidden("approval: only the one who asked takes it back; others reject it", field="approval")
    if approval.props["state"] not in standing.UNDECIDED:
        raise PreconditionFailed(f"approval: it is {approval.props['state']} already", field="approval")
    await tx.update([Update(id, {"state": standing.WITHDRAWN})])
    return id
