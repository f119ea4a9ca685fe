"""What is done alike to things of every kind: register, update, rename."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auth.roles import Role
from graph import ontology, validation
from graph.ontology import NodeKind
from graph.port import Transaction, Update
from resolvers.writing.command import Command, Needs, command
from resolvers.writing.common import NOTHING, NamedValue, present
from resolvers.writing.common import properties as settable
from resolvers.writing.draft import Draft
from resolvers.writing.story import owned


def registering(action: str, kind: NodeKind, needs: Needs = Role.CONTRIBUTOR) -> Command[...]:
    """A use case that registers something whose name is unique in its workspace, or everywhere."""

    @command(action, needs)
    async def register(
        tx: Transaction,
        *,
        name: str,
        workspace: str = ontology.DEFAULT_WORKSPACE,
        properties: Mapping[str, Any] = NOTHING,
        tags: Sequence[NamedValue] = (),
    ) -> str:
        """Register it. Raises AlreadyExists (the name is taken), NotFound (the workspace), InvalidArgument."""
        draft = Draft(tx)
        home = ontology.GLOBAL if kind.is_global else workspace
        id = draft.create(kind, validation.name(name), home, props=settable(kind, present(properties)))
        owned(draft, id, tags=tags)
        await draft.save()
        return id

    return register


def updating(action: str, kind: NodeKind, field: str, needs: Needs = Role.CONTRIBUTOR) -> Command[...]:
    """A use case that changes properties of a node, which `field` of the input names."""

    @command(action, needs)
    async def update(
        tx: Transaction, *, address: str, properties: Mapping[str, Any] = NOTHING, revision: int | None = None
    ) -> str:
        """Set these properties; None removes one. With `revision`, only if the node still has it.

        Raises NotFound, Conflict (names both revisions), InvalidArgument.
        """
        id = await find(tx, address, field, kind.name)
        await tx.update([Update(id, settable(kind, properties), revision=revision)])
        return id

    return update


def renaming(action: str, kind: NodeKind, field: str, needs: Needs = Role.CONTRIBUTOR) -> Command[...]:
    """A use case that gives a node another name; addresses with the old one still lead to it."""

    @command(action, needs)
    async def rename(tx: Transaction, *, address: str, name: str, revision: int | None = None) -> str:
        """Rename it. With `revision`, only if the node still has it.

        Raises NotFound, AlreadyExists (the new name is taken), Conflict, InvalidArgument.
        """
        id = await find(tx, address, field, kind.name)
        await tx.update([Update(id, name=validation.name(name), revision=revision)])
        return id

    return rename


async def find(tx: Transaction, address: str, field: str, *kinds: str) -> str:
    """The id of what is named. Raises NotFound, InvalidArgument (no address, or of another kind)."""
    draft = Draft(tx)
    reference = draft.want(address, field, *kinds)
    await draft.find()
    return reference.id
