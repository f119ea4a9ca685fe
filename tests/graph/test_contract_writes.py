"""Contract of both stores: create, update and remove, what they refuse, and that nothing is half done."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from graph import ontology
from graph.ids import new_id
from graph.port import Edge, Graph, Hop, NewEdge, NewNode, Node, Transaction, Update
from lineal.errors import AlreadyExists, Conflict, Internal, InvalidArgument, LinealError, NotFound
from tests import building

NOWHERE = "mo_00000000000000000000000000"


async def test_a_write_gives_back_what_its_work_returns_and_reads_its_own_writes(graph: Graph) -> None:
    async def work(tx: Transaction) -> str:
        (model,) = await tx.create([NewNode("Model", "m", "default")])
        assert await tx.nodes([model.id]) == {model.id: model}
        (found,) = (await tx.find("Model")).items
        assert found == model
        await tx.update([Update(model.id, {"task": "t"})])
        assert (await tx.nodes([model.id]))[model.id].props == {"task": "t"}
        return model.id

    model = await building.node(graph, await graph.write(work, by="ada", action="make"))
    assert model is not None
    assert (model.props, model.created_by) == ({"task": "t"}, "ada")


async def test_when_the_work_fails_nothing_stays(graph: Graph) -> None:
    model, (one, _) = await building.model(graph, "m", versions=2)

    async def work(tx: Transaction) -> None:
        await tx.create([NewNode("Model", "other", "default")])
        await tx.update([Update(model.id, {"task": "t"})])
        await tx.link([NewEdge("ALIAS", model.id, one.id, "live")])
        await tx.put_rows("tags", {model.id: {"a": "1"}})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await graph.write(work, by="t", action="fail")
    async with graph.snapshot() as snapshot:
        assert list((await snapshot.find("Model")).items) == [model]
        assert await snapshot.rows([model.id], "tags") == {}
        assert not any(p.items for p in (await snapshot.history([model.id], Hop("ALIAS", "OUT"))).values())
        assert (await snapshot.search("other")).items == []


async def test_a_refusal_that_the_work_lets_through_leaves_nothing_of_the_refused_verb(graph: Graph) -> None:
    await building.model(graph, "taken")

    async def work(tx: Transaction) -> None:
        with pytest.raises(AlreadyExists):
            await tx.create([NewNode("Model", "first", "default"), NewNode("Model", "taken", "default")])
        await tx.create([NewNode("Model", "second", "default")])

    await graph.write(work, by="t", action="try")
    async with graph.snapshot() as snapshot:
        assert [n.name for n in (await snapshot.find("Model")).items] == ["second", "taken"]


@pytest.mark.parametrize(
    ("new", "error", "words"),
    [
        (NewNode("Model", "taken", "default"), AlreadyExists, "a Model named 'taken'"),
        (NewNode("Model", "", "default"), InvalidArgument, "1 to 500"),
        (NewNode("Model", "x" * 501, "default"), InvalidArgument, "501"),
        (NewNode("Model", "a\nb", "default"), InvalidArgument, "control"),
        (NewNode("Model", "m", "nowhere"), NotFound, "no workspace 'nowhere'"),
        (
            NewNode("Model", "m", "default", props={"colour": "red"}),
            InvalidArgument,
            "colour: Model has no such property",
        ),
        (NewNode("Model", "m", "default", props={"task": 3}), InvalidArgument, "task: must be text"),
        (
            NewNode("Model", "m", "default", props={"external": "yes"}),
            InvalidArgument,
            "external: must be true or false",
        ),
        (
            NewNode("Model", "m", "default", props={"attributes": [1]}),
            InvalidArgument,
            "attributes: must be a JSON object",
        ),
        (NewNode("Run", "r", "default", props={"state": "DONE"}), InvalidArgument, "one of SCHEDULED"),
        (NewNode("Run", "r", "default", props={"startedAt": 2**63}), InvalidArgument, "64 bits"),
        (NewNode("ModelVersion", "1", "default", props={"number": 1}), InvalidArgument, "container"),
        (NewNode("ModelVersion", "1", "default", NOWHERE, {"number": 1}), NotFound, NOWHERE),
        (
            NewNode("CodeRevision", "c", "default", props={"repository": "r"}),
            InvalidArgument,
            "commit: CodeRevision needs it",
        ),
        (NewNode("Workspace", "Not A Name", ontology.GLOBAL), InvalidArgument, "workspace's name"),
        (NewNode("Workspace", "default", ontology.GLOBAL), AlreadyExists, "Workspace named 'default'"),
    ],
    ids=lambda v: v.name if isinstance(v, NewNode) else "",
)
async def test_a_create_is_refused_with_words_that_name_the_field(
    graph: Graph, new: NewNode, error: type[LinealError], words: str
) -> None:
    await building.model(graph, "taken")
    with pytest.raises(error, match=words):
        await building.create(graph, NewNode("Model", "beside", "default"), new)
    async with graph.snapshot() as snapshot:
        assert [n.name for n in (await snapshot.find("Model")).items] == ["taken"]


async def test_a_name_twice_in_one_call_is_refused(graph: Graph) -> None:
    with pytest.raises(AlreadyExists):
        await building.create(graph, NewNode("Model", "m\u00e9", "default"), NewNode("Model", "me\u0301", "default"))


async def test_many_writers_of_one_name_make_one(graph: Graph) -> None:
    answers = await asyncio.gather(*(building.model(graph, "m") for _ in range(8)), return_exceptions=True)
    assert [type(a) for a in answers].count(tuple) == 1
    assert sum(isinstance(a, AlreadyExists) for a in answers) == 7


async def test_a_workspace_that_is_deleted_meanwhile_leaves_its_name_to_nobody(graph: Graph) -> None:
    async def again(place: Node) -> Node:
        await building.remove(graph, place.id)
        return await building.workspace(graph, "vision")

    place = await building.workspace(graph, "vision")
    results = await asyncio.gather(
        again(place), *(building.workspace(graph, "vision") for _ in range(8)), return_exceptions=True
    )
    assert [type(result) for result in results] == [AlreadyExists] * 9


async def test_of_many_who_make_a_workspace_and_delete_it_at_once_one_does(graph: Graph) -> None:
    async def make() -> None:
        await building.remove(graph, (await building.workspace(graph, "vision")).id)

    results = await asyncio.gather(*(make() for _ in range(8)), return_exceptions=True)
    assert results.count(None) == 1
    assert [type(result) for result in results].count(AlreadyExists) == 7


async def test_an_update_sets_removes_and_leaves_properties(graph: Graph) -> None:
    (model,) = await building.create(
        graph, NewNode("Model", "m", "default", props={"task": "a", "description": "d", "attributes": {"x": 1}})
    )
    (changed,) = await building.update(graph, Update(model.id, {"task": "b", "description": None}))
    assert changed == await building.node(graph, model.id)
    assert changed.props == {"task": "b", "attributes": {"x": 1}}
    assert changed.revision == 2
    assert changed.updated_at > model.updated_at
    assert (changed.created_at, changed.created_by, changed.name) == (model.created_at, model.created_by, model.name)


async def test_an_update_that_changes_nothing_leaves_revision_and_time(graph: Graph) -> None:
    (model,) = await building.create(graph, NewNode("Model", "m", "default", props={"task": "a"}))
    assert await building.update(graph, Update(model.id, {"task": "a", "description": None}, name="m")) == [model]
    assert await building.node(graph, model.id) == model


async def test_an_update_of_an_old_revision_is_a_conflict_that_names_both(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    await building.update(graph, Update(model.id, {"task": "b"}, revision=1))
    with pytest.raises(Conflict, match="revision 2, not 1") as caught:
        await building.update(graph, Update(model.id, {"task": "c"}, revision=1))
    assert caught.value.details == {"expected": 1, "actual": 2}
    now = await building.node(graph, model.id)
    assert now is not None
    assert (now.revision, now.props) == (2, {"task": "b"})


async def test_of_many_updates_of_one_revision_one_wins(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    answers = await asyncio.gather(
        *(building.update(graph, Update(model.id, {"task": str(n)}, revision=1)) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(a, list) for a in answers) == 1
    assert sum(isinstance(a, Conflict) for a in answers) == 7


async def test_many_updates_without_a_revision_are_all_counted(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    await asyncio.gather(*(building.update(graph, Update(model.id, {"task": str(n)})) for n in range(8)))
    now = await building.node(graph, model.id)
    assert now is not None
    assert now.revision == 9


async def test_a_rename_frees_no_name_that_is_taken_and_keeps_its_parts(graph: Graph) -> None:
    model, (version,) = await building.model(graph, "m", versions=1)
    await building.model(graph, "taken")
    with pytest.raises(AlreadyExists, match="a Model named 'taken'"):
        await building.update(graph, Update(model.id, {"task": "t"}, name="taken"))
    assert await building.node(graph, model.id) == model
    (renamed,) = await building.update(graph, Update(model.id, name="n"))
    assert (renamed.name, renamed.revision) == ("n", 2)
    assert await building.node(graph, version.id) == version
    await building.model(graph, "m")
    with pytest.raises(AlreadyExists):
        await building.update(graph, Update(model.id, name="m"))
    twice = await building.update(graph, Update(model.id, name="o"), Update(model.id, name="n"))
    assert {n.name for n in twice} == {"n"}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"props": {"number": None}}, InvalidArgument, "number: ModelVersion needs it"),
        ({"props": {"nonsense": 1}}, InvalidArgument, "nonsense"),
        ({"name": "2"}, InvalidArgument, "cannot be changed"),
        ({"id": "mv_00000000000000000000000000"}, NotFound, "mv_00000000000000000000000000"),
    ],
    ids=str,
)
async def test_an_update_is_refused_whole(
    graph: Graph, change: dict[str, Any], error: type[LinealError], words: str
) -> None:
    model, (version,) = await building.model(graph, "m", versions=1)
    with pytest.raises(error, match=words):
        await building.update(graph, Update(model.id, {"task": "t"}), Update(**{"id": version.id, **change}))
    assert await building.node(graph, model.id) == model
    assert await building.node(graph, version.id) == version


async def test_remove_leaves_a_tombstone_and_ends_its_edges(graph: Graph) -> None:
    model, (one, two) = await building.model(graph, "m", versions=2)
    await building.link(
        graph, NewEdge("ALIAS", model.id, one.id, "live"), NewEdge("DERIVED_FROM", two.id, one.id, "finetune")
    )
    await building.remove(graph, one.id)
    assert await building.node(graph, one.id) is None
    async with graph.snapshot() as snapshot:
        records = {r.node.id: r.node for r in await snapshot.records("", 100)}
        edges: list[Edge] = [
            e for e in await snapshot.edges_from([model.id, one.id, two.id]) if one.id in (e.source, e.target)
        ]
    tomb = records[one.id]
    assert tomb.deleted_at is not None
    assert (tomb.name, tomb.kind, tomb.revision, tomb.updated_at) == (one.name, one.kind, 2, tomb.deleted_at)
    assert {(e.kind, e.until) for e in edges} == {(k, tomb.deleted_at) for k in ("ALIAS", "VERSION_OF", "DERIVED_FROM")}
    for attempt in (
        building.remove(graph, one.id),
        building.update(graph, Update(one.id, {"uri": "x"})),
        building.tag(graph, one.id, a="1"),
    ):
        with pytest.raises(NotFound):
            await attempt
    with pytest.raises(NotFound):
        await building.link(graph, NewEdge("ALIAS", model.id, one.id, "live"))


async def test_removing_one_that_is_not_there_removes_nothing(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    with pytest.raises(NotFound, match=NOWHERE):
        await building.remove(graph, model.id, NOWHERE)
    assert await building.node(graph, model.id) == model


async def test_lock_reads_nodes_anew_and_refuses_what_is_not_there(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")

    async def work(tx: Transaction) -> None:
        assert await tx.lock([model.id]) == {model.id: model}
        with pytest.raises(NotFound, match="mo_"):
            await tx.lock([model.id, new_id("mo")])

    await graph.write(work, by="t", action="lock")


async def test_what_others_do_meanwhile_waits_for_a_locked_node(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    locked, go = asyncio.Event(), asyncio.Event()

    async def first(tx: Transaction) -> None:
        before = (await tx.lock([model.id]))[model.id]
        locked.set()
        await go.wait()
        await tx.update([Update(model.id, {"task": f"{before.props.get('task', '')}a"})])

    async def second(tx: Transaction) -> None:
        before = (await tx.lock([model.id]))[model.id]
        await tx.update([Update(model.id, {"task": f"{before.props.get('task', '')}b"})])

    one = asyncio.create_task(graph.write(first, by="t", action="a"))
    await locked.wait()
    two = asyncio.create_task(graph.write(second, by="t", action="b"))
    go.set()
    await asyncio.gather(one, two)
    now = await building.node(graph, model.id)
    assert now is not None
    assert now.props == {"task": "ab"}


async def test_a_thousand_nodes_are_created_in_a_bounded_number_of_statements(graph: Graph) -> None:
    async def statements(size: int) -> int:
        async def work(tx: Transaction) -> int:
            before = tx.statements
            models = await tx.create([NewNode("Model", f"m{size} {n}", "default") for n in range(size)])
            versions = await tx.create([NewNode("ModelVersion", "1", "default", m.id, {"number": 1}) for m in models])
            await tx.link([NewEdge("VERSION_OF", v.id, m.id) for v, m in zip(versions, models, strict=True)])
            return tx.statements - before

        return await graph.write(work, by="t", action="many")

    assert await statements(1_000) == await statements(2)


async def test_a_write_that_is_cancelled_at_any_moment_leaves_the_store_as_usable_as_before(graph: Graph) -> None:
    for steps in range(40):
        writing = asyncio.create_task(building.model(graph, f"cancelled-{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.sleep(steps / 20_000)
        writing.cancel()
        await asyncio.wait([writing])
        await building.model(graph, f"afterwards-{steps}")


async def test_what_is_touched_was_updated_and_is_in_the_same_revision(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    (touched,) = await building.update(graph, Update(model.id, touch=True))
    assert (touched.revision, touched.props) == (model.revision, model.props)
    assert touched.updated_at > model.updated_at
    (counted,) = await building.update(graph, Update(model.id, {"lastNumber": 3}))
    assert counted.updated_at == touched.updated_at
    (both,) = await building.update(graph, Update(model.id, {"lastNumber": 4}, touch=True))
    assert (both.revision, both.updated_at > counted.updated_at) == (model.revision, True)


async def test_what_is_done_in_one_go_is_a_write_like_others(graph: Graph) -> None:
    async def work(tx: Transaction) -> list[Node]:
        made = await tx.create([NewNode("Model", "m", "default")])
        assert await tx.nodes([made[0].id]) == {made[0].id: made[0]}
        return made

    async def fails(tx: Transaction) -> None:
        await tx.create([NewNode("Model", "n", "default")])
        raise Conflict("no")

    (made,) = await graph.write(work, by=building.BY, action="make", in_one_go=True)
    with pytest.raises(Conflict):
        await graph.write(fails, by=building.BY, action="make", in_one_go=True)
    async with graph.snapshot() as snapshot:
        found = await snapshot.together(lambda s: s.find("Model"))
        assert await snapshot.together(lambda s: s.nodes([made.id])) == {made.id: made}
    assert [node.id for node in found.items] == [made.id]
    assert [change.action for change in await building.sequenced(graph, made.id)] == ["make"]


async def test_on_sqlite_what_is_done_in_one_go_may_wait_for_nothing_else(sqlite_graph: Graph) -> None:
    async def waits(tx: Transaction) -> None:
        await tx.create([NewNode("Model", "m", "default")])
        await Waiting()

    with pytest.raises(Internal, match="may await nothing but its store"):
        await sqlite_graph.write(waits, by=building.BY, action="wait", in_one_go=True)
    async with sqlite_graph.snapshot() as snapshot:
        assert not (await snapshot.find("Model")).items


class Waiting:
    """What is not there yet."""

    def __await__(self) -> Generator[None, None, None]:
        yield
