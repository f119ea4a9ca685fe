"""Model versions side by side: parameters, metrics, inputs, artifacts, and what they came to on the same data.

A version's own rows are merged with those of the run that produced it; its own win. The first of the versions is the
champion: what the others differ from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from graph.naming import addresses
from graph.port import MAX_PAGE, Hop, Link, Metric, Node, Order, Paging, Snapshot
from lineal.errors import InvalidArgument
from resolvers.lifecycle.evaluating import parts_of
from resolvers.operation import Operation
from resolvers.reading import all_links, find_all

T = TypeVar("T")

MIN_COMPARED, MAX_COMPARED = 2, 20

PRODUCER = Hop("PRODUCED_BY", "OUT", "Run")
OWN_INPUTS = (Hop("TRAINED_ON", "OUT"), Hop("USES", "OUT"), Hop("DERIVED_FROM", "OUT"))
RUN_INPUTS = Hop("READ", "OUT")
ARTIFACTS = Hop("HAS_ARTIFACT", "OUT")
EVALUATIONS = Hop("EVALUATES", "IN", "Evaluation")
EVALUATED_ON = Hop("EVALUATED_ON", "OUT", "DatasetVersion")
LATEST = Order("createdAt", descending=True)


@dataclass(frozen=True, slots=True)
class Compared(Generic[T]):
    """A name with its value in each of the versions; None where a version has none."""

    name: str
    values: Sequence[T | None]
    same: bool


class OwnMetric(NamedTuple):
    """A metric, and the id of the version or run that has it."""

    owner: str
    metric: Metric


@dataclass(frozen=True, slots=True)
class Delta:
    """How a value differs from the champion's; `relative` is None where that is zero, infinite or NaN."""

    absolute: float
    relative: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of evaluations, of all the data or of a slice, in each of the versions."""

    name: str
    slice: str | None
    values: Sequence[OwnMetric | None]
    same: bool


@dataclass(frozen=True, slots=True)
class OnData:
    """What the versions came to on one data-set version; the latest evaluation that has a metric says it."""

    dataset: Node
    metrics: Sequence[Measured]


@dataclass(frozen=True, slots=True)
class Input:
    """What one container gave to each of the versions, over one kind of edge and in one role.

    `container` is the data set or model; `nodes` has, for each version, the data-set versions, model
    versions or fields of it that went in.
    """

    edge: str
    discriminator: str
    container: Node
    nodes: Sequence[Sequence[Node]]
    same: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Versions side by side: every list of values is in the order of `versions`."""

    versions: Sequence[Node]
    parameters: Sequence[Compared[str]]
    metrics: Sequence[Compared[OwnMetric]]
    inputs: Sequence[Input]
    artifacts: Sequence[Compared[Node]]


async def compare_versions(op: Operation, versions: Sequence[str]) -> Comparison:
    """Compare 2 to 20 model versions, given by id or address.

    Raises InvalidArgument (too few, too many, the same twice, not versions), NotFound.
    """
    if not MIN_COMPARED <= len(versions) <= MAX_COMPARED:
        msg = f"versions: has {len(versions)} entries; {MIN_COMPARED} to {MAX_COMPARED} are allowed"
        raise InvalidArgument(msg, field="versions")
    nodes = await find_all(op, versions, kinds={"ModelVersion"}, field="versions")
    if len(nodes) != len(versions):
        msg = "versions: the same version is named twice; each must be another one"
        raise InvalidArgument(msg, field="versions")
    snapshot = await op.snapshot()
    ids = [node.id for node in nodes]
    runs = {id: page.items[0].node.id for id, page in (await snapshot.neighbours(ids, PRODUCER)).items() if page.items}
    owners = list(dict.fromkeys([*ids, *runs.values()]))
    # The run comes first, so that what the version says itself overrides it.
    sources = [[*([runs[id]] if id in runs else []), id] for id in ids]
    params = await snapshot.rows(owners, "params")
    metrics = await snapshot.metrics(owners)
    files = await all_links(snapshot, owners, ARTIFACTS)
    measured = {owner: {m.name: OwnMetric(owner, m) for m in found} for owner, found in metrics.items()}
    named = {owner: {_file(link): link.node for link in found} for owner, found in files.items()}
    return Comparison(
        versions=nodes,
        parameters=_side_by_side([_merged(params, of) for of in sources], str),
        metrics=_side_by_side([_merged(measured, of) for of in sources], lambda own: _figure(own.metric.value)),
        inputs=await _inputs(snapshot, ids, runs),
        artifacts=_side_by_side(
            [_merged(named, of) for of in sources], lambda node: str(node.props.get("digest", node.id))
        ),
    )


async def compare_evaluations(op: Operation, versions: Sequence[Node]) -> list[OnData]:
    """What versions came to on each data-set version that one of them was evaluated on, by (address, id).

    Of each version its latest 500 evaluations are looked at.
    """
    snapshot = await op.snapshot()
    ids = [node.id for node in versions]
    pages = await snapshot.neighbours(ids, EVALUATIONS, order=LATEST, paging=Paging(MAX_PAGE))
    evaluations = {id: [link.node.id for link in page.items][::-1] for id, page in pages.items()}
    every = list(dict.fromkeys(own for of in evaluations.values() for own in of))
    if not every:
        return []
    data: dict[str, Node] = {}
    on: dict[str, set[str]] = {}
    for own, links in (await all_links(snapshot, every, EVALUATED_ON)).items():
        data |= {link.node.id: link.node for link in links}
        on[own] = {link.node.id for link in links}
    found = await snapshot.metrics(every)
    rows = {own: {m.name: OwnMetric(own, m) for m in metrics} for own, metrics in found.items()}
    names = await addresses(snapshot, data.values())
    result = []
    for dataset in sorted(data, key=lambda own: (names[own], own)):
        columns = [_merged(rows, [own for own in evaluations.get(id, ()) if dataset in on.get(own, ())]) for id in ids]
        compared = _side_by_side(columns, lambda own: _figure(own.metric.value))
        measured = [Measured(*parts_of(row.name), row.values, row.same) for row in compared]
        measured.sort(key=lambda row: (row.name, row.slice or ""))
        result.append(OnData(data[dataset], measured))
    return result


def deltas(values: Sequence[OwnMetric | None]) -> list[Delta | None]:
    """How each value differs from the first; None where it or the first is missing."""
    champion = values[0]
    if champion is None:
        return [None] * len(values)
    first = champion.metric.value
    differs = [None if own is None else own.metric.value - first for own in values]
    usable = math.isfinite(first) and first != 0
    return [None if d is None else Delta(d, d / abs(first) if usable else None) for d in differs]


def _merged(rows: Mapping[str, Mapping[str, T]], owners: Iterable[str]) -> dict[str, T]:
    merged: dict[str, T] = {}
    for owner in owners:
        merged |= rows.get(owner, {})
    return merged


def _side_by_side(columns: Sequence[Mapping[str, T]], identity: Callable[[T], str]) -> list[Compared[T]]:
    result = []
    for name in sorted({name for column in columns for name in column}):
        values = [column.get(name) for column in columns]
        different = {None if value is None else identity(value) for value in values}
        result.append(Compared(name, values, len(different) == 1))
    return result


def _figure(value: float) -> str:
    """NaN is not equal to itself, its text is."""
    return repr(float(value))


def _file(link: Link) -> str:
    return link.edge.discriminator or link.node.name


async def _inputs(snapshot: Snapshot, ids: Sequence[str], runs: Mapping[str, str]) -> list[Input]:
    links: dict[str, list[Link]] = {id: [] for id in ids}
    for hop in OWN_INPUTS:
        for id, found in (await all_links(snapshot, ids, hop)).items():
            links[id] += found
    read = await all_links(snapshot, list(dict.fromkeys(runs.values())), RUN_INPUTS) if runs else {}
    for id, run in runs.items():
        links[id] += read.get(run, [])
    containers = await snapshot.nodes(sorted({link.node.container for found in links.values() for link in found}))
    columns: dict[tuple[str, str, str], dict[str, dict[str, Node]]] = {}
    for id, found in links.items():
        for link in found:
            key = (link.edge.kind, link.edge.discriminator, link.node.container)
            columns.setdefault(key, {}).setdefault(id, {})[link.node.id] = link.node
    result = [
        Input(
            edge,
            discriminator,
            # A container that is hidden leaves its part to stand for itself.
            containers.get(container) or next(iter(next(iter(column.values())).values())),
            [list(column.get(id, {}).values()) for id in ids],
            len({frozenset(column.get(id, ())) for id in ids}) == 1,
        )
        for (edge, discriminator, container), column in columns.items()
    ]
    return sorted(result, key=lambda row: (row.edge, row.container.name, row.discriminator, row.container.id))
