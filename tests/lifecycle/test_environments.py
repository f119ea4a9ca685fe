"""Gates of environments, as whoever deploys asks them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auth.caller import Caller
from auth.roles import Role
from graph.port import NewEdge, Transaction
from lineal.errors import Conflict, Forbidden, InvalidArgument, PreconditionFailed
from resolvers.lifecycle.approving import approve, request_approval
from resolvers.lifecycle.declaring import declare_gate
from resolvers.lifecycle.findings import keep
from resolvers.lifecycle.gates import check_gate, pass_gate
from resolvers.operation import Operation
from tests import building
from tests.lifecycle.conftest import ALL, ANN, BOB, EVE, ROOT, House, World, person

AUC = {"type": "threshold", "metric": "auc >= 0.9"}


async def passed(house: House, who: Caller, world: World, **more: Any) -> dict[str, Any]:
    """What is kept of a verdict where somebody brings version 1 to the environment `eu`."""

    async def work(tx: Transaction) -> dict[str, Any]:
        (version,) = (await tx.nodes([world.version(1).id])).values()
        verdict = await pass_gate(tx, version, environment="eu", field="serves[0].version", **more)
        return await keep(tx, verdict, version.workspace)

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
