"""MLflow's endpoints of webhooks, as its clients call them."""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from auth.caller import ADMIN, Caller
from auth.challenges import Resource
from auth.recorder import Recorder
from auth.scopes import SCOPES
from auth.sealing import Sealer
from gateway.mlflow.webhooks import MlflowWebhooksRoute
from graph.port import Graph, NewNode
from lineal.errors import Internal
from resolvers.operation import Operation
from resolvers.webhooks.hooks import Webhooks
from resolvers.webhooks.sending import Sender
from tests import building
from tests.webhooks.receiver import Receiver

ALL = frozenset(SCOPES) - {ADMIN}
OWNED = frozenset({"default", "vision"})
CALLERS = {
    "ann": Caller("corp:ann", ALL, workspaces=OWNED),
    "bob": Caller("corp:bob", ALL - {"webhook:write"}, workspaces=OWNED),
    "eve": Caller("corp:eve", ALL),
    "root": Caller("corp:root", frozenset({ADMIN})),
    "nobody": Caller("anonymous"),
}
RESOURCE = Resource("https://lineal.test/graphql")
URL = "https://hooks.example.org/x"
CREATED = {"entity": "MODEL_VERSION", "action": "CREATED"}
TAG_SET = {"entity": "MODEL_VERSION_TAG", "action": "SET"}


@dataclass
class Mlflow:
    """A client, and the store behind it."""

    http: httpx.AsyncClient
    graph: Graph

    async def ask(
        self, method: str, path: str, body: Any = None, *, status: int = 200, who: str = "ann", at: str = "/api/2.0"
    ) -> Any:
        """The JSON of an answer that has this status."""
        headers = {"x-who": who}
        answer = await self.http.request(method, f"{at}/mlflow/webhooks{path}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def made(self, name: str = "ci", **more: Any) -> Any:
        """A webhook, as the answer has it."""
        body = {"name": name, "url": URL, "events": [CREATED], **more}
        return (await self.ask("POST", "", body))["webhook"]


@pytest.fixture
async def mlflow(sqlite_graph: Graph) -> AsyncIterator[Mlflow]:
    """MLflow's endpoints, asked by whoever x-who names."""
    await building.create(sqlite_graph, NewNode("Workspace", "vision", ""))
    async with Recorder(sqlite_graph) as recorder, Sender(private=True, seconds=2) as sender:
        webhooks = Webhooks(Sealer(b"k" * 32), sender)

        def operation(request: Request) -> Operation:
            caller = CALLERS[request.headers["x-who"]]
            return Operation(sqlite_graph, caller=caller, recorder=recorder, webhooks=webhooks)

        app = Starlette(routes=[MlflowWebhooksRoute(operation, resource=RESOURCE, seconds=60)])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://lineal.test") as http:
            yield Mlflow(http, sqlite_graph)


async def test_a_webhook_is_created_and_read_back_as_mlflow_has_it(mlflow: Mlflow) -> None:
    made = await mlflow.made(description="for ci", secret="s3cret")
    assert made.keys() == {
        *("webhook_id", "name", "description", "url", "events", "status"),
        *("creation_timestamp", "last_updated_timestamp"),
    }
    assert (made["events"], made["status"]) == ([CREATED], "ACTIVE")
    assert (await mlflow.ask("GET", f"/{made['webhook_id']}"))["webhook"] == made
    assert (await mlflow.ask("GET", ""))["webhooks"] == [made]
    assert (await mlflow.ask("GET", "", at="/ajax-api/2.0"))["webhooks"] == [made]


async def test_what_is_given_is_changed_and_the_rest_stays(mlflow: Mlflow) -> None:
    id = (await mlflow.made())["webhook_id"]
    body = {"events": [TAG_SET], "status": "DISABLED", "secret": "new", "description": "more"}
    changed = (await mlflow.ask("PATCH", f"/{id}", body))["webhook"]
    assert (changed["events"], changed["status"], changed["description"]) == ([TAG_SET], "DISABLED", "more")
    assert changed["url"] == URL
    assert (await mlflow.ask("PATCH", f"/{id}", {"status": "ACTIVE"}))["webhook"]["status"] == "ACTIVE"
    assert (await mlflow.ask("PATCH", f"/{id}", {}))["webhook"]["status"] == "ACTIVE"
    assert await mlflow.ask("DELETE", f"/{id}") == {}
    gone = await mlflow.ask("GET", f"/{id}", status=404)
    assert gone == {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"Webhook with ID {id} not found."}


@pytest.mark.parametrize(
    "wrong", [{"secret": "x" * 10_000}, {"status": "PAUSED"}, {"description": 7}, {"events": [{}]}, {"name": "taken"}]
)
async def test_of_a_change_all_is_done_or_nothing(mlflow: Mlflow, wrong: dict[str, Any]) -> None:
    await mlflow.made("taken")
    async with Receiver() as receiver, Receiver() as other:
        made = await mlflow.made(url=receiver.url, secret="s3cret", description="for ci")
        id = made["webhook_id"]
        await mlflow.ask("POST", f"/{id}/test")
        whole = {"url": other.url, "secret": "new", "status": "DISABLED", "description": "", "events": [TAG_SET]}
        assert "error_code" in await mlflow.ask("PATCH", f"/{id}", {**whole, **wrong}, status=400)
        assert (await mlflow.ask("GET", f"/{id}"))["webhook"] == made
        await mlflow.ask("POST", f"/{id}/test")
    assert (len(receiver.got), other.got) == (2, [])
    for got in receiver.got:
        signed = f"{got.headers['x-mlflow-delivery-id']}.{got.headers['x-mlflow-timestamp']}.".encode() + got.body
        mac = base64.b64encode(hmac.digest(b"s3cret", signed, "sha256")).decode()
        assert got.headers["x-mlflow-signature"] == f"v1,{mac}"


async def test_an_empty_text_clears_and_what_is_left_out_stays(mlflow: Mlflow) -> None:
    async with Receiver() as receiver:
        id = (await mlflow.made(url=receiver.url, description="for ci", secret="s3cret"))["webhook_id"]
        for empty in ({"name": "", "url": ""}, {"description": None, "secret": None}):
            assert (await mlflow.ask("PATCH", f"/{id}", empty))["webhook"]["description"] == "for ci"
        assert "description" not in (await mlflow.ask("PATCH", f"/{id}", {"description": ""}))["webhook"]
        await mlflow.ask("POST", f"/{id}/test")
        changed = (await mlflow.ask("PATCH", f"/{id}", {"secret": ""}))["webhook"]
        assert (changed["name"], changed["url"]) == ("ci", receiver.url)
        await mlflow.ask("POST", f"/{id}/test")
    assert ["x-mlflow-signature" in got.headers for got in receiver.got] == [True, False]


async def test_lists_come_in_pages(mlflow: Mlflow) -> None:
    ids = [(await mlflow.made(f"hook-{n}"))["webhook_id"] for n in range(3)]
    first = await mlflow.ask("GET", "?max_results=2")
    rest = await mlflow.ask("GET", f"?max_results=2&page_token={first['next_page_token']}")
    assert [w["webhook_id"] for w in (*first["webhooks"], *rest["webhooks"])] == ids[::-1]
    assert len((await mlflow.ask("GET", "?max_results=0"))["webhooks"]) == 3
    assert "next_page_token" not in rest


async def test_workspaces_have_webhooks_of_their_own(mlflow: Mlflow) -> None:
    at = "/w/vision/api/2.0"
    body = {"name": "ci", "url": URL, "events": [CREATED]}
    id = (await mlflow.ask("POST", "", body, at=at))["webhook"]["webhook_id"]
    assert [w["webhook_id"] for w in (await mlflow.ask("GET", "", at=at))["webhooks"]] == [id]
    assert (await mlflow.ask("GET", ""))["webhooks"] == []
    await mlflow.ask("GET", f"/{id}", status=404)
    answer = await mlflow.http.get("/api/2.0/mlflow/webhooks", headers={"x-who": "ann", "x-mlflow-workspace": "vision"})
    assert [w["webhook_id"] for w in answer.json()["webhooks"]] == [id]


async def test_a_test_reaches_the_receiver(mlflow: Mlflow) -> None:
    async with Receiver() as receiver:
        id = (await mlflow.made(url=receiver.url, secret="s3cret"))["webhook_id"]
        told = await mlflow.ask("POST", f"/{id}/test", {"event": TAG_SET})
        assert told == {"result": {"success": True, "response_status": 200, "response_body": "thanks"}}
        await mlflow.ask("POST", f"/{id}/test", {})
        assert [got.json["entity"] for got in receiver.got] == ["model_version_tag", "model_version"]
        assert all(got.headers["x-mlflow-signature"].startswith("v1,") for got in receiver.got)
        await receiver.die()
        told = await mlflow.ask("POST", f"/{id}/test")
    assert (told["result"]["success"], "response_status" in told["result"]) == (False, False)


async def test_without_a_secret_nothing_is_signed(mlflow: Mlflow) -> None:
    async with Receiver() as receiver:
        id = (await mlflow.made(url=receiver.url))["webhook_id"]
        await mlflow.ask("POST", f"/{id}/test")
        assert "x-mlflow-signature" not in receiver.got[0].headers


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": ""}, "Missing value for required parameter 'name'"),
        ({"url": ""}, "Missing value for required parameter 'url'"),
        ({"url": "ftp://x"}, "Invalid webhook URL scheme: 'ftp'. Allowed schemes are: http, https."),
        ({"url": "https://"}, "Webhook URL must include a hostname: 'https://'"),
        ({"url": "https://[x"}, "Invalid webhook URL 'https://[x'"),
        ({"url": "https://a:b@host"}, "url: must have a host, and neither a user, a password nor a fragment"),
        ({"name": "a/b"}, "Webhook name 'a/b' is invalid."),
        ({"events": []}, "Missing value for required parameter 'events'"),
        ({"events": "x"}, "events: must be a list"),
        ({"events": [{}]}, "must be an object with entity and action"),
        ({"events": [{"entity": "MODEL_VERSION", "action": "DELETED"}]}, "Valid actions are: ['created']"),
        ({"status": "ASLEEP"}, "must be ACTIVE or DISABLED"),
        ({"name": 7}, "it must be text"),
    ],
)
async def test_bad_input_is_told_in_mlflows_shape(mlflow: Mlflow, more: dict[str, Any], words: str) -> None:
    body = {"name": "ci", "url": URL, "events": [CREATED], **more}
    told = await mlflow.ask("POST", "", body, status=400)
    assert told["error_code"] == "INVALID_PARAMETER_VALUE"
    assert words in told["message"]


@pytest.mark.parametrize(
    "query", ["max_results=-1", "max_results=x", "max_results=1001", "page_token=x", "page_token=W10="]
)
async def test_bad_pages_are_refused(mlflow: Mlflow, query: str) -> None:
    assert (await mlflow.ask("GET", f"?{query}", status=400))["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("body", [b"{", b"[]", b"x" * 70_000])
async def test_what_is_no_json_object_or_too_large_is_refused(mlflow: Mlflow, body: bytes) -> None:
    answer = await mlflow.http.post("/api/2.0/mlflow/webhooks", content=body, headers={"x-who": "ann"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


async def test_a_name_is_taken_once(mlflow: Mlflow) -> None:
    await mlflow.made()
    body = {"name": "ci", "url": URL, "events": [CREATED]}
    assert (await mlflow.ask("POST", "", body, status=400))["error_code"] == "RESOURCE_ALREADY_EXISTS"


async def test_a_key_makes_a_webhook_once_and_is_refused_where_none_is_kept(mlflow: Mlflow) -> None:
    headers = {"x-who": "ann", "idempotency-key": "k"}
    at, body = "/api/2.0/mlflow/webhooks", {"name": "ci", "url": URL, "events": [CREATED]}
    first, again = [await mlflow.http.post(at, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (200, again.json())
    other = await mlflow.http.post(at, json={**body, "name": "other"}, headers=headers)
    assert (other.status_code, other.json()["error_code"]) == (409, "RESOURCE_CONFLICT")
    one = f"{at}/{first.json()['webhook']['webhook_id']}"
    for method, path in (("PATCH", one), ("DELETE", one), ("POST", f"{one}/test")):
        answer = await mlflow.http.request(method, path, json={"description": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert answer.json()["message"] == "Idempotency-Key: this endpoint keeps no keys"
    assert (await mlflow.http.get(one, headers=headers)).json() == first.json()


async def test_what_is_no_mlflow_webhook_is_not_there(mlflow: Mlflow) -> None:
    (other,) = await building.create(mlflow.graph, NewNode("Webhook", "own", "default", props={"url": URL}))
    await mlflow.ask("GET", f"/{other.id}", status=404)
    await mlflow.ask("GET", "/nonsense", status=404)
    assert (await mlflow.ask("GET", ""))["webhooks"] == []


async def test_who_may_not_is_refused_and_that_is_audited(mlflow: Mlflow) -> None:
    id = (await mlflow.made())["webhook_id"]
    for method, path, body in (
        ("GET", "", None),
        ("POST", "", {"name": "x", "url": URL, "events": [CREATED]}),
        ("DELETE", f"/{id}", None),
        ("POST", f"/{id}/test", None),
    ):
        assert (await mlflow.ask(method, path, body, status=403, who="bob"))["error_code"] == "PERMISSION_DENIED"
    await mlflow.ask("GET", f"/{id}", status=404, who="eve")
    assert (await mlflow.ask("GET", "", who="eve"))["webhooks"] == []
    async with mlflow.graph.snapshot() as snapshot:
        actions = [entry.change.action for entry in await snapshot.chain("default")]
    assert "refused" in actions


async def test_who_lacks_the_scope_or_a_token_is_told_what_would_do(mlflow: Mlflow) -> None:
    answer = await mlflow.http.get("/api/2.0/mlflow/webhooks", headers={"x-who": "bob"})
    assert answer.status_code == 403
    assert 'scope="webhook:write"' in answer.headers["www-authenticate"]
    answer = await mlflow.http.get("/api/2.0/mlflow/webhooks", headers={"x-who": "nobody"})
    assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_what_an_admin_reads_is_audited(mlflow: Mlflow) -> None:
    id = (await mlflow.made())["webhook_id"]
    await mlflow.ask("GET", f"/{id}", who="root")
    async with mlflow.graph.snapshot() as snapshot:
        (read,) = [entry.change for entry in await snapshot.chain("default") if entry.change.action == "read"]
    assert (read.by, read.data["noted"]["data"]["asked"]) == ("corp:root", "webhooks")
    assert id in read.data["noted"]["data"]["on"]["default"]


async def test_what_is_no_endpoint_of_webhooks_is_told_in_mlflows_shape(mlflow: Mlflow) -> None:
    assert (await mlflow.ask("PUT", "", {}, status=404))["error_code"] == "ENDPOINT_NOT_FOUND"
    assert (await mlflow.ask("GET", "/x/test", status=404))["error_code"] == "ENDPOINT_NOT_FOUND"


async def test_a_defect_is_not_told_to_clients(mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise Internal("a secret of the store")

    monkeypatch.setattr("gateway.mlflow.webhooks.resolve", broken)
    with pytest.raises(Internal):
        await mlflow.ask("GET", "/wh_1")
