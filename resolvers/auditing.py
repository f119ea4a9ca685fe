"""The audit, for those who own a workspace; and what a request was about, for the audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from auth.roles import Role, roles_of
from graph import ontology
from graph.address import parse
from graph.port import Entry, EntryFilter, Node
from lineal.errors import Forbidden, InvalidArgument, LinealError, Unauthenticated
from resolvers.operation import Operation

ACTION = "readAudit"
MAX_NAMED: Final = 100
MAX_ADDRESS: Final = 1_000

_WORKSPACE: Final = "workspace"


async def audit(
    op: Operation,
    where: EntryFilter = EntryFilter(),
    *,
    workspace: str | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 50,
) -> list[Entry]:
    """Entries of the chains that the caller may audit, the newest first: of the workspaces that they own.

    What belongs to no workspace (people, teams, tokens that failed) is for admins. That it was read is an
    entry itself. A workspace that one may not audit has no entries, as has one that is not there.
    """
    snapshot = await op.snapshot()
    chains = await _chains(op)
    if workspace is not None:
        chains = frozenset({workspace}) if chains is None else chains & {workspace}
    if op.recorder is not None:
        told = {"workspace": workspace} | {n: v for n in ("by", "action", "subject") if (v := getattr(where, n))}
        await op.recorder.read(
            op.caller,
            action=ACTION,
            data={name: value for name, value in told.items() if value is not None},
            workspaces=(workspace,) if workspace and (chains is None or workspace in chains) else ("",),
            address=op.address,
            request=op.request,
        )
    if chains is not None and not chains:
        return []
    return await snapshot.entries(replace(where, workspaces=chains), after=after, limit=limit)


async def _chains(op: Operation) -> frozenset[str] | None:
    """The chains that the caller may audit, by workspace; None: all."""
    if op.caller.admin:
        return None
    if op.caller.workspaces is None:
        heads = await (await op.snapshot()).heads()
        return frozenset(head.workspace for head in heads if head.workspace != ontology.GLOBAL)
    return frozenset(name for name, role in roles_of(op.caller, op.access).items() if role is Role.OWNER)


async def concerned(op: Operation, arguments: Sequence[Any], places: Iterable[str] = ()) -> dict[str, list[str]]:
    """What these arguments name, by workspace: ids and addresses, as they were given.

    `places` are workspaces that are concerned besides. What is in none, or not there, is under "". At most
    MAX_NAMED are told. The caller's view does not apply: this is for the audit, and one statement at most. While the
    store is away, nobody knows where ids are.
    """
    found: dict[str, list[str]] = {place: [] for place in places}
    ids: dict[str, None] = {}
    for key, text in islice(_texts(arguments), MAX_NAMED):
        try:
            address = parse(text)
        except InvalidArgument:
            if key == _WORKSPACE:
                found.setdefault(text, [])
            continue
        if address.id is not None:
            ids[address.id] = None
        else:
            home = address.name if address.kind == ontology.WORKSPACE.name else address.workspace
            found.setdefault(home, []).append(text)
    if ids:
        there: Mapping[str, Node] = {}
        with suppress(LinealError):
            async with op.graph.snapshot() as snapshot:
                there = await snapshot.nodes(list(ids))
        for id in ids:
            found.setdefault(there[id].workspace if id in there else ontology.GLOBAL, []).append(id)
    return {place: list(dict.fromkeys(named)) for place, named in found.items()}


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The short texts in arguments, each with the name of the argument or of the filter that it is in."""
    if isinstance(value, str) and len(value) <= MAX_ADDRESS:
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, _WORKSPACE if _WORKSPACE in {key, name} else str(name))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner, key)


async def note_refusal(op: Operation, error: LinealError, *, action: str, arguments: Sequence[Any] = ()) -> None:
    """Put into the audit that somebody was refused something, in the chains of what they asked for."""
    if op.recorder is None or not isinstance(error, (Forbidden, Unauthenticated)):
        return
    places = [place for place in (error.details.get("workspace"),) if place]
    await op.recorder.refused(
        op.caller,
        action=action,
        code=error.code,
        message=error.message,
        scopes=error.details.get("scopes", ()),
        on=await concerned(op, arguments, places),
        address=op.address,
        request=op.request,
    )


async def note_read(op: Operation, *, face: str, asked: str, arguments: Sequence[Any] = ()) -> None:
    """Put into the audit what an admin reads, before it is given out. Raises Unavailable: it cannot be written."""
    if op.recorder is None or not op.caller.admin or op.caller.trusted:
        return
    on = await concerned(op, arguments)
    data = {"face": face, "asked": asked, "on": on}
    await op.recorder.read(
        op.caller, action="adminRead", data=data, workspaces=list(on), address=op.address, request=op.request
    )
