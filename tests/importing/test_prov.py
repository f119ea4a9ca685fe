"""PROV that Lineal wrote, read back, is the same graph; of what others wrote the graph has what it can."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.address import encode
from graph.port import Direction, Graph
from graph.sqlite.store import SqliteGraph
from lineal.errors import InvalidArgument, LimitExceeded, LinealError
from resolvers.exporting.exporting import FORMATS, export
from resolvers.importing.importing import Taken, import_prov
from resolvers.operation import Operation
from resolvers.reading import lineage
from resolvers.writing.importing import ImportedEdge, ImportedNode, record_lineage
from resolvers.writing.workspaces import create_workspace
from tests.exporting.conftest import ANN, LOCAL, Export, exported, family

__all__ = ["exported", "family"]


async def prov_of(graph: Graph, *of: str, direction: Direction = Direction.UPSTREAM) -> Any:
    """A lineage as PROV-JSON, without the moment that it is of."""
    async with Operation(graph) as op:
        found = await lineage(op, of, direction=direction)
        document = orjson.loads((await export(op, found, FORMATS["prov-json"], direction=direction)).data)
    del document["entity"]["lineal:lineage"]["lineal:time"]
    return _without_order(document)


def _without_order(document: Any) -> Any:
    """Relations have no names of their own: they are numbered as they come."""
    for what, records in document.items():
        if what not in {"prefix", "entity", "activity", "agent"}:
            document[what] = sorted(records.values(), key=orjson.dumps)
    return document


async def take(graph: Graph, document: Any, workspace: str = "default") -> Taken:
    """Take a document in."""
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    async with Operation(graph) as op:
        return await import_prov(op, data, workspace=workspace)


# ── Round trips ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def empty(tmp_path: Path) -> Any:
    """Another store, with nothing in it."""
    async with SqliteGraph(tmp_path / "other.db") as graph:
        await graph.migrate()
        yield graph


async def test_what_is_exported_and_read_into_an_empty_store_exports_the_same(
    family: Graph, exported: Export, empty: Graph
) -> None:
    async with Operation(family) as op:
        await record_lineage(
            op,
            nodes=[ImportedNode(address="teams:/search", properties={})],
            edges=[
                {"from": "models:/tuned", "kind": "OWNED_BY", "to": "teams:/search"},
                {"from": "models:/tuned", "kind": "ALIAS", "to": "models:/tuned/1", "discriminator": "champion"},
            ],
        )
    async with Operation(empty) as op:
        await create_workspace(op, name="secret")
    before = await prov_of(family, "deployments:/live")
    document = await exported("deployments:/live", "prov-json", caller=LOCAL)
    done = await take(empty, document)
    assert done.notes == []
    after = await prov_of(empty, "deployments:/live")
    assert after == before
    assert '"champion"' in orjson.dumps(after).decode().replace("\\", "")
    again = await take(empty, document)
    assert (again.nodes, again.edges) == (done.nodes, done.edges)
    assert await prov_of(empty, "deployments:/live") == before


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(
    str.strip
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[ImportedNode], list[ImportedEdge], list[str]]:
    """Nodes and edges of a graph without cycles, and all their addresses."""
    nodes: list[ImportedNode] = []
    edges: list[ImportedEdge] = []
    versions: list[str] = []
    data: list[str] = []
    for i in range(draw(st.integers(1, 4))):
        address = f"datasets:/{encode(f'd{i} ' + draw(WORDS).strip())}/{encode('v' + draw(WORDS).strip())}"
        size = draw(st.integers(0, 2**62))
        nodes.append(ImportedNode(address=address.rpartition("/")[0], properties={"description": draw(WORDS)}))
        nodes.append(ImportedNode(address=address, properties={"sizeBytes": size, "uri": f"s3://b/{draw(WORDS)}"}))
        data.append(address)
    for i in range(draw(st.integers(1, 5))):
        address = f"models:/m{i}/{draw(st.integers(1, 9))}"
        rows: Any = [{"name": f"p{n}", "value": draw(WORDS)} for n in range(draw(st.integers(0, 2)))]
        point: Any = {"name": "auc", "value": draw(st.floats()), "step": draw(st.integers(0, 9)), "time": 1_000_000}
        props = {"frameworks": draw(st.lists(WORDS, max_size=2)), "releasedAt": draw(st.integers(0, 10**15))}
        nodes.append(ImportedNode(address=f"models:/m{i}", properties={"task": draw(WORDS)}))
        nodes.append(ImportedNode(address=address, properties=props, tags=rows, params=rows, metrics=[point]))
        bases = draw(st.lists(st.sampled_from(versions), unique=True, max_size=2)) if versions else []
        edges += [{"from": address, "kind": "DERIVED_FROM", "to": base, "discriminator": draw(WORDS)} for base in bases]
        run = f"runs:/r{i}"
        if draw(st.booleans()):
            nodes.append(ImportedNode(address=run, properties={"state": "FINISHED", "startedAt": 5, "endedAt": 10**15}))
            edges.append({"from": address, "kind": "PRODUCED_BY", "to": run})
            edges.append({"from": run, "kind": "READ", "to": draw(st.sampled_from(data)), "discriminator": draw(WORDS)})
        else:
            edges.append({"from": address, "kind": "TRAINED_ON", "to": draw(st.sampled_from(data)), "since": 7})
        versions.append(address)
    nodes.append(ImportedNode(address="deployments:/live"))
    weight = draw(st.floats(0, 1))
    edges.append({"from": "deployments:/live", "kind": "SERVES", "to": versions[-1], "properties": {"weight": weight}})
    return nodes, edges, [*versions, "deployments:/live"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=graphs())
async def test_any_graph_comes_back_as_it_was(drawn: tuple[list[ImportedNode], list[ImportedEdge], list[str]]) -> None:
    nodes, edges, of = drawn
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteGraph(Path(folder, "a.db")) as first, SqliteGraph(Path(folder, "b.db")) as second:
            await first.migrate()
            await second.migrate()
            async with Operation(first) as op:
                await record_lineage(op, nodes=nodes, edges=edges)
                found = await lineage(op, of, direction=Direction.UPSTREAM)
                done = await export(op, found, FORMATS["prov-json"], direction=Direction.UPSTREAM)
            taken = await take(second, done.data)
            assert taken.notes == []
            assert await prov_of(second, *of) == await prov_of(first, *of)


# ── What is left out is said ──────────────────────────────────────────────────────────────────────


async def test_restricted_nodes_are_left_out_and_said(exported: Export, empty: Graph) -> None:
    done = await take(empty, await exported("models:/tuned/1", "prov-json", caller=ANN))
    assert "Restricted nodes are left out, with the edges at them: 1." in done.notes
    assert "DERIVED_FROM" in str(await prov_of(empty, "models:/tuned/1"))


async def test_an_id_that_is_taken_is_not_taken_twice(family: Graph, exported: Export) -> None:
    document = (await exported("models:/tuned/1", "prov-json", caller=ANN)).replace(b"tuned", b"other")
    await take(family, document)
    theirs, ours = await prov_of(family, "models:/other/1"), await prov_of(family, "models:/tuned/1")
    assert theirs["entity"].keys() != ours["entity"].keys()


# ── What others wrote ─────────────────────────────────────────────────────────────────────────────

FOREIGN = {
    "prefix": {"ex": "http://example.org/"},
    "entity": {"ex:table": {"prov:label": "A table"}, "ex:chart": {}},
    "activity": {"ex:plot": {"prov:startTime": "2026-01-02T03:04:05Z"}},
    "agent": {"ex:ann": {}},
    "used": {"_:1": {"prov:activity": "ex:plot", "prov:entity": "ex:table"}},
    "wasGeneratedBy": {"_:2": {"prov:entity": "ex:chart", "prov:activity": "ex:plot"}},
    "wasDerivedFrom": {"_:3": {"prov:generatedEntity": "ex:chart", "prov:usedEntity": "ex:table"}},
    "wasAssociatedWith": {"_:4": {"prov:activity": "ex:plot", "prov:agent": "ex:ann"}},
    "actedOnBehalfOf": {"_:5": {"prov:delegate": "ex:ann", "prov:responsible": "ex:ann"}},
}


async def test_entities_activities_and_agents_of_others_are_data_sets_runs_and_principals(empty: Graph) -> None:
    done = await take(empty, FOREIGN)
    assert done.notes == ["Relations that the graph has no edge for are left out: 1 of delegation."]
    async with Operation(empty) as op:
        found = await lineage(op, ["datasets:/ex%3Achart"], direction=Direction.UPSTREAM)
        names = {(node.kind, node.name) for node, _ in found.closure.nodes}
        assert names == {("DatasetVersion", "unversioned"), ("Run", "ex:plot")}
        (run,) = [node for node, _ in found.closure.nodes if node.kind == "Run"]
    assert {edge.kind for edge in found.closure.edges} == {"PRODUCED_BY", "READ", "DERIVED_FROM"}
    assert run.props["startedAt"] == 1_767_323_045_000_000


# ── What is wrong is named, and nothing of it is written ──────────────────────────────────────────


def _one(**attributes: Any) -> Any:
    prefix = {"lineal": "urn:lineal:prov:", "node": "urn:lineal:node:"}
    kind = {"$": "lineal:ModelVersion", "type": "prov:QUALIFIED_NAME"}
    said = {f"lineal:{name}": value for name, value in attributes.items()}
    good = {"prov:type": {**kind, "$": "lineal:Model"}, "lineal:address": "models:/good"}
    return {"prefix": prefix, "entity": {"node:a": good, "node:b": {"prov:type": kind, **said}}}


@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        (b"{", "file", "is no PROV-JSON"),
        (b"\xff", "file", "must be UTF-8"),
        ({"entity": {"nowhere:x": {}}}, "file", "is no PROV-JSON"),
        (_one(), "entity node:b.lineal:address", "must be given of a ModelVersion"),
        (_one(address="models:/m/1", params="{"), "entity node:b.lineal:params", "must be JSON text"),
        (_one(address="models:/m/1", tags="[]"), "entity node:b.lineal:tags", "must be JSON text of an object"),
        (_one(address="nothing"), "entity node:b.address", "nothing"),
        (
            _one(address="models:/m/1", **{"property-sizeBytes": -1}),
            "entity node:b.properties.sizeBytes",
            "must be a whole number",
        ),
        (_one(address="models:/m/1", **{"property-colour": 1}), "entity node:b.properties.colour", "no such property"),
        (
            FOREIGN | {"used": {"_:1": {"prov:activity": "ex:plot", "prov:entity": "ex:gone"}}},
            "usage of ex:plot and ex:gone",
            "ex:gone is not in the file",
        ),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_written(
    empty: Graph, document: Any, field: str, said: str
) -> None:
    with pytest.raises(LinealError) as caught:
        await take(empty, document)
    assert (caught.value.field, said in caught.value.message) == (field, True), caught.value.message
    async with Operation(empty) as op:
        assert not (await (await op.snapshot()).find("Model")).items


async def test_a_document_is_bounded(empty: Graph) -> None:
    many = {"prefix": {"ex": "http://example.org/"}, "entity": {f"ex:e{i}": {} for i in range(10_001)}}
    with pytest.raises(LimitExceeded, match="file: tells of more than 10,000 nodes and edges"):
        await take(empty, many)
    with pytest.raises(InvalidArgument, match="file: is"):
        await take(empty, b'{"entity":' + b"[" * 100_000)
