"""In whatever order events come, and however often: what stands in the end is the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests import building
from tests.conftest import count
from tests.openlineage.conftest import Listener
from tests.openlineage.inventing import invent

ORDERS = count(3, 200)
AT_ONCE = 10
"""Orders in one store: what all of them leave there makes each slower than the one before."""
MADE_UP = sorted({*range(count(1, 200)), 182, 211})
"""Among them are some where one write looks at a run for two reasons: for some of its data, and for all."""


def shuffled(events: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """All events in another order, some of them twice."""
    chance = random.Random(seed)
    again = [*events, *chance.choices(events, k=len(events) // 3)]
    chance.shuffle(again)
    return again


@pytest.mark.parametrize("first", range(0, ORDERS, AT_ONCE))
async def test_the_food_delivery_comes_to_one_graph_in_any_order_with_repeats(
    listener: Listener, food_delivery: list[dict[str, Any]], first: int
) -> None:
    await listener.hear(*food_delivery)
    expected = await listener.picture()
    assert len(expected.edges) > 200
    for seed in range(first, min(first + AT_ONCE, ORDERS)):
        workspace = f"order-{seed}"
        await building.workspace(listener.graph, workspace)
        events = shuffled(food_delivery, seed)
        if seed % 2:
            assert not any(await listener.hear_at_once(events, workspace))
        else:
            await listener.hear(*events, workspace=workspace)
        assert await listener.picture(workspace) == expected, f"seed {seed}"


@pytest.mark.parametrize("seed", MADE_UP)
async def test_made_up_events_of_jobs_in_circles_come_to_one_graph_in_any_order(listener: Listener, seed: int) -> None:
    events = invent(random.Random(seed))
    await listener.hear(*events)
    expected = await listener.picture()
    for turn in range(3):
        workspace = f"turn-{turn}"
        await building.workspace(listener.graph, workspace)
        if turn == 0:
            assert not any(await listener.hear_at_once(shuffled(events, turn), workspace))
        else:
            await listener.hear(*shuffled(events, turn), workspace=workspace)
        assert await listener.picture(workspace) == expected, f"turn {turn}"


async def test_hearing_the_same_again_writes_nothing(listener: Listener, food_delivery: list[dict[str, Any]]) -> None:
    await listener.hear(*food_delivery)
    before = await building.sequenced(listener.graph)
    await listener.hear(*food_delivery)
    await listener.hear_at_once(food_delivery)
    assert await building.sequenced(listener.graph) == before


async def test_the_food_delivery_is_in_the_graph_edge_by_edge(
    listener: Listener, food_delivery: list[dict[str, Any]]
) -> None:
    await listener.hear(*food_delivery)
    found = await listener.picture()

    def key(item: dict[str, Any]) -> str:
        return f"{item['namespace']}#{item['name']}"

    reads, made, runs_of, consumes, produces, columns, fields = (set[tuple[str, str]]() for _ in range(7))
    for event in food_delivery:
        run, job = event["run"]["runId"], key(event["job"])
        runs_of.add((run, job))
        for item in event.get("inputs", ()):
            reads.add((run, key(item)))
            consumes.add((job, key(item)))
        for item in event.get("outputs", ()):
            made.add((f"{key(item)}/{run}", run))
            produces.add((job, key(item)))
            for field in item["facets"]["schema"]["fields"]:
                fields.add((f"{key(item)}/{field['name']}", key(item)))
            for name, entry in item["facets"].get("columnLineage", {"fields": {}})["fields"].items():
                for source in entry["inputFields"]:
                    columns.add((f"{key(item)}/{name}", f"{key(source)}/{source['field']}"))
    assert found.leads("RUN_OF") == runs_of
    assert {(run, version.rpartition("/")[0]) for run, version in found.leads("READ")} == reads
    assert found.leads("PRODUCED_BY") == made
    assert found.leads("CONSUMES") == consumes
    assert found.leads("PRODUCES") == produces
    assert found.leads("DERIVED_FROM", "Field") == columns
    assert found.leads("DERIVED_FROM") == columns
    assert found.leads("PART_OF", "Field", "Dataset") >= fields
    # All that is read was made by a run: nothing of it is unversioned.
    assert {version for _, version in found.leads("READ")} == {
        version for version, _ in found.leads("PRODUCED_BY") if any(version.startswith(f"{d}/") for _, d in reads)
    }
    assert all(found.nodes["Run", run]["state"] == "FINISHED" for run, _ in runs_of)
    types = {("Field", *name.rsplit("/", 1)): data for name, data in fields}
    assert all(found.nodes[field]["type"] for field in types)
