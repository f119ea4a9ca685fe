"""Contract of both stores: what a filter finds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from graph.port import (
    All,
    Any_,
    EdgeMatch,
    Graph,
    Hop,
    Linked,
    NewEdge,
    NewNode,
    Not,
    Order,
    Paging,
    Point,
    Prop,
    Row,
    View,
    Where,
)
from lineal.errors import InvalidArgument
from tests import building


async def names(graph: Graph, kind: str, where: Where | None = None, view: View = View(), **order: Any) -> list[str]:
    async with graph.snapshot(view) as snapshot:
        page = await snapshot.find(kind, where, order=Order(**order), paging=Paging(100))
    return [node.name for node in page.items]


@pytest.fixture
async def models(graph: Graph) -> Graph:
    await building.create(
        graph,
        NewNode("Model", "Ada", "default", props={"task": "text-classification", "external": True}),
        NewNode("Model", "bob", "default", props={"task": "embedding", "external": False}),
        NewNode("Model", "Élan", "default", props={"task": "Embedding"}),
        NewNode("Model", "élite", "default"),
    )
    return graph


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, ["Ada", "bob", "Élan", "élite"]),
        (Prop("name", "eq", "bob"), ["bob"]),
        (Prop("name", "eq", "Bob"), []),
        (Prop("name", "eq", "e\u0301lite"), ["élite"]),
        (Prop("name", "in", ["bob", "Ada", "none"]), ["Ada", "bob"]),
        (Prop("name", "in", []), []),
        (Prop("name", "contains", "L"), ["Élan", "élite"]),
        (Prop("name", "prefix", "É"), ["Élan", "élite"]),
        (Prop("name", "prefix", "A"), ["Ada"]),
        (Prop("task", "eq", "embedding"), ["bob"]),
        (Prop("task", "eq", None), ["élite"]),
        (Prop("task", "in", ["embedding", "Embedding"]), ["bob", "Élan"]),
        (Prop("task", "contains", "bed"), ["bob", "Élan"]),
        (Prop("task", "prefix", "emb"), ["bob"]),
        (Prop("task", "contains", "%"), []),
        (Prop("name", "like", "%b%"), ["bob"]),
        (Prop("name", "like", "A%"), ["Ada"]),
        (Prop("name", "like", "a%"), []),
        (Prop("name", "ilike", "a%"), ["Ada"]),
        (Prop("name", "like", "É_an"), ["Élan"]),
        (Prop("task", "like", "_mbedding"), ["bob", "Élan"]),
        (Prop("task", "like", "embed"), []),
        (Prop("task", "ilike", "EMBED%"), ["bob", "Élan"]),
        (Prop("task", "like", "%"), ["Ada", "bob", "Élan"]),
        (Prop("task", "like", "*"), []),
        (Prop("task", "like", "embe[d]ding"), []),
        (Prop("task", "like", ".*"), []),
        (Prop("external", "eq", True), ["Ada"]),
        (Prop("external", "eq", False), ["bob"]),
        (Prop("external", "eq", None), ["Élan", "élite"]),
        (Prop("workspace", "eq", "default"), ["Ada", "bob", "Élan", "élite"]),
        (Prop("createdBy", "eq", building.BY), ["Ada", "bob", "Élan", "élite"]),
        (Prop("createdBy", "eq", "nobody"), []),
        (Not(Prop("task", "eq", "embedding")), ["Ada", "Élan", "élite"]),
        (Not(Not(Prop("task", "eq", "embedding"))), ["bob"]),
        (All(()), ["Ada", "bob", "Élan", "élite"]),
        (Any_(()), []),
        (All((Prop("task", "eq", "embedding"), Any_(()))), []),
        (All((Prop("task", "eq", "embedding"), Prop("task", "eq", None))), []),
        (All((Prop("task", "eq", "embedding"), Not(Prop("task", "eq", "embedding")))), []),
        (All((Prop("task", "in", ["embedding", "Embedding"]), Not(Prop("task", "eq", "embedding")))), ["Élan"]),
        (All((Prop("task", "gte", "e"), Prop("task", "lt", "f"))), ["bob"]),
        (All((Prop("task", "contains", "emb"), Prop("external", "eq", False))), ["bob"]),
        (Any_((Prop("name", "eq", "Ada"), Prop("task", "eq", None))), ["Ada", "élite"]),
        (Not(Any_((Prop("name", "eq", "Ada"), Prop("task", "eq", None)))), ["bob", "Élan"]),
    ],
    ids=str,
)
async def test_a_filter_on_properties_of_text(models: Graph, where: Where, expected: list[str]) -> None:
    assert await names(models, "Model", where) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Prop("parameterCount", "eq", 10), ["2"]),
        (Prop("parameterCount", "gt", 10), ["3"]),
        (Prop("parameterCount", "gte", 10), ["2", "3"]),
        (Prop("parameterCount", "lt", 10), ["1"]),
        (Prop("parameterCount", "lte", 10), ["1", "2"]),
        (Prop("parameterCount", "in", [1, 2**53 + 1]), ["1", "3"]),
        (Prop("parameterCount", "eq", 2**53 + 1), ["3"]),
        (Prop("parameterCount", "eq", 2**53), []),
        (Prop("parameterCount", "eq", None), ["4"]),
        (Not(Prop("parameterCount", "gt", 10)), ["1", "2", "4"]),
        (Prop("number", "lt", 3), ["1", "2"]),
        (Prop("releasedAt", "gte", 0), ["2"]),
        (Prop("frameworks", "has", "PyTorch"), ["1", "2"]),
        (Prop("frameworks", "has", "Py"), []),
        (Prop("state", "eq", "READY"), ["1"]),
    ],
    ids=str,
)
async def test_a_filter_on_numbers_times_and_lists(graph: Graph, where: Where, expected: list[str]) -> None:
    model, _ = await building.model(graph, "m")
    rows: list[dict[str, Any]] = [
        {"parameterCount": 1, "frameworks": ["PyTorch", "ONNX"], "state": "READY", "releasedAt": -1},
        {"parameterCount": 10, "frameworks": ["PyTorch"], "releasedAt": 0},
        {"parameterCount": 2**53 + 1, "frameworks": []},
        {},
    ]
    await building.create(
        graph,
        *(NewNode("ModelVersion", str(n), "default", model.id, {"number": n, **row}) for n, row in enumerate(rows, 1)),
    )
    assert await names(graph, "ModelVersion", where, by="number") == expected


async def test_a_filter_on_times_of_birth_and_change(graph: Graph) -> None:
    first, _ = await building.model(graph, "first")
    second, _ = await building.model(graph, "second")
    assert first.created_at < second.created_at
    assert await names(graph, "Model", Prop("createdAt", "lt", second.created_at)) == ["first"]
    assert await names(graph, "Model", Prop("updatedAt", "gte", second.updated_at)) == ["second"]
    assert await names(graph, "Model", Prop("id", "in", [first.id, second.id])) == ["first", "second"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Row("tags", "team"), ["a", "b"]),
        (Row("tags", "team", "eq", "nlp"), ["a"]),
        (Row("tags", "team", "in", ["nlp", "vision"]), ["a", "b"]),
        (Row("tags", "team", "contains", "isi"), ["b"]),
        (Row("tags", "team", "prefix", "n"), ["a"]),
        (Row("tags", "Team"), []),
        (Not(Row("tags", "team", "eq", "nlp")), ["b", "c"]),
        (Row("params", "lr", "eq", "1e-3"), ["a"]),
        (Row("params", "lr"), ["a", "c"]),
        (Row("params", "team"), []),
        (All((Row("tags", "team"), Row("params", "lr"))), ["a"]),
    ],
    ids=str,
)
async def test_a_filter_on_tags_and_parameters(graph: Graph, where: Where, expected: list[str]) -> None:
    a, b, c = await building.create(graph, *(NewNode("Run", name, "default") for name in "abc"))
    await building.tag(graph, a.id, team="nlp")
    await building.tag(graph, b.id, team="vision")
    await building.put_params(graph, a.id, lr="1e-3")
    await building.put_params(graph, c.id, lr="0.1")
    assert await names(graph, "Run", where) == expected


METRICS = {"nan": [math.nan], "low": [-math.inf, 0.0], "mid": [0.9, 0.1, 0.5], "high": [math.inf], "none": []}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Row("metrics", "f1"), ["high", "low", "mid", "nan"]),
        (Row("metrics", "f1", "gt", 0.4), ["high", "mid"]),
        (Row("metrics", "f1", "gte", 0.5), ["high", "mid"]),
        (Row("metrics", "f1", "lt", 0.5), ["low"]),
        (Row("metrics", "f1", "lte", 1e308), ["low", "mid"]),
        (Row("metrics", "f1", "eq", 0.5), ["mid"]),
        (Row("metrics", "f1", "eq", math.inf), ["high"]),
        (Row("metrics", "f1", "lt", math.inf), ["low", "mid"]),
        (Row("metrics", "f1", "gt", -math.inf), ["high", "low", "mid"]),
        (Row("metrics", "f1", "eq", -math.inf, "minimum"), ["low"]),
        (Row("metrics", "f1", "gte", 0.9, "maximum"), ["high", "mid"]),
        (Row("metrics", "f1", "lte", 0.1, "minimum"), ["low", "mid"]),
        (Not(Row("metrics", "f1", "gt", 0.4)), ["low", "nan", "none"]),
        (Row("metrics", "loss"), []),
    ],
    ids=str,
)
async def test_a_filter_on_metrics_takes_infinities_as_numbers_and_matches_no_nan(
    graph: Graph, where: Where, expected: list[str]
) -> None:
    await _with_metrics(graph)
    assert await names(graph, "Run", where) == expected


async def _with_metrics(graph: Graph) -> None:
    runs = await building.create(graph, *(NewNode("Run", name, "default") for name in METRICS))
    for run in runs:
        await building.log(graph, run.id, *(Point("f1", v, step, 0) for step, v in enumerate(METRICS[run.name])))


async def test_an_order_by_metric_puts_absent_and_nan_last_in_both_directions(graph: Graph) -> None:
    await _with_metrics(graph)
    async with graph.snapshot() as snapshot:
        runs = {n.id: n.name for n in (await snapshot.find("Run")).items}
    last = [runs[id] for id in sorted(runs) if runs[id] in {"nan", "none"}]
    assert await names(graph, "Run", metric="f1") == ["low", "mid", "high", *last]
    assert await names(graph, "Run", metric="f1", descending=True) == ["high", "mid", "low", *last]


async def test_an_order_puts_absent_values_last_and_equal_ones_by_id(graph: Graph) -> None:
    started = {"a": 5, "b": None, "c": 3, "d": 5, "e": None}
    made = await building.create(
        graph, *(NewNode("Run", n, "default", props={"startedAt": t}) for n, t in started.items())
    )
    by_id = sorted((n.id, n.name) for n in made)
    fives = [name for _, name in by_id if name in "ad"]
    absent = [name for _, name in by_id if name in "be"]
    assert await names(graph, "Run", by="startedAt") == ["c", *fives, *absent]
    assert await names(graph, "Run", by="startedAt", descending=True) == [*fives, "c", *absent]


async def test_names_are_ordered_folded_by_code_point(graph: Graph) -> None:
    given = ["b", "A", "a1", "Ä", "z", "\uff5e", "😀", "ß", "ss", "Ⅳ"]
    await building.create(graph, *(NewNode("Model", n, "default") for n in given))
    from graph.text import fold

    found = await names(graph, "Model")
    assert [fold(n) for n in found] == sorted(map(fold, given))
    assert [fold(n) for n in await names(graph, "Model", descending=True)] == sorted(map(fold, given), reverse=True)


@pytest.fixture
async def family(graph: Graph) -> Graph:
    """bert has version 1, served in prod, and version 2, tagged; gpt has a version nobody serves."""
    bert, (one, two) = await building.model(graph, "bert", versions=2)
    await building.model(graph, "gpt", versions=1)
    await building.model(graph, "empty")
    live, over, prod = await building.create(
        graph,
        NewNode("Deployment", "live", "default"),
        NewNode("Deployment", "over", "default"),
        NewNode("Environment", "prod", "default"),
    )
    await building.link(
        graph,
        NewEdge("SERVES", live.id, one.id),
        NewEdge("SERVES", over.id, two.id),
        NewEdge("ALIAS", bert.id, one.id, "champion"),
        NewEdge("IN_ENVIRONMENT", live.id, prod.id),
    )
    await building.unlink(graph, EdgeMatch("SERVES", over.id))
    await building.tag(graph, two.id, quality="good")
    return graph


OF = Hop("VERSION_OF", "IN", "ModelVersion")
SERVED = Hop("SERVES", "IN", "Deployment")


@pytest.mark.parametrize(
    ("kind", "where", "expected"),
    [
        ("Model", Linked(OF), ["bert", "gpt"]),
        ("Model", Not(Linked(OF)), ["empty"]),
        ("ModelVersion", Linked(SERVED), ["1"]),
        ("Model", Linked(OF, where=Linked(SERVED)), ["bert"]),
        ("Model", Linked(OF, where=Not(Linked(SERVED))), ["bert", "gpt"]),
        ("Model", Linked(OF, where=Row("tags", "quality", "eq", "good")), ["bert"]),
        ("Model", Linked(OF, where=Prop("number", "gte", 2)), ["bert"]),
        ("Model", Linked(Hop("ALIAS", "OUT"), "champion"), ["bert"]),
        ("Model", Linked(Hop("ALIAS", "OUT"), "challenger"), []),
        ("ModelVersion", Linked(Hop("ALIAS", "IN"), "champion"), ["1"]),
        ("Deployment", Linked(Hop("IN_ENVIRONMENT", "OUT"), where=Prop("name", "eq", "prod")), ["live"]),
        (
            "Model",
            Linked(OF, where=Linked(SERVED, where=Linked(Hop("IN_ENVIRONMENT", "OUT", "Environment")))),
            ["bert"],
        ),
    ],
    ids=str,
)
async def test_a_filter_on_neighbours(family: Graph, kind: str, where: Where, expected: list[str]) -> None:
    assert await names(family, kind, where) == expected


async def test_a_neighbour_that_the_view_hides_is_no_neighbour(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    _, (version,) = await building.model(graph, "m", versions=1)
    (deployment,) = await building.create(graph, NewNode("Deployment", "d", "secret"))
    await building.link(graph, NewEdge("SERVES", deployment.id, version.id))
    assert await names(graph, "ModelVersion", Linked(SERVED)) == ["1"]
    seen = View(frozenset({"default"}))
    assert await names(graph, "ModelVersion", Linked(SERVED), seen) == []
    assert await names(graph, "ModelVersion", Not(Linked(SERVED)), seen) == ["1"]


async def test_find_shows_what_the_view_shows_and_nothing_deleted(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    await building.model(graph, "open")
    shared, _ = await building.model(graph, "shared", workspace="secret")
    await building.model(graph, "hidden", workspace="secret")
    gone, _ = await building.model(graph, "gone")
    await building.remove(graph, gone.id)
    view = View(frozenset({"default"}), frozenset({shared.id}))
    assert await names(graph, "Model", view=view) == ["open", "shared"]
    async with graph.snapshot(view) as snapshot:
        assert (await snapshot.find("Model", paging=Paging(1, count=True))).total == 2
    assert await names(graph, "Model") == ["hidden", "open", "shared"]


async def test_a_property_that_the_kind_does_not_have_is_refused_by_name(graph: Graph) -> None:
    with pytest.raises(InvalidArgument, match="number"):
        await names(graph, "Model", Prop("number", "eq", 1))


@pytest.mark.parametrize(
    ("op", "pattern", "expected"),
    [
        ("like", "100%", ["a", "b"]),
        ("like", "100\\%%", []),
        ("like", "%a*b?c[d]%", ["b"]),
        ("like", "%A*B%", []),
        ("ilike", "%A*B?C[D]%", ["b"]),
        ("like", "100% (%\n%", ["a"]),
        ("ilike", "", []),
    ],
)
async def test_a_pattern_is_no_pattern_of_the_store(graph: Graph, op: Any, pattern: str, expected: list[str]) -> None:
    a, b = await building.create(graph, *(NewNode("Model", name, "default") for name in "ab"))
    await building.tag(graph, a.id, note="100% (one\ntwo)")
    await building.tag(graph, b.id, note="100: a*b?c[d] \\")
    assert await names(graph, "Model", Row("tags", "note", op, pattern)) == expected


async def test_parts_are_found_by_the_id_of_their_container(graph: Graph) -> None:
    one, versions = await building.model(graph, "one", versions=2)
    await building.model(graph, "two", versions=1)
    async with graph.snapshot() as snapshot:
        page = await snapshot.find("ModelVersion", Prop("container", "in", [one.id]))
    assert {node.id for node in page.items} == {version.id for version in versions}


@pytest.mark.parametrize("first", [1, 2, 100])
async def test_what_is_equal_in_one_order_is_in_the_next_one(graph: Graph, first: int) -> None:
    for name, count in (("b", 2), ("A", 3)):
        await building.model(graph, name, versions=count)
    await building.create(
        graph, *(NewNode("Model", n, "default", props={"task": t}) for n, t in (("c", "x"), ("d", "x")))
    )
    for order, kind, expected in (
        (Order("containerName", then=(Order("number", descending=True),)), "ModelVersion", "A3 A2 A1 b2 b1"),
        (Order("number", descending=True, then=(Order("containerName"),)), "ModelVersion", "A3 A2 b2 A1 b1"),
        (Order("containerName", descending=True, then=(Order("number"),)), "ModelVersion", "b1 b2 A1 A2 A3"),
        (Order("name", descending=True, then=(Order("createdAt"),)), "Model", "d c b A"),
    ):
        found, after, more = [], None, True
        async with graph.snapshot() as snapshot:
            while more:
                page = await snapshot.find(kind, order=order, paging=Paging(first, after))
                homes = await snapshot.nodes([node.container for node in page.items])
                found += [f"{homes[n.container].name}{n.name if kind == 'ModelVersion' else ''}" for n in page.items]
                after, more = page.cursors[-1] if page.cursors else None, page.has_next
        assert " ".join(found) == expected
