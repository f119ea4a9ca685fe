"""Contract of both stores: leases have one holder at a time, and epochs fence the old one off."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from graph.port import Graph, Lease, NewNode, Transaction
from lineal.errors import Conflict
from tests import building


async def claimed(graph: Graph, holder: str, seconds: float = 60) -> Lease:
    lease = await graph.claim("work", holder, seconds)
    assert lease is not None
    return lease


async def test_one_holds_a_lease_and_others_wait(graph: Graph) -> None:
    lease = await claimed(graph, "a")
    assert (lease.name, lease.holder, lease.epoch) == ("work", "a", 1)
    assert await graph.claim("work", "b", 60) is None
    assert await graph.claim("other", "b", 60) is not None


async def test_a_holder_renews_its_lease_in_the_same_epoch(graph: Graph) -> None:
    lease = await claimed(graph, "a", 30)
    again = await claimed(graph, "a", 60)
    assert again.epoch == lease.epoch
    assert again.until > lease.until


async def test_a_lease_given_back_goes_to_the_next_with_a_higher_epoch(graph: Graph) -> None:
    lease = await claimed(graph, "a")
    await graph.release(lease)
    assert (await claimed(graph, "b")).epoch == lease.epoch + 1


async def test_a_lease_that_ran_out_goes_to_another_and_its_old_release_has_no_effect(graph: Graph) -> None:
    old = await claimed(graph, "a", 0.01)
    await asyncio.sleep(0.05)
    new = await claimed(graph, "b")
    assert new.epoch == old.epoch + 1
    await graph.release(old)
    assert await graph.claim("work", "c", 60) is None


async def test_of_many_who_claim_at_once_one_gets_it(graph: Graph) -> None:
    answers = await asyncio.gather(*(graph.claim("work", f"holder {n}", 60) for n in range(8)))
    assert sum(a is not None for a in answers) == 1


async def write_under(graph: Graph, lease: Lease, name: str) -> None:
    async def work(tx: Transaction) -> None:
        await tx.fence(lease)
        await tx.create([NewNode("Model", name, "default")])

    await graph.write(work, by="test", action="test")


async def test_who_holds_a_lease_writes_under_it(graph: Graph) -> None:
    await write_under(graph, await claimed(graph, "a"), "m")
    async with graph.snapshot() as snapshot:
        assert len((await snapshot.find("Model")).items) == 1


@pytest.mark.parametrize("wrong", ["ran out", "taken over", "given back", "another epoch", "unknown"])
async def test_who_holds_a_lease_no_more_writes_nothing(graph: Graph, wrong: str) -> None:
    lease = await claimed(graph, "a", 0.01 if wrong in {"ran out", "taken over"} else 60)
    await asyncio.sleep(0.05)
    if wrong == "taken over":
        await claimed(graph, "b")
    elif wrong == "given back":
        await graph.release(lease)
    elif wrong == "another epoch":
        lease = replace(lease, epoch=lease.epoch - 1)
    elif wrong == "unknown":
        lease = replace(lease, name="nothing")
    with pytest.raises(Conflict):
        await write_under(graph, lease, "m")
    async with graph.snapshot() as snapshot:
        assert len((await snapshot.find("Model")).items) == 0


async def test_a_lease_is_not_taken_over_before_a_write_under_it_is_committed(graph: Graph) -> None:
    lease, fenced, go_on = await claimed(graph, "a", 0.5), asyncio.Event(), asyncio.Event()

    async def work(tx: Transaction) -> None:
        await tx.fence(lease)
        fenced.set()
        await go_on.wait()
        await tx.create([NewNode("Model", "m", "default")])

    writing = asyncio.create_task(graph.write(work, by="test", action="test"))
    await fenced.wait()
    taking = asyncio.create_task(graph.claim("work", "b", 60))
    await asyncio.sleep(0.6)
    assert not taking.done()
    go_on.set()
    await writing
    taken = await taking
    assert taken is not None
    assert taken.epoch == lease.epoch + 1


async def test_a_fenced_off_sequencer_gives_no_numbers(neo4j_graph: Graph) -> None:
    old = await claimed(neo4j_graph, "a", 0.01)
    await asyncio.sleep(0.05)
    new = await claimed(neo4j_graph, "b")
    await building.model(neo4j_graph, "m")
    assert await neo4j_graph.sequence(old) == 0
    assert await neo4j_graph.sequence(new) == 1


async def test_a_store_that_sequences_in_the_write_has_nothing_waiting(sqlite_graph: Graph) -> None:
    await building.model(sqlite_graph, "m")
    assert await sqlite_graph.sequence() == 0
    async with sqlite_graph.snapshot() as snapshot:
        assert [c.seq for c in await snapshot.changes()] == [1]
