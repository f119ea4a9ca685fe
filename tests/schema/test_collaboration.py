"""Teams at work: roles, sharing, comments, watching, and who hears of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from strawberry.types import ExecutionResult

from auth.caller import ADMIN, ANONYMOUS, LOCAL, Caller
from auth.directory import Directory
from auth.recorder import Recorder
from auth.scopes import SCOPES
from graph.port import Graph
from resolvers.operation import Operation
from schema.context import Context
from schema.executing import run
from schema.sdl import build_schema

ALL = frozenset(SCOPES) - {ADMIN}
ANN = Caller("corp:ann", ALL)
BOB = Caller("corp:bob", ALL)
ROOT = Caller("corp:root", frozenset({ADMIN}))


class Team:
    """Asks and does things as different people."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    async def answer(self, caller: Caller, query: str, **variables: Any) -> ExecutionResult:
        """The whole answer."""
        async with Recorder(self.graph) as recorder:
            context = Context(Operation(self.graph, caller=caller, recorder=recorder))
            result = await run(build_schema(), context, query, variables)
        while await self.graph.sequence():
            pass
        return result

    async def __call__(self, caller: Caller, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        result = await self.answer(caller, query, **variables)
        assert not result.errors, result.errors
        assert result.data is not None
        return result.data

    async def refused(self, caller: Caller, query: str, **variables: Any) -> str:
        """The code of the one error that the answer has."""
        result = await self.answer(caller, query, **variables)
        assert result.errors is not None
        (error,) = result.errors
        return str((error.extensions or {})["code"])


@pytest.fixture
async def team(graph: Graph) -> Team:
    """Ann owns the private workspace "vision" with a model; Bob has no role anywhere."""
    for caller in (ANN, BOB, ROOT):
        await Directory(graph).admit(caller)
    team = Team(graph)
    await team(ANN, 'mutation { createWorkspace(input: {name: "vision"}) { workspace { name } } }')
    await team(ANN, 'mutation { registerModel(input: {name: "resnet", workspace: "vision"}) { model { id } } }')
    return team


GRANT = """
mutation($role: WorkspaceRole!) {
  grantRole(input: {workspace: "vision", to: "principals:/corp%3Abob", role: $role}) { workspace { name } }
}"""
REVOKE = 'mutation { revokeRole(input: {workspace: "vision", from: "principals:/corp%3Abob"}) { workspace { id } } }'
MODEL = '{ model(address: "models:/vision:resnet") { name } }'
SAY = """
mutation($text: String!) {
  addComment(input: {about: "models:/vision:resnet", text: $text}) { comment { id text mentions { nodes { name } } } }
}"""
HEARD = "{ notifications { nodes { id read change { action by } } } }"


async def test_who_creates_a_workspace_owns_it_and_nobody_else_sees_it(team: Team) -> None:
    assert (await team(ANN, "{ viewer { roles { workspace role } } }"))["viewer"]["roles"] == [
        {"workspace": "vision", "role": "OWNER"}
    ]
    assert await team(ANN, MODEL) == {"model": {"name": "resnet"}}
    assert await team(BOB, MODEL) == {"model": None}
    assert (await team(BOB, "{ workspaces { nodes { name } totalCount } }"))["workspaces"] == {
        "nodes": [],
        "totalCount": 0,
    }


async def test_a_role_lets_read_and_another_one_write(team: Team) -> None:
    rename = 'mutation { renameModel(input: {model: "models:/vision:resnet", name: "r"}) { model { name } } }'
    assert await team.refused(BOB, rename) == "NOT_FOUND"
    await team(ANN, GRANT, role="VIEWER")
    assert await team(BOB, MODEL) == {"model": {"name": "resnet"}}
    assert await team.refused(BOB, rename) == "FORBIDDEN"
    assert await team.refused(BOB, GRANT, role="OWNER") == "FORBIDDEN"
    await team(ANN, GRANT, role="CONTRIBUTOR")
    assert (await team(BOB, rename))["renameModel"] == {"model": {"name": "r"}}


async def test_what_was_done_under_a_key_is_answered_again_while_the_role_is_there(team: Team) -> None:
    make = """mutation {
      registerModel(input: {name: "bert", workspace: "vision", idempotencyKey: "k"}) { model { id } }
    }"""
    await team(ANN, GRANT, role="CONTRIBUTOR")
    made = await team(BOB, make)
    assert await team(BOB, make) == made
    await team(ANN, REVOKE)
    assert await team(BOB, make) == {"registerModel": {"model": None}}
    await team(ANN, GRANT, role="VIEWER")
    assert await team.refused(BOB, make) == "FORBIDDEN"
    await team(ANN, GRANT, role="APPROVER")
    assert await team(BOB, make) == made


async def test_a_role_taken_away_opens_nothing_from_the_next_request_on(team: Team) -> None:
    await team(ANN, GRANT, role="CONTRIBUTOR")
    assert await team(BOB, MODEL) == {"model": {"name": "resnet"}}
    await team(ANN, REVOKE)
    assert await team(BOB, MODEL) == {"model": None}


async def test_the_last_owner_stays(team: Team) -> None:
    revoke = (
        'mutation { revokeRole(input: {workspace: "vision", from: "principals:/corp%3Aann"}) { workspace { id } } }'
    )
    assert await team.refused(ANN, revoke) == "PRECONDITION_FAILED"
    await team(ANN, GRANT, role="OWNER")
    await team(ANN, revoke)
    assert await team(ANN, MODEL) == {"model": None}


async def test_the_last_owner_is_not_deactivated_by_hand(team: Team) -> None:
    out = 'mutation { deactivatePrincipal(input: {principal: "principals:/corp%3Aann"}) { principal { active } } }'
    result = await team.answer(ROOT, out)
    assert [error.message for error in result.errors or ()] == [
        "principal: is the last owner of 'vision'; make somebody else an owner first"
    ]
    await team(ANN, GRANT, role="OWNER")
    assert (await team(ROOT, out))["deactivatePrincipal"] == {"principal": {"active": False}}


async def test_a_team_that_is_the_last_owner_is_not_deleted_by_hand(team: Team) -> None:
    await team(ROOT, 'mutation { createTeam(input: {name: "crew"}) { team { id } } }')
    grant = 'mutation { grantRole(input: {workspace: "vision", to: "teams:/crew", role: OWNER}) { workspace { id } } }'
    await team(ANN, grant)
    out = 'mutation { deactivatePrincipal(input: {principal: "principals:/corp%3Aann"}) { principal { active } } }'
    await team(ROOT, out)  # the team is an owner too
    delete = 'mutation { deleteTeam(input: {team: "teams:/crew"}) { deletedId } }'
    assert await team.refused(ROOT, delete) == "PRECONDITION_FAILED"
    await team(ROOT, GRANT, role="OWNER")
    assert (await team(ROOT, delete))["deleteTeam"]["deletedId"]


async def test_of_the_last_two_owners_who_are_deactivated_at_once_one_stays(team: Team) -> None:
    await team(ANN, GRANT, role="OWNER")
    out = 'mutation { deactivatePrincipal(input: {principal: "principals:/corp%%3A%s"}) { principal { active } } }'
    results = await asyncio.gather(*(team.answer(ROOT, out % name) for name in ("ann", "bob")))
    assert sorted(bool(result.errors) for result in results) == [False, True]


async def test_a_last_owner_of_what_one_may_not_see_is_not_named(team: Team) -> None:
    keeper = Caller("corp:keeper", frozenset({"workspace:read", "directory:write"}), workspaces=frozenset())
    out = 'mutation { deactivatePrincipal(input: {principal: "principals:/corp%3Aann"}) { principal { active } } }'
    result = await team.answer(keeper, out)
    assert [error.message for error in result.errors or ()] == [
        "principal: is the last owner of workspaces that you may not see; make somebody else an owner first"
    ]


async def test_a_deactivated_principal_is_refused_whole(team: Team) -> None:
    await team(ANN, GRANT, role="OWNER")
    out = 'mutation { deactivatePrincipal(input: {principal: "principals:/corp%3Abob"}) { principal { active } } }'
    assert (await team(ROOT, out))["deactivatePrincipal"] == {"principal": {"active": False}}
    assert await team.refused(BOB, MODEL) == "UNAUTHENTICATED"


NOBODY = Caller(ANONYMOUS, frozenset({"model:read", "workspace:read", "lineage:read"}))
SHOW = 'mutation ($v: String!) { updateWorkspace(input: {workspace: "vision", visibility: $v}) { workspace { id } } }'


@pytest.mark.parametrize("visibility", ["PRIVATE", "INTERNAL", "PUBLIC"])
async def test_who_has_no_token_sees_public_workspaces_and_no_people_or_teams(team: Team, visibility: str) -> None:
    await team(ROOT, 'mutation { createTeam(input: {name: "bob-and-co"}) { team { id } } }')
    await team(ANN, SHOW, v=visibility)
    bob = (await team(ANN, '{ principal(address: "principals:/corp%3Abob") { id } }'))["principal"]["id"]
    everything = """query ($id: ID!) {
      principals { totalCount nodes { name userName externalId displayName } }
      teams { totalCount nodes { name } }
      principal(address: "principals:/corp%3Abob") { id }
      node(id: $id) { id }
      nodes(ids: [$id]) { id }
      search(text: "bob") { nodes { id } }
    }"""
    answer = await team.answer(NOBODY, everything, id=bob)
    assert answer.data is not None
    assert answer.data["principals"] == {"totalCount": 0, "nodes": []}
    assert answer.data["teams"] == {"totalCount": 0, "nodes": []}
    assert (answer.data["principal"], answer.data["node"], answer.data["nodes"]) == (None, None, [None])
    assert answer.data["search"]["nodes"] == []
    assert "bob" not in str(answer)
    lineage = "query ($id: ID!) { lineage(of: [$id], direction: UPSTREAM) { nodes { distance } } }"
    assert await team.refused(NOBODY, lineage, id=bob) == await team.refused(NOBODY, lineage, id=bob[:-1] + "0")
    shown = await team(
        NOBODY,
        "{ workspaces { nodes { name members { totalCount } } } models { nodes { name owners { totalCount } } } }",
    )
    public = visibility == "PUBLIC"
    assert shown["workspaces"]["nodes"] == ([{"name": "vision", "members": {"totalCount": 0}}] if public else [])
    assert shown["models"]["nodes"] == ([{"name": "resnet", "owners": {"totalCount": 0}}] if public else [])


async def test_a_token_for_workspaces_opens_no_other_whatever_its_holder_may(team: Team) -> None:
    await team(ANN, 'mutation { createWorkspace(input: {name: "secret"}) { workspace { id } } }')
    await team(ANN, 'mutation { registerModel(input: {name: "m", workspace: "secret"}) { model { id } } }')
    await team(BOB, 'mutation { createWorkspace(input: {name: "open", visibility: "INTERNAL"}) { workspace { id } } }')
    narrow = replace(ANN, scopes=ALL - {"directory:write"}, workspaces=frozenset({"vision"}), bounded=True)
    seen = await team(
        narrow, "{ models { nodes { name } } workspaces { nodes { name } } viewer { roles { workspace role } } }"
    )
    assert seen["models"]["nodes"] == [{"name": "resnet"}]
    assert seen["workspaces"]["nodes"] == [{"name": "vision"}]
    assert seen["viewer"]["roles"] == [{"workspace": "vision", "role": "OWNER"}]
    delete = 'mutation { deleteModel(input: {model: "models:/%s"}) { deletedId } }'
    assert await team.refused(narrow, delete % "secret:m") == "NOT_FOUND"
    make = 'mutation { createWorkspace(input: {name: "mine"}) { workspace { id } } }'
    assert await team.refused(narrow, make) == "FORBIDDEN"
    read = await team(narrow, '{ audit(workspace: "secret", first: 1) { nodes { number } } }')
    assert read == {"audit": {"nodes": []}}
    await team(narrow, 'mutation { watch(input: {node: "models:/vision:resnet"}) { node { id } } }')
    await team(narrow, 'mutation { addComment(input: {about: "models:/vision:resnet", text: "x"}) { comment { id } } }')
    await team(narrow, delete % "vision:resnet")


async def test_whoever_writes_the_directory_makes_teams_without_a_role_anywhere(team: Team) -> None:
    keeper = Caller("corp:keeper", frozenset({"workspace:read", "directory:write"}))
    made = await team(keeper, 'mutation { createTeam(input: {name: "crew"}) { team { name } } }')
    assert made == {"createTeam": {"team": {"name": "crew"}}}


async def test_one_model_is_shared_and_nothing_else_with_it(team: Team) -> None:
    await team(BOB, 'mutation { createWorkspace(input: {name: "audio"}) { workspace { id } } }')
    await team(ANN, 'mutation { registerModel(input: {name: "secret", workspace: "vision"}) { model { id } } }')
    share = 'mutation { shareWith(input: {node: "models:/vision:resnet", workspace: "audio"}) { node { id } } }'
    assert await team.refused(ANN, share) == "NOT_FOUND"
    await team(
        BOB, 'mutation { updateWorkspace(input: {workspace: "audio", visibility: "INTERNAL"}) { workspace { id } } }'
    )
    await team(ANN, share)
    assert (await team(BOB, "{ models { nodes { name } } }"))["models"] == {"nodes": [{"name": "resnet"}]}
    await team(ANN, 'mutation { unshare(input: {node: "models:/vision:resnet"}) { node { id } } }')
    assert (await team(BOB, "{ models { nodes { name } } }"))["models"] == {"nodes": []}


async def test_a_comment_mentions_and_the_mentioned_are_notified_while_they_may_read_it(team: Team) -> None:
    await team(ANN, GRANT, role="VIEWER")
    said = (await team(ANN, SAY, text="Look, @corp:bob!"))["addComment"]["comment"]
    assert said["mentions"] == {"nodes": [{"name": "corp:bob"}]}
    ((mention, *_),) = [(await team(BOB, HEARD))["notifications"]["nodes"]]
    assert (mention["read"], mention["change"]) == (False, {"action": "addComment", "by": "corp:ann"})
    read = "mutation($ids: [ID!]!) { markNotificationsRead(input: {ids: $ids}) { principal { id } } }"
    await team(BOB, read, ids=[mention["id"]])
    unread = (await team(BOB, "{ notifications(unread: true) { nodes { id } } }"))["notifications"]["nodes"]
    assert {"id": mention["id"]} not in unread
    await team(
        ANN,
        'mutation { revokeRole(input: {workspace: "vision", from: "principals:/corp%3Abob"}) { workspace { id } } }',
    )
    assert (await team(BOB, HEARD))["notifications"]["nodes"] == []


async def test_only_its_author_changes_a_comment(team: Team) -> None:
    await team(ANN, GRANT, role="VIEWER")
    comment = (await team(ANN, SAY, text="Good."))["addComment"]["comment"]["id"]
    change = 'mutation($id: ID!) { updateComment(input: {comment: $id, text: "Bad."}) { comment { text } } }'
    assert await team.refused(BOB, change, id=comment) == "FORBIDDEN"
    assert (await team(ANN, change, id=comment))["updateComment"] == {"comment": {"text": "Bad."}}


async def test_watching_a_model_tells_of_its_versions_and_not_of_what_one_does_oneself(team: Team) -> None:
    await team(ANN, GRANT, role="CONTRIBUTOR")
    await team(ANN, 'mutation { watch(input: {node: "models:/vision:resnet"}) { node { id } } }')
    version = 'mutation { createModelVersion(input: {model: "models:/vision:resnet"}) { version { number } } }'
    await team(ANN, version)
    assert (await team(ANN, HEARD))["notifications"]["nodes"] == []
    await team(BOB, version)
    (heard,) = (await team(ANN, HEARD))["notifications"]["nodes"]
    assert heard["change"] == {"action": "createModelVersion", "by": "corp:bob"}


async def test_activity_shows_what_one_may_read_and_names_nothing_else(team: Team) -> None:
    actions = "{ activity { nodes { action data } } }"
    seen = (await team(ANN, actions))["activity"]["nodes"]
    assert "registerModel" in {node["action"] for node in seen}
    hidden = str((await team(BOB, actions))["activity"]["nodes"])
    assert "resnet" not in hidden
    assert "vision" not in hidden


async def test_the_audit_is_for_owners_and_has_refusals_in_it(team: Team) -> None:
    entries = '{ audit(workspace: "vision") { nodes { number action by } } }'
    shown = (await team(ANN, entries))["audit"]["nodes"]
    assert [node["number"] for node in shown] == [str(n) for n in range(len(shown), 0, -1)]
    assert {"number": "1", "action": "createWorkspace", "by": "corp:ann"} in shown
    await team(ANN, GRANT, role="APPROVER")
    assert (await team(BOB, entries))["audit"]["nodes"] == []
    assert (await team(BOB, '{ audit(workspace: "nowhere") { nodes { number } } }'))["audit"]["nodes"] == []
    # Without the scope even an owner is refused, and that is an entry of the chain that admins read.
    result = await team.answer(Caller(ANN.name, ALL - {"audit:read"}), entries)
    assert result.data == {"audit": None}
    refusals = '{ audit(by: "corp:ann", noted: true) { nodes { workspace action data } } }'
    noted = (await team(ROOT, refusals))["audit"]["nodes"]
    assert any(node["action"] == "refused" for node in noted), noted


async def test_whoever_runs_lineal_itself_has_no_principal_to_notify(team: Team) -> None:
    assert await team.refused(LOCAL, HEARD) == "PRECONDITION_FAILED"


async def test_what_somebody_has_read_is_in_no_change_that_others_read(team: Team) -> None:
    await team(ANN, 'mutation { markNotificationsRead(input: {upTo: "nt_1"}) { principal { id } } }')
    query = '{ principal(address: "principals:/corp%3Aann") { changes { nodes { action data } } } }'
    for caller in (BOB, ANN):
        told = str(await team(caller, query))
        assert "principalAppeared" in told
        assert "inbox" not in told
    assert "inbox" in str(await team(ROOT, query))


async def test_what_a_deployment_serves_is_replaced_also_where_one_does_not_see_it(team: Team) -> None:
    await team(ROOT, 'mutation { createModelVersion(input: {model: "models:/vision:resnet"}) { version { id } } }')
    await team(ROOT, 'mutation { createWorkspace(input: {name: "ops"}) { workspace { id } } }')
    await team(ROOT, GRANT.replace('"vision"', '"ops"'), role="OWNER")
    serves = '{name: "d", workspace: "ops", serves: [{version: "models:/vision:resnet/1"}]}'
    await team(ROOT, f"mutation {{ recordDeployment(input: {serves}) {{ deployment {{ id }} }} }}")
    served = '{ deployment(address: "deployments:/ops:d") { serves { nodes { id } totalCount } } }'
    assert (await team(BOB, served))["deployment"]["serves"] == {"nodes": [], "totalCount": 0}
    clear = 'mutation { updateDeployment(input: {deployment: "deployments:/ops:d", serves: []}) { deployment { id } } }'
    assert "resnet" not in str(await team(BOB, clear))
    assert (await team(ROOT, served))["deployment"]["serves"] == {"nodes": [], "totalCount": 0}


NOTED = '{ audit(workspace: "vision", noted: true) { nodes { action by data } } }'


async def said(team: Team, caller: Caller, action: str) -> list[dict[str, Any]]:
    """What was noted of this action in the chain of "vision", the latest first, as the caller is shown it."""
    while await team.graph.sequence():
        pass
    nodes = (await team(caller, NOTED))["audit"]["nodes"]
    return [node["data"]["noted"] for node in nodes if node["action"] == action]


async def test_refusals_are_in_the_chain_of_the_workspace_and_say_on_what(team: Team) -> None:
    await team(ANN, GRANT, role="VIEWER")
    rename = 'mutation($m: ID!) { renameModel(input: {model: $m, name: "x"}) { model { id } } }'
    other = 'mutation { registerModel(input: {workspace: "vision", name: "other"}) { model { id } } }'
    id = (await team(ANN, other))["registerModel"]["model"]["id"]
    for model in ("models:/vision:resnet", id):
        assert await team.refused(BOB, rename, m=model) == "FORBIDDEN"
    assert await team.refused(BOB, other) == "FORBIDDEN"
    told = await said(team, ANN, "refused")
    assert [(note["action"], note["on"]) for note in told] == [
        ("mutation registerModel", {"vision": []}),
        ("mutation renameModel", {"vision": [id]}),
        ("mutation renameModel", {"vision": ["models:/vision:resnet"]}),
    ]
    assert "CONTRIBUTOR" in told[0]["message"]


async def test_a_refusal_that_names_what_its_reader_may_not_see_does_not_tell_it(team: Team) -> None:
    await team(BOB, 'mutation { createWorkspace(input: {name: "secret"}) { workspace { id } } }')
    await team(BOB, 'mutation { registerModel(input: {name: "basalt", workspace: "secret"}) { model { id } } }')
    blind = Caller("corp:eve", frozenset({"model:write"}))
    remove = """mutation { a: deleteModel(input: {model: "models:/vision:resnet"}) { __typename }
                           b: deleteModel(input: {model: "models:/secret:basalt"}) { __typename } }"""
    result = await team.answer(blind, remove)
    assert result.errors
    (note,) = await said(team, ANN, "refused")
    assert note["on"] == {"vision": ["models:/vision:resnet"]}
    assert "message" not in note
    auditor = Caller(ANN.name, frozenset({"audit:read"}))
    (note,) = await said(team, auditor, "refused")
    assert note["on"] == {"vision": []}
    (note,) = await said(team, ROOT, "refused")
    assert note["on"] == {"vision": ["models:/vision:resnet"], "secret": ["models:/secret:basalt"]}
    assert note["message"]


async def test_what_an_admin_read_says_on_what(team: Team) -> None:
    await team(ROOT, "query Look($a: ID!) { model(address: $a) { name } }", a="models:/vision:resnet")
    (own,) = await said(team, ANN, "read")
    assert own["data"] == {"fields": ["model"], "on": {"vision": ["models:/vision:resnet"]}}
    (whole,) = [note for note in await said(team, ROOT, "read") if note["data"].get("operation") == "Look"]
    assert whole["data"]["arguments"] == '[["model",{"address":"models:/vision:resnet"}]]'


async def test_what_an_admin_reads_in_the_answer_of_a_write_is_noted_too(team: Team) -> None:
    await team(ROOT, 'mutation { setTags(input: {node: "models:/vision:resnet", tags: []}) { node { name } } }')
    (note,) = await said(team, ANN, "read")
    assert note["data"] == {"fields": ["setTags"], "on": {"vision": ["models:/vision:resnet"]}}


async def test_an_admin_read_of_much_is_noted_in_little(team: Team) -> None:
    await team(ROOT, "query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[f"models:/m{n}" for n in range(99)])
    (note,) = [
        note["data"]["noted"]
        for note in (await team(ROOT, '{ audit(action: "read") { nodes { data } } }'))["audit"]["nodes"]
        if note["data"]["noted"]["data"].get("fields") == ["nodes"]
    ]
    assert len(note["data"]["arguments"]) == 1_000


async def test_downloads_are_told_only_to_who_may_read_artifacts(team: Team) -> None:
    async with Recorder(team.graph) as recorder:
        told = {"artifact": "ar_00000000000000000000000000", "files": ["codename/w.bin"], "count": 1}
        await recorder.read(BOB, action="download", data=told, workspaces=["vision"])
    (note,) = await said(team, Caller(ANN.name, frozenset({"audit:read"})), "read")
    assert note == {"action": "download", "data": {}, "count": 1}


async def test_how_many_points_were_logged_is_told_only_to_who_may_read_metrics(team: Team) -> None:
    run = 'mutation { recordRun(input: {workspace: "vision", name: "r"}) { run { id } } }'
    id = (await team(ANN, run))["recordRun"]["run"]["id"]
    log = 'mutation($r: ID!) { logMetrics(input: {run: $r, metrics: [{name: "auc", value: 0.5}]}) { run { id } } }'
    await team(ANN, log, r=id)
    for query in ("{ activity(first: 1) { nodes { action data } } }", NOTED.replace("true", "false")):
        shown = await team(ANN, query)
        assert any("logged" in node["data"] for found in shown.values() for node in found["nodes"]), shown
        hidden = await team(Caller(ANN.name, ALL - {"metrics:read"}), query)
        assert not any("logged" in node["data"] for found in hidden.values() for node in found["nodes"])
