"""Contract of both stores: what an idempotency key did is known for the principal that used it."""

from __future__ import annotations

import asyncio

import pytest

from graph.port import Graph, NewNode, Remembered, Transaction
from tests import building


async def recall(graph: Graph, key: str, by: str = "ada") -> Remembered | None:
    async def work(tx: Transaction) -> Remembered | None:
        return await tx.recall(key)

    return await graph.write(work, by=by, action="recall")


async def once(graph: Graph, key: str, by: str = "ada", name: str = "m") -> list[str]:
    """Make a model at the first call with this key, and give its id at every call."""

    async def work(tx: Transaction) -> list[str]:
        if (done := await tx.recall(key)) is not None:
            return list(done.ids)
        (model,) = await tx.create([NewNode("Model", name, "default")])
        await tx.remember(key, "hash of the input", [model.id])
        return [model.id]

    return await graph.write(work, by=by, action="create")


async def test_a_key_gives_back_its_hash_and_ids(graph: Graph) -> None:
    assert await recall(graph, "k") is None
    ids = await once(graph, "k")
    remembered = await recall(graph, "k")
    assert remembered is not None
    assert (remembered.hash, list(remembered.ids)) == ("hash of the input", ids)
    assert await once(graph, "k") == ids


async def test_a_key_belongs_to_its_principal(graph: Graph) -> None:
    ids = await once(graph, "k", "ada", "a")
    assert await recall(graph, "k", "bob") is None
    assert await once(graph, "k", "bob", "b") != ids
    assert await once(graph, "k", "ada") == ids
    assert await recall(graph, "K", "ada") is None


async def test_a_key_of_a_write_that_failed_is_not_remembered(graph: Graph) -> None:
    async def work(tx: Transaction) -> None:
        await tx.remember("k", "h", [])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await graph.write(work, by="ada", action="fail")
    assert await recall(graph, "k") is None


async def test_many_calls_at_once_with_one_key_do_it_once(graph: Graph) -> None:
    answers = await asyncio.gather(*(once(graph, "k") for _ in range(8)))
    assert len({tuple(a) for a in answers}) == 1
    assert len(await building.sequenced(graph)) == 1
