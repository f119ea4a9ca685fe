"""Deprecation and retirement: refused while something depends on it, told to whoever it concerns."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import Caller
from auth.scopes import SCOPES
from graph.port import Graph, NewEdge, NewNode, Update
from lineal.errors import Forbidden, InvalidArgument, NotFound, PreconditionFailed
from resolvers.lifecycle.retiring import deprecate, retire, undeprecate
from resolvers.lifecycle.schemes import RETIRED
from resolvers.operation import Operation
from resolvers.writing import deployments, lifecycle
from resolvers.writing.importing import record_lineage
from resolvers.writing.runs import record_run
from resolvers.writing.versions import create_model_version
from tests import building
from tests.resolvers.conftest import Desk, refused

ALL = frozenset(SCOPES) - {"admin"}
OLD = "models:/bert/1"


@pytest.fixture
async def op(desk: Desk) -> Operation:
    """bert/1 is the champion in production, tiny/1 was made from it, "search" serves it."""
    op = desk.op
    await create_model_version(op, model="models:/bert", create_model=True, aliases=["champion"], stage="Production")
    await create_model_version(op, model="models:/bert")
    parents: list[Any] = [{"version": OLD, "relation": "finetune"}]
    await create_model_version(op, model="models:/tiny", create_model=True, parents=parents)
    await deployments.record_deployment(op, name="search", serves=[{"version": OLD}])
    await lifecycle.set_owners(op, address="models:/tiny", owners=["teams:/small"], create=True)
    await lifecycle.set_owners(op, address="deployments:/search", owners=["teams:/shop"], create=True)
    return op


async def distilled(op: Operation, teacher: str, **more: Any) -> None:
    """student/1 was made by a run that read the teacher, runs:/distilling."""
    await record_run(op, name="distilling", inputs=[{"address": teacher, "role": "teacher"}])
    await create_model_version(op, model="models:/student", create_model=True, run="runs:/distilling", **more)


async def notices(desk: Desk) -> dict[str, str]:
    """What was told, by the name of what it concerns."""
    page = await (await desk.op.snapshot()).find("Notice")
    return {link.node.name: node.props["text"] for node in page.items for link in await desk.links(node.id, "CONCERNS")}


class TestDeprecation:
    async def test_it_says_when_why_and_what_instead(self, desk: Desk, op: Operation) -> None:
        node = await deprecate(op, address=OLD, reason="too slow", since=5_000_000, successor="models:/bert/2")
        assert (node.props["deprecatedAt"], node.props["deprecationReason"]) == (5_000_000, "too slow")
        assert await desk.leads(OLD, "SUPERSEDED_BY") == {"2": ""}

    async def test_owners_and_watchers_down_the_lineage_are_told(self, desk: Desk, op: Operation) -> None:
        await deprecate(op, address=OLD, reason="too slow")
        assert await notices(desk) == {
            "tiny": "models:/bert/1 was deprecated: too slow. Versions of this model that came of it: 1.",
            "search": "models:/bert/1 was deprecated: too slow. This deployment serves what came of it.",
        }

    async def test_the_owners_of_the_thing_itself_are_told_too(self, desk: Desk, op: Operation) -> None:
        await lifecycle.set_owners(op, address="models:/bert", owners=["teams:/nlp"], create=True)
        await deprecate(op, address="models:/bert", reason="too slow")
        assert (await notices(desk))["bert"] == "models:/bert was deprecated: too slow. That is this model."

    async def test_it_can_be_taken_back(self, desk: Desk, op: Operation) -> None:
        await deprecate(op, address="models:/bert", reason="too slow")
        node = await undeprecate(op, address="models:/bert")
        assert not {"deprecatedAt", "deprecationReason"} & node.props.keys()
        with pytest.raises(PreconditionFailed) as error:
            await undeprecate(op, address="models:/bert")
        assert refused(error) == "node"

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"address": "models:/absent"}, "node"),
            ({"address": "runs:/r"}, "node"),
            ({"reason": ""}, "reason"),
            ({"successor": "models:/bert"}, "successor"),
            ({"successor": "models:/bert/9"}, "successor"),
            ({"successor": OLD}, "successor"),
        ],
    )
    async def test_what_cannot_be_is_refused(self, desk: Desk, op: Operation, given: Any, field: str) -> None:
        with pytest.raises((InvalidArgument, NotFound, PreconditionFailed)) as error:
            await deprecate(op, **{"address": OLD, "reason": "r", **given})
        assert refused(error) == field
        assert await desk.count("Notice") == 0


class TestRetirement:
    async def test_it_is_refused_while_anything_depends_on_it_and_names_that(self, desk: Desk, op: Operation) -> None:
        with pytest.raises(PreconditionFailed) as error:
            await retire(op, version=OLD, reason="old")
        assert error.value.message == (
            "version: 'models:/bert/1' is still served by deployments:/search and needed by models:/tiny/1; end that "
            "first, or force it"
        )
        assert "retiredAt" not in (await desk.at(OLD)).props

    async def test_once_nothing_depends_on_it_it_ends(self, desk: Desk, op: Operation) -> None:
        await deployments.update_deployment(op, address="deployments:/search", serves=None)
        await deprecate(op, address="models:/tiny", reason="old")
        node = await retire(op, version=OLD, reason="old")
        assert "retiredAt" in node.props
        assert await desk.leads("models:/bert", "STAGE") == {"1": RETIRED}
        assert await desk.gone("models:/bert@champion")
        assert len(await desk.history("models:/bert", "ALIAS")) == 1
        with pytest.raises(PreconditionFailed, match="retired already"):
            await retire(op, version=OLD, reason="old")

    async def test_a_child_that_is_deprecated_from_a_later_day_still_depends(self, op: Operation) -> None:
        await deployments.update_deployment(op, address="deployments:/search", serves=None)
        await deprecate(op, address="models:/tiny/1", reason="old", since=2**52)
        with pytest.raises(PreconditionFailed, match="needed by models:/tiny/1;"):
            await retire(op, version=OLD, reason="old")

    async def test_a_child_that_is_retired_depends_no_more(self, op: Operation) -> None:
        await deployments.update_deployment(op, address="deployments:/search", serves=None)
        await retire(op, version="models:/tiny/1", reason="old")
        await retire(op, version=OLD, reason="old")

    async def test_force_goes_past_what_depends_on_it_and_tells_them(self, desk: Desk, op: Operation) -> None:
        await retire(op, version=OLD, reason="it leaks", force=True)
        assert await notices(desk) == {
            "tiny": "models:/bert/1 was retired by force: it leaks. Versions of this model that came of it: 1.",
            "search": "models:/bert/1 was retired by force: it leaks. This deployment serves what came of it.",
        }
        with pytest.raises(InvalidArgument) as error:
            await retire(op, version="models:/bert/2", reason=" ", force=True)
        assert refused(error) == "reason"

    async def test_nothing_is_made_from_it_serves_it_or_calls_it_any_more(self, op: Operation) -> None:
        await retire(op, version=OLD, reason="old", force=True)
        parents: list[Any] = [{"version": OLD}]
        serves: list[Any] = [{"version": OLD}]
        for late, field in (
            (create_model_version(op, model="models:/bert", parents=parents), "parents[0].version"),
            (deployments.record_deployment(op, name="d", serves=serves), "serves[0].version"),
            (deployments.update_deployment(op, address="deployments:/search", serves=serves), "serves[0].version"),
            (lifecycle.set_alias(op, model="models:/bert", name="champion", version=OLD), "version"),
        ):
            with pytest.raises(PreconditionFailed, match="is retired") as error:
                await late
            assert refused(error) == field

    async def test_no_import_makes_anything_of_it_but_what_was_so_stays_so(self, op: Operation) -> None:
        await create_model_version(op, model="models:/tiny")
        await retire(op, version=OLD, reason="old", force=True)
        was: list[Any] = [
            {"from": "models:/tiny/1", "kind": "DERIVED_FROM", "to": OLD, "discriminator": "finetune"},
            {"from": "deployments:/search", "kind": "SERVES", "to": OLD},
            {"from": "models:/tiny/2", "kind": "DERIVED_FROM", "to": OLD, "since": 1, "until": 2},
        ]
        await record_lineage(op, edges=was)
        late: list[Any] = [
            {"from": "models:/tiny/2", "kind": "DERIVED_FROM", "to": OLD, "discriminator": "finetune"},
            {"from": "deployments:/new", "kind": "SERVES", "to": OLD},
        ]
        for edge in late:
            with pytest.raises(PreconditionFailed, match="is retired") as error:
                await record_lineage(op, nodes=[{"address": "deployments:/new"}], edges=[edge])
            assert refused(error) == "edges[0].to"

    async def test_what_a_run_made_that_read_it_needs_it(self, op: Operation) -> None:
        await distilled(op, "models:/bert/2")
        with pytest.raises(PreconditionFailed, match="is still needed by models:/student/1;"):
            await retire(op, version="models:/bert/2", reason="old")
        await deprecate(op, address="models:/student/1", reason="old")
        await retire(op, version="models:/bert/2", reason="old")

    async def test_what_read_it_and_made_no_version_needs_it_not(self, op: Operation) -> None:
        await record_run(op, name="scoring", inputs=[{"address": "models:/bert/2"}])
        await retire(op, version="models:/bert/2", reason="old")

    async def test_what_was_made_from_it_in_both_ways_is_named_once(self, op: Operation) -> None:
        await distilled(op, "models:/bert/2", parents=[{"version": "models:/bert/2"}])
        with pytest.raises(PreconditionFailed, match="is still needed by models:/student/1;"):
            await retire(op, version="models:/bert/2", reason="old")

    async def test_no_run_reads_it_any_more_and_none_that_did_makes_anything(self, op: Operation) -> None:
        await distilled(op, OLD)
        await retire(op, version=OLD, reason="old", force=True)
        inputs: list[Any] = [{"address": "models:/bert/2"}, {"address": OLD, "role": "teacher"}]
        for late, field in (
            (record_run(op, name="again", inputs=inputs), "inputs[1].address"),
            (create_model_version(op, model="models:/student", run="runs:/distilling"), "run"),
        ):
            with pytest.raises(PreconditionFailed, match="is retired") as error:
                await late
            assert refused(error) == field

    async def test_no_import_makes_anything_of_it_through_a_run_but_what_was_so_stays_so(self, op: Operation) -> None:
        await distilled(op, OLD)
        await create_model_version(op, model="models:/student")
        await record_run(op, name="idle")
        await retire(op, version=OLD, reason="old", force=True)
        was: list[Any] = [
            {"from": "runs:/distilling", "kind": "READ", "to": OLD, "discriminator": "teacher"},
            {"from": "models:/student/1", "kind": "PRODUCED_BY", "to": "runs:/distilling"},
            {"from": "runs:/idle", "kind": "READ", "to": OLD, "since": 1, "until": 2},
            {"from": "models:/student/2", "kind": "PRODUCED_BY", "to": "runs:/idle"},
            {"from": "datasets:/answers", "kind": "PRODUCED_BY", "to": "runs:/distilling"},
        ]
        await record_lineage(op, nodes=[{"address": "datasets:/answers"}], edges=was)
        await create_model_version(op, model="models:/student")
        late: list[Any] = [
            {"from": "runs:/idle", "kind": "READ", "to": OLD},
            {"from": "models:/student/3", "kind": "PRODUCED_BY", "to": "runs:/distilling"},
        ]
        for edge in late:
            with pytest.raises(PreconditionFailed, match="is retired") as error:
                await record_lineage(op, edges=[edge])
            assert refused(error) == "edges[0].to"

    async def test_a_managed_deployment_that_was_told_to_serve_it_depends(
        self, graph: Graph, desk: Desk, op: Operation
    ) -> None:
        await create_model_version(op, model="models:/bert")
        managed = {"managed": True, "platformName": "x", "desiredRevision": 2, "phase": "PENDING"}
        (shop,) = await building.create(graph, NewNode("Deployment", "shop", "default", props=managed))
        revisions = await building.create(
            graph, *(NewNode("DeploymentRevision", n, "default", shop.id, props={"number": int(n)}) for n in "12")
        )
        for revision, number in zip(revisions, (2, 3), strict=True):
            version = await desk.at(f"models:/bert/{number}")
            await building.link(
                graph,
                NewEdge("REVISION_OF", revision.id, shop.id),
                NewEdge("SPECIFIES", revision.id, version.id, props={"weight": 1.0}),
            )
        await retire(op, version="models:/bert/2", reason="it was told so before, and is not any more")
        with pytest.raises(PreconditionFailed, match="served by deployments:/shop;"):
            await retire(op, version="models:/bert/3", reason="old")
        await building.update(graph, Update(shop.id, {"phase": "STOPPED"}))
        await retire(op, version="models:/bert/3", reason="old")

    async def test_what_may_not_be_seen_is_not_named(self, graph: Graph, desk: Desk, op: Operation) -> None:
        default = (await desk.at("workspaces:/default")).id
        _, ann, *_ = await building.create(
            graph,
            NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}),
            NewNode("Principal", "corp:ann", ""),
        )
        await building.link(graph, NewEdge("GRANTS", default, ann.id, "APPROVER"))
        (hidden,) = await building.create(graph, NewNode("Deployment", "hidden", "secret"))
        await building.link(graph, NewEdge("SERVES", hidden.id, (await desk.at(OLD)).id))
        async with Operation(graph, caller=Caller("corp:ann", ALL)) as other:
            with pytest.raises(PreconditionFailed) as error:
                await retire(other, version=OLD, reason="old")
            assert "deployments:/search, and others that you may not see" in error.value.message
            await deployments.update_deployment(op, address="deployments:/search", serves=None)
            with pytest.raises(PreconditionFailed) as error:
                await retire(other, version=OLD, reason="old")
        assert "served by something that you may not see and needed by models:/tiny/1" in error.value.message
        assert "hidden" not in error.value.message

    async def test_approvers_with_the_scope_retire(self, graph: Graph, desk: Desk, op: Operation) -> None:
        default = (await desk.at("workspaces:/default")).id
        (ann,) = await building.create(graph, NewNode("Principal", "corp:ann", ""))
        await building.link(graph, NewEdge("GRANTS", default, ann.id, "CONTRIBUTOR"))
        for scopes in (ALL, ALL - {"lifecycle:approve"}):
            async with Operation(graph, caller=Caller("corp:ann", scopes)) as other:
                with pytest.raises(Forbidden):
                    await retire(other, version="models:/bert/2", reason="old")
                await deprecate(other, address="models:/bert/2", reason="old")

    async def test_a_refusal_names_ten_at_most(self, op: Operation) -> None:
        await deployments.update_deployment(op, address="deployments:/search", serves=None)
        for n in range(12):
            await deployments.record_deployment(op, name=f"d{n:02}", serves=[{"version": OLD}])
        with pytest.raises(PreconditionFailed, match=r"deployments:/d09 and 2 more and needed by"):
            await retire(op, version=OLD, reason="old")
