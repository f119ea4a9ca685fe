"""Contract of both stores: neighbours now, and neighbours ever."""

from __future__ import annotations

from graph.port import EdgeMatch, Graph, Hop, NewEdge, NewNode, Order, Page, Paging, Prop, View
from tests import building

VERSIONS = Hop("VERSION_OF", "IN", "ModelVersion")


async def test_each_id_has_its_own_page_over_the_hop_in_order(graph: Graph) -> None:
    one, ones = await building.model(graph, "one", versions=3)
    two, twos = await building.model(graph, "two", versions=1)
    none, _ = await building.model(graph, "none")
    async with graph.snapshot() as snapshot:
        found = await snapshot.neighbours(
            [one.id, two.id, none.id], VERSIONS, order=Order("number", descending=True), paging=Paging(2, count=True)
        )
    assert [link.node for link in found[one.id].items] == [ones[2], ones[1]]
    assert (found[one.id].has_next, found[one.id].total) == (True, 3)
    assert [link.node for link in found[two.id].items] == twos
    assert (found[two.id].has_next, found[two.id].total) == (False, 1)
    assert not found.get(none.id, Page()).items


async def test_each_direction_of_an_edge_leads_to_its_other_end(graph: Graph) -> None:
    model, (version,) = await building.model(graph, "m", versions=1)
    async with graph.snapshot() as snapshot:
        up = (await snapshot.neighbours([version.id], Hop("VERSION_OF", "OUT")))[version.id].items
        down = (await snapshot.neighbours([model.id], Hop("VERSION_OF", "IN")))[model.id].items
        assert not any(p.items for p in (await snapshot.neighbours([model.id], Hop("VERSION_OF", "OUT"))).values())
    assert [link.node for link in up] == [model]
    assert [link.node for link in down] == [version]
    assert [link.edge for link in up] == [link.edge for link in down]
    assert (up[0].edge.source, up[0].edge.target, up[0].edge.until) == (version.id, model.id, None)


async def test_a_hop_may_ask_for_one_kind_and_a_filter(graph: Graph) -> None:
    _, (base,) = await building.model(graph, "base", versions=1)
    _, (cut,) = await building.dataset(graph, "d", "v1")
    (run,) = await building.create(graph, NewNode("Run", "r", "default"))
    await building.link(graph, NewEdge("READ", run.id, base.id, "base"), NewEdge("READ", run.id, cut.id, "train"))
    async with graph.snapshot() as snapshot:
        both = (await snapshot.neighbours([run.id], Hop("READ", "OUT")))[run.id].items
        assert {link.node.id for link in both} == {base.id, cut.id}
        only = (await snapshot.neighbours([run.id], Hop("READ", "OUT", "DatasetVersion")))[run.id].items
        assert [(link.node.id, link.edge.discriminator) for link in only] == [(cut.id, "train")]
        named = await snapshot.neighbours([run.id], Hop("READ", "OUT", "DatasetVersion"), Prop("name", "eq", "v2"))
        assert not any(page.items for page in named.values())


async def test_edges_carry_their_properties_and_several_join_the_same_nodes(graph: Graph) -> None:
    _, (version,) = await building.model(graph, "m", versions=1)
    _, (cut,) = await building.dataset(graph, "d", "v1")
    (deployment,) = await building.create(graph, NewNode("Deployment", "d", "default"))
    await building.link(
        graph,
        NewEdge("SERVES", deployment.id, version.id, props={"weight": 0.25}),
        *(NewEdge("TRAINED_ON", version.id, cut.id, split) for split in ("train", "dev", "😀", "\ufffd")),
    )
    async with graph.snapshot() as snapshot:
        (served,) = (await snapshot.neighbours([version.id], Hop("SERVES", "IN")))[version.id].items
        assert served.edge.props == {"weight": 0.25}
        splits = (await snapshot.neighbours([version.id], Hop("TRAINED_ON", "OUT")))[version.id].items
    assert [link.edge.discriminator for link in splits] == ["dev", "train", "\ufffd", "😀"]


async def test_hidden_and_deleted_neighbours_do_not_show(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    _, (version,) = await building.model(graph, "m", versions=1)
    seen, hidden, gone = await building.create(
        graph,
        NewNode("Deployment", "seen", "default"),
        NewNode("Deployment", "hidden", "secret"),
        NewNode("Deployment", "gone", "default"),
    )
    await building.link(graph, *(NewEdge("SERVES", d.id, version.id) for d in (seen, hidden, gone)))
    await building.remove(graph, gone.id)
    hop = Hop("SERVES", "IN")
    async with graph.snapshot(View(frozenset({"default"}))) as snapshot:
        page = (await snapshot.neighbours([version.id], hop, paging=Paging(count=True)))[version.id]
        assert ([link.node.name for link in page.items], page.total) == (["seen"], 1)
        assert [
            link.node.name
            for link in (await snapshot.history([version.id], hop))[version.id].items
            if link.node.deleted_at is None
        ] == ["seen"]


async def test_history_has_ended_edges_too_the_latest_first(graph: Graph) -> None:
    model, (one, two) = await building.model(graph, "m", versions=2)
    await building.link(graph, NewEdge("ALIAS", model.id, one.id, "live"))
    await building.unlink(graph, EdgeMatch("ALIAS", model.id, discriminator="live"))
    await building.link(graph, NewEdge("ALIAS", model.id, two.id, "live"))
    await building.link(graph, NewEdge("ALIAS", model.id, one.id, "next"))
    hop = Hop("ALIAS", "OUT")
    async with graph.snapshot() as snapshot:
        everything = (await snapshot.history([model.id], hop))[model.id].items
        assert [(i.node.id, i.edge.discriminator) for i in everything] == [
            (one.id, "next"),
            (two.id, "live"),
            (one.id, "live"),
        ]
        ended = everything[2].edge
        assert ended.until is not None
        assert ended.since < ended.until <= everything[1].edge.since
        live = (await snapshot.history([model.id], hop, discriminator="live", paging=Paging(1)))[model.id]
        assert ([i.node.id for i in live.items], live.has_next) == ([two.id], True)
        for edge in (everything[1].edge, everything[2].edge):
            then = (await snapshot.history([model.id], hop, discriminator="live", at=edge.since))[model.id].items
            assert [(i.node.id, i.edge) for i in then] == [(edge.target, edge)]
        assert not (await snapshot.history([model.id], hop, at=building.LONG_AGO))[model.id].items
        now = (await snapshot.neighbours([model.id], hop))[model.id].items
        assert {(i.node.id, i.edge.discriminator) for i in now} == {(two.id, "live"), (one.id, "next")}


async def test_neighbours_of_many_nodes_are_one_statement(graph: Graph) -> None:
    models = [(await building.model(graph, f"m{n}", versions=2))[0] for n in range(20)]
    async with graph.snapshot() as snapshot:
        await snapshot.nodes([])
        before = snapshot.statements
        pages = await snapshot.neighbours([m.id for m in models], VERSIONS)
        assert snapshot.statements - before == 1
    assert [len(pages[m.id].items) for m in models] == [2] * 20
