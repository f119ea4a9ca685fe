"""Evaluations with slices and reports: how they are kept, and what cannot be mistaken for a slice."""

from __future__ import annotations

from typing import Any

import pytest

from lineal.errors import InvalidArgument
from resolvers.lifecycle.evaluating import by_slice, parts_of, slice_metric
from resolvers.operation import Operation
from resolvers.writing.evaluations import record_evaluation
from resolvers.writing.versions import create_model_version
from tests.resolvers.conftest import Desk, refused


def point(name: str, value: float) -> Any:
    return {"name": name, "value": value}


@pytest.fixture
async def bert(op: Operation) -> None:
    """A model with a version."""
    await create_model_version(op, model="models:/bert", create_model=True)


@pytest.mark.usefixtures("bert")
async def test_metrics_of_slices_are_kept_under_names_that_say_the_slice(desk: Desk, op: Operation) -> None:
    made = await record_evaluation(
        op,
        version="models:/bert/1",
        metrics=[point("auc", 0.9)],
        slices=[
            {"name": "country=FR", "metrics": [point("auc", 0.8), point("acc", 0.7)]},
            {"name": "country=DE", "metrics": [point("auc", 0.6)]},
        ],
    )
    found = await desk.metrics(made.id)
    assert {name: metric.value for name, metric in found.items()} == {
        "auc": 0.9,
        "auc{country=FR}": 0.8,
        "acc{country=FR}": 0.7,
        "auc{country=DE}": 0.6,
    }
    slices = by_slice(found.values())
    assert {slice: [(name, metric.value) for name, metric in of] for slice, of in slices.items()} == {
        "country=DE": [("auc", 0.6)],
        "country=FR": [("acc", 0.7), ("auc", 0.8)],
    }
    assert list(slices) == ["country=DE", "country=FR"]


@pytest.mark.parametrize(
    ("metric", "slice"), [("auc", "country=DE"), ("recall@10", "age>=65, income<1e3"), ("f1 (macro)", "Größe=XL")]
)
def test_a_name_with_a_slice_says_both_again(metric: str, slice: str) -> None:
    assert parts_of(slice_metric(metric, slice)) == (metric, slice)


@pytest.mark.parametrize("name", ["auc", "{x}", "a{}", "a{b}c", "a{b{c}}", "a}b{", "a{b"])
def test_what_is_no_name_with_a_slice_is_a_metric_of_all_the_data(name: str) -> None:
    assert parts_of(name) == (name, None)


@pytest.mark.usefixtures("bert")
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"metrics": [point("auc{country=DE}", 1)]}, "metrics[0].name"),
        ({"metrics": [point("a", 1), point("b}", 1)]}, "metrics[1].name"),
        ({"slices": [{"name": "a{b", "metrics": [point("auc", 1)]}]}, "slices[0].name"),
        ({"slices": [{"name": "", "metrics": []}]}, "slices[0].name"),
        ({"slices": [{"name": "a", "metrics": [point("x{y}", 1)]}]}, "slices[0].metrics[0].name"),
        ({"slices": [{"name": "a", "metrics": [point("x\n", 1)]}]}, "slices[0].metrics[0].name"),
        ({"slices": [{"name": "a", "metrics": []}, {"name": "a", "metrics": []}]}, "slices[1].name"),
        ({"slices": [{"name": "s" * 200, "metrics": [point("m" * 60, 1)]}]}, "slices[0].metrics[0].name"),
        ({"slices": [{"name": f"{n}", "metrics": []} for n in range(1_001)]}, "slices"),
        ({"report": {"mediaType": "text/html"}}, "report"),
        ({"report": {"uri": "s3://b/r"}, "artifacts": [{"name": "report", "uri": "s3://b/x"}]}, "report"),
    ],
)
async def test_what_could_be_mistaken_for_something_else_is_refused_whole(
    desk: Desk, op: Operation, given: Any, field: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        await record_evaluation(op, version="models:/bert/1", **given)
    assert refused(error) == field
    assert await desk.count("Evaluation", "Artifact") == 0


@pytest.mark.usefixtures("bert")
async def test_a_report_is_the_artifact_of_that_name(desk: Desk, op: Operation) -> None:
    made = await record_evaluation(
        op,
        version="models:/bert/1",
        artifacts=[{"name": "curve", "uri": "s3://b/curve.png"}],
        report={"uri": "s3://b/report.html", "mediaType": "text/html"},
    )
    assert await desk.leads(made.id, "HAS_ARTIFACT") == {"s3://b/curve.png": "curve", "s3://b/report.html": "report"}
