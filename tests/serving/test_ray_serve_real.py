"""The adapter of Ray Serve on a real cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from serving.port import Adapter, Desired, Observed, Served, fulfils
from tests.ray import RayCluster
from tests.serving import rigs

APP = {"import_path": "answering:app"}
PATIENCE = 240.0

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    cluster = RayCluster(tmp_path_factory.mktemp("ray"))
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
async def adapter(cluster: RayCluster) -> AsyncIterator[Adapter]:
    made = rigs.adapter("ray-serve", url=cluster.url, options={"inference_url": cluster.inference}, timeout=120)
    async with made as adapter:
        yield adapter


@pytest.fixture
async def client(cluster: RayCluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.inference, timeout=60) as client:
        yield client


def at(uri: str) -> rigs.Source:
    source = rigs.Source({"model": uri.encode()})
    source.uri = uri
    return source


def wants(weights: Mapping[int, float]) -> Desired:
    served = tuple(Served(number, weight, at(f"/models/{number}")) for number, weight in weights.items())
    return Desired("m", 1, served, settings=APP)


async def settled(adapter: Adapter, wanted: Desired, until: Callable[[Observed], bool] | None = None) -> Observed:
    end = time.monotonic() + PATIENCE
    while True:
        there = (await adapter.observe(["m"]))["m"]
        if until(there) if until else fulfils(there, wanted):
            return there
        assert time.monotonic() < end, there
        await adapter.apply(wanted)
        await asyncio.sleep(0.25)


async def answer(client: httpx.AsyncClient, path: str = "/m") -> Any:
    got = await client.get(path)
    return got.json()["answer"] if got.is_success else got.status_code


async def routed(client: httpx.AsyncClient, path: str, wanted: int) -> None:
    """The proxy hears of routes a little later than the dashboard."""
    end = time.monotonic() + PATIENCE
    while (got := await answer(client, path)) != wanted:
        assert time.monotonic() < end, got
        await asyncio.sleep(0.1)


async def test_versions_come_swap_and_go_and_what_is_of_others_stays(
    cluster: RayCluster, adapter: Adapter, client: httpx.AsyncClient
) -> None:
    port = int(cluster.inference.rpartition(":")[2])
    theirs = {
        "name": "theirs",
        "route_prefix": "/theirs",
        "import_path": "answering:app",
        "runtime_env": {"env_vars": {"LINEAL_MODEL_URI": "/models/99"}},
    }
    options = {"host": "127.0.0.1", "port": port}
    told = {"proxy_location": "HeadOnly", "http_options": options, "applications": [theirs]}
    async with httpx.AsyncClient(timeout=120) as dashboard:
        assert (await dashboard.put(f"{cluster.url}/api/serve/applications/", json=told)).is_success
    there = await settled(adapter, wants({1: 1.0}))
    assert there.url == f"{cluster.inference}/m"
    await routed(client, "/m", 1)
    await settled(adapter, wants({1: 1.0, 2: 0.0}))
    await routed(client, "/m/versions/2", 2)
    assert await answer(client) == 1
    await settled(adapter, wants({1: 0.0, 2: 1.0}))
    await routed(client, "/m", 2)
    broken = Desired("m", 2, (Served(3, 1.0, at("/models/broken")),), settings=APP)
    failed = await settled(adapter, broken, until=lambda there: bool(there.failure))
    assert "invalid literal for int()" in failed.failure
    assert await answer(client) == 2
    await settled(adapter, wants({1: 1.0}))
    await routed(client, "/m", 1)
    await settled(adapter, Desired("m", 3))
    await routed(client, "/m", 404)
    assert await answer(client, "/theirs") == 99
