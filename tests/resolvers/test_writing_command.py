"""Idempotency keys, and what every use case answers with."""

from __future__ import annotations

import math

import pytest

from auth.caller import named
from graph.port import Graph
from lineal.errors import Conflict, InvalidArgument, NotFound
from resolvers.operation import Operation
from resolvers.writing.datasets import register_fields
from resolvers.writing.models import delete_model, register_model, update_model
from resolvers.writing.runs import log_metrics, record_run
from resolvers.writing.versions import create_model_version
from tests.building import sequenced
from tests.resolvers.conftest import Desk, refused


async def test_the_same_key_with_the_same_input_gives_the_first_answer(desk: Desk, op: Operation) -> None:
    first = await create_model_version.once(op, "k", model="models:/a", create_model=True)
    again = await create_model_version.once(op, "k", model="models:/a", create_model=True)
    assert first is not None
    assert again is not None
    assert again.id == first.id
    assert await desk.count("ModelVersion") == 1


async def test_the_first_answer_is_read_anew(op: Operation) -> None:
    await register_model.once(op, "k", name="a")
    await update_model(op, address="models:/a", properties={"task": "embedding"})
    again = await register_model.once(op, "k", name="a")
    assert again is not None
    assert again.props["task"] == "embedding"


async def test_the_same_key_with_other_input_or_for_another_action_is_a_conflict(desk: Desk, op: Operation) -> None:
    await register_model.once(op, "k", name="a")
    for other in (register_model.once(op, "k", name="b"), record_run.once(op, "k", name="a")):
        with pytest.raises(Conflict) as error:
            await other
        assert refused(error) == "idempotencyKey"
    assert await desk.count("Model", "Run") == 1


async def test_a_key_belongs_to_one_principal(graph: Graph, desk: Desk, op: Operation) -> None:
    await register_model.once(op, "k", name="a")
    async with Operation(graph, caller=named("bob")) as other:
        await register_model.once(other, "k", name="b")
    assert (await desk.at("models:/a")).created_by == "ann"
    await op.close()
    assert (await desk.at("models:/b")).created_by == "bob"


async def test_a_refused_call_leaves_its_key_free(op: Operation) -> None:
    with pytest.raises(NotFound):
        await create_model_version.once(op, "k", model="models:/a")
    await register_model(op, name="a")
    made = await create_model_version.once(op, "k", model="models:/a")
    assert made is not None
    assert made.name == "1"


async def test_many_nodes_come_back_in_their_order(op: Operation) -> None:
    names = ["c", "a", "b"]
    for _ in range(2):
        fields = await register_fields.once(
            op, "k", dataset="datasets:/d", create_dataset=True, fields=[{"name": name} for name in names]
        )
        assert [field.name for field in fields if field is not None] == names


async def test_odd_figures_can_be_under_a_key(desk: Desk, op: Operation) -> None:
    await record_run(op, name="r")
    for _ in range(2):
        await log_metrics.once(op, "k", address="runs:/r", metrics=[{"name": "loss", "value": math.nan}])
    assert (await desk.metrics("runs:/r"))["loss"].count == 1


async def test_what_was_deleted_since_is_not_made_again(op: Operation) -> None:
    await register_model.once(op, "k", name="a")
    await delete_model(op, address="models:/a")
    with pytest.raises(NotFound, match="deleted since"):
        await register_model.once(op, "k", name="a")


@pytest.mark.parametrize("key", ["", " ", "k" * 256])
async def test_a_key_has_1_to_255_characters(op: Operation, key: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await register_model.once(op, key, name="a")
    assert refused(error) == "idempotencyKey"


async def test_each_use_case_is_one_change_with_its_name(graph: Graph, op: Operation) -> None:
    version = await create_model_version(op, model="models:/a", create_model=True, aliases=["x"])
    (change,) = await sequenced(graph, version.id)
    assert (change.action, change.by) == ("createModelVersion", "ann")
