"""Which approvals stand: those that were given by the right people for what is there now."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from auth.roles import Role
from graph.port import All, Hop, Node, Prop, Snapshot
from graph.recording import canonical
from resolvers.lifecycle.case import Case
from resolvers.lifecycle.parties import is_person, parties_of, role_in
from resolvers.lifecycle.targets import Target
from resolvers.reading import all_found, all_links

OPEN, APPROVED, REJECTED, WITHDRAWN, USED = "OPEN", "APPROVED", "REJECTED", "WITHDRAWN", "USED"
EXPIRED: Final = "EXPIRED"
UNDECIDED: Final = (OPEN, APPROVED)
"""The states of requests that something may still come of."""
APPROVE, REJECT = "APPROVE", "REJECT"


async def gates_of(whole: Snapshot, target: Target, *workspaces: str) -> list[Node]:
    """The gates of these workspaces that guard a target, by name."""
    gates: list[Node] = []
    for workspace in dict.fromkeys(workspaces):
        there = all_found(whole, "Gate", Prop("workspace", "eq", workspace))
        gates += [gate async for gate in there if target.matches(gate.props)]
    return gates


async def gated_environments(whole: Snapshot, workspace: str) -> list[str]:
    """The environments of a workspace that a gate guards, by name."""
    there = all_found(whole, "Gate", Prop("workspace", "eq", workspace))
    return sorted({gate.props["environment"] async for gate in there if "environment" in gate.props})


async def basis_of(case: Case, gates: Sequence[Node]) -> str:
    """What an approval is given for, as a digest: what the gates ask for, and the files of the version.

    Once either is another, what was approved is not what would pass.
    """
    files = [
        [link.edge.discriminator, link.node.id, *(link.node.props.get(name) for name in ("digest", "inventory", "uri"))]
        for link in await case.files()
    ]
    files.append(["uri", "", None, None, case.version.props.get("uri")])
    asked: list[Any] = sorted([gate.id, gate.props["conditions"]] for gate in gates)
    return hashlib.sha256(canonical([asked, sorted(files, key=str)])).hexdigest()


async def requests_of(whole: Snapshot, version: Node, target: Target, now: int) -> list[Node]:
    """The requests for a version to come to a target that something may still come of, the oldest first."""
    links = (await all_links(whole, [version.id], Hop("REQUESTS", "IN", "Approval"))).get(version.id, [])
    open_ = [link.node for link in links if link.node.props["state"] in UNDECIDED and target.matches(link.node.props)]
    return sorted((node for node in open_ if not expired(node, now)), key=lambda node: (node.created_at, node.id))


def expired(approval: Node, now: int) -> bool:
    """Whether an approval can be decided and used no more."""
    return bool(approval.props.get("expiresAt", now + 1) <= now)


async def approvers(whole: Snapshot, approval: Node, version: Node, role: Role) -> list[Node]:
    """Who approved it and counts now: people who may act, have the role today, and are none of its parties."""
    links = (await all_links(whole, [approval.id], Hop("DECIDED_BY", "OUT", "Principal"))).get(approval.id, [])
    yes = [link for link in links if link.edge.discriminator == APPROVE]
    if not yes:
        return []
    parties = await parties_of(whole, version, asked_by=approval.created_by)
    counted = []
    for link in sorted(yes, key=lambda k: (k.edge.since, k.node.id)):
        person = link.node
        if person.name in parties or not await is_person(whole, person):
            continue
        held = await role_in(whole, version.workspace, person.name, link.edge.props.get("teams", ()))
        if held is not None and held >= role:
            counted.append(person)
    return counted


async def undecided(whole: Snapshot, target: Target, workspace: str, now: int) -> list[Node]:
    """The requests for a target that something may still come of.

    An environment takes versions of other workspaces too; stages and aliases are those of the workspace.
    """
    near = () if target.sort == "environment" else (Prop("workspace", "eq", workspace),)
    where = All((*near, Prop("state", "in", UNDECIDED)))
    there = all_found(whole, "Approval", where)
    return [node async for node in there if target.matches(node.props) and not expired(node, now)]
