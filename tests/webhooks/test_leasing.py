"""Leases while something goes on, and what the deliverer does when it meets with trouble."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graph.port import Graph
from lineal.errors import Conflict, Unavailable
from resolvers import leasing
from resolvers.leasing import holding
from resolvers.webhooks import delivering
from resolvers.webhooks.delivering import Deliverer
from resolvers.webhooks.turn import Turn
from tests import building
from tests.webhooks.conftest import Post, awaited
from tests.webhooks.receiver import Receiver


async def test_one_holds_a_lease_for_as_long_as_the_block_lasts(graph: Graph) -> None:
    async with holding(graph, "work", "one") as held:
        assert held is not None
        held.check()
        async with holding(graph, "work", "two") as other:
            assert other is None
    with pytest.raises(Conflict):
        held.check()
    async with holding(graph, "work", "two") as other:
        assert other is not None
        assert other.lease.epoch == held.lease.epoch + 1


async def test_who_lost_a_lease_learns_of_it(sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "LEASE_SECONDS", 0.2)
    async with holding(sqlite_graph, "work", "one") as held:
        assert held is not None
        await sqlite_graph.release(held.lease)
        assert await sqlite_graph.claim("work", "two", 60) is not None
        await awaited(lambda: held.lost)
        with pytest.raises(Conflict, match="does not hold any more"):
            held.check()


@pytest.mark.parametrize("trouble", [Unavailable("away"), ValueError("a defect"), Conflict("lost")])
@pytest.mark.parametrize("where", [(Turn, "run"), (Deliverer, "_look"), (Deliverer, "_nothing")])
async def test_whatever_goes_wrong_once_is_tried_again(
    sqlite_post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, where: tuple[Any, str], trouble: Exception
) -> None:
    monkeypatch.setattr(delivering, "LEASE_SECONDS", 0.3)
    owner, name = where
    real, met = getattr(owner, name), list[int]()

    async def failing(*given: Any) -> Any:
        met.append(1)
        if len(met) == 2:
            raise trouble
        return await real(*given)

    monkeypatch.setattr(owner, name, failing)
    await sqlite_post.hook(receiver.url)
    async with sqlite_post.delivering():
        for n in range(4):
            await building.model(sqlite_post.graph, f"m{n}")
            await awaited(lambda n=n: len(receiver.taken()) == n + 1)  # type: ignore[misc]
            # Turns end when nothing happens for a while.
            await asyncio.sleep(1.6)
    assert len(met) > 2
