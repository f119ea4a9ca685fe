"""The audit, for those who own a workspace."""

from __future__ import annotations

from dataclasses import replace

from auth.roles import Role, roles_of
from graph import ontology
from graph.port import Entry, EntryFilter
from resolvers.operation import Operation

ACTION = "readAudit"


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
