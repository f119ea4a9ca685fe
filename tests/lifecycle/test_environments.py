"""Gates of environments, as whoever deploys asks them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auth.caller import Caller
from auth.roles import Role
from graph.port import NewEdge, NewNode, Node, Transaction
from lineal.errors import Conflict, Forbidden, InvalidArgument, PreconditionFailed
from resolvers.lifecycle.approving import approve, request_approval
from resolvers.lifecycle.declaring import declare_gate
from resolvers.lifecycle.findings import kept
from resolvers.lifecycle.gates import check_gate, pass_gate
from resolvers.operation import Operation
from resolvers.writing.importing import record_lineage
from tests import building
from tests.lifecycle.conftest import ALL, ANN, BOB, EVE, PLACE, ROOT, House, World, person

importing: Any = record_lineage
AUC = {"type": "threshold", "metric": "auc >= 0.9"}


async def passed(house: House, who: Caller, world: World, **more: Any) -> dict[str, Any]:
    """What is kept of a verdict where somebody brings version 1 to the environment `eu`."""

    async def work(tx: Transaction) -> dict[str, Any]:
        (version,) = (await tx.nodes([world.version(1).id])).values()
        verdict = await pass_gate(tx, version, environment="eu", field="serves[0].version", **more)
        return kept(verdict)

    async with Operation(house.graph, caller=who) as op:
        return await op.write(work, "deploy", needs=Role.CONTRIBUTOR)


async def test_an_environment_takes_what_its_gate_lets_through(house: House, world: World) -> None:
    assert await passed(house, EVE, world) == {}
    await house.gate(AUC, environment="eu")
    with pytest.raises(PreconditionFailed) as error:
        await passed(house, EVE, world)
    assert error.value.field == "serves[0].version"
    assert error.value.message.startswith("serves[0].version: the gate of environment 'eu' is not passed: ")
    await world.log(world.version(1).id, auc=0.95)
    kept = await passed(house, EVE, world)
    assert kept["verdict"]["met"] is True
    assert "overridden" not in kept


@pytest.mark.parametrize("spelled", ["EU", " eu", "Eu ", "\uff25\uff35", "\uff45u\u3000"])
async def test_a_gate_guards_an_environment_however_it_is_spelled(house: House, world: World, spelled: str) -> None:
    await house.gate(AUC, environment="eu")
    assert not (await house.check(EVE, world.version(1), environment=spelled)).met


async def test_an_override_is_kept_with_what_was_not_met(house: House, world: World) -> None:
    await house.gate(AUC, environment="eu")
    with pytest.raises(Forbidden):
        await passed(house, EVE, world, override="outage")
    with pytest.raises(InvalidArgument):
        await passed(house, person("eve", ALL), world, override="")
    kept = await passed(house, person("eve", ALL), world, override="outage")
    assert (kept["overridden"], kept["verdict"]["override"], kept["verdict"]["met"]) == (True, "outage", False)


async def test_an_environment_of_another_workspace_has_its_own_gates_and_approvals_of_the_versions(
    house: House, world: World
) -> None:
    place = await building.workspace(house.graph, "serving")
    async with house.graph.snapshot() as snapshot:
        people = [(await snapshot.access(who.name)).principal for who in (ROOT, EVE, ANN)]
    for who in people:
        assert who is not None
        await building.link(house.graph, NewEdge("GRANTS", place.id, who.id, "OWNER"))
    given = {"conditions": [{"type": "approved"}], "environment": "eu", "workspace": "serving"}
    await house.do(ROOT, declare_gate, name="to eu", **given)
    assert await passed(house, EVE, world) == {}
    asked = {"version": world.version(1).id, "environment": "eu", "workspace": "serving"}
    async with Operation(house.graph, caller=ANN) as op:
        assert not (await check_gate(op, **asked)).met
    with pytest.raises(PreconditionFailed, match="nobody has asked"):
        await passed(house, EVE, world, workspace="serving")
    request = await house.do(ANN, request_approval, **asked)
    await house.do(BOB, approve, address=request.id)
    await passed(house, EVE, world, workspace="serving")
    assert (await house.node(request.id)).props["state"] == "USED"
    with pytest.raises(PreconditionFailed):
        await passed(house, EVE, world, workspace="serving")


async def test_two_who_deploy_at_once_share_no_approval(house: House, world: World) -> None:
    await house.gate({"type": "approved"}, environment="eu")
    request = await house.do(ANN, request_approval, version=world.version(1).id, environment="eu")
    await house.do(BOB, approve, address=request.id)
    done = await asyncio.gather(*(passed(house, who, world) for who in (EVE, ANN, BOB)), return_exceptions=True)
    assert sum(isinstance(each, dict) for each in done) == 1
    assert all(isinstance(each, (dict, Conflict, PreconditionFailed)) for each in done), done


SEARCH = f"deployments:/{PLACE}:search"


async def deployed(house: House, world: World, **props: Any) -> Node:
    """A deployment that was told to serve version 1 and does."""
    (deployment,) = await building.create(house.graph, NewNode("Deployment", "search", PLACE, props=props))
    told = NewNode("DeploymentRevision", "1", PLACE, deployment.id, props={"number": 1})
    (revision,) = await building.create(house.graph, told)
    await building.link(
        house.graph,
        NewEdge("REVISION_OF", revision.id, deployment.id),
        NewEdge("SPECIFIES", revision.id, world.version(1).id, props={"weight": 1.0}),
        NewEdge("SERVES", deployment.id, world.version(1).id),
    )
    return deployment


def imports(world: World) -> list[tuple[str, dict[str, Any]]]:
    """What would have another version served, or a version somewhere else, with the place that a refusal names."""
    second = world.version(2).id
    telling = {"from": f"{SEARCH}/2", "kind": "SPECIFIES", "to": second, "properties": {"weight": 1.0}}
    edges: list[dict[str, Any]] = [
        {"from": f"{SEARCH}/1", "kind": "SPECIFIES", "to": second, "properties": {"weight": 1.0}},
        {"from": SEARCH, "kind": "SERVES", "to": second},
        {"from": SEARCH, "kind": "SERVES", "to": second, "since": 5, "until": 6},
        {"from": SEARCH, "kind": "IN_ENVIRONMENT", "to": f"environments:/{PLACE}:eu"},
        {"from": SEARCH, "kind": "DEPLOYED_TO", "to": f"targets:/{PLACE}:farm"},
    ]
    return [
        ("nodes[0].address", {"nodes": [{"address": f"{SEARCH}/2"}], "edges": [telling]}),
        ("nodes[0].address", {"nodes": [{"address": f"{SEARCH}/1", "tags": [{"name": "a", "value": "b"}]}]}),
        *(("edges[0].from", {"edges": [edge]}) for edge in edges),
    ]


async def test_no_import_says_what_a_managed_deployment_serves_or_where(house: House, world: World) -> None:
    await building.create(house.graph, NewNode("Environment", "eu", PLACE), NewNode("ServingTarget", "farm", PLACE))
    await deployed(house, world, managed=True, platformName="x")
    for place, given in imports(world):
        with pytest.raises(PreconditionFailed, match="brought about by Lineal") as error:
            await house.do(EVE, importing, **given)
        assert error.value.field == place


async def test_an_import_says_so_of_a_deployment_that_was_only_recorded(house: House, world: World) -> None:
    await building.create(house.graph, NewNode("Environment", "eu", PLACE), NewNode("ServingTarget", "farm", PLACE))
    deployment = await deployed(house, world)
    for _, given in imports(world):
        async with Operation(house.graph, caller=EVE) as op:
            await record_lineage(op, **given)
    assert {link.node.name for link in await house.links(deployment.id, "SERVES")} == {"1", "2"}
    assert [link.node.name for link in await house.links(deployment.id, "IN_ENVIRONMENT")] == ["eu"]
