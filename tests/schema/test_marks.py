"""Marks, validations and retirement, as GraphQL shows them."""

from __future__ import annotations

from typing import Any

from auth.caller import ADMIN, Caller
from auth.scopes import SCOPES
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Graph, NewEdge, NewNode
from tests import building as b
from tests.schema.conftest import Asked, Story

ALL = frozenset(SCOPES) - {ADMIN}
ANN = Caller("corp:ann", ALL, workspaces=frozenset({"default"}))
"""She owns `default`, where the story is, and sees nothing of `secret`."""

AFFECTED = """affected {
  complete modelCount versionCount deploymentCount restrictedCount
  models(first: 1) { nodes { name } pageInfo { hasNextPage endCursor } } deployments { nodes { name } }
  lineage { nodes { distance restricted node { address } } }
}"""
MARK = f"""mutation($dataset: ID!) {{ markDataset(input: {{dataset: $dataset, reason: "bad"}}) {{ mark {{
  id type reason marks {{ nodes {{ name }} }} moment {{ since until of {{ name }} }} {AFFECTED}
}} }} }}"""
UNMARK = """mutation($mark: ID!) {
  unmark(input: {mark: $mark, reason: "good"}) { mark { liftedReason marks { nodes { id } } } }
}"""


async def test_a_mark_lists_what_is_affected(ask: Asked, story: Story) -> None:
    mark = (await ask(MARK, dataset="datasets:/nq"))["markDataset"]["mark"]
    assert (mark["type"], mark["reason"], mark["marks"]["nodes"]) == ("CONTAMINATED", "bad", [{"name": "nq"}])
    affected = mark["affected"]
    lineage = affected.pop("lineage")["nodes"]
    assert affected == {
        "complete": True,
        "modelCount": 1,
        "versionCount": 3,
        "deploymentCount": 1,
        "restrictedCount": 0,
        "models": {
            "nodes": [{"name": "bert"}],
            "pageInfo": {"hasNextPage": False, "endCursor": affected["models"]["pageInfo"]["endCursor"]},
        },
        "deployments": {"nodes": [{"name": "search"}]},
    }
    assert {each["node"]["address"] for each in lineage} == {
        "models:/bert/1",
        "models:/bert/2",
        "models:/bert/3",
        "deployments:/search",
    }


async def test_what_is_hidden_is_counted_among_what_is_affected(sqlite_graph: Graph, ask: Asked, story: Story) -> None:
    await b.workspace(sqlite_graph, "secret")
    _, (hidden,) = await b.model(sqlite_graph, "basalt", versions=1, workspace="secret")
    (served,) = await b.create(sqlite_graph, NewNode("Deployment", "vault", "secret"))
    await b.link(
        sqlite_graph,
        NewEdge("DERIVED_FROM", hidden.id, story.versions[0].id, "finetune"),
        NewEdge("SERVES", served.id, hidden.id),
    )
    ann = Asked(sqlite_graph, caller=ANN)
    affected = (await ann(MARK, dataset="datasets:/nq"))["markDataset"]["mark"]["affected"]
    assert (affected["versionCount"], affected["deploymentCount"], affected["restrictedCount"]) == (4, 2, 2)
    assert affected["deployments"]["nodes"] == [{"name": "search"}]
    assert sum(each["restricted"] for each in affected["lineage"]["nodes"]) == 2
    assert not any(name in str(affected) for name in ("basalt", "vault", hidden.id, served.id))


async def test_models_that_are_affected_come_in_pages(sqlite_graph: Graph, ask: Asked, story: Story) -> None:
    for name in ("roberta", "deberta"):
        _, (version,) = await b.model(sqlite_graph, name, versions=1)
        await b.link(sqlite_graph, NewEdge("TRAINED_ON", version.id, story.data[0].id))
    id = (await ask(MARK, dataset="datasets:/nq/v1"))["markDataset"]["mark"]["id"]
    text = """query($id: ID!, $after: String) { mark(address: $id) { affected {
      models(first: 2, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } } } }"""
    first = (await ask(text, id=id))["mark"]["affected"]["models"]
    last = (await ask(text, id=id, after=first["pageInfo"]["endCursor"]))["mark"]["affected"]["models"]
    assert [node["name"] for node in (*first["nodes"], *last["nodes"])] == ["bert", "roberta", "deberta"]
    assert (first["pageInfo"]["hasNextPage"], last["pageInfo"]["hasNextPage"]) == (True, False)


async def test_marks_are_known_for_every_time(ask: Asked, story: Story) -> None:
    mark = (await ask(MARK, dataset="datasets:/nq"))["markDataset"]["mark"]
    since = mark["moment"]["since"]
    assert mark["moment"] == {"since": since, "until": None, "of": {"name": "nq"}}
    lifted = (await ask(UNMARK, mark=mark["id"]))["unmark"]["mark"]
    assert lifted == {"liftedReason": "good", "marks": {"nodes": []}}
    history = """query($at: DateTime) {
      marked(asOf: $at) { nodes { mark { id } of { name } } }
      dataset(address: "datasets:/nq") { marks { nodes { id } } markHistory(asOf: $at) { nodes { mark { id } until } } }
    }"""
    now, then = await ask(history), await ask(history, at=since)
    assert (now["marked"]["nodes"], now["dataset"]["marks"]["nodes"]) == ([], [])
    assert [moment["mark"]["id"] for moment in now["dataset"]["markHistory"]["nodes"]] == [mark["id"]]
    assert then["marked"]["nodes"] == [{"mark": {"id": mark["id"]}, "of": {"name": "nq"}}]
    assert len(then["dataset"]["markHistory"]["nodes"]) == 1
    before = await ask(history, at="2000-01-01T00:00:00Z")
    assert (before["marked"]["nodes"], before["dataset"]["markHistory"]["nodes"]) == ([], [])


async def test_a_notice_leads_to_its_cause_only_for_those_who_may_see_that(sqlite_graph: Graph, story: Story) -> None:
    ann, secret = await b.create(
        sqlite_graph,
        NewNode("Principal", "corp:ann", "", props={"type": "USER"}),
        NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}),
    )
    _, (hidden,) = await b.dataset(sqlite_graph, "patients", "v1", workspace="secret")
    await b.link(
        sqlite_graph,
        NewEdge("TRAINED_ON", story.versions[1].id, hidden.id),
        NewEdge("OWNED_BY", story.deployment.id, ann.id),
        NewEdge("OWNED_BY", story.model.id, ann.id),
    )
    asked = Asked(sqlite_graph)
    mark = (await asked(MARK, dataset="datasets:/secret:patients"))["markDataset"]["mark"]["id"]
    await b.sequenced(sqlite_graph)
    text = """{ model(address: "models:/bert") { notices { nodes {
      type text concerns { name } becauseOf { id } notifies { nodes { name } }
    } } } notifications { nodes { change { action } } } }"""
    found = await Asked(sqlite_graph, caller=ANN)(text)
    assert [each["change"]["action"] for each in found["notifications"]["nodes"]] == ["markDataset"]
    (notice,) = found["model"]["notices"]["nodes"]
    assert notice["becauseOf"] is None
    assert notice["text"] == "A data set was marked CONTAMINATED. Versions of this model that came of it: 2."
    assert notice["concerns"] == {"name": "bert"}
    assert {each["name"] for each in notice["notifies"]["nodes"]} == {"corp:ann", "search-team"}
    await b.link(sqlite_graph, NewEdge("GRANTS", secret.id, ann.id, "VIEWER"))
    (notice,) = (await Asked(sqlite_graph, caller=ANN)(text))["model"]["notices"]["nodes"]
    assert notice["becauseOf"] == {"id": mark}


async def test_versions_are_deprecated_and_retired(ask: Asked, story: Story) -> None:
    data = await ask("""mutation {
      deprecate(input: {
        node: "models:/bert/2", reason: "slow", since: "2020-01-01T00:00:00Z", successor: "models:/bert/3"
      }) { node { ... on ModelVersion { deprecatedAt deprecationReason supersededBy { nodes { number } } } } }
      retire(input: {version: "models:/bert/2", reason: "slow"}) { version { retiredAt stage } }
    }""")
    assert data["deprecate"]["node"] == {
        "deprecatedAt": "2020-01-01T00:00:00.000000Z",
        "deprecationReason": "slow",
        "supersededBy": {"nodes": [{"number": 3}]},
    }
    assert data["retire"]["version"]["stage"] == "Retired"
    assert data["retire"]["version"]["retiredAt"]
    refused = await ask.refused("""mutation {
      retire(input: {version: "models:/bert/3", reason: "slow"}) { version { id } }
    }""")
    assert refused["code"] == "PRECONDITION_FAILED"
    assert "served by deployments:/search" in refused["message"]


async def test_a_validation_goes_from_request_to_evaluation(ask: Asked, story: Story) -> None:
    steps: dict[str, Any] = {}
    for name, text in {
        "none": 'leaseValidation(input: {suites: ["s"], worker: "w"}) { validation { id } }',
        "asked": 'requestValidation(input: {version: "models:/bert/1", suite: "s", datasets: ["datasets:/nq/v1"], '
        "settings: {k: 3}}) { validation { id state settings } }",
        "taken": 'leaseValidation(input: {suites: ["s"], worker: "w"}) { validation { id state epoch '
        "validates { nodes { kind address } } } }",
    }.items():
        steps[name] = await ask(f"mutation {{ it: {text} }}")
    assert steps["none"] == {"it": {"validation": None}}
    asked, taken = steps["asked"]["it"]["validation"], steps["taken"]["it"]["validation"]
    assert (asked["state"], asked["settings"]) == ("QUEUED", {"k": 3})
    assert (taken["id"], taken["state"], taken["epoch"]) == (asked["id"], "RUNNING", "1")
    assert {each["address"] for each in taken["validates"]["nodes"]} == {"models:/bert/1", "datasets:/nq/v1"}
    report = """mutation($id: ID!, $epoch: BigInt!) { reportValidation(input: {
      validation: $id, epoch: $epoch, success: true, metrics: [{name: "auc", value: 0.9}],
      slices: [{name: "country=DE", metrics: [{name: "auc", value: 0.8}]}]
    }) { validation { state evaluation {
      slices { name metrics { name value } } evaluatedOn { nodes { name } }
    } } } }"""
    stale = await ask.refused(report, id=asked["id"], epoch="0")
    assert stale["code"] == "CONFLICT"
    done = (await ask(report, id=asked["id"], epoch="1"))["reportValidation"]["validation"]
    assert done == {
        "state": "SUCCEEDED",
        "evaluation": {
            "slices": [{"name": "country=DE", "metrics": [{"name": "auc", "value": 0.8}]}],
            "evaluatedOn": {"nodes": [{"name": "v1"}]},
        },
    }


async def test_a_worker_without_a_role_gets_nothing(sqlite_graph: Graph, ask: Asked, story: Story) -> None:
    await ask('mutation { requestValidation(input: {version: "models:/bert/1", suite: "s"}) { validation { id } } }')
    (worker,) = await b.create(sqlite_graph, NewNode("Principal", "corp:worker", ""))
    lease = 'mutation { leaseValidation(input: {suites: ["s"], worker: "w"}) { validation { state } } }'
    stranger = Asked(sqlite_graph, caller=Caller("corp:worker", ALL))
    assert (await stranger(lease))["leaseValidation"] == {"validation": None}
    await b.link(sqlite_graph, NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, worker.id, "CONTRIBUTOR"))
    assert (await stranger(lease))["leaseValidation"] == {"validation": {"state": "RUNNING"}}
