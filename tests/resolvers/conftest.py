"""What tests of use cases ask for: an operation on an empty store, and a look at what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from auth import caller
from graph.port import Direction, Edge, Graph, Hop, Node, Walk
from lineal.errors import LinealError
from resolvers.operation import Operation
from resolvers.reading import resolve


class Desk:
    """An operation on a store, with short ways to look at what use cases did."""

    def __init__(self, op: Operation) -> None:
        self.op = op

    async def at(self, address: str, **kwargs: Any) -> Node:
        """The node of an address, which must be there."""
        node = await resolve(self.op, address, **kwargs)
        assert node is not None, f"nothing at {address}"
        return node

    async def gone(self, address: str) -> bool:
        """Whether nothing has this address."""
        return await resolve(self.op, address) is None

    async def leads(self, address: str, edge: str) -> dict[str, str]:
        """The names of what the open edges of a kind lead to, with their discriminators."""
        return {link.node.name: link.edge.discriminator for link in await self.links(address, edge)}

    async def links(self, address: str, edge: str, direction: Any = "OUT") -> list[Any]:
        """Open edges of a kind with what is at their other end."""
        node = await self.at(address)
        snapshot = await self.op.snapshot()
        return list((await snapshot.neighbours([node.id], Hop(edge, direction)))[node.id].items)

    async def history(self, address: str, edge: str) -> list[Edge]:
        """All edges of a kind, the latest first."""
        node = await self.at(address)
        snapshot = await self.op.snapshot()
        return [link.edge for link in (await snapshot.history([node.id], Hop(edge, "OUT")))[node.id].items]

    async def own(self, address: str, table: Any) -> dict[str, str]:
        """Tags or parameters."""
        node = await self.at(address)
        return (await (await self.op.snapshot()).rows([node.id], table)).get(node.id, {})

    async def metrics(self, address: str) -> dict[str, Any]:
        """Metrics by name."""
        node = await self.at(address)
        return {m.name: m for m in (await (await self.op.snapshot()).metrics([node.id])).get(node.id, [])}

    async def downstream(self, address: str) -> set[str]:
        """The names of what came of it."""
        node = await self.at(address)
        walk = Walk(Direction.DOWNSTREAM, edges=("READ", "PRODUCED_BY", "TRAINED_ON", "DERIVED_FROM", "SERVES"))
        found = await (await self.op.snapshot()).closure([node.id], walk)
        return {n.name for n, _ in found.nodes}

    async def count(self, *kinds: str) -> int:
        """How many nodes of these kinds there are."""
        snapshot = await self.op.snapshot()
        return sum([len((await snapshot.find(kind)).items) for kind in kinds])


@pytest.fixture
async def desk(graph: Graph) -> AsyncIterator[Desk]:
    """An operation on an empty store of either kind."""
    async with Operation(graph, caller=caller.named("ann")) as op:
        yield Desk(op)


@pytest.fixture
def op(desk: Desk) -> Operation:
    """The operation itself."""
    return desk.op


def refused(error: pytest.ExceptionInfo[LinealError]) -> str | None:
    """The field that a refusal names; its message begins with it."""
    field = error.value.field
    assert field is None or error.value.message.startswith(field)
    return field


def named(*pairs: tuple[str, str]) -> list[Any]:
    """Tags or parameters as use cases take them."""
    return [{"name": name, "value": value} for name, value in pairs]
