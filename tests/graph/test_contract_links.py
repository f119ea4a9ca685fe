"""Contract of both stores: link and unlink, exclusive edges, and no cycle in lineage."""

from __future__ import annotations

import pytest

from graph.port import Edge, EdgeMatch, Graph, NewEdge, NewNode, Node, Transaction
from lineal.errors import AlreadyExists, InvalidArgument, LinealError, NotFound, PreconditionFailed
from tests import building

pytestmark = pytest.mark.parametrize("graph", ["sqlite", "neo4j", "neo4j routed"], indirect=True)


async def edges(graph: Graph, *nodes: Node) -> list[Edge]:
    async with graph.snapshot() as snapshot:
        return await snapshot.edges_from([n.id for n in nodes])


async def versions(graph: Graph, count: int) -> list[Node]:
    return (await building.model(graph, "m", versions=count))[1]


def derived(source: Node, target: Node, relation: str = "finetune") -> NewEdge:
    return NewEdge("DERIVED_FROM", source.id, target.id, relation)


async def test_an_edge_is_open_from_now_unless_told_otherwise(graph: Graph) -> None:
    one, two = await versions(graph, 2)

    async def work(tx: Transaction) -> tuple[int, list[Edge]]:
        return tx.now, await tx.link(
            [derived(two, one), NewEdge("DERIVED_FROM", two.id, one.id, "merge", since=5, until=9)]
        )

    now, made = await graph.write(work, by="t", action="link")
    assert made == [
        Edge("DERIVED_FROM", two.id, one.id, "finetune", now),
        Edge("DERIVED_FROM", two.id, one.id, "merge", 5, 9),
    ]
    assert [e for e in await edges(graph, two) if e.kind == "DERIVED_FROM"] == made


async def test_linking_again_changes_nothing_and_updates_properties(graph: Graph) -> None:
    (version,) = await versions(graph, 1)
    (deployment,) = await building.create(graph, NewNode("Deployment", "d", "default"))
    (first,) = await building.link(graph, NewEdge("SERVES", deployment.id, version.id, props={"weight": 1.0}))
    assert await building.link(graph, NewEdge("SERVES", deployment.id, version.id)) == [first]
    assert await building.link(graph, NewEdge("SERVES", deployment.id, version.id, props={"weight": 1})) == [first]
    (second,) = await building.link(graph, NewEdge("SERVES", deployment.id, version.id, props={"weight": 0.5}))
    assert (second.props, second.since) == ({"weight": 0.5}, first.since)
    assert await edges(graph, deployment) == [second]
    assert [len(c.data["linked"]) for c in await building.sequenced(graph, deployment.id) if "linked" in c.data] == [
        1,
        1,
    ]


async def test_the_same_edge_twice_in_one_call_is_one(graph: Graph) -> None:
    one, two = await versions(graph, 2)
    a, b = await building.link(graph, derived(two, one), derived(two, one))
    assert a == b
    assert len([e for e in await edges(graph, two) if e.kind == "DERIVED_FROM"]) == 1


async def test_an_edge_that_ended_may_open_again(graph: Graph) -> None:
    one, two = await versions(graph, 2)
    (first,) = await building.link(graph, derived(two, one))
    (ended,) = await building.unlink(graph, EdgeMatch("DERIVED_FROM", two.id))
    (again,) = await building.link(graph, derived(two, one))
    assert ended.until is not None
    assert first.since < ended.until <= again.since
    assert [e for e in await edges(graph, two) if e.kind == "DERIVED_FROM"] == [ended, again]


async def test_recording_an_ended_edge_again_changes_nothing(graph: Graph) -> None:
    one, two = await versions(graph, 2)
    old = NewEdge("DERIVED_FROM", two.id, one.id, "finetune", since=5, until=9)
    assert await building.link(graph, old) == await building.link(graph, old)
    assert len([e for e in await edges(graph, two) if e.kind == "DERIVED_FROM"]) == 1


@pytest.mark.parametrize(
    ("match", "left"),
    [
        ({}, []),
        ({"target": 0}, ["1 b"]),
        ({"discriminator": "b"}, ["0 a"]),
        ({"target": 0, "discriminator": "a"}, ["0 b", "1 b"]),
        ({"target": 2}, ["0 a", "0 b", "1 b"]),
    ],
    ids=str,
)
async def test_unlink_ends_what_matches_and_tells_what_it_ended(
    graph: Graph, match: dict[str, int | str], left: list[str]
) -> None:
    *bases, top = await versions(graph, 4)
    await building.link(graph, derived(top, bases[0], "a"), derived(top, bases[0], "b"), derived(top, bases[1], "b"))
    target, discriminator = match.get("target"), match.get("discriminator")
    ended = await building.unlink(
        graph,
        EdgeMatch(
            "DERIVED_FROM",
            top.id,
            bases[target].id if isinstance(target, int) else None,
            discriminator if isinstance(discriminator, str) else None,
        ),
    )
    now = [e for e in await edges(graph, top) if e.kind == "DERIVED_FROM"]
    place = {b.id: n for n, b in enumerate(bases)}
    assert sorted(f"{place[e.target]} {e.discriminator}" for e in now if e.until is None) == left
    assert len(ended) == 3 - len(left)
    assert {(e.target, e.discriminator, e.until) for e in ended} == {
        (e.target, e.discriminator, e.until) for e in now if e.until
    }


async def test_unlink_by_target_alone_ends_edges_of_every_source(graph: Graph) -> None:
    model, (one, two) = await building.model(graph, "m", versions=2)
    ended = await building.unlink(graph, EdgeMatch("VERSION_OF", target=model.id))
    assert {e.source for e in ended} == {one.id, two.id}


async def test_an_edge_opened_and_ended_in_one_transaction_was_never_there(graph: Graph) -> None:
    one, two = await versions(graph, 2)

    async def work(tx: Transaction) -> None:
        await tx.link([derived(two, one)])
        await tx.unlink([EdgeMatch("DERIVED_FROM", two.id)])

    await graph.write(work, by="t", action="blink")
    assert [e.kind for e in await edges(graph, two)] == ["VERSION_OF"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kind": "EATS"}, InvalidArgument, "no edge kind 'EATS'"),
        ({"kind": "TRAINED_ON"}, InvalidArgument, "cannot join ModelVersion → ModelVersion"),
        ({"kind": "SUPERSEDED_BY", "discriminator": "x"}, InvalidArgument, "SUPERSEDED_BY has none"),
        ({"discriminator": "x" * 256}, InvalidArgument, "at most 255"),
        ({"props": {"weight": 1}}, InvalidArgument, "weight"),
        ({"target": "mv_00000000000000000000000000"}, NotFound, "mv_00000000000000000000000000"),
        ({"source": "mv_00000000000000000000000000"}, NotFound, "mv_00000000000000000000000000"),
        ({"since": 2**62}, InvalidArgument, "in the future"),
        ({"since": 9, "until": 8}, InvalidArgument, "must end after it begins"),
        ({"until": 2**62}, InvalidArgument, "not in the future"),
    ],
    ids=str,
)
async def test_an_edge_is_refused_with_words_and_nothing_of_the_call_stays(
    graph: Graph, change: dict[str, str], error: type[LinealError], words: str
) -> None:
    one, two, three = await versions(graph, 3)
    given = {"kind": "DERIVED_FROM", "source": three.id, "target": one.id, **change}
    with pytest.raises(error, match=words):
        await building.link(graph, derived(two, one), NewEdge(**given))  # type: ignore[arg-type]
    assert {e.kind for e in await edges(graph, two, three)} == {"VERSION_OF"}


async def test_at_most_one_edge_is_open_where_the_ontology_says_so(graph: Graph) -> None:
    model, (one, two) = await building.model(graph, "m", versions=2)
    other, _ = await building.model(graph, "other")
    await building.link(graph, NewEdge("ALIAS", model.id, one.id, "live"), NewEdge("STAGE", model.id, one.id, "prod"))
    refused = [
        NewEdge("ALIAS", model.id, two.id, "live"),
        NewEdge("VERSION_OF", one.id, other.id),
        NewEdge("STAGE", model.id, one.id, "dev"),
    ]
    before = await edges(graph, model, one, two)
    for edge in refused:
        with pytest.raises(AlreadyExists, match="is taken"):
            await building.link(graph, edge)
    with pytest.raises(AlreadyExists, match="is taken"):
        await building.link(graph, NewEdge("ALIAS", model.id, one.id, "new"), NewEdge("ALIAS", model.id, two.id, "new"))
    assert await edges(graph, model, one, two) == before
    await building.link(graph, NewEdge("ALIAS", model.id, two.id, "next"), NewEdge("STAGE", model.id, two.id, "prod"))


async def test_an_exclusive_edge_moves_within_one_transaction(graph: Graph) -> None:
    model, (one, two) = await building.model(graph, "m", versions=2)
    await building.link(graph, NewEdge("ALIAS", model.id, one.id, "live"))

    async def move(tx: Transaction) -> None:
        await tx.unlink([EdgeMatch("ALIAS", model.id, discriminator="live")])
        await tx.link([NewEdge("ALIAS", model.id, two.id, "live")])

    await graph.write(move, by="t", action="move")
    old, new = sorted((e for e in await edges(graph, model) if e.kind == "ALIAS"), key=lambda e: e.since)
    assert (old.target, new.target, new.until) == (one.id, two.id, None)
    assert old.until == new.since


async def test_a_name_is_needed_where_it_tells_exclusive_edges_apart(graph: Graph) -> None:
    model, (one,) = await building.model(graph, "m", versions=1)
    with pytest.raises(InvalidArgument, match=r"name: .* must not be empty"):
        await building.link(graph, NewEdge("ALIAS", model.id, one.id))


# ── Cycles ────────────────────────────────────────────────────────────────────────────────────────


async def assert_refused(graph: Graph, given: list[list[NewEdge]], path: list[Node], *touched: Node) -> None:
    before = await edges(graph, *touched)

    async def work(tx: Transaction) -> None:
        for call in given:
            await tx.link(call)

    with pytest.raises(PreconditionFailed) as caught:
        await graph.write(work, by="t", action="link")
    told = list(caught.value.details["path"])
    if len(path) > 1:
        assert told[0] == told[-1]
        told = told[:-1]
    ids = [n.id for n in path]
    turns = [ids[n:] + ids[:n] for n in range(len(ids))]
    assert told in turns
    assert await edges(graph, *touched) == before


async def test_an_edge_that_closes_a_cycle_is_refused_naming_the_path(graph: Graph) -> None:
    a, b, c = await versions(graph, 3)
    await building.link(graph, derived(a, b), derived(b, c))
    await assert_refused(graph, [[derived(c, a)]], [c, a, b], a, b, c)
    with pytest.raises(PreconditionFailed, match=r"models:/m/\d → models:/m/\d → models:/m/\d → models:/m/\d"):
        await building.link(graph, derived(c, a))


async def test_a_node_cannot_come_from_itself(graph: Graph) -> None:
    (a,) = await versions(graph, 1)
    await assert_refused(graph, [[derived(a, a)]], [a], a)


async def test_a_cycle_within_one_batch_is_refused(graph: Graph) -> None:
    a, b, c = await versions(graph, 3)
    await assert_refused(graph, [[derived(a, b), derived(b, c), derived(c, a)]], [a, b, c], a, b, c)


async def test_a_cycle_half_in_the_store_and_half_in_the_batch_is_refused(graph: Graph) -> None:
    a, b, c, d = await versions(graph, 4)
    await building.link(graph, derived(a, b), derived(c, d))
    await assert_refused(graph, [[derived(b, c), derived(d, a)]], [a, b, c, d], a, b, c, d)


async def test_a_cycle_over_two_calls_of_one_transaction_is_refused(graph: Graph) -> None:
    a, b, c = await versions(graph, 3)
    await assert_refused(graph, [[derived(a, b)], [derived(b, c)], [derived(c, a)]], [a, b, c], a, b, c)


async def test_a_cycle_through_nodes_born_in_the_same_transaction_is_refused(graph: Graph) -> None:
    (old,) = await versions(graph, 1)

    async def work(tx: Transaction) -> None:
        (run,) = await tx.create([NewNode("Run", "r", "default")])
        await tx.link([NewEdge("READ", run.id, old.id)])
        await tx.link([NewEdge("PRODUCED_BY", old.id, run.id)])

    with pytest.raises(PreconditionFailed, match=r"runs:/r"):
        await graph.write(work, by="t", action="link")
    async with graph.snapshot() as snapshot:
        assert (await snapshot.find("Run")).items == []


async def test_a_cycle_of_different_kinds_of_edges_is_refused(graph: Graph) -> None:
    (a, b) = await versions(graph, 2)
    (run,) = await building.create(graph, NewNode("Run", "r", "default"))
    await building.link(graph, NewEdge("PRODUCED_BY", a.id, run.id), NewEdge("READ", run.id, b.id))
    await assert_refused(graph, [[derived(b, a)]], [b, a, run], a, b, run)


async def test_edges_that_ended_close_no_cycle(graph: Graph) -> None:
    a, b = await versions(graph, 2)
    await building.link(graph, derived(a, b))
    await building.unlink(graph, EdgeMatch("DERIVED_FROM", a.id))
    await building.link(graph, derived(b, a), NewEdge("DERIVED_FROM", a.id, b.id, "copy", since=1, until=2))
    assert len(await edges(graph, a, b)) == 5


async def test_edges_outside_lineage_may_lead_in_circles(graph: Graph) -> None:
    one, _ = await building.model(graph, "one")
    two, _ = await building.model(graph, "two")
    await building.link(graph, NewEdge("SUPERSEDED_BY", one.id, two.id), NewEdge("SUPERSEDED_BY", two.id, one.id))
    assert len(await edges(graph, one, two)) == 2


async def test_a_diamond_is_no_cycle(graph: Graph) -> None:
    a, b, c, d = await versions(graph, 4)
    await building.link(graph, derived(a, b), derived(a, c))
    await building.link(graph, derived(b, d), derived(c, d), derived(a, d))
    assert len(await edges(graph, a, b, c, d)) == 9
