"""What is special about Ray Serve: one list of applications for everybody on a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lineal.errors import PreconditionFailed
from serving.port import Adapter, Desired, Observed, Served, State, fulfils
from tests.serving import rigs
from tests.serving.ray_rig import APP, RayRig
from tests.serving.ray_server import App

THEIRS = {"name": "billing", "route_prefix": "/billing", "import_path": "billing:app"}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayRig]:
    monkeypatch.setenv("RIG_SECRET", rigs.SECRET)
    rig = RayRig(tmp_path)
    rig.start()
    yield rig
    rig.close()


@pytest.fixture
async def adapter(rig: RayRig) -> AsyncIterator[Adapter]:
    async with rig.adapter() as adapter:
        yield adapter


def wants(rig: RayRig, name: str, weights: dict[int, float], **more: Any) -> Desired:
    served = tuple(Served(number, weight, rig.source(number)) for number, weight in weights.items())
    return Desired(name, 1, served, **{"settings": APP, **more})


async def settled(adapter: Adapter, wanted: Desired, others: Sequence[Desired] = ()) -> Observed:
    end = time.monotonic() + 60
    while not fulfils(there := (await adapter.observe([wanted.name]))[wanted.name], wanted):
        assert time.monotonic() < end, there
        await adapter.apply(wanted, others)
        await asyncio.sleep(0)
    return there


def versions(rig: RayRig) -> set[str]:
    return {
        name.rpartition(".")[0] for name, app in rig.server.apps.items() if app.status != "DELETING" and "." in name
    }


async def test_applications_of_others_are_sent_again_as_they_are(rig: RayRig, adapter: Adapter) -> None:
    rig.server.apps["billing"] = App(THEIRS, status="RUNNING", answers=True)
    rig.server.apps["by-hand"] = App({"route_prefix": "/by-hand"}, source="imperative", status="RUNNING")
    rig.server.target_capacity = 50.0
    await settled(adapter, wants(rig, "m", {1: 1.0}))
    await settled(adapter, wants(rig, "m", {2: 1.0}))
    assert rig.server.apps["billing"].config == THEIRS
    assert rig.server.apps["billing"].status == "RUNNING"
    assert rig.server.apps["by-hand"].source == "imperative"
    assert all("by-hand" not in [each["name"] for each in told["applications"]] for told in rig.server.told)
    assert rig.server.target_capacity == 50.0, "what is said of the whole cluster stays"


async def test_on_a_cluster_of_its_own_lineal_keeps_nothing_else(rig: RayRig) -> None:
    rig.server.apps["billing"] = App(THEIRS, status="RUNNING", answers=True)
    async with rig.adapter(exclusive=True) as adapter:
        other = wants(rig, "n", {1: 1.0})
        await settled(adapter, other)
        await settled(adapter, wants(rig, "m", {1: 1.0}), [other])
    assert versions(rig) == {"m.1", "n.1"}
    assert "billing" not in rig.server.apps or rig.server.apps["billing"].status == "DELETING"


async def test_what_the_others_shall_have_is_told_too(rig: RayRig, adapter: Adapter) -> None:
    """So it is not lost to a list that was read before another process told of it."""
    await adapter.apply(wants(rig, "m", {1: 1.0}), [wants(rig, "n", {1: 1.0, 2: 0.0})])
    assert versions(rig) == {"m.1", "n.1", "n.2"}


async def test_the_route_moves_when_the_new_version_runs(rig: RayRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, "m", {1: 1.0}))
    rig.server.told.clear()
    await settled(adapter, wants(rig, "m", {2: 1.0}))
    routes = [
        {each["name"].rpartition(".")[0]: each["route_prefix"] for each in told["applications"]}
        for told in rig.server.told
    ]
    assert routes == [{"m.1": "/m", "m.2": None}, {"m.2": "/m"}]


async def test_versions_beside_have_routes_of_their_own(rig: RayRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, "m", {1: 1.0, 2: 0.0}))
    routes = {name.rpartition(".")[0]: app.config["route_prefix"] for name, app in rig.server.apps.items()}
    assert routes == {"m.1": "/m", "m.2": "/m/versions/2"}


async def test_an_application_learns_what_to_load_from_its_environment(rig: RayRig, adapter: Adapter) -> None:
    settings = {**APP, "deployment": "Model", "user_config": {"threshold": "0.5"}, "working_dir": "s3://code/app.zip"}
    resources = {"num_replicas": 3, "num_cpus": 0.5}
    wanted = Desired("m", 1, (Served(4, 1.0, rig.source(4), "mv_4"),), resources=resources, settings=settings)
    there = await settled(adapter, wanted)
    assert there.replicas == 1
    (app,) = rig.server.apps.values()
    assert app.environment["LINEAL_MODEL_URI"] == "s3://models/4"
    assert (app.environment["LINEAL_MODEL_NUMBER"], app.environment["LINEAL_MODEL_VERSION"]) == ("4", "mv_4")
    assert app.config["runtime_env"]["working_dir"] == "s3://code/app.zip"
    assert app.config["deployments"] == [
        {
            "name": "Model",
            "num_replicas": 3,
            "ray_actor_options": {"num_cpus": 0.5},
            "user_config": {"threshold": "0.5"},
        }
    ]


async def test_why_an_application_failed_is_its_last_line(rig: RayRig, adapter: Adapter) -> None:
    bad = Desired("m", 1, (Served(1, 1.0, rig.broken()),), settings=APP)
    end = time.monotonic() + 60
    while not (there := (await adapter.observe(["m"]))["m"]).failure:
        assert time.monotonic() < end
        await adapter.apply(bad)
    assert there.failure == "ValueError: there is no model"
    assert [each.state for each in there.seen] == [State.FAILED]


async def test_a_version_without_an_address_is_refused(rig: RayRig, adapter: Adapter) -> None:
    served = Served(1, 1.0, rigs.Source({"model": b"1"}))
    with pytest.raises(PreconditionFailed, match="files of mode folder or object"):
        await adapter.apply(Desired("m", 1, (served,), settings=APP))
