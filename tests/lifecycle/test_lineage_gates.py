"""Licences and marks are found however far away, and nothing hidden is told by what gates say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graph.address import parse
from graph.port import EdgeMatch, NewEdge, NewNode
from lineal.errors import PreconditionFailed
from resolvers.lifecycle import descent
from resolvers.lifecycle.findings import METRICS
from resolvers.operation import Operation
from resolvers.writing.lifecycle import set_stage
from resolvers.writing.sharing import share_with
from tests import building
from tests.lifecycle.conftest import ALL, ANN, BOB, PLACE, ROOT, House, World, person

HOPS = 16
CLEAN = {"type": "cleanData"}
LICENSED = {"type": "license", "allowed": ["mit"], "datasets": True}


async def test_a_licence_sixteen_hops_away_is_found(house: House, world: World) -> None:
    await house.gate({"type": "license", "allowed": ["mit"]})
    chain = await world.chain(HOPS)
    for version in chain:
        await world.set(version, license="MIT")
    assert (await house.check(ANN, chain[0])).met
    await world.set(chain[-1], license="AGPL-3.0")
    (told,) = (await house.check(ANN, chain[0])).conditions
    assert not told.met
    assert told.detail.endswith(f"models:/{PLACE}:base-{HOPS - 1}/1 (AGPL-3.0)")
    assert [node.id for node in told.nodes] == [chain[-1].id]


@pytest.mark.parametrize("marked", ["version", "dataset"])
async def test_forbidden_data_sixteen_hops_away_is_found_until_the_mark_is_lifted(
    house: House, world: World, marked: str
) -> None:
    await house.gate(CLEAN)
    chain = await world.chain(HOPS - 1)
    (run,) = await building.create(world.graph, NewNode("Run", "training", PLACE))
    await building.link(
        world.graph,
        NewEdge("PRODUCED_BY", chain[-1].id, run.id),
        NewEdge("READ", run.id, world.data[0].id, "train"),
    )
    assert (await house.check(ANN, chain[0])).met
    mark = await world.mark(world.data[0] if marked == "version" else world.dataset, "FORBIDDEN")
    with pytest.raises(PreconditionFailed, match="FORBIDDEN"):
        await house.do(BOB, set_stage, version=chain[0].id, stage="Production")
    await building.unlink(world.graph, EdgeMatch("MARKS", mark.id))
    await house.do(BOB, set_stage, version=chain[0].id, stage="Production")
    assert await house.stage(chain[0]) == "Production"


async def test_what_a_run_read_that_started_the_run_that_made_it_counts(house: House, world: World) -> None:
    await house.gate(CLEAN)
    runs = await building.create(world.graph, *(NewNode("Run", name, PLACE) for name in ("sweep", "inner", "trial")))
    sweep, inner, trial = (run.id for run in runs)
    await building.link(
        world.graph,
        NewEdge("PRODUCED_BY", world.version(1).id, trial),
        NewEdge("PART_OF", trial, inner),
        NewEdge("PART_OF", inner, sweep),
        NewEdge("READ", sweep, world.data[0].id, "train"),
    )
    assert (await house.check(ANN, world.version(1))).met
    await world.mark(world.data[0], "FORBIDDEN")
    assert not (await house.check(ANN, world.version(1))).met


async def test_what_a_data_set_came_from_counts_where_only_a_field_of_it_is_known(house: House, world: World) -> None:
    await house.gate(CLEAN)
    table, (first, second) = await building.dataset(house.graph, "table", "v1", "v2", workspace=PLACE)
    (field,) = await building.create(house.graph, NewNode("Field", "age", PLACE, table.id))
    await building.link(
        world.graph,
        NewEdge("USES", world.version(1).id, field.id),
        NewEdge("DERIVED_FROM", first.id, world.data[0].id, "copy"),
    )
    await world.mark(world.data[0], "CONTAMINATED")
    assert not (await house.check(ANN, world.version(1))).met
    await world.link("TRAINED_ON", world.version(1), second, "train")
    assert (await house.check(ANN, world.version(1))).met, "it is known which version"


async def test_what_could_not_be_looked_through_whole_is_not_met(
    house: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.gate(CLEAN, {"type": "license", "allowed": ["mit"]})
    for version in await world.chain(3):
        await world.set(version, license="MIT")
    assert (await house.check(ANN, world.version(1))).met
    monkeypatch.setattr(descent, "UPSTREAM", replace(descent.UPSTREAM, depth=2))
    checked = await house.check(ANN, world.version(1))
    assert [told.detail for told in checked.conditions] == ["what it came from could not be looked through whole"] * 2
    assert not any(told.met for told in checked.conditions)


# ── What is hidden is not told ────────────────────────────────────────────────────────────────────


async def hidden(house: House, world: World) -> set[str]:
    """Version 1 came from a model and data of a private workspace, with another licence and a mark.

    Returns everything that could tell of them.
    """
    await building.create(
        house.graph, NewNode("Workspace", "secret-place", "", props={"visibility": "PRIVATE", "lineage": "OPAQUE"})
    )
    model, (parent,) = await building.model(house.graph, "secret-model", versions=1, workspace="secret-place")
    data, (learned,) = await building.dataset(house.graph, "secret-data", "v1", workspace="secret-place")
    await world.set(world.version(1), license="MIT")
    await world.set(parent, license="secret-licence")
    await world.set(data, license="secret-terms")
    await world.link("DERIVED_FROM", world.version(1), parent, "finetune")
    await world.link("TRAINED_ON", parent, learned, "train")
    await world.mark(data, "FORBIDDEN")
    return {"secret", model.id, parent.id, data.id, learned.id}


async def test_the_rule_holds_for_what_is_hidden_and_names_none_of_it(house: House, world: World) -> None:
    secrets = await hidden(house, world)
    await house.gate(CLEAN, LICENSED)
    checked = await house.check(ANN, world.version(1))
    assert [told.met for told in checked.conditions] == [False, False]
    assert all(told.hidden and not told.nodes for told in checked.conditions)
    assert not any(secret in repr(checked) for secret in secrets)
    with pytest.raises(PreconditionFailed) as error:
        await house.do(BOB, set_stage, version=world.version(1).id, stage="Production")
    assert not any(secret in repr((error.value.message, error.value.details)) for secret in secrets)
    override = person("bob", ALL)
    await house.do(override, set_stage, version=world.version(1).id, stage="Production", override="so be it")
    (move,) = await house.moves(world.version(1))
    assert not any(secret in repr(move) for secret in secrets)


async def test_whoever_sees_all_of_it_is_told_all_of_it(house: House, world: World) -> None:
    await hidden(house, world)
    await house.gate(CLEAN, LICENSED)
    (clean, licensed) = (await house.check(person("bob", frozenset({"admin"})), world.version(1))).conditions
    assert "datasets:/secret-place:secret-data (FORBIDDEN)" in clean.detail
    assert "secret-licence" in licensed.detail
    assert "secret-terms" in licensed.detail
    assert not clean.hidden


async def test_what_one_who_sees_all_let_through_is_kept_without_what_others_may_not_see(
    house: House, world: World
) -> None:
    secrets = await hidden(house, world)
    await house.gate(CLEAN, LICENSED)
    admin = person("root", frozenset({"admin"}))
    await house.do(admin, set_stage, version=world.version(1).id, stage="Production", override="I know them")
    (move,) = await house.moves(world.version(1))
    assert [each["met"] for each in move.props["verdict"]["conditions"]] == [False, False]
    assert not any(secret in repr(move) for secret in secrets)


async def test_what_is_kept_of_a_verdict_names_nothing_that_those_may_not_see_whom_the_model_is_shared_with(
    house: House, world: World
) -> None:
    _, (parent,) = await building.model(house.graph, "secret-model", versions=1, workspace=PLACE)
    await world.link("DERIVED_FROM", world.version(1), parent, "finetune")
    await world.set(parent, license="secret-licence")
    await world.set(world.version(1), license="MIT")
    await world.link("TRAINED_ON", parent, world.data[0], "train")
    await world.mark(world.dataset, "FORBIDDEN")
    await world.log(world.version(1).id, auc=0.5)
    unmet = {"type": "evaluated", "datasets": ["datasets:/secret-data"]}
    await house.gate(CLEAN, LICENSED, unmet, {"type": "threshold", "metric": "auc >= 0.9"}, name="secret-gate")
    override = person("bob", ALL)
    await house.do(override, set_stage, version=world.version(1).id, stage="Production", override="so be it")
    (move,) = await house.moves(world.version(1))
    kept = move.props["verdict"]["conditions"]
    assert [each["type"] for each in kept] == ["cleanData", "license", "evaluated", "threshold"]
    assert kept[-1]["detail"] == "the threshold is not met: auc 0.5 >= 0.9"
    assert kept[-1]["figures"] == {"auc": 0.5, "limit of auc": 0.9}
    assert not any(secret in repr(move) for secret in ("secret", PLACE + ":nq", parent.id, world.dataset.id))


async def test_figures_are_for_those_who_may_read_metrics(house: House, world: World) -> None:
    await house.gate({"type": "threshold", "metric": "auc >= 0.98765"})
    await world.log(world.version(1).id, auc=0.12345)
    (told,) = (await house.check(person("ann", ALL - {METRICS}), world.version(1))).conditions
    assert (told.met, dict(told.figures), told.detail) == (False, {}, "the threshold is not met")
    blind = person("bob", ALL - {METRICS})
    with pytest.raises(PreconditionFailed) as error:
        await house.do(blind, set_stage, version=world.version(1).id, stage="Production")
    assert "0.12345" not in repr((error.value.message, error.value.details))


async def test_whoever_a_model_is_shared_with_hears_of_no_gate_that_they_do_not_see(house: House, world: World) -> None:
    await building.workspace(house.graph, "friends")
    friend = person("friend")
    await house.admit(friend)
    await building.link(
        house.graph,
        NewEdge(
            "GRANTS", (await _named(house, "workspaces:/friends")), (await _named(house, House.of(friend))), "OWNER"
        ),
    )
    async with Operation(house.graph, caller=person("root", frozenset({"admin"}))) as op:
        await share_with(op, address=world.model.id, workspace="friends")
    await house.gate({"type": "evaluated", "datasets": ["datasets:/internal-benchmark"]}, name="internal-gate")
    checked = await house.check(friend, world.version(1))
    assert not checked.met
    assert "internal" not in repr(checked)
    assert "internal" in repr(await house.check(ROOT, world.version(1)))


async def _named(house: House, address: str) -> str:
    async with house.graph.snapshot() as snapshot:
        (node,) = await snapshot.resolve([parse(address)])
    assert node is not None
    return node.id
