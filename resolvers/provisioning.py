"""People and teams as a directory provisions them: found, made, changed, taken away.

A person is provisioned while it has a `userName`; principals without one appeared with a token, or have
left. Every team counts, whoever made it. What the directory said, and Lineal has no property for, is kept
word for word in the property `directory`, as `said`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from auth.directory import named_alike
from graph import ontology
from graph.ids import kind_of
from graph.ontology import PRINCIPAL, TEAM
from graph.port import (
    MAX_PAGE,
    All,
    EdgeMatch,
    Hop,
    NewEdge,
    NewNode,
    Node,
    Not,
    Paging,
    Prop,
    Snapshot,
    Transaction,
    Update,
    Where,
    Work,
)
from graph.text import fold, normalize
from lineal.errors import AlreadyExists, InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers.operation import Operation
from resolvers.reading import principal_named
from resolvers.writing.people import MAX_MEMBERS

PROVISIONED: Final = Not(Prop("userName", "eq", None))
MEMBERS: Final = Hop("MEMBER_OF", "IN", PRINCIPAL.name)
TEAMS: Final = Hop("MEMBER_OF", "OUT", TEAM.name)


@dataclass(frozen=True, slots=True)
class Person:
    """What a directory says of a person."""

    user_name: str
    active: bool = True
    display_name: str | None = None
    external_id: str | None = None
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """What a directory says of a team, but for its members."""

    name: str
    external_id: str | None = None
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Members:
    """How a team's members change: first to exactly these (None: as they are), then with some, then without some."""

    exactly: set[str] | None = None
    added: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def add(self, ids: set[str]) -> None:
        """Let these be members."""
        self.added |= ids
        self.removed -= ids

    def remove(self, ids: set[str]) -> None:
        """Let these be none."""
        self.removed |= ids
        self.added -= ids

    def replace(self, ids: set[str]) -> None:
        """Let these be the only ones."""
        self.exactly, self.added, self.removed = set(ids), set(), set()


Check = Callable[[Node], None]
"""Looks at a node, locked, before it is changed; raises what keeps it from that."""


# ── Found ─────────────────────────────────────────────────────────────────────────────────────────


def version(node: Node) -> str:
    """What changes whenever a person or a team does, and its members by way of a directory."""
    return f"{node.revision}.{node.props.get('directory', {}).get('writes', 0)}"


def provisioned(node: Node | None, kind: str) -> bool:
    """Whether it is a person or a team that a directory may see."""
    return node is not None and node.kind == kind and (kind == TEAM.name or "userName" in node.props)


async def get(op: Operation, kind: str, id: str) -> Node:
    """The person or team of this id. Raises NotFound."""
    return await _get(await op.snapshot(), kind, id)


async def page(
    op: Operation, kind: str, where: Where | None = None, *, start: int = 1, count: int = 100
) -> tuple[Sequence[Node], int]:
    """`count` people or teams from number `start` (from 1) on, by name, and how many there are in all."""
    where = where if kind == TEAM.name else PROVISIONED if where is None else All((PROVISIONED, where))
    snapshot = await op.snapshot()
    first = await snapshot.find(kind, where, paging=Paging(1, count=True))
    total = first.total or 0
    if count < 1 or start > total:
        return [], total
    after, skip = None, start - 1
    while skip > 0:
        skipped = await snapshot.find(kind, where, paging=Paging(min(skip, MAX_PAGE), after))
        after, skip = skipped.cursors[-1], skip - len(skipped.items)
    return (await snapshot.find(kind, where, paging=Paging(min(count, MAX_PAGE), after))).items, total


async def neighbours(op: Operation, ids: Sequence[str], hop: Hop) -> dict[str, list[Node]]:
    """For each id its teams, or its members, all of them, by name."""
    snapshot = await op.snapshot()
    return {id: await _all(snapshot, id, hop) for id in ids}


async def _all(snapshot: Snapshot, id: str, hop: Hop) -> list[Node]:
    nodes: list[Node] = []
    after, more = None, True
    while more and len(nodes) < MAX_MEMBERS:
        links = (await snapshot.neighbours([id], hop, paging=Paging(MAX_PAGE, after)))[id]
        nodes += [link.node for link in links.items]
        after, more = links.cursors[-1] if links.cursors else None, links.has_next
    return nodes


async def _get(snapshot: Snapshot, kind: str, id: str) -> Node:
    node = (await snapshot.nodes([id])).get(id) if kind_of(id) else None
    if node is None or not provisioned(node, kind):
        raise NotFound(f"there is no {kind} {id!r}")
    return node


# ── People ────────────────────────────────────────────────────────────────────────────────────────


async def create_person(op: Operation, issuer: str, person: Person) -> Node:
    """Provision a person; one who appeared with a token before becomes that one.

    Their principal's name is the issuer's short name and their external id, or else their user name. Raises
    AlreadyExists (either is taken, or several have the user name but for its case), InvalidArgument.
    """
    name = _name_of(issuer, person)

    async def work(tx: Transaction) -> str:
        await _check_free(tx, person.user_name)
        there = await (principal_named(tx, name) if person.external_id else _called(tx, name))
        if there is None:
            props = {"type": "USER", **_of_person(person, None, tx.now)}
            return (await tx.create([NewNode(PRINCIPAL.name, name, ontology.GLOBAL, props=props)]))[0].id
        if provisioned(there, PRINCIPAL.name):
            raise AlreadyExists(f"externalId: {name!r} is provisioned already", field="externalId")
        there = (await tx.lock([there.id]))[there.id]
        await tx.update([Update(there.id, _of_person(person, there, tx.now))])
        return there.id

    return await get(op, PRINCIPAL.name, await _write(op, work, "provisionPrincipal"))


async def change_person(op: Operation, issuer: str, id: str, change: Callable[[Node], Person]) -> Node:
    """Change a person to what `change` makes of them as they are, locked.

    What their name is made of stays: else a token of theirs would be somebody else's. Raises NotFound,
    AlreadyExists (the user name is taken), PreconditionFailed (their name would be another), InvalidArgument.
    """

    async def work(tx: Transaction) -> str:
        node = (await tx.lock([(await _get(tx, PRINCIPAL.name, id)).id]))[id]
        person = change(node)
        name, field = _name_of(issuer, person), "externalId" if person.external_id else "userName"
        if node.name != name and (person.external_id or fold(node.name) != fold(name)):
            msg = f"{field}: the principal is {node.name!r}, and that cannot change; delete the User and make another"
            raise PreconditionFailed(msg, field=field)
        if fold(person.user_name) != node.props["userName"]:
            await _check_free(tx, person.user_name)
        await tx.update([Update(id, _of_person(person, node, tx.now))])
        return id

    return await get(op, PRINCIPAL.name, await _write(op, work, "updatePrincipal"))


async def retire_person(op: Operation, id: str, check: Check) -> None:
    """Deactivate a person and take them out of the directory and of every team. What they did stays theirs.

    Raises NotFound, and what `check` raises.
    """

    async def work(tx: Transaction) -> None:
        node = (await tx.lock([(await _get(tx, PRINCIPAL.name, id)).id]))[id]
        check(node)
        await tx.unlink([EdgeMatch("MEMBER_OF", source=id)])
        gone = {"active": False, "userName": None, "externalId": None, "directory": _directory({}, node, tx.now)}
        await tx.update([Update(id, gone)])

    await op.write(work, "retirePrincipal", needs=None)


def _name_of(issuer: str, person: Person) -> str:
    """What their principal is named. Of an external id each letter counts, of a user name its case does not."""
    return normalize(f"{issuer}:{person.external_id or person.user_name}")


async def _called(tx: Transaction, name: str) -> Node | None:
    """The principal of this name, whatever the case. Raises AlreadyExists: there are several."""
    found = await named_alike(tx, name)
    if len(found) > 1:
        names = ", ".join(repr(node.name) for node in found)
        msg = f"userName: names {names}, one of which would stay as it is; say by externalId which it is"
        raise AlreadyExists(msg, field="userName")
    return found[0] if found else None


async def _check_free(tx: Transaction, user_name: str) -> None:
    """Raises AlreadyExists: somebody else has the user name, in small letters or large ones.

    Of two who ask at once the second waits for the first, where the store lets them write at the same time.
    """
    await tx.recall(f"userName:{hashlib.sha256(fold(user_name).encode()).hexdigest()}")
    found = await tx.find(PRINCIPAL.name, Prop("userName", "eq", fold(user_name)), paging=Paging(1))
    if found.items:
        raise AlreadyExists(f"userName: {user_name!r} is taken", field="userName", id=found.items[0].id)


def _of_person(person: Person, before: Node | None, now: int) -> dict[str, Any]:
    return {
        "userName": fold(person.user_name),
        "active": person.active,
        "displayName": person.display_name or (before.props.get("displayName") if before else None),
        "externalId": person.external_id,
        "directory": _directory(person.said, before, now),
    }


def _directory(said: Mapping[str, Any], before: Node | None, now: int) -> dict[str, Any]:
    """What is kept of a directory's words, with how often and when it wrote: words alone do not count as a change."""
    kept = dict(before.props.get("directory", {})) if before else {}
    return {**kept, "said": dict(said), "writes": kept.get("writes", 0) + 1, "at": now}


# ── Teams ─────────────────────────────────────────────────────────────────────────────────────────


async def create_group(op: Operation, group: Group, members: Members) -> Node:
    """Make a team. Raises AlreadyExists (the name is taken), InvalidArgument (a member is none), LimitExceeded."""

    async def work(tx: Transaction) -> str:
        props = {"externalId": group.external_id, "directory": _directory(group.said, None, tx.now)}
        (team,) = await tx.create([NewNode(TEAM.name, group.name, ontology.GLOBAL, props=props)])
        await _set_members(tx, team.id, members)
        return team.id

    return await get(op, TEAM.name, await _write(op, work, "provisionTeam"))


async def change_group(op: Operation, id: str, change: Callable[[Node], Group], members: Members) -> Node:
    """Change a team to what `change` makes of it as it is, locked, and its members.

    Raises NotFound, AlreadyExists (the name is taken), InvalidArgument (a member is none), LimitExceeded.
    """

    async def work(tx: Transaction) -> str:
        node = (await tx.lock([(await _get(tx, TEAM.name, id)).id]))[id]
        group = change(node)
        props = {"externalId": group.external_id, "directory": _directory(group.said, node, tx.now)}
        await tx.update([Update(id, props, name=group.name)])
        await _set_members(tx, id, members)
        return id

    return await get(op, TEAM.name, await _write(op, work, "updateTeam"))


async def delete_group(op: Operation, id: str, check: Check) -> None:
    """Delete a team: its members, its roles and what it owned are its own no more.

    Raises NotFound, and what `check` raises.
    """

    async def work(tx: Transaction) -> None:
        check((await tx.lock([(await _get(tx, TEAM.name, id)).id]))[id])
        await tx.remove([id])

    await op.write(work, "deleteTeam", needs=None)


async def _set_members(tx: Transaction, team: str, members: Members) -> None:
    added, removed = set(members.added), set(members.removed)
    if members.exactly is not None:
        now = {node.id for node in await _all(tx, team, MEMBERS)}
        wanted = (members.exactly | added) - removed
        added, removed = wanted - now, now - wanted
    if added:
        await _check_members(tx, team, added)
        await tx.link([NewEdge("MEMBER_OF", id, team) for id in sorted(added)])
    if removed:
        await tx.unlink([EdgeMatch("MEMBER_OF", source=id, target=team) for id in sorted(removed)])


async def _check_members(tx: Transaction, team: str, ids: set[str]) -> None:
    """Raises InvalidArgument (not all of these are people of the directory), LimitExceeded (too many)."""
    page = (await tx.neighbours([team], MEMBERS, paging=Paging(1, count=True)))[team]
    if (page.total or 0) + len(ids) > MAX_MEMBERS:
        raise LimitExceeded(f"members: a team has at most {MAX_MEMBERS} members", field="members")
    found = await tx.nodes([id for id in ids if kind_of(id) is PRINCIPAL])
    if unknown := [id for id in sorted(ids) if not provisioned(found.get(id), PRINCIPAL.name)]:
        raise InvalidArgument(f"members: there is no User {unknown[0]!r:.80}", field="members")


async def _write(op: Operation, work: Work[str], action: str) -> str:
    try:
        return await op.write(work, action, needs=None)
    except AlreadyExists:
        # A name that was free may have been taken by a first token before it was written: the second look finds it.
        return await op.write(work, action, needs=None)
