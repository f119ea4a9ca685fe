"""Approvals: asked for, decided by others, used once; and every way around that is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from auth.caller import LOCAL, Caller
from graph.address import parse
from graph.port import EdgeMatch, NewEdge, NewNode, Node, Update
from lineal.errors import AlreadyExists, Forbidden, InvalidArgument, LimitExceeded, LinealError, PreconditionFailed
from resolvers.activity import notifications
from resolvers.lifecycle import approving, parties
from resolvers.lifecycle.approving import approve, reject, request_approval, withdraw_approval
from resolvers.lifecycle.declaring import delete_gate, update_gate
from resolvers.lifecycle.expiring import expire
from resolvers.operation import Operation
from resolvers.writing.importing import record_lineage
from resolvers.writing.lifecycle import set_alias, set_owners, set_stage
from resolvers.writing.members import grant_role, revoke_role
from resolvers.writing.people import add_team_members, create_team, deactivate_principal, set_acts_for
from resolvers.writing.runs import record_run
from resolvers.writing.versions import create_model_version, update_model_version
from tests import building
from tests.lifecycle.conftest import ALL, ANN, BOB, BOT, DAN, EVE, PLACE, ROOT, USUAL, House, person

MODEL = f"models:/{PLACE}:net"
ONE: Mapping[str, Any] = {"type": "approved"}
TWO: Mapping[str, Any] = {"type": "approved", "count": 2}
KEEPER = person("keeper", frozenset({"workspace:read", "directory:write"}))


class Desk:
    """Asks for approvals, gives them, and moves."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def version(self, by: Caller = ANN, **given: Any) -> Node:
        """A version of the model, made by somebody."""
        return await self.house.do(by, create_model_version, model=MODEL, create_model=True, **given)

    async def ask(self, version: Node, by: Caller = ANN, **given: Any) -> Node:
        """A request, for Production unless it is told otherwise."""
        target = {name: given.pop(name) for name in ("stage", "alias", "environment") if name in given}
        target = target or {"stage": "production"}
        return await self.house.do(by, request_approval, version=version.id, **target, **given)

    async def approve(self, request: Node, by: Caller = BOB) -> Node:
        """An approval."""
        return await self.house.do(by, approve, address=request.id)

    async def state(self, request: Node) -> str:
        """What has become of a request."""
        return str((await self.house.node(request.id)).props["state"])

    async def move(self, version: Node, by: Caller = BOB) -> None:
        """The move to Production."""
        await self.house.do(by, set_stage, version=version.id, stage="Production")

    async def stuck(self, version: Node, by: Caller = BOB) -> str:
        """That the gate keeps the version out, and why."""
        with pytest.raises(PreconditionFailed) as error:
            await self.move(version, by)
        return error.value.message

    async def refused(self, request: Node, by: Caller) -> str:
        """That somebody may not decide, and why."""
        with pytest.raises(Forbidden) as error:
            await self.approve(request, by)
        assert await self.state(request) == "OPEN"
        return error.value.message


@pytest.fixture
async def desk(house: House) -> Desk:
    """A gate to Production that asks for one approval."""
    await house.admit(KEEPER)
    await house.gate(ONE)
    return Desk(house)


async def registered(house: House, name: str, type: str = "USER", role: str | None = "APPROVER") -> Caller:
    """Somebody new."""
    who = person(name, type=type)
    await house.admit(who, role)
    return who


# ── What becomes of a request ─────────────────────────────────────────────────────────────────────


async def test_what_others_approve_passes_once(desk: Desk) -> None:
    version = await desk.version()
    assert "nobody has asked for approval" in await desk.stuck(version)
    request = await desk.ask(version, reason="better on NQ")
    assert (request.props["state"], request.props["stage"], request.props["needed"]) == ("OPEN", "Production", 1)
    assert "0 of 1 approvals" in await desk.stuck(version)
    assert (await desk.approve(request)).props["state"] == "APPROVED"
    await desk.move(version)
    assert await desk.state(request) == "USED"
    await desk.house.do(BOB, set_stage, version=version.id, stage="Staging")
    assert "nobody has asked" in await desk.stuck(version)
    with pytest.raises(PreconditionFailed, match="it is USED"):
        await desk.approve(request, DAN)


async def test_as_many_people_as_the_gate_says_must_approve(desk: Desk) -> None:
    await desk.house.gate(TWO, name="two", alias="champion")
    version = await desk.version()
    request = await desk.ask(version, alias="champion")
    assert (request.props["needed"], request.props["role"]) == (2, "APPROVER")
    for _ in range(2):
        assert (await desk.approve(request, BOB)).props["state"] == "OPEN"
    checked = await desk.house.check(ANN, version, alias="champion")
    assert checked.conditions[0].detail.startswith("1 of 2 approvals")
    assert [node.name for node in checked.conditions[0].nodes] == [BOB.name]
    assert (await desk.approve(request, DAN)).props["state"] == "APPROVED"
    await desk.house.do(EVE, set_alias, model=MODEL, name="champion", version=version.id)
    assert await desk.state(request) == "USED"


async def test_one_who_rejects_ends_it(desk: Desk) -> None:
    version = await desk.version()
    request = await desk.ask(version)
    await desk.approve(request, DAN)
    assert (await desk.house.do(BOB, reject, address=request.id, comment="biased")).props["state"] == "REJECTED"
    decisions = await desk.house.links(request.id, "DECIDED_BY")
    assert {(k.node.name, k.edge.discriminator, k.edge.props.get("comment")) for k in decisions} == {
        (DAN.name, "APPROVE", None),
        (BOB.name, "REJECT", "biased"),
    }
    await desk.stuck(version)
    with pytest.raises(PreconditionFailed, match="it is REJECTED"):
        await desk.approve(request)


async def test_whoever_asked_takes_it_back_and_nobody_else(desk: Desk) -> None:
    version = await desk.version()
    request = await desk.ask(version)
    with pytest.raises(Forbidden):
        await desk.house.do(BOB, withdraw_approval, address=request.id)
    await desk.approve(request)
    await desk.house.do(ANN, withdraw_approval, address=request.id)
    assert await desk.state(request) == "WITHDRAWN"
    await desk.stuck(version)
    with pytest.raises(PreconditionFailed):
        await desk.house.do(ANN, withdraw_approval, address=request.id)


async def test_what_is_asked_for_is_asked_for_once_at_a_time(desk: Desk) -> None:
    version = await desk.version()
    request = await desk.ask(version)
    with pytest.raises(AlreadyExists) as error:
        await desk.ask(version, EVE)
    assert error.value.details["id"] == request.id
    await desk.ask(version, EVE, stage="Staging")
    await desk.house.do(ANN, withdraw_approval, address=request.id)
    assert (await desk.ask(version, EVE)).id != request.id


async def test_a_request_past_its_time_is_neither_decided_nor_used(desk: Desk) -> None:
    version = await desk.version()
    request = await desk.ask(version)
    await desk.approve(request)
    await building.update(desk.house.graph, Update(request.id, {"expiresAt": building.LONG_AGO}))
    await desk.stuck(version)
    with pytest.raises(PreconditionFailed, match="it is EXPIRED"):
        await desk.approve(request, DAN)
    again = await desk.ask(version)
    await desk.approve(again)
    await desk.move(version)
    assert (await desk.state(request), await desk.state(again)) == ("APPROVED", "USED")


async def test_what_is_past_its_time_leaves_the_open_ones_by_itself(desk: Desk) -> None:
    version, other = await desk.version(), await desk.version()
    old, live = await desk.ask(version), await desk.ask(other)
    await building.update(desk.house.graph, Update(old.id, {"expiresAt": building.LONG_AGO}))
    assert await expire(desk.house.graph, by="approvals") == 1
    assert (await desk.state(old), await desk.state(live)) == ("EXPIRED", "OPEN")
    assert await expire(desk.house.graph, by="approvals") == 0
    assert [change.by for change in await desk.house.audited("expireApprovals")] == ["approvals"]


async def test_a_request_says_until_when_within_limits(desk: Desk) -> None:
    version = await desk.version()
    for when in (building.LONG_AGO, version.created_at + 400 * approving.DAY):
        with pytest.raises(InvalidArgument) as error:
            await desk.ask(version, expires_at=when)
        assert error.value.field == "expiresAt"
    request = await desk.ask(version, expires_at=version.created_at + 3 * approving.DAY)
    assert request.props["expiresAt"] == version.created_at + 3 * approving.DAY


async def test_reviewers_and_the_one_who_asked_are_told(desk: Desk) -> None:
    team = await desk.house.do(KEEPER, create_team, name="reviewers")
    await desk.house.do(KEEPER, add_team_members, address=team.id, members=[House.of(DAN)])
    version = await desk.version()
    request = await desk.ask(version, reviewers=[House.of(BOB), team.id])
    assert await _heard(desk.house, BOB) == {"requestApproval"}
    assert "requestApproval" in await _heard(desk.house, DAN)
    assert "requestApproval" not in await _heard(desk.house, EVE)
    await desk.approve(request)
    assert "approve" in await _heard(desk.house, ANN)
    (notice,) = await desk.house.links(request.id, "CONCERNS", "IN")
    assert notice.node.props["text"] == f"models:/{PLACE}:net/1 was approved for stage 'Production'"


async def _heard(house: House, who: Caller) -> set[str]:
    """The actions that somebody was notified of."""
    while await house.graph.sequence():
        pass
    async with Operation(house.graph, caller=who) as op:
        return {item.change.action for item in (await notifications(op)).items} - {"grantRole", "addTeamMembers"}


# ── Four eyes ─────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_asks_does_not_approve(desk: Desk) -> None:
    version = await desk.version(ANN)
    request = await desk.ask(version, BOB)
    assert "four eyes" in await desk.refused(request, BOB)
    await desk.approve(request, DAN)


async def test_whoever_made_the_version_does_not_approve_what_another_asks_for(desk: Desk) -> None:
    version = await desk.version(BOB)
    assert "four eyes" in await desk.refused(await desk.ask(version, ANN), BOB)


async def test_whoever_recorded_the_run_does_not_approve(desk: Desk) -> None:
    run = await desk.house.do(BOB, record_run, name="training", workspace=PLACE)
    version = await desk.version(ANN, run=run.id)
    request = await desk.ask(version, ANN)
    assert "four eyes" in await desk.refused(request, BOB)
    await building.unlink(desk.house.graph, EdgeMatch("PRODUCED_BY", version.id))
    assert "four eyes" in await desk.refused(request, BOB)


async def test_whoever_brought_or_changed_its_files_does_not_approve(desk: Desk) -> None:
    house = desk.house
    address = f"artifacts:/{PLACE}:weights"
    recorded: Any = {"nodes": [{"address": address, "properties": {"uri": "s3://bobs/weights"}}]}
    moved = await desk.version(ANN)
    await house.do(BOB, update_model_version, address=moved.id, properties={"uri": "s3://bobs/model"})
    given, attached = await desk.version(ANN), await desk.version(ANN)
    for who, version in ((BOB, given), (DAN, attached)):
        edge: Any = {"from": version.id, "kind": "HAS_ARTIFACT", "to": address, "discriminator": "model"}
        async with Operation(house.graph, caller=who) as op:
            await record_lineage(op, **(recorded if who is BOB else {}), edges=[edge])
    while await house.graph.sequence():
        pass
    for version, party in ((moved, BOB), (given, BOB), (attached, DAN)):
        request = await desk.ask(version, ANN)
        assert "four eyes" in await desk.refused(request, party)


async def test_another_team_makes_nobody_somebody_else(desk: Desk) -> None:
    team = await desk.house.do(KEEPER, create_team, name="approvers")
    await desk.house.do(KEEPER, add_team_members, address=team.id, members=[House.of(ANN)])
    await desk.house.do(ROOT, grant_role, workspace=PLACE, to=team.id, role="APPROVER")
    version = await desk.version(ANN)
    request = await desk.ask(version, ANN, reviewers=[team.id])
    assert "four eyes" in await desk.refused(request, ANN)
    claimed = person("ann", teams=frozenset({"approvers"}))
    assert "four eyes" in await desk.refused(request, claimed)


async def test_no_service_account_approves(desk: Desk) -> None:
    version = await desk.version(ANN)
    request = await desk.ask(version, ANN)
    assert "only people decide" in await desk.refused(request, BOT)
    disguised = person("bob", type="SERVICE")
    assert "only people decide" in await desk.refused(request, disguised)
    hidden = await registered(desk.house, "robot")
    await desk.house.do(KEEPER, set_acts_for, address=House.of(hidden), people=[House.of(ANN)])
    assert "only people decide" in await desk.refused(request, hidden)


@pytest.mark.parametrize("way", ["asks", "makes"])
async def test_whoever_stands_behind_a_service_account_does_not_approve_what_it_asks_for_or_makes(
    desk: Desk, way: str
) -> None:
    outer = await registered(desk.house, "outer", "SERVICE", "CONTRIBUTOR")
    await desk.house.do(KEEPER, set_acts_for, address=House.of(outer), people=[House.of(BOT)])
    await desk.house.do(KEEPER, set_acts_for, address=House.of(BOT), people=[House.of(BOB)])
    version = await desk.version(outer if way == "makes" else ANN)
    request = await desk.ask(version, outer if way == "asks" else ANN)
    assert "four eyes" in await desk.refused(request, BOB)
    # Letting go of the account afterwards changes nothing.
    await desk.house.do(KEEPER, set_acts_for, address=House.of(BOT), people=[])
    assert "four eyes" in await desk.refused(request, BOB)
    await desk.approve(request, DAN)


async def test_whoever_stands_behind_it_is_found_however_far_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bots = [await registered(desk.house, f"bot-{n}", "SERVICE", "CONTRIBUTOR") for n in range(14)]
    for bot, behind in zip(bots, [*bots[1:], BOB], strict=True):
        await desk.house.do(KEEPER, set_acts_for, address=House.of(bot), people=[House.of(behind)])
    request = await desk.ask(await desk.version(ANN), bots[0])
    assert "four eyes" in await desk.refused(request, BOB)
    monkeypatch.setattr(parties, "MAX_PEOPLE", 5)
    with pytest.raises(LimitExceeded, match="more than 5 people stand behind"):
        await desk.approve(request, DAN)


async def test_giving_it_to_other_owners_changes_nothing(desk: Desk) -> None:
    version = await desk.version(BOB)
    request = await desk.ask(version, ANN)
    for node in (version.id, version.container, request.id):
        await desk.house.do(BOB, set_owners, address=node, owners=[House.of(DAN)])
    assert "four eyes" in await desk.refused(request, BOB)


async def test_roles_are_those_of_the_versions_workspace(desk: Desk) -> None:
    await building.workspace(desk.house.graph, "elsewhere")
    (place,) = [await _at(desk.house, "workspaces:/elsewhere")]
    await building.link(desk.house.graph, NewEdge("GRANTS", place, await _at(desk.house, House.of(EVE)), "OWNER"))
    request = await desk.ask(await desk.version(ANN), ANN)
    assert "needs the role APPROVER" in await desk.refused(request, EVE)
    everywhere = person("eve", workspaces=None)
    assert "granted to you or a team" in await desk.refused(request, everywhere)
    assert "granted to you or a team" in await desk.refused(request, person("eve", frozenset({"admin"})))


async def test_a_scope_is_needed_beside_the_role(desk: Desk) -> None:
    request = await desk.ask(await desk.version(ANN), ANN)
    assert "lifecycle:approve" in await desk.refused(request, person("bob", USUAL - {"lifecycle:approve"}))


async def test_who_runs_the_server_is_no_second_pair_of_eyes(desk: Desk) -> None:
    request = await desk.ask(await desk.version(ANN), ANN)
    assert "only people decide" in await desk.refused(request, LOCAL)


async def test_nothing_but_an_approval_of_this_very_thing_opens_the_gate(desk: Desk) -> None:
    first, second = await desk.version(ANN), await desk.version(ANN)
    await desk.approve(await desk.ask(first, stage="Staging"))
    await desk.approve(await desk.ask(first, alias="Production"))
    await desk.approve(await desk.ask(second))
    await desk.stuck(first)


async def test_no_other_way_leads_around_the_approval(desk: Desk) -> None:
    await desk.house.gate(ONE, name="alias", alias="champion")
    version = await desk.version(BOB)
    edge = {"from": version.container, "to": version.id}
    asked: tuple[tuple[Any, dict[str, Any]], ...] = (
        (set_alias, {"model": MODEL, "name": "champion", "version": version.id}),
        (create_model_version, {"model": MODEL, "stage": "Production"}),
        (create_model_version, {"model": MODEL, "aliases": ["champion"]}),
        (record_lineage, {"edges": [{**edge, "kind": "STAGE", "discriminator": "Production"}]}),
        (record_lineage, {"edges": [{**edge, "kind": "ALIAS", "discriminator": "champion"}]}),
    )
    for use_case, given in asked:
        with pytest.raises(PreconditionFailed, match="nobody has asked for approval"):
            await desk.house.do(BOB, use_case, **given)
    request = await desk.ask(version, BOB)
    importing: Any = record_lineage
    forged = {"from": request.id, "kind": "DECIDED_BY", "to": House.of(DAN), "discriminator": "APPROVE"}
    with pytest.raises(InvalidArgument):
        await desk.house.do(BOB, importing, edges=[forged])
    await desk.stuck(version)


# ── What changes between the approval and the move ────────────────────────────────────────────────


async def test_an_approver_who_lost_the_role_counts_no_more(desk: Desk) -> None:
    version = await desk.version(ANN)
    request = await desk.ask(version)
    await desk.approve(request, DAN)
    await desk.house.do(ROOT, grant_role, workspace=PLACE, to=House.of(DAN), role="CONTRIBUTOR")
    await desk.stuck(version)
    await desk.house.do(ROOT, revoke_role, workspace=PLACE, member=House.of(DAN))
    await desk.stuck(version)
    await desk.approve(request, await registered(desk.house, "kim"))
    await desk.move(version)


async def test_an_approver_who_was_deactivated_counts_no_more(desk: Desk) -> None:
    version = await desk.version(ANN)
    request = await desk.ask(version)
    await desk.approve(request, DAN)
    await desk.house.do(KEEPER, deactivate_principal, address=House.of(DAN))
    await desk.stuck(version)
    await desk.approve(request, BOB)
    await desk.move(version)


async def test_an_approver_by_a_team_of_their_token_counts_while_the_team_has_the_role(desk: Desk) -> None:
    team = await desk.house.do(KEEPER, create_team, name="qa")
    await desk.house.do(ROOT, grant_role, workspace=PLACE, to=team.id, role="APPROVER")
    claimed = person("kim", teams=frozenset({"qa"}))
    await desk.house.admit(claimed)
    version = await desk.version(ANN)
    request = await desk.ask(version)
    await desk.approve(request, claimed)
    await desk.house.do(ROOT, revoke_role, workspace=PLACE, member=team.id)
    await desk.stuck(version)
    await desk.house.do(ROOT, grant_role, workspace=PLACE, to=team.id, role="APPROVER")
    await desk.move(version)


async def test_an_approver_who_turns_out_to_stand_behind_the_author_counts_no_more(desk: Desk) -> None:
    version = await desk.version(await registered(desk.house, "ci", "SERVICE", "CONTRIBUTOR"))
    request = await desk.ask(version, ANN)
    await desk.approve(request, DAN)
    await desk.house.do(KEEPER, set_acts_for, address=House.of(person("ci")), people=[House.of(DAN)])
    await desk.stuck(version)


async def test_what_was_approved_at_another_gate_or_with_other_files_is_asked_for_anew(desk: Desk) -> None:
    gate = await _at(desk.house, f"gates:/{PLACE}:gate")
    version = await desk.version(ANN)
    request = await desk.ask(version)
    await desk.approve(request)
    await desk.house.do(ROOT, update_gate, address=gate, conditions=[{"type": "approved", "role": "APPROVER"}])
    assert "changed after approval was asked for" in await desk.stuck(version)
    await desk.house.do(ANN, withdraw_approval, address=request.id)
    await desk.approve(await desk.ask(version))
    (artifact,) = await building.create(desk.house.graph, NewNode("Artifact", "other weights", PLACE))
    await building.link(desk.house.graph, NewEdge("HAS_ARTIFACT", version.id, artifact.id, "model"))
    assert "changed after approval was asked for" in await desk.stuck(version)


async def test_what_was_approved_is_not_what_is_somewhere_else_now(desk: Desk) -> None:
    version = await desk.version(ANN, artifacts=[{"name": "model", "uri": "s3://good/model.bin"}])
    await desk.approve(await desk.ask(version))
    (link,) = await desk.house.links(version.id, "HAS_ARTIFACT")
    async with Operation(desk.house.graph, caller=ANN) as op:
        await record_lineage(op, nodes=[{"address": link.node.id, "properties": {"uri": "s3://evil/model.bin"}}])
    assert "changed after approval was asked for" in await desk.stuck(version, DAN)


async def test_whoever_waits_before_a_gate_does_not_change_it(desk: Desk) -> None:
    gate = await _at(desk.house, f"gates:/{PLACE}:gate")
    version = await desk.version(ROOT)
    request = await desk.ask(version, ANN)
    with pytest.raises(PreconditionFailed, match="somebody else must change this gate"):
        await desk.house.do(ROOT, update_gate, address=gate, conditions=[{"type": "verified"}])
    async with Operation(desk.house.graph, caller=ROOT) as op:
        with pytest.raises(PreconditionFailed, match="somebody else must change this gate"):
            await delete_gate(op, address=gate)
    await desk.house.do(ROOT, update_gate, address=gate, description="who lets models out")
    await desk.house.do(BOB, reject, address=request.id)
    async with Operation(desk.house.graph, caller=ROOT) as op:
        await delete_gate(op, address=gate)


async def test_an_override_stands_beside_approvals_and_is_seen(desk: Desk) -> None:
    version = await desk.version(ANN)
    await desk.house.do(person("bob", ALL), set_stage, version=version.id, stage="Production", override="outage")
    (move,) = await desk.house.moves(version)
    assert (move.props["overridden"], move.created_by) == (True, BOB.name)


# ── What hides it ─────────────────────────────────────────────────────────────────────────────────


async def test_whoever_does_not_see_the_model_finds_no_request_for_it(desk: Desk) -> None:
    stranger = await registered(desk.house, "stranger", role=None)
    version = await desk.version(ANN)
    request = await desk.ask(version)
    for use_case, given in (
        (approve, {"address": request.id}),
        (request_approval, {"version": version.id, "alias": "a"}),
    ):
        with pytest.raises(LinealError) as error:
            await desk.house.do(stranger, use_case, **given)
        assert error.value.code == "NOT_FOUND"


async def _at(house: House, address: str) -> str:
    """The id of what is at an address."""
    async with house.graph.snapshot() as snapshot:
        (node,) = await snapshot.resolve([parse(address)])
    assert node is not None
    return node.id
