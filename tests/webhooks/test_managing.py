"""Webhooks through GraphQL: made, changed, tried, paused, given other secrets; and nothing shows a secret twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auth.caller import ADMIN, Caller
from auth.recorder import Recorder
from auth.scopes import SCOPES
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import EVERYTHING, EdgeMatch, NewEdge, NewNode
from graph.transfer import export_lines
from resolvers.operation import Operation
from resolvers.webhooks import managing
from schema.context import Context
from schema.executing import run
from schema.sdl import build_schema
from tests import building
from tests.webhooks.conftest import Post, awaited
from tests.webhooks.receiver import Answer, Got, Receiver

ALL = frozenset(SCOPES) - {ADMIN}
OWNER = Caller("corp:ann", ALL, workspaces=frozenset({"default"}))
ADMINISTRATOR = Caller("corp:root", frozenset({ADMIN}))
URL = "https://hooks.example.org/x"

CREATE = """mutation($input: CreateWebhookInput!) {
  createWebhook(input: $input) { secret webhook { id name url format kinds actions types withTags state scopes } }
}"""
UPDATE = (
    "mutation($input: UpdateWebhookInput!) { updateWebhook(input: $input) { webhook { id url kinds name revision } } }"
)
ROTATE = "mutation($input: RotateWebhookSecretInput!) { rotateWebhookSecret(input: $input) { secret webhook { id } } }"
TEST = """mutation($input: TestWebhookInput!) {
  testWebhook(input: $input) { success status body error seconds event webhook { id } }
}"""
DELIVERIES = """query($of: ID!, $state: DeliveryState, $first: Int!, $after: String) {
  webhook(address: $of) { deliveries(state: $state, first: $first, after: $after) {
    nodes { sequence state event type subject takenAt dueAt doneAt attempts tries { at status error seconds } }
    pageInfo { hasNextPage endCursor }
  } }
}"""


class Asking:
    """Asks as different people."""

    def __init__(self, post: Post) -> None:
        self.post = post

    async def answer(self, caller: Caller, query: str, **variables: Any) -> Any:
        async with Recorder(self.post.graph) as recorder:
            op = Operation(self.post.graph, caller=caller, recorder=recorder, webhooks=self.post.webhooks)
            return await run(build_schema(), Context(op), query, variables)

    async def __call__(self, query: str, caller: Caller = OWNER, **variables: Any) -> Any:
        result = await self.answer(caller, query, **variables)
        assert not result.errors, result.errors
        return result.data

    async def refused(self, query: str, caller: Caller = OWNER, **variables: Any) -> tuple[str, str | None]:
        """The code and the field of the one error that there is."""
        result = await self.answer(caller, query, **variables)
        assert result.errors is not None
        (error,) = result.errors
        return error.extensions["code"], error.extensions.get("field")


@pytest.fixture
def ask(sqlite_post: Post) -> Asking:
    """Asks on SQLite."""
    return Asking(sqlite_post)


async def test_a_webhook_is_made_with_a_secret_that_is_answered_with_once(ask: Asking) -> None:
    given = {"name": "ci", "url": URL, "kinds": ["MODEL"], "withTags": [{"name": "area"}, {"name": "a", "value": "b"}]}
    made = (await ask(CREATE, input=given))["createWebhook"]
    assert made["secret"].startswith("whsec_")
    webhook = made["webhook"]
    assert (webhook["name"], webhook["url"], webhook["format"], webhook["state"]) == (
        "ci",
        URL,
        "CLOUDEVENTS",
        "ACTIVE",
    )
    assert (webhook["kinds"], webhook["withTags"]) == (["Model"], {"area": None, "a": "b"})
    assert "model:read" in webhook["scopes"]
    assert "webhook:write" not in webhook["scopes"]
    again = await ask('{ webhook(address: "webhooks:/ci") { id } webhooks { nodes { id } } }')
    assert again == {"webhook": {"id": webhook["id"]}, "webhooks": {"nodes": [{"id": webhook["id"]}]}}


async def test_the_same_key_makes_one_webhook_and_gives_the_same_answer(ask: Asking) -> None:
    given = {"name": "ci", "url": URL, "idempotencyKey": "once"}
    assert await ask(CREATE, input=given) == await ask(CREATE, input=given)
    assert (await ask.refused(CREATE, input={**given, "name": "other"}))[0] == "CONFLICT"


async def test_the_same_key_tells_no_secret_that_was_made_later(ask: Asking) -> None:
    given = {"name": "ci", "url": URL, "idempotencyKey": "once"}
    made = (await ask(CREATE, input=given))["createWebhook"]
    await ask(ROTATE, input={"webhook": made["webhook"]["id"]})
    assert (await ask(CREATE, input=given))["createWebhook"] == {**made, "secret": None}


async def test_the_same_key_tells_nothing_to_who_is_no_owner_any_more(ask: Asking) -> None:
    given = {"name": "ci", "url": URL, "idempotencyKey": "once"}
    (bob,) = await building.create(ask.post.graph, NewNode("Principal", "corp:bob", ""))
    bobs = Caller("corp:bob", ALL)
    await building.link(ask.post.graph, NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, bob.id, "OWNER"))
    made = await ask(CREATE, bobs, input=given)
    await building.unlink(ask.post.graph, EdgeMatch("GRANTS", DEFAULT_WORKSPACE_ID, bob.id))
    assert await ask(CREATE, bobs, input=given) == {"createWebhook": {"secret": None, "webhook": None}}
    await building.link(ask.post.graph, NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, bob.id, "VIEWER"))
    assert (await ask.refused(CREATE, bobs, input=given))[0] == "FORBIDDEN"
    await building.unlink(ask.post.graph, EdgeMatch("GRANTS", DEFAULT_WORKSPACE_ID, bob.id))
    await building.link(ask.post.graph, NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, bob.id, "OWNER"))
    assert await ask(CREATE, bobs, input=given) == made


@pytest.mark.parametrize("caller", [OWNER, ADMINISTRATOR])
async def test_no_secret_is_in_changes_the_audit_an_export_or_the_store_in_clear(ask: Asking, caller: Caller) -> None:
    """Whoever gives one, by a variable or in the document, sees it in the answer alone."""
    own = "whsec_" + "c2VjcmV0" * 5
    document = f'mutation {{ createWebhook(input: {{name: "b", url: "{URL}", secret: "{own}"}}) {{ secret }} }}'
    assert (await ask(document, caller))["createWebhook"]["secret"] == own
    made = (await ask(CREATE, caller, input={"name": "a", "url": URL, "secret": own}))["createWebhook"]
    fresh = (await ask(ROTATE, caller, input={"webhook": made["webhook"]["id"]}))["rotateWebhookSecret"]["secret"]
    shown = [json.dumps(change.data) for change in await building.sequenced(ask.post.graph)]
    async with ask.post.graph.snapshot(EVERYTHING) as snapshot:
        for head in await snapshot.heads():
            entries = await snapshot.chain(head.workspace)
            shown += [json.dumps(entry.change.data) for entry in entries]
        kept = await snapshot.kept([made["webhook"]["id"]], ["secret"])
        shown.append(json.dumps([dict(each.data) for of in kept.values() for each in of]))
        shown += [line.decode() async for line in export_lines(snapshot)]
    assert len(shown) > 5
    for secret in (own, fresh):
        bare = secret.removeprefix("whsec_")
        assert not [text for text in shown if bare in text]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": "http://hooks.example.org/"}, None),
        ({"url": "ftp://hooks.example.org/"}, "url"),
        ({"secret": "weak"}, "secret"),
        ({"types": ["lineal.model.exploded"]}, "types[0]"),
        ({"types": ["model_version.created"]}, "types[0]"),
        ({"types": ["lineal.model.created"], "format": "MLFLOW"}, "types[0]"),
        ({"name": " "}, "name"),
        ({"withTags": [{"name": ""}]}, "withTags[0].name"),
    ],
)
async def test_what_is_wrong_is_said_with_its_field(ask: Asking, given: dict[str, Any], field: str | None) -> None:
    whole = {"name": "ci", "url": URL, **given}
    if field is None:
        # This Lineal may send to private addresses, and so by http too.
        await ask(CREATE, input=whole)
    else:
        assert await ask.refused(CREATE, input=whole) == ("INVALID_ARGUMENT", field)


async def test_a_webhook_is_changed_and_deleted_by_owners(ask: Asking) -> None:
    id = (await ask(CREATE, input={"name": "ci", "url": URL, "kinds": ["MODEL"]}))["createWebhook"]["webhook"]["id"]
    changed = await ask(UPDATE, input={"webhook": id, "url": URL + "/y", "kinds": [], "name": "cd"})
    assert changed["updateWebhook"]["webhook"] == {
        "id": id,
        "url": URL + "/y",
        "kinds": [],
        "name": "cd",
        "revision": 2,
    }
    assert await ask.refused(UPDATE, input={"webhook": id, "url": "https://10.0.0.1:0/"}) == ("INVALID_ARGUMENT", "url")
    assert (await ask.refused(UPDATE, input={"webhook": id, "name": "x", "revision": 1}))[0] == "CONFLICT"
    deleted = await ask("mutation($id: ID!) { deleteWebhook(input: {webhook: $id}) { deletedId } }", id=id)
    assert deleted["deleteWebhook"]["deletedId"] == id
    async with ask.post.graph.snapshot(EVERYTHING) as snapshot:
        assert await snapshot.kept([id], ["secret", "cursor", "PENDING"]) == {}


async def test_only_owners_may_do_anything_about_webhooks(ask: Asking, receiver: Receiver) -> None:
    id = (await ask(CREATE, input={"name": "ci", "url": receiver.url}))["createWebhook"]["webhook"]["id"]
    (bob,) = await building.create(ask.post.graph, NewNode("Principal", "corp:bob", ""))
    async with ask.post.graph.snapshot() as snapshot:
        (place,) = (await snapshot.find("Workspace")).items
    await building.link(ask.post.graph, NewEdge("GRANTS", place.id, bob.id, "APPROVER"))
    bobs = Caller("corp:bob", ALL)
    for query, given in (
        (CREATE, {"name": "x", "url": URL}),
        (UPDATE, {"webhook": id, "name": "x"}),
        (ROTATE, {"webhook": id}),
        (TEST, {"webhook": id}),
        ("mutation($input: PauseWebhookInput!) { pauseWebhook(input: $input) { webhook { id } } }", {"webhook": id}),
        ("mutation($input: ResumeWebhookInput!) { resumeWebhook(input: $input) { webhook { id } } }", {"webhook": id}),
        (
            "mutation($input: ReplayDeliveriesInput!) { replayDeliveries(input: $input) { webhook { id } } }",
            {"webhook": id, "dead": True},
        ),
    ):
        assert (await ask.refused(query, bobs, input=given))[0] == "FORBIDDEN", query
    assert (await ask.refused(DELIVERIES, bobs, of=id, first=10))[0] == "FORBIDDEN"
    stranger = Caller("corp:eve", ALL)
    assert (await ask("query($id: ID!) { webhook(address: $id) { url } }", stranger, id=id))["webhook"] is None
    assert (await ask.refused(TEST, stranger, input={"webhook": id}))[0] == "NOT_FOUND"
    assert receiver.got == []


async def test_a_test_says_what_the_receiver_answered(ask: Asking, receiver: Receiver) -> None:
    made = (await ask(CREATE, input={"name": "ci", "url": receiver.url}))["createWebhook"]
    told = (await ask(TEST, input={"webhook": made["webhook"]["id"]}))["testWebhook"]
    assert (told["success"], told["status"], told["body"], told["error"]) == (True, 200, "thanks", None)
    (got,) = receiver.got
    assert got.json["type"] == "lineal.webhook.test"
    assert got.id == told["event"]
    assert got.signed_by(made["secret"])

    async def refuse(_got: Got) -> Answer | None:
        return 500, {}, b"x" * 100_000

    receiver.respond = refuse
    told = (await ask(TEST, input={"webhook": made["webhook"]["id"]}))["testWebhook"]
    assert (told["success"], told["status"], len(told["body"])) == (False, 500, 1_000)
    await receiver.die()
    told = (await ask(TEST, input={"webhook": made["webhook"]["id"]}))["testWebhook"]
    assert (told["success"], told["status"], told["body"]) == (False, None, None)
    assert told["error"]


async def test_mlflows_test_sends_the_event_that_is_asked_for(ask: Asking, receiver: Receiver) -> None:
    made = await ask(CREATE, input={"name": "ci", "url": receiver.url, "format": "MLFLOW", "secret": "s"})
    id = made["createWebhook"]["webhook"]["id"]
    await ask(TEST, input={"webhook": id, "type": "prompt_alias.created"})
    assert receiver.got[0].json["entity"] == "prompt_alias"
    assert await ask.refused(TEST, input={"webhook": id, "type": "nothing"}) == ("INVALID_ARGUMENT", "type")


async def test_a_secret_that_changes_counts_beside_the_new_one_for_a_while(ask: Asking, receiver: Receiver) -> None:
    made = (await ask(CREATE, input={"name": "ci", "url": receiver.url}))["createWebhook"]
    id, before = made["webhook"]["id"], made["secret"]
    after = (await ask(ROTATE, input={"webhook": id}))["rotateWebhookSecret"]["secret"]
    await ask(TEST, input={"webhook": id})
    assert receiver.got[-1].signed_by(before)
    assert receiver.got[-1].signed_by(after)
    last = (await ask(ROTATE, input={"webhook": id, "overlapSeconds": 0}))["rotateWebhookSecret"]["secret"]
    await ask(TEST, input={"webhook": id})
    assert receiver.got[-1].signed_by(last)
    assert not receiver.got[-1].signed_by(after)
    assert await ask.refused(ROTATE, input={"webhook": id, "overlapSeconds": -1}) == (
        "INVALID_ARGUMENT",
        "overlapSeconds",
    )


async def test_deliveries_are_listed_in_pages_the_latest_first(ask: Asking, receiver: Receiver) -> None:
    id = (await ask(CREATE, input={"name": "ci", "url": receiver.url}))["createWebhook"]["webhook"]["id"]
    async with ask.post.delivering():
        model, _ = await building.model(ask.post.graph, "a", versions=3)

        async def delivered() -> bool:
            found = (await ask(DELIVERIES, of=id, state="DELIVERED", first=10))["webhook"]["deliveries"]["nodes"]
            return len(found) == 4

        await awaited(delivered)
    first = (await ask(DELIVERIES, of=id, first=3))["webhook"]["deliveries"]
    rest = (await ask(DELIVERIES, of=id, first=3, after=first["pageInfo"]["endCursor"]))["webhook"]["deliveries"]
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)
    nodes = [*first["nodes"], *rest["nodes"]]
    assert [n["sequence"] for n in nodes] == sorted((n["sequence"] for n in nodes), reverse=True)
    assert nodes[-1]["type"] == "lineal.model.created"
    assert nodes[-1]["subject"] == model.id
    assert {(n["state"], n["attempts"], n["dueAt"], n["tries"][0]["status"]) for n in nodes} == {
        ("DELIVERED", 1, None, 200)
    }
    assert (await ask(DELIVERIES, of=id, state="DEAD", first=3))["webhook"]["deliveries"]["nodes"] == []


@pytest.mark.parametrize(
    "given",
    [{}, {"sequences": ["1"], "dead": True}, {"sequences": ["nonsense"]}, {"sequences": ["0000000000000099.0000000"]}],
)
async def test_what_is_to_be_sent_again_must_be_there(ask: Asking, given: dict[str, Any]) -> None:
    id = (await ask(CREATE, input={"name": "ci", "url": URL}))["createWebhook"]["webhook"]["id"]
    query = "mutation($input: ReplayDeliveriesInput!) { replayDeliveries(input: $input) { webhook { id } } }"
    code, field = await ask.refused(query, input={"webhook": id, **given})
    assert code == "INVALID_ARGUMENT"
    assert (field or "").startswith("sequences")


async def test_a_webhook_that_came_by_an_import_has_no_secret_and_is_paused_until_it_gets_one(
    ask: Asking, receiver: Receiver
) -> None:
    (node,) = await building.create(
        ask.post.graph, NewNode("Webhook", "moved", "default", props={"url": receiver.url, "state": "ACTIVE"})
    )
    state = "query($id: ID!) { webhook(address: $id) { state reason } }"

    async def paused() -> bool:
        return bool((await ask(state, id=node.id))["webhook"]["state"] == "PAUSED")

    async with ask.post.delivering():
        await awaited(paused)
    assert "rotateWebhookSecret" in (await ask(state, id=node.id))["webhook"]["reason"]
    await ask(ROTATE, input={"webhook": node.id})
    assert (await ask(TEST, input={"webhook": node.id}))["testWebhook"]["success"]


async def test_where_webhooks_are_not_set_up_that_is_said(ask: Asking) -> None:
    ask.post.webhooks = None  # type: ignore[assignment]
    assert (await ask.refused(CREATE, input={"name": "ci", "url": URL}))[0] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"types": ["lineal.model.created", "lineal.model.deleted"]}, "types"),
        ({"withTags": [{"name": "a"}, {"name": "b"}]}, "withTags"),
    ],
)
async def test_filters_are_bounded(
    ask: Asking, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], field: str
) -> None:
    monkeypatch.setattr(managing, "MAX_FILTER", 1)
    assert await ask.refused(CREATE, input={"name": "ci", "url": URL, **given}) == ("INVALID_ARGUMENT", field)


async def test_how_many_webhooks_a_workspace_has_is_bounded(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managing, "MAX_WEBHOOKS", 1)
    await ask(CREATE, input={"name": "one", "url": URL})
    assert await ask.refused(CREATE, input={"name": "two", "url": URL}) == ("LIMIT_EXCEEDED", "name")


async def test_why_it_is_paused_is_told_in_few_words(ask: Asking) -> None:
    id = (await ask(CREATE, input={"name": "ci", "url": URL}))["createWebhook"]["webhook"]["id"]
    query = "mutation($input: PauseWebhookInput!) { pauseWebhook(input: $input) { webhook { state reason } } }"
    assert await ask.refused(query, input={"webhook": id, "reason": "x" * 2_001}) == ("INVALID_ARGUMENT", "reason")
    paused = await ask(query, input={"webhook": id, "reason": "moving"})
    assert paused["pauseWebhook"]["webhook"] == {"state": "PAUSED", "reason": "moving"}


async def test_an_admin_of_lineal_may_do_all_of_it(ask: Asking, receiver: Receiver) -> None:
    id = (await ask(CREATE, ADMINISTRATOR, input={"name": "ci", "url": receiver.url}))["createWebhook"]["webhook"]["id"]
    assert (await ask(TEST, ADMINISTRATOR, input={"webhook": id}))["testWebhook"]["success"]
    assert (await ask(DELIVERIES, ADMINISTRATOR, of=id, first=1))["webhook"]["deliveries"]["nodes"] == []
    assert (await ask.refused(TEST, input={"webhook": "webhooks:/none"}))[0] == "NOT_FOUND"
