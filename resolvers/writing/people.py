"""Principals and teams, by name: registered, deactivated, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from graph import ontology, validation
from graph.ontology import PRINCIPAL, TEAM
from graph.port import EdgeMatch, Hop, NewEdge, Paging, Transaction, Update
from lineal.errors import InvalidArgument, LimitExceeded
from resolvers.operation import Operation
from resolvers.writing.command import Command, command
from resolvers.writing.common import present
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import Deleted, remove
from resolvers.writing.draft import Draft
from resolvers.writing.members import check_owned, owned_by
from resolvers.writing.nodes import find, registering, renaming
from resolvers.writing.story import lead_to

MAX_MEMBERS: Final = 10_000
"""People in one team."""
MAX_PEOPLE: Final = 100
"""People who answer for one service account."""

create_team = registering("createTeam", TEAM, needs=None)
rename_team = renaming("renameTeam", TEAM, "team", needs=None)


async def delete_team(op: Operation, *, address: str, revision: int | None = None) -> Deleted:
    """Delete a team: its members, its roles and what it owned are its own no more.

    Raises NotFound, Conflict, PreconditionFailed (it is the last owner of a workspace).
    """

    async def work(tx: Transaction) -> Deleted:
        id = await find(tx, address, "team", TEAM.name)
        node = (await tx.lock([id]))[id]
        await tx.update([Update(id, revision=revision)])
        owned, view = await owned_by(tx, id), tx.view
        await remove(tx, [node], "team")
        tx.show(view)
        await check_owned(tx, owned, "team")
        return Deleted(node, 0)

    return await op.write(work, "deleteTeam", needs=None)


@command("registerPrincipal", needs=None)
async def register_principal(tx: Transaction, *, name: str, type: str = "USER", display_name: str | None = None) -> str:
    """Register a person or a service account before its first token. Raises AlreadyExists, InvalidArgument."""
    draft = Draft(tx)
    props: dict[str, Any] = present({"type": type, "displayName": display_name, "active": True})
    id = draft.create(PRINCIPAL, validation.name(name), ontology.GLOBAL, props=settable(PRINCIPAL, props))
    await draft.save()
    return id


def _activating(action: str, active: bool, doc: str) -> Command[...]:
    @command(action, needs=None)
    async def activate(tx: Transaction, *, address: str, revision: int | None = None) -> str:
        id = await find(tx, address, "principal", PRINCIPAL.name)
        await tx.update([Update(id, {"active": active}, revision=revision)])
        if not active:
            await check_owned(tx, await owned_by(tx, id), "principal")
        return id

    activate.__doc__ = doc
    return activate


deactivate_principal = _activating(
    "deactivatePrincipal",
    False,
    "Let no token of a principal open anything; its roles, teams and watches stay, and open nothing. Raises "
    "PreconditionFailed: it is the last owner of a workspace.",
)
reactivate_principal = _activating("reactivatePrincipal", True, "Let a principal in again, as it was before.")


@command("addTeamMembers", needs=None)
async def add_team_members(tx: Transaction, *, address: str, members: Sequence[str]) -> str:
    """Put principals into a team; those that are in it stay. Raises NotFound, InvalidArgument, LimitExceeded."""
    id, ids = await _found(tx, address, members)
    await tx.lock([id])
    await tx.link([NewEdge("MEMBER_OF", member, id) for member in ids])
    page = (await tx.neighbours([id], Hop("MEMBER_OF", "IN"), paging=Paging(1, count=True)))[id]
    if (page.total or 0) > MAX_MEMBERS:
        raise LimitExceeded(f"members: a team has at most {MAX_MEMBERS} members", field="members")
    return id


@command("removeTeamMembers", needs=None)
async def remove_team_members(tx: Transaction, *, address: str, members: Sequence[str]) -> str:
    """Take principals out of a team; those that are not in it are no error. Raises NotFound, InvalidArgument."""
    id, ids = await _found(tx, address, members)
    await tx.unlink([EdgeMatch("MEMBER_OF", member, id) for member in ids])
    return id


async def _found(tx: Transaction, team: str, members: Sequence[str]) -> tuple[str, list[str]]:
    if len(members) > MAX_MEMBERS:
        msg = f"members: has {len(members)} entries; at most {MAX_MEMBERS} are allowed"
        raise LimitExceeded(msg, field="members")
    draft = Draft(tx)
    place = draft.want(team, "team", TEAM.name)
    who = [draft.want(member, f"members[{i}]", PRINCIPAL.name) for i, member in enumerate(members)]
    await draft.find()
    return place.id, list(dict.fromkeys(reference.id for reference in who))


@command("setActsFor", needs=None)
async def set_acts_for(tx: Transaction, *, address: str, people: Sequence[str]) -> str:
    """Say who answers for a service account: exactly these people.

    What it does counts as theirs where four eyes are asked for; what it did while others answered for it counts as
    those others' still. Raises NotFound, InvalidArgument (too many, or the account itself).
    """
    if len(people) > MAX_PEOPLE:
        raise InvalidArgument(f"people: has {len(people)} entries; at most {MAX_PEOPLE} are allowed", field="people")
    draft = Draft(tx)
    account = draft.want(address, "principal", PRINCIPAL.name)
    meant = [draft.want(text, f"people[{i}]", PRINCIPAL.name) for i, text in enumerate(people)]
    await draft.find()
    for i, person in enumerate(meant):
        if person.id == account.id:
            raise InvalidArgument(f"people[{i}]: nobody answers for themselves", field=f"people[{i}]")
    await lead_to(draft, "ACTS_FOR", account, {person.id: {} for person in meant})
    await draft.save()
    return account.id
