"""From nodes back to their addresses."""

from __future__ import annotations

from collections.abc import Iterable

from graph import ontology
from graph.address import Address
from graph.port import Node, Snapshot


async def addresses(snapshot: Snapshot, nodes: Iterable[Node]) -> dict[str, str]:
    """The address of each node, by id. What a container of it would name, but is hidden or gone, goes by its id."""
    nodes = list(nodes)
    parts = {n.container for n in nodes if n.visible and ontology.NODE_KINDS[n.kind].within}
    containers = {n.id: n for n in nodes if n.id in parts}
    if missing := sorted(parts - containers.keys()):
        containers |= await snapshot.nodes(missing)
    return {node.id: address_of(node, containers.get(node.container)) for node in nodes}


def address_of(node: Node, container: Node | None = None) -> str:
    """The address of a node; a part needs its container for one, and goes by its id without."""
    if not node.visible or node.deleted_at is not None:
        return node.id
    if not ontology.NODE_KINDS[node.kind].within:
        return str(Address(node.kind, node.workspace, node.name))
    if container is None:
        return node.id
    return str(Address(node.kind, node.workspace, container.name, node.name))
