"""What is special about BentoML: bentos are made elsewhere, and a deployment has one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lineal.errors import InvalidArgument, PreconditionFailed
from serving.port import Adapter, Desired, Served, fulfils
from tests.serving import rigs
from tests.serving.bento_rig import BENTO, BentoRig
from tests.serving.bento_server import Deployment


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BentoRig]:
    monkeypatch.setenv("RIG_SECRET", rigs.SECRET)
    rig = BentoRig(tmp_path)
    rig.start()
    yield rig
    rig.close()


@pytest.fixture
async def adapter(rig: BentoRig) -> AsyncIterator[Adapter]:
    async with rig.adapter() as adapter:
        yield adapter


async def settled(adapter: Adapter, wanted: Desired) -> None:
    end = time.monotonic() + 60
    while not fulfils(there := (await adapter.observe([wanted.name]))[wanted.name], wanted):
        assert time.monotonic() < end, there
        await adapter.apply(wanted)
        await asyncio.sleep(0)


async def test_a_bento_that_was_not_pushed_is_asked_for(rig: BentoRig, adapter: Adapter) -> None:
    wanted = Desired("m", 1, (Served(3, 1.0, rig.source(3), "mv_3"),), settings={"bento": "sentiment:v{number}"})
    with pytest.raises(PreconditionFailed, match="no bento sentiment:v3"):
        await adapter.apply(wanted)
    rig.server.bentos["sentiment:v3"] = 3
    await settled(adapter, wanted)
    assert rig.server.predict("m") == 3


async def test_resources_are_of_a_service(rig: BentoRig, adapter: Adapter) -> None:
    resources = {"instance_type": "cpu.2", "min_replicas": 1, "max_replicas": 4}
    settings = {**BENTO, "service": "Ranker", "env": {"THREADS": "2"}}
    await settled(adapter, Desired("m", 1, (Served(1, 1.0, rig.source(1), "mv_1"),), resources, settings))
    told = rig.server.deployments["m"].told
    assert told["services"] == {"Ranker": {"instance_type": "cpu.2", "scaling": {"min_replicas": 1, "max_replicas": 4}}}
    env = {each["name"]: each["value"] for each in told["envs"]}
    assert (env["THREADS"], env["LINEAL_MODEL_VERSION"]) == ("2", "mv_1")


async def test_a_deployment_that_is_not_lineals_is_left_alone(rig: BentoRig, adapter: Adapter) -> None:
    rig.source(1)
    (bento,) = rig.server.bentos
    rig.server.deployments["m"] = Deployment({"bento": bento, "envs": []}, status="running", answer=1)
    for wanted in (Desired("m", 1, (Served(1, 1.0, rig.source(1)),), settings=BENTO), Desired("m", 1)):
        with pytest.raises(PreconditionFailed, match="not Lineal's"):
            await adapter.apply(wanted)
    assert [each.number for each in (await adapter.observe(["m"]))["m"].seen] == [None]


def test_the_token_must_be_configured() -> None:
    with pytest.raises(InvalidArgument) as told:
        rigs.adapter("bentoml", url="https://cloud.example.org")
    assert told.value.field == "targets.rig.secrets"
