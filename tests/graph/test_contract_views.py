"""Contract of both stores: what a view shows, what it hides, and where walks stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from graph import ontology
from graph.address import parse
from graph.ids import new_id
from graph.port import (
    EVERYTHING,
    Access,
    Closure,
    Direction,
    EdgeMatch,
    Graph,
    Hop,
    Linked,
    NewEdge,
    NewNode,
    Node,
    Paging,
    Point,
    Snapshot,
    Transaction,
    Update,
    View,
    Walk,
)
from tests import building
from tests.graph import oracle
from tests.graph.spying import Spy, spy_on_statements
from tests.graph.test_lineage_properties import (
    NOW,
    OPEN_WORKSPACE,
    SECRET_WORKSPACE,
    Drawn,
    answered,
    asked,
    prepared,
    questions,
)

KINDS = frozenset(ontology.NODE_KINDS)
DEFAULT = View(frozenset({"default"}))
NO_MODELS = View(kinds=KINDS - {"Model", "ModelVersion"})
UP, DOWN = Walk(Direction.UPSTREAM), Walk(Direction.DOWNSTREAM)
VERSIONS = Hop("VERSION_OF", "IN", "ModelVersion")
SERVED = Hop("SERVES", "IN", "Deployment")
LIVE = "de_00000000000000000000000000"
ABSENT = (new_id("mo"), new_id("mv"), "granite")


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return spy_on_statements(monkeypatch)


async def secret_model(graph: Graph) -> tuple[Node, Node]:
    """A model with a version in a workspace `secret`, with all that nodes can own, and a deployment that serves it."""
    await building.workspace(graph, "secret")
    model, (version,) = await building.model(graph, "quartz", versions=1, workspace="secret")
    await building.load(graph, [building.record("Deployment", "live", id=LIVE)])
    await building.tag(graph, version.id, team="nlp")
    await building.put_params(graph, version.id, lr="0.1")
    await building.log(graph, version.id, Point("loss", 0.5, 1, 1))
    await building.link(graph, NewEdge("SERVES", LIVE, version.id), NewEdge("ALIAS", model.id, version.id, "best"))
    await building.update(graph, Update(model.id, name="basalt"))
    return model, version


# ── Hidden is as good as absent ───────────────────────────────────────────────────────────────────

Ask = Callable[[Snapshot, str, str, str], Awaitable[Any]]

QUESTIONS: dict[str, Ask] = {
    "nodes": lambda s, model, version, name: s.nodes([model, version]),
    "workspaces": lambda s, model, version, name: s.workspaces([model, version]),
    "resolve by id": lambda s, model, version, name: s.resolve([parse(model), parse(version)]),
    "resolve by name": lambda s, model, version, name: s.resolve(
        [parse(f"models:/secret:{name}{rest}") for rest in ("", "/1", "@best")]
    ),
    "resolve in the past": lambda s, model, version, name: s.resolve(
        [parse(f"models:/secret:{name}/1")], as_of=ontology.MAX_INT - 1
    ),
    "neighbours": lambda s, model, version, name: s.neighbours([model], VERSIONS, paging=Paging(count=True)),
    "history": lambda s, model, version, name: s.history([model], Hop("ALIAS", "OUT"), paging=Paging(count=True)),
    "served": lambda s, model, version, name: s.neighbours([version], SERVED, paging=Paging(count=True)),
    "tags": lambda s, model, version, name: s.rows([version], "tags"),
    "params": lambda s, model, version, name: s.rows([version], "params", ["lr"]),
    "metrics": lambda s, model, version, name: s.metrics([version]),
    "points": lambda s, model, version, name: s.points([version]),
    "closure": lambda s, model, version, name: s.closures([[model], [version]], DOWN),
    "paths": lambda s, model, version, name: s.paths([model], [LIVE], DOWN),
    "search": lambda s, model, version, name: s.search(name, paging=Paging(count=True)),
}


@pytest.mark.parametrize(
    "view",
    [DEFAULT, NO_MODELS, View(frozenset({"default"}), kinds=NO_MODELS.kinds)],
    ids=["by workspace", "by kind", "by both"],
)
@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_is_hidden_is_answered_like_what_is_absent_and_by_the_same_statements(
    graph: Graph, spy: Spy, view: View, question: str
) -> None:
    model, version = await secret_model(graph)
    answers, texts = [], []
    for ids in ((model.id, version.id, "basalt"), ABSENT):
        async with graph.snapshot(view) as snapshot:
            spy.forget()
            answer = repr(await QUESTIONS[question](snapshot, *ids))
            texts.append(spy.forget())
        for id, stands_for in zip(ids, ("MODEL", "VERSION", "NAME"), strict=True):
            answer = answer.replace(id, stands_for)
        answers.append(answer)
    assert answers[0] == answers[1]
    assert texts[0] == texts[1]
    assert texts[0]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_shows_is_answered_otherwise(graph: Graph, question: str) -> None:
    model, version = await secret_model(graph)
    async with graph.snapshot(View(frozenset({"default", "secret"}), kinds=KINDS)) as restricted:
        shown = repr(await QUESTIONS[question](restricted, model.id, version.id, "basalt"))
    async with graph.snapshot() as snapshot:
        assert repr(await QUESTIONS[question](snapshot, model.id, version.id, "basalt")) == shown
        assert repr(await QUESTIONS[question](snapshot, *ABSENT)) != shown


@pytest.mark.parametrize("view", [DEFAULT, NO_MODELS], ids=["by workspace", "by kind"])
async def test_lists_counts_and_conditions_leave_out_what_is_hidden(graph: Graph, view: View) -> None:
    await secret_model(graph)
    async with graph.snapshot(view) as snapshot:
        page = await snapshot.find("ModelVersion", paging=Paging(count=True))
        assert (list(page.items), page.total) == ([], 0)
        served = Hop("SERVES", "OUT")
        for verb in (snapshot.neighbours, snapshot.history):
            links = (await verb([LIVE], served, paging=Paging(count=True)))[LIVE]
            assert (list(links.items), links.total) == ([], 0)
        assert not (await snapshot.find("Deployment", Linked(served))).items
        found = await snapshot.search("basalt", paging=Paging(count=True))
        assert (list(found.items), found.total) == ([], 0)


async def test_a_shared_container_shows_with_its_parts_and_nothing_else_of_its_workspace(graph: Graph) -> None:
    model, version = await secret_model(graph)
    other, _ = await building.model(graph, "other", workspace="secret")
    async with graph.snapshot(replace(DEFAULT, shared=frozenset({model.id}))) as snapshot:
        assert (await snapshot.nodes([model.id, version.id, other.id])).keys() == {model.id, version.id}
        assert await snapshot.rows([version.id], "tags") == {version.id: {"team": "nlp"}}
    without = View(frozenset({"default"}), frozenset({model.id}), KINDS - {"ModelVersion"})
    async with graph.snapshot(without) as snapshot:
        assert (await snapshot.nodes([model.id, version.id])).keys() == {model.id}


async def test_principals_and_teams_show_in_every_view_that_shows_their_kinds(graph: Graph) -> None:
    ann, team = await building.create(graph, NewNode("Principal", "corp:ann", ""), NewNode("Team", "nlp", ""))
    async with graph.snapshot(View(frozenset())) as snapshot:
        assert (await snapshot.nodes([ann.id, team.id])).keys() == {ann.id, team.id}
    async with graph.snapshot(View(kinds=frozenset({"Team"}))) as snapshot:
        assert (await snapshot.nodes([ann.id, team.id])).keys() == {team.id}


async def test_a_workspace_belongs_to_itself(graph: Graph) -> None:
    secret = await building.workspace(graph, "secret")
    async with graph.snapshot(DEFAULT) as snapshot:
        assert [node.name for node in (await snapshot.find("Workspace")).items] == ["default"]
        snapshot.show(View(frozenset({"secret"})))
        assert await snapshot.nodes([secret.id]) == {secret.id: secret}


async def test_a_key_that_a_hidden_node_has_leads_on_to_what_had_it_before(graph: Graph) -> None:
    former, _ = await building.model(graph, "basalt")
    await building.update(graph, Update(former.id, name="marble"))
    await building.model(graph, "basalt")
    async with graph.snapshot(View(frozenset(), frozenset({former.id}))) as snapshot:
        (found,) = await snapshot.resolve([parse("models:/basalt")])
    assert found is not None
    assert found.id == former.id


async def test_a_snapshot_shows_what_it_is_told_to_and_what_it_read_before_is_hidden_again(graph: Graph) -> None:
    model, version = await secret_model(graph)
    async with graph.snapshot(EVERYTHING) as snapshot:
        assert snapshot.view == EVERYTHING
        assert (await snapshot.nodes([model.id, version.id])).keys() == {model.id, version.id}
        snapshot.show(DEFAULT)
        assert snapshot.view == DEFAULT
        assert not await snapshot.nodes([model.id, version.id])
        snapshot.show(NO_MODELS)
        assert not await snapshot.nodes([model.id, version.id])
        snapshot.show(EVERYTHING)
        assert (await snapshot.nodes([model.id])).keys() == {model.id}


async def test_deleted_nodes_are_seen_too_and_have_the_workspace_that_they_had(graph: Graph) -> None:
    model, version = await secret_model(graph)
    gone, _ = await building.model(graph, "gone")
    await building.remove(graph, gone.id)
    async with graph.snapshot(DEFAULT) as snapshot:
        assert await snapshot.seen([gone.id, model.id, version.id, "mo_none", gone.id]) == {gone.id}
        assert snapshot.statements == 1
        snapshot.show(replace(DEFAULT, shared=frozenset({model.id})))
        assert await snapshot.seen([gone.id, version.id]) == {gone.id, version.id}
        assert await snapshot.workspaces([gone.id, version.id]) == {gone.id: "default", version.id: "secret"}


async def test_an_export_shows_everything_whatever_the_view(graph: Graph) -> None:
    _, version = await secret_model(graph)
    async with graph.snapshot(View(frozenset(), kinds=frozenset())) as snapshot:
        records = {record.node.id: record for record in await snapshot.records("", 100)}
    record = records[version.id]
    assert (dict(record.tags), dict(record.params), len(record.metrics)) == ({"team": "nlp"}, {"lr": "0.1"}, 1)


# ── What the graph says of a principal ────────────────────────────────────────────────────────────


async def grants(graph: Graph) -> dict[str, Node]:
    """Ann is a viewer of `a`; the team nlp, which she is in, contributes to `b`; the team ops owns `c`."""
    names = ("a", "b", "c")
    workspaces = await building.create(graph, *(NewNode("Workspace", name, "") for name in names))
    ann, nlp, ops = await building.create(
        graph, NewNode("Principal", "corp:ann", ""), NewNode("Team", "nlp", ""), NewNode("Team", "ops", "")
    )
    a, b, c = workspaces
    await building.link(
        graph,
        NewEdge("GRANTS", a.id, ann.id, "VIEWER"),
        NewEdge("GRANTS", b.id, nlp.id, "CONTRIBUTOR"),
        NewEdge("GRANTS", c.id, ops.id, "OWNER"),
        NewEdge("MEMBER_OF", ann.id, nlp.id),
    )
    return {"ann": ann, "nlp": nlp, "ops": ops, "a": a, "b": b, "c": c}


async def access(graph: Graph, *teams: str, principal: str = "corp:ann") -> Access:
    """What a view that hides everything asks for, in one statement."""
    async with graph.snapshot(View(frozenset(), kinds=frozenset())) as snapshot:
        found = await snapshot.access(principal, teams)
        assert snapshot.statements == 1
    return found


async def test_roles_are_ones_own_and_those_of_teams_by_membership_or_by_claim(graph: Graph) -> None:
    there = await grants(graph)
    found = await access(graph)
    assert found.principal == there["ann"]
    assert list(found.roles) == [("a", "VIEWER"), ("b", "CONTRIBUTOR")]
    assert list((await access(graph, "ops", "nlp", "none")).roles) == [
        ("a", "VIEWER"),
        ("b", "CONTRIBUTOR"),
        ("c", "OWNER"),
    ]


async def test_who_has_no_node_has_the_roles_of_claimed_teams_alone(graph: Graph) -> None:
    await grants(graph)
    found = await access(graph, "ops", principal="corp:bob")
    assert (found.principal, list(found.roles)) == (None, [("c", "OWNER")])
    assert await access(graph, principal="") == Access(roles=[], visibility={}, shared=[])


async def test_what_has_ended_gives_no_role(graph: Graph) -> None:
    there = await grants(graph)
    await building.unlink(graph, EdgeMatch("GRANTS", there["a"].id), EdgeMatch("MEMBER_OF", there["ann"].id))
    assert not (await access(graph)).roles
    await building.link(graph, NewEdge("GRANTS", there["a"].id, there["ann"].id, "OWNER"))
    assert list((await access(graph)).roles) == [("a", "OWNER")]


async def test_deleted_workspaces_teams_and_principals_give_no_role(graph: Graph) -> None:
    there = await grants(graph)
    await building.remove(graph, there["a"].id)
    assert list((await access(graph, "ops")).roles) == [("b", "CONTRIBUTOR"), ("c", "OWNER")]
    await building.remove(graph, there["nlp"].id, there["ops"].id)
    assert not (await access(graph, "ops", "nlp")).roles
    await building.remove(graph, there["ann"].id)
    assert (await access(graph)).principal is None


async def test_a_principal_that_was_deactivated_is_told_as_it_is(graph: Graph) -> None:
    there = await grants(graph)
    await building.update(graph, Update(there["ann"].id, {"active": False}))
    found = (await access(graph)).principal
    assert found is not None
    assert found.props["active"] is False


async def test_visibility_opacity_and_shares_are_told_of_every_workspace(graph: Graph) -> None:
    there = await grants(graph)
    model, _ = await building.model(graph, "m", workspace="a")
    dataset, _ = await building.dataset(graph, "d", "v1", workspace="b")
    await building.update(
        graph,
        Update(there["a"].id, {"visibility": "PUBLIC"}),
        Update(there["b"].id, {"visibility": "INTERNAL", "lineage": "OPAQUE"}),
        Update(there["c"].id, {"lineage": "TRANSPARENT"}),
    )
    await building.link(
        graph,
        NewEdge("SHARED_WITH", model.id, there["b"].id),
        NewEdge("SHARED_WITH", model.id, there["c"].id),
        NewEdge("SHARED_WITH", dataset.id, there["c"].id),
    )
    found = await access(graph)
    assert found.visibility == {"a": "PUBLIC", "b": "INTERNAL"}
    assert found.opaque == {"b"}
    assert list(found.shared) == sorted([(model.id, "b"), (model.id, "c"), (dataset.id, "c")])
    await building.unlink(graph, EdgeMatch("SHARED_WITH", model.id, there["b"].id))
    await building.remove(graph, there["c"].id)
    assert not (await access(graph)).shared


async def test_access_is_told_within_a_transaction_too(graph: Graph) -> None:
    there = await grants(graph)

    async def work(tx: Transaction) -> Access:
        await tx.unlink([EdgeMatch("GRANTS", there["a"].id)])
        tx.show(View(frozenset(), kinds=frozenset()))
        return await tx.access("corp:ann")

    found = await graph.write(work, by="t", action="t")
    assert list(found.roles) == [("b", "CONTRIBUTOR")]


# ── Walls ─────────────────────────────────────────────────────────────────────────────────────────

WALLED = View(frozenset({"default"}), opaque=frozenset({"secret"}))


async def diamond(graph: Graph) -> dict[str, Node]:
    """data <- hidden <- live and data <- shown <- live; hidden is of `secret`, and alone leads on to `far`."""
    await building.workspace(graph, "secret")
    _, (data,) = await building.dataset(graph, "data", "v1")
    _, (hidden,) = await building.model(graph, "hidden", versions=1, workspace="secret")
    _, (shown,) = await building.model(graph, "shown", versions=1)
    live, far = await building.create(
        graph, NewNode("Deployment", "live", "default"), NewNode("Deployment", "far", "default")
    )
    await building.link(
        graph,
        NewEdge("TRAINED_ON", hidden.id, data.id),
        NewEdge("TRAINED_ON", shown.id, data.id),
        NewEdge("SERVES", live.id, hidden.id),
        NewEdge("SERVES", live.id, shown.id),
        NewEdge("SERVES", far.id, hidden.id),
    )
    return {"data": data, "hidden": hidden, "shown": shown, "live": live, "far": far}


async def closure(graph: Graph, view: View, root: Node, walk: Walk) -> Closure:
    async with graph.snapshot(view) as snapshot:
        return await snapshot.closure([root.id], walk)


def told(found: Closure) -> tuple[list[tuple[str, int]], set[tuple[str, str]], list[str], dict[str, int]]:
    nodes = [(node.id, distance) for node, distance in found.nodes]
    return nodes, {(e.source, e.target) for e in found.edges}, list(found.frontier), dict(found.counts)


async def test_a_walk_stops_before_hidden_nodes_of_opaque_workspaces_and_says_so(graph: Graph) -> None:
    there = await diamond(graph)
    data, shown, live = there["data"].id, there["shown"].id, there["live"].id
    found = await closure(graph, WALLED, there["data"], DOWN)
    assert told(found) == (
        [(data, 0), (shown, 1), (live, 2)],
        {(shown, data), (live, shown)},
        [data],
        {"DatasetVersion": 1, "ModelVersion": 1, "Deployment": 1},
    )
    assert not found.complete
    up = await closure(graph, WALLED, there["live"], UP)
    assert told(up)[0] == [(live, 0), (shown, 1), (data, 2)]
    assert list(up.frontier) == [live]
    alone = await closure(graph, WALLED, there["far"], UP)
    assert told(alone)[0] == [(there["far"].id, 0)]
    assert list(alone.frontier) == [there["far"].id]


@pytest.mark.parametrize(
    "view",
    [
        View(frozenset({"default", "secret"}), opaque=frozenset({"secret"})),
        View(frozenset({"default"}), opaque=frozenset({"elsewhere"})),
        View(frozenset({"default"})),
    ],
    ids=["readable", "another", "none"],
)
async def test_what_is_readable_or_not_opaque_is_walked_through(graph: Graph, view: View) -> None:
    there = await diamond(graph)
    found = await closure(graph, view, there["data"], DOWN)
    assert {node.id for node, _ in found.nodes} == {node.id for node in there.values()}
    assert found.complete


async def test_a_shared_container_is_no_wall_and_a_hidden_kind_is_one(graph: Graph) -> None:
    there = await diamond(graph)
    shared = replace(WALLED, shared=frozenset({there["hidden"].container}))
    assert (await closure(graph, shared, there["data"], DOWN)).complete
    kinds = replace(shared, kinds=KINDS - {"ModelVersion"})
    found = await closure(graph, kinds, there["data"], DOWN)
    assert {node.id for node, _ in found.nodes} == {there[name].id for name in ("data", "shown", "live")}
    assert list(found.frontier) == [there["data"].id]


@pytest.mark.parametrize(
    ("walk", "frontier"),
    [
        (replace(DOWN, depth=1), ["data", "shown"]),
        (replace(DOWN, limit=1), ["data"]),
        (replace(DOWN, kinds=frozenset({"Deployment"})), ["data"]),
        (replace(DOWN, kinds=frozenset({"Model"})), ["data"]),
        (replace(DOWN, edges=("SERVES",)), []),
    ],
    ids=["depth", "limit", "kinds", "no such kind", "other edges"],
)
async def test_what_lies_in_front_of_a_wall_is_in_the_frontier_whatever_the_walk(
    graph: Graph, walk: Walk, frontier: list[str]
) -> None:
    there = await diamond(graph)
    found = await closure(graph, WALLED, there["data"], walk)
    assert list(found.frontier) == sorted(there[name].id for name in frontier)


async def test_a_container_stays_in_the_frontier_for_its_parts_behind_a_wall(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    experiment, shown, hidden = await building.create(
        graph,
        NewNode("Experiment", "e", "default"),
        NewNode("Run", "shown", "default"),
        NewNode("Run", "hidden", "secret"),
    )
    await building.link(
        graph, NewEdge("PART_OF", shown.id, experiment.id), NewEdge("PART_OF", hidden.id, experiment.id)
    )
    found = await closure(graph, WALLED, experiment, UP)
    assert told(found) == ([(shown.id, 0)], set(), [experiment.id], {"Run": 1})
    async with graph.snapshot(WALLED) as snapshot:
        paths = await snapshot.paths([experiment.id], [experiment.id], UP)
        assert (list(paths.paths), paths.count, paths.complete) == ([], None, False)
        one, other = await snapshot.closures([[experiment.id], [shown.id]], UP)
    assert (one.complete, other.complete) == (False, True)


async def test_paths_lead_round_a_wall_and_their_number_is_not_told(graph: Graph) -> None:
    there = await diamond(graph)
    data, shown, live, far = (there[name].id for name in ("data", "shown", "live", "far"))
    async with graph.snapshot(WALLED) as snapshot:
        found = await snapshot.paths([data], [live], DOWN)
        assert [list(path) for path in found.paths] == [[data, shown, live]]
        assert (found.count, found.complete, set(found.nodes)) == (None, False, {data, shown, live})
        none = await snapshot.paths([data], [far], DOWN)
        assert (list(none.paths), none.count, none.complete) == ([], None, False)
        clear = await snapshot.paths([shown], [live], DOWN)
        assert (clear.count, clear.complete) == (1, True)


@given(question=questions)
async def test_a_closure_with_walls_is_that_of_the_graph_without_what_is_behind_them(
    graph: Graph, question: tuple[Drawn, list[str], Walk]
) -> None:
    drawn, roots, walk = question
    await prepared(graph, drawn)
    shown = [n for n in drawn.nodes if n["id"] in drawn.visible]
    edges = [e for e in drawn.edges if {e["source"], e["target"]} <= drawn.visible]
    expected = oracle.closure(shown, edges, roots, **asked(walk))
    at = NOW if walk.as_of is None else walk.as_of
    near, far = ("target", "source") if walk.direction is Direction.DOWNSTREAM else ("source", "target")
    hidden = {n["id"] for n in drawn.nodes} - drawn.visible
    reached = walked(expected, drawn, roots, walk)
    before = {
        e[near]
        for e in drawn.edges
        if e["kind"] in walk.edges and oracle.live(e, at) and e[near] in reached and e[far] in hidden
    }
    kind = {n["id"]: n["kind"] for n in drawn.nodes}
    whole = {r for r in roots if oracle.expand(kind, drawn.edges, [r], at) & hidden}
    async with graph.snapshot(replace(View(frozenset({OPEN_WORKSPACE})), opaque=frozenset({SECRET_WORKSPACE}))) as s:
        found = await s.closure(roots, walk)
    assert answered(found) == {**expected, "frontier": sorted({*expected["frontier"], *before, *whole})}


def walked(expected: dict[str, Any], drawn: Drawn, roots: list[str], walk: Walk) -> set[str]:
    """The walked nodes of an answer, of which it tells only those of the asked kinds."""
    shown = [n for n in drawn.nodes if n["id"] in drawn.visible]
    edges = [e for e in drawn.edges if {e["source"], e["target"]} <= drawn.visible]
    everything = oracle.closure(shown, edges, roots, **{**asked(walk), "returned": None, "limit": 10_000})
    return {id for id, _ in everything["nodes"][: sum(expected["counts"].values())]}
