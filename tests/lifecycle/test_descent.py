"""What came of data is just what the gate finds that it came from, and nobody hears more of it than they may see."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graph import ontology
from graph.port import EVERYTHING, Edge, Graph, NewEdge, NewNode, Node, NodeRecord
from resolvers.lifecycle import descent
from resolvers.lifecycle.case import Case
from resolvers.lifecycle.marked import Affected, affected, last_marked
from resolvers.lifecycle.marking import mark_dataset
from resolvers.lifecycle.targets import Target
from resolvers.operation import Operation
from resolvers.writing.lifecycle import set_owners
from tests import building
from tests.graph.test_lineage_properties import EXAMPLES, RANDOMS
from tests.lifecycle.conftest import ANN, BOB, PLACE, ROOT, House, World

PARTS = {"ModelVersion": "VERSION_OF", "DatasetVersion": "VERSION_OF", "Field": "PART_OF"}
KINDS = ("ModelVersion", "DatasetVersion", "DatasetVersion", "Field", "Run", "Run")
WAYS = [
    (kind, source, target)
    for kind in (*ontology.LINEAGE_EDGES, "PART_OF")
    for source, target in ontology.EDGE_KINDS[kind].ends
    if {source, target} <= set(KINDS)
]


def a_graph(rng: Random, size: int) -> tuple[list[NodeRecord], list[Edge]]:
    """Versions of one model and of two data sets, fields of these, and runs, some within others, without cycles."""
    example = next(EXAMPLES)

    def new(kind: str, rank: int, **more: Any) -> NodeRecord:
        name = f"{example:013}{rank:013}"
        return building.record(kind, name, id=f"{ontology.NODE_KINDS[kind].prefix}_{name}", **more)

    model, *data = (new(kind, 100 + n) for n, kind in enumerate(("Model", "Dataset", "Dataset")))
    nodes, edges = list[NodeRecord](), dict[tuple[str, str, str], Edge]()
    for number, kind in enumerate(rng.choices(KINDS, k=size)):
        whole = None if kind == "Run" else model if kind == "ModelVersion" else rng.choice(data)
        props = {"number": number + 1} if kind == "ModelVersion" else {}
        node = new(kind, number, **({"container": whole.node.id} if whole else {}), **props)
        if whole is not None:
            edges["", node.node.id, ""] = Edge(PARTS[kind], node.node.id, whole.node.id, "", building.LONG_AGO)
        ways = [
            (way, other.node.id)
            for other in nodes
            for way, source, target in WAYS
            if (source, target) == (kind, other.node.kind)
        ]
        for way, other in rng.sample(ways, min(len(ways), rng.choice((1, 2, 2, 4)))):
            once = "" if ontology.EDGE_KINDS[way].exclusive is not ontology.Exclusive.NO else other
            edges[way, node.node.id, once] = Edge(way, node.node.id, other, "", building.LONG_AGO)
        nodes.append(node)
    return [model, *data, *nodes], list(edges.values())


@given(rng=RANDOMS, size=st.integers(6, 24))
async def test_a_version_came_of_data_just_when_the_gate_finds_that_among_what_it_came_from(
    graph: Graph, rng: Random, size: int
) -> None:
    records, edges = a_graph(rng, size)
    await building.load(graph, records, edges)
    nodes = [record.node for record in records]
    async with graph.snapshot(EVERYTHING) as snapshot:
        came_from = {
            version.id: {
                id
                for node in (await Case(snapshot, version, Target("stage", "Production"), 0).ancestors()).nodes
                if node.kind != "ModelVersion"
                for id in (node.id, node.container)
            }
            for version in nodes
            if version.kind == "ModelVersion"
        }
        for data in nodes:
            if data.kind in {"Dataset", "DatasetVersion"}:
                found = await descent.descendants(snapshot, data)
                versions = {node.id for node, _ in found.nodes if node.kind == "ModelVersion"}
                assert versions == {version for version, ids in came_from.items() if data.id in ids}
                assert found.complete


async def marked(house: House, who: Any, of: Node) -> Affected:
    """Ann marks something: what came of it, as somebody is told."""
    mark = await house.do(ANN, mark_dataset, address=of.id, reason="bad")
    async with Operation(house.graph, caller=who) as op:
        return await affected(op, (await last_marked(op, [mark]))[mark.id])


async def concerned(house: House) -> set[str]:
    """The ids of what notices concern."""
    async with house.graph.snapshot() as snapshot:
        notices = [node.id for node in (await snapshot.find("Notice")).items]
        return {edge.target for edge in await snapshot.edges_from(notices) if edge.kind == "CONCERNS"}


async def test_what_a_run_made_that_a_run_started_which_read_the_data_came_of_it(house: House, world: World) -> None:
    await house.gate({"type": "cleanData"})
    await house.do(ANN, set_owners, address=world.model.id, owners=[House.of(BOB)])
    parent, child = await building.create(house.graph, *(NewNode("Run", name, PLACE) for name in ("sweep", "trial")))
    await world.link("PART_OF", child, parent)
    await world.link("READ", parent, world.data[0], "train")
    await world.link("PRODUCED_BY", world.version(1), child)
    came = await marked(house, ROOT, world.data[0])
    assert [node.id for node in came.versions] == [world.version(1).id]
    assert await concerned(house) == {world.model.id}
    assert not (await house.check(ANN, world.version(1))).met


async def test_what_uses_a_field_came_of_every_version_of_its_data_unless_it_is_known_which(
    house: House, world: World
) -> None:
    table, (first, second) = await building.dataset(house.graph, "table", "v1", "v2", workspace=PLACE)
    (field,) = await building.create(house.graph, NewNode("Field", "age", PLACE, table.id))
    await building.link(
        house.graph,
        NewEdge("PART_OF", field.id, table.id),
        NewEdge("DERIVED_FROM", first.id, world.data[0].id, "copy"),
        *(NewEdge("USES", world.version(number).id, field.id) for number in (1, 2)),
        NewEdge("TRAINED_ON", world.version(2).id, second.id, "train"),
        NewEdge("DERIVED_FROM", world.version(3).id, world.version(1).id, "finetune"),
    )
    search, other = await building.create(house.graph, *(NewNode("Deployment", n, PLACE) for n in ("search", "other")))
    await world.link("SERVES", search, world.version(3))
    await world.link("SERVES", other, world.version(2))
    came = await marked(house, ROOT, world.data[0])
    assert {node.id for node in came.versions} == {world.version(1).id, world.version(3).id}
    assert [node.id for node in came.deployments] == [search.id]
    assert came.complete


async def test_what_lies_behind_hidden_data_is_counted_but_not_what_lies_behind_an_opaque_workspace(
    house: House, world: World
) -> None:
    made = {}
    for name, lineage in (("clear", "TRANSPARENT"), ("closed", "OPAQUE")):
        await building.create(
            house.graph, NewNode("Workspace", name, "", props={"visibility": "PRIVATE", "lineage": lineage})
        )
        table, (copy,) = await building.dataset(house.graph, "table", "v1", workspace=name)
        (field,) = await building.create(house.graph, NewNode("Field", "age", name, table.id))
        _, (version,) = await building.model(house.graph, f"of-{name}", versions=1, workspace=name)
        made[name] = version.id
        await building.link(
            house.graph,
            NewEdge("PART_OF", field.id, table.id),
            NewEdge("DERIVED_FROM", copy.id, world.data[0].id, "copy"),
            NewEdge("USES", version.id, field.id),
            NewEdge("DERIVED_FROM", world.version(1 if name == "clear" else 2).id, version.id, "finetune"),
        )
    came = await marked(house, ANN, world.data[0])
    assert {node.id for node in came.versions} == {world.version(1).id, made["clear"]}
    (hidden,) = [node for node in came.versions if not node.visible]
    assert hidden == Node(made["clear"], "ModelVersion", visible=False)
    assert (came.restricted_count, came.complete) == (1, False)
    async with house.graph.snapshot() as whole:
        assert {*made.values(), world.version(1).id, world.version(2).id} == {
            node.id for node, _ in (await descent.descendants(whole, world.data[0])).nodes
        }
