"""Marks: who is told of a data set that went bad, what they read, and what stays in history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from auth.caller import Caller, named
from auth.scopes import SCOPES
from graph.port import Graph, NewEdge, NewNode, Node, View
from lineal.errors import AlreadyExists, Forbidden, InvalidArgument, NotFound, PreconditionFailed
from resolvers.activity import Notification, notifications
from resolvers.lifecycle.marked import affected, last_marked, marked
from resolvers.lifecycle.marking import mark_dataset, unmark
from resolvers.operation import Operation
from tests import building
from tests.resolvers.conftest import Desk, refused

SCOPES_OF_ALL = frozenset(SCOPES) - {"admin"}


@dataclass
class World:
    """patients/v1 → bert/1 → bert/2 → tiny/1, which "search" serves; bert belongs to Bob, tiny to the team of Cid.

    The data set is in the workspace "clinic", bert in "clinic" too, the rest in "shop". Dan watches the deployment.
    """

    graph: Graph
    dataset: Node
    bert: Node
    tiny: Node
    search: Node

    async def notices(self) -> dict[str, Node]:
        """The notices, by the names of what they concern. At most one of each may be there."""
        found = {}
        async with self.graph.snapshot() as snapshot:
            page = await snapshot.find("Notice")
            edges = await snapshot.edges_from([node.id for node in page.items])
            names = {node.id: node.name for node in (self.bert, self.tiny, self.search)}
            by_id = {node.id: node for node in page.items}
            for edge in edges:
                if edge.kind == "CONCERNS":
                    assert names[edge.target] not in found
                    found[names[edge.target]] = by_id[edge.source]
        return found

    async def told(self, notice: Node) -> set[str]:
        """The names of those who a notice is for."""
        async with self.graph.snapshot() as snapshot:
            targets = [e.target for e in await snapshot.edges_from([notice.id]) if e.kind == "NOTIFIES"]
            return {node.name for node in (await snapshot.nodes(targets)).values()}


@pytest.fixture
async def world(graph: Graph) -> World:
    clinic, _, bob, cid, dan, team = await building.create(
        graph,
        NewNode("Workspace", "clinic", "", props={"visibility": "PRIVATE"}),
        NewNode("Workspace", "shop", "", props={"visibility": "PRIVATE"}),
        *(NewNode("Principal", f"corp:{name}", "") for name in ("bob", "cid", "dan")),
        NewNode("Team", "shopkeepers", ""),
    )
    dataset, (v1,) = await building.dataset(graph, "patients", "v1", workspace="clinic")
    bert, (first, second) = await building.model(graph, "bert", versions=2, workspace="clinic")
    tiny, (small,) = await building.model(graph, "tiny", versions=1, workspace="shop")
    await building.model(graph, "other", versions=1, workspace="clinic")
    (search,) = await building.create(graph, NewNode("Deployment", "search", "shop"))
    async with graph.snapshot() as snapshot:
        (shop,) = (await snapshot.find("Workspace", None)).items[-1:]
        assert shop.name == "shop"
    await building.link(
        graph,
        NewEdge("TRAINED_ON", first.id, v1.id, "train"),
        NewEdge("DERIVED_FROM", second.id, first.id, "finetune"),
        NewEdge("DERIVED_FROM", small.id, second.id, "quantized"),
        NewEdge("SERVES", search.id, small.id),
        NewEdge("OWNED_BY", bert.id, bob.id),
        NewEdge("OWNED_BY", tiny.id, team.id),
        NewEdge("MEMBER_OF", cid.id, team.id),
        NewEdge("WATCHES", dan.id, search.id),
        NewEdge("GRANTS", clinic.id, bob.id, "CONTRIBUTOR"),
        NewEdge("GRANTS", shop.id, cid.id, "VIEWER"),
        NewEdge("GRANTS", shop.id, dan.id, "VIEWER"),
    )
    return World(graph, dataset, bert, tiny, search)


async def inbox(graph: Graph, name: str) -> list[Notification]:
    """Somebody's notifications of what use cases did."""
    await building.sequenced(graph)
    async with Operation(graph, caller=Caller(f"corp:{name}", SCOPES_OF_ALL)) as op:
        return [item for item in (await notifications(op)).items if item.change.by != building.BY]


async def heard(graph: Graph, name: str) -> list[str]:
    """What somebody's notifications say was done."""
    return [item.change.action for item in await inbox(graph, name)]


MARK: Any = {"address": "datasets:/clinic:patients", "reason": "it has the test set of NQ"}


@pytest.mark.parametrize("of", ["datasets:/clinic:patients", "datasets:/clinic:patients/v1"])
async def test_a_mark_tells_owners_and_watchers_of_all_that_came_of_it(world: World, op: Operation, of: str) -> None:
    mark = await mark_dataset(op, **{**MARK, "address": of})
    assert (mark.workspace, mark.container) == ("clinic", world.dataset.id)
    notices = await world.notices()
    assert {name: await world.told(notice) for name, notice in notices.items()} == {
        "bert": {"corp:bob"},
        "tiny": {"shopkeepers"},
        "search": {"corp:dan"},
    }
    for thing in (world.bert, world.tiny, world.search):
        notice = notices[thing.name]
        home = notice.id if thing is world.bert else thing.container
        assert (notice.workspace, notice.container) == (thing.workspace, home)
        assert notice.props["type"] == "CONTAMINATION"


async def test_a_notice_names_the_data_set_only_where_its_readers_may_know_it(world: World, op: Operation) -> None:
    await mark_dataset(op, **MARK)
    texts = {name: notice.props["text"] for name, notice in (await world.notices()).items()}
    assert texts == {
        "bert": "datasets:/clinic:patients was marked CONTAMINATED: it has the test set of NQ. Versions of this model "
        "that came of it: 1, 2.",
        "tiny": "A data set was marked CONTAMINATED. Versions of this model that came of it: 1.",
        "search": "A data set was marked CONTAMINATED. This deployment serves what came of it.",
    }


async def test_a_notice_of_a_model_that_is_shared_with_others_does_not_name_it(world: World, op: Operation) -> None:
    async with world.graph.snapshot() as snapshot:
        shop = next(node for node in (await snapshot.find("Workspace")).items if node.name == "shop")
    await building.link(world.graph, NewEdge("SHARED_WITH", world.bert.id, shop.id))
    await mark_dataset(op, **MARK)
    assert "patients" not in (await world.notices())["bert"].props["text"]


async def test_sharing_a_model_later_does_not_share_what_was_told_of_it_before(world: World, op: Operation) -> None:
    await mark_dataset(op, **MARK)
    notice = (await world.notices())["bert"]
    assert "patients" in notice.props["text"]
    async with world.graph.snapshot() as snapshot:
        partner = snapshot.seeing(View(frozenset({"elsewhere"}), frozenset({world.bert.id})))
        assert set(await partner.nodes([world.bert.id, notice.id])) == {world.bert.id}
        home = snapshot.seeing(View(frozenset({"clinic"})))
        assert notice.id in await home.nodes([notice.id])


async def test_a_data_set_of_a_public_workspace_is_named_everywhere(world: World, op: Operation) -> None:
    from resolvers.writing.workspaces import update_workspace

    await update_workspace(op, workspace="clinic", properties={"visibility": "PUBLIC"})
    await mark_dataset(op, **MARK)
    for notice in (await world.notices()).values():
        assert notice.props["text"].startswith("datasets:/clinic:patients was marked")


async def test_whoever_is_told_has_a_notification_as_far_as_they_may_see_the_thing(world: World, op: Operation) -> None:
    await mark_dataset(op, **MARK)
    assert [await heard(world.graph, name) for name in ("bob", "cid", "dan")] == [["markDataset"]] * 3
    (item,) = await inbox(world.graph, "dan")
    notices = await world.notices()
    assert {id for id, *_ in item.data["created"]} == {notices["tiny"].id, notices["search"].id}
    assert {edge[1] for edge in item.data["linked"]} == {"CONCERNS", "NOTIFIES"}


async def test_an_owner_without_a_role_where_the_thing_is_hears_nothing(world: World, op: Operation) -> None:
    (eve,) = await building.create(world.graph, NewNode("Principal", "corp:eve", ""))
    await building.link(world.graph, NewEdge("OWNED_BY", world.tiny.id, eve.id))
    await mark_dataset(op, **MARK)
    assert await world.told((await world.notices())["tiny"]) == {"shopkeepers", "corp:eve"}
    assert await heard(world.graph, "eve") == []


async def test_what_was_marked_is_known_for_every_time(world: World, op: Operation) -> None:
    first = await mark_dataset(op, **MARK)
    second = await mark_dataset(op, **{**MARK, "type": "FORBIDDEN"})
    lifted = await unmark(op, address=first.id, reason="it was another one")
    assert lifted.props["liftedReason"] == "it was another one"
    was = (await last_marked(op, [lifted]))[first.id]
    assert was.until is not None
    assert (was.of.id, was.since) == (world.dataset.id, first.created_at)

    async def at(time: int | None, **more: Any) -> list[str]:
        return [each.mark.id for each, _ in (await marked(op, as_of=time, **more))[0]]

    assert await at(None) == [second.id]
    assert await at(was.since - 1) == []
    assert await at(was.since) == [first.id]
    assert await at(was.until - 1) == [first.id, second.id]
    assert await at(was.until - 1, type="FORBIDDEN") == [second.id]
    assert await at(was.until) == [second.id]


async def test_marks_come_in_pages(world: World, op: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.lifecycle.marked._BATCH", 2)
    made = []
    for n in range(5):
        await building.dataset(world.graph, f"d{n}")
        made.append((await mark_dataset(op, address=f"datasets:/d{n}", reason="r")).id)
    await unmark(op, address=made.pop(1), reason="r")
    seen: list[str] = []
    after = None
    more = True
    while more:
        found, more = await marked(op, after=after, limit=2)
        seen += [each.mark.id for each, _ in found]
        after = found[-1][1]
    assert seen == made


async def test_taking_a_mark_off_tells_the_same_people(world: World, op: Operation) -> None:
    mark = await mark_dataset(op, **MARK)
    await unmark(op, address=mark.id, reason="it was another one")
    assert await heard(world.graph, "dan") == ["unmark", "markDataset"]
    with pytest.raises(PreconditionFailed, match="taken off already"):
        await unmark(op, address=mark.id, reason="again")
    again = await mark_dataset(op, **MARK)
    assert again.id != mark.id


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"address": "datasets:/clinic:absent"}, "dataset"),
        ({"address": "models:/clinic:bert"}, "dataset"),
        ({"type": "ODD"}, "type"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 2_001}, "reason"),
    ],
)
async def test_a_mark_that_cannot_be_is_refused(
    world: World, desk: Desk, op: Operation, given: Any, field: str
) -> None:
    with pytest.raises((InvalidArgument, NotFound)) as error:
        await mark_dataset(op, **{**MARK, **given})
    assert refused(error) == field
    assert await desk.count("Mark", "Notice") == 0


async def test_one_mark_of_a_type_is_on_a_thing_at_a_time(world: World, op: Operation) -> None:
    mark = await mark_dataset(op, **MARK)
    with pytest.raises(AlreadyExists, match=mark.id) as error:
        await mark_dataset(op, **MARK)
    assert refused(error) == "dataset"
    await mark_dataset(op, **{**MARK, "address": "datasets:/clinic:patients/v1"})


async def test_only_contributors_of_its_workspace_mark_a_data_set(world: World, desk: Desk) -> None:
    for name, error in (("cid", NotFound), ("dan", NotFound)):
        async with Operation(world.graph, caller=Caller(f"corp:{name}", SCOPES_OF_ALL)) as op:
            with pytest.raises(error):
                await mark_dataset(op, **MARK)
    async with Operation(world.graph, caller=Caller("corp:bob", SCOPES_OF_ALL - {"dataset:write"})) as op:
        with pytest.raises(Forbidden):
            await mark_dataset(op, **MARK)
    assert await desk.count("Mark", "Notice") == 0


async def test_who_marks_tells_people_about_what_they_may_not_see_themselves(world: World) -> None:
    async with Operation(world.graph, caller=Caller("corp:bob", SCOPES_OF_ALL)) as op:
        mark = await mark_dataset(op, **MARK)
        came = await affected(op, (await last_marked(op, [mark]))[mark.id])
    assert (came.model_count, came.version_count, came.deployment_count, came.restricted_count) == (1, 3, 1, 2)
    assert came.models == [world.bert.id]
    assert came.complete
    assert set(await world.notices()) == {"bert", "tiny", "search"}


async def test_nobody_is_told_of_things_that_nobody_answers_for(graph: Graph, op: Operation, desk: Desk) -> None:
    _, (v1,) = await building.dataset(graph, "nq", "v1")
    _, (version,) = await building.model(graph, "bert", versions=1)
    await building.link(graph, NewEdge("TRAINED_ON", version.id, v1.id, "train"))
    mark = await mark_dataset(op, address="datasets:/nq", reason="r")
    assert await desk.count("Notice") == 0
    came = await affected(op, (await last_marked(op, [mark]))[mark.id])
    assert (came.model_count, came.version_count, came.restricted_count) == (1, 1, 0)


async def test_a_mark_under_a_key_is_put_on_once(world: World) -> None:
    async with Operation(world.graph, caller=named("ann")) as op:
        first, again = [await mark_dataset.once(op, "k", **MARK) for _ in range(2)]
    assert first is not None
    assert again is not None
    assert first.id == again.id
    assert len(await world.notices()) == 3
