"""Export and import: the same bytes, every line checked, nothing loaded unless all are right."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from auth.caller import named
from graph import transfer
from graph.address import parse
from graph.ids import new_id
from graph.port import CHUNK, EdgeMatch, Graph, NewEdge, NewNode, Node, Order, Point, Snapshot, Update
from graph.sqlite.store import SqliteGraph
from graph.transfer import export_lines, import_file
from lineal.errors import AlreadyExists, Conflict, InvalidArgument
from resolvers.operation import Operation
from resolvers.writing.versions import create_model_version
from tests import building


async def exported(graph: Graph) -> bytes:
    async with graph.snapshot() as snapshot:
        return b"".join([line async for line in export_lines(snapshot)])


async def rich_graph(graph: Graph) -> None:
    """Something of everything: renames, tombstones, ended edges, tags, metrics, odd values, a second workspace."""
    await building.workspace(graph, "vision")
    base, (first, second) = await building.model(graph, "base/ü", versions=2, task="embedding")
    _, (tuned,) = await building.model(graph, "tuned", versions=1, workspace="vision")
    corpus, (data,) = await building.dataset(graph, "corpus", "unversioned", description="a\nb")
    await building.link(
        graph,
        NewEdge("TRAINED_ON", first.id, data.id),
        NewEdge("DERIVED_FROM", tuned.id, first.id, "finetune"),
        NewEdge("DERIVED_FROM", tuned.id, second.id, "merge", since=5),
        NewEdge("DERIVED_FROM", second.id, first.id, "copy", since=5, until=9),
        NewEdge("ALIAS", base.id, first.id, "champion"),
    )
    await building.unlink(graph, EdgeMatch("ALIAS", base.id, discriminator="champion"))
    await building.link(graph, NewEdge("ALIAS", base.id, second.id, "champion"))
    await building.update(graph, Update(corpus.id, name="corpus 2"))
    odd = {"n": 2**60, "tagged": {"$int": "1"}, "nested": {"$json": {"a": [1.5, None, True]}}, "é": "€"}
    await building.update(graph, Update(tuned.id, {"attributes": odd, "parameterCount": 2**62, "releasedAt": -5}))
    await building.tag(graph, base.id, team="nlp", empty="")
    await building.put_params(graph, first.id, lr="1e-3")
    await building.log(
        graph,
        first.id,
        *(Point("loss", 1 / (step + 1), step, step) for step in range(CHUNK + 5)),
        Point("odd", math.nan, 0, 0),
        Point("odd", math.inf, 2**60, 1),
        Point("odd", -math.inf, -1, 1),
    )
    (gone,) = await building.create(graph, NewNode("Model", "gone", "default"))
    await building.remove(graph, gone.id)


@pytest.fixture
async def other(tmp_path: Path) -> Any:
    async with SqliteGraph(tmp_path / "other.db") as graph:
        await graph.migrate()
        yield graph


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def written(content: bytes) -> Path:
        path = tmp_path / "export.jsonl"
        path.write_bytes(content)
        return path

    return written


class Meanwhile:
    """A snapshot before each of whose reads for an export somebody writes."""

    def __init__(self, snapshot: Snapshot, write: Callable[[str], Awaitable[None]]) -> None:
        self._snapshot, self._write = snapshot, write

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def read(*args: Any, **kwargs: Any) -> Any:
            await self._write(name)
            return await getattr(self._snapshot, name)(*args, **kwargs)

        return read


async def test_an_export_is_whole_however_much_is_written_while_it_is_read(
    graph: Graph, other: Graph, write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    await rich_graph(graph)
    _, (told,) = await building.model(graph, "told", versions=1)
    await building.log(graph, told.id, *(Point("loss", 1.0, step, step) for step in range(3)))
    before = await exported(graph)
    again = (await building.create(graph, NewNode("Model", "again", "default")))[0].id
    verbs: Counter[str] = Counter()

    async def written(verb: str) -> None:
        nonlocal again
        verbs[verb] += 1
        count = verbs.total()
        if verbs[verb] > 6:
            return  # else there is always one more
        _, (version,) = await building.model(graph, f"new {count}", versions=1)
        (late,) = await building.create(graph, NewNode("Artifact", f"late {count}", "default"))
        derived, had = NewEdge("DERIVED_FROM", version.id, told.id), NewEdge("HAS_ARTIFACT", told.id, late.id)
        await building.link(graph, derived, had)
        await building.log(graph, told.id, *(Point("loss", 1.0, step, step) for step in range(CHUNK // 2 + 1)))
        await building.remove(graph, again)
        again = (await building.create(graph, NewNode("Model", "again", "default")))[0].id

    monkeypatch.setattr(transfer, "PAGE", 3)
    async with graph.snapshot() as snapshot:
        meanwhile = cast("Snapshot", Meanwhile(snapshot, written))
        content = b"".join([line async for line in export_lines(meanwhile)])
    assert min(verbs[verb] for verb in ("records", "edges_from", "points")) > 1
    await import_file(other, write(content), by="tester")
    nodes = {line for line in before.splitlines() if b'{"node"' in line and told.id.encode() not in line}
    assert nodes <= set(content.splitlines())


@pytest.mark.parametrize("verb", ["records", "edges_from"])
async def test_a_model_goes_on_counting_where_its_export_ended_whatever_came_while_it_was_read(
    graph: Graph, other: Graph, write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    async def registered(there: Graph) -> Node:
        async with Operation(there, caller=named("ann")) as op:
            return await create_model_version(op, model="models:/m", aliases=["champion"])

    await building.model(graph, "m")
    await building.model(graph, "lost count", versions=2, lastNumber=1)
    before = [await registered(graph) for _ in range(2)]
    came: list[Node] = []

    async def written(asked: str) -> None:
        if asked == verb and len(came) < 6:
            came.append(await registered(graph))

    monkeypatch.setattr(transfer, "PAGE", 2)
    async with graph.snapshot() as snapshot:
        meanwhile = cast("Snapshot", Meanwhile(snapshot, written))
        content = b"".join([line async for line in export_lines(meanwhile)])
    await import_file(other, write(content), by="tester")
    addresses = ("models:/m", "models:/m@champion", "models:/lost%20count/2")
    async with other.snapshot() as snapshot:
        model, champion, uncounted = await snapshot.resolve([parse(address) for address in addresses])
        versions = await snapshot.find("ModelVersion", order=Order("number"))
    assert len(came) > 1
    assert model is not None
    assert champion is not None
    assert uncounted is not None
    last = model.props["lastNumber"]
    assert [v.id for v in versions.items if v.container == model.id] == [v.id for v in [*before, *came][:last]]
    assert champion.props["number"] == last
    assert (await registered(other)).props["number"] == last + 1


async def test_a_graph_moves_to_another_store_and_back_with_the_same_bytes(
    graph: Graph, other: Graph, write: Callable[[bytes], Path]
) -> None:
    await rich_graph(graph)
    first = await exported(graph)
    done = await import_file(other, write(first), by="t")
    assert await exported(other) == first
    assert done.nodes + done.edges + done.chunks + 2 == len(first.splitlines())
    again = await import_file(graph, write(first), by="t")
    assert again.new == 0
    assert await exported(graph) == first


async def test_what_was_imported_answers_like_the_original(
    sqlite_graph: Graph, other: Graph, write: Callable[[bytes], Path]
) -> None:
    await rich_graph(sqlite_graph)
    await import_file(other, write(await exported(sqlite_graph)), by="t")
    names = [
        parse(a) for a in ("models:/base%2Fü@champion", "datasets:/corpus", "models:/vision:tuned/1", "models:/gone")
    ]
    answers = []
    for graph in (sqlite_graph, other):
        async with graph.snapshot() as snapshot:
            answers.append([node and node.id for node in await snapshot.resolve(names)])
    assert answers[0] == answers[1]
    assert [id is not None for id in answers[0]] == [True, True, True, False]


async def test_every_line_is_canonical_json_and_nodes_come_before_edges_before_points(sqlite_graph: Graph) -> None:
    await rich_graph(sqlite_graph)
    lines = (await exported(sqlite_graph)).decode().splitlines()
    bodies = [json.loads(line) for line in lines]
    assert bodies[0] == {"lineal": {"format": 1}}
    assert bodies[-1] == {"end": {"lines": len(bodies) - 1}}
    sections = [next(iter(body)) for body in bodies[1:-1]]
    assert sections == sorted(sections, key=["node", "edge", "points"].index)
    ids = [body["node"]["id"] for body in bodies if "node" in body]
    assert ids == sorted(ids)
    for line, body in zip(lines, bodies, strict=True):
        for part in body.values():
            assert list(part) == sorted(part), line
            assert not [name for name, value in part.items() if value in (None, "", [], {})], line


async def test_a_long_series_is_exported_whole_and_in_order(sqlite_graph: Graph) -> None:
    _, (version,) = await building.model(sqlite_graph, "m", versions=1)
    for start in range(0, 53_000, 10_000):
        count = min(10_000, 53_000 - start)
        await building.log(sqlite_graph, version.id, *(Point("loss", 0.5, start + i, 0) for i in range(count)))
    await building.log(sqlite_graph, version.id, Point("acc", 1.0, 0, 0), Point("zeta", 1.0, 0, 0))
    chunks = [
        json.loads(line)["points"] for line in (await exported(sqlite_graph)).splitlines() if b'{"points"' in line
    ]
    assert [(c["name"], c["number"]) for c in chunks] == [("acc", 0), *(("loss", n) for n in range(53)), ("zeta", 0)]
    assert [p[1] for c in chunks[1:-1] for p in c["points"]] == list(range(53_000))


async def test_the_file_of_one_store_goes_into_a_store_with_other_things(
    sqlite_graph: Graph, other: Graph, write: Callable[[bytes], Path]
) -> None:
    await building.model(sqlite_graph, "m", versions=1)
    await building.model(other, "n", versions=1)
    assert (await import_file(other, write(await exported(sqlite_graph)), by="t")).new == 3
    async with other.snapshot() as snapshot:
        assert all(await snapshot.resolve([parse("models:/m/1"), parse("models:/n/1")]))


async def test_a_name_that_another_thing_has_in_the_store_is_refused(
    sqlite_graph: Graph, other: Graph, write: Callable[[bytes], Path]
) -> None:
    await building.model(sqlite_graph, "m")
    await building.model(other, "m")
    with pytest.raises(AlreadyExists, match="a Model named 'm'"):
        await import_file(other, write(await exported(sqlite_graph)), by="t")


async def test_a_thing_that_changed_since_the_export_is_a_conflict(
    sqlite_graph: Graph, write: Callable[[bytes], Path]
) -> None:
    model, _ = await building.model(sqlite_graph, "m")
    path = write(await exported(sqlite_graph))
    await building.update(sqlite_graph, Update(model.id, {"task": "t"}))
    with pytest.raises(Conflict, match=model.id):
        await import_file(sqlite_graph, path, by="t")


async def test_a_deep_chain_of_any_order_is_imported_in_more_than_one_batch(
    sqlite_graph: Graph, other: Graph, write: Callable[[bytes], Path]
) -> None:
    _, versions = await building.model(sqlite_graph, "m", versions=1_500)
    await building.link(
        sqlite_graph,
        *(NewEdge("DERIVED_FROM", a.id, b.id, "copy") for a, b in pairwise(versions)),
    )
    content = await exported(sqlite_graph)
    heard: list[tuple[str, int, int]] = []
    await import_file(other, write(content), by="t", progress=lambda *step: heard.append(step))
    assert await exported(other) == content
    assert {what for what, _, _ in heard} == {"checking", "loading"}
    assert all(done <= total for _, done, total in heard)
    assert heard[-1][1] == heard[-1][2] == 1_502 + 1_500 + 1_499


# ── What is refused ───────────────────────────────────────────────────────────────────────────────

HEADER = {"lineal": {"format": 1}}
MODEL, VERSION, OLDER, DATA, DATA_VERSION = (new_id(prefix) for prefix in ("mo", "mv", "mv", "ds", "dv"))
TIMES = {"createdAt": 1, "updatedAt": 1, "revision": 1, "createdBy": "t", "workspace": "default"}


def node(id: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"node": {"id": id, "kind": kind, "name": name, **TIMES, **more}}


def edge(kind: str, source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"edge": {"kind": kind, "source": source, "target": target, "since": 1, **more}}


def series(*points: Any, **more: Any) -> dict[str, Any]:
    return {"points": {"owner": VERSION, "name": "f1", "number": 0, "points": list(points), **more}}


METRIC = {"name": "f1", "value": 1, "minimum": 0.5, "maximum": 1, "step": 2, "time": 3, "count": 2}
GOOD = [
    HEADER,
    node(MODEL, "Model", "m"),
    node(VERSION, "ModelVersion", "1", container=MODEL, props={"number": 1}, metrics=[METRIC]),
    node(OLDER, "ModelVersion", "2", container=MODEL, props={"number": 2}),
    edge("VERSION_OF", VERSION, MODEL),
    edge("VERSION_OF", OLDER, MODEL),
    edge("DERIVED_FROM", OLDER, VERSION),
    series([0.5, 1, 1], [1, 2, 3]),
]


def replaced(number: int, line: Any) -> list[Any]:
    """The good file with another line of this number."""
    return [*GOOD[: number - 1], line, *GOOD[number:]]


def added(line: Any) -> list[Any]:
    """The good file with one more edge, as line 8."""
    return [*GOOD[:7], line, *GOOD[7:]]


def changed(number: int, /, **members: Any) -> list[Any]:
    """The good file with other members in the line of this number; those of None are taken out."""
    ((what, body),) = GOOD[number - 1].items()
    return replaced(number, {what: {k: v for k, v in {**body, **members}.items() if v is not None}})


def file_of(lines: list[Any]) -> bytes:
    whole = [*lines, {"end": {"lines": len(lines)}}]
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in whole)


@pytest.mark.parametrize("kept", [1, 3, len(GOOD)])
async def test_a_file_that_was_cut_off_is_refused_and_nothing_is_loaded(
    sqlite_graph: Graph, write: Callable[[bytes], Path], kept: int
) -> None:
    cut = b"".join(file_of(GOOD).splitlines(keepends=True)[:kept])
    with pytest.raises(InvalidArgument, match=f"line {kept}: the file is cut off"):
        await import_file(sqlite_graph, write(cut), by="t")
    missing = file_of(GOOD).splitlines(keepends=True)
    del missing[-2]
    with pytest.raises(InvalidArgument, match=r"end\.lines"):
        await import_file(sqlite_graph, write(b"".join(missing)), by="t")
    async with sqlite_graph.snapshot() as snapshot:
        assert len(await snapshot.records("", 100)) == 1


async def test_the_good_file_is_good(sqlite_graph: Graph, write: Callable[[bytes], Path]) -> None:
    done = await import_file(sqlite_graph, write(file_of(GOOD).removesuffix(b"\n")), by="t")
    assert (done.nodes, done.edges, done.chunks, done.new) == (3, 3, 1, 7)


REFUSED: list[tuple[str, list[Any], str]] = [
    ("no header", GOOD[1:], "line 1: an export begins with one line"),
    ("two headers", [HEADER, *GOOD], "line 2: an export begins with one line"),
    (
        "another format",
        replaced(1, {"lineal": {"format": 2}}),
        "line 1: lineal.format: this Lineal reads format 1, not 2",
    ),
    ("no JSON", replaced(3, b"{"), "line 3: is not JSON"),
    ("a list", replaced(3, []), "line 3: must be an object with one of"),
    ("unknown section", replaced(3, {"thing": {}}), "line 3: 'thing' is none of"),
    ("order", [*GOOD, GOOD[1]], "line 9: node: comes after points"),
    ("id twice", [*GOOD[:2], *GOOD[1:]], f"line 3: node.id: {MODEL} is on line 2 already"),
    ("name twice", changed(4, name="1"), "line 4: node.name: line 3 has a ModelVersion named '1'"),
    ("kind", changed(2, kind="Mode"), "line 2: node.kind: there is no node kind 'Mode'"),
    ("id of another kind", changed(2, id=VERSION), "line 2: node.id"),
    ("member missing", changed(2, revision=None), "line 2: node.revision: is missing"),
    ("unknown member", changed(2, colour="red"), "line 2: node.colour: there is no such member"),
    ("type", changed(2, createdAt="now"), "line 2: node.createdAt: must be a whole number of 64 bits, not 'now'"),
    ("revision", changed(2, revision=0), "line 2: node.revision: must be a whole number from 1"),
    ("name", changed(2, name="a\x07"), "line 2: node.name: .* control characters"),
    ("form of name", changed(2, name="u\u0308"), "line 2: node.name: .* is not in Unicode form NFC"),
    ("workspace", changed(2, workspace="nowhere"), "line 2: node.workspace: there is no workspace 'nowhere'"),
    ("no workspace", changed(2, workspace=None), "line 2: node.workspace: a Model belongs to a workspace"),
    ("container", changed(3, container=new_id("mo")), "line 3: node.container: there is no Model mo_"),
    ("no container", changed(3, container=None), "line 3: node.container: a ModelVersion names its Model"),
    ("needless container", changed(2, container=VERSION), "line 2: node.container: a Model has no container"),
    (
        "unknown property",
        changed(3, props={"number": 1, "size": 1}),
        "line 3: node.props.size: ModelVersion has no such",
    ),
    ("property", changed(3, props={"number": "one"}), "line 3: node.props.number: must be a whole number"),
    ("null property", changed(3, props={"number": 1, "uri": None}), "line 3: node.props.uri: must be left out"),
    ("property missing", changed(3, props={}), "line 3: node.props.number: ModelVersion needs it"),
    ("parameters", changed(2, params={"a": "1"}), "line 2: node.params: a Model has no parameters"),
    ("metrics", changed(2, metrics=[METRIC]), "line 2: node.metrics: a Model has no metrics"),
    ("metric twice", changed(3, metrics=[METRIC, METRIC]), "line 3: node.metrics: each name may be there once"),
    ("metric", changed(3, metrics=[{**METRIC, "value": "high"}]), r"line 3: node.metrics\[0\].value: must be a number"),
    ("tag", changed(2, tags={"a": 1}), "line 2: node.tags.a: must be text"),
    ("former", changed(2, former="old"), "line 2: node.former: must be a list"),
    ("props", changed(2, props=[1]), "line 2: node.props: must be an object"),
    ("edge kind", changed(5, kind="LIKES"), "line 5: edge.kind: there is no edge kind 'LIKES'"),
    ("edge ends", changed(5, kind="SERVES"), "line 5: edge.kind: SERVES cannot join ModelVersion → Model"),
    ("edge to nowhere", changed(5, target=DATA), f"line 5: edge.target: there is no node '{DATA}' in the file"),
    ("discriminator", changed(5, discriminator="x"), "line 5: edge.discriminator: VERSION_OF has none"),
    ("long discriminator", changed(7, discriminator="x" * 256), "line 7: edge.discriminator: must be at most 255"),
    ("until", changed(5, until=0), "line 5: edge.until: 0 is before since, 1"),
    ("edge property", changed(7, props={"weight": 1}), "line 7: edge.props.weight: DERIVED_FROM has no such"),
    ("edge twice", added(GOOD[6]), "line 8: edge: the same edge"),
    (
        "open twice",
        added(edge("DERIVED_FROM", OLDER, VERSION, since=2)),
        "line 8: edge: line 7 has an open DERIVED_FROM",
    ),
    ("cycle", added(edge("DERIVED_FROM", VERSION, OLDER)), "lineage cannot have a cycle: the nodes of lines"),
    ("chunk of nothing", changed(8, name="f2"), "line 8: points.owner: no node .* with a metric 'f2'"),
    ("chunk twice", [*GOOD, GOOD[-1]], "line 9: points.number: chunk 0 of 'f1' is on an earlier line"),
    ("chunk number", changed(8, number=-1), "line 8: points.number: chunks are numbered from 0"),
    ("empty chunk", changed(8, points=[]), "line 8: points.points: a chunk has 1 to 1000 points"),
    ("point", replaced(8, series([1, 2])), r"line 8: points.points\[0\]: must be \[value, step, time\]"),
    (
        "points missing",
        replaced(8, series([1, 2, 3])),
        "line 3: node.metrics: 'f1' counts 2 points, and the file has 1",
    ),
]


@pytest.mark.parametrize(("lines", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_a_wrong_line_is_named_and_nothing_is_loaded(
    sqlite_graph: Graph, write: Callable[[bytes], Path], lines: list[Any], message: str
) -> None:
    before = await exported(sqlite_graph)
    with pytest.raises(InvalidArgument, match=message):
        await import_file(sqlite_graph, write(file_of(lines)), by="t")
    assert await exported(sqlite_graph) == before


async def test_an_empty_file_is_refused(sqlite_graph: Graph, write: Callable[[bytes], Path]) -> None:
    with pytest.raises(InvalidArgument, match="the file is empty"):
        await import_file(sqlite_graph, write(b""), by="t")


async def test_every_problem_is_counted_and_the_first_twenty_are_told(
    sqlite_graph: Graph, write: Callable[[bytes], Path]
) -> None:
    lines = [HEADER, *(node(new_id("mo"), "Model", f"m{i}", workspace="nowhere") for i in range(30))]
    with pytest.raises(InvalidArgument, match=r"line 2: node.workspace: .* \(and 29 more\)") as caught:
        await import_file(sqlite_graph, write(file_of(lines)), by="t")
    assert len(caught.value.details["problems"]) == 20
    assert caught.value.details["count"] == 30
