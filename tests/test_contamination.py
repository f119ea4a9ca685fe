"""The demo's data set goes bad: whom it concerns is told, nothing that came of it goes on, and all of it is kept."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from typing import Any, Final

import pytest

from auth.caller import Caller, named
from auth.scopes import SCOPES
from graph.address import Address
from graph.port import MAX_DEPTH, MAX_LINEAGE, Direction, Graph, NewEdge, NewNode, Node, Paging, Snapshot
from graph.text import iso
from lineal import demo
from lineal.errors import PreconditionFailed
from resolvers import reading
from resolvers.activity import notifications
from resolvers.deploying.deploying import canary, promote
from resolvers.lifecycle.declaring import declare_gate
from resolvers.lifecycle.marked import Affected, affected, last_marked, marked
from resolvers.lifecycle.marking import mark_dataset, unmark
from resolvers.operation import Operation
from resolvers.writing.lifecycle import set_stage
from schema.executing import execute
from schema.sdl import build_schema
from tests import building
from tests.conftest import count
from tests.deploying.conftest import (
    Shop,
    bucket,
    local,
    minio_client,
    minio_server,
    platform,
    registry,
    s3,
    shop,
    small_parts,
)
from tests.test_demo import expected

__all__ = ["bucket", "local", "minio_client", "minio_server", "platform", "registry", "s3", "shop", "small_parts"]

SEARCH: Final = "deployments:/search"
SERVED: Final = "BAAI/bge-m3"
PEOPLE: Final = {"corp:bob": "corp:bob", "corp:eve": "corp:eve", "corp:cid": "embedders", "corp:dan": "embedders"}
"""Who is told, and as what they own things: themselves, or the team that they are in."""
HISTORY: Final = """query History($data: ID!, $model: ID!, $deployment: ID!, $then: DateTime!) {
  activity(about: [$data], first: 2) { nodes { action by } }
  dataset(address: $data) {
    now: markHistory { nodes { since until mark { type reason createdBy } } }
    then: markHistory(asOf: $then) { nodes { mark { type } } }
  }
  model(address: $model) { history(name: "Production") { nodes { by reason move { verdict } } } }
  deployment(address: $deployment) {
    revisions(orderBy: {field: NUMBER}) { nodes { cause state createdBy reason } }
  }
}"""


async def everything(snapshot: Snapshot, kind: str) -> list[Node]:
    """All nodes of a kind."""
    found: list[Node] = []
    after, more = None, True
    while more:
        page = await snapshot.find(kind, paging=Paging(500, after))
        found += page.items
        after, more = page.cursors[-1] if page.cursors else None, page.has_next
    return found


async def owned(graph: Graph) -> dict[str, set[str]]:
    """Give every model and every deployment one of three owners; the ids of what each has."""
    async with graph.snapshot() as snapshot:
        things = [*await everything(snapshot, "Model"), *await everything(snapshot, "Deployment")]
    people = await building.create(graph, *(NewNode("Principal", name, "") for name in PEOPLE))
    (team,) = await building.create(graph, NewNode("Team", "embedders", ""))
    owners = {node.name: node for node in (*people, team) if node.name in PEOPLE.values()}
    await building.link(graph, *(NewEdge("MEMBER_OF", p.id, team.id) for p in people if PEOPLE[p.name] == team.name))
    has: dict[str, set[str]] = {name: set() for name in owners}
    for thing, name in zip(things, cycle(owners), strict=False):
        has[name].add(thing.id)
    await building.link(graph, *(NewEdge("OWNED_BY", id, owners[name].id) for name, ids in has.items() for id in ids))
    return has


async def heard(graph: Graph, person: str, action: str) -> set[str]:
    """The ids of what somebody's notification says of what was done once, for them or for a team of theirs."""
    await building.sequenced(graph)
    async with Operation(graph, caller=Caller(person, frozenset(SCOPES) - {"admin"})) as op:
        (item,) = [each for each in (await notifications(op)).items if each.change.action == action]
        snapshot = await op.snapshot()
        owners = await snapshot.find("Principal" if PEOPLE[person] == person else "Team", paging=Paging(500))
        (own,) = [node.id for node in owners.items if node.name == PEOPLE[person]]
        linked = item.data["linked"]
        notices = {edge[0] for edge in linked if edge[1] == "NOTIFIES" and edge[2] == own}
        return {edge[2] for edge in linked if edge[1] == "CONCERNS" and edge[0] in notices}


async def assert_held_back(shop: Shop, versions: list[str]) -> None:
    """Neither do these come to the stage Production, nor is the live canary promoted in the environment production."""
    moves: list[Any] = [partial(set_stage, version=id, stage="Production") for id in versions]
    moves.append(lambda op: promote.once(op, None, address=SEARCH))
    for move in moves:
        async with shop.operation() as op:
            with pytest.raises(PreconditionFailed) as error:
                await move(op)
        assert [each["type"] for each in error.value.details["unmet"]] == ["cleanData"]
    assert await shop.predict() == 2


async def let_through(shop: Shop, versions: list[str]) -> None:
    """Have all of these do."""
    for id in versions:
        async with shop.operation() as op:
            await set_stage(op, version=id, stage="Production", reason="clean after all")
    await shop.do(promote, address=SEARCH, reason="clean after all")
    await shop.comes_to("READY", 3)
    assert await shop.predict() == 3


async def deployed(shop: Shop) -> None:
    """Of a demo's model that came of the data another version in production, and one more as its canary."""
    parents = [{"version": str(Address("ModelVersion", "default", SERVED, "1")), "relation": "finetune"}]
    model = str(Address("Model", "default", SERVED))
    two, three = [await shop.version(answer, model, parents=parents) for answer in ("2", "3")]
    await shop.deploy(two, environment="production")
    await shop.comes_to("READY", 1)
    await shop.do(canary, address=SEARCH, version=three.id, weight=0.0)
    await shop.comes_to("READY", 2)
    assert await shop.serves() == {"2": 1.0, "3": 0.0}


async def came_of(op: Operation, mark: Node) -> Affected:
    """What came of what a mark is on, which is what lineage finds, and the demo's facts say."""
    came = await affected(op, (await last_marked(op, [mark]))[mark.id])
    lineage = await reading.lineage(
        op, [demo.DATASET_ADDRESS], direction=Direction.DOWNSTREAM, depth=MAX_DEPTH, limit=MAX_LINEAGE
    )
    models = await (await op.snapshot()).nodes(came.models)
    assert came.complete
    assert (came.version_count, came.model_count, came.deployment_count) == (314 + 2, 314, 7 + 1)
    assert {node.id for node in came.versions} == {n.id for n, _ in lineage.closure.nodes if n.kind == "ModelVersion"}
    assert {node.name for node in models.values()} == expected("NQ")["model"]
    assert {node.name for node in came.deployments} == expected("NQ")["deployment"] | {"search"}
    return came


@pytest.mark.timeout(1_200)
async def test_a_data_set_that_goes_bad_tells_all_owners_and_holds_back_all_that_came_of_it(shop: Shop) -> None:
    graph = shop.registry.graph
    await demo.load(graph, demo.real_models(), lambda *_: None)
    clean: Any = {"conditions": [{"type": "cleanData"}]}
    async with shop.operation() as op:
        await declare_gate(op, name="stage", stage="Production", **clean)
        await declare_gate(op, name="place", environment="production", **clean)
    async with shop.looking_after():
        await deployed(shop)
        has = await owned(graph)

        async with Operation(graph, caller=named("ann")) as op:
            mark = await mark_dataset(op, address=demo.DATASET_ADDRESS, reason="its questions are in the test sets")
            came = await came_of(op, mark)
            notices = await everything(await op.snapshot(), "Notice")
        concerned = {*came.models, *(node.id for node in came.deployments)}
        assert len(notices) == len(concerned) == 314 + 8
        assert all(notice.props["text"].startswith("datasets:/NQ was marked CONTAMINATED") for notice in notices)
        for person, owner in PEOPLE.items():
            assert await heard(graph, person, "markDataset") == has[owner] & concerned
        chosen = [node.id for node in came.versions][:: count(20, 1)]
        await assert_held_back(shop, chosen)

        async with Operation(graph, caller=named("ann")) as op:
            lifted = await unmark(op, address=mark.id, reason="they are not")
            was = (await last_marked(op, [lifted]))[mark.id]
            assert (await marked(op))[0] == []
        assert was.until is not None
        for person, owner in PEOPLE.items():
            assert await heard(graph, person, "unmark") == has[owner] & concerned
        await let_through(shop, chosen)

    await assert_kept(shop, was.since, was.until, chosen[0])


async def assert_kept(shop: Shop, since: int, until: int, version: str) -> None:
    """The mark and its end, the moves after that, and what was deployed when are in history, with who did it."""
    node = (await shop.registry.node(version)).container
    given = {"data": demo.DATASET_ADDRESS, "model": node, "deployment": SEARCH, "then": iso(until - 1)}
    await building.sequenced(shop.registry.graph)
    result = await execute(build_schema(), shop.registry.graph, HISTORY, given)
    assert result.errors is None
    assert result.data is not None
    data, model, deployment = (result.data[name] for name in ("dataset", "model", "deployment"))
    (moment,) = data["now"]["nodes"]
    assert (moment["since"], moment["until"]) == (iso(since), iso(until))
    assert moment["mark"] == {
        "type": "CONTAMINATED", "reason": "its questions are in the test sets", "createdBy": "ann",
    }  # fmt: skip
    assert data["then"]["nodes"] == [{"mark": {"type": "CONTAMINATED"}}]
    done = [(change["action"], change["by"]) for change in result.data["activity"]["nodes"]]
    assert done == [("unmark", "ann"), ("markDataset", "ann")]
    (move,) = model["history"]["nodes"]
    assert (move["by"], move["reason"], move["move"]["verdict"]["met"]) == ("ann", "clean after all", True)
    assert deployment["revisions"]["nodes"] == [
        {"cause": cause, "state": "VERIFIED", "createdBy": "ann", "reason": reason}
        for cause, reason in (("DEPLOY", None), ("CANARY", None), ("PROMOTE", "clean after all"))
    ]
