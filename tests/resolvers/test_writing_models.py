"""Models, data sets and workspaces: registered, changed, renamed."""

from __future__ import annotations

import pytest

from auth.caller import ADMIN, Caller
from graph.port import Graph
from lineal.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, PreconditionFailed
from resolvers.operation import Operation
from resolvers.writing import datasets, deployments, models, versions, workspaces
from tests.resolvers.conftest import Desk, named, refused


async def test_a_model_is_registered_with_properties_and_tags(desk: Desk, op: Operation) -> None:
    model = await models.register_model(
        op, name="bert", properties={"task": "embedding", "description": None}, tags=named(("a", "b"))
    )
    assert model.props == {"task": "embedding"}
    assert model.container == model.id
    assert await desk.own("models:/bert", "tags") == {"a": "b"}


async def test_a_name_is_taken_once(op: Operation) -> None:
    first = await models.register_model(op, name="bert")
    with pytest.raises(AlreadyExists) as error:
        await models.register_model(op, name="bert")
    assert refused(error) == "name"
    assert error.value.details["id"] == first.id


async def test_a_workspace_must_be_there(op: Operation) -> None:
    with pytest.raises(NotFound) as error:
        await models.register_model(op, name="bert", workspace="absent")
    assert refused(error) == "workspace"


async def test_an_update_sets_and_removes_what_is_given_and_leaves_the_rest(op: Operation) -> None:
    await models.register_model(op, name="bert", properties={"task": "embedding", "description": "Old."})
    model = await models.update_model(op, address="models:/bert", properties={"description": None}, revision=1)
    assert model.props == {"task": "embedding"}
    assert model.revision == 2


async def test_an_update_of_an_older_revision_names_both(op: Operation) -> None:
    await models.register_model(op, name="bert")
    await models.update_model(op, address="models:/bert", properties={"task": "a"})
    with pytest.raises(Conflict) as error:
        await models.update_model(op, address="models:/bert", properties={"task": "b"}, revision=1)
    assert refused(error) == "revision"
    assert (error.value.details["expected"], error.value.details["actual"]) == (1, 2)


async def test_only_known_properties_of_its_own_can_be_set(op: Operation) -> None:
    await models.register_model(op, name="bert")
    for name in ("lastNumber", "colour"):
        with pytest.raises(InvalidArgument) as error:
            await models.update_model(op, address="models:/bert", properties={name: 1})
        assert refused(error) == name


async def test_after_a_rename_the_old_address_still_leads_there(desk: Desk, op: Operation) -> None:
    model = await models.register_model(op, name="bert")
    await models.rename_model(op, address="models:/bert", name="bert-base")
    assert (await desk.at("models:/bert")).name == "bert-base"
    version = await versions.create_model_version(op, model="models:/bert")
    assert (await desk.at("models:/bert-base/1")).id == version.id
    other = await models.register_model(op, name="bert")
    assert (await desk.at("models:/bert")).id == other.id
    assert (await desk.at("models:/bert-base")).id == model.id


async def test_a_rename_to_a_taken_name_is_refused(op: Operation) -> None:
    await models.register_model(op, name="a")
    await models.register_model(op, name="b")
    with pytest.raises(AlreadyExists) as error:
        await models.rename_model(op, address="models:/a", name="b")
    assert refused(error) == "name"


async def test_a_data_set_version_tells_where_it_came_from(desk: Desk, op: Operation) -> None:
    await datasets.register_dataset_version(op, dataset="datasets:/raw", create_dataset=True, name="v1")
    version = await datasets.register_dataset_version(
        op,
        dataset="datasets:/clean",
        create_dataset=True,
        name="v1",
        properties={"rowCount": 5, "digest": "sha256:1"},
        parents=[{"version": "datasets:/raw/v1", "relation": "filtered"}],
        artifacts=[{"name": "parquet", "uri": "s3://clean"}],
        tags=named(("pii", "no")),
    )
    assert version.props == {"rowCount": 5, "digest": "sha256:1"}
    assert [link.edge.discriminator for link in await desk.links("datasets:/clean/v1", "DERIVED_FROM")] == ["filtered"]
    assert await desk.leads("datasets:/clean/v1", "HAS_ARTIFACT") == {"s3://clean": "parquet"}
    with pytest.raises(NotFound) as error:
        await datasets.register_dataset_version(op, dataset="datasets:/absent", name="v1")
    assert refused(error) == "dataset"


async def test_fields_are_numbered_on_from_the_last(desk: Desk, op: Operation) -> None:
    await datasets.register_dataset(op, name="d")
    await datasets.register_fields(op, dataset="datasets:/d", fields=[{"name": "a", "type": "int"}, {"name": "b"}])
    fields = await datasets.register_fields(
        op,
        dataset="datasets:/d",
        fields=[
            {"name": "c", "derivedFrom": [{"field": "fields:/d/a", "relation": "log"}]},
            {"name": "z", "ordinal": 9},
        ],
    )
    assert [f.props["ordinal"] for f in fields] == [2, 9]
    assert await desk.leads("fields:/d/c", "DERIVED_FROM") == {"a": "log"}
    assert await desk.leads("fields:/d/c", "PART_OF") == {"d": ""}


async def test_fields_are_registered_all_or_none(desk: Desk, op: Operation) -> None:
    await datasets.register_fields(op, dataset="datasets:/d", create_dataset=True, fields=[{"name": "a"}])
    with pytest.raises(AlreadyExists) as taken:
        await datasets.register_fields(op, dataset="datasets:/d", fields=[{"name": "b"}, {"name": "a"}])
    assert refused(taken) == "fields[1].name"
    with pytest.raises(InvalidArgument) as twice:
        await datasets.register_fields(op, dataset="datasets:/d", fields=[{"name": "b"}, {"name": "b"}])
    assert refused(twice) == "fields[1].name"
    with pytest.raises(InvalidArgument) as none:
        await datasets.register_fields(op, dataset="datasets:/d", fields=[])
    assert refused(none) == "fields"
    assert await desk.count("Field") == 1


async def test_a_workspace_is_known_by_name_address_and_id(op: Operation) -> None:
    made = await workspaces.create_workspace(op, name="vision", properties={"description": "Eyes."})
    for i, way in enumerate(("vision", "workspaces:/vision", made.id)):
        changed = await workspaces.update_workspace(op, workspace=way, properties={"description": str(i)})
        assert (changed.id, changed.props["description"]) == (made.id, str(i))
    with pytest.raises(InvalidArgument) as error:
        await workspaces.create_workspace(op, name="Not This")
    assert refused(error) == "name"


async def test_a_workspace_is_deleted_once_it_is_empty(desk: Desk, op: Operation) -> None:
    await workspaces.create_workspace(op, name="vision")
    await models.register_model(op, name="m", workspace="vision")
    await deployments.record_deployment(op, name="d", workspace="vision", environment="environments:/vision:prod")
    with pytest.raises(PreconditionFailed, match="1 Model, 1 Deployment") as error:
        await workspaces.delete_workspace(op, workspace="vision")
    assert refused(error) == "workspace"
    await models.delete_model(op, address="models:/vision:m")
    await deployments.delete_deployment(op, address="deployments:/vision:d")
    assert (await workspaces.delete_workspace(op, workspace="vision")).parts == 1
    assert await desk.gone("workspaces:/vision")
    assert await desk.gone("environments:/vision:prod")


async def test_nobody_makes_a_workspace_of_a_name_that_another_one_had(graph: Graph, op: Operation) -> None:
    await workspaces.create_workspace(op, name="vision")
    await workspaces.delete_workspace(op, workspace="vision")
    async with Operation(graph, caller=Caller("corp:root", frozenset({ADMIN}))) as root:
        for whoever in (op, root):
            with pytest.raises(AlreadyExists, match="there was a Workspace named 'vision'") as error:
                await workspaces.create_workspace(whoever, name="vision")
            assert refused(error) == "name"


async def test_the_default_workspace_stays(op: Operation) -> None:
    with pytest.raises(PreconditionFailed) as error:
        await workspaces.delete_workspace(op, workspace="default")
    assert refused(error) == "workspace"
