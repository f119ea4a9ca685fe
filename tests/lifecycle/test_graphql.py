"""Stages, gates and approvals as GraphQL shows them."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import Caller
from graph.port import Update
from resolvers.operation import Operation
from schema.context import Context
from schema.executing import run
from schema.scalars import iso
from schema.sdl import build_schema
from tests import building
from tests.lifecycle.conftest import ALL, ANN, BOB, DAN, PLACE, ROOT, House, World, person


class Asks:
    """Asks in GraphQL as different people."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def answer(self, who: Caller, query: str, **variables: Any) -> Any:
        """The whole answer."""
        return await run(build_schema(), Context(Operation(self.house.graph, caller=who)), query, variables)

    async def __call__(self, who: Caller, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        result = await self.answer(who, query, **variables)
        assert not result.errors, result.errors
        data: dict[str, Any] = result.data
        return data

    async def refused(self, who: Caller, query: str, **variables: Any) -> dict[str, Any]:
        """The extensions of the one error of an answer, with its message."""
        (error,) = (await self.answer(who, query, **variables)).errors
        return {**(error.extensions or {}), "message": error.message}


@pytest.fixture
def ask(house: House) -> Asks:
    """Asks about the workspace."""
    return Asks(house)


STAGE = """
mutation($version: ID!, $stage: String, $reason: String, $override: String) {
  setStage(input: {version: $version, stage: $stage, reason: $reason, override: $override}) {
    version { stage moves { totalCount } }
  }
}"""
THEN = """
query($model: ID!, $at: DateTime) {
  model(address: $model) {
    history(name: "Production", at: $at) {
      nodes { name version { number } by reason from overridden move { toStage verdict } until }
    }
  }
}"""


async def test_what_was_in_production_then_and_who_let_it_in_is_one_read(ask: Asks, house: House, world: World) -> None:
    one, two = world.version(1), world.version(2)
    await ask(BOB, STAGE, version=one.id, stage="staging")
    await ask(BOB, STAGE, version=one.id, stage="production", reason="the first")
    then = (await house.moves(one))[-1].created_at
    await ask(DAN, STAGE, version=one.id, stage="archived", reason="too slow")
    await ask(DAN, STAGE, version=two.id, stage="production")
    (moment,) = (await ask(ROOT, THEN, model=world.model.id, at=iso(then)))["model"]["history"]["nodes"]
    assert moment.pop("until") is not None
    assert moment == {
        "name": "Production",
        "version": {"number": 1},
        "by": BOB.name,
        "reason": "the first",
        "from": "Staging",
        "overridden": False,
        "move": {"toStage": "Production", "verdict": None},
    }
    now = (await ask(ROOT, THEN, model=world.model.id))["model"]["history"]["nodes"]
    assert [(each["version"]["number"], each["by"]) for each in now] == [(2, DAN.name), (1, BOB.name)]
    assert (await ask(ROOT, THEN, model=world.model.id, at=iso(building.LONG_AGO)))["model"]["history"]["nodes"] == []
    own = '{ modelVersion(address: "%s") { stage history { nodes { name from reason } } } }'
    assert (await ask(ROOT, own % one.id))["modelVersion"] == {
        "stage": "Archived",
        "history": {
            "nodes": [
                {"name": "Archived", "from": "Production", "reason": "too slow"},
                {"name": "Production", "from": "Staging", "reason": "the first"},
                {"name": "Staging", "from": None, "reason": None},
            ]
        },
    }


GATE = """
mutation($conditions: [JSON!]!) {
  declareGate(input: {name: "out", workspace: "vision", stage: "production", conditions: $conditions}) {
    gate { address stage conditions }
  }
}"""
CHECK = """
query($version: ID!) {
  checkGate(version: $version, stage: "PRODUCTION") {
    version { number } target name met
    conditions { type met detail gate { name } condition figures { name value } nodes { __typename } hidden }
  }
}"""


async def test_a_gate_is_declared_checked_and_refuses_with_what_is_not_met(
    ask: Asks, house: House, world: World
) -> None:
    condition = {"type": "threshold", "metric": "auc >= 0.9"}
    declared = (await ask(ROOT, GATE, conditions=[condition]))["declareGate"]["gate"]
    assert declared == {
        "address": f"gates:/{PLACE}:out",
        "stage": "Production",
        "conditions": {"conditions": [condition]},
    }
    await world.log(world.version(1).id, auc=0.5)
    assert (await ask(ANN, CHECK, version=world.version(1).id))["checkGate"] == {
        "version": {"number": 1},
        "target": "stage",
        "name": "Production",
        "met": False,
        "conditions": [
            {
                "type": "threshold",
                "met": False,
                "detail": "the threshold is not met: auc 0.5 >= 0.9",
                "gate": {"name": "out"},
                "condition": condition,
                "figures": [{"name": "auc", "value": 0.5}, {"name": "limit of auc", "value": 0.9}],
                "nodes": [],
                "hidden": False,
            }
        ],
    }
    refusal = await ask.refused(BOB, STAGE, version=world.version(1).id, stage="Production")
    assert (refusal["code"], refusal["field"]) == ("PRECONDITION_FAILED", "stage")
    assert [each["detail"] for each in refusal["unmet"]] == ["the threshold is not met: auc 0.5 >= 0.9"]
    wrong = await ask.refused(ROOT, GATE, conditions=[condition, {"type": "threshold", "metric": "auc"}])
    assert wrong["field"] == "conditions[1].metric"


async def test_an_override_needs_its_scope_before_anything_is_tried(ask: Asks, house: House, world: World) -> None:
    refusal = await ask.refused(BOB, STAGE, version=world.version(1).id, stage="Production", override="urgent")
    assert refusal["code"] == "FORBIDDEN"
    assert "lifecycle:override" in repr(refusal)
    moved = await ask(person("bob", ALL), STAGE, version=world.version(1).id, stage="Production", override="urgent")
    assert moved["setStage"]["version"] == {"stage": "Production", "moves": {"totalCount": 1}}


REQUEST = """
mutation($version: ID!, $reviewers: [ID!]!) {
  requestApproval(input: {version: $version, stage: "production", reviewers: $reviewers, reason: "better"}) {
    approval {
      id state stage needed role reason
      versions { nodes { number } } reviewers { nodes { name } } comments { totalCount }
    }
  }
}"""
DECIDE = """
mutation($approval: ID!) {
  approve(input: {approval: $approval, comment: "seen"}) {
    approval { state decisions { edges { discriminator node { name } } } }
  }
}"""


async def test_an_approval_is_asked_for_talked_about_and_given(ask: Asks, house: House, world: World) -> None:
    await house.gate({"type": "approved"})
    version = world.version(1)
    asked = await ask(ANN, REQUEST, version=version.id, reviewers=[House.of(BOB)])
    request = asked["requestApproval"]["approval"]
    id = request.pop("id")
    assert request == {
        "state": "OPEN",
        "stage": "Production",
        "needed": "1",
        "role": "APPROVER",
        "reason": "better",
        "versions": {"nodes": [{"number": 1}]},
        "reviewers": {"nodes": [{"name": BOB.name}]},
        "comments": {"totalCount": 0},
    }
    await ask(
        BOB, f'mutation {{ addComment(input: {{about: "{id}", text: "on which data?"}}) {{ comment {{ id }} }} }}'
    )
    assert (await ask.refused(ANN, DECIDE, approval=id))["code"] == "FORBIDDEN"
    assert (await ask(BOB, DECIDE, approval=id))["approve"]["approval"] == {
        "state": "APPROVED",
        "decisions": {"edges": [{"discriminator": "APPROVE", "node": {"name": BOB.name}}]},
    }
    await ask(BOB, STAGE, version=version.id, stage="production")
    states = await ask(ANN, '{ approvals(where: {state: {eq: "USED"}}) { nodes { id state } } }')
    assert states["approvals"]["nodes"] == [{"id": id, "state": "USED"}]


async def test_a_request_past_its_time_shows_as_expired(ask: Asks, house: House, world: World) -> None:
    asked = await ask(ANN, REQUEST, version=world.version(1).id, reviewers=[])
    id = asked["requestApproval"]["approval"]["id"]
    await building.update(house.graph, Update(id, {"expiresAt": building.LONG_AGO}))
    assert (await ask(ANN, f'{{ approval(address: "{id}") {{ state }} }}'))["approval"] == {"state": "EXPIRED"}


async def test_a_scheme_is_declared_used_and_shown(ask: Asks, house: House, world: World) -> None:
    declare = """mutation {
      declareStageScheme(input: {
        name: "short", workspace: "vision", stages: [{name: "live", mlflow: "Production", live: true}],
        moves: [{from: null, to: "LIVE"}, {from: "live"}]
      }) { scheme { address stages moves } }
    }"""
    assert (await ask(ROOT, declare))["declareStageScheme"]["scheme"] == {
        "address": f"schemes:/{PLACE}:short",
        "stages": {"stages": [{"name": "live", "mlflow": "Production", "live": True, "final": False}]},
        "moves": {"moves": [{"from": None, "to": "live"}, {"from": "live", "to": None}]},
    }
    use = 'mutation { updateModel(input: {model: "%s", stageScheme: "short"}) { model { stageScheme } } }'
    assert (await ask.refused(ANN, use % world.model.id))["code"] == "FORBIDDEN"
    await ask(ROOT, use % world.model.id)
    await ask(BOB, STAGE, version=world.version(1).id, stage="Live")
    drop = f'mutation {{ deleteStageScheme(input: {{scheme: "schemes:/{PLACE}:short"}}) {{ deletedId }} }}'
    assert "the model 'm'" in (await ask.refused(ROOT, drop))["message"]


async def test_who_answers_for_a_service_account_is_said_by_the_directory(ask: Asks, house: House) -> None:
    acts = """mutation($account: ID!, $people: [ID!]!) {
      setActsFor(input: {principal: $account, people: $people}) { principal { actsFor { nodes { name } } } }
    }"""
    account = House.of(person("bot"))
    done = await ask(ANN, acts, account=account, people=[House.of(ANN), House.of(BOB)])
    assert {n["name"] for n in done["setActsFor"]["principal"]["actsFor"]["nodes"]} == {ANN.name, BOB.name}
    assert (await ask.refused(ANN, acts, account=account, people=[account]))["field"] == "people[0]"
    without = person("ann", ALL - {"directory:write"})
    assert (await ask.refused(without, acts, account=account, people=[]))["code"] == "FORBIDDEN"
