"""Deleting: a thing goes with its parts, and only when nothing else rests on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from auth.roles import Role
from graph import ontology
from graph.guarding import HIDDEN
from graph.naming import addresses
from graph.ontology import NODE_KINDS, NodeKind
from graph.port import EVERY_RIGHT, EVERYTHING, MAX_PAGE, Hop, Node, Not, Order, Paging, Prop, Transaction, Update
from lineal.errors import LimitExceeded, PreconditionFailed
from resolvers.lifecycle.told import told_to_serve
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.nodes import find

MAX_PARTS: Final = 10_000
"""Nodes that one delete may take with it."""

SHOWN: Final = 10
"""Dependants that a refusal names."""

PARTS: Final = {
    whole.name: tuple(
        Hop(edge.name, "IN", part)
        for edge in ontology.EDGE_KINDS.values()
        if edge.name in {*ontology.CONTAINING_EDGES, "REVISION_OF"}
        for part, container in edge.ends
        if container == whole.name and part != whole.name
    )
    for whole in NODE_KINDS.values()
}
"""The hops from a container to what may be its parts."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete took away: the node that was named, and how many parts went with it."""

    node: Node
    parts: int


Delete = Callable[..., Awaitable[Deleted]]


async def _anything(_tx: Transaction, _node: Node) -> None:
    """Whatever it is, it may go."""


def deleting(
    action: str,
    kind: NodeKind,
    field: str,
    needs: Role | None = Role.CONTRIBUTOR,
    *,
    first: Callable[[Transaction, Node], Awaitable[None]] = _anything,
) -> Delete:
    """A use case that deletes a node, which `field` of the input names, with its parts; `first` may refuse."""

    async def delete(op: Operation, *, address: str, revision: int | None = None) -> Deleted:
        """Leave tombstones and free the names. With `revision`, only if the node still has it.

        Raises NotFound, Conflict, PreconditionFailed (something else rests on it: the message names up
        to 10), LimitExceeded (more than 10,000 parts).
        """

        async def work(tx: Transaction) -> Deleted:
            id = await find(tx, address, field, kind.name)
            node = (await tx.lock([id]))[id]
            await tx.update([Update(id, revision=revision)])
            await first(tx, node)
            parts = await _parts(tx, node)
            await remove(tx, [node, *parts], field)
            return Deleted(node, len(parts))

        return await op.write(work, action, needs=needs)

    return delete


async def remove(tx: Transaction, nodes: Sequence[Node], field: str) -> None:
    """Delete these nodes together, if nothing else rests on them. Raises PreconditionFailed, LimitExceeded."""
    if len(nodes) > MAX_PARTS:
        msg = f"{field}: more than {MAX_PARTS} parts would go with it; delete some of them first"
        raise LimitExceeded(msg, field=field)
    ids = [n.id for n in nodes]
    await tx.lock(ids)
    if message := await _dependants(tx, nodes):
        raise PreconditionFailed(f"{field}: {message}; delete or change that first", field=field)
    # Whoever may delete a thing, which the lock has made sure of, may delete what was said about it.
    tx.guard(EVERYTHING, EVERY_RIGHT)
    await tx.remove([*ids, *await _said_about(tx, ids, field)])


async def _said_about(tx: Transaction, ids: Sequence[str], field: str) -> list[str]:
    """The comments about these nodes, and the replies to them, that are not among them. Raises LimitExceeded."""
    known = dict.fromkeys(ids)
    level = list(ids)
    while level:
        links = await all_links(tx, level, Hop("ABOUT", "IN", "Comment"))
        level = list(dict.fromkeys(link.node.id for of in links.values() for link in of if link.node.id not in known))
        known |= dict.fromkeys(level)
        if len(known) - len(ids) > MAX_PARTS:
            msg = f"{field}: more than {MAX_PARTS} comments would go with it; delete some of them first"
            raise LimitExceeded(msg, field=field)
    return list(known)[len(ids) :]


async def _parts(tx: Transaction, node: Node) -> list[Node]:
    """All that has this node as its container."""
    parts: list[Node] = []
    for hop in PARTS[node.kind]:
        after, more = None, True
        while more and len(parts) <= MAX_PARTS:
            found = await tx.neighbours([node.id], hop, order=Order("createdAt"), paging=Paging(MAX_PAGE, after))
            page = found[node.id]
            parts += [link.node for link in page.items if link.node.container == node.id]
            after, more = page.cursors[-1] if page.cursors else None, page.has_next
    return parts


async def _dependants(tx: Transaction, nodes: Sequence[Node]) -> str:
    """What else leads to these nodes by an edge that blocks, or was told to serve them, in words; or nothing.

    Of what the caller may not see, only that there is something.
    """
    going = {n.id for n in nodes}
    others = Not(Prop("id", "in", sorted(going)))
    there: dict[str, Node] = {}
    more = False
    for edge in ontology.EDGE_KINDS.values():
        for kind in dict.fromkeys(target for _, target in edge.ends if edge.blocks):
            ids = [n.id for n in nodes if n.kind == kind]
            found = await tx.neighbours(ids, Hop(edge.name, "IN"), others, paging=Paging(MAX_PAGE)) if ids else {}
            there |= {link.node.id: link.node for page in found.values() for link in page.items}
            more = more or any(page.has_next for page in found.values())
    versions = [n.id for n in nodes if n.kind == ontology.MODEL_VERSION.name]
    told = [each.deployment for each in await told_to_serve(tx.seeing(EVERYTHING), versions)]
    there |= {deployment.id: deployment for deployment in told if tx.view.shows(deployment)}
    unseen = not tx.view.whole and (not all(map(tx.view.shows, told)) or await tx.unseen_dependants(sorted(going)))
    if not there:
        return f"still needed by {HIDDEN}" if unseen else ""
    shown = [there[id] for id in sorted(there)][:SHOWN]
    names = await addresses(tx, shown)
    text = ", ".join(names[n.id] for n in shown)
    rest = len(there) - len(shown)
    if rest or more:
        text += f" and {'more than ' if more else ''}{rest} more"
    return f"still needed by {text}{', and others that you may not see' if unseen else ''}"
