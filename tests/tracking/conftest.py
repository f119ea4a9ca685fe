"""A real MLflow server, and a registry whose versions are looked up there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from auth import caller
from graph.port import Graph, Hop, Node
from resolvers.operation import Operation
from resolvers.reading import resolve
from resolvers.tracking.enriching import Enricher
from resolvers.tracking.trackers import Trackers
from resolvers.writing.versions import create_model_version
from storage.tracking.config import read
from tests.mlflow_server import MlflowServerProcess
from tests.tracking.logbook import Logbook

PATIENCE = 60.0


def config(url: str, **more: Any) -> dict[str, Any]:
    """A tracking server of this machine, for all workspaces, as a file has it."""
    return {"url": url, "workspaces": "*", "timeout": 5, "options": {"allow_private": True}, **more}


@dataclass
class Office:
    """A registry, and who looks up where its versions came from."""

    graph: Graph
    trackers: Trackers
    hours: float = 1.0
    holders: int = field(default=0)

    def enricher(self) -> Enricher:
        """One who looks versions up."""
        self.holders += 1
        return Enricher(self.graph, self.trackers, by="tracking", holder=f"holder {self.holders}", hours=self.hours)

    async def register(self, model: str = "models:/prices", **properties: str) -> Node:
        """A version with a run, or a logged model."""
        async with self.operation() as op:
            return await create_model_version(op, model=model, create_model=True, properties=properties)

    def operation(self, trackers: Trackers | None = None) -> Operation:
        """An operation of somebody who may do everything."""
        return Operation(self.graph, caller=caller.named("ann"), trackers=trackers or self.trackers)

    async def at(self, address: str) -> Node:
        """A node, which must be there."""
        async with self.operation() as op:
            node = await resolve(op, address)
        assert node is not None, address
        return node

    async def leads(self, address: str, edge: str, direction: Any = "OUT") -> dict[str, str]:
        """The names of what the open edges of a kind lead to, with their discriminators."""
        node = await self.at(address)
        async with self.graph.snapshot() as snapshot:
            page = (await snapshot.neighbours([node.id], Hop(edge, direction)))[node.id]
        return {link.node.name: link.edge.discriminator for link in page.items}

    async def own(self, address: str, table: Any) -> dict[str, str]:
        """Tags or parameters."""
        node = await self.at(address)
        async with self.graph.snapshot() as snapshot:
            return (await snapshot.rows([node.id], table)).get(node.id, {})

    async def metrics(self, address: str) -> dict[str, tuple[float, int]]:
        """The last values of metrics, with how many there are."""
        node = await self.at(address)
        async with self.graph.snapshot() as snapshot:
            found = (await snapshot.metrics([node.id])).get(node.id, [])
        return {metric.name: (metric.value, metric.count) for metric in found}

    async def comes_to(self, version: Node, state: str) -> Node:
        """The version, once its enrichment is in a state, while somebody looks it up."""
        enricher, end = self.enricher(), time.monotonic() + PATIENCE
        while (node := await self.at(version.id)).props.get("enrichment") != state:
            assert time.monotonic() < end, node.props
            if not await enricher.step():
                await asyncio.sleep(0.05)
        return node


@asynccontextmanager
async def office_with(graph: Graph, *trackers: dict[str, Any], **more: Any) -> AsyncIterator[Office]:
    """A registry with these tracking servers, called one, two, …."""
    tables = dict(zip(("one", "two", "three"), trackers, strict=False))
    async with Trackers(read({"trackers": tables})) as opened:
        yield Office(graph, opened, **more)


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServerProcess]:
    """An MLflow server."""
    server = MlflowServerProcess(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def book(mlflow: MlflowServerProcess) -> Iterator[Logbook]:
    """What is logged there."""
    book = Logbook(mlflow.url)
    yield book
    book.close()


@pytest.fixture
async def office(graph: Graph, mlflow: MlflowServerProcess) -> AsyncIterator[Office]:
    """A registry of either store, whose versions are looked up there."""
    async with office_with(graph, config(mlflow.url)) as opened:
        yield opened
