"""Aliases, stages, tags, owners, successors, deployments: what changes around things that stay."""

from __future__ import annotations

from typing import Any

import pytest

from graph.port import Hop
from lineal.errors import Conflict, InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers.operation import Operation
from resolvers.writing import deployments, lifecycle, story
from resolvers.writing.models import register_model
from resolvers.writing.versions import create_model_version
from tests.resolvers.conftest import Desk, named, refused


@pytest.fixture
async def bert(op: Operation) -> None:
    """A model with two versions."""
    await create_model_version(op, model="models:/bert", create_model=True)
    await create_model_version(op, model="models:/bert")


@pytest.mark.usefixtures("bert")
class TestAliases:
    async def test_an_alias_moves_at_one_moment_and_history_keeps_where_it_was(self, desk: Desk, op: Operation) -> None:
        for number in (1, 2, 2):
            await lifecycle.set_alias(op, model="models:/bert", name="champion", version=f"models:/bert/{number}")
        last, first = await desk.history("models:/bert", "ALIAS")
        assert (last.target, last.until) == ((await desk.at("models:/bert/2")).id, None)
        assert (first.target, first.until) == ((await desk.at("models:/bert/1")).id, last.since)
        then = await desk.at("models:/bert@champion", as_of=first.since)
        assert then.name == "1"

    async def test_an_alias_points_to_a_version_of_its_own_model(self, op: Operation) -> None:
        await create_model_version(op, model="models:/other", create_model=True)
        with pytest.raises(InvalidArgument) as error:
            await lifecycle.set_alias(op, model="models:/bert", name="champion", version="models:/other/1")
        assert refused(error) == "version"

    async def test_an_alias_can_go(self, desk: Desk, op: Operation) -> None:
        await lifecycle.set_alias(op, model="models:/bert", name="champion", version="models:/bert/1")
        await lifecycle.delete_alias(op, model="models:/bert", name="champion")
        assert await desk.gone("models:/bert@champion")
        with pytest.raises(NotFound) as error:
            await lifecycle.delete_alias(op, model="models:/bert", name="champion")
        assert refused(error) == "name"

    async def test_a_version_is_in_one_stage_at_a_time(self, desk: Desk, op: Operation) -> None:
        for stage in ("Staging", "Production", "Production"):
            await lifecycle.set_stage(op, version="models:/bert/1", stage=stage)
        await lifecycle.set_stage(op, version="models:/bert/2", stage="Production")
        assert await desk.leads("models:/bert", "STAGE") == {"1": "Production", "2": "Production"}
        await lifecycle.set_stage(op, version="models:/bert/1", stage=None)
        assert await desk.leads("models:/bert", "STAGE") == {"2": "Production"}
        assert len(await desk.history("models:/bert", "STAGE")) == 3


class TestTagsAndOwners:
    async def test_tags_are_set_and_taken_away(self, desk: Desk, op: Operation) -> None:
        await register_model(op, name="a", tags=named(("x", "1"), ("y", "1")))
        await lifecycle.set_tags(op, address="models:/a", tags=named(("y", "2"), ("z", "3")))
        await lifecycle.delete_tags(op, address="models:/a", names=["x", "absent"])
        assert await desk.own("models:/a", "tags") == {"y": "2", "z": "3"}

    async def test_owners_are_replaced(self, desk: Desk, op: Operation) -> None:
        await register_model(op, name="a")
        with pytest.raises(NotFound) as error:
            await lifecycle.set_owners(op, address="models:/a", owners=["principals:/ann"])
        assert refused(error) == "owners[0]"
        await lifecycle.set_owners(op, address="models:/a", owners=["principals:/ann", "teams:/search"], create=True)
        await lifecycle.set_owners(op, address="models:/a", owners=["teams:/search"])
        assert await desk.leads("models:/a", "OWNED_BY") == {"search": ""}
        ended = [edge for edge in await desk.history("models:/a", "OWNED_BY") if edge.until is not None]
        assert len(ended) == 1

    async def test_more_owners_than_a_page_are_replaced_too(
        self, desk: Desk, op: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(story, "MAX_PAGE", 1)
        await register_model(op, name="a")
        for owners in (["teams:/x", "teams:/y", "teams:/z"], ["teams:/z"]):
            await lifecycle.set_owners(op, address="models:/a", owners=owners, create=True)
        assert await desk.leads("models:/a", "OWNED_BY") == {"z": ""}

    async def test_too_many_owners_are_refused(self, op: Operation) -> None:
        await register_model(op, name="a")
        with pytest.raises(InvalidArgument) as error:
            await lifecycle.set_owners(op, address="models:/a", owners=["teams:/t"] * 101)
        assert refused(error) == "owners"


class TestSuccessors:
    async def test_a_model_has_one_successor_until_it_is_taken_back(self, desk: Desk, op: Operation) -> None:
        for name in "abc":
            await register_model(op, name=name)
        for by in ("models:/b", "models:/c"):
            await lifecycle.supersede(op, address="models:/a", by=by)
        assert await desk.leads("models:/a", "SUPERSEDED_BY") == {"c": ""}
        await lifecycle.supersede(op, address="models:/a", by=None)
        assert await desk.leads("models:/a", "SUPERSEDED_BY") == {}

    async def test_successors_make_no_circle(self, op: Operation) -> None:
        for name in "abc":
            await register_model(op, name=name)
        await lifecycle.supersede(op, address="models:/a", by="models:/b")
        await lifecycle.supersede(op, address="models:/b", by="models:/c")
        with pytest.raises(PreconditionFailed) as error:
            await lifecycle.supersede(op, address="models:/c", by="models:/a")
        assert refused(error) == "by"

    async def test_a_row_of_successors_has_an_end(self, op: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lifecycle, "MAX_SUCCESSORS", 1)
        for name in "abc":
            await register_model(op, name=name)
        await lifecycle.supersede(op, address="models:/b", by="models:/c")
        with pytest.raises(PreconditionFailed, match="at most 1") as error:
            await lifecycle.supersede(op, address="models:/a", by="models:/b")
        assert refused(error) == "by"

    async def test_a_successor_is_of_the_same_kind(self, op: Operation) -> None:
        await create_model_version(op, model="models:/a", create_model=True)
        with pytest.raises(InvalidArgument) as error:
            await lifecycle.supersede(op, address="models:/a", by="models:/a/1")
        assert refused(error) == "by"


@pytest.mark.usefixtures("bert")
class TestDeployments:
    async def test_a_deployment_serves_versions_somewhere_under_a_first_revision(
        self, desk: Desk, op: Operation
    ) -> None:
        await deployments.record_deployment(
            op,
            name="d",
            environment="environments:/production",
            target="targets:/triton",
            serves=[{"version": "models:/bert/1", "weight": 0.9}, {"version": "models:/bert/2", "weight": 0.1}],
            tags=named(("a", "b")),
        )
        assert await desk.leads("deployments:/d", "IN_ENVIRONMENT") == {"production": ""}
        assert await desk.leads("deployments:/d", "DEPLOYED_TO") == {"triton": ""}
        weights = {link.node.name: link.edge.props for link in await desk.links("deployments:/d", "SERVES")}
        assert weights == {"1": {"weight": 0.9}, "2": {"weight": 0.1}}
        assert await desk.leads("deployments:/d/1", "SPECIFIES") == {"1": "", "2": ""}
        assert "d" in await desk.downstream("models:/bert")

    async def test_a_change_of_what_it_serves_ends_and_opens_at_one_moment_under_a_new_revision(
        self, desk: Desk, op: Operation
    ) -> None:
        await deployments.record_deployment(op, name="d", serves=[{"version": "models:/bert/1"}])
        for _ in range(2):
            await deployments.update_deployment(op, address="deployments:/d", serves=[{"version": "models:/bert/2"}])
        opened, ended = await desk.history("deployments:/d", "SERVES")
        assert (opened.until, ended.until) == (None, opened.since)
        assert await desk.leads("deployments:/d/2", "SPECIFIES") == {"2": ""}
        assert await desk.gone("deployments:/d/3")

    async def test_another_weight_is_a_change_too(self, desk: Desk, op: Operation) -> None:
        await deployments.record_deployment(op, name="d", serves=[{"version": "models:/bert/1", "weight": 1}])
        half: Any = {"version": "models:/bert/1", "weight": 0.5}
        await deployments.update_deployment(op, address="deployments:/d", serves=[half])
        opened, ended = await desk.history("deployments:/d", "SERVES")
        assert (opened.props, ended.props) == ({"weight": 0.5}, {"weight": 1.0})
        assert not await desk.gone("deployments:/d/2")

    async def test_what_is_not_given_stays_and_none_takes_away(self, desk: Desk, op: Operation) -> None:
        await deployments.record_deployment(
            op, name="d", environment="environments:/a", target="targets:/t", serves=[{"version": "models:/bert/1"}]
        )
        await deployments.update_deployment(
            op, address="deployments:/d", environment="environments:/b", target=None, properties={"state": "UP"}
        )
        assert await desk.leads("deployments:/d", "IN_ENVIRONMENT") == {"b": ""}
        assert await desk.leads("deployments:/d", "DEPLOYED_TO") == {}
        assert await desk.leads("deployments:/d", "SERVES") == {"1": ""}
        node = await deployments.update_deployment(op, address="deployments:/d", serves=None)
        assert node.props["state"] == "UP"
        assert await desk.leads("deployments:/d", "SERVES") == {}

    @pytest.mark.parametrize(
        ("serves", "field"),
        [
            ([{"version": "models:/bert/9"}], "serves[0].version"),
            ([{"version": "models:/bert"}], "serves[0].version"),
            ([{"version": "models:/bert/1", "weight": 1.5}], "serves[0].weight"),
            ([{"version": "models:/bert/1", "weight": 1}, {"version": "models:/bert/2", "weight": 1}], "serves"),
            ([{"version": "models:/bert/1"}, {"version": "models:/bert/1"}], "serves[1].version"),
            ([{"version": "models:/bert/1"}] * 101, "serves"),
        ],
    )
    async def test_what_cannot_be_served_is_refused_whole(
        self, desk: Desk, op: Operation, serves: list[Any], field: str
    ) -> None:
        with pytest.raises((InvalidArgument, LimitExceeded, NotFound)) as error:
            await deployments.record_deployment(op, name="d", environment="environments:/e", serves=serves)
        assert refused(error) == field
        assert await desk.count("Deployment", "Environment") == 0

    async def test_only_the_revision_that_was_read_is_changed(self, desk: Desk, op: Operation) -> None:
        await deployments.record_deployment(op, name="d")
        await deployments.update_deployment(op, address="deployments:/d", properties={"state": "UP"}, revision=1)
        serves: list[Any] = [{"version": "models:/bert/1"}]
        with pytest.raises(Conflict) as error:
            await deployments.update_deployment(op, address="deployments:/d", serves=serves, revision=1)
        assert refused(error) == "revision"
        assert await desk.leads("deployments:/d", "SERVES") == {}

    async def test_the_same_environment_stays_open(self, desk: Desk, op: Operation) -> None:
        node = await deployments.record_deployment(op, name="d", environment="environments:/a")
        await deployments.update_deployment(op, address="deployments:/d", environment="environments:/a")
        found = await (await op.snapshot()).history([node.id], Hop("IN_ENVIRONMENT", "OUT"))
        assert [link.edge.until for link in found[node.id].items] == [None]
