"""recordLineage: many nodes and edges in one atomic call."""

from __future__ import annotations

from typing import Any

import pytest

from auth import caller
from graph.port import Graph
from lineal.errors import InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers import reading
from resolvers.operation import Operation
from resolvers.writing import importing
from resolvers.writing.importing import record_lineage
from resolvers.writing.models import delete_model
from resolvers.writing.runs import record_run
from resolvers.writing.versions import create_model_version, delete_model_version
from tests.building import sequenced
from tests.resolvers.conftest import Desk, named, refused

STORY: dict[str, Any] = {
    "nodes": [
        {"address": "models:/bert/3", "properties": {"license": "MIT"}, "metrics": [{"name": "f1", "value": 0.5}]},
        {"address": "models:/bert", "tags": named(("a", "b"))},
        {"address": "models:/base", "external": True},
        {"address": "models:/base/1", "external": True},
        {"address": "datasets:/nq", "properties": {"uri": "s3://nq"}},
        {"address": "datasets:/nq/v1"},
        {"address": "fields:/nq/question", "properties": {"type": "text"}},
        {
            "address": "runs:/train",
            "params": named(("lr", "1")),
            "metrics": [{"name": "loss", "value": 1, "step": 2, "time": 3}],
        },
        {"address": "experiments:/e"},
        {"address": "code:/git.example%2Fbert%40abc"},
        {"address": "teams:/search"},
    ],
    "edges": [
        {"from": "models:/bert/3", "kind": "DERIVED_FROM", "to": "models:/base/1", "discriminator": "finetune"},
        {"from": "models:/bert/3", "kind": "PRODUCED_BY", "to": "runs:/train"},
        {"from": "runs:/train", "kind": "READ", "to": "datasets:/nq/v1", "discriminator": "train"},
        {"from": "runs:/train", "kind": "READ", "to": "datasets:/nq"},
        {"from": "runs:/train", "kind": "PART_OF", "to": "experiments:/e"},
        {"from": "runs:/train", "kind": "BUILT_FROM", "to": "code:/git.example%2Fbert%40abc"},
        {"from": "models:/bert", "kind": "ALIAS", "to": "models:/bert/3", "discriminator": "champion"},
        {"from": "models:/bert", "kind": "OWNED_BY", "to": "teams:/search"},
        {"from": "models:/base/1", "kind": "TRAINED_ON", "to": "datasets:/nq", "since": 1, "until": 5},
    ],
}


async def test_records_a_whole_graph_whatever_the_order(desk: Desk, op: Operation) -> None:
    nodes = await record_lineage(op, **STORY)
    assert [n.kind for n in nodes[:3]] == ["ModelVersion", "Model", "Model"]
    assert nodes[0].props == {"number": 3, "license": "MIT"}
    assert nodes[0].container == nodes[1].id
    assert nodes[2].props["external"] is True
    assert nodes[7].container == nodes[8].id
    assert nodes[9].props == {"repository": "git.example/bert", "commit": "abc"}
    assert await desk.leads("models:/bert/3", "VERSION_OF") == {"bert": ""}
    assert await desk.leads("fields:/nq/question", "PART_OF") == {"nq": ""}
    assert await desk.leads("runs:/train", "READ") == {"v1": "train", "unversioned": ""}
    assert (await desk.at("models:/bert@champion")).id == nodes[0].id
    assert await desk.leads("models:/base/1", "TRAINED_ON") == {}
    assert await desk.downstream("datasets:/nq") >= {"train", "3"}
    assert (await create_model_version(op, model="models:/bert")).name == "4"


async def test_the_same_again_changes_nothing(graph: Graph, desk: Desk, op: Operation) -> None:
    first = await record_lineage(op, **STORY)
    again = await record_lineage(op, **STORY)
    assert again == first
    assert (await desk.metrics("runs:/train"))["loss"].count == 1
    assert (await desk.metrics("models:/bert/3"))["f1"].count == 1
    assert [change.action for change in await sequenced(graph)].count("recordLineage") == 1


async def test_what_is_there_gets_what_is_given_and_keeps_the_rest(desk: Desk, op: Operation) -> None:
    first = await record_lineage(op, **STORY)
    version, base = await record_lineage(
        op,
        nodes=[
            {
                "address": first[0].id,
                "properties": {"state": "READY", "license": None},
                "metrics": [{"name": "f1", "value": 0.5}, {"name": "f1", "value": 0.7, "step": 1}],
                "external": True,
            },
            {"address": "models:/base", "external": False},
        ],
    )
    assert version.props == {"number": 3, "state": "READY"}
    assert base.props["external"] is False
    assert (await desk.metrics("models:/bert/3"))["f1"].count == 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"nodes": [{"address": "models:/x/3"}]}, "nodes[0].address"),
        ({"nodes": [{"address": "models:/x@y"}]}, "nodes[0].address"),
        ({"nodes": [{"address": "workspaces:/x"}]}, "nodes[0].address"),
        ({"nodes": [{"address": "nowhere"}]}, "nodes[0].address"),
        ({"nodes": [{"address": "mo_01M855JC7PB9RMJDWNRQH5TDAV"}]}, "nodes[0].address"),
        ({"nodes": [{"address": "models:/ok"}, {"address": "models:/" + "x" * 501}]}, "nodes[1].address"),
        ({"nodes": [{"address": "models:/ok"}, {"address": "models:/ok"}]}, "nodes[1].address"),
        ({"nodes": [{"address": "models:/x", "properties": {"colour": 1}}]}, "nodes[0].properties.colour"),
        ({"nodes": [{"address": "models:/x", "properties": {"task": 1}}]}, "nodes[0].properties.task"),
        ({"nodes": [{"address": "models:/x", "properties": 7}]}, "nodes[0].properties"),
        ({"nodes": [{"address": "models:/x", "properties": ["task"]}]}, "nodes[0].properties"),
        ({"nodes": [{"address": "models:/x", "params": named(("a", "b"))}]}, "nodes[0].params"),
        ({"nodes": [{"address": "models:/x", "tags": named(("a", "b"), ("a", "c"))}]}, "nodes[0].tags[1].name"),
        ({"edges": [{"from": "models:/x/1", "kind": "LOVES", "to": "models:/y/1"}]}, "edges[0].kind"),
        ({"edges": [{"from": "models:/x/1", "kind": "DERIVED_FROM", "to": "models:/y/1"}]}, "edges[0].from"),
        ({"edges": [{"from": "datasets:/x", "kind": "SERVES", "to": "models:/y/1"}]}, "edges[0].from"),
        ({"edges": [{"from": "runs:/x", "kind": "READ", "to": "runs:/x"}]}, "edges[0].to"),
    ],
)
async def test_a_refusal_names_the_place_and_leaves_nothing_behind(
    desk: Desk, op: Operation, wrong: dict[str, Any], field: str
) -> None:
    given = {"nodes": [{"address": "models:/first"}], "edges": [], **wrong}
    with pytest.raises((InvalidArgument, NotFound)) as error:
        await record_lineage(op, **given)
    assert refused(error) == field
    assert await desk.count("Model", "ModelVersion", "Run") == 0


@pytest.mark.parametrize(
    ("edge", "field"),
    [
        ({"to": "models:/bert/9"}, "edges[1].to"),
        ({"kind": "READ", "to": "datasets:/nq/v9", "from": "runs:/train"}, "edges[1].to"),
        ({"kind": "PRODUCED_BY", "discriminator": "x", "to": "runs:/train"}, "edges[1].discriminator"),
        ({"discriminator": "x" * 256}, "edges[1].discriminator"),
        ({"kind": "ALIAS", "from": "models:/bert", "to": "models:/bert/3"}, "edges[1].discriminator"),
        ({"since": 2**62}, "edges[1].since"),
        ({"since": 5, "until": 4}, "edges[1].until"),
        ({"properties": {"weight": 1}}, "edges[1].properties.weight"),
        ({"properties": True}, "edges[1].properties"),
        ({"kind": "VERSION_OF", "to": "datasets:/nq"}, "edges[1].kind"),
    ],
)
async def test_an_edge_that_cannot_be_is_named(desk: Desk, op: Operation, edge: dict[str, Any], field: str) -> None:
    await record_lineage(op, **STORY)
    good: Any = {"from": "models:/base/1", "kind": "SUPERSEDED_BY", "to": "models:/bert/3"}
    wrong: Any = {"from": "models:/bert/3", "kind": "DERIVED_FROM", "to": "models:/base/1", **edge}
    with pytest.raises((InvalidArgument, NotFound)) as error:
        await record_lineage(op, edges=[good, wrong])
    assert refused(error) == field
    assert await desk.leads("models:/base/1", "SUPERSEDED_BY") == {}


async def test_a_cycle_is_refused_whole(desk: Desk, op: Operation) -> None:
    await record_lineage(op, **STORY)
    with pytest.raises(PreconditionFailed, match="cycle"):
        await record_lineage(
            op,
            nodes=[{"address": "models:/third"}],
            edges=[{"from": "datasets:/nq/v1", "kind": "PRODUCED_BY", "to": "runs:/train"}],
        )
    assert await desk.gone("models:/third")


async def test_a_deleted_number_does_not_come_back_but_a_skipped_one_may(desk: Desk, op: Operation) -> None:
    await record_lineage(op, nodes=[{"address": "models:/a"}, {"address": "models:/a/3"}])
    await delete_model_version(op, address="models:/a/3")
    with pytest.raises(PreconditionFailed) as error:
        await record_lineage(op, nodes=[{"address": "models:/a/4"}, {"address": "models:/a/3"}])
    assert refused(error) == "nodes[1].address"
    await record_lineage(op, nodes=[{"address": "models:/a/2"}])
    assert (await create_model_version(op, model="models:/a")).name == "4"
    await delete_model(op, address="models:/a")
    assert await desk.count("ModelVersion") == 0


async def test_more_than_the_limit_is_refused(op: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_ITEMS", 2)
    with pytest.raises(LimitExceeded) as error:
        await record_lineage(op, nodes=[{"address": f"models:/{n}"} for n in "abc"])
    assert error.value.field == "nodes"


async def test_a_long_series_is_not_doubled(desk: Desk, op: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNKS", 1)
    await record_run(op, name="r")
    points: Any = [{"name": "loss", "value": float(i), "step": i} for i in range(2_500)]
    for _ in range(2):
        await record_lineage(op, nodes=[{"address": "runs:/r", "metrics": points}])
    assert (await desk.metrics("runs:/r"))["loss"].count == 2_500


async def test_the_statements_do_not_grow_with_the_items(graph: Graph) -> None:
    counts = []
    for size in (1, 200):
        nodes = [
            item
            for i in range(size)
            for item in (
                {"address": f"models:/m{size}-{i}", "tags": named(("a", "b"))},
                {"address": f"models:/m{size}-{i}/1", "params": named(("a", "b"))},
            )
        ]
        edges = [
            {"from": f"models:/m{size}-{i}/1", "kind": "TRAINED_ON", "to": f"datasets:/d{size}"} for i in range(size)
        ]
        nodes.append({"address": f"datasets:/d{size}"})
        statements: list[int] = []

        async def work(tx: Any, given: Any = (nodes, edges), seen: list[int] = statements) -> None:
            await record_lineage._body(tx, nodes=given[0], edges=given[1])
            seen.append(tx.statements)

        await graph.write(work, by="ann", action="recordLineage")
        counts.append(statements[-1])
    assert counts[0] == counts[1]


async def test_a_version_number_that_no_face_could_show_is_refused(graph: Graph) -> None:
    async with Operation(graph, caller=caller.named("t")) as op:
        with pytest.raises(InvalidArgument, match="no version number"):
            await record_lineage(op, nodes=[{"address": "models:/big"}, {"address": "models:/big/3000000000"}])
        assert await reading.resolve(op, "models:/big") is None
