"""Moving whole graphs between stores, as lines of graph.records.

An export is canonical: a header, nodes by id, edges by (source, kind, target, discriminator, since), then
series by (owner, name, number). So the same graph gives the same bytes from either store. Deleted nodes and
ended edges are in it; changes, leases and idempotency keys stay behind.

An import reads its file twice. The first time every line is checked, and nothing is loaded unless all are
right. The second time nodes are loaded after those that they came from, so that no batch has to look for
cycles in the store.
"""

from __future__ import annotations

import asyncio
import mmap
import time
from array import array
from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from graph import ontology, validation
from graph.editing import ends_of
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.ontology import MODEL, MODEL_VERSION, Exclusive
from graph.port import CHUNK, Chunk, Edge, Graph, Node, NodeRecord, Snapshot, batched
from graph.records import (
    chunk_line,
    edge_line,
    end_line,
    header_line,
    node_line,
    read_chunk,
    read_edge,
    read_end,
    read_header,
    read_line,
    read_node,
)
from lineal.errors import Conflict, InvalidArgument, LinealError

PAGE = 500
BATCH = 2_000
BATCH_BYTES = 8 * 2**20
SERIES = 50
"""Chunks read or loaded at a time: at most 50,000 points."""
MAX_PROBLEMS = 20
MAX_LINE = 64 * 2**20
"""Bytes in one line; the largest node that Lineal accepts stays below."""

Progress = Callable[[str, int, int], None]
"""Hears what is being done ("checking", "loading"), how much of it is done, and how much there is; in any thread."""

_SECTIONS = ("lineal", "node", "edge", "points", "end")


# ── Export ────────────────────────────────────────────────────────────────────────────────────────


async def export_lines(snapshot: Snapshot) -> AsyncIterator[bytes]:
    """The whole graph as lines, read a page at a time; the last one tells that nothing is missing.

    Raises Conflict: while it was read, one node took the name of another one.
    """
    count = 0
    async for line in _content(snapshot):
        count += 1
        yield line
    yield end_line(count)


async def _content(snapshot: Snapshot) -> AsyncIterator[bytes]:
    """All lines but the last. Of each node only the id and the key are kept meanwhile.

    Where a snapshot is no true one, more comes while it is read: a node is left out whose container was not there yet,
    or had not counted it, or whose name another one had, an edge to what is left out, and points beyond those that the
    node counts.
    """
    yield header_line()
    began = time.time_ns() // 1_000
    ids: dict[str, bool] = {}
    keys: dict[str, str] = {}
    counts: dict[str, int] = {}
    series: list[tuple[str, str, int]] = []
    after = ""
    while page := await snapshot.records(after, PAGE):
        late = await _late(snapshot, [record.node for record in page], counts)
        for record in page:
            if record.node.id in late or not _fits(record.node, ids, keys, began):
                continue
            yield node_line(record)
            ids[record.node.id] = record.node.deleted_at is None
            series += [(record.node.id, m.name, m.count) for m in sorted(record.metrics, key=lambda m: m.name)]
        after = page[-1].node.id
    for some in batched(ids, PAGE):
        for edge in sorted(_leading(await snapshot.edges_from(some), ids), key=_identity):
            yield edge_line(edge)
    for group in _groups(series):
        async for chunk in _chunks(snapshot, group):
            yield chunk_line(chunk)


async def _late(snapshot: Snapshot, nodes: Sequence[Node], counts: dict[str, int]) -> set[str]:
    """The versions that came after their model was read, whose number it would give once more.

    `counts` has how far each model had counted by then, and has those among the nodes from now on.
    """
    counts |= {n.id: n.props.get("lastNumber", 0) for n in nodes if n.kind == MODEL.name}
    beyond = [
        n for n in nodes
        if n.kind == MODEL_VERSION.name and n.container in counts and n.props["number"] > counts[n.container]
    ]  # fmt: skip
    # A model that lost count of its versions did so before, and has counted no further.
    now = await snapshot.nodes(list({n.container for n in beyond})) if beyond else {}
    counted = {id for id, model in now.items() if model.props.get("lastNumber", 0) > counts[id]}
    return {n.id for n in beyond if n.container in counted}


def _leading(edges: Sequence[Edge], alive: Mapping[str, bool]) -> Iterator[Edge]:
    """The edges to these nodes. A name that moved on to what is left out stays where it was."""
    moves = {
        (edge.source, edge.kind, edge.discriminator, edge.since): edge.until
        for edge in edges
        if edge.target not in alive and ontology.EDGE_KINDS[edge.kind].exclusive is Exclusive.PER_SOURCE_AND_NAME
    }
    for edge in edges:
        if edge.target in alive:
            until = edge.until
            while alive[edge.target] and (move := (edge.source, edge.kind, edge.discriminator, until)) in moves:
                until = moves.pop(move)
            yield edge if until == edge.until else replace(edge, until=until)


def _fits(node: Node, ids: Container[str], keys: dict[str, str], began: int) -> bool:
    """Whether a node goes with those that were read before it; `keys` has the live ones among these by key, and has
    this one from now on. Raises Conflict: a name passed on, meanwhile, from one to another that was there already.
    """
    kind = ontology.NODE_KINDS[node.kind]
    if kind.within and node.container < node.id and node.container not in ids:
        return False
    if node.deleted_at is not None:
        return True
    key = ontology.key_of(kind, node.workspace, node.container, node.name)
    other = keys.setdefault(key, node.id)
    if other != node.id and node.created_at < began:
        msg = f"{other} and {node.id} both had the name {node.name!r} while the graph was read; read it once more"
        raise Conflict(msg)
    return other == node.id


def _identity(edge: Edge) -> tuple[str, str, str, str, int]:
    return (edge.source, edge.kind, edge.target, edge.discriminator, edge.since)


def _groups(series: Sequence[tuple[str, str, int]]) -> Iterator[list[tuple[str, str, int]]]:
    """Series in runs that fit into one read; a long one is a run of its own."""
    run: list[tuple[str, str, int]] = []
    size = 0
    for item in series:
        chunks = -(-item[2] // CHUNK)
        if run and size + chunks > SERIES:
            yield run
            run, size = [], 0
        run.append(item)
        size += chunks
    if run:
        yield run


async def _chunks(snapshot: Snapshot, group: Sequence[tuple[str, str, int]]) -> AsyncIterator[Chunk]:
    wanted = {(owner, name): count for owner, name, count in group}
    owners, names = sorted({o for o, _ in wanted}), sorted({n for _, n in wanted})
    after = -1
    while page := await snapshot.points(owners, names, after=after, chunks=SERIES):
        for chunk in sorted(page, key=lambda c: (c.owner, c.name, c.number)):
            counted = wanted.get((chunk.owner, chunk.name), 0) - chunk.number * CHUNK
            if counted > 0:
                yield replace(chunk, points=chunk.points[:counted])
        after += SERIES


# ── Import ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import read, and how much of it was not there before."""

    nodes: int
    edges: int
    chunks: int
    new: int


async def import_file(
    graph: Graph, path: Path, *, by: str, progress: Progress | None = None, quietly: bool = False
) -> Imported:
    """Check every line of an export, then load all of them; what is there already stays as it is.

    The file must be whole: nodes before the edges and series that name them. Ids and times are kept.
    Batches are committed one by one, so an import that broke off is finished by running it again. `quietly` is as in
    Transaction.load.
    Raises InvalidArgument (each message with its line number; `details["problems"]` has the first 20),
    Conflict (a node is there with other content), AlreadyExists (another node has its name, or a workspace had it),
    PreconditionFailed (with what is there already it makes a cycle).
    """
    report = progress or _silent
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise InvalidArgument('line 1: the file is empty; an export begins with {"lineal":{"format":1}}') from None
        with content:
            # It takes as long as the file is large, and leases have to be renewed meanwhile.
            plan = await asyncio.to_thread(_Check(content, report).run)
            return await _load(graph, content, plan, by, report, quietly=quietly)


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody is watching."""


@dataclass(slots=True)
class _Plan:
    """Where the lines of a checked file are, and in which order they can be loaded. Line numbers are from 1."""

    starts: array[int] = field(default_factory=lambda: array("q"))
    order: list[int] = field(default_factory=list)
    """Lines of nodes, workspaces first, the others after those that they came from."""
    own: dict[int, list[int]] = field(default_factory=dict)
    """Lines of open lineage edges, by the line of their source."""
    other: list[int] = field(default_factory=list)
    """Lines of all other edges."""
    chunks: list[int] = field(default_factory=list)

    def size(self, number: int) -> int:
        """Bytes of a line."""
        return self.starts[number] - self.starts[number - 1]

    def line(self, content: mmap.mmap, number: int) -> bytes:
        """A line of the file."""
        return content[self.starts[number - 1] : self.starts[number]]


class _Check:
    """The first reading: finds everything that is wrong with a file by itself."""

    def __init__(self, content: mmap.mmap, report: Progress) -> None:
        self.content = content
        self.report = report
        self.plan = _Plan()
        self.problems: list[str] = []
        self.wrong = 0
        self.number = 0
        self.section = -1
        self.whole = False
        self.nodes: dict[str, tuple[int, str]] = {DEFAULT_WORKSPACE_ID: (0, "Workspace")}
        self.keys: dict[str, int] = {}
        self.open_keys: dict[str, int] = {}
        self.workspaces = {ontology.DEFAULT_WORKSPACE, ontology.GLOBAL}
        self.homes: set[int] = set()
        self.places: list[tuple[int, str, str, str]] = []
        self.identities: set[tuple[str, str, str, str, int]] = set()
        self.expected: dict[tuple[str, str], tuple[int, int]] = {}
        self.series: dict[tuple[str, str, int], int] = {}
        self.sorter: TopologicalSorter[int] = TopologicalSorter()

    def run(self) -> _Plan:
        self._read()
        self._places()
        if not self.wrong and not self.whole:
            self._problem(self.number, 'the file is cut off: an export ends with a line {"end":{"lines":…}}')
        if not self.wrong:
            self._counts()
            self._sort()
        if self.wrong:
            more = f" (and {self.wrong - 1} more)" if self.wrong > 1 else ""
            raise InvalidArgument(f"{self.problems[0]}{more}", problems=self.problems, count=self.wrong)
        return self.plan

    def _read(self) -> None:
        total, at = self.content.size(), 0
        while at < total:
            end = self.content.find(b"\n", at)
            end = total if end < 0 else end + 1
            self.plan.starts.append(at)
            self.number += 1
            try:
                if end - at > MAX_LINE:
                    raise InvalidArgument(f"has {end - at} bytes; at most {MAX_LINE} are allowed")
                self._line(self.content[at:end])
            except LinealError as error:
                self._problem(self.number, error.message)
                if self.number == 1:
                    break
            at = end
            if self.number % PAGE == 0 or at == total:
                self.report("checking", at, total)
        self.plan.starts.append(at)

    def _problem(self, line: int, message: str) -> None:
        self.wrong += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"line {line}: {message}")

    def _line(self, line: bytes) -> None:
        what, body = read_line(line)
        if what not in _SECTIONS:
            raise InvalidArgument(f"{what!r:.80} is none of {', '.join(_SECTIONS)}")
        section = _SECTIONS.index(what)
        if (section == 0) != (self.number == 1):
            raise InvalidArgument('an export begins with one line {"lineal":{"format":1}}, and has no other like it')
        if section < self.section:
            before = _SECTIONS[self.section]
            raise InvalidArgument(f"{what}: comes after {before}; nodes come first, then edges, then points")
        if section > 1:
            self._places()
        self.section = section
        (read_header, self._node, self._edge, self._chunk, self._end)[section](body)

    def _end(self, body: dict[str, object]) -> None:
        if self.whole:
            raise InvalidArgument("end: comes twice")
        self.whole = True
        read_end(body, self.number - 1)

    def _node(self, body: dict[str, object]) -> None:
        record = read_node(body)
        node = record.node
        kind = ontology.NODE_KINDS[node.kind]
        if (seen := self.nodes.get(node.id)) and seen[0]:
            raise InvalidArgument(f"node.id: {node.id} is on line {seen[0]} already")
        self.nodes[node.id] = (self.number, node.kind)
        if node.deleted_at is None:
            key = ontology.key_of(kind, node.workspace, node.container, node.name)
            if other := self._taken(self.keys, key):
                raise InvalidArgument(
                    f"node.name: line {other} has a {kind.name} named {node.name!r} in the same place"
                )
        if kind is ontology.WORKSPACE:
            self.workspaces.add(node.name)
            self.homes.add(self.number)
        self.places.append((self.number, node.kind, node.workspace, node.container if kind.within else ""))
        self.expected |= {(node.id, m.name): (self.number, m.count) for m in record.metrics}
        self.sorter.add(self.number)

    def _taken(self, table: dict[str, int], key: str) -> int | None:
        """The earlier line that has this key; this one has it from now on where there is none."""
        first = table.setdefault(key, self.number)
        return first if first != self.number else None

    def _places(self) -> None:
        """Once all nodes are known: whether each is in a workspace and a container of the file."""
        for number, kind, workspace, container in self.places:
            if workspace not in self.workspaces:
                self._problem(number, f"node.workspace: there is no workspace {workspace!r} in the file")
            if container and self.nodes.get(container, (0, ""))[1] != (within := ontology.NODE_KINDS[kind].within):
                self._problem(number, f"node.container: there is no {within} {container} in the file")
        self.places.clear()

    def _edge(self, body: dict[str, object]) -> None:
        edge = read_edge(body)
        for end in ("source", "target"):
            if getattr(edge, end) not in self.nodes:
                raise InvalidArgument(f"edge.{end}: there is no node {getattr(edge, end)!r} in the file")
        (source, source_kind), (target, target_kind) = self.nodes[edge.source], self.nodes[edge.target]
        kind = validation.edge_kind(edge.kind, source_kind, target_kind, field="edge.kind")
        identity = (*ends_of(edge), edge.since)
        if identity in self.identities:
            raise InvalidArgument("edge: the same edge, with the same since, is on an earlier line")
        self.identities.add(identity)
        if edge.until is None:
            key = kind.open_key(edge.source, edge.target, target_kind, edge.discriminator) or "|".join(ends_of(edge))
            if other := self._taken(self.open_keys, key):
                raise InvalidArgument(f"edge: line {other} has an open {edge.kind} that excludes this one")
        if edge.until is None and kind.lineage is not ontology.Lineage.NO:
            self.sorter.add(source, target)
            self.plan.own.setdefault(source, []).append(self.number)
        else:
            self.plan.other.append(self.number)

    def _chunk(self, body: dict[str, object]) -> None:
        chunk = read_chunk(body)
        if (chunk.owner, chunk.name) not in self.expected:
            raise InvalidArgument(f"points.owner: no node {chunk.owner!r} with a metric {chunk.name!r} is in the file")
        if (chunk.owner, chunk.name, chunk.number) in self.series:
            raise InvalidArgument(f"points.number: chunk {chunk.number} of {chunk.name!r} is on an earlier line")
        self.series[chunk.owner, chunk.name, chunk.number] = len(chunk.points)
        self.plan.chunks.append(self.number)

    def _counts(self) -> None:
        found: dict[tuple[str, str], int] = {}
        for (owner, name, _), size in self.series.items():
            found[owner, name] = found.get((owner, name), 0) + size
        for (owner, name), (number, count) in self.expected.items():
            if (points := found.get((owner, name), 0)) != count:
                self._problem(number, f"node.metrics: {name!r} counts {count} points, and the file has {points}")

    def _sort(self) -> None:
        try:
            order = [number for number in self.sorter.static_order() if number]
            # Workspaces first: a name that is refused is, before anything is loaded.
            self.plan.order = sorted(order, key=lambda number: number not in self.homes)
        except CycleError as error:
            lines: list[int] = error.args[1]
            shown = " → ".join(str(number) for number in reversed(lines))
            self._problem(min(lines), f"lineage cannot have a cycle: the nodes of lines {shown} came from each other")


async def _load(graph: Graph, content: mmap.mmap, plan: _Plan, by: str, report: Progress, *, quietly: bool) -> Imported:
    """The second reading."""

    async def write(records: Sequence[NodeRecord], edges: Sequence[Edge], chunks: Sequence[Chunk]) -> int:
        return await graph.write(lambda tx: tx.load(records, edges, chunks, quietly=quietly), by=by, action="import")

    total = len(plan.starts) - 3  # the header, the last line, and where it ends
    done = new = 0
    for nodes, edges in _batches(plan):
        records = [read_node(read_line(plan.line(content, n))[1]) for n in nodes]
        new += await write(records, [read_edge(read_line(plan.line(content, n))[1]) for n in edges], ())
        done += len(nodes) + len(edges)
        report("loading", done, total)
    for start in range(0, len(plan.chunks), SERIES):
        lines = plan.chunks[start : start + SERIES]
        new += await write((), (), [read_chunk(read_line(plan.line(content, n))[1]) for n in lines])
        done += len(lines)
        report("loading", done, total)
    edge_count = sum(map(len, plan.own.values())) + len(plan.other)
    return Imported(len(plan.order), edge_count, len(plan.chunks), new)


def _batches(plan: _Plan) -> Iterator[tuple[list[int], list[int]]]:
    """Lines of nodes with their lineage, then all other edges: some 2,000 or 8 MiB at a time."""
    nodes: list[int] = []
    edges: list[int] = []
    size = 0
    for number in plan.order:
        nodes.append(number)
        edges += plan.own.get(number, ())
        size += plan.size(number)
        if len(nodes) + len(edges) >= BATCH or size >= BATCH_BYTES:
            yield nodes, edges
            nodes, edges, size = [], [], 0
    if nodes:
        yield nodes, edges
    for start in range(0, len(plan.other), BATCH):
        yield [], plan.other[start : start + BATCH]
