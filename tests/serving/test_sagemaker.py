"""What is special about SageMaker: configurations that never change, updates that go back by themselves, tags."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from lineal.errors import InvalidArgument, PreconditionFailed
from serving.port import Adapter, Desired, Observed, Served, State, fulfils
from tests.serving import rigs
from tests.serving.sagemaker_rig import IMAGE, INSTANCES, REGION, SageMakerRig


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SageMakerRig]:
    rig = SageMakerRig(tmp_path_factory.mktemp("sagemaker"))
    try:
        rig.start()
        yield rig
    finally:
        rig.close()


@pytest.fixture
def rig(started: SageMakerRig, monkeypatch: pytest.MonkeyPatch) -> SageMakerRig:
    monkeypatch.setenv("RIG_SECRET", rigs.SECRET)
    started.faults.clear()
    return started


@pytest.fixture
async def adapter(rig: SageMakerRig) -> AsyncIterator[Adapter]:
    async with rig.adapter() as adapter:
        yield adapter


@pytest.fixture
def name() -> str:
    return f"m-{uuid4().hex[:12]}"


def wants(rig: SageMakerRig, name: str, weights: Mapping[int, float], **settings: Any) -> Desired:
    served = tuple(Served(number, weight, rig.source(number)) for number, weight in weights.items())
    return Desired(name, 1, served, INSTANCES, {**IMAGE, **settings})


async def settled(adapter: Adapter, wanted: Desired, until: Callable[[Observed], bool] | None = None) -> Observed:
    end = time.monotonic() + 60
    while True:
        there = (await adapter.observe([wanted.name]))[wanted.name]
        if until(there) if until else fulfils(there, wanted):
            return there
        assert time.monotonic() < end, there
        await adapter.apply(wanted)
        await asyncio.sleep(0)


def endpoint(rig: SageMakerRig, name: str) -> Mapping[str, Any]:
    found = rig.server.ask("DescribeEndpoint", EndpointName=name)
    assert found is not None
    return found


def made(rig: SageMakerRig, name: str) -> tuple[int, int]:
    """How many configurations and models there are for a deployment."""
    configs = rig.server.ask("ListEndpointConfigs", NameContains=f"lineal-{name}-") or {}
    models = rig.server.ask("ListModels") or {}
    return (
        len(configs["EndpointConfigs"]),
        sum(each["ModelName"].startswith(f"lineal-{name}-") for each in models["Models"]),
    )


async def test_the_same_has_the_same_configuration_again(rig: SageMakerRig, adapter: Adapter, name: str) -> None:
    await settled(adapter, wants(rig, name, {1: 1.0}))
    first = endpoint(rig, name)["EndpointConfigName"]
    await settled(adapter, wants(rig, name, {1: 0.9, 2: 0.1}))
    assert endpoint(rig, name)["EndpointConfigName"] != first
    await settled(adapter, wants(rig, name, {1: 1.0}))
    assert endpoint(rig, name)["EndpointConfigName"] == first


async def test_what_is_used_no_longer_is_removed(rig: SageMakerRig, adapter: Adapter, name: str) -> None:
    neighbour = f"{name}-b"
    await settled(adapter, wants(rig, neighbour, {1: 1.0}))
    for number in (1, 2, 3):
        await settled(adapter, wants(rig, name, {number: 1.0}))
    await adapter.apply(wants(rig, name, {3: 1.0}))
    assert made(rig, neighbour) == (1, 1)
    assert made(rig, name) == (2, 2), "its own and its neighbour's, whose name begins like its own"
    await settled(adapter, Desired(name, 2))
    assert made(rig, name) == (1, 1)


async def test_a_change_that_failed_is_told_of_its_version_and_not_tried_for_ever(
    rig: SageMakerRig, adapter: Adapter, name: str
) -> None:
    good = wants(rig, name, {1: 1.0})
    await settled(adapter, good)
    bad = Desired(name, 2, (Served(2, 1.0, rig.broken()),), INSTANCES, IMAGE)
    there = await settled(adapter, bad, until=lambda there: bool(there.failure))
    assert [(each.number, each.state) for each in there.seen] == [(1, State.READY), (2, State.FAILED)]
    assert "ping health check" in there.failure
    rig.faults.clear()
    await adapter.apply(bad)
    assert rig.faults.changes == []
    await settled(adapter, good)
    await settled(adapter, wants(rig, name, {3: 1.0}))


async def test_an_endpoint_that_never_came_up_makes_room_for_another(
    rig: SageMakerRig, adapter: Adapter, name: str
) -> None:
    bad = Desired(name, 1, (Served(2, 1.0, rig.broken()),), INSTANCES, IMAGE)
    there = await settled(adapter, bad, until=lambda there: bool(there.failure))
    assert [(each.number, each.state) for each in there.seen] == [(2, State.FAILED)]
    await settled(adapter, wants(rig, name, {1: 1.0}))


async def test_a_model_is_read_from_its_prefix_as_it_is(rig: SageMakerRig, adapter: Adapter, name: str) -> None:
    await settled(adapter, wants(rig, name, {5: 1.0}, environment={"THREADS": "2"}))
    config = rig.server.ask("DescribeEndpointConfig", EndpointConfigName=endpoint(rig, name)["EndpointConfigName"])
    assert config is not None
    (variant,) = config["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.large", 1)
    model = rig.server.ask("DescribeModel", ModelName=variant["ModelName"])
    assert model is not None
    assert model["PrimaryContainer"]["Environment"] == {"THREADS": "2"}
    assert model["PrimaryContainer"]["ModelDataSource"]["S3DataSource"] == {
        "S3Uri": "s3://models/5/",
        "S3DataType": "S3Prefix",
        "CompressionType": "None",
    }


async def test_an_endpoint_without_the_tag_is_left_alone(rig: SageMakerRig, adapter: Adapter, name: str) -> None:
    await settled(adapter, wants(rig, name, {1: 1.0}))
    config = endpoint(rig, name)["EndpointConfigName"]
    rig.server.ask("CreateEndpoint", EndpointName=f"{name}-x", EndpointConfigName=config)
    for wanted in (wants(rig, f"{name}-x", {1: 1.0}), Desired(f"{name}-x", 1)):
        with pytest.raises(PreconditionFailed, match="not Lineal's"):
            await adapter.apply(wanted)


async def test_long_names_that_begin_alike_do_not_share_what_is_made_for_them(
    rig: SageMakerRig, adapter: Adapter, name: str
) -> None:
    one, other = (f"{name}-{'x' * 40}-{end}" for end in "ab")
    await settled(adapter, wants(rig, one, {1: 1.0}))
    await settled(adapter, wants(rig, other, {1: 1.0}))
    await settled(adapter, Desired(other, 2))
    assert fulfils((await adapter.observe([one]))[one], wants(rig, one, {1: 1.0}))
    await adapter.apply(wants(rig, one, {1: 1.0}))
    assert await rig.predict(one) == 1


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({"options": {"region": REGION}}, "options.role"),
        ({"options": {"role": "arn:aws:iam::1:role/x"}}, "options.region"),
        ({"secrets": {"key_env": "K"}}, "secrets"),
        ({"files": {"mode": "object", "uri": "gs://bucket/models"}}, "files.uri"),
    ],
)
def test_what_it_needs_must_be_configured(table: dict[str, Any], field: str) -> None:
    whole = {
        "options": {"region": REGION, "role": "arn:aws:iam::1:role/x"},
        "secrets": {"key_env": "K", "secret_env": "S"},
    }
    with pytest.raises(InvalidArgument) as told:
        rigs.adapter("sagemaker", url="https://api.sagemaker.example.org", **{**whole, **table})
    assert told.value.field == f"targets.rig.{field}"
