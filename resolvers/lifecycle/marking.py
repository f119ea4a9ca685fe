"""Marks: a data set, or a version of one, is contaminated or forbidden, as long as the mark is on it.

Marking is an act: in one transaction the people who answer for every model that learned from it, at any depth, and
for every deployment that serves one of those or was told to, are told; and what was told to go live where a gate wants
clean data, and is not yet, is condemned. Marks that were taken off stay in history.
"""

from __future__ import annotations

from graph.ontology import MARK, MARK_TYPES
from graph.port import EdgeMatch, Hop, Paging, Prop, Transaction, Update
from lineal.errors import AlreadyExists, InvalidArgument, PreconditionFailed
from resolvers.lifecycle.condemning import condemn
from resolvers.lifecycle.telling import News, tell_downstream
from resolvers.writing.command import command
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find

CONTAMINATED, FORBIDDEN = "CONTAMINATED", "FORBIDDEN"
MAX_REASON = 2_000
"""Characters in a reason: it is part of what people are told."""


@command("markDataset")
async def mark_dataset(tx: Transaction, *, address: str, reason: str, type: str = CONTAMINATED) -> str:
    """Mark a data set, with all its versions and fields, or one version; the mark is the answer.

    It lives in the workspace of the data set, and belongs to it. Raises NotFound, InvalidArgument, AlreadyExists (it
    has a mark of this type already).
    """
    if type not in MARK_TYPES:
        raise InvalidArgument(f"type: must be one of {', '.join(MARK_TYPES)}, not {type!r:.80}", field="type")
    reason = checked_reason(reason)
    draft = Draft(tx)
    of = draft.want(address, "dataset", "Dataset", "DatasetVersion")
    await draft.find()
    node = (await tx.lock([of.id]))[of.id]
    there = await tx.neighbours([of.id], Hop("MARKS", "IN", MARK.name), Prop("type", "eq", type), paging=Paging(1))
    for link in there[of.id].items:
        msg = f"dataset: {address!r} has a mark of type {type} already: {link.node.id}"
        raise AlreadyExists(msg, field="dataset", id=link.node.id)
    props = {"type": type, "reason": reason}
    mark = draft.create(MARK, None, node.workspace, container=node.container, props=props)
    draft.link("MARKS", mark, of)
    await draft.save()
    news = News(
        "CONTAMINATION",
        (await tx.nodes([mark]))[mark],
        node,
        lambda name: f"{name} was marked {type}: {reason}",
        f"A data set was marked {type}.",
    )
    await condemn(tx, type, await tell_downstream(tx, news))
    return mark


@command("unmark")
async def unmark(tx: Transaction, *, address: str, reason: str) -> str:
    """Take a mark off; the mark, which stays in history, is the answer.

    Raises NotFound, InvalidArgument, PreconditionFailed (it was taken off already).
    """
    reason = checked_reason(reason)
    id = await find(tx, address, "mark", MARK.name)
    mark = (await tx.lock([id]))[id]
    on = (await tx.neighbours([id], Hop("MARKS", "OUT"), paging=Paging(1)))[id].items
    if not on:
        raise PreconditionFailed(f"mark: {id} was taken off already", field="mark")
    await tx.unlink([EdgeMatch("MARKS", id)])
    await tx.update([Update(id, {"liftedReason": reason})])
    type = mark.props["type"]
    news = News(
        "CONTAMINATION",
        mark,
        on[0].node,
        lambda name: f"{name} is marked {type} no more: {reason}",
        f"A data set is marked {type} no more.",
    )
    await tell_downstream(tx, news)
    return id


def checked_reason(text: str | None, *, field: str = "reason") -> str:
    """Why something is done. Raises InvalidArgument: not 1 to 2,000 characters."""
    if text is None or not text.strip() or len(text) > MAX_REASON:
        msg = f"{field}: must be text of 1 to {MAX_REASON} characters that says why"
        raise InvalidArgument(msg, field=field)
    return text.strip()
