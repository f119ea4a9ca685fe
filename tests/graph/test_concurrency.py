"""Many writers at once, in one process and in two: nothing is doubled, lost or crossed."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from itertools import pairwise

import pytest

from graph.open import open_graph
from graph.port import EdgeMatch, Graph, NewEdge, NewNode, Point, Transaction
from lineal.errors import PreconditionFailed
from tests import building
from tests.graph.bursting import create_version
from tests.graph.test_faults import MODEL, ROOT, assert_whole, prepare

pytestmark = pytest.mark.soak


async def test_concurrent_versions_of_one_model_from_two_processes_have_the_numbers_1_to_64(store_url: str) -> None:
    async with open_graph(store_url) as graph:
        await prepare(graph)
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.graph.claiming", store_url, MODEL, "32", cwd=ROOT, stdin=PIPE, stdout=PIPE
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        numbers = [[int(n) for n in out.split()] for out, _ in answers]
        assert [len(n) for n in numbers] == [32, 32]
        assert sorted(numbers[0] + numbers[1]) == list(range(1, 65))
        assert len(await assert_whole(graph, [])) == 64


async def test_a_number_is_not_given_again_after_its_version_was_deleted(graph: Graph) -> None:
    await prepare(graph)
    first, second = [await create_version(graph, MODEL) for _ in range(2)]
    await building.remove(graph, second.id)
    third = await create_version(graph, MODEL)
    assert [v.props["number"] for v in (first, second, third)] == [1, 2, 3]


async def test_aliases_that_many_move_at_once_leave_one_open_and_no_gap(graph: Graph) -> None:
    model, versions = await building.model(graph, "m", versions=12)

    async def move(target: str) -> None:
        async def work(tx: Transaction) -> None:
            await tx.lock([model.id])
            await tx.unlink([EdgeMatch("ALIAS", model.id, discriminator="live")])
            await tx.link([NewEdge("ALIAS", model.id, target, "live")])

        await graph.write(work, by="t", action="move")

    await asyncio.gather(*(move(v.id) for v in versions))
    async with graph.snapshot() as snapshot:
        edges = sorted((e for e in await snapshot.edges_from([model.id]) if e.kind == "ALIAS"), key=lambda e: e.since)
    assert [e.until is None for e in edges] == [False] * 11 + [True]
    assert all(earlier.until == later.since for earlier, later in pairwise(edges))
    assert {e.target for e in edges} == {v.id for v in versions}


async def test_writers_cannot_close_a_cycle_together(graph: Graph) -> None:
    for turn in range(5):
        _, (a, b, c) = await building.model(graph, f"m{turn}", versions=3)
        ring = [(a, b), (b, c), (c, a)]
        answers = await asyncio.gather(
            *(building.link(graph, NewEdge("DERIVED_FROM", x.id, y.id, "copy")) for x, y in ring),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, PreconditionFailed) for answer in answers) == 1
        assert sum(isinstance(answer, list) for answer in answers) == 2


async def test_points_that_many_append_at_once_are_all_kept(graph: Graph) -> None:
    (run,) = await building.create(graph, NewNode("Run", "r", "default"))
    await asyncio.gather(
        *(building.log(graph, run.id, *(Point("loss", 1.0, w * 100 + n, 0) for n in range(100))) for w in range(12))
    )
    async with graph.snapshot() as snapshot:
        (metric,) = (await snapshot.metrics([run.id]))[run.id]
        steps = [step for chunk in await snapshot.points([run.id]) for _, step, _ in chunk.points]
    assert (metric.count, metric.step) == (1_200, 1_199)
    assert sorted(steps) == list(range(1_200))


async def test_reads_and_writes_at_once_do_not_wait_for_each_other_forever(graph: Graph) -> None:
    await building.model(graph, "m", versions=3)

    async def read() -> int:
        async with graph.snapshot() as snapshot:
            return len((await snapshot.find("ModelVersion")).items)

    readers = asyncio.gather(*(read() for _ in range(30)))
    await asyncio.gather(*(building.model(graph, f"n{n}", versions=1) for n in range(10)))
    assert all(3 <= seen <= 13 for seen in await readers)
    assert await read() == 13
