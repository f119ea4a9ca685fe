"""Contract of both stores: a snapshot is one moment."""

from __future__ import annotations

from graph.port import (
    EVERYTHING,
    Closure,
    Direction,
    EdgeMatch,
    Graph,
    Hop,
    NewEdge,
    NewNode,
    Node,
    Rights,
    Snapshot,
    Transaction,
    Update,
    View,
    Walk,
)
from tests import building

SERVED = Hop("SERVES", "IN")


async def served_by(snapshot: Snapshot, version: Node) -> set[str]:
    return {link.node.id for page in (await snapshot.neighbours([version.id], SERVED)).values() for link in page.items}


async def below(snapshot: Snapshot, version: Node) -> Closure:
    return await snapshot.closure([version.id], Walk(Direction.DOWNSTREAM, edges=("SERVES", "DERIVED_FROM")))


async def meanwhile(graph: Graph, version: Node, old: Node) -> Node:
    """Another write ends an edge, opens one to a new deployment, and updates and removes things."""
    (fresh,) = await building.create(graph, NewNode("Deployment", "fresh", "default"))
    await building.unlink(graph, EdgeMatch("SERVES", old.id))
    await building.link(graph, NewEdge("SERVES", fresh.id, version.id))
    await building.update(graph, Update(version.id, {"license": "new"}))
    return fresh


async def a_served_version(graph: Graph) -> tuple[Node, Node]:
    _, (version,) = await building.model(graph, "m", versions=1)
    (old,) = await building.create(graph, NewNode("Deployment", "old", "default"))
    await building.link(graph, NewEdge("SERVES", old.id, version.id))
    return version, old


async def test_a_snapshot_shows_nothing_new_and_loses_nothing_that_ends_after_its_first_read(graph: Graph) -> None:
    version, old = await a_served_version(graph)
    async with graph.snapshot() as snapshot:
        await snapshot.nodes([old.id])
        fresh = await meanwhile(graph, version, old)
        assert await served_by(snapshot, version) == {old.id}
        assert await snapshot.nodes([fresh.id]) == {}
        assert [n.id for n in (await snapshot.find("Deployment")).items] == [old.id]
        found = await below(snapshot, version)
        assert [node.id for node, _ in found.nodes] == [version.id, old.id]
        assert [(e.source, e.target) for e in found.edges] == [(old.id, version.id)]
        assert found.complete
        assert [e.edge.since for e in (await snapshot.history([version.id], SERVED))[version.id].items] == [
            found.edges[0].since
        ]
    async with graph.snapshot() as snapshot:
        assert await served_by(snapshot, version) == {fresh.id}


async def test_the_moment_is_that_of_the_first_read_not_of_opening(graph: Graph) -> None:
    version, old = await a_served_version(graph)
    async with graph.snapshot() as snapshot:
        fresh = await meanwhile(graph, version, old)
        assert await served_by(snapshot, version) == {fresh.id}


async def test_a_node_read_once_keeps_its_properties(graph: Graph) -> None:
    version, old = await a_served_version(graph)
    async with graph.snapshot() as snapshot:
        before = await snapshot.nodes([version.id])
        await meanwhile(graph, version, old)
        assert await snapshot.nodes([version.id]) == before


async def test_a_node_deleted_meanwhile_still_shows(graph: Graph) -> None:
    version, old = await a_served_version(graph)
    async with graph.snapshot() as snapshot:
        await snapshot.nodes([version.id])
        await building.remove(graph, old.id)
        assert await served_by(snapshot, version) == {old.id}
        assert list(await snapshot.nodes([old.id])) == [old.id]
    async with graph.snapshot() as snapshot:
        assert await served_by(snapshot, version) == set()


async def test_sqlite_shows_old_properties_of_what_was_not_read_yet(sqlite_graph: Graph) -> None:
    version, old = await a_served_version(sqlite_graph)
    async with sqlite_graph.snapshot() as snapshot:
        await snapshot.nodes([old.id])
        await meanwhile(sqlite_graph, version, old)
        await building.tag(sqlite_graph, version.id, a="1")
        assert await snapshot.nodes([version.id]) == {version.id: version}
        assert await snapshot.rows([version.id], "tags") == {}


async def test_a_read_after_a_write_sees_it(graph: Graph) -> None:
    for n in range(5):
        (model,) = await building.create(graph, NewNode("Model", f"m{n}", "default"))
        assert await building.node(graph, model.id) == model


async def test_another_view_of_the_same_moment_leaves_the_first_one_as_it_is(graph: Graph) -> None:
    version, old = await a_served_version(graph)
    narrow = View(kinds=frozenset({"ModelVersion"}))
    async with graph.snapshot(narrow) as snapshot:
        assert await snapshot.nodes([old.id]) == {}
        fresh = await meanwhile(graph, version, old)
        whole = snapshot.seeing(EVERYTHING)
        assert set(await whole.nodes([old.id, fresh.id, version.id])) == {old.id, version.id}
        assert await served_by(whole, version) == {old.id}
        assert set(await snapshot.nodes([old.id, version.id])) == {version.id}
        assert whole.seeing(narrow).view == snapshot.view == narrow


async def test_another_view_of_a_transaction_sees_what_it_wrote(graph: Graph) -> None:
    async def work(tx: Transaction) -> tuple[set[str], set[str]]:
        tx.guard(View(kinds=frozenset({"Model"})), Rights())
        made = await tx.create([NewNode("Model", "m", "default"), NewNode("Run", "r", "default")])
        ids = [node.id for node in made]
        shown = await tx.nodes(ids), await tx.seeing(EVERYTHING).nodes(ids), await tx.nodes(ids)
        assert set(shown[0]) == set(shown[2])
        return {node.kind for node in shown[0].values()}, {node.kind for node in shown[1].values()}

    assert await graph.write(work, by="t", action="write") == ({"Model"}, {"Model", "Run"})
