"""Deleting: a thing goes with its parts, and only when nothing else rests on it."""

from __future__ import annotations

import pytest

from auth.caller import ADMIN, Caller
from auth.scopes import SCOPES
from graph.port import EdgeMatch, NewEdge
from lineal.errors import Conflict, LimitExceeded, PreconditionFailed
from resolvers.operation import Operation
from resolvers.writing import datasets, deleting, deployments, lifecycle, models, runs
from resolvers.writing.evaluations import delete_evaluation, record_evaluation
from resolvers.writing.versions import create_model_version, delete_model_version
from tests import building
from tests.resolvers.conftest import Desk, refused


async def test_a_model_goes_with_its_versions_aliases_and_stages(desk: Desk, op: Operation) -> None:
    await create_model_version(op, model="models:/a", create_model=True, aliases=["champion"], stage="Production")
    await create_model_version(op, model="models:/a", parents=[{"version": "models:/a/1"}])
    deleted = await models.delete_model(op, address="models:/a")
    assert (deleted.node.name, deleted.parts) == ("a", 2)
    assert await desk.gone("models:/a/1")
    assert await desk.count("Model", "ModelVersion") == 0
    assert (await create_model_version(op, model="models:/a", create_model=True)).name == "1"


async def test_a_data_set_that_models_learned_from_stays(desk: Desk, op: Operation) -> None:
    for _ in range(12):
        await create_model_version(
            op, model="models:/a", create_model=True, inputs=[{"dataset": "datasets:/d", "create": True}]
        )
    with pytest.raises(PreconditionFailed) as error:
        await datasets.delete_dataset(op, address="datasets:/d")
    assert refused(error) == "dataset"
    assert "models:/a/1, models:/a/2," in error.value.message
    assert "models:/a/10 and 2 more" in error.value.message
    assert not await desk.gone("datasets:/d/unversioned")


async def test_a_version_that_is_derived_from_served_or_evaluated_stays_until_that_ends(op: Operation) -> None:
    await create_model_version(op, model="models:/a", create_model=True)
    await deployments.record_deployment(op, name="d", serves=[{"version": "models:/a/1"}])
    evaluation = await record_evaluation(op, version="models:/a/1")
    with pytest.raises(PreconditionFailed) as error:
        await delete_model_version(op, address="models:/a/1")
    assert "deployments:/d" in error.value.message
    assert f"evaluations:/{evaluation.name}" in error.value.message
    await deployments.update_deployment(op, address="deployments:/d", serves=[])
    await delete_evaluation(op, address=evaluation.id)
    assert (await delete_model_version(op, address="models:/a/1")).parts == 0


async def test_what_needs_it_and_may_not_be_seen_is_told_of_without_a_name(op: Operation) -> None:
    await building.workspace(op.graph, "secret")
    _, (base, open_one) = await building.model(op.graph, "a", versions=2)
    _, (hidden,) = await building.model(op.graph, "b", versions=1, workspace="secret")
    await building.link(op.graph, *(NewEdge("DERIVED_FROM", one.id, base.id) for one in (open_one, hidden)))
    ann = Caller("corp:ann", frozenset(SCOPES) - {ADMIN}, workspaces=frozenset({"default"}))
    async with Operation(op.graph, caller=ann) as hers:
        with pytest.raises(PreconditionFailed) as some:
            await delete_model_version(hers, address="models:/a/1")
        await building.unlink(op.graph, EdgeMatch("DERIVED_FROM", open_one.id))
        with pytest.raises(PreconditionFailed) as none:
            await delete_model_version(hers, address="models:/a/1")
        assert "needed by models:/a/2, and others that you may not see;" in some.value.message
        assert "needed by something that you may not see;" in none.value.message
        for error in (some, none):
            assert hidden.id not in str((error.value.message, error.value.details))
        await building.unlink(op.graph, EdgeMatch("DERIVED_FROM", hidden.id))
        assert (await delete_model_version(hers, address="models:/a/1")).parts == 0


async def test_a_successor_does_not_stand_in_the_way(op: Operation) -> None:
    await models.register_model(op, name="old")
    await models.register_model(op, name="new")
    await lifecycle.supersede(op, address="models:/old", by="models:/new")
    assert (await models.delete_model(op, address="models:/new")).node.name == "new"


async def test_an_experiment_goes_with_its_runs_but_not_with_what_they_made(desk: Desk, op: Operation) -> None:
    await runs.record_run(op, name="r", experiment="experiments:/e", create_experiment=True)
    await create_model_version(op, model="models:/a", create_model=True, run="runs:/r")
    with pytest.raises(PreconditionFailed, match="models:/a/1"):
        await runs.delete_experiment(op, address="experiments:/e")
    await models.delete_model(op, address="models:/a")
    assert (await runs.delete_experiment(op, address="experiments:/e")).parts == 1
    assert await desk.gone("runs:/r")


async def test_a_pipeline_stays_while_runs_of_an_experiment_are_its_runs(op: Operation) -> None:
    for name, experiment in (("mine", None), ("theirs", "experiments:/e")):
        await runs.record_run(
            op, name=name, pipeline="pipelines:/p", create_pipeline=True, experiment=experiment, create_experiment=True
        )
    with pytest.raises(PreconditionFailed, match="runs:/theirs;"):
        await runs.delete_pipeline(op, address="pipelines:/p")
    await runs.delete_run(op, address="runs:/theirs")
    assert (await runs.delete_pipeline(op, address="pipelines:/p")).parts == 1


async def test_only_the_revision_that_was_read_is_deleted(desk: Desk, op: Operation) -> None:
    await models.register_model(op, name="a")
    await models.update_model(op, address="models:/a", properties={"task": "x"})
    with pytest.raises(Conflict) as error:
        await models.delete_model(op, address="models:/a", revision=1)
    assert refused(error) == "revision"
    assert not await desk.gone("models:/a")


async def test_too_many_parts_at_once_are_refused(op: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "MAX_PARTS", 2)
    await datasets.register_fields(
        op, dataset="datasets:/d", create_dataset=True, fields=[{"name": n} for n in ("a", "b", "c")]
    )
    with pytest.raises(LimitExceeded) as error:
        await datasets.delete_dataset(op, address="datasets:/d")
    assert refused(error) == "dataset"
