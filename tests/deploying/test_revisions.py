"""What a deployment was told stays as it was told, and gates are asked of all that is new in what it is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graph.port import Node
from lineal.errors import PreconditionFailed
from resolvers.deploying.deploying import canary, deploy, promote, roll_back
from resolvers.deploying.targets import Targets
from resolvers.lifecycle.approving import approve, request_approval
from resolvers.lifecycle.declaring import delete_gate
from resolvers.writing.models import delete_model
from resolvers.writing.versions import create_model_version, delete_model_version, update_model_version
from resolvers.writing.workspaces import create_workspace
from serving.targets import read
from tests.artifacts.conftest import Registry
from tests.deploying.conftest import Shop
from tests.deploying.test_deploying import SEARCH, gate, refused
from tests.deploying.test_real_servers import RealShop
from tests.lifecycle.conftest import ANN, BOB, PLACE, ROLES, ROOT, House
from tests.serving import rigs
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET

LOOKS_SECONDS = 1.0
"""Time for several looks at all that a platform serves."""


async def test_a_version_whose_uri_is_another_now_is_served_from_there_once_that_is_told_and_let_through(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        (tmp_path / f"u{number}").mkdir()
        (tmp_path / f"u{number}" / "answer").write_text(str(number))
    table = {
        "platform": "webhook",
        "url": f"{shop.platform.url}/deployments",
        "workspaces": "*",
        "secrets": {"key_env": "FARM_SECRET"},
        "files": {"mode": "none"},
    }
    async with Targets(read({"targets": {"farm": table}})) as targets:
        monkeypatch.setattr(shop, "targets", targets)
        async with shop.operation() as op:
            uri = {"uri": str(tmp_path / "u1")}
            version = await create_model_version(op, model="models:/ranker", create_model=True, properties=uri)
        async with shop.looking_after():
            await shop.deploy(version, environment="production")
            await shop.comes_to("READY", 1)
            async with shop.operation() as op:
                await update_model_version(op, address=version.id, properties={"uri": str(tmp_path / "u2")})
            await asyncio.sleep(LOOKS_SECONDS)
            assert (await shop.predict(), await shop.serves()) == (1, {"1": 1.0})
            await gate(shop, {"type": "approved"})
            await refused(
                shop, deploy, PreconditionFailed, "serves[0].version", name="search", serves=[{"version": version.id}]
            )
            async with shop.operation() as op:
                await delete_gate(op, address="gates:/clean")
            await shop.deploy(version)
            await shop.comes_to("READY", 2)
            assert await shop.predict() == 2
            await shop.do(roll_back, address=SEARCH)
            await shop.comes_to("READY", 3)
            assert await shop.predict() == 1, "what it had then"
    assert ("DRIFTED", 1) not in await shop.events()


async def test_artifacts_that_come_later_are_not_served_until_that_is_told(shop: Shop) -> None:
    version = await shop.registry.version("models:/ranker")
    await _add(shop, version, "weights", "1")
    async with shop.looking_after():
        await shop.deploy(version)
        await shop.comes_to("READY", 1)
        for name, answer in (("notes", "hello"), ("model", "2")):
            await _add(shop, version, name, answer)
            await asyncio.sleep(LOOKS_SECONDS)
            assert (await shop.predict(), await shop.serves()) == (1, {"1": 1.0})
        await shop.deploy(version)
        await shop.comes_to("READY", 2)
        assert await shop.predict() == 2
    assert ("DRIFTED", 1) not in await shop.events()


async def _add(shop: Shop, version: Node, name: str, answer: str) -> None:
    files = {"answer": answer.encode()}
    upload = await shop.registry.begin(version.id, files, name)
    await shop.registry.send(upload, files)
    await shop.registry.complete(upload)


@pytest.mark.parametrize("other", [{"settings": {"image": "another"}}, {"resources": {"gpus": 64}}])
async def test_gates_are_asked_of_other_settings_and_resources_of_what_is_served(
    shop: Shop, other: dict[str, dict[str, object]]
) -> None:
    version = await shop.version("1")
    told = {"settings": {"image": "one"}, "resources": {"gpus": 1}}
    async with shop.looking_after():
        await shop.deploy(version, environment="production", **told)
        await shop.comes_to("READY", 1)
        await gate(shop, {"type": "approved"})
        await shop.deploy(version, **told)
        await shop.comes_to("READY", 2)
        serves = [{"version": version.id}]
        asked = {"name": "search", "serves": serves, **told, **other}
        await refused(shop, deploy, PreconditionFailed, "serves[0].version", **asked)


async def test_a_canary_and_its_promotion_are_each_approved_and_going_back_to_what_was_served_is_not(
    shop: Shop,
) -> None:
    house, search = House(shop.registry.graph), f"deployments:/{PLACE}:search"
    await house.admit(ROOT)
    await house.do(ROOT, create_workspace, name=PLACE, properties={})
    for who, role in ROLES.items():
        if who is not ROOT:
            await house.admit(who, role)
    one, two = [await shop.version(answer, f"models:/{PLACE}:ranker") for answer in ("1", "2")]

    async def approved() -> None:
        request = await house.do(ANN, request_approval, version=two.id, environment="production")
        await house.do(BOB, approve, address=request.id)

    async with shop.looking_after():
        await shop.deploy(one, workspace=PLACE, environment="production")
        await shop.comes_to("READY", 1, search)
        await house.gate({"type": "approved"}, environment="production")
        await refused(shop, canary, PreconditionFailed, "version", address=search, version=two.id)
        await approved()
        await shop.do(canary, address=search, version=two.id)
        await shop.comes_to("READY", 2, search)
        await refused(shop, promote, PreconditionFailed, "deployment", address=search)
        await shop.do(deploy, name="search", workspace=PLACE, serves=[{"version": one.id}])
        await shop.comes_to("READY", 3, search)
        await approved()
        await shop.do(canary, address=search, version=two.id)
        await shop.comes_to("READY", 4, search)
        await shop.do(canary, address=search, version=two.id, weight=0.05)
        await shop.comes_to("READY", 5, search)
        await approved()
        await shop.do(promote, address=search)
        await shop.comes_to("READY", 6, search)


async def test_what_is_only_to_be_reported_is_not_repaired_by_another_rollout_on_a_server_that_is_told_all_at_once(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIG_SECRET", SECRET)
    rig = rigs.rig("tensorflow-serving", tmp_path / "rig")
    rig.home.mkdir()
    rig.start()
    try:
        config = replace(rig.adapter()._calls._config, name="farm", workspaces=None)  # type: ignore[attr-defined]
        async with Targets([config]) as targets:
            real = RealShop(registry, PlatformServer(tmp_path / "unused", SECRET), targets)
            real.rig = rig
            one, other = await real.version("1"), await real.version("1", "models:/other")
            next_other = await real.version("2", "models:/other")
            async with real.looking_after():
                for name, version in (("search", one), ("other", other)):
                    await real.deploy(version, name=name, drift_policy="REPORT")
                    await real.comes_to("READY", 1, f"deployments:/{name}")
                await asyncio.to_thread(rig.empty)
                await real.comes_to("DRIFTED")
                await real.comes_to("DRIFTED", 1, "deployments:/other")
                await real.deploy(next_other, name="other")
                await real.comes_to("READY", 2, "deployments:/other")
                await asyncio.sleep(LOOKS_SECONDS)
                assert ((await real.node()).props["phase"], await real.serves()) == ("DRIFTED", {})
    finally:
        rig.close()


async def test_what_was_told_to_be_served_is_not_deleted_and_what_lost_a_version_is_not_gone_back_to(
    shop: Shop,
) -> None:
    one, two, three = [await shop.version(answer) for answer in "123"]

    async def deleted(delete: Any, **given: Any) -> str:
        async with shop.operation() as op:
            with pytest.raises(PreconditionFailed) as refusal:
                await delete(op, **given)
        return refusal.value.message

    async with shop.looking_after():
        await shop.deploy(one)
        await shop.comes_to("READY", 1)
    await shop.deploy(two)
    assert SEARCH in await deleted(delete_model_version, address=two.id)
    assert SEARCH in await deleted(delete_model, address="models:/ranker")
    async with shop.looking_after():
        await shop.comes_to("READY", 2)
        assert (await shop.predict(), await shop.serves()) == (2, {"2": 1.0})
        await shop.deploy(three)
        await shop.comes_to("READY", 3)
        async with shop.operation() as op:
            await delete_model_version(op, address=two.id)
        told = await refused(shop, roll_back, PreconditionFailed, "to", address=SEARCH, to=2)
        assert "a version of it was deleted" in told.message
        await shop.do(roll_back, address=SEARCH)
        await shop.comes_to("READY", 4)
        assert await shop.predict() == 1
