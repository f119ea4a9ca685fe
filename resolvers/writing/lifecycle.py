"""Aliases, stages, tags, owners and successors: what is said of things that stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from auth.roles import Role
from graph import ontology
from graph.port import MAX_PAGE, EdgeMatch, Hop, Paging, Transaction
from lineal.errors import InvalidArgument, NotFound, PreconditionFailed
from resolvers.lifecycle.deprecating import tell_deprecations
from resolvers.lifecycle.moving import Mover, Wish, archive_others
from resolvers.writing.command import command
from resolvers.writing.common import NamedValue, label, new_alias, rows
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find
from resolvers.writing.story import lead_to
from resolvers.writing.tagging import put_tags

ALL_KINDS: Final = tuple(ontology.NODE_KINDS)
OWNABLE: Final = tuple(dict.fromkeys(source for source, _ in ontology.OWNED_BY.ends))
MAX_OWNERS: Final = 100
MAX_SUCCESSORS: Final = 100
"""How long a row of successors may be."""


def _pointing(*, override: str | None = None, **_: Any) -> Role:
    """Whoever lets a version through although its gate says no approves it."""
    return Role.CONTRIBUTOR if override is None else Role.APPROVER


@command("setAlias", needs=_pointing)
async def set_alias(
    tx: Transaction, *, model: str, name: str, version: str, reason: str | None = None, override: str | None = None
) -> str:
    """Let a name of the model point to this version from now on; the version is the answer.

    Raises NotFound, InvalidArgument (a version of another model), PreconditionFailed (it is not signed, or a gate of
    the alias says no: see resolvers.lifecycle.gates.pass_gate), Forbidden.
    """
    draft = Draft(tx)
    owner, meant = draft.want(model, "model", "Model"), draft.want(version, "version", "ModelVersion")
    await draft.find()
    name = new_alias(name, "name")
    if meant.node is None or meant.node.container != owner.id:
        msg = f"version: {version!r} is no version of {model!r}; an alias points to one of its own"
        raise InvalidArgument(msg, field="version")
    await Mover(tx, reason=reason, override=override)([Wish(meant.node, alias=name, field="version")])
    return meant.id


@command("deleteAlias")
async def delete_alias(tx: Transaction, *, model: str, name: str) -> str:
    """Take a name of the model away; the model is the answer. Raises NotFound, InvalidArgument."""
    id = await find(tx, model, "model", "Model")
    if not await tx.unlink([EdgeMatch("ALIAS", id, discriminator=label(name, "name"))]):
        raise NotFound(f"name: {model!r} has no alias {name!r}", field="name")
    return id


@command("setStage", needs=Role.APPROVER)
async def set_stage(
    tx: Transaction,
    *,
    version: str,
    stage: str | None,
    reason: str | None = None,
    override: str | None = None,
    archive_existing: bool = False,
) -> str:
    """Put a version into a stage, out of the one that it is in; None takes it out.

    `archive_existing` moves other versions out of that stage, to where the scheme archives them. What comes to the
    stage Deprecated is deprecated, what leaves it is not any more, and people are told. Raises NotFound,
    InvalidArgument (a stage that the model's scheme does not have), PreconditionFailed (no such move, or a gate says
    no: see resolvers.lifecycle.gates.pass_gate), Forbidden.
    """
    draft = Draft(tx)
    meant = draft.want(version, "version", "ModelVersion")
    await draft.find()
    assert meant.node is not None
    mover = Mover(tx, reason=reason, override=override)
    await mover([Wish(meant.node, stage)])
    if archive_existing and stage is not None:
        await archive_others(mover, meant.node, stage)
    await tell_deprecations(tx, mover.deprecations)
    return meant.id


@command("setTags")
async def set_tags(tx: Transaction, *, address: str, tags: Sequence[NamedValue]) -> str:
    """Set tags of anything; others stay. Raises NotFound, InvalidArgument."""
    id = await find(tx, address, "node", *ALL_KINDS)
    await put_tags(tx, {id: rows(tags, "tags")})
    return id


@command("deleteTags")
async def delete_tags(tx: Transaction, *, address: str, names: Sequence[str]) -> str:
    """Take tags away; those that are not there are no error. Raises NotFound, InvalidArgument."""
    id = await find(tx, address, "node", *ALL_KINDS)
    await put_tags(tx, {id: dict.fromkeys(names)})
    return id


@command("setOwners")
async def set_owners(tx: Transaction, *, address: str, owners: Sequence[str], create: bool = False) -> str:
    """Let exactly these principals and teams answer for it; with `create`, unknown ones are made.

    Raises NotFound, InvalidArgument.
    """
    if len(owners) > MAX_OWNERS:
        raise InvalidArgument(f"owners: has {len(owners)} entries; at most {MAX_OWNERS} are allowed", field="owners")
    draft = Draft(tx)
    node = draft.want(address, "node", *OWNABLE)
    wanted = [draft.want(o, f"owners[{i}]", "Principal", "Team", create=create) for i, o in enumerate(owners)]
    await draft.find()
    await lead_to(draft, "OWNED_BY", node, {owner.id: {} for owner in wanted})
    await draft.save()
    return node.id


@command("supersede")
async def supersede(tx: Transaction, *, address: str, by: str | None) -> str:
    """Say what to use instead of a model or a version; None takes that back.

    Raises NotFound, InvalidArgument (of different kinds), PreconditionFailed (in a circle).
    """
    draft = Draft(tx)
    old = draft.want(address, "node", "Model", "ModelVersion")
    new = None if by is None else draft.want(by, "by", old.address.kind)
    await draft.find()
    if new is not None:
        await refuse_circle(tx, old.id, new.id, "by")
    await lead_to(draft, "SUPERSEDED_BY", old, {} if new is None else {new.id: {}})
    await draft.save()
    return old.id


async def refuse_circle(tx: Transaction, old: str, new: str, field: str) -> None:
    """Raises PreconditionFailed: what shall come after leads back to what it comes after."""
    level, seen = {new}, {new}
    for _ in range(MAX_SUCCESSORS):
        if old in level:
            raise PreconditionFailed(
                f"{field}: is itself superseded, in the end, by what it would supersede", field=field
            )
        found = await tx.neighbours(sorted(level), Hop("SUPERSEDED_BY", "OUT"), paging=Paging(MAX_PAGE))
        level = {link.node.id for page in found.values() for link in page.items} - seen
        if not level:
            return
        seen |= level
    raise PreconditionFailed(f"{field}: a row of successors may have at most {MAX_SUCCESSORS} steps", field=field)
