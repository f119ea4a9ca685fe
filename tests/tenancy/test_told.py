"""Of a change that joins what one sees to what one does not, nothing is told: not even that there is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auth.caller import ADMIN, Caller
from auth.recorder import Recorder
from auth.scopes import SCOPES
from graph.port import Graph, NewEdge, NewNode, Node, Note, Update
from schema.executing import execute
from schema.limits import Limits
from schema.sdl import build_schema
from tests import building

SCHEMA = build_schema(Limits())
ANN = Caller("corp:ann", frozenset(SCOPES) - {ADMIN}, workspaces=frozenset({"default"}))
"""She owns `default`, and sees nothing of `secret`."""

PAGE = "nodes { action data } pageInfo { hasNextPage endCursor }"


async def ask(graph: Graph, query: str, caller: Caller = ANN) -> Any:
    """What Ann, or somebody else, is answered."""
    await building.sequenced(graph)
    result = await execute(SCHEMA, graph, query, caller=caller)
    assert not result.errors, result.errors
    return result.data


@pytest.fixture
async def joined(graph: Graph) -> Node:
    """A version of Ann's that was described, and then derived from hidden ones, one after the other."""
    await building.workspace(graph, "secret")
    (ann,) = await building.create(graph, NewNode("Principal", ANN.name, "", props={"type": "USER"}))
    _, (version,) = await building.model(graph, "quartz", versions=1)
    _, hidden = await building.model(graph, "basalt", versions=5, workspace="secret")
    await building.link(graph, NewEdge("WATCHES", ann.id, version.id))
    await building.update(graph, Update(version.id, {"description": "seen"}))
    for secret in hidden:
        await building.link(graph, NewEdge("DERIVED_FROM", version.id, secret.id))
    return version


async def test_a_page_of_changes_has_no_hole_where_one_is_hidden(graph: Graph, joined: Node) -> None:
    for query in (
        f'{{ it: node(id: "{joined.id}") {{ changes(first: 1) {{ {PAGE} }} }} }}',
        f"{{ it: activity(first: 1) {{ {PAGE} }} }}",
    ):
        found = (await ask(graph, query))["it"]
        page = found.get("changes", found)
        assert [change["action"] for change in page["nodes"]] == ["update"]
        assert page["pageInfo"]["hasNextPage"]


async def test_nobody_is_notified_of_what_they_may_not_see(graph: Graph, joined: Node) -> None:
    page = "nodes { change { action } } pageInfo { hasNextPage endCursor }"
    first = (await ask(graph, f"{{ it: notifications(first: 1) {{ {page} }} }}"))["it"]
    assert [n["change"]["action"] for n in first["nodes"]] == ["update"]
    after = first["pageInfo"]["endCursor"]
    rest = (await ask(graph, f'{{ it: notifications(first: 1, after: "{after}") {{ {page} }} }}'))["it"]
    assert rest == {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}


async def test_a_hidden_mention_addresses_nobody(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    (ann,) = await building.create(graph, NewNode("Principal", ANN.name, "", props={"type": "USER"}))
    model, _ = await building.model(graph, "quartz")
    hidden, _ = await building.model(graph, "basalt", workspace="secret")

    async def both(tx: Any) -> None:
        await tx.update([Update(model.id, {"description": "seen"})])
        (said,) = await tx.create([NewNode("Comment", "said", "secret", hidden.id, {"text": "@corp:ann"})])
        await tx.link([NewEdge("ABOUT", said.id, hidden.id), NewEdge("MENTIONS", said.id, ann.id)])

    await graph.write(both, by="corp:bob", action="both")
    assert (await ask(graph, "{ notifications { nodes { id } } }"))["notifications"]["nodes"] == []


async def test_the_audit_does_not_name_what_another_auditor_asked_about(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    model, _ = await building.model(graph, "quartz")
    hidden, _ = await building.model(graph, "basalt", workspace="secret")
    async with Recorder(graph) as recorder:
        for id in (model.id, hidden.id):
            told = {"workspace": "default", "subject": id}
            await recorder.read(Caller("corp:bob"), action="readAudit", data=told, workspaces=("default",))
    entries = (await ask(graph, "{ audit(noted: true) { nodes { data } } }"))["audit"]["nodes"]
    said = [entry["data"]["noted"]["data"] for entry in entries]
    assert said == [{"workspace": "default"}, {"workspace": "default", "subject": model.id}]


async def test_what_lineal_keeps_to_itself_is_told_in_no_feed(graph: Graph) -> None:
    _, (version,) = await building.dataset(graph, "msmarco", "v1")
    await building.update(graph, Update(version.id, {"producers": {"a hidden run": [1]}}))
    await building.update(graph, Update(version.id, {"producers": {"another": [2]}, "rowCount": 7}))
    query = (
        f'{{ activity {{ {PAGE} }} node(id: "{version.id}") {{ changes {{ {PAGE} }} }} audit {{ nodes {{ data }} }} }}'
    )
    told = await ask(graph, query)
    assert "producers" not in str(told)
    assert "rowCount" in str(told["activity"])
    assert "rowCount" in str(told["audit"])
    assert [change["action"] for change in told["node"]["changes"]["nodes"]] == ["update", "whole"]


async def test_what_needs_another_scope_than_its_kind_needs_it_in_every_feed(graph: Graph) -> None:
    (place,) = await building.create(graph, NewNode("Deployment", "live", "default"))
    before, after = ({"verdict": {"figures": {"auc": auc}}, "reason": f"it has {auc}"} for auc in (0.25, 0.75))
    for new in (
        NewNode("StageMove", "up", "default", props=before),
        NewNode("DeploymentRevision", "1", "default", place.id, {"number": 1, **before}),
    ):
        (judged,) = await building.create(graph, new)
        await building.update(graph, Update(judged.id, after))
        changes = f'node(id: "{judged.id}") {{ changes {{ {PAGE} }} }}'
        query = f"{{ activity(first: 2) {{ {PAGE} }} {changes} audit(first: 2) {{ nodes {{ data }} }} }}"
        for scopes, figures in ((ANN.scopes, True), (ANN.scopes - {"metrics:read"}, False)):
            told = await ask(graph, query, replace(ANN, scopes=scopes))
            for feed in (told["activity"], told["node"]["changes"], told["audit"]):
                assert ("verdict" in str(feed)) is figures
                assert "it has 0.75" in str(feed)


async def test_paths_and_digests_are_told_to_those_who_may_read_files_and_the_thing_beside_them(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    _, (own,) = await building.model(graph, "quartz", versions=1)
    _, (hidden,) = await building.model(graph, "basalt", versions=1, workspace="secret")
    file = {"face": "mlflow", "path": "plans/w.bin", "sha256": "ab" * 32}
    await graph.note([Note("corp:bob", "storeFile", {**file, "size": 1}, ("default",))])
    async with Recorder(graph) as recorder:
        for version in (own, hidden):
            told = {**file, "subject": version.id}
            await recorder.read(Caller("corp:bob"), action="download", data=told, workspaces=("default",))
    for scopes, stored, downloaded in (
        (ANN.scopes, {**file, "size": 1}, {**file, "subject": own.id}),
        (ANN.scopes - {"artifact:read"}, {"face": "mlflow"}, {"face": "mlflow", "subject": own.id}),
        (ANN.scopes - {"model:read"}, {**file, "size": 1}, {"face": "mlflow"}),
    ):
        answer = await ask(graph, "{ audit(noted: true) { nodes { data } } }", replace(ANN, scopes=scopes))
        of_hidden, of_own, of_path = (entry["data"]["noted"] for entry in answer["audit"]["nodes"])
        assert of_path == {**stored, "count": 1}
        assert of_own["data"] == downloaded
        assert of_hidden["data"] == {"face": "mlflow"}


async def test_what_a_note_says_that_nobody_thought_of_here_is_not_told(graph: Graph) -> None:
    async with Recorder(graph) as recorder:
        told = {"face": "scim", "novel": "basalt"}
        await recorder.read(Caller("corp:bob"), action="adminRead", data=told, workspaces=("default",))
    (entry,) = (await ask(graph, "{ audit(noted: true) { nodes { data } } }"))["audit"]["nodes"]
    assert entry["data"]["noted"] == {"action": "adminRead", "data": {"face": "scim"}, "count": 1}


async def test_activity_about_something_does_not_tell_what_it_was_joined_to_in_secret(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    other, _ = await building.model(graph, "quartz")
    _, (own,) = await building.model(graph, "granite", versions=1)
    _, (hidden,) = await building.model(graph, "basalt", versions=1, workspace="secret")

    async def both(tx: Any) -> None:
        await tx.update([Update(other.id, {"description": "seen"})])
        await tx.link([NewEdge("DERIVED_FROM", own.id, hidden.id)])

    await graph.write(both, by="corp:bob", action="both")
    query = '{{ activity(about: ["{}"]) {{ nodes {{ action }} }} }}'
    for id, actions in ((other.id, ["both", "whole"]), (own.id, ["whole"]), (own.container, ["whole"])):
        found = (await ask(graph, query.format(id)))["activity"]["nodes"]
        assert [change["action"] for change in found] == actions
