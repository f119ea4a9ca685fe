"""Champion and challengers side by side: how they differ, on the same data and on slices of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from resolvers.comparing import compare_evaluations, compare_versions, deltas
from resolvers.operation import Operation
from resolvers.writing.datasets import register_dataset_version
from resolvers.writing.evaluations import record_evaluation
from resolvers.writing.versions import create_model_version

ALL = [f"models:/bert/{n}" for n in (1, 2, 3)]


def points(**values: float) -> list[Any]:
    return [{"name": name, "value": value} for name, value in values.items()]


@pytest.fixture
async def op(op: Operation) -> Operation:
    """Three versions, of which the first two were evaluated on v1, and the first also on v2."""
    await create_model_version(op, model="models:/bert", create_model=True, metrics=points(loss=2.0, acc=0.0))
    await create_model_version(op, model="models:/bert", metrics=points(loss=1.5, acc=0.5))
    await create_model_version(op, model="models:/bert", metrics=points(loss=math.nan))
    for name in ("v1", "v2"):
        await register_dataset_version(op, dataset="datasets:/nq", create_dataset=True, name=name)
    for number, on, auc in ((1, "v1", 0.1), (1, "v1", 0.8), (2, "v1", 0.9), (1, "v2", 0.7)):
        slices: list[Any] = [{"name": "country=DE", "metrics": points(auc=auc / 2)}]
        await record_evaluation(
            op,
            version=f"models:/bert/{number}",
            dataset=f"datasets:/nq/{on}",
            metrics=points(auc=auc),
            slices=slices if on == "v1" else (),
        )
    return op


def told(row: Any) -> list[Any]:
    return [None if d is None else (round(d.absolute, 9), d.relative and round(d.relative, 9)) for d in deltas(row)]


async def test_every_metric_differs_from_the_champions_by_a_figure_and_a_share(op: Operation) -> None:
    found = await compare_versions(op, ALL)
    metrics = {row.name: row.values for row in found.metrics}
    loss = deltas(metrics["loss"])
    assert told(metrics["loss"])[:2] == [(0.0, 0.0), (-0.5, -0.25)]
    assert loss[2] is not None
    assert math.isnan(loss[2].absolute)
    assert told(metrics["acc"]) == [(0.0, None), (0.5, None), None]


async def test_nothing_differs_from_a_champion_that_has_no_such_metric(op: Operation) -> None:
    found = await compare_versions(op, [ALL[2], ALL[0]])
    assert {row.name: told(row.values) for row in found.metrics if row.name == "acc"} == {"acc": [None, None]}


async def test_evaluations_on_the_same_data_stand_side_by_side_the_latest_counts(op: Operation) -> None:
    versions = (await compare_versions(op, ALL)).versions
    first, second = await compare_evaluations(op, versions)
    assert [first.dataset.name, second.dataset.name] == ["v1", "v2"]
    shown = {(m.name, m.slice): [own and own.metric.value for own in m.values] for m in first.metrics}
    assert shown == {("auc", None): [0.8, 0.9, None], ("auc", "country=DE"): [0.4, 0.45, None]}
    assert told(first.metrics[0].values) == [(0.0, 0.0), (0.1, 0.125), None]
    assert [(m.name, [own and own.metric.value for own in m.values]) for m in second.metrics] == [
        ("auc", [0.7, None, None])
    ]


async def test_versions_that_were_not_evaluated_have_nothing_to_compare(op: Operation) -> None:
    await create_model_version(op, model="models:/bert")
    versions = (await compare_versions(op, ["models:/bert/3", "models:/bert/4"])).versions
    assert await compare_evaluations(op, versions) == []
