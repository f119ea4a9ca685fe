"""What is special about KServe: one specification, revisions that share requests, fields that have managers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from lineal.errors import InvalidArgument, PreconditionFailed
from serving.kserve_steps import Service, Shape, Step, Wanted, following
from serving.port import NOTHING, Adapter, Desired, Observed, Served, State, fulfils
from tests.serving import rigs
from tests.serving.kserve_rig import FORMAT, KServeRig

MANAGED = {"app.kubernetes.io/managed-by": "lineal"}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KServeRig]:
    monkeypatch.setenv("RIG_SECRET", rigs.SECRET)
    rig = KServeRig(tmp_path)
    rig.start()
    yield rig
    rig.close()


@pytest.fixture
async def adapter(rig: KServeRig) -> AsyncIterator[Adapter]:
    async with rig.adapter() as adapter:
        yield adapter


def wants(rig: KServeRig, weights: dict[int, float], **settings: Any) -> Desired:
    served = tuple(Served(number, weight, rig.source(number), f"mv_{number}") for number, weight in weights.items())
    return Desired("m", 1, served, settings={**FORMAT, **settings})


async def seen(adapter: Adapter) -> Observed:
    return (await adapter.observe(["m"]))["m"]


async def settled(
    adapter: Adapter,
    wanted: Desired,
    until: Callable[[Observed], bool] | None = None,
    watch: Callable[[], None] | None = None,
) -> Observed:
    end = time.monotonic() + 60
    while True:
        there = await seen(adapter)
        if watch:
            watch()
        if until(there) if until else fulfils(there, wanted):
            return there
        assert time.monotonic() < end, there
        await adapter.apply(wanted)
        if watch:
            watch()
        await asyncio.sleep(0)


def percent(rig: KServeRig) -> int:
    found: int = rig.server.services["m"].object["spec"]["predictor"]["canaryTrafficPercent"]
    return found


def revisions(rig: KServeRig) -> int:
    return len(rig.server.services["m"].revisions)


async def test_the_version_is_in_annotations_and_the_manager_in_a_label(rig: KServeRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, {7: 1.0}))
    metadata = rig.server.services["m"].object["metadata"]
    assert metadata["labels"] == MANAGED
    assert metadata["annotations"]["lineal/number"] == "7"
    assert metadata["annotations"]["lineal/version"] == "mv_7"


async def test_a_canary_is_one_revision_more_and_its_promotion_none(rig: KServeRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, {1: 1.0}))
    await settled(adapter, wants(rig, {1: 0.9, 2: 0.1}))
    assert (revisions(rig), percent(rig)) == (2, 10)
    await settled(adapter, wants(rig, {1: 0.4, 2: 0.6}))
    await settled(adapter, wants(rig, {2: 1.0}))
    assert (revisions(rig), percent(rig)) == (2, 100)


async def test_going_back_from_a_canary_takes_all_requests_from_it_with_the_first_call(
    rig: KServeRig, adapter: Adapter
) -> None:
    await settled(adapter, wants(rig, {1: 1.0}))
    await settled(adapter, wants(rig, {1: 0.5, 2: 0.5}))
    await adapter.apply(wants(rig, {1: 1.0}))
    assert percent(rig) == 0
    there = await settled(adapter, wants(rig, {1: 1.0}), watch=lambda: None)
    assert [each.number for each in there.seen] == [1]
    assert {rig.server.predict("m") for _ in range(50)} == {1}
    await settled(adapter, wants(rig, {3: 1.0}))
    assert {rig.server.predict("m") for _ in range(50)} == {3}


async def test_a_canary_that_is_replaced_never_gets_more_than_its_share(rig: KServeRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, {1: 1.0}))
    await settled(adapter, wants(rig, {1: 0.9, 2: 0.1}))
    shares = []
    await settled(adapter, wants(rig, {3: 1.0}), watch=lambda: shares.append(_share(rig, 2)))
    assert max(shares) == 10
    assert shares[-1] == 0


async def test_from_any_two_versions_to_any_other_there_is_always_an_answer_of_either(
    rig: KServeRig, adapter: Adapter
) -> None:
    sets = [{1: 1.0}, {2: 1.0}, {1: 0.75, 2: 0.25}, {1: 1.0, 2: 0.0}, {2: 1.0, 1: 0.0}, {2: 0.5, 3: 0.5}, {3: 1.0}]
    await settled(adapter, wants(rig, sets[0]))
    there = sets[0]
    for one, other in product(sets, sets):
        for before, after in pairwise([there, one, other]):
            allowed = {number for number in {**before, **after} if before.get(number) or after.get(number)}

            def watch(allowed: set[int] = allowed) -> None:
                assert rig.server.predict("m") in allowed

            await settled(adapter, wants(rig, after), watch=watch)
        there = other


async def test_other_settings_of_the_same_version_are_rolled_out(rig: KServeRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, {1: 1.0}))
    other = wants(rig, {1: 1.0}, runtime="triton", env={"THREADS": "2"})
    await settled(adapter, other, until=lambda _: revisions(rig) == 2)
    await settled(adapter, other)
    assert rig.server.services["m"].object["spec"]["predictor"]["model"]["runtime"] == "triton"
    assert percent(rig) == 100


async def test_what_can_not_be_specified_is_told_and_gone_back_from(rig: KServeRig, adapter: Adapter) -> None:
    good = wants(rig, {1: 1.0})
    await settled(adapter, good)
    there = await settled(adapter, wants(rig, {2: 1.0}, runtime="unknown"), until=lambda there: bool(there.failure))
    assert there.failure == "there is no runtime unknown"
    assert rig.server.predict("m") == 1
    await settled(adapter, good)


async def test_another_address_that_somebody_else_gave_it_is_seen_and_taken_back(
    rig: KServeRig, adapter: Adapter
) -> None:
    good = wants(rig, {1: 1.0})
    await settled(adapter, good)
    rig.server.update("m", ("spec", "predictor", "model", "storageUri"), "s3://models/66")
    there = await settled(adapter, good, until=lambda there: any(each.number is None for each in there.seen))
    assert not fulfils(there, good)
    await settled(adapter, good)
    assert {rig.server.predict("m") for _ in range(20)} == {1}


async def test_fields_that_others_manage_stay(rig: KServeRig, adapter: Adapter) -> None:
    good = wants(rig, {1: 1.0})
    await settled(adapter, good)
    rig.server.update("m", ("metadata", "labels", "team"), "search")
    await settled(adapter, wants(rig, {2: 1.0}))
    assert rig.server.services["m"].object["metadata"]["labels"] == {**MANAGED, "team": "search"}


async def test_a_service_that_is_not_lineals_is_left_alone(rig: KServeRig, adapter: Adapter) -> None:
    spec = {"predictor": {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://models/9"}}}
    rig.server.apply("m", {"metadata": {"name": "m"}, "spec": spec}, "kubectl", force=False)
    with pytest.raises(PreconditionFailed, match="not Lineal's"):
        await adapter.apply(wants(rig, {1: 1.0}))
    there = await seen(adapter)
    assert [each.number for each in there.seen] == [None]
    assert (await adapter.observe(["m", "n"]))["m"] == NOTHING, "a list has only Lineal's"
    assert rig.server.services["m"].object["spec"] == spec


async def test_many_services_are_listed_page_by_page(
    rig: KServeRig, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.kserve.PAGE", 2)
    names = [f"m{number}" for number in range(5)]
    for name in names:
        await adapter.apply(Desired(name, 1, (Served(1, 1.0, rig.source(1)),), settings=FORMAT))
    rig.faults.clear()
    there = await adapter.observe(names)
    assert [[each.state for each in there[name].seen] for name in names] == [[State.LOADING]] * 5
    assert len(rig.faults.calls) == 3


async def test_a_mode_without_revisions_has_one_version(rig: KServeRig, adapter: Adapter) -> None:
    with pytest.raises(PreconditionFailed, match="at most 1 at a time"):
        adapter.check(wants(rig, {1: 0.5, 2: 0.5}, deployment_mode="RawDeployment"))
    await settled(adapter, wants(rig, {1: 1.0}, deployment_mode="RawDeployment"))


async def test_a_version_without_an_address_is_refused(rig: KServeRig, adapter: Adapter) -> None:
    served = Served(1, 1.0, rigs.Source({"model": b"1"}))
    with pytest.raises(PreconditionFailed, match="files of mode object"):
        await adapter.apply(Desired("m", 1, (served,), settings=FORMAT))


def test_the_namespace_must_be_named() -> None:
    with pytest.raises(InvalidArgument) as told:
        rigs.adapter("kserve", url="https://127.0.0.1:6443")
    assert told.value.field == "targets.rig.options.namespace"


A, B, C = Shape(1, "a", "a"), Shape(2, "b", "b"), Shape(3, "c", "c")


@pytest.mark.parametrize(
    ("service", "wanted", "step"),
    [
        (Service(A, True, 100, A), [Wanted(A, 100)], None),
        (Service(A, True, 100, A), [Wanted(B, 100)], Step(B, 100)),
        (Service(B, False, 100, A), [Wanted(B, 100)], None),
        (Service(B, False, 100, A), [Wanted(A, 100)], Step(A, 0)),
        (Service(B, True, 10, A), [Wanted(B, 100)], Step(B, 100)),
        (Service(B, False, 10, A), [Wanted(B, 100)], None),
        (Service(B, True, 10, A), [Wanted(C, 100)], Step(C, 10)),
        (Service(B, True, 10, A), [Wanted(A, 90), Wanted(C, 10)], Step(C, 10)),
        (Service(B, True, 10, A), [Wanted(A, 50), Wanted(C, 50)], Step(C, 10)),
        (Service(C, True, 10, A), [Wanted(A, 50), Wanted(C, 50)], Step(C, 50)),
        (Service(C, False, 100, A), [Wanted(A, 50), Wanted(C, 50)], Step(C, 50)),
        (Service(B, True, 25, A), [Wanted(A, 0), Wanted(B, 100)], Step(B, 100)),
        (Service(B, True, 100, B), [Wanted(A, 0), Wanted(B, 100)], Step(A, 0)),
        (Service(A, True, 0, A), [Wanted(A, 100)], None),
    ],
)
def test_the_next_step(service: Service, wanted: list[Wanted], step: Step | None) -> None:
    assert following(service, wanted) == step


def _share(rig: KServeRig, number: int) -> int:
    service = rig.server.services["m"]
    traffic = service.object["status"]["components"]["predictor"]["traffic"]
    return sum(
        each["percent"]
        for each in traffic
        if (revision := service.revision(each["revisionName"])) and revision.number == str(number)
    )
