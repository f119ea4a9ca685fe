"""Contract of both stores: leases have one holder at a time, and epochs fence the old one off."""

from __future__ import annotations

import asyncio

from graph.port import Graph, Lease
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
