"""createModelVersion: the whole story of a version, or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auth import caller
from graph.port import Graph
from lineal.errors import InvalidArgument, NotFound, PreconditionFailed
from resolvers.operation import Operation
from resolvers.writing.datasets import register_dataset, register_dataset_version, register_fields
from resolvers.writing.deleting import Deleted
from resolvers.writing.models import register_model
from resolvers.writing.runs import record_run
from resolvers.writing.versions import create_model_version, delete_model_version, update_model_version
from tests.resolvers.conftest import Desk, named, refused


async def test_tells_the_whole_story_in_one_call(desk: Desk, op: Operation) -> None:
    await create_model_version(op, model="models:/base", create_model=True)
    await register_fields(op, dataset="datasets:/people", create_dataset=True, fields=[{"name": "age"}])
    version = await create_model_version(
        op,
        model="models:/bert",
        create_model=True,
        properties={"description": "Fine.", "frameworks": ["PyTorch"], "releasedAt": 5, "sizeBytes": 7},
        inputs=[{"dataset": "datasets:/nq", "role": "train", "create": True}],
        parents=[{"version": "models:/base/1", "relation": "finetune"}],
        uses=["fields:/people/age"],
        code={"repository": "git.example/bert", "commit": "abc", "branch": "main"},
        params=named(("lr", "0.1")),
        metrics=[{"name": "f1", "value": 0.5}, {"name": "f1", "value": 0.7, "step": 1, "time": 9}],
        tags=named(("team", "search")),
        aliases=["champion"],
        stage="Production",
        artifacts=[{"name": "weights", "uri": "s3://bert", "digest": "sha256:1", "sizeBytes": 3, "mediaType": "a/b"}],
    )
    assert (version.name, version.kind, version.created_by) == ("1", "ModelVersion", "ann")
    assert version.props["state"] == "READY"
    assert version.props["frameworks"] == ["PyTorch"]
    assert version.container == (await desk.at("models:/bert")).id
    assert await desk.leads("models:/bert/1", "VERSION_OF") == {"bert": ""}
    assert await desk.leads("models:/bert/1", "TRAINED_ON") == {"unversioned": "train"}
    assert await desk.leads("models:/bert/1", "DERIVED_FROM") == {"1": "finetune"}
    assert await desk.leads("models:/bert/1", "USES") == {"age": ""}
    assert await desk.leads("models:/bert/1", "BUILT_FROM") == {"git.example/bert@abc": ""}
    assert await desk.leads("models:/bert/1", "HAS_ARTIFACT") == {"sha256:1": "weights"}
    assert await desk.leads("models:/bert", "STAGE") == {"1": "Production"}
    assert (await desk.at("models:/bert@champion")).id == version.id
    assert await desk.own("models:/bert/1", "params") == {"lr": "0.1"}
    assert await desk.own("models:/bert/1", "tags") == {"team": "search"}
    assert (await desk.metrics("models:/bert/1"))["f1"].value == 0.7


async def test_with_a_run_inputs_become_what_the_run_read(desk: Desk, op: Operation) -> None:
    await record_run(op, name="train")
    await create_model_version(
        op,
        model="models:/bert",
        create_model=True,
        run="runs:/train",
        inputs=[{"dataset": "datasets:/nq/v2", "role": "train", "create": True}],
    )
    assert await desk.leads("models:/bert/1", "PRODUCED_BY") == {"train": ""}
    assert await desk.leads("models:/bert/1", "TRAINED_ON") == {}
    assert await desk.leads("runs:/train", "READ") == {"v2": "train"}
    assert await desk.downstream("datasets:/nq") >= {"train", "1"}


async def test_a_known_data_set_without_a_version_gets_its_unversioned_one(desk: Desk, op: Operation) -> None:
    nq = await register_dataset(op, name="nq")
    await create_model_version(
        op,
        model="models:/a",
        create_model=True,
        inputs=[{"dataset": "datasets:/nq"}, {"dataset": nq.id, "role": "test"}],
    )
    assert len(await desk.links("models:/a/1", "TRAINED_ON")) == 2
    assert await desk.count("DatasetVersion") == 1


@pytest.mark.parametrize(
    ("story", "field"),
    [
        ({"model": "models:/absent", "create_model": False}, "model"),
        ({"model": "datasets:/x"}, "model"),
        ({"model": "no address"}, "model"),
        ({"run": "runs:/absent"}, "run"),
        ({"inputs": [{"dataset": "datasets:/a", "create": True}, {"dataset": "datasets:/b"}]}, "inputs[1].dataset"),
        ({"inputs": [{"dataset": "models:/a/1"}]}, "inputs[0].dataset"),
        ({"parents": [{"version": "models:/a/7"}]}, "parents[0].version"),
        ({"parents": [{"version": "models:/a@champion"}]}, "parents[0].version"),
        ({"uses": ["fields:/a/b"]}, "uses[0]"),
        ({"properties": {"parameterCount": "many"}}, "parameterCount"),
        ({"properties": {"number": 7}}, "number"),
        ({"code": {"repository": "", "commit": "c"}}, "code.repository"),
        ({"artifacts": [{"name": "f"}]}, "artifacts[0]"),
        ({"artifacts": [{"name": "f", "uri": "a"}, {"name": "f", "uri": "b"}]}, "artifacts[1].name"),
        ({"aliases": ["good", " "]}, "aliases[1]"),
        ({"stage": "x" * 256}, "stage"),
        ({"tags": named(("a", "1"), ("a", "2"))}, "tags[1].name"),
        ({"metrics": [{"name": "f1", "value": "high"}]}, "metrics[0].value"),
    ],
)
async def test_a_refusal_names_the_place_and_leaves_nothing_behind(
    desk: Desk, op: Operation, story: dict[str, Any], field: str
) -> None:
    with pytest.raises((InvalidArgument, NotFound)) as error:
        await create_model_version(op, **{"model": "models:/bert", "create_model": True, **story})
    assert refused(error) == field
    assert await desk.count("Model", "ModelVersion", "Dataset", "DatasetVersion", "Artifact", "CodeRevision") == 0


async def test_a_version_that_would_be_its_own_ancestor_is_refused_whole(desk: Desk, op: Operation) -> None:
    await record_run(op, name="train")
    await create_model_version(op, model="models:/a", create_model=True, run="runs:/train")
    await register_dataset_version(op, dataset="datasets:/d", create_dataset=True, name="v1", run="runs:/train")
    with pytest.raises(PreconditionFailed, match="cycle") as error:
        await create_model_version(op, model="models:/a", run="runs:/train", inputs=[{"dataset": "datasets:/d/v1"}])
    assert "runs:/train" in error.value.message
    assert await desk.gone("models:/a/2")
    assert (await create_model_version(op, model="models:/a")).name == "2"


async def test_numbers_are_never_used_again(op: Operation) -> None:
    await create_model_version(op, model="models:/a", create_model=True)
    await create_model_version(op, model="models:/a")
    deleted: Deleted = await delete_model_version(op, address="models:/a/2")
    assert deleted.node.name == "2"
    assert (await create_model_version(op, model="models:/a")).name == "3"


async def test_twenty_concurrent_calls_get_the_numbers_one_to_twenty(graph: Graph, op: Operation) -> None:
    await register_model(op, name="a")

    async def one() -> str:
        async with Operation(graph, caller=caller.named("ann")) as own:
            return (await create_model_version(own, model="models:/a")).name

    names = await asyncio.gather(*(one() for _ in range(20)))
    assert sorted(map(int, names)) == list(range(1, 21))


async def test_an_alias_and_a_code_revision_are_taken_over_by_the_next_version(desk: Desk, op: Operation) -> None:
    code: Any = {"repository": "r", "commit": "c"}
    await create_model_version(op, model="models:/a", create_model=True, aliases=["champion"], code=code)
    code["branch"] = "main"
    second = await create_model_version(op, model="models:/a", aliases=["champion"], code=code)
    assert (await desk.at("models:/a@champion")).id == second.id
    assert await desk.count("CodeRevision") == 1
    assert (await desk.links("models:/a/1", "BUILT_FROM"))[0].node.props["branch"] == "main"


async def test_parts_live_in_the_workspace_of_the_model(desk: Desk, op: Operation) -> None:
    from resolvers.writing.workspaces import create_workspace

    await create_workspace(op, name="vision")
    model = await register_model(op, name="resnet", workspace="vision")
    version = await create_model_version(op, model=model.id, artifacts=[{"name": "w", "uri": "s3://w"}])
    assert version.workspace == "vision"
    assert (await desk.links("models:/vision:resnet/1", "HAS_ARTIFACT"))[0].node.workspace == "vision"


async def test_its_properties_can_change_and_go(op: Operation) -> None:
    await create_model_version(op, model="models:/a", create_model=True, properties={"license": "MIT"})
    version = await update_model_version(op, address="models:/a/1", properties={"license": None, "state": "FAILED"})
    assert "license" not in version.props
    assert version.props["state"] == "FAILED"
    assert version.revision == 2


async def test_concurrent_calls_that_make_the_same_model_and_data_set_all_succeed(graph: Graph, desk: Desk) -> None:
    async def one() -> str:
        async with Operation(graph, caller=caller.named("ann")) as own:
            version = await create_model_version(
                own, model="models:/a", create_model=True, inputs=[{"dataset": "datasets:/d", "create": True}]
            )
            return version.name

    names = await asyncio.gather(*(one() for _ in range(8)))
    assert sorted(map(int, names)) == list(range(1, 9))
    assert await desk.count("Model", "Dataset", "DatasetVersion") == 3
