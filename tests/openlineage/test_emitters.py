"""What the emitters of Airflow, Dagster and Prefect send comes to the lineage that it is about, edge by edge."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from graph.port import NewNode
from tests import building
from tests.openlineage.conftest import Listener
from tests.openlineage.emitters import (
    DAG,
    EXTRACT,
    FETCH,
    FLOW,
    JOB,
    LOAD,
    MATERIALIZE,
    STEP,
    SUM,
    airflow,
    dagster,
    prefect,
)


async def test_a_dag_of_airflow_is_there_edge_by_edge(listener: Listener) -> None:
    await listener.hear(*airflow())
    found = await listener.picture()
    raw, daily = "postgres://db:5432#shop.raw.orders", "postgres://db:5432#shop.public.daily"
    assert found.leads("RUN_OF") == {(DAG, "prod#shop"), (EXTRACT, "prod#shop.extract"), (LOAD, "prod#shop.load")}
    assert found.leads("PART_OF", "Run") == {(EXTRACT, DAG), (LOAD, DAG)}
    assert found.leads("READ") == {(EXTRACT, "s3://lake#orders/day.csv/unversioned"), (LOAD, f"{raw}/{EXTRACT}")}
    assert found.leads("PRODUCED_BY") == {(f"{raw}/{EXTRACT}", EXTRACT), (f"{daily}/{LOAD}", LOAD)}
    assert found.leads("DERIVED_FROM") == {(f"{daily}/total", f"{raw}/price")}
    assert found.leads("CONSUMES") == {("prod#shop.extract", "s3://lake#orders/day.csv"), ("prod#shop.load", raw)}
    assert found.leads("PRODUCES") == {("prod#shop.extract", raw), ("prod#shop.load", daily)}
    # It failed at first, and is FINISHED in the end.
    assert found.nodes["Run", EXTRACT]["state"] == "FINISHED"
    assert found.nodes["Run", EXTRACT]["description"] == "timeout"
    assert found.nodes["Run", DAG]["attributes"]["nominalEndTime"].endswith("01:00:00Z")
    assert found.nodes["Pipeline", "prod#shop"]["description"] == "The shop's day."


async def test_owners_that_lineal_knows_own_what_they_are_said_to(listener: Listener) -> None:
    ann, team = await building.create(listener.graph, NewNode("Principal", "corp:ann", ""), NewNode("Team", "data", ""))
    events = airflow()
    await listener.hear(*events)
    assert await _owners(listener, "prod#shop") == {ann.id}
    later = {**events[-1], "eventTime": "2026-03-02T00:00:00Z", "job": {**events[-1]["job"], "facets": {}}}
    owners = [{"name": "team:data"}, {"name": "user:nobody"}, {"type": "OWNER"}]
    later["job"]["facets"] = {"ownership": {"owners": owners}}
    await listener.hear(later)
    assert await _owners(listener, "prod#shop") == {team.id}
    assert await _owners(listener, "prod#shop.load") == {ann.id}


async def _owners(listener: Listener, name: str) -> set[str]:
    async with listener.graph.snapshot() as snapshot:
        page = await snapshot.records("", 500)
        (job,) = [record.node.id for record in page if record.node.name == name and record.node.kind == "Pipeline"]
        return {e.target for e in await snapshot.edges_from([job]) if e.kind == "OWNED_BY" and e.until is None}


async def test_a_run_of_dagster_that_made_asset_after_asset_is_there_edge_by_edge(listener: Listener) -> None:
    await listener.hear(*dagster())
    found = await listener.picture()
    raw, daily, report = (f"shop#{name}/{MATERIALIZE}" for name in ("raw/orders", "daily", "report"))
    assert found.leads("PRODUCED_BY") == {(version, MATERIALIZE) for version in (raw, daily, report)}
    # What it made itself as another job it did not read: that is what the next asset was made of.
    assert found.leads("READ") == {(MATERIALIZE, "shop#customers/unversioned")}
    assert found.leads("DERIVED_FROM", "DatasetVersion") == {(daily, raw), (report, daily)}
    assert found.leads("DERIVED_FROM", "Field") == {("shop#daily/total", "shop#raw/orders/price")}
    assert found.leads("CONSUMES") == {
        ("shop#daily", "shop#raw/orders"),
        ("shop#report", "shop#daily"),
        ("shop#report", "shop#customers"),
        ("shop#daily__checks", "shop#daily"),
    }
    assert found.leads("PRODUCES") == {(f"shop#{name}", f"shop#{name}") for name in ("raw/orders", "daily", "report")}
    assert found.leads("PART_OF", "Run") == {(STEP, JOB)}
    assert (found.nodes["Run", STEP]["state"], found.nodes["Run", JOB]["state"]) == ("FAILED", "FAILED")


async def test_assets_that_one_run_makes_of_each_other_in_a_circle_are_read_as_they_were(listener: Listener) -> None:
    events = dagster()[:2]
    ring = {"namespace": "shop", "name": "daily", "facets": {}}
    first = {"namespace": "shop", "name": "raw/orders", "facets": {}}
    told = [{**events[0], "eventType": "COMPLETE", "inputs": [ring]}, {**events[1], "inputs": [first]}]
    await listener.hear(*told)
    found = await listener.picture()
    assert found.leads("READ") == {
        (MATERIALIZE, "shop#daily/unversioned"),
        (MATERIALIZE, "shop#raw/orders/unversioned"),
    }
    assert found.leads("DERIVED_FROM") == set()


async def test_a_flow_of_prefect_is_there_edge_by_edge(listener: Listener) -> None:
    await listener.hear(*prefect())
    found = await listener.picture()
    database = "postgresql://db:5432/shop"
    assert found.leads("RUN_OF") == {(FLOW, "flows#daily"), (FETCH, "flows#fetch"), (SUM, "flows#sum")}
    assert found.leads("PART_OF", "Run") == {(FETCH, FLOW), (SUM, FLOW)}
    assert found.leads("READ") == {(SUM, f"{database}#orders/{FETCH}")}
    assert found.leads("PRODUCED_BY") == {(f"{database}#orders/{FETCH}", FETCH), (f"{database}#totals/{SUM}", SUM)}
    assert found.nodes["Run", FLOW]["state"] == "FINISHED"


@pytest.mark.parametrize("events", [airflow, dagster, prefect], ids=lambda each: each.__name__)
async def test_in_any_order_with_repeats_it_comes_to_the_same(
    listener: Listener, events: Callable[[], list[dict[str, Any]]]
) -> None:
    told = events()
    await listener.hear(*told)
    expected = await listener.picture()
    for seed in range(4):
        workspace = f"order-{seed}"
        await building.workspace(listener.graph, workspace)
        again = [*told, *told[::2]]
        random.Random(seed).shuffle(again)
        if seed % 2:
            assert not any(await listener.hear_at_once(again, workspace))
        else:
            await listener.hear(*again, workspace=workspace)
        assert await listener.picture(workspace) == expected, f"seed {seed}"
