"""How versions move: by schemes, through gates, and what is kept of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from auth.caller import Caller
from lineal.errors import Conflict, Forbidden, InvalidArgument, LinealError, PreconditionFailed
from resolvers.lifecycle.declaring import declare_gate
from resolvers.lifecycle.moving import Mover, Wish
from resolvers.lifecycle.retiring import deprecate, retire, undeprecate
from resolvers.lifecycle.schemes import declare_stage_scheme, delete_stage_scheme
from resolvers.operation import Operation
from resolvers.writing.importing import record_lineage
from resolvers.writing.lifecycle import set_alias, set_stage
from resolvers.writing.models import register_model, update_model
from resolvers.writing.versions import create_model_version
from resolvers.writing.watching import watch
from resolvers.writing.workspaces import update_workspace
from tests import building
from tests.lifecycle.conftest import ALL, ANN, BOB, EVE, PLACE, ROOT, USUAL, House, World, person, write

NEEDS_AUC = {"type": "threshold", "metric": "auc >= 0.9"}
OVERRIDER = person("bob", ALL)


async def refused(house: House, who: Caller, use_case: Any, **given: Any) -> LinealError:
    """The error that a use case is refused with."""
    with pytest.raises(LinealError) as error:
        await house.do(who, use_case, **given)
    return error.value


# ── Schemes ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_stage_is_kept_as_the_scheme_spells_it(house: House, world: World) -> None:
    for word, spelled in (("staging", "Staging"), ("PRODUCTION", "Production"), (" archived ", "Archived")):
        await house.do(BOB, set_stage, version=world.version(1).id, stage=word)
        assert await house.stage(world.version(1)) == spelled
    assert len(await house.moves(world.version(1))) == 3


async def test_a_word_that_is_no_stage_is_refused_with_those_that_are(house: House, world: World) -> None:
    error = await refused(house, BOB, set_stage, version=world.version(1).id, stage="canary")
    assert isinstance(error, InvalidArgument)
    assert error.field == "stage"
    assert "its stages are Staging, Production, Archived, Deprecated, Retired" in error.message


async def test_out_of_a_final_stage_there_is_only_an_override(house: House, world: World) -> None:
    version = world.version(1)
    await house.do(BOB, retire, version=version.id, reason="old")
    for stage in ("Staging", None):
        error = await refused(house, BOB, set_stage, version=version.id, stage=stage)
        assert isinstance(error, PreconditionFailed)
        assert "only by an override" in error.message
    assert isinstance(await refused(house, BOB, set_stage, version=version.id, stage=None, override="a"), Forbidden)
    await house.do(OVERRIDER, set_stage, version=version.id, stage="Staging", override="retired by mistake")
    last = (await house.moves(version))[-1]
    assert last.props["overridden"] is True
    assert last.props["reason"] == "retired by mistake"
    assert [change.by for change in await house.audited("overrideGate")] == [BOB.name]


async def test_what_is_retired_stays_so_whatever_scheme_holds(house: House, world: World) -> None:
    await house.do(ROOT, declare_stage_scheme, **LOOSE)
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "loose"})
    await house.do(BOB, retire, version=world.version(1).id, reason="old")
    for stage in ("dev", None):
        error = await refused(house, BOB, set_stage, version=world.version(1).id, stage=stage)
        assert "only by an override" in error.message


async def test_a_version_is_retired_by_retire_alone(house: House, world: World) -> None:
    version = world.version(1)
    edge = {"from": world.model.id, "kind": "STAGE", "to": version.id, "discriminator": "Retired"}
    for use_case, given in (
        (set_stage, {"version": version.id, "stage": "retired"}),
        (set_stage, {"version": version.id, "stage": "Retired", "override": "now"}),
        (create_model_version, {"model": world.model.id, "stage": "Retired"}),
        (record_lineage, {"edges": [edge]}),
    ):
        error = await refused(house, OVERRIDER, use_case, **given)
        assert isinstance(error, PreconditionFailed)
        assert "only by retire" in error.message
    await house.do(BOB, set_stage, version=version.id, stage="Deprecated")
    assert await house.stage(version) == "Deprecated"


async def test_what_comes_to_the_stage_for_deprecated_is_deprecated_and_what_leaves_it_is_not(
    house: House, world: World
) -> None:
    version = world.version(1)
    _, (child,) = await building.model(house.graph, "child", versions=1, workspace=PLACE)
    await world.link("DERIVED_FROM", child, version, "finetune")
    await house.do(ANN, watch, address="models:/vision:child")
    needed = {"version": version.id, "reason": "old"}
    assert "needed by models:/vision:child/1" in (await refused(house, BOB, retire, **needed)).message
    await house.do(BOB, set_stage, version=child.id, stage="deprecated", reason="too slow")
    there = (await house.node(child.id)).props
    assert there["deprecatedAt"] <= time.time_ns() // 1000
    assert there["deprecationReason"] == "too slow"
    assert await told(house) == ["models:/vision:child/1 was deprecated: too slow. That is a version of this model."]
    await house.do(BOB, retire, **needed)
    assert len(await told(house)) == 2
    error = await refused(house, BOB, undeprecate, address=child.id)
    assert "is in the stage Deprecated; move it out of that instead" in error.message
    await house.do(BOB, set_stage, version=child.id, stage="Staging")
    assert not {"deprecatedAt", "deprecationReason"} & (await house.node(child.id)).props.keys()
    assert "models:/vision:child/1 is deprecated no more. That is a version of this model." in await told(house)


async def test_what_is_deprecated_stays_where_it_is_and_may_come_to_the_stage_for_it_later(
    house: House, world: World
) -> None:
    version = world.version(1)
    await house.do(ANN, watch, address=world.model.id)
    await house.do(BOB, set_stage, version=version.id, stage="Production")
    await house.do(BOB, deprecate, address=version.id, reason="too slow", since=5_000_000)
    assert await house.stage(version) == "Production"
    await house.do(BOB, set_stage, version=version.id, stage="Deprecated", reason="nobody uses it now")
    there = (await house.node(version.id)).props
    assert (there["deprecatedAt"], there["deprecationReason"]) == (5_000_000, "too slow")
    assert len(await told(house)) == 1
    error = await refused(house, BOB, deprecate, address=version.id, reason="not yet", since=2**52)
    assert error.field == "since"
    await house.do(BOB, deprecate, address=version.id, reason="far too slow")
    await house.do(BOB, set_stage, version=version.id, stage="Archived")
    assert (await house.node(version.id)).props["deprecationReason"] == "far too slow"
    await house.do(BOB, undeprecate, address=version.id)


async def test_a_day_to_come_is_today_for_what_comes_to_the_stage_for_deprecated(house: House, world: World) -> None:
    version = world.version(1)
    await house.do(BOB, deprecate, address=version.id, reason="too slow", since=2**52)
    await house.do(BOB, set_stage, version=version.id, stage="Deprecated")
    there = (await house.node(version.id)).props
    assert there["deprecatedAt"] < 2**52
    assert there["deprecationReason"] == "it came to the stage Deprecated"


async def test_a_version_comes_to_the_stage_for_deprecated_in_each_way_deprecated(house: House, world: World) -> None:
    edge: Any = {"from": world.model.id, "kind": "STAGE", "to": world.version(1).id, "discriminator": "Deprecated"}
    async with Operation(house.graph, caller=BOB) as op:
        await record_lineage(op, edges=[edge])
    scheme = {
        "name": "two",
        "workspace": PLACE,
        "stages": [{"name": "DEPRECATED", "mlflow": "Archived"}, {"name": "a"}],
    }
    await house.do(ROOT, declare_stage_scheme, **scheme)
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "two"})
    made = await house.do(BOB, create_model_version, model=world.model.id, stage="deprecated")
    await house.do(ANN, watch, address=world.model.id)
    await house.do(BOB, set_stage, version=world.version(2).id, stage="a")
    await house.do(BOB, set_stage, version=world.version(3).id, stage="a", archive_existing=True)
    for version in (world.version(1), world.version(2), made):
        assert "deprecatedAt" in (await house.node(version.id)).props
    assert len(await told(house)) == 1


async def told(house: House) -> list[str]:
    """What people were told."""
    async with house.graph.snapshot() as snapshot:
        return [node.props["text"] for node in (await snapshot.find("Notice")).items]


LOOSE = {
    "name": "loose",
    "workspace": PLACE,
    "stages": [{"name": "dev"}, {"name": "live", "mlflow": "Production", "live": True}, {"name": "gone"}],
    "moves": [{"from": None, "to": "dev"}, {"from": "dev", "to": "live"}, {"from": "live", "to": None}],
}


async def test_nothing_that_is_retired_comes_to_a_live_stage_by_no_override_either(house: House, world: World) -> None:
    await house.do(ROOT, declare_stage_scheme, **LOOSE)
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "loose"})
    version = world.version(1).id
    await house.do(BOB, retire, version=version, reason="old")
    error = await refused(house, OVERRIDER, set_stage, version=version, stage="live", override="it is needed")
    assert "is retired; nothing may serve it" in error.message
    await house.do(OVERRIDER, set_stage, version=version, stage="dev", override="to look at it")


async def test_a_model_follows_its_own_scheme_before_its_workspaces(house: House, world: World) -> None:
    await house.do(ROOT, declare_stage_scheme, **LOOSE)
    version = world.version(1)
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "loose"})
    error = await refused(house, BOB, set_stage, version=version.id, stage="live")
    assert error.message.endswith("in the stage scheme 'loose' from there it goes to dev")
    await house.do(BOB, set_stage, version=version.id, stage="DEV")
    await house.do(BOB, set_stage, version=version.id, stage="live")
    assert await house.stage(version) == "live"
    await house.do(ROOT, update_workspace, workspace=PLACE, properties={"stageScheme": "loose"})
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "standard"})
    # A stage that the new scheme does not have keeps nobody in it.
    await house.do(BOB, set_stage, version=version.id, stage="Archived")
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": None})
    await house.do(BOB, set_stage, version=version.id, stage="dev")
    assert await house.stage(version) == "dev"


async def test_which_scheme_holds_is_for_owners_to_say(house: House, world: World) -> None:
    await house.do(ROOT, declare_stage_scheme, **LOOSE)
    asked: tuple[tuple[Any, dict[str, Any]], ...] = (
        (update_model, {"address": world.model.id, "properties": {"stageScheme": "loose"}}),
        (register_model, {"name": "n", "workspace": PLACE, "properties": {"stageScheme": "loose"}}),
        (
            record_lineage,
            {"nodes": [{"address": f"models:/{PLACE}:n", "properties": {"stageScheme": "loose"}}]},
        ),
        (declare_stage_scheme, LOOSE),
    )
    for use_case, given in asked:
        assert isinstance(await refused(house, BOB, use_case, **given), Forbidden)


async def test_a_scheme_that_holds_for_something_is_not_deleted(house: House, world: World) -> None:
    scheme = await house.do(ROOT, declare_stage_scheme, **LOOSE)
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "loose"})
    async with Operation(house.graph, caller=ROOT) as op:
        with pytest.raises(PreconditionFailed, match="the model 'm'"):
            await delete_stage_scheme(op, address=scheme.id)
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": None})
    async with Operation(house.graph, caller=ROOT) as op:
        await delete_stage_scheme(op, address=scheme.id)
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "loose"})
    error = await refused(house, BOB, set_stage, version=world.version(1).id, stage="dev")
    assert "no stage scheme 'loose' any more" in error.message


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "Standard"}, "name"),
        ({"stages": []}, "stages"),
        ({"stages": [{"name": "a"}, {"name": "A"}]}, "stages[1].name"),
        ({"stages": [{"name": "None"}]}, "stages[0].name"),
        ({"stages": [{"name": "a", "mlflow": "Live"}]}, "stages[0].mlflow"),
        ({"moves": [{"from": "dev", "to": "dav"}]}, "moves[0].to"),
        ({"moves": [{"from": "dev", "to": "DEV"}]}, "moves[0]"),
    ],
)
async def test_a_scheme_says_what_is_wrong_with_it(house: House, given: dict[str, Any], field: str) -> None:
    error = await refused(house, ROOT, declare_stage_scheme, **{**LOOSE, **given})
    assert isinstance(error, InvalidArgument)
    assert error.field == field


async def test_a_scheme_declared_anew_takes_the_place_of_the_old(house: House, world: World) -> None:
    first = await house.do(ROOT, declare_stage_scheme, **LOOSE)
    again = await house.do(ROOT, declare_stage_scheme, name="loose", workspace=PLACE, stages=[{"name": "one"}])
    assert again.id == first.id
    assert again.props.get("moves") is None
    await house.do(ROOT, update_model, address=world.model.id, properties={"stageScheme": "loose"})
    assert (await refused(house, BOB, set_stage, version=world.version(1).id, stage="dev")).field == "stage"


# ── Events ────────────────────────────────────────────────────────────────────────────────────────


async def test_every_move_is_kept_with_who_why_from_and_to(house: House, world: World) -> None:
    version = world.version(1)
    await house.do(BOB, set_stage, version=version.id, stage="Staging", reason="looks right")
    await house.do(BOB, set_stage, version=version.id, stage="staging", reason="again")
    await house.do(BOB, set_stage, version=version.id, stage=None, reason="was not")
    moves = await house.moves(version)
    told = [(m.created_by, m.props.get("fromStage"), m.props.get("toStage"), m.props["reason"]) for m in moves]
    assert told == [(BOB.name, None, "Staging", "looks right"), (BOB.name, "Staging", None, "was not")]
    assert all(move.container == world.model.id for move in moves)


async def test_a_new_version_takes_the_place_of_those_that_are_there(house: House, world: World) -> None:
    for number in (1, 2):
        await house.do(BOB, set_stage, version=world.version(number).id, stage="Production")
    await house.do(BOB, set_stage, version=world.version(3).id, stage="Production", archive_existing=True, reason="v3")
    assert [await house.stage(v) for v in world.versions] == ["Archived", "Archived", "Production"]
    last = (await house.moves(world.version(1)))[-1]
    assert last.props["reason"] == "version 3 takes its place in Production: v3"
    error = await refused(house, BOB, set_stage, version=world.version(1).id, stage="Archived", archive_existing=True)
    assert error.field == "archiveExisting"


# ── Gates ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_gate_keeps_a_version_out_by_every_way_and_names_what_is_not_met(house: House, world: World) -> None:
    await house.gate(NEEDS_AUC)
    await house.gate(NEEDS_AUC, name="alias gate", alias="champion")
    version, model = world.version(1), world.model
    edge = {"from": model.id, "to": version.id}
    asked: tuple[tuple[Any, dict[str, Any]], ...] = (
        (set_stage, {"version": version.id, "stage": "production"}),
        (set_alias, {"model": model.id, "name": "champion", "version": version.id}),
        (create_model_version, {"model": model.id, "stage": "Production"}),
        (create_model_version, {"model": model.id, "aliases": ["champion"]}),
        (record_lineage, {"edges": [{**edge, "kind": "STAGE", "discriminator": "Production"}]}),
        (record_lineage, {"edges": [{**edge, "kind": "ALIAS", "discriminator": "champion"}]}),
    )
    for use_case, given in asked:
        error = await refused(house, BOB, use_case, **given)
        assert isinstance(error, PreconditionFailed), error
        (unmet,) = error.details["unmet"]
        assert unmet["type"] == "threshold"
        assert not unmet["met"]
    assert await house.stage(version) is None
    assert not await house.links(model.id, "ALIAS")
    await world.log(version.id, auc=0.95)
    await house.do(BOB, set_stage, version=version.id, stage="Production")
    await house.do(ANN, set_alias, model=model.id, name="champion", version=version.id)
    for move in await house.moves(version):
        (kept,) = move.props["verdict"]["conditions"]
        assert (kept["met"], kept["figures"]["auc"]) == (True, 0.95)


async def test_a_new_version_may_come_through_the_gate_with_what_it_brings(house: House, world: World) -> None:
    await house.gate(NEEDS_AUC)
    metrics = [{"name": "auc", "value": 0.95}]
    version = await house.do(BOB, create_model_version, model=world.model.id, metrics=metrics, stage="production")
    assert await house.stage(version) == "Production"


async def test_an_import_moves_versions_of_the_model_alone_and_once(house: House, world: World) -> None:
    other = await house.do(ANN, create_model_version, model=f"models:/{PLACE}:other", create_model=True)
    edge: dict[str, Any] = {"from": world.model.id, "kind": "STAGE", "discriminator": "staging"}
    error = await refused(house, BOB, record_lineage, edges=[{**edge, "to": other.id}])
    assert error.field == "edges[0].to"
    for _ in range(2):
        async with Operation(house.graph, caller=BOB) as op:
            again: Any = {**edge, "to": world.version(1).id, "since": 5}
            await record_lineage(op, edges=[again])
    (link,) = await house.links(world.version(1).id, "STAGE", "IN")
    assert (link.edge.discriminator, link.edge.since) == ("Staging", 5)
    assert len(await house.moves(world.version(1))) == 1
    error = await refused(house, BOB, record_lineage, edges=[{**edge, "to": other.id, "discriminator": "beta"}])
    assert error.field in {"edges[0].to", "edges[0].discriminator"}


async def test_nobody_imports_what_was_decided(house: House, world: World) -> None:
    gate = await house.gate(NEEDS_AUC)
    edges = [
        {"from": gate.id, "kind": kind, "to": world.version(1).id}
        for kind in ("MOVED", "REQUESTS", "DECIDED_BY", "REVIEWER", "MARKS", "ACTS_FOR", "NOTIFIES", "CONCERNS")
    ]
    for edge in edges:
        assert (await refused(house, ROOT, record_lineage, edges=[edge])).field == "edges[0].kind"
    given = {"from": world.model.id, "kind": "STAGE", "to": world.version(1).id, "discriminator": "Staging"}
    error = await refused(house, ROOT, record_lineage, edges=[{**given, "properties": {"move": "sm_x"}}])
    assert error.field == "edges[0].properties.move"
    for address in ("gates:/g", "approvals:/a", "schemes:/s", "marks:/m"):
        assert (await refused(house, ROOT, record_lineage, nodes=[{"address": address}])).field == "nodes[0].address"


async def test_an_import_sets_no_stage_without_the_scope_whatever_is_beside_it(house: House, world: World) -> None:
    owner = person("root", USUAL - {"lifecycle:approve"})
    edge = {"from": world.model.id, "kind": "STAGE", "to": world.version(1).id, "discriminator": "Production"}
    beside = {"address": world.model.id, "properties": {"stageScheme": "standard"}}
    for nodes in ([], [beside]):
        assert isinstance(await refused(house, owner, record_lineage, nodes=nodes, edges=[edge]), Forbidden)
    assert await house.stage(world.version(1)) is None


async def test_no_import_says_other_things_of_files_that_lineal_keeps(house: House, world: World) -> None:
    kept = {"storage": "MANAGED", "verification": "VERIFIED", "pickles": "NONE", "signature": "VALID"}
    file = await world.file(1, digest="sha256:a", **kept)
    for name, value in (("digest", "sha256:b"), ("digest", None), ("uri", "s3://evil/model"), ("sizeBytes", 5)):
        nodes = [{"address": file.id, "properties": {name: value}}]
        error = await refused(house, ANN, record_lineage, nodes=nodes)
        assert (type(error), error.field) == (PreconditionFailed, f"nodes[0].properties.{name}")
    async with Operation(house.graph, caller=ANN) as op:
        await record_lineage(op, nodes=[{"address": file.id, "properties": {"digest": "sha256:a"}}])
    assert (await house.node(file.id)).props["digest"] == "sha256:a"


async def test_an_override_needs_a_scope_a_role_and_a_reason_and_stands_out(house: House, world: World) -> None:
    await house.gate(NEEDS_AUC, {"type": "verified"})
    version = world.version(1)
    given = {"version": version.id, "stage": "Production"}
    assert isinstance(await refused(house, BOB, set_stage, **given, override="urgent"), Forbidden)
    assert isinstance(await refused(house, OVERRIDER, set_stage, **given, override=" "), InvalidArgument)
    assert isinstance(await refused(house, person("eve", ALL), set_stage, **given, override="urgent"), Forbidden)
    await house.do(OVERRIDER, set_stage, **given, override="the old one is down")
    (move,) = await house.moves(version)
    assert move.props["overridden"] is True
    assert move.props["reason"] == "the old one is down"
    assert [each["met"] for each in move.props["verdict"]["conditions"]] == [False, False]
    (change,) = await house.audited("overrideGate")
    assert (change.by, move.id in {row[0] for row in change.data["created"]}) == (BOB.name, True)
    assert not await house.audited("setStage")


async def test_an_override_that_is_not_needed_is_none(house: House, world: World) -> None:
    await house.do(OVERRIDER, set_stage, version=world.version(1).id, stage="Production", override="to be sure")
    (move,) = await house.moves(world.version(1))
    assert not move.props.get("overridden")
    assert not await house.audited("overrideGate")
    assert len(await house.audited("setStage")) == 1


async def test_a_contributor_overrides_no_alias(house: House, world: World) -> None:
    await house.gate(NEEDS_AUC, alias="champion")
    given = {"model": world.model.id, "name": "champion", "version": world.version(1).id, "override": "urgent"}
    assert isinstance(await refused(house, person("eve", ALL), set_alias, **given), Forbidden)
    await house.do(OVERRIDER, set_alias, **given)
    (move,) = await house.moves(world.version(1))
    assert (move.props["alias"], move.props["overridden"]) == ("champion", True)


async def test_a_gate_is_of_one_thing_that_there_is(house: House) -> None:
    for target in ({}, {"stage": "Production", "alias": "x"}):
        with pytest.raises(InvalidArgument) as error:
            await house.do(ROOT, declare_gate, name="g", workspace=PLACE, conditions=[{"type": "verified"}], **target)
        assert error.value.field == "stage"
    with pytest.raises(InvalidArgument, match=r"no stage scheme .* has a stage 'Prod'; there are Staging"):
        await house.gate({"type": "verified"}, stage="Prod")
    with pytest.raises(Forbidden):
        await house.do(BOB, declare_gate, name="g", workspace=PLACE, conditions=[{"type": "verified"}], alias="x")


async def test_every_gate_of_a_target_must_be_passed(house: House, world: World) -> None:
    await house.gate(NEEDS_AUC)
    await house.gate({"type": "verified"}, name="files", stage="PRODUCTION")
    await house.gate({"type": "verified"}, name="elsewhere", stage="Staging")
    checked = await house.check(EVE, world.version(1), stage="production")
    assert {(told.gate.name, told.met) for told in checked.conditions if told.gate} == {
        ("gate", False),
        ("files", False),
    }
    assert (await house.check(EVE, world.version(1), alias="production")).met


async def test_two_moves_at_once_leave_a_version_in_one_stage(house: House, world: World) -> None:
    async def move(stage: str) -> None:
        try:
            await house.do(BOB, set_stage, version=world.version(1).id, stage=stage)
        except Conflict:
            return

    await asyncio.gather(*(move(stage) for stage in ("Staging", "Production", "Archived", "Deprecated")))
    assert len(await house.links(world.version(1).id, "STAGE", "IN")) == 1
    moves = await house.moves(world.version(1))
    assert moves[-1].props["toStage"] == await house.stage(world.version(1))


async def test_a_reason_has_an_end(house: House, world: World) -> None:
    error = await refused(house, BOB, set_stage, version=world.version(1).id, stage="Staging", reason="x" * 10_001)
    assert error.field == "reason"


async def test_nothing_wished_is_nothing_done(house: House, world: World) -> None:
    async def work(tx: Any) -> None:
        await Mover(tx)([])

    await write(house.graph, work)
    assert not await house.moves(world.version(1))
    assert Wish(world.version(1)).stage is None
