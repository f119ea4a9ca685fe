"""Contract of both stores: what background work keeps is there after the commit, and nothing else tells of it."""

from __future__ import annotations

import asyncio

import pytest

from graph.port import NOTHING, Graph, Kept, Lease, NewNode, Transaction
from lineal.errors import Conflict
from tests import building


def kept(owner: str, number: int, state: str = "WAITING", **data: object) -> Kept:
    return Kept(owner, number, state, data)


async def keep(graph: Graph, *put: Kept, lease: Lease | None = None, **drop: list[int] | None) -> None:
    async def work(tx: Transaction) -> None:
        if lease is not None:
            await tx.fence(lease)
        await tx.keep(put, drop=drop)

    await graph.write(work, by="test", action="keep")


async def there(graph: Graph, *owners: str, states: tuple[str, ...] = ("WAITING", "DONE"), **how: object) -> list[Kept]:
    async with graph.snapshot(NOTHING) as snapshot:
        found = await snapshot.kept(owners, states, **how)  # type: ignore[arg-type]
    return [each for owner in owners for each in found.get(owner, [])]


async def test_what_is_kept_is_read_back_by_owner_and_state_in_order(graph: Graph) -> None:
    ones = [kept("a", 2, text="ü", deep={"n": [1, None]}), kept("a", 1, "DONE"), kept("a", 3), kept("b", -1)]
    await keep(graph, *ones)
    assert await there(graph, "a", "b", "c") == [ones[1], ones[0], ones[2], ones[3]]
    assert await there(graph, "a", states=("WAITING",)) == [ones[0], ones[2]]
    assert await there(graph, "a", states=()) == []


async def test_pages_go_on_after_a_number_in_both_directions_for_each_owner(graph: Graph) -> None:
    await keep(graph, *(kept(owner, number) for owner in "ab" for number in range(5)))
    assert [k.number for k in await there(graph, "a", "b", after=1, limit=2)] == [2, 3, 2, 3]
    assert [k.number for k in await there(graph, "a", descending=True, limit=2)] == [4, 3]
    assert [k.number for k in await there(graph, "a", after=3, descending=True)] == [2, 1, 0]
    assert [k.number for k in await there(graph, "a", after=4)] == []


async def test_what_is_kept_again_takes_the_place_of_what_was(graph: Graph) -> None:
    await keep(graph, kept("a", 1, tries=1))
    await keep(graph, kept("a", 1, "DONE", tries=2))
    assert await there(graph, "a") == [kept("a", 1, "DONE", tries=2)]


async def test_some_numbers_or_all_that_an_owner_has_are_dropped(graph: Graph) -> None:
    await keep(graph, *(kept(owner, number) for owner in "ab" for number in range(4)))
    await keep(graph, kept("a", 9), a=[0, 2, 77], b=None)
    assert [(k.owner, k.number) for k in await there(graph, "a", "b")] == [("a", 1), ("a", 3), ("a", 9)]


async def test_it_leaves_no_change_and_no_node(graph: Graph) -> None:
    before = await building.sequenced(graph)
    await keep(graph, kept("a", 1))
    assert await building.sequenced(graph) == before
    async with graph.snapshot() as snapshot:
        assert {record.node.kind for record in await snapshot.records("", 100)} == {"Workspace"}


async def test_it_is_part_of_a_write_that_does_more_and_goes_with_one_that_fails(graph: Graph) -> None:
    async def work(tx: Transaction) -> None:
        await tx.create([NewNode("Model", "m", "default")])
        await tx.keep([kept("a", 1)])
        raise Conflict("no")

    with pytest.raises(Conflict):
        await graph.write(work, by="test", action="test")
    assert await there(graph, "a") == []


async def test_who_lost_a_lease_keeps_nothing(graph: Graph) -> None:
    lease = await graph.claim("work", "one", 0.01)
    await asyncio.sleep(0.05)
    assert lease is not None
    with pytest.raises(Conflict):
        await keep(graph, kept("a", 1), lease=lease)
    assert await there(graph, "a") == []
