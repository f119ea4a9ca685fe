"""What every adapter does, on each platform."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest

from lineal.errors import Conflict, InvalidArgument, LinealError, PreconditionFailed, Unavailable
from serving.port import GUARD, NOTHING, Adapter, Desired, Observed, Served, State, fulfils
from tests.serving.faults import Fault
from tests.serving.rigs import SECRET, Rig

FAULTS = (Fault.LOST, Fault.UNHEARD, Fault.HANG)


def desired(rig: Rig, name: str, weights: dict[int, float], *, revision: int = 1) -> Desired:
    """Versions by number, each answering its number, with these weights; those with requests where none is beside."""
    weights = {number: weight for number, weight in weights.items() if weight or rig.beside}
    served = tuple(Served(number, weight, rig.source(number)) for number, weight in weights.items())
    return Desired(name, revision, served, rig.resources, rig.settings)


async def seen(adapter: Adapter, name: str) -> Observed:
    return (await adapter.observe([name]))[name]


async def settle(rig: Rig, adapter: Adapter, wanted: Desired, others: Sequence[Desired] = ()) -> Observed:
    """Look and apply until it is so, as the reconciler does; what was seen."""
    end = time.monotonic() + rig.patience
    there = NOTHING
    while True:
        with suppress(Unavailable):
            there = await seen(adapter, wanted.name)
            if fulfils(there, wanted):
                return there
            await adapter.apply(wanted, others)
        assert time.monotonic() < end, f"{wanted} did not come true, there is {there}"
        await asyncio.sleep(rig.pause)


async def answers(rig: Rig, name: str, *numbers: int) -> None:
    """Requests that name no version get the answer of one of these."""
    if rig.predicts:
        assert await rig.predict(name) in numbers


@dataclass
class Answers:
    """The answers to one request after the other."""

    given: list[int | None] = field(default_factory=list)


@asynccontextmanager
async def asking(rig: Rig, name: str) -> AsyncIterator[Answers]:
    """Somebody who asks all the time."""
    answers = Answers()

    async def ask() -> None:
        while True:
            answers.given.append(await rig.predict(name))
            await asyncio.sleep(0)

    task = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_version_that_is_deployed_answers(rig: Rig, adapter: Adapter, name: str) -> None:
    there = await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    assert [(each.number, each.state) for each in there.seen] == [(1, State.READY)]
    await answers(rig, name, 1)


async def test_applying_what_is_so_changes_nothing(rig: Rig, adapter: Adapter, name: str) -> None:
    wanted = desired(rig, name, {1: 1.0, 2: 0.0})
    await settle(rig, adapter, wanted)
    before = await seen(adapter, name)
    rig.faults.clear()
    await adapter.apply(wanted)
    async with rig.adapter() as another:
        await another.apply(wanted)
    assert rig.faults.calls, "it looks first"
    assert rig.faults.changes == []
    assert await seen(adapter, name) == before


async def test_files_are_brought_ahead_without_a_change_of_what_is_served(
    rig: Rig, adapter: Adapter, name: str
) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    before = await seen(adapter, name)
    rig.faults.clear()
    wanted = desired(rig, name, {2: 1.0}, revision=2)
    for _ in range(2):
        await adapter.place(wanted)
    assert rig.faults.changes == []
    assert await seen(adapter, name) == before
    await answers(rig, name, 1)
    await settle(rig, adapter, wanted)
    await answers(rig, name, 2)


async def test_a_name_that_nobody_used_is_observed_as_nothing(rig: Rig, adapter: Adapter, name: str) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    observed = await adapter.observe([name, f"{name}-x"])
    assert set(observed) == {name, f"{name}-x"}
    assert observed[f"{name}-x"].seen == ()
    assert [each.number for each in observed[name].seen] == [1]


async def test_replacing_a_version_leaves_no_moment_without_an_answer(rig: Rig, adapter: Adapter, name: str) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    if not rig.predicts:
        await settle(rig, adapter, desired(rig, name, {2: 1.0}, revision=2))
        return
    async with asking(rig, name) as asked:
        await settle(rig, adapter, desired(rig, name, {2: 1.0}, revision=2))
    assert asked.given
    assert set(asked.given) <= {1, 2}
    await answers(rig, name, 2)
    assert await rig.predict(name, 1) is None


async def test_a_canary_is_served_beside_and_promoted(rig: Rig, adapter: Adapter, name: str) -> None:
    if not rig.beside:
        pytest.skip("it has one version at a time")
    await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    share = 0.25 if adapter.splits else 0.0
    there = await settle(rig, adapter, desired(rig, name, {1: 1.0 - share, 2: share}, revision=2))
    assert sorted(each.number or 0 for each in there.seen) == [1, 2]
    if rig.predicts:
        assert await rig.predict(name, 2) == 2
        await answers(rig, name, *((1, 2) if adapter.splits else (1,)))
    await settle(rig, adapter, desired(rig, name, {2: 1.0}, revision=3))
    await answers(rig, name, 2)


async def test_two_versions_swap_places_at_once(rig: Rig, adapter: Adapter, name: str) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0, 2: 0.0}))
    await answers(rig, name, 1)
    await settle(rig, adapter, desired(rig, name, {1: 0.0, 2: 1.0}, revision=2))
    await answers(rig, name, 2)
    if rig.predicts and rig.beside:
        assert await rig.predict(name, 1) == 1


async def test_rolling_back_gives_the_earlier_version_again(rig: Rig, adapter: Adapter, name: str) -> None:
    for revision, number in enumerate((1, 2, 1), 1):
        there = await settle(rig, adapter, desired(rig, name, {number: 1.0}, revision=revision))
        assert [each.number for each in there.seen] == [number]
        await answers(rig, name, number)


async def test_a_number_that_stands_for_other_files_now_gets_them(rig: Rig, adapter: Adapter, name: str) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    other = Desired(name, 2, (Served(1, 1.0, rig.source(3)),), rig.resources, rig.settings)
    await settle(rig, adapter, other)
    await answers(rig, name, 3)


async def test_nothing_answers_after_a_stop(rig: Rig, adapter: Adapter, name: str) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0, 2: 0.0}))
    stopped = Desired(name, 2)
    there = await settle(rig, adapter, stopped)
    assert there.seen == ()
    if rig.predicts:
        assert await rig.predict(name) is None
    rig.faults.clear()
    await adapter.apply(stopped)
    assert rig.faults.changes == []


async def test_deployments_do_not_disturb_each_other(rig: Rig, adapter: Adapter, name: str) -> None:
    one, other = desired(rig, name, {1: 1.0}), desired(rig, f"{name}-b", {2: 1.0})
    await settle(rig, adapter, one)
    await settle(rig, adapter, other, [one])
    both = await adapter.observe([one.name, other.name])
    assert fulfils(both[one.name], one)
    assert fulfils(both[other.name], other)
    await settle(rig, adapter, Desired(name, 2), [other])
    assert fulfils(await seen(adapter, other.name), other)
    await answers(rig, other.name, 2)


@pytest.mark.parametrize("changing", [True, False], ids=["change", "look"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.lower())
async def test_a_rollout_goes_on_after_each_single_call_that_fails(
    rig: Rig, name: str, fault: Fault, changing: bool
) -> None:
    # As short as a test can bear for what never comes, and long for what is only slow.
    patience = 1.0 if fault is Fault.HANG else 30.0
    n = 0
    fired = True
    while fired:
        n += 1
        fired = False
        async with rig.adapter(timeout=patience) as adapter:
            rig.faults.clear()
            rig.faults.arm(n, fault, changing=changing)
            for revision, weights in enumerate(({1: 1.0}, {2: 1.0}, {}), 1):
                await settle(rig, adapter, desired(rig, f"{name}-{n}", weights, revision=revision))
                if weights:
                    await answers(rig, f"{name}-{n}", *weights)
            fired = rig.faults.fired
    assert n > 3, "there are calls that can fail"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.lower())
async def test_a_look_that_fails_is_told_and_changes_nothing(rig: Rig, name: str, fault: Fault) -> None:
    async with rig.adapter(timeout=1.0 if fault is Fault.HANG else 30.0) as adapter:
        rig.faults.arm(1, fault, changing=False)
        with pytest.raises(Unavailable):
            await adapter.observe([name])
        rig.faults.clear()
        rig.faults.arm(1, fault, changing=False)
        with pytest.raises(Unavailable):
            await adapter.apply(desired(rig, name, {1: 1.0}))
        assert rig.faults.changes == []


async def test_who_lost_the_lease_makes_no_call_that_changes_anything(rig: Rig, adapter: Adapter, name: str) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    rig.faults.clear()

    def lost() -> None:
        raise Conflict("the lease is somebody else's now")

    token = GUARD.set(lost)
    try:
        for wanted in (desired(rig, name, {2: 1.0}, revision=2), Desired(name, 2)):
            with pytest.raises(Conflict):
                await adapter.apply(wanted)
    finally:
        GUARD.reset(token)
    assert rig.faults.changes == []
    await answers(rig, name, 1)


async def test_a_server_that_is_away_is_told_and_the_rollout_goes_on_when_it_is_back(
    rig: Rig, adapter: Adapter, name: str
) -> None:
    await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    wanted = desired(rig, name, {2: 1.0}, revision=2)
    await asyncio.to_thread(rig.kill)
    try:
        with pytest.raises(Unavailable):
            await adapter.observe([name])
        for _ in range(2):
            with pytest.raises(Unavailable):
                await adapter.apply(wanted)
    finally:
        await asyncio.to_thread(rig.revive)
    await settle(rig, adapter, wanted)
    await answers(rig, name, 2)


async def test_a_server_that_came_back_empty_is_seen_and_filled(rig: Rig, adapter: Adapter, name: str) -> None:
    if not rig.can_be_empty:
        pytest.skip("it forgets nothing")
    wanted = desired(rig, name, {1: 0.0, 2: 1.0})
    await settle(rig, adapter, wanted)
    await asyncio.to_thread(rig.empty)
    assert not fulfils(await seen(adapter, name), wanted)
    await settle(rig, adapter, wanted)
    await answers(rig, name, 2)


async def test_a_change_by_somebody_else_is_seen_and_undone(rig: Rig, adapter: Adapter, name: str) -> None:
    wanted = desired(rig, name, {1: 1.0, 2: 0.0})
    await settle(rig, adapter, wanted)
    await rig.meddle(name)
    assert not fulfils(await seen(adapter, name), wanted)
    await settle(rig, adapter, wanted)
    await answers(rig, name, 1)


async def test_a_version_that_cannot_come_up_is_told_and_the_one_before_goes_on_answering(
    rig: Rig, adapter: Adapter, name: str
) -> None:
    broken = rig.broken()
    if broken is None:
        pytest.skip("nothing can fail to come up")
    good = desired(rig, name, {1: 1.0})
    await settle(rig, adapter, good)
    bad = Desired(name, 2, (Served(2, 1.0, broken),), rig.resources, rig.settings)
    end = time.monotonic() + rig.patience
    reason = ""
    while not reason:
        with suppress(Unavailable):
            try:
                await adapter.apply(bad)
            except PreconditionFailed as error:
                reason = error.message
            else:
                reason = (await seen(adapter, name)).failure
        await answers(rig, name, 1)
        assert time.monotonic() < end
        await asyncio.sleep(rig.pause)
    assert len(reason) < 1000
    await settle(rig, adapter, replace(good, revision=3))
    await answers(rig, name, 1)


async def test_what_can_never_be_served_is_refused_with_the_field(rig: Rig, adapter: Adapter) -> None:
    if not rig.refused():
        pytest.skip("only the platform itself can refuse")
    for wanted, where in rig.refused():
        with pytest.raises((InvalidArgument, PreconditionFailed)) as told:
            adapter.check(wanted)
        assert told.value.field == where
        assert told.value.message.startswith(f"{where}: ")
    assert rig.faults.calls == [], "the platform is not asked"


async def test_what_can_be_served_is_not_refused(rig: Rig, adapter: Adapter, name: str) -> None:
    adapter.check(desired(rig, name, {1: 1.0}))
    adapter.check(Desired(name, 1))


@pytest.mark.parametrize("changing", [True, False])
async def test_no_message_holds_a_secret(rig: Rig, adapter: Adapter, name: str, changing: bool) -> None:
    rig.faults.arm(1, Fault.TOLD, changing=changing)
    with pytest.raises(LinealError) as told:
        await settle(rig, adapter, desired(rig, name, {1: 1.0}))
    assert rig.faults.fired
    for secret in (rig.secret, SECRET):
        assert secret not in f"{told.value} {told.value.details} {told.value.__cause__}"
        assert secret not in repr(adapter)
    assert len(told.value.message) < 1000
