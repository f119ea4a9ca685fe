"""Model versions side by side: parameters, metrics, inputs, artifacts.

A version's own rows are merged with those of the run that produced it; its own win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from graph.port import Hop, Link, Metric, Node, Snapshot
from lineal.errors import InvalidArgument
from resolvers.operation import Operation
from resolvers.reading import all_links, find_all

T = TypeVar("T")

MIN_COMPARED, MAX_COMPARED = 2, 20

PRODUCER = Hop("PRODUCED_BY", "OUT", "Run")
OWN_INPUTS = (Hop("TRAINED_ON", "OUT"), Hop("USES", "OUT"), Hop("DERIVED_FROM", "OUT"))
RUN_INPUTS = Hop("READ", "OUT")
ARTIFACTS = Hop("HAS_ARTIFACT", "OUT")


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
