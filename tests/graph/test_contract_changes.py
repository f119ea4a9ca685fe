"""Contract of both stores: each write leaves one Change, in a chain that anyone can check."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
import rfc8785

from graph.port import Change, EdgeMatch, Graph, NewEdge, NewNode, Point, Transaction, Update
from lineal.errors import InvalidArgument
from tests import building


def chain(changes: list[Change]) -> list[str]:
    """The hashes that these changes must have, from the port's words alone."""
    hashes, previous = [], "0" * 64
    for change in changes:
        body = {
            "previous": previous,
            "id": change.id,
            "at": str(change.at),
            "by": change.by,
            "action": change.action,
            "request": change.request,
            "data": hashlib.sha256(rfc8785.dumps(change.data)).hexdigest(),
        }
        previous = hashlib.sha256(rfc8785.dumps(body)).hexdigest()
        hashes.append(previous)
    return hashes


async def test_a_change_tells_who_did_what_to_what(graph: Graph) -> None:
    async def work(tx: Transaction) -> tuple[str, str]:
        (model,) = await tx.create([NewNode("Model", "m", "default")])
        (version,) = await tx.create([NewNode("ModelVersion", "1", "default", model.id, {"number": 1})])
        await tx.link([NewEdge("VERSION_OF", version.id, model.id)])
        await tx.log_metrics({version.id: [Point("f1", 0.5, 0, 0)]})
        return model.id, version.id

    model, version = await graph.write(work, by="ada", action="register", request="req-1")
    (change,) = await building.sequenced(graph)
    created = await building.node(graph, model)
    assert created is not None
    assert (change.by, change.action, change.request, change.at) == ("ada", "register", "req-1", created.created_at)
    assert change.data == {
        "created": [[model, "Model", "m"], [version, "ModelVersion", "1"]],
        "linked": [[version, "VERSION_OF", model, ""]],
        "logged": {version: 1},
    }


async def test_edges_in_a_change_are_named_source_kind_target_discriminator(graph: Graph) -> None:
    model, (version,) = await building.model(graph, "m", versions=1)
    await building.link(graph, NewEdge("ALIAS", model.id, version.id, "live"))
    await building.unlink(graph, EdgeMatch("ALIAS", model.id))
    linked, unlinked = (await building.sequenced(graph))[-2:]
    assert linked.data == {"linked": [[model.id, "ALIAS", version.id, "live"]]}
    assert unlinked.data == {"unlinked": [[model.id, "ALIAS", version.id, "live"]]}


async def test_an_update_keeps_what_was_before_and_what_is_after(graph: Graph) -> None:
    (model,) = await building.create(graph, NewNode("Model", "m", "default", props={"task": "a", "description": "x"}))

    async def work(tx: Transaction) -> None:
        await tx.update([Update(model.id, {"task": "b"})])
        await tx.update([Update(model.id, {"task": "c", "description": None}, name="n")])
        await tx.put_rows("tags", {model.id: {"k": "v"}})

    await graph.write(work, by="t", action="update")
    change = (await building.sequenced(graph))[-1]
    assert change.data == {
        "updated": {
            model.id: {
                "before": {"task": "a", "description": "x", "name": "m", "tags.k": None},
                "after": {"task": "c", "description": None, "name": "n", "tags.k": "v"},
            }
        }
    }


async def test_a_write_that_changes_nothing_or_fails_leaves_no_change(graph: Graph) -> None:
    (model,) = await building.create(graph, NewNode("Model", "m", "default", props={"task": "a"}))
    await building.update(graph, Update(model.id, {"task": "a"}, name="m"))
    await building.unlink(graph, EdgeMatch("ALIAS", model.id))
    await building.link(graph)
    with pytest.raises(InvalidArgument):
        await building.update(graph, Update(model.id, {"nonsense": 1}))
    assert [c.action for c in await building.sequenced(graph)] == ["create"]


async def test_sequence_numbers_have_no_gaps_and_the_hashes_are_a_chain(graph: Graph) -> None:
    async def story(n: int) -> None:
        model, (version,) = await building.model(graph, f"m{n} é", versions=1)
        await building.tag(graph, version.id, team="😀")
        await building.update(graph, Update(model.id, {"task": "t", "attributes": {"x": 1.5, "é": [True, None]}}))

    await asyncio.gather(*(story(n) for n in range(5)))
    with pytest.raises(InvalidArgument):
        await building.create(graph, NewNode("Model", "", "default"))
    await building.model(graph, "last")
    changes = await building.sequenced(graph)
    assert [c.seq for c in changes] == list(range(1, 17))
    assert [c.hash for c in changes] == chain(changes)
    assert len({c.id for c in changes}) == 16


async def test_a_chain_goes_on_over_several_rounds_of_sequencing(graph: Graph) -> None:
    for n in range(3):
        await building.model(graph, f"m{n}")
        await building.sequenced(graph)
    changes = await building.sequenced(graph)
    assert [c.seq for c in changes] == [1, 2, 3]
    assert [c.hash for c in changes] == chain(changes)
    assert await graph.sequence() == 0


async def test_changes_are_read_forwards_backwards_and_by_subject(graph: Graph) -> None:
    one, _ = await building.model(graph, "one")
    two, _ = await building.model(graph, "two")
    await building.update(graph, Update(one.id, {"task": "t"}))
    await building.link(graph, NewEdge("SUPERSEDED_BY", one.id, two.id))
    assert [c.seq for c in await building.sequenced(graph)] == [1, 2, 3, 4]
    assert [c.seq for c in await building.sequenced(graph, one.id)] == [1, 3, 4]
    async with graph.snapshot() as snapshot:

        async def numbers(**asked: int | bool | str) -> list[int | None]:
            return [c.seq for c in await snapshot.changes(**asked)]  # type: ignore[arg-type]

        assert await numbers(after=2) == [3, 4]
        assert await numbers(limit=2) == [1, 2]
        assert await numbers(descending=True) == [4, 3, 2, 1]
        assert await numbers(descending=True, after=3) == [2, 1]
        assert await numbers(descending=True, subject=one.id, limit=2) == [4, 3]
        assert await numbers(subject="mo_00000000000000000000000000") == []


async def test_a_deleted_node_is_named_in_its_last_change(graph: Graph) -> None:
    model, (version,) = await building.model(graph, "m", versions=1)
    await building.link(graph, NewEdge("ALIAS", model.id, version.id, "live"))
    await building.remove(graph, version.id)
    change = (await building.sequenced(graph, version.id))[-1]
    assert change.data["deleted"] == [[version.id, "ModelVersion", "1"]]
    assert sorted(change.data["unlinked"]) == sorted(
        [
            [model.id, "ALIAS", version.id, "live"],
            [version.id, "VERSION_OF", model.id, ""],
        ]
    )


async def test_changes_of_many_nodes_come_for_each_of_them_the_newest_first(graph: Graph) -> None:
    models = await building.create(graph, *(NewNode("Model", name, "default") for name in "abc"))
    a, b, c = (model.id for model in models)
    for n in range(3):
        await building.update(graph, Update(a, {"task": str(n)}))
    await building.update(graph, Update(b, {"task": "x"}))
    everything = await building.sequenced(graph)
    async with graph.snapshot() as snapshot:
        found = await snapshot.changes_of([a, b, c, "nothing"])
        assert {id: [change.action for change in changes] for id, changes in found.items()} == {
            a: ["update", "update", "update", "create"],
            b: ["update", "create"],
            c: ["create"],
        }
        assert [change for change in reversed(everything) if change in found[a]] == found[a]
        page = (await snapshot.changes_of([a, b], limit=2))[a]
        assert page == found[a][:2]
        assert (await snapshot.changes_of([a], after=page[-1].seq or 0, limit=2))[a] == found[a][2:]
        assert snapshot.statements <= 3
