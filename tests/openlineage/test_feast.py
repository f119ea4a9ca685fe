"""Model versions that name a feature service of Feast in a tag, whichever of the two comes first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from graph.address import Address
from resolvers.operation import Operation
from resolvers.registry import changing
from resolvers.registry.changing import At
from resolvers.writing.importing import record_lineage
from resolvers.writing.lifecycle import delete_tags, set_tags
from resolvers.writing.versions import create_model_version
from tests import building
from tests.openlineage.conftest import Listener
from tests.openlineage.inventing import at, data, event, job

TAG = "feast.feature_service"


def service(minute: int, name: str, *features: str) -> dict[str, Any]:
    """What Feast tells of a feature service when it is applied."""
    schema = {"fields": [{"name": feature, "type": "float"} for feature in features]}
    output = data(name, namespace="shop", feast_featureService={}, schema=schema)
    return event(at(minute), job=job(f"feast-{name}"), outputs=[output])


async def by_use_case(op: Operation, value: str) -> None:
    await set_tags(op, address="models:/churn/1", tags=[{"name": TAG, "value": value}])


async def by_mlflow(op: Operation, value: str) -> None:
    await changing.set_tag(op, at=At("default", "churn", 1), tag=TAG, value=value)


async def by_import(op: Operation, value: str) -> None:
    await record_lineage(op, nodes=[{"address": "models:/churn/1", "tags": [{"name": TAG, "value": value}]}])


SETTING = [by_use_case, by_mlflow, by_import]
Setting = Callable[[Operation, str], Awaitable[None]]


async def used(listener: Listener) -> set[tuple[str, str]]:
    """Which versions take which features."""
    return (await listener.picture()).leads("USES")


@pytest.mark.parametrize("tag", SETTING)
async def test_a_version_takes_the_features_that_its_tag_names_whenever_it_is_set(
    listener: Listener, tag: Setting
) -> None:
    await building.model(listener.graph, "churn", versions=1)
    await listener.hear(service(1, "churn", "total", "count"), service(1, "spent", "total"))
    async with Operation(listener.graph) as op:
        await tag(op, "shop:churn")
        assert await used(listener) == {("churn/1", "shop#churn/total"), ("churn/1", "shop#churn/count")}
        await tag(op, "shop:spent")
        assert await used(listener) == {("churn/1", "shop#spent/total")}
        await delete_tags(op, address="models:/churn/1", names=[TAG, "other"])
        assert not await used(listener)
        await tag(op, "shop:unknown")
        await tag(op, "none of Feast's")
        assert not await used(listener)


async def test_versions_take_the_features_of_a_service_that_comes_later_and_what_it_gets(listener: Listener) -> None:
    await building.workspace(listener.graph, "other")
    async with Operation(listener.graph) as op:
        for workspace, name in (("default", "shop:churn"), ("default", "shop:spent"), ("other", "shop:churn")):
            model = str(Address("Model", workspace, "churn"))
            await create_model_version(op, model=model, create_model=True, tags=[{"name": TAG, "value": name}])
    await listener.hear(service(1, "churn", "total"))
    assert await used(listener) == {("churn/1", "shop#churn/total")}
    await listener.hear(service(2, "churn", "total", "count"))
    assert await used(listener) == {("churn/1", "shop#churn/total"), ("churn/1", "shop#churn/count")}
    assert not (await listener.picture("other")).leads("USES")
