"""Contract of both stores: nodes by id, and by address."""

from __future__ import annotations

import asyncio

import pytest

from graph import ontology
from graph.address import parse
from graph.ids import DEFAULT_WORKSPACE_ID, new_id
from graph.port import EdgeMatch, Graph, NewEdge, NewNode, Node, Snapshot, Update, View
from lineal.errors import AlreadyExists, NotFound
from tests import building


async def found(snapshot: Snapshot, *texts: str, as_of: int | None = None) -> list[str | None]:
    nodes = await snapshot.resolve([parse(text) for text in texts], as_of=as_of)
    return [node.id if node else None for node in nodes]


async def test_the_default_workspace_is_the_same_in_every_migrated_store(graph: Graph) -> None:
    expected = Node(DEFAULT_WORKSPACE_ID, "Workspace", "default", DEFAULT_WORKSPACE_ID, "default", 0, "lineal", 0, 1)
    assert await building.node(graph, DEFAULT_WORKSPACE_ID) == expected


async def test_a_node_comes_back_as_it_was_created(graph: Graph) -> None:
    everything = {
        "description": "Zeile 1\nZeile 2 – é 😀",
        "external": True,
        "attributes": {"a": [1, 2.5, None, {"b": "ü"}]},
        "number": 7,
        "state": "READY",
        "frameworks": ["PyTorch", "ONNX"],
        "license": "Apache-2.0",
        "parameterCount": 2**62,
        "sizeBytes": 0,
        "releasedAt": -1,
        "uri": "s3://b/k",
    }
    model, _ = await building.model(graph, "m")
    (created,) = await building.create(graph, NewNode("ModelVersion", "7", "default", model.id, everything))
    assert created.props == everything
    assert await building.node(graph, created.id) == created
    assert created.revision == 1
    assert created.created_by == building.BY
    assert created.created_at == created.updated_at > building.LONG_AGO
    assert (created.workspace, created.container, created.deleted_at) == ("default", model.id, None)


async def test_unknown_and_deleted_ids_are_missing_and_repeats_are_one(graph: Graph) -> None:
    kept, _ = await building.model(graph, "kept")
    gone, _ = await building.model(graph, "gone")
    await building.remove(graph, gone.id)
    async with graph.snapshot() as snapshot:
        assert await snapshot.nodes([kept.id, new_id("mo"), gone.id, kept.id, "nonsense"]) == {kept.id: kept}
        assert await snapshot.nodes([]) == {}


async def test_many_ids_are_one_statement(graph: Graph) -> None:
    nodes = await building.create(graph, *(NewNode("Artifact", f"a{n}", "default") for n in range(1_000)))
    async with graph.snapshot() as snapshot:
        await snapshot.nodes([nodes[0].id])
        before = snapshot.statements
        assert len(await snapshot.nodes([n.id for n in nodes])) == 1_000
        assert snapshot.statements - before == 1


async def test_a_view_shows_its_workspaces_its_containers_and_what_belongs_to_no_workspace(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    await building.workspace(graph, "speech")
    seen, _ = await building.model(graph, "seen", workspace="vision")
    shared, parts = await building.model(graph, "shared", versions=1, workspace="speech")
    hidden, _ = await building.model(graph, "hidden", versions=1, workspace="speech")
    (person,) = await building.create(graph, NewNode("Principal", "ada", ontology.GLOBAL))
    ids = [seen.id, shared.id, parts[0].id, hidden.id, person.id]
    async with graph.snapshot(View(frozenset({"vision"}), frozenset({shared.id}))) as snapshot:
        assert set(await snapshot.nodes(ids)) == {seen.id, shared.id, parts[0].id, person.id}
        addresses = [
            "models:/vision:seen",
            "models:/speech:shared",
            "models:/speech:shared/1",
            "models:/speech:hidden",
            hidden.id,
        ]
        assert await found(snapshot, *addresses) == [seen.id, shared.id, parts[0].id, None, None]
    async with graph.snapshot(View(frozenset())) as snapshot:
        assert set(await snapshot.nodes(ids)) == {person.id}


async def test_addresses_lead_to_ids_names_parts_and_aliases(graph: Graph) -> None:
    model, (first, second) = await building.model(graph, "bert", versions=2)
    data, (cut,) = await building.dataset(graph, "nq", "v2")
    (column,) = await building.create(graph, NewNode("Field", "query", "default", data.id))
    (person,) = await building.create(graph, NewNode("Principal", "ada", ontology.GLOBAL))
    await building.link(graph, NewEdge("ALIAS", model.id, second.id, "champion"))
    async with graph.snapshot() as snapshot:
        addresses = [
            "models:/bert",
            "models:/bert/1",
            "models:/bert@champion",
            first.id,
            "datasets:/nq",
            "datasets:/nq/v2",
            "fields:/nq/query",
            "principals:/ada",
            "models:/bert/3",
            "models:/bert@none",
            "models:/none",
            "runs:/bert",
            new_id("mo"),
        ]
        expected = [model, first, second, first, data, cut, column, person]
        assert await found(snapshot, *addresses) == [n.id for n in expected] + [None] * 5
        assert snapshot.statements <= 2
        assert await snapshot.resolve([]) == []


async def test_one_name_in_two_workspaces_and_two_kinds_is_four_things(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    made = [
        (await make(graph, "same", workspace=place))[0].id
        for place in ("default", "vision")
        for make in (building.model, building.dataset)
    ]
    async with graph.snapshot() as snapshot:
        addresses = ("models:/same", "datasets:/same", "models:/vision:same", "datasets:/vision:same")
        assert await found(snapshot, *addresses) == made


@pytest.mark.parametrize(
    "name", ["BAAI/bge-m3", "a:b@c%d", "naïve ✓ 😀", "x'); DROP TABLE node; --", 'back\\slash"quote']
)
async def test_any_printable_name_can_be_addressed(graph: Graph, name: str) -> None:
    model, (version,) = await building.model(graph, name, versions=1)
    async with graph.snapshot() as snapshot:
        (whole, part) = await snapshot.resolve([parse(text) for text in await _addresses(snapshot, model, version)])
    assert (whole, part) == (model, version)


async def _addresses(snapshot: Snapshot, *nodes: Node) -> list[str]:
    from graph.naming import addresses

    named = await addresses(snapshot, nodes)
    return [named[n.id] for n in nodes]


async def test_names_are_kept_in_composed_form_and_case_counts(graph: Graph) -> None:
    model, _ = await building.model(graph, "cafe\u0301")
    assert model.name == "caf\u00e9"
    async with graph.snapshot() as snapshot:
        assert await found(snapshot, "models:/caf\u00e9", "models:/cafe\u0301", "models:/Caf\u00e9") == [
            model.id,
            model.id,
            None,
        ]


async def test_a_former_name_leads_to_the_node_until_another_takes_it(graph: Graph) -> None:
    model, (version,) = await building.model(graph, "old", versions=1)
    await building.update(graph, Update(model.id, name="new"))
    async with graph.snapshot() as snapshot:
        assert await found(snapshot, "models:/old", "models:/new", "models:/old/1") == [model.id, model.id, version.id]
    other, _ = await building.model(graph, "old")
    async with graph.snapshot() as snapshot:
        assert await found(snapshot, "models:/old", "models:/new", "models:/old/1") == [other.id, model.id, None]


async def test_a_deleted_name_leads_nowhere_and_can_be_used_again(graph: Graph) -> None:
    model, _ = await building.model(graph, "name")
    await building.remove(graph, model.id)
    async with graph.snapshot() as snapshot:
        assert await found(snapshot, "models:/name", model.id) == [None, None]
    again, _ = await building.model(graph, "name")
    async with graph.snapshot() as snapshot:
        assert await found(snapshot, "models:/name", model.id) == [again.id, None]


async def test_a_deleted_workspace_leads_nowhere_and_its_name_is_never_given_again(graph: Graph) -> None:
    first = await building.workspace(graph, "vision")
    await building.remove(graph, first.id)
    async with graph.snapshot() as snapshot:
        assert await found(snapshot, "workspaces:/vision", first.id) == [None, None]
    for _ in range(2):
        with pytest.raises(AlreadyExists, match="there was a Workspace named 'vision'"):
            await building.workspace(graph, "vision")
    with pytest.raises(NotFound, match="no workspace 'vision'"):
        await building.model(graph, "m", workspace="vision")
    await building.workspace(graph, "vision-2")


async def test_a_part_of_a_deleted_container_goes_by_its_id_alone(graph: Graph) -> None:
    model, (version,) = await building.model(graph, "name", versions=1)
    await building.remove(graph, model.id)
    async with graph.snapshot() as snapshot:
        assert await found(snapshot, "models:/name/1", version.id) == [None, version.id]


async def test_an_alias_at_an_earlier_time_is_that_of_then(graph: Graph) -> None:
    model, (first, second) = await building.model(graph, "m", versions=2)
    (before,) = await building.link(graph, NewEdge("ALIAS", model.id, first.id, "live"))
    (ended,) = await building.unlink(graph, EdgeMatch("ALIAS", model.id, discriminator="live"))
    assert ended.until is not None
    (after,) = await building.link(graph, NewEdge("ALIAS", model.id, second.id, "live"))
    async with graph.snapshot() as snapshot:
        for moment, expected in [
            (before.since - 1, None),
            (before.since, first.id),
            (ended.until - 1, first.id),
            (after.since, second.id),
            (None, second.id),
        ]:
            assert await found(snapshot, "models:/m@live", as_of=moment) == [expected]


async def test_at_an_earlier_time_a_node_shows_if_it_existed_then(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    await building.remove(graph, model.id)
    async with graph.snapshot() as snapshot:
        moments = [model.created_at - 1, model.created_at, None]
        assert [await found(snapshot, model.id, as_of=m) for m in moments] == [[None], [model.id], [None]]


async def test_at_an_earlier_time_an_address_leads_to_what_has_been_deleted_since(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    place = await building.workspace(graph, "vision")
    await building.remove(graph, model.id)
    await building.remove(graph, place.id)
    async with graph.snapshot() as snapshot:
        then = place.created_at
        assert await found(snapshot, "models:/m", "workspaces:/vision", as_of=then) == [model.id, place.id]
        assert await found(snapshot, "models:/m", "workspaces:/vision", as_of=model.created_at - 1) == [None, None]
        assert await found(snapshot, "models:/m", "workspaces:/vision") == [None, None]


async def test_who_has_a_snapshot_may_open_another_however_many_do_so_at_once(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")

    async def read(depth: int) -> None:
        async with graph.snapshot() as snapshot:
            assert await snapshot.nodes([model.id])
            if depth:
                await read(depth - 1)

    await asyncio.wait_for(asyncio.gather(*(read(2) for _ in range(20))), 60)


async def test_reads_of_one_snapshot_queue_instead_of_failing(graph: Graph) -> None:
    import asyncio

    model, versions = await building.model(graph, "m", versions=5)
    async with graph.snapshot() as snapshot:
        answers = await asyncio.gather(*(snapshot.nodes([v.id, model.id]) for v in versions for _ in range(5)))
    assert [set(a) for a in answers] == [{v.id, model.id} for v in versions for _ in range(5)]
