"""Contract of both stores: each write leaves one Change, and feeds of changes tell what one may see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from graph.port import EdgeMatch, Graph, NewEdge, NewNode, Node, Note, Origin, Point, Transaction, Update, View
from lineal.errors import InvalidArgument
from tests import building


async def test_a_change_tells_who_did_what_to_what(graph: Graph) -> None:
    async def work(tx: Transaction) -> tuple[str, str]:
        (model,) = await tx.create([NewNode("Model", "m", "default")])
        (version,) = await tx.create([NewNode("ModelVersion", "1", "default", model.id, {"number": 1})])
        await tx.link([NewEdge("VERSION_OF", version.id, model.id)])
        await tx.log_metrics({version.id: [Point("f1", 0.5, 0, 0)]})
        return model.id, version.id

    origin = Origin("trainer", "token-1", "192.0.2.7")
    model, version = await graph.write(work, by="ada", action="register", request="req-1", origin=origin)
    (change,) = await building.sequenced(graph)
    created = await building.node(graph, model)
    assert created is not None
    assert (change.by, change.action, change.request, change.at) == ("ada", "register", "req-1", created.created_at)
    assert (change.origin, change.workspaces) == (origin, ("default",))
    assert change.data == {
        "created": [[model, "Model", "m"], [version, "ModelVersion", "1", {"number": 1}]],
        "linked": [[version, "VERSION_OF", model, ""]],
        "logged": {version: 1},
    }


async def test_a_write_may_say_that_it_was_more_than_it_was_begun_for(graph: Graph) -> None:
    async def work(tx: Transaction) -> None:
        await tx.create([NewNode("Model", "m", "default")])
        tx.action = "exceptional"

    await graph.write(work, by="ada", action="usual")
    assert [change.action for change in await building.sequenced(graph)] == ["exceptional"]


async def test_edges_in_a_change_are_named_source_kind_target_discriminator(graph: Graph) -> None:
    model, (version,) = await building.model(graph, "m", versions=1)
    await building.link(graph, NewEdge("ALIAS", model.id, version.id, "live"))
    await building.unlink(graph, EdgeMatch("ALIAS", model.id))
    linked, unlinked = (await building.sequenced(graph))[-2:]
    assert linked.data == {"linked": [[model.id, "ALIAS", version.id, "live"]]}
    assert unlinked.data == {"unlinked": [[model.id, "ALIAS", version.id, "live"]]}


async def test_what_was_made_and_what_was_deleted_are_told_with_their_properties(graph: Graph) -> None:
    props = {"task": "a", "description": "x", "attributes": {"deep": [1, {"big": 2**60}]}}
    (model,) = await building.create(graph, NewNode("Model", "m", "default", props=props))
    await building.update(graph, Update(model.id, {"task": None}))
    await building.remove(graph, model.id)
    created, _, deleted = await building.sequenced(graph)
    assert created.data == {"created": [[model.id, "Model", "m", props]]}
    del props["task"]
    assert deleted.data == {"deleted": [[model.id, "Model", "m", props]]}


async def test_the_properties_of_edges_are_told_before_and_after(graph: Graph) -> None:
    _, (version,) = await building.model(graph, "m", versions=1)
    (deployment,) = await building.create(graph, NewNode("Deployment", "d", "default"))
    serves = [deployment.id, "SERVES", version.id, ""]
    for weight in (0.1, 0.9):
        await building.link(graph, NewEdge("SERVES", deployment.id, version.id, props={"weight": weight}))
    await building.unlink(graph, EdgeMatch("SERVES", deployment.id))
    told = [change.data for change in (await building.sequenced(graph))[-3:]]
    assert told == [
        {"linked": [[*serves, {"after": {"weight": 0.1}}]]},
        {"linked": [[*serves, {"before": {"weight": 0.1}, "after": {"weight": 0.9}}]]},
        {"unlinked": [[*serves, {"before": {"weight": 0.9}}]]},
    ]


async def test_an_edge_that_was_true_at_another_time_is_told_with_it(graph: Graph) -> None:
    _, (one, other) = await building.model(graph, "m", versions=2)
    await building.link(graph, NewEdge("DERIVED_FROM", other.id, one.id, "copy", since=10, until=20))
    told = (await building.sequenced(graph))[-1].data["linked"]
    assert told == [[other.id, "DERIVED_FROM", one.id, "copy", {"after": {"since": 10, "until": 20}}]]


async def test_what_changes_are_found_by_is_told_of_each(graph: Graph) -> None:
    (principal,) = await building.create(graph, NewNode("Principal", "corp:ann", "", props={"type": "USER"}))
    workspace = await building.workspace(graph, "vision")
    await building.link(graph, NewEdge("GRANTS", workspace.id, principal.id, "VIEWER"))
    seqs = [change.seq or 0 for change in await building.sequenced(graph)]
    async with graph.snapshot() as snapshot:
        found = await snapshot.subjects([*seqs, 99])
    assert [found[seq] for seq in seqs] == [
        {principal.id: False}, {workspace.id: False}, {workspace.id: False, principal.id: True},
    ]  # fmt: skip


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


async def test_sequence_numbers_have_no_gaps(graph: Graph) -> None:
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
    assert len({c.id for c in changes}) == 16


async def test_numbers_go_on_over_several_rounds_of_sequencing(graph: Graph) -> None:
    for n in range(3):
        await building.model(graph, f"m{n}")
        await building.sequenced(graph)
    assert [c.seq for c in await building.sequenced(graph)] == [1, 2, 3]
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
    assert change.data["deleted"] == [[version.id, "ModelVersion", "1", {"number": 1}]]
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


# What one may see ─────────────────────────────────────────────────────────────────────────────────


async def feed(
    graph: Graph,
    view: View = View(),
    *,
    among: Sequence[str] | None = None,
    but_by: str | None = None,
    descending: bool = False,
) -> list[int]:
    """The numbers of the changes that a view shows."""
    await building.sequenced(graph)
    async with graph.snapshot(view) as snapshot:
        found = await snapshot.changes(among=among, but_by=but_by, descending=descending)
    return [change.seq or 0 for change in found]


def only(*workspaces: str, shared: Sequence[str] = (), kinds: Sequence[str] | None = None) -> View:
    """A view of these workspaces, and of these shared containers."""
    return View(frozenset(workspaces), frozenset(shared), None if kinds is None else frozenset(kinds))


async def test_a_view_shows_the_changes_with_a_subject_that_it_shows(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    model, (version,) = await building.model(graph, "m", versions=1, workspace="vision")
    await building.dataset(graph, "d")
    await building.create(graph, NewNode("Model", "both", "default"), NewNode("Model", "both", "vision"))
    await building.tag(graph, version.id, k="v")
    assert await feed(graph) == [1, 2, 3, 4, 5]
    assert await feed(graph, only("vision")) == [1, 2, 4, 5]
    assert await feed(graph, only("default")) == [3, 4]
    assert await feed(graph, only("default"), descending=True) == [4, 3]
    assert await feed(graph, only("default", shared=[model.id])) == [2, 3, 4, 5]
    assert await feed(graph, only("vision", kinds=["Workspace"])) == [1]
    assert await feed(graph, only("default", "vision", kinds=["Dataset"])) == [3]
    assert await feed(graph, only()) == []


async def test_changes_of_what_was_deleted_show_to_those_who_saw_it(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    model, _ = await building.model(graph, "m", workspace="vision")
    await building.remove(graph, model.id)
    assert await feed(graph, only("vision")) == [1, 2, 3]
    assert await feed(graph, only("default")) == []


async def test_a_change_of_what_belongs_to_no_workspace_shows_to_everybody(graph: Graph) -> None:
    await building.create(graph, NewNode("Principal", "corp:ada", ""))
    assert await feed(graph, only("default")) == [1]
    assert await feed(graph, only("default", kinds=["Model"])) == []


async def test_a_target_does_not_make_a_change_visible(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    _, (base,) = await building.model(graph, "base", versions=1)
    _, (tuned,) = await building.model(graph, "tuned", versions=1, workspace="vision")
    await building.link(graph, NewEdge("DERIVED_FROM", tuned.id, base.id))
    assert await feed(graph, only("default")) == [2]
    assert await feed(graph, only("vision")) == [1, 3, 4]


async def test_what_was_only_noted_is_in_no_feed(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    await graph.note([Note("eve", "deleteModel", {"id": model.id}, ("default",))])
    await building.update(graph, Update(model.id, {"task": "t"}))
    assert await feed(graph) == [1, 3]
    assert await feed(graph, only("default")) == [1, 3]
    assert await feed(graph, among=[model.id]) == [1, 3]


async def test_changes_among_nodes_are_those_of_them_and_of_what_they_contain(graph: Graph) -> None:
    await building.workspace(graph, "vision")
    model, (version,) = await building.model(graph, "m", versions=1)
    await building.model(graph, "n", versions=1)
    hidden, _ = await building.model(graph, "h", workspace="vision")
    await building.tag(graph, version.id, k="v")
    await building.update(graph, Update(model.id, {"task": "t"}))
    assert await feed(graph, among=[model.id]) == [2, 5, 6]
    assert await feed(graph, among=[model.id], descending=True) == [6, 5, 2]
    assert await feed(graph, among=[version.id]) == [2, 5]
    assert await feed(graph, among=[model.id, hidden.id, version.id]) == [2, 4, 5, 6]
    assert await feed(graph, only("default"), among=[model.id, hidden.id]) == [2, 5, 6]
    assert await feed(graph, among=[]) == []
    async with graph.snapshot() as snapshot:
        assert [c.seq for c in await snapshot.changes(among=[model.id], after=2, limit=1)] == [5]
        assert [c.seq for c in await snapshot.changes(among=[model.id], subject=version.id)] == [2, 5]
        assert [c.seq for c in await snapshot.changes(among=[model.id], descending=True, after=6)] == [5, 2]


async def test_changes_but_by_somebody_are_those_of_all_others(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")

    async def work(tx: Transaction) -> list[Node]:
        return await tx.update([Update(model.id, {"task": "t"})])

    await graph.write(work, by="ada", action="update")
    assert await feed(graph, but_by="ada") == [1]
    assert await feed(graph, but_by=building.BY) == [2]
    assert await feed(graph, only("default"), among=[model.id], but_by="ada") == [1]


async def test_whom_a_change_addresses_finds_it_but_needs_more_to_see_it(graph: Graph) -> None:
    vision = await building.workspace(graph, "vision")
    ada, team = await building.create(graph, NewNode("Principal", "corp:ada", ""), NewNode("Team", "ml", ""))
    model, _ = await building.model(graph, "m", workspace="vision")
    (comment,) = await building.create(graph, NewNode("Comment", "1", "vision", model.id, {"text": "@corp:ada look"}))
    await building.link(graph, NewEdge("ABOUT", comment.id, model.id), NewEdge("MENTIONS", comment.id, ada.id))
    await building.link(graph, NewEdge("GRANTS", vision.id, team.id, "VIEWER"))
    await building.link(graph, NewEdge("MEMBER_OF", ada.id, team.id))
    assert await feed(graph, among=[ada.id]) == [2, 5, 7]
    assert await feed(graph, among=[team.id]) == [2, 6, 7]
    assert await feed(graph, only("vision"), among=[ada.id]) == [2, 5, 7]
    assert await feed(graph, only("default"), among=[ada.id]) == [2, 7]
    assert await feed(graph, only("default"), among=[ada.id, team.id]) == [2, 7]
    async with graph.snapshot() as snapshot:
        of = await snapshot.changes_of([ada.id, team.id])
        assert {id: [c.seq for c in changes] for id, changes in of.items()} == {ada.id: [7, 2], team.id: [2]}
        assert [c.seq for c in await snapshot.changes(subject=team.id)] == [2]
