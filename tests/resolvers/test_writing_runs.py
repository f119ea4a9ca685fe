"""Runs and evaluations: recorded whole, or as they go on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lineal.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, PreconditionFailed
from resolvers.operation import Operation
from resolvers.writing import runs
from resolvers.writing.datasets import register_fields
from resolvers.writing.evaluations import record_evaluation
from resolvers.writing.versions import create_model_version
from resolvers.writing.workspaces import create_workspace
from tests.resolvers.conftest import Desk, named, refused


async def test_tells_the_whole_story_in_one_call(desk: Desk, op: Operation) -> None:
    await create_model_version(op, model="models:/base", create_model=True)
    await register_fields(op, dataset="datasets:/people", create_dataset=True, fields=[{"name": "age"}])
    await runs.record_run(op, name="sweep")
    run = await runs.record_run(
        op,
        name="train",
        experiment="experiments:/e",
        create_experiment=True,
        pipeline="pipelines:/p",
        create_pipeline=True,
        parent="runs:/sweep",
        properties={"startedAt": 5, "endedAt": 9, "uri": "http://tracker"},
        inputs=[
            {"address": "datasets:/nq", "role": "train", "create": True},
            {"address": "models:/base/1", "role": "base"},
            {"address": "fields:/people/age"},
        ],
        outputs=[{"dataset": "datasets:/embedded/v1", "create": True}],
        code={"repository": "r", "commit": "c"},
        params=named(("lr", "0.1")),
        metrics=[{"name": "loss", "value": math.inf}],
        tags=named(("a", "b")),
        artifacts=[{"name": "log", "uri": "s3://log"}],
    )
    assert run.props == {"state": "FINISHED", "startedAt": 5, "endedAt": 9, "uri": "http://tracker"}
    assert run.container == (await desk.at("experiments:/e")).id
    assert await desk.leads("runs:/train", "PART_OF") == {"e": "", "sweep": ""}
    assert await desk.leads("runs:/train", "RUN_OF") == {"p": ""}
    assert await desk.leads("runs:/train", "READ") == {"unversioned": "train", "1": "base", "age": ""}
    assert await desk.leads("datasets:/embedded/v1", "PRODUCED_BY") == {"train": ""}
    assert await desk.leads("runs:/train", "BUILT_FROM") == {"r@c": ""}
    assert await desk.leads("runs:/train", "HAS_ARTIFACT") == {"s3://log": "log"}
    assert (await desk.metrics("runs:/train"))["loss"].value == math.inf


async def test_without_a_name_it_is_named_by_its_id_and_contains_itself(op: Operation) -> None:
    run = await runs.record_run(op)
    assert (run.name, run.container) == (run.id, run.id)
    assert run.props["state"] == "RUNNING"
    assert run.props["startedAt"] == run.created_at


async def test_without_an_experiment_its_pipeline_contains_it(desk: Desk, op: Operation) -> None:
    run = await runs.record_run(op, pipeline="pipelines:/p", create_pipeline=True)
    assert run.container == (await desk.at("pipelines:/p")).id


async def test_it_lives_where_its_experiment_lives(op: Operation) -> None:
    await create_workspace(op, name="vision")
    await runs.create_experiment(op, name="e", workspace="vision")
    assert (await runs.record_run(op, experiment="experiments:/vision:e")).workspace == "vision"
    assert (await runs.record_run(op, experiment="experiments:/vision:e", workspace="default")).workspace == "default"


@pytest.mark.parametrize(
    ("story", "field"),
    [
        ({"experiment": "experiments:/absent"}, "experiment"),
        ({"pipeline": "pipelines:/absent"}, "pipeline"),
        ({"parent": "runs:/absent", "experiment": "experiments:/e", "create_experiment": True}, "parent"),
        ({"inputs": [{"address": "datasets:/absent"}]}, "inputs[0].address"),
        ({"inputs": [{"address": "models:/absent/1", "create": True}]}, "inputs[0].address"),
        ({"inputs": [{"address": "runs:/a"}]}, "inputs[0].address"),
        ({"outputs": [{"dataset": "datasets:/absent/v1"}]}, "outputs[0].dataset"),
        ({"properties": {"startedAt": 9, "endedAt": 5}}, "endedAt"),
        ({"properties": {"state": "RUNNING", "endedAt": 5}}, "endedAt"),
        ({"properties": {"state": "DONE"}}, "state"),
    ],
)
async def test_a_refusal_names_the_place_and_leaves_nothing_behind(
    desk: Desk, op: Operation, story: dict[str, Any], field: str
) -> None:
    with pytest.raises((InvalidArgument, NotFound)) as error:
        await runs.record_run(op, **story)
    assert refused(error) == field
    assert await desk.count("Run", "Experiment", "Pipeline", "Dataset") == 0


async def test_a_data_set_version_is_made_by_one_run(op: Operation) -> None:
    await runs.record_run(op, outputs=[{"dataset": "datasets:/d/v1", "create": True}])
    with pytest.raises(AlreadyExists):
        await runs.record_run(op, outputs=[{"dataset": "datasets:/d/v1"}])


async def test_a_run_that_ends_now_gets_its_end_now(op: Operation) -> None:
    await runs.record_run(op, name="r")
    run = await runs.update_run(op, address="runs:/r", properties={"state": "FAILED"})
    assert run.props["endedAt"] == run.updated_at


async def test_a_scheduled_run_begins_when_it_runs(op: Operation) -> None:
    assert "startedAt" not in (await runs.record_run(op, name="r", properties={"state": "SCHEDULED"})).props
    run = await runs.update_run(op, address="runs:/r", properties={"state": "RUNNING"})
    assert run.props["startedAt"] == run.updated_at


async def test_an_ended_run_goes_on_only_when_reopened(op: Operation) -> None:
    await runs.record_run(op, name="r", properties={"state": "FINISHED", "endedAt": 9})
    with pytest.raises(PreconditionFailed) as error:
        await runs.update_run(op, address="runs:/r", properties={"state": "RUNNING"})
    assert refused(error) == "state"
    run = await runs.update_run(op, address="runs:/r", properties={"state": "RUNNING"}, reopen=True)
    assert run.props["state"] == "RUNNING"
    assert "endedAt" not in run.props


async def test_a_run_always_has_a_state(op: Operation) -> None:
    await runs.record_run(op, name="r")
    with pytest.raises(InvalidArgument) as error:
        await runs.update_run(op, address="runs:/r", properties={"state": None})
    assert refused(error) == "state"


async def test_metrics_are_appended_while_it_goes_on_and_after(desk: Desk, op: Operation) -> None:
    await runs.record_run(op, name="r", metrics=[{"name": "loss", "value": 3.0}])
    await runs.log_metrics(op, address="runs:/r", metrics=[{"name": "loss", "value": 2.0, "step": 1}])
    await runs.update_run(op, address="runs:/r", properties={"state": "FINISHED"})
    run = await runs.log_metrics(op, address="runs:/r", metrics=[{"name": "loss", "value": 1.0, "step": 2}])
    loss = (await desk.metrics("runs:/r"))["loss"]
    assert (loss.count, loss.value, loss.maximum) == (3, 1.0, 3.0)
    assert run.revision == 2


async def test_a_parameter_keeps_its_value(desk: Desk, op: Operation) -> None:
    await runs.record_run(op, name="r", params=named(("lr", "0.1")))
    await runs.log_params(op, address="runs:/r", params=named(("lr", "0.1"), ("epochs", "3")))
    with pytest.raises(Conflict) as error:
        await runs.log_params(op, address="runs:/r", params=named(("seed", "1"), ("lr", "0.2")))
    assert refused(error) == "params[1].value"
    assert await desk.own("runs:/r", "params") == {"epochs": "3", "lr": "0.1"}


async def test_an_evaluation_names_version_data_and_run(desk: Desk, op: Operation) -> None:
    await create_model_version(op, model="models:/a", create_model=True)
    await runs.record_run(op, name="r")
    await record_evaluation(
        op,
        version="models:/a/1",
        name="e",
        dataset="datasets:/test",
        create_dataset=True,
        run="runs:/r",
        metrics=[{"name": "f1", "value": 0.5}],
        params=named(("k", "10")),
    )
    assert await desk.leads("evaluations:/e", "EVALUATES") == {"1": ""}
    assert await desk.leads("evaluations:/e", "EVALUATED_ON") == {"unversioned": ""}
    assert await desk.leads("evaluations:/e", "PRODUCED_BY") == {"r": ""}
    assert (await desk.metrics("evaluations:/e"))["f1"].value == 0.5
    with pytest.raises(NotFound) as error:
        await record_evaluation(op, version="models:/a/1", dataset="datasets:/absent")
    assert refused(error) == "dataset"
