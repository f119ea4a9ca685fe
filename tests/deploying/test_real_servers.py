"""From the registry to real serving servers and back: what answers, and what lineage says of every moment."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graph.port import Direction
from resolvers.deploying.deploying import canary, roll_back
from resolvers.deploying.targets import Targets
from resolvers.reading import lineage
from tests.artifacts.conftest import Registry
from tests.deploying.conftest import Shop
from tests.serving import rigs
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET, Rig

pytestmark = pytest.mark.timeout(600)
SEARCH = "deployments:/search"


class RealShop(Shop):
    """A shop whose farm is a real server."""

    rig: Rig

    async def version(self, answer: str, model: str = "models:/ranker", **more: Any) -> Any:
        version, _ = await self.registry.push(self.rig.source(int(answer)).data, model, **more)
        return version

    async def predict(self, name: str = "", number: int | None = None) -> int | None:
        name = name or (await self.node()).props["platformName"]
        return await self.rig.predict(name, number)

    async def reached(self, data: str, as_of: int | None) -> list[str]:
        """The deployments that lineage leads to from data, now or at an earlier time."""
        async with self.operation() as op:
            found = await lineage(op, [data], direction=Direction.DOWNSTREAM, kinds=["Deployment"], as_of=as_of)
        return [node.name for node, _ in found.closure.nodes]


@pytest.fixture(params=["torchserve", "mlserver"])
async def real(
    request: pytest.FixtureRequest, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RealShop]:
    """A real server, and a registry that deploys to it."""
    monkeypatch.setenv("RIG_SECRET", SECRET)
    rig = rigs.rig(request.param, tmp_path / "rig")
    rig.home.mkdir()
    rig.start()
    try:
        config = replace(rig.adapter()._config, name="farm", workspaces=None)  # type: ignore[attr-defined]
        async with Targets([config]) as targets:
            shop = RealShop(registry, PlatformServer(tmp_path / "unused", SECRET), targets)
            shop.rig = rig
            yield shop
    finally:
        rig.close()


async def test_what_answers_is_what_lineage_says_at_every_moment(real: RealShop) -> None:
    data = {number: f"datasets:/clicks/v{number}" for number in (1, 2)}
    one, two = [
        await real.version(str(number), inputs=[{"dataset": trained_on, "create": True}])
        for number, trained_on in data.items()
    ]
    moments = []
    async with real.looking_after():
        await real.deploy(one)
        await real.comes_to("READY", 1)
        assert await real.predict() == 1
        moments.append(time.time_ns() // 1_000)
        await real.do(canary, address=SEARCH, version=two.id)
        await real.comes_to("READY", 2)
        assert await real.predict() == 1
        assert await real.predict(number=2) == 2
        moments.append(time.time_ns() // 1_000)
        await real.deploy(two)
        await real.comes_to("READY", 3)
        assert await real.predict() == 2
        moments.append(time.time_ns() // 1_000)
        await real.do(roll_back, address=SEARCH)
        await real.comes_to("READY", 4)
        assert await real.predict() == 1
    served = {1: [True, True, False, True], 2: [False, True, True, False]}
    for number, version in ((1, one), (2, two)):
        found = [await real.affected(version, as_of) for as_of in (*moments, None)]
        assert [each == ["search"] for each in found] == served[number]
        reached = [await real.reached(data[number], as_of) for as_of in (*moments, None)]
        assert [each == ["search"] for each in reached] == served[number]
