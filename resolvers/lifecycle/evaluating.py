"""What was measured on slices of the data: metrics whose names say the slice.

The AUC of German customers is the metric `auc{country=DE}`: everything that reads, filters or compares metrics reads
slices too. Braces belong to slices alone, so that no other metric of an evaluation can be taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypedDict

from graph.editing import MAX_ROW_NAME
from graph.port import Metric
from lineal.errors import InvalidArgument
from resolvers.writing.common import ArtifactFile, MetricPoint, Report

MAX_SLICES: Final = 1_000
"""Slices of one evaluation."""

REPORT: Final = "report"
"""What the report of an evaluation is called among its artifacts."""

_PLAIN: Final = re.compile(r"[^{}\x00-\x1f\x7f]+")
_SLICED: Final = re.compile(r"([^{}]+)\{([^{}]+)\}")


class Slice(TypedDict):
    """Metrics of one part of the data: `name` says which, as in country=DE."""

    name: str
    metrics: Sequence[MetricPoint]


def slice_metric(metric: str, slice: str) -> str:
    """The name that a metric of a slice is stored under: auc{country=DE}."""
    return f"{metric}{{{slice}}}"


def parts_of(name: str) -> tuple[str, str | None]:
    """The metric and the slice that a stored name means; the slice is None where the metric is of all the data."""
    found = _SLICED.fullmatch(name)
    return (found[1], found[2]) if found else (name, None)


def measured(metrics: Sequence[MetricPoint], slices: Sequence[Slice]) -> list[MetricPoint]:
    """All metrics of an evaluation, under the names that they are stored under.

    Raises InvalidArgument: a name with braces or control characters, empty or too long; a slice that comes twice.
    """
    if len(slices) > MAX_SLICES:
        raise InvalidArgument(f"slices: has {len(slices)} entries; at most {MAX_SLICES} are allowed", field="slices")
    found = [{**point, "name": _plain(point["name"], f"metrics[{i}].name")} for i, point in enumerate(metrics)]
    seen: set[str] = set()
    for i, part in enumerate(slices):
        at = f"slices[{i}]"
        slice = _plain(part["name"], f"{at}.name")
        if slice in seen:
            raise InvalidArgument(f"{at}.name: {slice!r} is given twice", field=f"{at}.name")
        seen.add(slice)
        for j, point in enumerate(part["metrics"]):
            field = f"{at}.metrics[{j}].name"
            name = slice_metric(_plain(point["name"], field), slice)
            if len(name) > MAX_ROW_NAME:
                msg = f"{field}: with its slice it has {len(name)} characters; at most {MAX_ROW_NAME} are allowed"
                raise InvalidArgument(msg, field=field)
            found.append({**point, "name": name})
    return found  # type: ignore[return-value]


def with_report(artifacts: Sequence[ArtifactFile], report: Report | None) -> list[ArtifactFile]:
    """The artifacts of an evaluation, with its report. Raises InvalidArgument: one is called `report` already."""
    if report is None:
        return list(artifacts)
    if any(item["name"] == REPORT for item in artifacts):
        raise InvalidArgument(f"report: there is an artifact {REPORT!r} already", field="report")
    if report.get("digest") is None and report.get("uri") is None:
        raise InvalidArgument("report: needs a digest or a uri, to know it by", field="report")
    return [*artifacts, {"name": REPORT, **report}]


def by_slice(metrics: Iterable[Metric]) -> dict[str, list[tuple[str, Metric]]]:
    """The metrics of each slice, with their own names, by the names of slices and metrics."""
    slices: dict[str, list[tuple[str, Metric]]] = {}
    for metric in metrics:
        name, slice = parts_of(metric.name)
        if slice is not None:
            slices.setdefault(slice, []).append((name, metric))
    return {slice: sorted(slices[slice], key=lambda pair: pair[0]) for slice in sorted(slices)}


def _plain(name: str, field: str) -> str:
    """The name of a metric or a slice. Raises InvalidArgument."""
    if not name.strip() or len(name) > MAX_ROW_NAME or not _PLAIN.fullmatch(name):
        msg = f"{field}: must be 1 to {MAX_ROW_NAME} printable characters without {{ and }}, not {name!r:.80}"
        raise InvalidArgument(msg, field=field)
    return name
