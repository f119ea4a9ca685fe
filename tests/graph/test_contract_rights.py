"""Contract of both stores: what a guarded transaction may change, and what its refusals tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from graph import ontology
from graph.ids import new_id
from graph.port import (
    EVERY_RIGHT,
    EVERYTHING,
    Birth,
    EdgeMatch,
    Graph,
    Hop,
    NewEdge,
    NewNode,
    Node,
    Point,
    Rights,
    Transaction,
    Update,
    View,
)
from lineal.errors import AlreadyExists, Forbidden, InvalidArgument, LinealError, NotFound, PreconditionFailed
from tests import building
from tests.graph.spying import Spy, spy_on_statements

KINDS = frozenset(ontology.NODE_KINDS)
SEEN = View(frozenset({"default", "read"}))
HELD = Rights(frozenset({"default"}), role="CONTRIBUTOR")

Verb = Callable[[Transaction, str], Awaitable[Any]]


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return spy_on_statements(monkeypatch)


async def guarded(graph: Graph, verb: Callable[[Transaction], Awaitable[Any]], view: View, rights: Rights) -> Any:
    """Do this in a transaction that is held to the view and the rights."""

    async def work(tx: Transaction) -> Any:
        tx.guard(view, rights)
        return await verb(tx)

    return await graph.write(work, by="ann", action="t")


async def refusal(graph: Graph, verb: Callable[[Transaction], Awaitable[Any]], view: View, rights: Rights) -> Any:
    """How it is refused."""
    with pytest.raises(LinealError) as caught:
        await guarded(graph, verb, view, rights)
    return caught.value


async def places(graph: Graph) -> dict[str, Node]:
    """A version 1 of a model in each of the workspaces default, `read` and `secret`, derived from a common one."""
    for name in ("read", "secret"):
        await building.workspace(graph, name)
    _, (parent,) = await building.model(graph, "parent", versions=1)
    made = {"parent": parent}
    for name in ("default", "read", "secret"):
        _, (made[name],) = await building.model(graph, "m", versions=1, workspace=name)
        await building.link(graph, NewEdge("DERIVED_FROM", made[name].id, parent.id, "merge"))
    return made


PARENT = Hop("DERIVED_FROM", "OUT")

WRITES: dict[str, Verb] = {
    "lock": lambda tx, it: tx.lock([it]),
    "update": lambda tx, it: tx.update([Update(it, {"license": "MIT"})]),
    "remove": lambda tx, it: tx.remove([it]),
    "tags": lambda tx, it: tx.put_rows("tags", {it: {"a": "b"}}),
    "params": lambda tx, it: tx.put_rows("params", {it: {"a": "b"}}),
    "metrics": lambda tx, it: tx.log_metrics({it: [Point("loss", 1.0, 1, 1)]}),
    "unlink": lambda tx, it: tx.unlink([EdgeMatch("DERIVED_FROM", it)]),
}


def link_to(parent: Node) -> Verb:
    return lambda tx, it: tx.link([NewEdge("DERIVED_FROM", it, parent.id, "finetune")])


@pytest.mark.parametrize("name", [*WRITES, "link"])
async def test_every_write_is_held_to_what_shows_and_to_rights(graph: Graph, spy: Spy, name: str) -> None:
    there = await places(graph)
    verb = WRITES.get(name) or link_to(there["parent"])

    refused, texts = [], []
    for id in (there["secret"].id, new_id("mv")):
        spy.forget()
        error = await refusal(graph, lambda tx, it=id: verb(tx, it), SEEN, HELD)  # type: ignore[misc]
        texts.append(spy.forget())
        refused.append((type(error), error.message.replace(id, "ID"), {**error.details, "id": None}))
    assert refused[0] == refused[1]
    assert refused[0][0] is NotFound
    assert texts[0] == texts[1]

    error = await refusal(graph, lambda tx: verb(tx, there["read"].id), SEEN, HELD)
    assert isinstance(error, Forbidden)
    assert error.message == "workspace 'read': needs the role CONTRIBUTOR there"
    assert error.details == {"role": "CONTRIBUTOR", "workspace": "read"}

    rights = Rights(kinds=KINDS - {"ModelVersion"})
    error = await refusal(graph, lambda tx: verb(tx, there["default"].id), SEEN, rights)
    assert isinstance(error, Forbidden)
    assert error.details == {"kind": "ModelVersion"}

    hidden_kind = View(kinds=KINDS - {"ModelVersion"})
    error = await refusal(graph, lambda tx: verb(tx, there["default"].id), hidden_kind, EVERY_RIGHT)
    assert isinstance(error, NotFound)

    await guarded(graph, lambda tx: verb(tx, there["default"].id), SEEN, HELD)


@pytest.mark.parametrize("name", [*WRITES, "link"])
async def test_a_guard_costs_no_statement(graph: Graph, name: str) -> None:
    there = await places(graph)
    verb = WRITES.get(name) or link_to(there["parent"])
    counts = []
    for view, rights, id in ((EVERYTHING, EVERY_RIGHT, there["read"].id), (SEEN, HELD, there["default"].id)):

        async def work(tx: Transaction, id: str = id) -> int:
            await verb(tx, id)
            return tx.statements

        counts.append(await guarded(graph, work, view, rights))
    assert counts[1] == counts[0]


async def test_an_unguarded_transaction_sees_and_changes_everything(graph: Graph) -> None:
    there = await places(graph)

    async def work(tx: Transaction) -> set[str]:
        await tx.update([Update(there["secret"].id, {"license": "MIT"})])
        return set(await tx.nodes([node.id for node in there.values()]))

    assert await graph.write(work, by="t", action="t") == {node.id for node in there.values()}


async def test_a_guarded_transaction_reads_as_the_view(graph: Graph) -> None:
    there = await places(graph)

    async def work(tx: Transaction) -> tuple[set[str], set[str]]:
        links = (await tx.neighbours([there["parent"].id], Hop("DERIVED_FROM", "IN")))[there["parent"].id]
        return set(await tx.nodes([node.id for node in there.values()])), {link.node.id for link in links.items}

    nodes, derived = await guarded(graph, work, SEEN, HELD)
    assert nodes == {there[name].id for name in ("parent", "default", "read")}
    assert derived == {there[name].id for name in ("default", "read")}


# ── Making ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_node_is_made_only_where_the_rights_reach(graph: Graph, spy: Spy) -> None:
    there = await places(graph)
    refused, texts = [], []
    for place in ("secret", "nowhere"):
        spy.forget()
        error = await refusal(graph, lambda tx, p=place: tx.create([NewNode("Model", "x", p)]), SEEN, HELD)  # type: ignore[misc]
        texts.append(spy.forget())
        refused.append((type(error), error.message.replace(place, "PLACE"), error.details))
    assert refused[0] == refused[1] == (NotFound, "workspace: there is no workspace 'PLACE'", {})
    assert texts[0] == texts[1]

    async def create(*new: NewNode, rights: Rights = HELD) -> Any:
        return await guarded(graph, lambda tx: tx.create(new), SEEN, rights)

    with pytest.raises(Forbidden, match="'read'"):
        await create(NewNode("Model", "x", "read"))
    with pytest.raises(Forbidden, match="a Model is not among"):
        await create(NewNode("Model", "x", "default"), rights=Rights(kinds=KINDS - {"Model"}))
    with pytest.raises(NotFound, match=there["secret"].container):
        await create(NewNode("ModelVersion", "2", "default", there["secret"].container, {"number": 2}))
    with pytest.raises(InvalidArgument, match="workspace of its container"):
        await create(NewNode("ModelVersion", "2", "default", there["read"].container, {"number": 2}))
    (made,) = await create(NewNode("Model", "x", "default"))
    assert made.workspace == "default"


async def test_what_belongs_to_no_workspace_is_written_only_with_rights_in_all(graph: Graph) -> None:
    (ann,) = await building.create(graph, NewNode("Principal", "corp:ann", ""))
    error = await refusal(graph, lambda tx: tx.create([NewNode("Team", "nlp", "")]), SEEN, HELD)
    assert isinstance(error, Forbidden)
    assert error.details == {"role": "CONTRIBUTOR", "workspace": ""}
    error = await refusal(graph, lambda tx: tx.update([Update(ann.id, {"active": False})]), SEEN, HELD)
    assert isinstance(error, Forbidden)
    await guarded(graph, lambda tx: tx.create([NewNode("Team", "nlp", "")]), SEEN, Rights(kinds=frozenset({"Team"})))


async def test_a_part_of_something_shared_is_made_in_the_workspace_of_that(graph: Graph) -> None:
    there = await places(graph)
    view = View(frozenset({"default"}), frozenset({there["secret"].container}))
    about = NewNode("Comment", "c", "secret", there["secret"].container, {"text": "hm"})
    (made,) = await guarded(graph, lambda tx: tx.create([about]), view, Rights(kinds=frozenset({"Comment"})))
    assert (made.workspace, made.container) == ("secret", there["secret"].container)
    error = await refusal(graph, lambda tx: tx.create([about]), view, HELD)
    assert isinstance(error, Forbidden)
    other = NewNode("Comment", "d", "read", there["secret"].container, {"text": "hm"})
    error = await refusal(graph, lambda tx: tx.create([other]), view, Rights(kinds=frozenset({"Comment"})))
    assert isinstance(error, InvalidArgument)


async def test_whoever_makes_a_workspace_writes_in_it_in_the_same_transaction_only(graph: Graph) -> None:
    (ann,) = await building.create(graph, NewNode("Principal", "corp:ann", ""))

    async def work(tx: Transaction) -> Node:
        (made,) = await tx.create([NewNode("Workspace", "mine", "")])
        await tx.link([NewEdge("GRANTS", made.id, ann.id, "OWNER")])
        (model,) = await tx.create([NewNode("Model", "m", "mine")])
        await tx.update([Update(model.id, {"task": "x"})])
        assert (await tx.nodes([made.id, model.id])).keys() == {made.id, model.id}
        return model

    model = await guarded(graph, work, SEEN, HELD)
    error = await refusal(graph, lambda tx: tx.update([Update(model.id, {"task": "y"})]), SEEN, HELD)
    assert isinstance(error, NotFound)
    rights = Rights(frozenset(), KINDS - {"Workspace"})
    error = await refusal(graph, lambda tx: tx.create([NewNode("Workspace", "w", "")]), SEEN, rights)
    assert isinstance(error, Forbidden)


async def test_a_workspace_that_is_there_is_not_opened_by_trying_to_make_it(graph: Graph) -> None:
    there = await places(graph)

    async def work(tx: Transaction) -> None:
        with pytest.raises(AlreadyExists) as caught:
            await tx.create([NewNode("Workspace", "secret", "")])
        assert "id" not in caught.value.details
        await tx.update([Update(there["secret"].id, {"license": "MIT"})])

    error = await refusal(graph, work, SEEN, HELD)
    assert isinstance(error, NotFound)


async def test_a_name_that_a_hidden_node_has_is_taken_by_nobody_named(graph: Graph) -> None:
    model, _ = await building.model(graph, "m")
    view = View(kinds=KINDS - {"Model"})
    hidden = await refusal(graph, lambda tx: tx.create([NewNode("Model", "m", "default")]), view, EVERY_RIGHT)
    shown = await refusal(graph, lambda tx: tx.create([NewNode("Model", "m", "default")]), SEEN, HELD)
    assert isinstance(hidden, AlreadyExists)
    assert (model.id in hidden.message, "id" in hidden.details) == (False, False)
    assert (model.id in shown.message, shown.details["id"]) == (True, model.id)


async def test_what_was_made_in_the_transaction_can_be_gone_on_with_though_its_kind_is_hidden(graph: Graph) -> None:
    async def work(tx: Transaction) -> str:
        (run,) = await tx.create([NewNode("Run", "r", "default")])
        for step in (1, 2):
            await tx.log_metrics({run.id: [Point("loss", float(step), step, step)]})
            await tx.put_rows("tags", {run.id: {f"t{step}": "v"}})
        return run.id

    id = await guarded(graph, work, View(kinds=frozenset()), Rights(kinds=frozenset({"Run"})))
    async with graph.snapshot() as snapshot:
        ((metric,),) = (await snapshot.metrics([id])).values()
        assert (metric.count, metric.minimum, metric.maximum) == (2, 1.0, 2.0)
        assert await snapshot.rows([id], "tags") == {id: {"t1": "v", "t2": "v"}}


async def test_an_import_needs_every_right(graph: Graph) -> None:
    record = building.record("Model", "m")
    for view, rights in ((SEEN, EVERY_RIGHT), (EVERYTHING, HELD), (EVERYTHING, Rights(kinds=KINDS))):
        error = await refusal(graph, lambda tx: tx.load([record]), view, rights)
        assert isinstance(error, Forbidden)
    assert await guarded(graph, lambda tx: tx.load([record]), EVERYTHING, EVERY_RIGHT) == 1


# ── Edges ─────────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_may_write_everything_tells_when_a_node_was_made_and_by_whom(graph: Graph) -> None:
    born = NewNode("Model", "old", "default", birth=Birth(building.LONG_AGO, "corp:ann", building.LONG_AGO + 5))
    (node,) = await building.create(graph, born)
    assert (node.created_at, node.created_by, node.updated_at) == (building.LONG_AGO, "corp:ann", node.created_at + 5)
    async with graph.snapshot() as snapshot:
        assert await snapshot.nodes([node.id]) == {node.id: node}
    backwards = NewNode("Model", "b", "default", birth=Birth(building.LONG_AGO, "x", building.LONG_AGO - 1))
    with pytest.raises(InvalidArgument, match="in this order"):
        await building.create(graph, backwards)
    rights = Rights(workspaces=frozenset({"default"}))
    own = NewNode("Model", "mine", "default", birth=born.birth)
    assert isinstance(await refusal(graph, lambda tx: tx.create([own]), EVERYTHING, rights), Forbidden)


async def test_an_edge_leads_to_what_shows_whoever_may_write_that(graph: Graph, spy: Spy) -> None:
    there = await places(graph)
    source = there["default"].id

    async def link(tx: Transaction, target: str) -> Any:
        return await tx.link([NewEdge("DERIVED_FROM", source, target, "adapter")])

    refused, texts = [], []
    for target in (there["secret"].id, new_id("mv")):
        spy.forget()
        error = await refusal(graph, lambda tx, t=target: link(tx, t), SEEN, HELD)  # type: ignore[misc]
        texts.append(spy.forget())
        refused.append((type(error), error.message.replace(target, "ID")))
    assert refused[0] == refused[1] == (NotFound, "there is no node 'ID'")
    assert texts[0] == texts[1]
    (edge,) = await guarded(graph, lambda tx: link(tx, there["read"].id), SEEN, HELD)
    assert edge.target == there["read"].id


async def test_edges_end_whatever_they_lead_to_and_not_where_their_source_does_not_show(graph: Graph) -> None:
    there = await places(graph)
    parent, default, read, secret = (there[name].id for name in ("parent", "default", "read", "secret"))
    await building.link(graph, NewEdge("DERIVED_FROM", default, secret, "adapter"))

    async def unlink(tx: Transaction, *matches: EdgeMatch) -> set[tuple[str, str]]:
        return {(e.source, e.target) for e in await tx.unlink(matches)}

    error = await refusal(graph, lambda tx: unlink(tx, EdgeMatch("DERIVED_FROM", target=parent)), SEEN, HELD)
    assert isinstance(error, Forbidden)
    assert error.details["workspace"] == "read"
    alone = View(frozenset({"default"}))
    assert await guarded(
        graph, lambda tx: unlink(tx, EdgeMatch("DERIVED_FROM", target=parent), EdgeMatch("DERIVED_FROM", default)),
        alone, HELD,
    ) == {(default, parent), (default, secret)}  # fmt: skip
    async with graph.snapshot() as snapshot:
        left = [
            e for e in await snapshot.edges_from([default, read, secret]) if e.kind == "DERIVED_FROM" and not e.until
        ]
    assert {(e.source, e.target) for e in left} == {(read, parent), (secret, parent)}


async def test_a_delete_ends_the_edges_of_what_goes_hidden_ones_too(graph: Graph) -> None:
    there = await places(graph)
    await building.link(graph, NewEdge("DERIVED_FROM", there["default"].id, there["secret"].id, "adapter"))
    await guarded(graph, lambda tx: tx.remove([there["default"].id, there["parent"].id]), SEEN, HELD)
    async with graph.snapshot() as snapshot:
        edges = await snapshot.edges_from([node.id for node in there.values()])
    assert [e for e in edges if e.kind == "DERIVED_FROM" and e.until is None] == []


async def test_a_cycle_through_what_is_hidden_is_refused_and_names_nothing_of_it(graph: Graph) -> None:
    there = await places(graph)
    _, (top,) = await building.model(graph, "top", versions=1)
    await building.link(graph, NewEdge("DERIVED_FROM", top.id, there["secret"].id, "merge"))
    edge = NewEdge("DERIVED_FROM", there["parent"].id, top.id, "merge")
    error = await refusal(graph, lambda tx: tx.link([edge]), SEEN, HELD)
    assert isinstance(error, PreconditionFailed)
    assert error.message == (
        "lineage cannot have a cycle: "
        "models:/parent/1 → models:/top/1 → something that you may not see → models:/parent/1"
    )
    assert list(error.details["path"]) == [there["parent"].id, top.id, there["parent"].id]
    whole = await refusal(graph, lambda tx: tx.link([edge]), EVERYTHING, EVERY_RIGHT)
    assert "models:/secret:m/1" in whole.message
    assert there["secret"].id in whole.details["path"]


async def test_a_place_that_a_hidden_edge_has_is_taken_by_nobody_named(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    run, hidden, shown = await building.create(
        graph,
        NewNode("Run", "r", "default"),
        NewNode("Experiment", "e", "secret"),
        NewNode("Experiment", "f", "default"),
    )
    await building.link(graph, NewEdge("PART_OF", run.id, hidden.id))
    edge = NewEdge("PART_OF", run.id, shown.id)
    error = await refusal(graph, lambda tx: tx.link([edge]), SEEN, HELD)
    assert isinstance(error, AlreadyExists)
    assert hidden.id not in error.message
    assert "something that you may not see" in error.message
    assert error.details == {"source": run.id}
    whole = await refusal(graph, lambda tx: tx.link([edge]), EVERYTHING, EVERY_RIGHT)
    assert whole.details == {"source": run.id, "target": hidden.id}


async def test_dependants_that_do_not_show_are_told_of_without_being_named(graph: Graph) -> None:
    there = await places(graph)
    parent, secret = there["parent"].id, there["secret"].id

    async def unseen(view: View, *ids: str) -> Any:
        return await guarded(graph, lambda tx: tx.unseen_dependants(ids), view, HELD)

    assert await unseen(SEEN, parent) is True
    assert await unseen(SEEN, parent, secret) is False
    assert await unseen(EVERYTHING, parent) is False
    assert await unseen(View(frozenset({"default", "read", "secret"})), parent) is False
    assert await unseen(SEEN, there["default"].id) is False
    assert await unseen(View(kinds=KINDS - {"ModelVersion"}), parent) is True
    await building.unlink(graph, EdgeMatch("DERIVED_FROM", secret))
    assert await unseen(SEEN, parent) is False
