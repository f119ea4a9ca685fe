"""Data that is marked while what came of it is rolled out: who is told, and that it does not go live behind a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from auth.caller import Caller
from graph.port import EdgeMatch, NewEdge, NewNode, Node, Update
from resolvers.deploying.deploying import roll_back
from resolvers.lifecycle.marked import Affected, affected, last_marked
from resolvers.lifecycle.marking import mark_dataset, unmark
from resolvers.operation import Operation
from resolvers.writing.lifecycle import set_owners
from tests import building
from tests.deploying.conftest import Shop
from tests.deploying.test_deploying import SEARCH, gate
from tests.lifecycle.conftest import ALL

LOOKS_SECONDS = 1.0
"""Time for several looks at all that a platform serves."""
CLEAN = {"type": "cleanData"}
WHY = "version {} came from data that was marked CONTAMINATED meanwhile"


@dataclass
class Flats:
    """A data set, and a shop whose versions learned from it or not."""

    shop: Shop
    data: Node

    async def version(self, answer: str, *, learned: bool = True) -> Node:
        """A version that answers so."""
        version = await self.shop.version(answer)
        if learned:
            edge = NewEdge("TRAINED_ON", version.id, self.data.id, "train")
            await building.link(self.shop.registry.graph, edge)
        return version

    async def served(self) -> Node:
        """Have a version that learned nothing from it served, where a gate wants clean data: another one that did."""
        one, two = await self.version("1", learned=False), await self.version("2")
        await gate(self.shop, CLEAN)
        async with self.shop.looking_after():
            await self.shop.deploy(one, environment="production")
            await self.shop.comes_to("READY", 1)
        return two

    async def mark(self, **more: Any) -> Affected:
        """Mark the data: what came of it."""
        async with self.shop.operation() as op:
            mark = await mark_dataset.once(op, None, **{"address": self.data.id, "reason": "of another city", **more})
            assert mark is not None
            return await affected(op, (await last_marked(op, [mark]))[mark.id])

    async def notices(self) -> Sequence[str]:
        """What owners were told, the first one first."""
        async with self.shop.registry.graph.snapshot() as snapshot:
            found = sorted((await snapshot.find("Notice")).items, key=lambda node: (node.created_at, node.id))
        return [node.props["text"] for node in found]

    async def owned(self) -> None:
        """Have somebody answer for the deployment."""
        await self.shop.do(set_owners, address=SEARCH, owners=["principals:/bob"], create=True)


@pytest.fixture
async def flats(shop: Shop) -> Flats:
    """The data set, in a shop where nothing is deployed yet."""
    _, (data,) = await building.dataset(shop.registry.graph, "flats", "v1")
    return Flats(shop, data)


async def test_a_deployment_that_was_told_to_serve_what_came_of_it_is_listed_and_its_owners_hear_of_it(
    flats: Flats,
) -> None:
    await flats.shop.deploy(await flats.version("1"))
    await flats.owned()
    came = await flats.mark()
    assert [node.name for node in came.deployments] == ["search"]
    assert (came.deployment_count, came.restricted_count, came.complete) == (1, 0, True)
    (notice,) = await flats.notices()
    assert notice.startswith("datasets:/flats/v1 was marked CONTAMINATED: of another city.")
    assert notice.endswith(". This deployment was told to serve what came of it.")


async def test_one_that_serves_it_and_one_that_is_stopped_are_not_told_that_they_will(flats: Flats) -> None:
    shop, graph = flats.shop, flats.shop.registry.graph
    node = await shop.deploy(version := await flats.version("1"))
    await building.link(graph, NewEdge("SERVES", node.id, version.id))
    await flats.owned()
    assert [node.name for node in (await flats.mark()).deployments] == ["search"]
    assert (await flats.notices())[0].endswith("This deployment serves what came of it.")
    await building.unlink(graph, EdgeMatch("SERVES", node.id))
    await building.update(graph, Update(node.id, {"phase": "STOPPED"}))
    assert (await flats.mark(type="FORBIDDEN")).deployments == []


async def test_of_a_deployment_that_may_not_be_seen_only_that_it_is_there_is_told(flats: Flats) -> None:
    shop, graph = flats.shop, flats.shop.registry.graph
    version = await flats.version("1")
    for name, lineage in (("clear", "TRANSPARENT"), ("closed", "OPAQUE")):
        props = {"visibility": "PRIVATE", "lineage": lineage}
        await building.create(graph, NewNode("Workspace", name, "", props=props))
        await shop.deploy(version, workspace=name)
    (eve,) = await building.create(graph, NewNode("Principal", "corp:eve", ""))
    async with graph.snapshot() as snapshot:
        home = next(node for node in (await snapshot.find("Workspace")).items if node.name == "default")
    await building.link(graph, NewEdge("GRANTS", home.id, eve.id, "CONTRIBUTOR"))
    async with Operation(graph, caller=Caller("corp:eve", ALL)) as op:
        mark = await mark_dataset(op, address=flats.data.id, reason="of another city")
        came = await affected(op, (await last_marked(op, [mark]))[mark.id])
    (hidden,) = came.deployments
    assert hidden == Node(hidden.id, "Deployment", visible=False)
    assert (came.version_count, came.restricted_count, came.complete) == (1, 1, False)


async def test_what_came_of_it_does_not_go_live_where_a_gate_wants_clean_data_and_the_last_good_one_is_back(
    flats: Flats,
) -> None:
    shop = flats.shop
    two = await flats.served()
    await flats.owned()
    await shop.deploy(two)
    await flats.mark()
    async with shop.looking_after():
        await shop.comes_to("READY", 3)
    failed, restored = await shop.node(f"{SEARCH}/2"), await shop.node(f"{SEARCH}/3")
    assert (failed.props["state"], failed.props["message"]) == ("FAILED", WHY.format(2))
    assert (restored.props["cause"], restored.props["restores"]) == ("ROLL_BACK", 1)
    assert await shop.predict() == 1
    assert (await flats.notices())[-1] == (
        f"Revision 2 of search failed; it goes back to what was served before: {WHY.format(2)}"
    )


async def test_the_first_one_is_stopped_then_also_while_its_platform_loads_it_and_one_that_failed_is_not_tried_again(
    flats: Flats,
) -> None:
    shop = flats.shop
    await gate(shop, CLEAN)
    for name, state in (("a", "PENDING"), ("b", "ROLLING_OUT"), ("c", "FAILED")):
        version = await flats.version(str(ord(name)))
        node = await shop.deploy(version, name=name, environment="production")
        if state != "PENDING":
            revision = await shop.node(f"deployments:/{name}/1")
            await building.update(
                shop.registry.graph, Update(revision.id, {"state": state}), Update(node.id, {"phase": state})
            )
    await flats.mark()
    async with shop.looking_after():
        for name in "abc":
            await shop.comes_to("STOPPED", 2, address=f"deployments:/{name}")
        await asyncio.sleep(LOOKS_SECONDS)
    for name in "abc":
        first, second = [await shop.node(f"deployments:/{name}/{number}") for number in (1, 2)]
        assert (first.props["state"], second.props["cause"], second.props["state"]) == ("FAILED", "STOP", "VERIFIED")
        assert second.props["reason"].startswith("revision 1 failed: version ")


async def test_what_is_served_as_told_when_that_is_seen_is_taken_back_where_the_mark_was_there_before(
    flats: Flats,
) -> None:
    shop = flats.shop
    two = await flats.served()
    async with shop.looking_after():
        await shop.deploy(two)
        await shop.comes_to("READY", 2)
    revision = await shop.node(f"{SEARCH}/2")
    late = {"state": "ROLLING_OUT", "verifiedAt": None}
    node = await shop.node()
    await building.update(
        shop.registry.graph,
        Update(revision.id, late),
        Update(node.id, {"phase": "ROLLING_OUT", "verifiedRevision": 1}),
    )
    await flats.mark()
    async with shop.looking_after():
        await shop.comes_to("READY", 3)
    assert await shop.predict() == 1


@pytest.mark.parametrize(
    ("conditions", "environment", "type"),
    [
        ([{"type": "verified"}], "production", "CONTAMINATED"),
        ([CLEAN], "staging", "CONTAMINATED"),
        ([{**CLEAN, "marks": ["FORBIDDEN"]}], "production", "CONTAMINATED"),
    ],
)
async def test_it_goes_live_where_no_gate_wants_data_without_such_a_mark(
    flats: Flats, conditions: list[dict[str, Any]], environment: str, type: str
) -> None:
    await gate(flats.shop, *conditions)
    await flats.shop.deploy(await flats.version("1"), environment=environment)
    await flats.mark(type=type)
    async with flats.shop.looking_after():
        await flats.shop.comes_to("READY", 1)


async def test_what_was_live_before_is_let_be_and_so_is_going_back_to_it_but_not_going_back_further(
    flats: Flats,
) -> None:
    shop = flats.shop
    one, two = [await flats.version(answer) for answer in "12"]
    await gate(shop, CLEAN)
    async with shop.looking_after():
        for number, version in enumerate((one, two), 1):
            await shop.deploy(version, environment="production")
            await shop.comes_to("READY", number)
    await shop.deploy(two, settings={"batch": 8})
    await flats.mark()
    async with shop.looking_after():
        await shop.comes_to("READY", 3)
        async with shop.operation() as op:
            (mark,) = (await (await op.snapshot()).find("Mark")).items
            await unmark(op, address=mark.id, reason="it was another one")
    await shop.do(roll_back, address=SEARCH, to=1)
    await flats.mark()
    async with shop.looking_after():
        await shop.comes_to("READY", 5)
    assert await shop.predict() == 2
    assert (await shop.node(f"{SEARCH}/4")).props["message"] == WHY.format(1)
