"""Several processes share a target: one acts on it at a time, and who lost it does nothing more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graph.port import Lease
from lineal.errors import Conflict
from lineal.observing import METER
from lineal.telemetry import Telemetry
from resolvers import leasing
from serving.port import GUARD
from tests.deploying.conftest import Shop

NAME = "target farm"


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that are over soon."""
    monkeypatch.setattr(leasing, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(leasing, "MARGIN_SECONDS", 0.5)


async def epochs(shop: Shop) -> list[tuple[str, int]]:
    """Who wrote each event, and under which epoch."""
    from graph.port import Hop
    from resolvers.reading import all_links

    node = await shop.node()
    async with shop.registry.graph.snapshot() as snapshot:
        links = (await all_links(snapshot, [node.id], Hop("EVENT_OF", "IN", "DeploymentEvent")))[node.id]
    nodes = sorted((link.node for link in links), key=lambda node: (node.created_at, node.id))
    return [(node.props["holder"], node.props["epoch"]) for node in nodes if "holder" in node.props]


async def test_one_acts_and_another_goes_on_when_it_stops(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    async with shop.looking_after("first"):
        await shop.deploy(one)
        await shop.comes_to("READY", 1)
    async with shop.looking_after("second"), shop.looking_after("third"):
        await shop.deploy(two)
        await shop.comes_to("READY", 2)
    wrote = await epochs(shop)
    holders = dict[int, set[str]]()
    for holder, epoch in wrote:
        holders.setdefault(epoch, set()).add(holder)
    assert [epoch for _, epoch in wrote] == sorted(epoch for _, epoch in wrote)
    assert all(len(each) == 1 for each in holders.values()), "one at a time"
    assert wrote[0][0] == "first"
    assert wrote[-1][0] in {"second", "third"}


async def test_who_was_stopped_for_longer_than_its_lease_writes_nothing_more(shop: Shop) -> None:
    version = await shop.version("1")
    await shop.deploy(version)
    graph, stale = shop.registry.graph, shop.reconciler("stale")
    lease = await graph.claim(NAME, "stale", 0.01)
    assert lease is not None
    held = leasing.Held(lease, float("inf"))
    await asyncio.sleep(0.05)
    taken = await graph.claim(NAME, "other", 60)
    assert taken is not None
    assert taken.epoch == lease.epoch + 1
    with pytest.raises(Conflict):
        await stale._round("farm", shop.targets.adapter("farm"), held, full=True)
    assert (await shop.node()).props["phase"] == "PENDING"
    assert await shop.predict() is None


async def test_who_lost_its_lease_tells_no_lag_of_the_target_any_more(shop: Shop) -> None:
    telemetry = Telemetry()
    token = METER.set(telemetry)
    try:
        version = await shop.version("1")
        await shop.deploy(version)

        def told() -> list[float | None]:
            names = ("lineal_reconciler_waiting", "lineal_reconciler_lag_seconds")
            return [telemetry.registry.get_sample_value(name, {"target": "farm"}) for name in names]

        seen: list[list[float | None]] = []
        held = leasing.Held(Lease(NAME, "x", 1, 0), float("inf"))

        async def observe(_names: object) -> Any:
            seen.append(told())
            held.lost = True
            raise Conflict("the lease is lost")

        reconciler, adapter = shop.reconciler(), shop.targets.adapter("farm")
        adapter.observe = observe  # type: ignore[method-assign, assignment]
        with pytest.raises(Conflict):
            await reconciler._act("farm", held)
        ((waiting, lag),) = seen
        assert (waiting, bool(lag)) == (1, True)
        assert told() == [0, 0]
    finally:
        METER.reset(token)


async def test_who_lost_its_lease_makes_no_further_call(shop: Shop) -> None:
    version = await shop.version("1")
    name = (await shop.deploy(version)).props["platformName"]
    held = leasing.Held(Lease(NAME, "x", 1, 0), float("inf"))
    guarded = GUARD.set(held.check)
    try:
        look = await shop.reconciler()._read("farm", full=True)
        (desired,) = look.desired.values()
        held.lost = True
        with pytest.raises(Conflict):
            await shop.targets.adapter("farm").apply(desired)
    finally:
        GUARD.reset(guarded)
    assert await shop.predict(name) is None


async def test_an_idle_target_is_looked_at_in_few_statements_however_many_deployments_it_has(shop: Shop) -> None:
    version = await shop.version("1")
    reconciler, adapter = shop.reconciler(), shop.targets.adapter("farm")
    lease = await shop.registry.graph.claim(NAME, "one", 600)
    assert lease is not None
    held, counts = leasing.Held(lease, float("inf")), []
    for number in range(6):
        await shop.deploy(version, name=f"search-{number}")
        while (await shop.node(f"deployments:/search-{number}")).props["phase"] != "READY":
            await reconciler._round("farm", adapter, held, full=True)
        counts.append(await statements(shop))
    assert len(set(counts)) == 1


async def statements(shop: Shop) -> int:
    """How many statements a look at everything takes where nothing is to be done."""
    seen: list[int] = []
    graph = shop.registry.graph
    real = graph.snapshot

    def counting(*arguments: object) -> object:
        opened = real(*arguments)  # type: ignore[arg-type]

        class Counted:
            async def __aenter__(self) -> object:
                self.snapshot = await opened.__aenter__()
                return self.snapshot

            async def __aexit__(self, *of: object) -> None:
                seen.append(self.snapshot.statements)
                await opened.__aexit__(*of)  # type: ignore[arg-type]

        return Counted()

    graph.snapshot = counting  # type: ignore[method-assign, assignment]
    try:
        lease = await graph.claim(NAME, "one", 600)
        assert lease is not None
        held = leasing.Held(lease, float("inf"))
        await shop.reconciler()._round("farm", shop.targets.adapter("farm"), held, full=True)
    finally:
        del graph.snapshot
    return sum(seen)
