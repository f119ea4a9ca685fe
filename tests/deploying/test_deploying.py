"""Deploying for real: what is told comes true on a platform, and the graph says what is truly served."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from graph.port import Hop, NewEdge, Node, Update
from lineal.errors import (
    Conflict,
    InvalidArgument,
    LimitExceeded,
    LinealError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from resolvers.deploying import pacing, reconciling
from resolvers.deploying.deploying import canary, deploy, promote, roll_back, stop_deployment
from resolvers.deploying.sources import Kept
from resolvers.deploying.targets import Targets
from resolvers.leasing import Held
from resolvers.lifecycle.declaring import declare_gate
from resolvers.lifecycle.marking import mark_dataset
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.deployments import delete_deployment, rename_deployment, update_deployment
from resolvers.writing.lifecycle import set_owners
from serving.port import File
from serving.targets import read
from tests import building
from tests.deploying.conftest import Shop
from tests.serving.rigs import SECRET
from tests.storage.storing import sha256

SEARCH = "deployments:/search"
WHERE: dict[str, Any] = {"name": "search", "target": "farm"}


async def test_a_version_that_is_deployed_answers_and_lineage_knows(shop: Shop) -> None:
    version = await shop.version("7")
    async with shop.looking_after():
        told = await shop.deploy(version, environment="production", reason="first")
        assert (told.props["phase"], told.props["desiredRevision"]) == ("PENDING", 1)
        ready = await shop.comes_to("READY", 1)
    assert ready.props["verifiedRevision"] == 1
    assert await shop.predict() == 7
    assert await shop.serves() == {"1": 1.0}
    assert await shop.affected(version) == ["search"]
    assert await shop.events() == [("PENDING", 1), ("ROLLING_OUT", 1), ("READY", 1)]
    revision = await shop.node(f"{SEARCH}/1")
    assert (revision.props["cause"], revision.props["state"]) == ("DEPLOY", "VERIFIED")


async def test_rolling_back_is_one_call_and_every_moment_is_remembered(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    async with shop.looking_after():
        await shop.deploy(one)
        await shop.comes_to("READY", 1)
        first = time.time_ns() // 1_000
        await shop.deploy(two)
        await shop.comes_to("READY", 2)
        assert await shop.predict() == 2
        second = time.time_ns() // 1_000
        await shop.do(roll_back, address=SEARCH, reason="two is worse")
        await shop.comes_to("READY", 3)
    assert await shop.predict() == 1
    assert await shop.serves() == {"1": 1.0}
    revision = await shop.node(f"{SEARCH}/3")
    assert (revision.props["cause"], revision.props["restores"]) == ("ROLL_BACK", 1)
    for version, moments in ((one, [True, False, True]), (two, [False, True, False])):
        found = [await shop.affected(version, as_of) for as_of in (first, second, None)]
        assert [each == ["search"] for each in found] == moments


async def test_a_canary_goes_beside_and_is_promoted(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    async with shop.looking_after():
        await shop.deploy(one)
        await shop.comes_to("READY", 1)
        await shop.do(canary, address=SEARCH, version=two.id, weight=0.25)
        await shop.comes_to("READY", 2)
        assert await shop.serves() == {"1": 0.75, "2": 0.25}
        assert [await shop.predict(number=number) for number in (1, 2)] == [1, 2]
        await shop.do(promote, address=SEARCH)
        await shop.comes_to("READY", 3)
    assert await shop.serves() == {"2": 1.0}
    assert await shop.predict() == 2


async def test_rolling_back_a_promoted_canary_goes_back_to_what_was_before_the_trial(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    async with shop.looking_after():
        await shop.deploy(one)
        await shop.comes_to("READY", 1)
        await shop.do(canary, address=SEARCH, version=two.id, weight=0.25)
        await shop.comes_to("READY", 2)
        await shop.do(promote, address=SEARCH)
        await shop.comes_to("READY", 3)
        await shop.do(roll_back, address=SEARCH)
        await shop.comes_to("READY", 4)
        assert await shop.serves() == {"1": 1.0}
        await shop.do(roll_back, address=SEARCH, to=2)
        await shop.comes_to("READY", 5)
    assert await shop.serves() == {"1": 0.75, "2": 0.25}


async def test_a_canary_that_has_most_requests_already_is_what_is_promoted(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    async with shop.looking_after():
        await shop.deploy(one)
        await shop.comes_to("READY", 1)
        for revision, weight in ((2, 0.1), (3, 0.9)):
            await shop.do(canary, address=SEARCH, version=two.id, weight=weight)
            await shop.comes_to("READY", revision)
        assert await shop.serves() == {"1": pytest.approx(0.1), "2": 0.9}
        await refused(shop, canary, InvalidArgument, "version", address=SEARCH, version=one.id)
        three = await shop.version("3")
        await refused(shop, canary, PreconditionFailed, "deployment", address=SEARCH, version=three.id)
        await shop.do(promote, address=SEARCH)
        await shop.comes_to("READY", 4)
    assert await shop.serves() == {"2": 1.0}


async def test_rolling_back_again_goes_back_further(shop: Shop) -> None:
    versions = [await shop.version(str(number)) for number in (1, 2, 3)]
    async with shop.looking_after():
        for revision, version in enumerate(versions, 1):
            await shop.deploy(version)
            await shop.comes_to("READY", revision)
        for revision, answer in ((4, 2), (5, 1)):
            await shop.do(roll_back, address=SEARCH)
            await shop.comes_to("READY", revision)
            assert await shop.predict() == answer
        await refused(shop, roll_back, PreconditionFailed, "deployment", address=SEARCH)


async def test_other_settings_of_the_same_version_are_told_and_can_be_taken_back(shop: Shop) -> None:
    version = await shop.version("1")
    name = (await shop.deploy(version, settings={"batch": 1})).props["platformName"]
    async with shop.looking_after():
        await shop.comes_to("READY", 1)
        await shop.deploy(version, settings={"batch": 2})
        await shop.comes_to("READY", 2)
        await shop.do(roll_back, address=SEARCH)
        await shop.comes_to("READY", 3)
    assert (await shop.node(f"{SEARCH}/3")).props["settings"] == {"batch": 1}
    assert [revision for told, revision in shop.platform.told() if told == name] == [1, 2, 3]


async def test_what_is_not_said_of_resources_and_settings_stays_as_it_was_told_last(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    told: list[tuple[dict[str, Any], tuple[Any, Any]]] = [
        ({"settings": {"batch": 1}, "resources": {"cpu": 2}}, ({"batch": 1}, {"cpu": 2})),
        ({}, ({"batch": 1}, {"cpu": 2})),
        ({"settings": {"delay": 5}}, ({"delay": 5}, {"cpu": 2})),
        ({"resources": {}}, ({"delay": 5}, None)),
    ]
    for number, (given, kept) in enumerate(told, 1):
        await shop.deploy(two if number % 2 else one, **given)
        props = (await shop.node(f"{SEARCH}/{number}")).props
        assert (props.get("settings"), props.get("resources")) == kept


async def test_a_platform_that_needs_settings_is_told_them_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    table = {"platform": "ray-serve", "url": shop.platform.url, "files": {"mode": "folder", "path": str(tmp_path)}}
    async with Targets(read({"targets": {"farm": {**table, "workspaces": "*"}}})) as targets:
        monkeypatch.setattr(shop, "targets", targets)
        given = {**WHERE, "serves": [{"version": one.id}]}
        await refused(shop, deploy, InvalidArgument, "settings.import_path", **given)
        await shop.deploy(one, settings={"import_path": "ranker:app"})
        await shop.deploy(two)
        assert (await shop.node(f"{SEARCH}/2")).props["settings"] == {"import_path": "ranker:app"}
        await refused(shop, deploy, InvalidArgument, "settings.import_path", **given, settings={})


async def test_one_whose_files_cannot_be_had_holds_no_other_up(shop: Shop) -> None:
    broken, fine = await shop.version("1"), await shop.version("2", "models:/other")
    blobs = [stored.sha256 async for stored in shop.registry.storage.blobs("default")]
    digest = sha256(b"1")
    assert digest in blobs
    await shop.registry.storage.remove("default", [digest])
    await shop.deploy(broken, name="broken")
    await shop.deploy(fine)
    async with shop.looking_after():
        await shop.comes_to("READY", 1)


async def test_files_that_cannot_be_had_hold_no_other_up_however_many_they_are(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, away = Kept.files, set[str]()

    async def files(source: Kept) -> Sequence[File]:
        found = await read(source)
        if away & {file.sha256 for file in found}:
            raise Unavailable("their storage is away")
        return found

    monkeypatch.setattr(Kept, "files", files)
    for number in range(reconciling.MAX_DELAYED):
        away.add(sha256(f"{number}".encode()))
        await shop.deploy(await shop.version(f"{number}", f"models:/away-{number}"), name=f"away-{number}")
    fine = await shop.version("7")
    async with shop.looking_after():
        await shop.comes_to("ROLLING_OUT", address="deployments:/away-0")
        await shop.deploy(fine)
        await shop.comes_to("READY", 1)
        await shop.awaited(lambda: says(shop, "deployments:/away-0", "their storage is away"))


async def test_files_that_are_long_on_their_way_hold_no_other_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = await shop.version("1"), await shop.version("2", "models:/other")
    arrive, read = asyncio.Event(), Kept.read

    async def slowly(source: Kept, file: File) -> AsyncIterator[bytes]:
        if file.sha256 == sha256(b"1"):
            await arrive.wait()
        async for chunk in read(source, file):
            yield chunk

    monkeypatch.setattr(Kept, "read", slowly)
    await shop.deploy(large, name="large")
    async with shop.looking_after():
        await shop.comes_to("ROLLING_OUT", address="deployments:/large")
        await shop.deploy(small)
        await shop.comes_to("READY", 1)
        await shop.awaited(lambda: says(shop, "deployments:/large", "its files are on their way"))
        arrive.set()
        await shop.comes_to("READY", 1, "deployments:/large")
    assert await shop.predict((await shop.node("deployments:/large")).props["platformName"]) == 1


async def says(shop: Shop, address: str, text: str) -> bool:
    return text in str((await shop.node(address)).props.get("message"))


async def test_files_that_do_not_come_in_time_fail_a_rollout_and_are_given_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    given_up, read = asyncio.Event(), Kept.read

    async def never(source: Kept, file: File) -> AsyncIterator[bytes]:
        if file.sha256 == sha256(b"2"):
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
        async for chunk in read(source, file):
            yield chunk

    monkeypatch.setattr(Kept, "read", never)
    async with shop.looking_after():
        await shop.deploy(one, progress_seconds=2)
        await shop.comes_to("READY", 1)
        await shop.deploy(two)
        await shop.comes_to("READY", 3)
        await asyncio.wait_for(given_up.wait(), 30)
    assert "its files are on their way" in (await shop.node(f"{SEARCH}/2")).props["message"]


async def test_a_rollout_that_fails_goes_back_by_itself(shop: Shop) -> None:
    good, bad = await shop.version("1"), await shop.version("cannot be loaded")
    async with shop.looking_after():
        await shop.deploy(good)
        await shop.comes_to("READY", 1)
        await shop.deploy(bad)
        await shop.comes_to("READY", 3)
    assert await shop.predict() == 1
    failed, back = await shop.node(f"{SEARCH}/2"), await shop.node(f"{SEARCH}/3")
    assert (failed.props["state"], back.props["cause"], back.props["restores"]) == ("FAILED", "ROLL_BACK", 1)
    assert "cannot load" in failed.props["message"]
    assert failed.props["message"] in back.props["reason"]


async def test_who_answers_for_a_deployment_is_told_that_a_rollout_failed(shop: Shop) -> None:
    bad = await shop.version("cannot be loaded")
    await shop.deploy(bad)
    await shop.do(set_owners, address=SEARCH, owners=["principals:/bob"], create=True)
    async with shop.looking_after():
        await shop.comes_to("FAILED", 1)
    bob = await shop.node("principals:/bob")
    async with shop.registry.graph.snapshot() as snapshot:
        links = (await all_links(snapshot, [bob.id], Hop("NOTIFIES", "IN", "Notice")))[bob.id]
    (notice,) = [link.node for link in links]
    assert notice.props["type"] == "DEPLOYMENT"
    assert "Revision 1 of search failed" in notice.props["text"]


async def test_a_first_rollout_that_fails_has_nothing_to_go_back_to(shop: Shop) -> None:
    bad, good = await shop.version("cannot be loaded"), await shop.version("2")
    async with shop.looking_after():
        await shop.deploy(bad)
        node = await shop.comes_to("FAILED", 1)
        assert "cannot load" in node.props["message"]
        assert await shop.serves() == {}
        await shop.deploy(good)
        await shop.comes_to("READY", 2)
    assert await shop.predict() == 2


async def test_a_platform_that_is_away_holds_nobody_up_and_time_does_not_run_meanwhile(shop: Shop) -> None:
    version = await shop.version("1")
    shop.platform.kill()
    async with shop.looking_after():
        await shop.deploy(version, progress_seconds=2)
        await shop.comes_to("UNREACHABLE", 1)
        await asyncio.sleep(2.5)
        assert (await shop.node(f"{SEARCH}/1")).props["state"] == "PENDING"
        shop.platform.start()
        await shop.comes_to("READY", 1)
    assert await shop.predict() == 1


async def test_a_platform_that_comes_back_empty_is_told_again(shop: Shop) -> None:
    version = await shop.version("1")
    async with shop.looking_after():
        await shop.deploy(version)
        await shop.comes_to("READY", 1)
        shop.platform.kill()
        await shop.comes_to("UNREACHABLE", 1)
        assert await shop.serves() == {"1": 1.0}, "nobody knows that it is not"
        shop.platform.kept.unlink()
        shop.platform.start()
        await shop.comes_to("READY", 1)
    assert await shop.predict() == 1
    assert "DRIFTED" in [phase for phase, _ in await shop.events()]


async def test_a_change_behind_lineals_back_is_undone(shop: Shop) -> None:
    version = await shop.version("1")
    async with shop.looking_after():
        name = (await shop.deploy(version)).props["platformName"]
        await shop.comes_to("READY", 1)
        await shop.awaited(lambda: meddled(shop, name))
        await shop.awaited(lambda: drifted(shop))
        await shop.comes_to("READY", 1)
    assert await shop.predict() == 1


async def test_a_change_behind_lineals_back_is_only_told_where_that_is_wanted(shop: Shop) -> None:
    version = await shop.version("1")
    async with shop.looking_after():
        name = (await shop.deploy(version, drift_policy="REPORT")).props["platformName"]
        await shop.comes_to("READY", 1)
        await shop.awaited(lambda: meddled(shop, name))
        node = await shop.comes_to("DRIFTED", 1)
        assert node.props["message"] == "nothing is served, 1 (100%) shall be"
        assert await shop.serves() == {}
        await asyncio.sleep(1)
        assert (await shop.node()).props["phase"] == "DRIFTED"


async def meddled(shop: Shop, name: str) -> bool:
    return await posted(shop, f"/meddle/{name}", b"")


async def posted(shop: Shop, path: str, content: bytes) -> bool:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{shop.platform.url}{path}", content=content, timeout=30)
    return bool(answer.is_success)


async def drifted(shop: Shop) -> bool:
    return "DRIFTED" in [phase for phase, _ in await shop.events()]


async def test_what_is_stopped_is_served_no_more_and_can_begin_again(shop: Shop) -> None:
    version = await shop.version("1")
    async with shop.looking_after():
        await shop.deploy(version)
        await shop.comes_to("READY", 1)
        await shop.do(stop_deployment, address=SEARCH, reason="no traffic")
        await shop.comes_to("STOPPED", 2)
        assert await shop.predict() is None
        assert await shop.serves() == {}
        await shop.do(roll_back, address=SEARCH)
        await shop.comes_to("READY", 3)
    assert await shop.predict() == 1


async def test_what_comes_up_after_it_was_stopped_is_seen_and_stopped_again(shop: Shop) -> None:
    version = await shop.version("1")
    async with shop.looking_after():
        name = (await shop.deploy(version)).props["platformName"]
        await shop.comes_to("READY", 1)
        kept = json.loads(shop.platform.kept.read_text())
        await shop.do(stop_deployment, address=SEARCH)
        await shop.comes_to("STOPPED", 2)
        shop.platform.kill()
        shop.platform.kept.write_text(json.dumps(kept))
        shop.platform.start()
        await shop.awaited(lambda: drifted(shop))
        await shop.comes_to("STOPPED", 2)
    assert await shop.predict(name) is None
    assert await shop.serves() == {}


async def test_a_target_that_does_not_let_lineal_look_is_unreachable(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await shop.version("1")
    monkeypatch.setenv("FARM_SECRET", "another key than that of the platform")
    await shop.deploy(version)
    async with shop.looking_after():
        node = await shop.comes_to("UNREACHABLE", 1)
        assert "401" in node.props["message"]
        monkeypatch.setenv("FARM_SECRET", SECRET)
        await shop.comes_to("READY", 1)


async def test_what_is_told_meanwhile_takes_the_place_of_a_rollout(shop: Shop) -> None:
    versions = [await shop.version(str(number)) for number in (1, 2, 3)]
    for version in versions:
        await shop.deploy(version)
    async with shop.looking_after():
        await shop.comes_to("READY", 3)
    assert await shop.predict() == 3
    states = [(await shop.node(f"{SEARCH}/{number}")).props["state"] for number in (1, 2, 3)]
    assert states == ["REPLACED", "REPLACED", "VERIFIED"]


async def test_deployments_of_one_name_in_two_workspaces_do_not_meet(shop: Shop) -> None:
    from resolvers.writing.workspaces import create_workspace

    async with shop.operation() as op:
        await create_workspace.once(op, None, name="vision")
    here, there = await shop.version("1"), await shop.version("2", "models:/vision:ranker")
    async with shop.looking_after():
        await shop.deploy(here)
        await shop.deploy(there, workspace="vision")
        await shop.comes_to("READY")
        await shop.comes_to("READY", address="deployments:/vision:search")
    other = await shop.node("deployments:/vision:search")
    assert (await shop.predict(), await shop.predict(other.props["platformName"])) == (1, 2)


async def test_what_comes_and_goes_fills_no_history(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.deploy(await shop.version("1"))
    async with shop.looking_after():
        await shop.comes_to("READY", 1)
    reconciler, adapter = shop.reconciler(), shop.targets.adapter("farm")
    lease = await shop.registry.graph.claim("target farm", "one", 600)
    assert lease is not None

    async def look(key: str) -> None:
        monkeypatch.setenv("FARM_SECRET", key)
        await reconciler._round("farm", adapter, Held(lease, float("inf")), full=True)

    before, target = len(await shop.events()), (await shop.node("targets:/farm")).revision
    for _ in range(20):
        await look("a key that it does not know")
        await look(SECRET)
    assert len(await shop.events()) == before + pacing.MOST
    assert (await shop.node("targets:/farm")).revision <= target + pacing.MOST
    monkeypatch.setattr(pacing, "WINDOW_SECONDS", -1.0)
    await look("a key that it does not know")
    assert (await shop.events())[-1] == ("UNREACHABLE", 1)
    last = (await shop.happened())[-1]
    assert last.props["leftOut"] >= 14


async def test_what_its_platform_says_of_itself_is_no_event_and_is_not_written_at_every_look(shop: Shop) -> None:
    name = (await shop.deploy(await shop.version("1"))).props["platformName"]
    async with shop.looking_after():
        await shop.comes_to("READY", 1)
        await shop.awaited(lambda: posted(shop, f"/say/{name}", b"warm"))
        message = await shop.awaited(lambda: said(shop))
        await asyncio.sleep(1)
        assert await said(shop) == message
    assert (await shop.events())[-1] == ("READY", 1)
    assert len(await shop.events()) == 3


async def said(shop: Shop) -> str | None:
    return (await shop.node()).props.get("message")


async def test_a_target_says_whether_it_answers_and_where_it_is(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.deploy(await shop.version("1"))
    target = (await shop.node("targets:/farm")).id
    await building.update(shop.registry.graph, Update(target, {"uri": "http://where.it.was"}))

    async def is_now(reachable: bool) -> Node | None:
        node = await shop.node("targets:/farm")
        return node if node.props.get("reachable") is reachable else None

    async with shop.looking_after():
        node = await shop.awaited(lambda: is_now(True))
        assert (node.props["uri"], node.props.get("message")) == (f"{shop.platform.url}/deployments", None)
        monkeypatch.setenv("FARM_SECRET", "a key that it does not know")
        node = await shop.awaited(lambda: is_now(False))
        assert "401" in node.props["message"]


async def test_what_is_on_a_target_that_is_gone_can_be_stopped_and_deleted_and_says_that_nobody_told_it(
    shop: Shop,
) -> None:
    version = await shop.version("1")
    async with shop.looking_after():
        await shop.deploy(version)
        await shop.comes_to("READY", 1)
    other = {"version": (await shop.version("2")).id}
    async with Targets() as none:
        told: list[tuple[Any, dict[str, Any]]] = [
            (canary, {"address": SEARCH, **other}),
            (deploy, {**WHERE, "serves": [other]}),
        ]
        for use_case, given in told:
            with pytest.raises(InvalidArgument, match="no target 'farm' is configured"):
                async with shop.operation(targets=none) as op:
                    await use_case.once(op, None, **given)
        async with shop.operation(targets=none) as op:
            node = await stop_deployment.once(op, None, address=SEARCH, reason="the farm is sold")
    assert node is not None
    assert (node.props["phase"], node.props["desiredRevision"]) == ("STOPPED", 2)
    assert "'farm' is not configured" in node.props["message"]
    assert await shop.serves() == {}
    stop = await shop.node(f"{SEARCH}/2")
    assert (stop.props["cause"], stop.props["state"], stop.props["reason"]) == ("STOP", "FAILED", "the farm is sold")
    assert (await shop.events())[-1] == ("STOPPED", 2)
    assert await shop.predict() == 1, "nobody told it"
    async with shop.looking_after():
        await shop.awaited(lambda: is_silent(shop))
        await shop.comes_to("STOPPED", 2)
        await shop.awaited(lambda: is_verified(shop, 2))
    async with shop.operation() as op:
        await delete_deployment(op, address=SEARCH)


async def is_silent(shop: Shop) -> bool:
    return (await shop.predict()) is None


async def is_verified(shop: Shop, revision: int) -> bool:
    return bool((await shop.node(f"{SEARCH}/{revision}")).props["state"] == "VERIFIED")


# ── What is refused ───────────────────────────────────────────────────────────────────────────────


async def refused(shop: Shop, use_case: Any, error: type[LinealError], field: str | None, **given: Any) -> LinealError:
    with pytest.raises(error) as caught:
        await shop.do(use_case, **given)
    assert caught.value.field == field
    return caught.value


async def test_what_cannot_be_served_is_refused_and_nothing_is_left_of_it(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    other, waiting = await shop.version("3", "models:/other"), await shop.registry.version()

    def serves(*items: Any) -> Any:
        return {"serves": [{"version": version.id, "weight": weight} for version, weight in items], **WHERE}

    cases: list[tuple[type[LinealError], str, Any]] = [
        (InvalidArgument, "serves", serves()),
        (InvalidArgument, "serves", serves((one, 0.5), (two, 0.4))),
        (InvalidArgument, "serves[1].weight", serves((one, 1), (two, None))),
        (InvalidArgument, "serves[0].weight", serves((one, 2))),
        (InvalidArgument, "serves[1].version", serves((one, 0.5), (one, 0.5))),
        (PreconditionFailed, "serves", serves((one, 0.5), (other, 0.5))),
        (PreconditionFailed, "serves[0].version", serves((waiting, 1))),
        (InvalidArgument, "target", {**serves((one, 1)), "target": "nowhere"}),
        (InvalidArgument, "target", {**serves((one, 1)), "target": None}),
        (InvalidArgument, "driftPolicy", {**serves((one, 1)), "drift_policy": "SOMETIMES"}),
        (InvalidArgument, "settings", {**serves((one, 1)), "settings": [1]}),
        (InvalidArgument, "resources", {**serves((one, 1)), "resources": "two"}),
        (LimitExceeded, "reason", {**serves((one, 1)), "reason": "x" * 2001}),
        (NotFound, "serves[0].version", {"serves": [{"version": "models:/unknown/1"}], **WHERE}),
    ]
    for error, field, given in cases:
        await refused(shop, deploy, error, field, **given)
    assert await shop.registry.gone(SEARCH)


async def test_shares_that_a_platform_cannot_have_are_refused_where_they_were_given(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    table = {"platform": "torchserve", "url": shop.platform.url, "files": {"mode": "folder", "path": str(tmp_path)}}
    async with Targets(read({"targets": {"farm": {**table, "workspaces": "*"}}})) as targets:
        monkeypatch.setattr(shop, "targets", targets)
        halves = [
            {"version": one.id, "weight": 0.0},
            {"version": two.id, "weight": 0.3},
            {"version": "x", "weight": 0.7},
        ]
        halves[2]["version"] = (await shop.version("3")).id
        told = await refused(shop, deploy, PreconditionFailed, "serves[1].weight", **WHERE, serves=halves)
        assert "serves[1].weight: must not be 0.3; TorchServe does not split requests" in told.message
        await shop.deploy(one)
        told = await refused(shop, canary, PreconditionFailed, "weight", address=SEARCH, version=two.id, weight=0.2)
        assert told.message.startswith("weight: must not be 0.")
        await refused(
            shop, canary, PreconditionFailed, "version", address=SEARCH, version=(await shop.registry.version()).id
        )


async def test_a_deployment_stays_where_it_is_and_what_is_only_recorded_is_left_alone(shop: Shop) -> None:
    from resolvers.writing.deployments import record_deployment

    version = await shop.version("1")
    await shop.deploy(version, environment="staging")
    await refused(
        shop, deploy, PreconditionFailed, "environment", name="search", serves=[{"version": version.id}],
        environment="production",
    )  # fmt: skip
    async with shop.operation() as op:
        await record_deployment.once(op, None, name="elsewhere", serves=[{"version": version.id}])
    await refused(shop, deploy, PreconditionFailed, "deployment", name="elsewhere", serves=[{"version": version.id}])
    await refused(shop, promote, PreconditionFailed, "deployment", address=SEARCH)
    await refused(shop, roll_back, PreconditionFailed, "deployment", address=SEARCH)
    await refused(shop, roll_back, NotFound, "to", address=SEARCH, to=9)
    await refused(shop, canary, InvalidArgument, "version", address=SEARCH, version=version.id)


async def test_a_name_that_a_deployment_had_before_is_not_taken_for_it(shop: Shop) -> None:
    one, other = await shop.version("1"), await shop.version("2", "models:/other")
    await shop.deploy(one)
    await shop.do(rename_deployment, address=SEARCH, name="search-old")
    told = await refused(shop, deploy, PreconditionFailed, "name", **WHERE, serves=[{"version": other.id}])
    assert "'search-old'" in told.message
    assert (await shop.node("deployments:/search-old")).props["desiredRevision"] == 1
    await shop.deploy(other, name="search-old")
    assert (await shop.node("deployments:/search-old")).props["desiredRevision"] == 2


async def gate(shop: Shop, *conditions: dict[str, Any]) -> None:
    """Guard the environment production."""
    async with shop.operation() as op:
        await declare_gate.once(op, None, name="clean", environment="production", conditions=list(conditions))


async def test_a_deployment_goes_back_past_no_mark_that_came_since_but_past_all_else(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    _, (data,) = await building.dataset(shop.registry.graph, "flats", "v1")
    await building.link(shop.registry.graph, NewEdge("TRAINED_ON", one.id, data.id, "train"))
    async with shop.looking_after():
        for number, version in enumerate((one, two), 1):
            await shop.deploy(version, environment="production")
            await shop.comes_to("READY", number)
        await gate(shop, {"type": "cleanData"}, {"type": "approved"})
        await shop.do(roll_back, address=SEARCH)
        await shop.comes_to("READY", 3)
        await shop.do(roll_back, address=SEARCH, to=2)
        await shop.comes_to("READY", 4)
        async with shop.operation() as op:
            await mark_dataset.once(op, None, address=data.id, reason="those of another city")
        told = await refused(shop, roll_back, PreconditionFailed, "deployment", address=SEARCH, to=1)
        assert "datasets:/flats" in told.message
        assert [each["type"] for each in told.details["unmet"]] == ["cleanData"]
        assert await shop.predict() == 2
        await shop.do(roll_back, address=SEARCH, to=1, override="nothing else is left")
        await shop.comes_to("READY", 5)
    changes = await building.sequenced(shop.registry.graph)
    assert [change.action for change in changes if change.action in {"rollBack", "overrideGate"}] == [
        *("rollBack", "rollBack", "overrideGate"),
    ]


async def test_no_environment_is_left_out_where_one_is_guarded_nor_named_like_another(shop: Shop) -> None:
    version = await shop.version("1")
    await gate(shop, {"type": "approved"})
    given = {"name": "search", "target": "farm", "serves": [{"version": version.id}]}
    told = await refused(shop, deploy, InvalidArgument, "environment", **given)
    assert "'production'" in told.message
    for name in ("prod\u200buction", "production\u00a0", " production", "prod\u202euction"):
        await refused(shop, deploy, InvalidArgument, "environment", **given, environment=name)
    wide = "\uff30roduction"
    told = await refused(shop, deploy, PreconditionFailed, "serves[0].version", **given, environment=wide)
    assert [each["type"] for each in told.details["unmet"]] == ["approved"]
    await shop.deploy(version, environment="staging")


async def test_what_was_deployed_nowhere_before_there_was_a_gate_takes_nothing_new(shop: Shop) -> None:
    one, two = await shop.version("1"), await shop.version("2")
    async with shop.looking_after():
        await shop.deploy(one)
        await shop.comes_to("READY", 1)
        await shop.deploy(two)
        await shop.comes_to("READY", 2)
        await gate(shop, {"type": "approved"})
        await refused(shop, deploy, InvalidArgument, "environment", name="search", serves=[{"version": one.id}])
        await refused(shop, canary, InvalidArgument, "environment", address=SEARCH, version=one.id)
        await shop.do(roll_back, address=SEARCH)
        await shop.comes_to("READY", 3)


async def test_what_lineal_brings_about_is_not_recorded_otherwise_nor_deleted_while_it_serves(shop: Shop) -> None:
    version = await shop.version("1")
    await shop.deploy(version)
    await refused(shop, update_deployment, PreconditionFailed, "deployment", address=SEARCH, serves=[])
    async with shop.operation() as op:
        with pytest.raises(PreconditionFailed, match="stop it first"):
            await delete_deployment(op, address=SEARCH)
    await shop.do(update_deployment, address=SEARCH, properties={"driftPolicy": "REPORT"})
    async with shop.looking_after():
        await shop.do(stop_deployment, address=SEARCH)
        await shop.comes_to("STOPPED")
    async with shop.operation() as op:
        await delete_deployment(op, address=SEARCH)
    assert await shop.registry.gone(SEARCH)


async def test_a_workspace_uses_the_targets_that_are_for_it(shop: Shop) -> None:
    version = await shop.version("1")
    async with Operation(shop.registry.graph, bytes=shop.registry.reach, targets=Targets()) as op:
        with pytest.raises(InvalidArgument, match="no target 'farm' is configured"):
            await deploy.once(op, None, name="search", target="farm", serves=[{"version": version.id}])


async def test_a_key_deploys_once(shop: Shop) -> None:
    version = await shop.version("1")
    given: Any = {"name": "search", "target": "farm", "serves": [{"version": version.id}]}
    for _ in range(2):
        async with shop.operation() as op:
            node = await deploy.once(op, "key", **given)
        assert node is not None
        assert node.props["desiredRevision"] == 1
    async with shop.operation() as op:
        with pytest.raises(Conflict):
            await deploy.once(op, "key", **{**given, "reason": "another"})
