"""Contract of both stores: tags, parameters, metrics and their series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from graph.port import CHUNK, Chunk, Graph, Metric, NewNode, Node, Point, Transaction
from lineal.errors import InvalidArgument, LimitExceeded, NotFound
from tests import building


async def a_run(graph: Graph, name: str = "r") -> Node:
    (run,) = await building.create(graph, NewNode("Run", name, "default"))
    return run


async def the_metric(graph: Graph, id: str) -> Metric:
    async with graph.snapshot() as snapshot:
        (metric,) = (await snapshot.metrics([id]))[id]
    return metric


async def the_chunks(graph: Graph, *ids: str, after: int = -1, chunks: int = 10) -> list[Chunk]:
    async with graph.snapshot() as snapshot:
        return await snapshot.points(ids, after=after, chunks=chunks)


async def test_tags_and_parameters_come_back_by_name_in_code_point_order(graph: Graph) -> None:
    run = await a_run(graph)
    names = ["b", "a", "Z", "é", "😀", "\ufffd", "with space", "a.b/c"]
    await building.tag(graph, run.id, **{n: f"tag {n}" for n in names})
    await building.put_params(graph, run.id, **dict.fromkeys(names, ""))
    async with graph.snapshot() as snapshot:
        tags = (await snapshot.rows([run.id], "tags"))[run.id]
        assert list(tags.items()) == [(n, f"tag {n}") for n in sorted(names)]
        assert list((await snapshot.rows([run.id], "params"))[run.id]) == sorted(names)
        assert await snapshot.rows([run.id], "tags", ["Z", "none"]) == {run.id: {"Z": "tag Z"}}
        assert await snapshot.rows([run.id], "tags", ["none"]) == {}


async def test_owners_without_rows_are_missing(graph: Graph) -> None:
    run, bare = await a_run(graph, "r"), await a_run(graph, "bare")
    await building.tag(graph, run.id, a="1")
    async with graph.snapshot() as snapshot:
        assert await snapshot.rows([run.id, bare.id], "tags") == {run.id: {"a": "1"}}
        assert await snapshot.rows([run.id], "params") == {}
        assert await snapshot.metrics([run.id, bare.id]) == {}
        assert await snapshot.points([run.id]) == []


async def test_setting_a_tag_counts_as_a_change_of_its_owner_only_when_it_changes_something(graph: Graph) -> None:
    run = await a_run(graph)
    revisions = []
    for tags in ({"a": "1"}, {"a": "1"}, {"a": "2", "b": "1"}, {"b": None}, {"none": None}, {}):
        await building.tag(graph, run.id, **tags)
        now = await building.node(graph, run.id)
        assert now is not None
        revisions.append(now.revision)
    assert revisions == [2, 2, 3, 4, 4, 4]
    async with graph.snapshot() as snapshot:
        assert await snapshot.rows([run.id], "tags") == {run.id: {"a": "2"}}


async def test_a_metric_keeps_its_last_least_and_greatest_value(graph: Graph) -> None:
    run = await a_run(graph)
    await building.log(graph, run.id, Point("f1", 0.5, 2, 20), Point("f1", 0.9, 1, 30))
    assert await the_metric(graph, run.id) == Metric("f1", 0.5, 0.5, 0.9, 2, 20, 2)
    await building.log(graph, run.id, Point("f1", 0.1, 2, 20))
    assert await the_metric(graph, run.id) == Metric("f1", 0.1, 0.1, 0.9, 2, 20, 3)
    await building.log(graph, run.id, Point("f1", 0.2, 2, 19), Point("f1", 0.3, -5, 99))
    assert await the_metric(graph, run.id) == Metric("f1", 0.1, 0.1, 0.9, 2, 20, 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([math.nan], (math.nan, math.nan, math.nan)),
        ([1.0, math.nan], (math.nan, 1.0, 1.0)),
        ([math.nan, 2.0, -math.inf], (-math.inf, -math.inf, 2.0)),
        ([math.inf, 0.0], (0.0, 0.0, math.inf)),
        ([5e-324, 1.7976931348623157e308], (1.7976931348623157e308, 5e-324, 1.7976931348623157e308)),
    ],
    ids=str,
)
async def test_nan_and_infinities_are_kept(graph: Graph, values: list[float], expected: tuple[float, ...]) -> None:
    run = await a_run(graph)
    await building.log(graph, run.id, *(Point("m", v, step, 0) for step, v in enumerate(values)))
    metric = await the_metric(graph, run.id)
    assert list(map(repr, (metric.value, metric.minimum, metric.maximum))) == list(map(repr, expected))
    (chunk,) = await the_chunks(graph, run.id)
    assert [repr(p[0]) for p in chunk.points] == list(map(repr, values))


async def test_metrics_come_back_by_name_and_logging_leaves_the_revision(graph: Graph) -> None:
    run = await a_run(graph)
    await building.log(graph, run.id, *(Point(name, 1.0, 0, 0) for name in ["b", "a", "😀", "\ufffd", "Z"]))
    async with graph.snapshot() as snapshot:
        assert [m.name for m in (await snapshot.metrics([run.id]))[run.id]] == ["Z", "a", "b", "\ufffd", "😀"]
        assert [m.name for m in (await snapshot.metrics([run.id], ["a", "none"]))[run.id]] == ["a"]
    assert await building.node(graph, run.id) == run


@pytest.mark.parametrize("sizes", [[1, 998, 1, 1, 1001], [2500], [1000, 1000], [999, 2]], ids=str)
async def test_a_series_is_kept_in_order_in_chunks_of_a_thousand(graph: Graph, sizes: Sequence[int]) -> None:
    run = await a_run(graph)
    expected: list[tuple[float, int, int]] = []
    for size in sizes:
        fresh = [(float(n), n, n * 2) for n in range(len(expected), len(expected) + size)]
        await building.log(graph, run.id, *(Point("loss", *p) for p in fresh))
        expected += fresh
    chunks = await the_chunks(graph, run.id)
    assert [c.number for c in chunks] == list(range(math.ceil(len(expected) / CHUNK)))
    assert [len(c.points) for c in chunks[:-1]] == [CHUNK] * (len(chunks) - 1)
    assert [tuple(p) for c in chunks for p in c.points] == expected
    assert (await the_metric(graph, run.id)).count == len(expected)


async def test_chunks_come_by_owner_name_and_number_and_go_on_after_one(graph: Graph) -> None:
    runs = sorted([await a_run(graph, n) for n in "xy"], key=lambda r: r.id)
    for run in runs:
        await building.log(graph, run.id, *(Point(name, 0.0, n, 0) for name in ("b", "a") for n in range(2_100)))
    ids = [run.id for run in runs]
    series = [(id, name) for id in ids for name in "ab"]
    everything = await the_chunks(graph, *ids)
    assert [(c.owner, c.name, c.number) for c in everything] == [(*s, n) for s in series for n in range(3)]
    first = await the_chunks(graph, *ids, chunks=2)
    assert [(c.owner, c.name, c.number) for c in first] == [(*s, n) for s in series for n in range(2)]
    rest = await the_chunks(graph, *ids, after=1, chunks=2)
    assert [(c.owner, c.name, c.number) for c in rest] == [(*s, 2) for s in series]
    async with graph.snapshot() as snapshot:
        assert {c.name for c in await snapshot.points(ids, ["b"])} == {"b"}


async def test_points_logged_twice_in_one_transaction_follow_each_other(graph: Graph) -> None:
    run = await a_run(graph)

    async def work(tx: Transaction) -> None:
        await tx.log_metrics({run.id: [Point("m", 1.0, 0, 0)]})
        await tx.log_metrics({run.id: [Point("m", 2.0, 1, 0)]})

    await graph.write(work, by="t", action="log")
    assert (await the_metric(graph, run.id)).count == 2
    assert [tuple(p) for c in await the_chunks(graph, run.id) for p in c.points] == [(1.0, 0, 0), (2.0, 1, 0)]


async def test_rows_of_what_may_not_have_them_are_refused(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    with pytest.raises(InvalidArgument, match="a Model has no parameters"):
        await building.put_params(graph, model.id, lr="1")
    with pytest.raises(InvalidArgument, match="Model has no metrics"):
        await building.log(graph, model.id, Point("f1", 1.0, 0, 0))
    with pytest.raises(NotFound):
        await building.tag(graph, "mo_00000000000000000000000000", a="1")
    with pytest.raises(NotFound):
        await building.log(graph, "ru_00000000000000000000000000", Point("f1", 1.0, 0, 0))


@pytest.mark.parametrize("name", ["", "  ", "x" * 251, "a\0b"], ids=repr)
async def test_a_name_of_a_tag_is_text_of_some_length(graph: Graph, name: str) -> None:
    run = await a_run(graph)
    with pytest.raises(InvalidArgument, match="1 to 250 characters"):
        await building.tag(graph, run.id, **{name: "x"})


async def test_a_call_takes_ten_thousand_rows_and_no_more(graph: Graph) -> None:
    run = await a_run(graph)
    with pytest.raises(LimitExceeded, match="at most 10000"):
        await building.log(graph, run.id, *(Point("m", 0.0, n, 0) for n in range(10_001)))
    with pytest.raises(LimitExceeded, match="at most 10000"):
        await building.tag(graph, run.id, **{f"t{n}": "" for n in range(10_001)})
    with pytest.raises(InvalidArgument, match="64 bits"):
        await building.log(graph, run.id, Point("m", 0.0, 2**63, 0))
