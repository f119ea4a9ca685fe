"""Graphs for tests, in few words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from graph import ontology
from graph.ids import new_id
from graph.port import (
    Change,
    Edge,
    EdgeMatch,
    Graph,
    Metric,
    NewEdge,
    NewNode,
    Node,
    NodeRecord,
    Point,
    Transaction,
    Update,
)

BY = "tester"
LONG_AGO = 1_000_000
"""A time before everything that tests do, in microseconds."""


async def create(graph: Graph, *nodes: NewNode) -> list[Node]:
    """Create nodes in one write."""

    async def work(tx: Transaction) -> list[Node]:
        return await tx.create(nodes)

    return await graph.write(work, by=BY, action="create")


async def link(graph: Graph, *edges: NewEdge) -> list[Edge]:
    """Open edges in one write."""

    async def work(tx: Transaction) -> list[Edge]:
        return await tx.link(edges)

    return await graph.write(work, by=BY, action="link")


async def unlink(graph: Graph, *matches: EdgeMatch) -> list[Edge]:
    """End edges in one write."""

    async def work(tx: Transaction) -> list[Edge]:
        return await tx.unlink(matches)

    return await graph.write(work, by=BY, action="unlink")


async def update(graph: Graph, *updates: Update) -> list[Node]:
    """Change nodes in one write."""

    async def work(tx: Transaction) -> list[Node]:
        return await tx.update(updates)

    return await graph.write(work, by=BY, action="update")


async def remove(graph: Graph, *ids: str) -> None:
    """Delete nodes in one write."""

    async def work(tx: Transaction) -> None:
        await tx.remove(ids)

    await graph.write(work, by=BY, action="remove")


async def tag(graph: Graph, id: str, **tags: str | None) -> None:
    """Set tags of a node."""

    async def work(tx: Transaction) -> None:
        await tx.put_rows("tags", {id: tags})

    await graph.write(work, by=BY, action="tag")


async def put_params(graph: Graph, id: str, **params: str | None) -> None:
    """Set parameters of a node."""

    async def work(tx: Transaction) -> None:
        await tx.put_rows("params", {id: params})

    await graph.write(work, by=BY, action="params")


async def log(graph: Graph, id: str, *points: Point) -> None:
    """Append to metrics of a node."""

    async def work(tx: Transaction) -> None:
        await tx.log_metrics({id: points})

    await graph.write(work, by=BY, action="log")


async def load(graph: Graph, records: Sequence[NodeRecord], edges: Sequence[Edge] = ()) -> int:
    """Import nodes and edges as they are, in one write."""

    async def work(tx: Transaction) -> int:
        return await tx.load(records, edges)

    return await graph.write(work, by=BY, action="load")


async def workspace(graph: Graph, name: str) -> Node:
    """Create a workspace."""
    return (await create(graph, NewNode("Workspace", name, ontology.GLOBAL)))[0]


async def model(
    graph: Graph, name: str, *, versions: int = 0, workspace: str = "default", **props: Any
) -> tuple[Node, list[Node]]:
    """Create a model with versions 1 to `versions`."""
    parts = [(str(n), {"number": n}) for n in range(1, versions + 1)]
    return await _whole(graph, NewNode("Model", name, workspace, props=props), parts)


async def dataset(
    graph: Graph, name: str, *versions: str, workspace: str = "default", **props: Any
) -> tuple[Node, list[Node]]:
    """Create a data set with versions of these names."""
    return await _whole(graph, NewNode("Dataset", name, workspace, props=props), [(v, {}) for v in versions])


async def _whole(graph: Graph, new: NewNode, parts: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[Node, list[Node]]:
    async def work(tx: Transaction) -> tuple[Node, list[Node]]:
        (whole,) = await tx.create([new])
        made = await tx.create([NewNode(f"{new.kind}Version", n, new.workspace, whole.id, p) for n, p in parts])
        await tx.link([NewEdge("VERSION_OF", part.id, whole.id) for part in made])
        return whole, made

    return await graph.write(work, by=BY, action="whole")


def record(
    kind: str,
    name: str,
    *,
    id: str | None = None,
    workspace: str = "default",
    container: str | None = None,
    created_at: int = LONG_AGO,
    deleted_at: int | None = None,
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    metrics: Sequence[Metric] = (),
    former: Sequence[str] = (),
    **props: Any,
) -> NodeRecord:
    """A node for import, born long ago."""
    own = id or new_id(ontology.NODE_KINDS[kind].prefix)
    node = Node(
        own, kind, workspace, container or own, name, created_at, BY, deleted_at or created_at, 1, deleted_at, props
    )
    return NodeRecord(node, list(former), dict(tags or {}), dict(params or {}), list(metrics))


async def sequenced(graph: Graph, subject: str | None = None) -> list[Change]:
    """All changes, after those that wait have been given their numbers."""
    while await graph.sequence():
        pass
    changes: list[Change] = []
    async with graph.snapshot() as snapshot:
        while page := await snapshot.changes(after=changes[-1].seq or 0 if changes else 0, subject=subject):
            changes += page
    return changes


async def node(graph: Graph, id: str) -> Node | None:
    """A node as it is now, or None."""
    async with graph.snapshot() as snapshot:
        return (await snapshot.nodes([id])).get(id)


@asynccontextmanager
async def sequencing(graph: Graph) -> AsyncIterator[None]:
    """Give changes their order meanwhile."""

    async def sequence() -> None:
        while True:
            await graph.sequence()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(sequence())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
