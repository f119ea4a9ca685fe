"""What is special about TensorFlow Serving: one list for all, labels for what is available only, a long memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lineal.errors import InvalidArgument
from serving.port import Adapter, Desired, Observed, Served, State, fulfils
from tests.serving import rigs
from tests.serving.tensorflow_rig import TensorFlowRig


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TensorFlowRig]:
    monkeypatch.setenv("RIG_SECRET", rigs.SECRET)
    rig = TensorFlowRig(tmp_path)
    rig.start()
    yield rig
    rig.close()


@pytest.fixture
async def adapter(rig: TensorFlowRig) -> AsyncIterator[Adapter]:
    async with rig.adapter() as adapter:
        yield adapter


def wants(rig: TensorFlowRig, name: str, **weights: float) -> Desired:
    """Versions v1, v2, … with these weights."""
    served = (Served(int(key[1:]), weight, rig.source(int(key[1:]))) for key, weight in weights.items())
    return Desired(name, 1, tuple(served))


async def settled(
    adapter: Adapter, wanted: Desired, others: Sequence[Desired] = (), until: Callable[[Observed], bool] | None = None
) -> Observed:
    end = time.monotonic() + 60
    while True:
        there = (await adapter.observe([wanted.name]))[wanted.name]
        if until(there) if until else fulfils(there, wanted):
            return there
        assert time.monotonic() < end, there
        await adapter.apply(wanted, others)
        await asyncio.sleep(0.01)


async def test_each_list_names_all_that_lineal_wants_and_what_is_not_wanted_goes(
    rig: TensorFlowRig, adapter: Adapter
) -> None:
    a, b, c = (wants(rig, name, v1=1.0) for name in "abc")
    await settled(adapter, c)
    await settled(adapter, a)
    assert rig.server.answering() == {"a": {1}}
    await settled(adapter, b, [a])
    assert rig.server.answering() == {"a": {1}, "b": {1}}
    await settled(adapter, c, [a, b])
    assert rig.server.answering() == {"a": {1}, "b": {1}, "c": {1}}
    assert [rig.server.predict(name) for name in "abc"] == [1, 1, 1], "the labels of the others stay"


async def test_the_last_deployment_that_stops_leaves_an_empty_list(rig: TensorFlowRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, "a", v1=1.0))
    await settled(adapter, Desired("a", 2))
    assert rig.server.answering() == {}
    assert len(rig.server.lists[-1].config) == 0


async def test_what_has_no_files_yet_is_not_listed_for_it_would_hold_up_everything(
    rig: TensorFlowRig, adapter: Adapter
) -> None:
    """A list with it would never be answered, and no later one be taken."""
    await settled(adapter, wants(rig, "a", v1=1.0), [wants(rig, "not-yet", v1=1.0)])
    assert {model.name for told in rig.server.lists for model in told.config} == {"a"}


async def test_a_version_is_loaded_before_it_gets_the_label_and_the_old_one_goes_with_the_label(
    rig: TensorFlowRig, adapter: Adapter
) -> None:
    await settled(adapter, wants(rig, "a", v1=1.0))
    rig.server.lists.clear()
    await settled(adapter, wants(rig, "a", v2=1.0))
    steps = [
        (set(model.model_version_policy.specific.versions), dict(model.version_labels))
        for told in rig.server.lists
        for model in told.config
    ]
    assert steps == [({1, 2}, {"stable": 1}), ({2}, {"stable": 2})]


async def test_a_single_version_beside_has_the_label_canary(rig: TensorFlowRig, adapter: Adapter) -> None:
    await settled(adapter, wants(rig, "a", v1=1.0, v2=0.0))
    assert rig.server.labels == {"a": {"stable": 1, "canary": 2}}
    await settled(adapter, wants(rig, "a", v1=0.0, v2=1.0, v3=0.0))
    assert rig.server.labels == {"a": {"stable": 2}}


async def test_a_failure_that_was_let_go_is_not_told_again(rig: TensorFlowRig, adapter: Adapter) -> None:
    good = wants(rig, "a", v1=1.0)
    await settled(adapter, good)
    bad = Desired("a", 2, (Served(2, 1.0, rig.broken()),))
    there = await settled(adapter, bad, until=lambda there: bool(there.failure))
    assert [(each.number, each.state) for each in there.seen] == [(1, State.READY), (2, State.FAILED)]
    await settled(adapter, good)
    assert rig.server.versions["a"][2].error, "the server remembers it"
    async with rig.adapter() as another:
        await settled(another, good)
    repaired = Desired("a", 3, (Served(2, 1.0, rig.source(5)),))
    await settled(adapter, repaired)
    assert rig.server.predict("a") == 5


async def test_a_slow_model_is_not_waited_for(
    rig: TensorFlowRig, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.tensorflow_serving.PATIENCE", 0.2)
    rig.server.seconds = 3.0
    await adapter.apply(wants(rig, "a", v1=1.0))
    there = (await adapter.observe(["a"]))["a"]
    assert [each.state for each in there.seen] == [State.LOADING]
    await settled(adapter, wants(rig, "a", v1=1.0))


def test_without_a_place_the_folder_of_the_models_must_be_named() -> None:
    with pytest.raises(InvalidArgument) as told:
        rigs.adapter("tensorflow-serving", url="http://127.0.0.1:1")
    assert told.value.field == "targets.rig.options.base_path"
