"""The end of models and versions: they are deprecated, with a date and a successor, and then retired.

What is deprecated is not to be used for anything new. What is retired may be served by nothing, and nothing may be
made from it: so it is retired only once nothing depends on it, or by force, with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from auth.roles import Role
from graph.guarding import HIDDEN
from graph.naming import addresses
from graph.port import EVERYTHING, EdgeMatch, Hop, Node, Transaction, Update, View
from lineal.errors import PreconditionFailed
from resolvers.lifecycle.deprecating import stage_for_deprecated, tell_deprecations
from resolvers.lifecycle.marking import checked_reason
from resolvers.lifecycle.moving import Mover
from resolvers.lifecycle.schemes import RETIRED
from resolvers.lifecycle.telling import News, listed, tell_downstream
from resolvers.lifecycle.told import told_to_serve
from resolvers.reading import all_links
from resolvers.writing.command import command
from resolvers.writing.draft import Draft
from resolvers.writing.lifecycle import refuse_circle
from resolvers.writing.nodes import find
from resolvers.writing.story import lead_to

SHOWN: Final = 10
"""Dependants of each sort that a refusal names."""


@command("deprecate")
async def deprecate(
    tx: Transaction, *, address: str, reason: str, since: int | None = None, successor: str | None = None
) -> str:
    """Say that a model, with all its versions, or one version is not to be used any more; it is the answer.

    `since` (microseconds) is now unless given, and may be in the future. `successor` is what to use instead. Doing it
    again says another date, reason and successor. Raises NotFound, PreconditionFailed (the successor
    is itself superseded by it; or it is in the stage Deprecated, and `since` is to come).
    """
    reason = checked_reason(reason)
    draft = Draft(tx)
    old = draft.want(address, "node", "Model", "ModelVersion")
    new = None if successor is None else draft.want(successor, "successor", old.address.kind)
    await draft.find()
    node = (await tx.lock([old.id]))[old.id]
    if new is not None:
        await refuse_circle(tx, old.id, new.id, "successor")
        await lead_to(draft, "SUPERSEDED_BY", old, {new.id: {}})
    at = tx.now if since is None else since
    if at > tx.now and (stage := await stage_for_deprecated(tx, old.id)):
        msg = f"since: {address!r} is in the stage {stage}, and so deprecated already; move it out of that first"
        raise PreconditionFailed(msg, field="since")
    draft.set(old.id, {"deprecatedAt": at, "deprecationReason": reason})
    await draft.save()
    await tell_deprecations(tx, [(node, reason)])
    return old.id


@command("undeprecate")
async def undeprecate(tx: Transaction, *, address: str) -> str:
    """Take a deprecation back; what was named as the successor stays.

    Raises NotFound, PreconditionFailed (it is not deprecated, or is in the stage Deprecated).
    """
    id = await find(tx, address, "node", "Model", "ModelVersion")
    node = (await tx.lock([id]))[id]
    if "deprecatedAt" not in node.props:
        raise PreconditionFailed(f"node: {address!r} is not deprecated", field="node")
    if stage := await stage_for_deprecated(tx, id):
        raise PreconditionFailed(
            f"node: {address!r} is in the stage {stage}; move it out of that instead", field="node"
        )
    await tx.update([Update(id, {"deprecatedAt": None, "deprecationReason": None})])
    await tell_deprecations(tx, [(node, None)])
    return id


@command("retire", needs=Role.APPROVER)
async def retire(tx: Transaction, *, version: str, reason: str, force: bool = False) -> str:
    """Retire a version: it comes to the stage Retired, and its aliases are taken away.

    Raises NotFound, PreconditionFailed (it is retired; or live deployments serve it or were told to, or versions
    that are neither deprecated nor retired were made from it, and it is not forced: the message names those that the
    caller may see, and says whether there are others).
    """
    reason = checked_reason(reason)
    id = await find(tx, version, "version", "ModelVersion")
    node = (await tx.lock([id]))[id]
    if "retiredAt" in node.props:
        raise PreconditionFailed(f"version: {version!r} is retired already", field="version")
    await tx.lock([node.container])
    if (message := await _dependants(tx, node)) and not force:
        msg = f"version: {version!r} is still {message}; end that first, or force it"
        raise PreconditionFailed(msg, field="version")
    await tx.update([Update(id, {"retiredAt": tx.now})])
    # Whoever goes on by an alias shall hear that there is nothing, and not be given what nothing may serve.
    await tx.unlink([EdgeMatch("ALIAS", node.container, id)])
    await Mover(tx, reason=reason).force(node, RETIRED)
    how = "retired by force" if message else "retired"
    await tell_downstream(
        tx,
        News("RETIREMENT", node, node, lambda name: f"{name} was {how}: {reason}", f"A model version was {how}."),
    )
    return id


async def _dependants(tx: Transaction, version: Node) -> str:
    """What depends on a version, in words; empty when nothing does. What the caller may not see is not named."""
    view = tx.view
    tx.show(EVERYTHING)
    try:
        serving = await all_links(tx, [version.id], Hop("SERVES", "IN", "Deployment"))
        told = [each.deployment for each in await told_to_serve(tx, [version.id])]
        children = await _children(tx, version)
        models = await tx.nodes(list(dict.fromkeys(child.container for child in children)))
    finally:
        tx.show(view)
    used = [child for child in children if not _is_over(child, models.get(child.container), tx.now)]
    served = [*(link.node for link in serving.get(version.id, ())), *told]
    return " and ".join(
        [
            f"{verb} {await _named(tx, view, nodes)}"
            for verb, nodes in (("served by", served), ("needed by", used))
            if nodes
        ]
    )


async def _children(tx: Transaction, version: Node) -> list[Node]:
    """The versions that were made from it, or by a run that read it."""
    derived = await all_links(tx, [version.id], Hop("DERIVED_FROM", "IN", "ModelVersion"))
    read = await all_links(tx, [version.id], Hop("READ", "IN", "Run"))
    runs = sorted({link.node.id for link in read.get(version.id, ())})
    made = await all_links(tx, runs, Hop("PRODUCED_BY", "IN", "ModelVersion")) if runs else {}
    return [link.node for links in (*derived.values(), *made.values()) for link in links]


def _is_over(version: Node, model: Node | None, now: int) -> bool:
    """Whether a version is retired, or it or its model is deprecated by now."""
    dates = [version.props.get("deprecatedAt"), model.props.get("deprecatedAt") if model else None]
    return "retiredAt" in version.props or any(date is not None and int(date) <= now for date in dates)


async def _named(tx: Transaction, view: View, nodes: Iterable[Node]) -> str:
    each = {node.id: node for node in nodes}
    shown = [each[id] for id in sorted(each) if view.shows(each[id])]
    if not shown:
        return HIDDEN
    names = await addresses(tx, shown[:SHOWN])
    words = listed([names[n.id] for n in shown[:SHOWN]])
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return f"{words}{more}{', and others that you may not see' if len(shown) < len(each) else ''}"
