"""A registry, a serving platform that runs as a process, and the reconciler between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from auth import caller
from graph.port import Direction, Hop, Node, Walk
from resolvers.deploying.deploying import deploy
from resolvers.deploying.plans import SERVED
from resolvers.deploying.reconciling import Reconciler
from resolvers.deploying.targets import Targets
from resolvers.operation import Operation
from resolvers.reading import all_links
from serving.targets import read
from tests.artifacts.conftest import Registry, bucket, local, minio_client, minio_server, registry, s3, small_parts
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET
from tests.storage.storing import BASE

__all__ = ["bucket", "local", "minio_client", "minio_server", "registry", "s3", "small_parts"]

PATIENCE = 60.0


@dataclass
class Shop:
    """A registry whose versions answer with their own number, a platform called `farm`, and who looks after it."""

    registry: Registry
    platform: PlatformServer
    targets: Targets
    holders: int = field(default=0)

    def operation(self, by: str = "ann", targets: Targets | None = None) -> Operation:
        """An operation of somebody who may do everything."""
        registry = self.registry
        return Operation(
            registry.graph, caller=caller.named(by), bytes=registry.reach, targets=targets or self.targets, base=BASE
        )

    async def version(self, answer: str, model: str = "models:/ranker", **more: Any) -> Node:
        """A version that answers so."""
        version, _ = await self.registry.push({"answer": answer.encode()}, model, **more)
        return version

    async def deploy(self, *versions: Node, **more: Any) -> Node:
        """Deploy versions as `search`, on the farm."""
        given = {"name": "search", "target": "farm", **more}
        serves = given.pop("serves", [{"version": version.id} for version in versions])
        return await self.do(deploy, serves=serves, **given)

    async def do(self, use_case: Any, **given: Any) -> Node:
        """Carry out a use case."""
        async with self.operation() as op:
            node = await use_case.once(op, None, **given)
        assert node is not None
        return node  # type: ignore[no-any-return]

    def reconciler(self, holder: str = "one") -> Reconciler:
        """One who looks after the farm."""
        registry = self.registry
        return Reconciler(
            registry.graph, registry.storage, self.targets, by="serving", holder=holder, every=0.2, base=BASE
        )

    @asynccontextmanager
    async def looking_after(self, holder: str = "one") -> AsyncIterator[asyncio.Task[None]]:
        """Have the farm looked after meanwhile."""
        task = asyncio.create_task(self.reconciler(holder).run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def node(self, address: str = "deployments:/search") -> Node:
        """A node as it is now."""
        return await self.registry.node(address)

    async def comes_to(self, phase: str, revision: int | None = None, address: str = "deployments:/search") -> Node:
        """The deployment, once it is in a phase, with a revision that it was told last."""

        async def there() -> Node | None:
            node = await self.node(address)
            right = revision is None or node.props["desiredRevision"] == revision
            return node if right and node.props["phase"] == phase else None

        found: Node = await self.awaited(there)
        return found

    async def awaited(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What is asked for, once it is there."""
        end = time.monotonic() + PATIENCE
        while not (found := await ask()):
            assert time.monotonic() < end, (await self.node()).props
            await asyncio.sleep(0.05)
        return found

    async def predict(self, name: str = "", number: int | None = None) -> int | None:
        """What the platform answers to a request."""
        if not name:
            name = (await self.node()).props["platformName"]
        which = "" if number is None else f"/{number}"
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.platform.url}/predict/{name}{which}", timeout=30)
        found: int | None = answer.json()["answer"]
        return found

    async def serves(self, address: str = "deployments:/search") -> dict[str, float | None]:
        """The numbers of the versions that the graph says are served, with their shares."""
        node = await self.node(address)
        async with self.registry.graph.snapshot() as snapshot:
            links = (await all_links(snapshot, [node.id], SERVED)).get(node.id, [])
        return {link.node.name: link.edge.props.get("weight") for link in links}

    async def events(self, address: str = "deployments:/search") -> list[tuple[str, int]]:
        """What happened, in order: phases and revisions."""
        return [(node.props["phase"], node.props["revisionNumber"]) for node in await self.happened(address)]

    async def happened(self, address: str = "deployments:/search") -> list[Node]:
        """Its events, in order."""
        node = await self.node(address)
        async with self.registry.graph.snapshot() as snapshot:
            links = (await all_links(snapshot, [node.id], Hop("EVENT_OF", "IN", "DeploymentEvent"))).get(node.id, [])
        return sorted((link.node for link in links), key=lambda node: (node.created_at, node.id))

    async def affected(self, version: Node, as_of: int | None = None) -> list[str]:
        """The deployments downstream of a version, now or at an earlier time."""
        walk = Walk(Direction.DOWNSTREAM, edges=("SERVES",), as_of=as_of)
        async with self.registry.graph.snapshot() as snapshot:
            closure = await snapshot.closure([version.id], walk)
        return [node.name for node, _ in closure.nodes if node.kind == "Deployment"]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformServer]:
    """A platform, running."""
    with PlatformServer(tmp_path / "platform", SECRET) as server:
        yield server


@pytest.fixture
async def shop(
    registry: Registry, platform: PlatformServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    """All of it; nobody looks after the platform yet."""
    monkeypatch.setenv("FARM_SECRET", SECRET)
    (tmp_path / "models").mkdir()
    table = {
        "platform": "webhook",
        "url": f"{platform.url}/deployments",
        "workspaces": "*",
        "timeout": 5,
        "secrets": {"key_env": "FARM_SECRET"},
        "files": {"mode": "folder", "path": str(tmp_path / "models")},
    }
    async with Targets(read({"targets": {"farm": table}})) as targets:
        yield Shop(registry, platform, targets)
