"""Webhooks of Weights & Biases and of the Hugging Face Hub: who may send them, and what becomes of what they tell."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from auth.caller import named
from auth.recorder import Recorder
from gateway.inbound import HUGGING_FACE, WANDB, Hub, create_inbound_routes
from graph.port import Graph, NewEdge, NewNode, Update
from lineal.app import create_app
from lineal.parts import opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from resolvers.operation import Operation
from tests import building
from tests.openlineage.picturing import Picture, picture

SECRET = "a secret of both sides"
ARTIFACT = "wandb-artifact://_id/QXJ0aWZhY3Q6NTE3ODg5ODg3"
LINKED: dict[str, Any] = {
    "event_type": "LINK_ARTIFACT",
    "event_author": "ann",
    "alias": "",
    "artifact_version": ARTIFACT,
    "artifact_version_string": "acme/wandb-registry-model/churn:v3",
    "artifact_collection_name": "churn",
    "project_name": "wandb-registry-model",
    "entity_name": "acme",
    "run": "8x2k1m9q",
    "metadata": {"lr": "0.1", "epochs": 3, "note": "${artifact_metadata.note}"},
}
"""What an automation sends whose payload is that of the documentation, with the variables filled in."""

SHA = "c379e821c9c95d613899e8c4343e4bfee2b0c600"
PUSHED: dict[str, Any] = {
    "event": {"action": "update", "scope": "repo.content"},
    "repo": {
        "type": "model",
        "name": "acme/churn",
        "id": "6366c000a2abcdf2fd69a080",
        "private": False,
        "url": {"web": "https://hub.test/acme/churn", "api": "https://hub.test/api/models/acme/churn"},
        "headSha": SHA,
        "tags": ["license:mit", "dataset:acme/customers", "has_space"],
        "owner": {"id": "61d2000c3c2083e1c08af22d"},
    },
    "updatedRefs": [
        {"ref": "refs/heads/main", "oldSha": "ce9a4674fa833a68d5a73ec355f0ea95eedd60b7", "newSha": SHA},
        {"ref": "refs/tags/test", "oldSha": None, "newSha": SHA},
    ],
    "webhook": {"id": "6390e855e30d9209411de93b", "version": 3},
}
"""What the Hub sends when something was pushed."""


@dataclass
class Door:
    """The routes, and the store behind them."""

    http: httpx.AsyncClient
    graph: Graph

    async def wandb(self, payload: Any, signature: str | None = None) -> httpx.Response:
        """What W&B gets, with a signature as W&B makes it unless one is given."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        mac = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()
        given = base64.b64encode(mac).decode() if signature is None else signature
        return await self.http.post(WANDB, content=body, headers={"x-wandb-signature": given})

    async def hub(self, payload: Any, secret: str = SECRET) -> httpx.Response:
        """What the Hub gets."""
        return await self.http.post(HUGGING_FACE, json=payload, headers={"x-webhook-secret": secret})

    async def picture(self) -> Picture:
        """What is there."""
        return await picture(self.graph, "default")


@asynccontextmanager
async def opened_door(graph: Graph) -> AsyncIterator[Door]:
    """The routes on a store."""
    async with Recorder(graph) as recorder:

        def operation(request: Request, hub: Hub) -> Operation:
            address = request.client.host if request.client else ""
            return Operation(graph, caller=named(hub.name), recorder=recorder, address=address)

        routes = create_inbound_routes(
            operation,
            of_wandb=Hub("wandb", SECRET, "default"),
            of_hugging_face=Hub("huggingface", SECRET, "default"),
        )
        transport = httpx.ASGITransport(Starlette(routes=list(routes)), client=("192.0.2.7", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://lineal.test") as http:
            yield Door(http, graph)


@pytest.fixture
async def door(graph: Graph) -> AsyncIterator[Door]:
    """On an empty store of either kind."""
    async with opened_door(graph) as door:
        yield door


@pytest.fixture
async def sqlite_door(sqlite_graph: Graph) -> AsyncIterator[Door]:
    """On an empty SQLite store, for what is no matter of the store."""
    async with opened_door(sqlite_graph) as door:
        yield door


def changed(payload: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A payload with other parts."""
    return {**copy.deepcopy(payload), **parts}


# ── Weights & Biases ──────────────────────────────────────────────────────────────────────────────


async def test_an_artifact_that_was_linked_is_a_version_made_by_its_run(door: Door) -> None:
    assert (await door.wandb(LINKED)).status_code == 204
    found = await door.picture()
    version = found.nodes["ModelVersion", "churn", "1"]
    assert (version["state"], version["uri"]) == ("READY", ARTIFACT)
    assert version["source"] == "acme/wandb-registry-model/churn:v3"
    assert version["tags"] == {
        "wandb.artifact": ARTIFACT,
        "wandb.version": "acme/wandb-registry-model/churn:v3",
        "wandb.entity": "acme",
        "wandb.project": "wandb-registry-model",
        "wandb.author": "ann",
        "wandb.metadata.lr": "0.1",
        "wandb.metadata.epochs": "3",
    }
    assert found.leads("PRODUCED_BY") == {("churn/1", "8x2k1m9q")}


async def test_an_alias_is_a_tag_of_the_version_that_is_there(door: Door) -> None:
    added = changed(LINKED, event_type="ADD_ARTIFACT_ALIAS", alias="production", event_author="bob")
    for payload in (LINKED, added, added):
        assert (await door.wandb(payload)).status_code == 204
    found = await door.picture()
    assert [name for name in found.nodes if name[0] == "ModelVersion"] == [("ModelVersion", "churn", "1")]
    tags = found.nodes["ModelVersion", "churn", "1"]["tags"]
    assert (tags["wandb.alias.production"], tags["wandb.author"]) == ("true", "ann")


async def test_another_version_has_the_next_number(sqlite_door: Door) -> None:
    other = changed(
        LINKED, artifact_version=f"{ARTIFACT}=", artifact_version_string="acme/wandb-registry-model/churn:v4"
    )
    for payload in (LINKED, other, LINKED):
        assert (await sqlite_door.wandb(payload)).status_code == 204
    found = await sqlite_door.picture()
    assert found.nodes["ModelVersion", "churn", "2"]["uri"] == f"{ARTIFACT}="
    assert found.of("ModelVersion") == {"1", "2"}


async def test_a_run_that_read_what_is_retired_makes_no_version_any_more(sqlite_door: Door) -> None:
    _, (teacher,) = await building.model(sqlite_door.graph, "teacher", versions=1)
    await building.update(sqlite_door.graph, Update(teacher.id, {"retiredAt": 1}))
    (run,) = await building.create(sqlite_door.graph, NewNode("Run", LINKED["run"], "default"))
    await building.link(sqlite_door.graph, NewEdge("READ", run.id, teacher.id, "base"))
    answer = await sqlite_door.wandb(LINKED)
    assert answer.status_code == 412
    assert "is retired" in answer.text
    assert (await sqlite_door.picture()).of("Model") == {"teacher"}


async def test_a_payload_within_client_payload_is_understood(sqlite_door: Door) -> None:
    inner = {name: LINKED[name] for name in ("event_author", "artifact_version", "artifact_collection_name")}
    assert (await sqlite_door.wandb({"event_type": "LINK_ARTIFACT", "client_payload": inner})).status_code == 204
    assert ("ModelVersion", "churn", "1") in (await sqlite_door.picture()).nodes


@pytest.mark.parametrize("parts", [{"project_name": "wandb-registry-dataset"}, {"kind": "dataset"}])
async def test_an_artifact_of_a_registry_of_data_sets_is_a_version_of_a_data_set(
    door: Door, parts: dict[str, str]
) -> None:
    for payload in (changed(LINKED, **parts), changed(LINKED, **parts), changed(LINKED, **parts, tag="checked")):
        assert (await door.wandb(payload)).status_code == 204
    found = await door.picture()
    assert found.nodes["DatasetVersion", "churn", "v3"]["uri"] == ARTIFACT
    assert found.nodes["DatasetVersion", "churn", "v3"]["tags"]["wandb.tag.checked"] == "true"
    assert found.leads("PRODUCED_BY") == {("churn/v3", "8x2k1m9q")}
    assert found.of("Model") == set()


async def test_data_of_two_projects_by_one_name_are_versions_of_their_own(door: Door) -> None:
    other = changed(
        LINKED,
        kind="dataset",
        artifact_version=f"{ARTIFACT}=",
        artifact_version_string="bob/faces/churn:v3",
        project_name="faces",
        run="7b2k1m9q",
    )
    for payload in (changed(LINKED, kind="dataset"), other, other, changed(other, tag="checked")):
        assert (await door.wandb(payload)).status_code == 204
    found = await door.picture()
    assert found.of("DatasetVersion") == {"v3", f"{ARTIFACT}="}
    assert found.nodes["DatasetVersion", "churn", "v3"]["uri"] == ARTIFACT
    assert "wandb.tag.checked" not in found.nodes["DatasetVersion", "churn", "v3"]["tags"]
    second = found.nodes["DatasetVersion", "churn", f"{ARTIFACT}="]
    assert (second["uri"], second["tags"]["wandb.version"]) == (f"{ARTIFACT}=", "bob/faces/churn:v3")
    assert second["tags"]["wandb.tag.checked"] == "true"
    assert found.leads("PRODUCED_BY") == {("churn/v3", "8x2k1m9q"), (f"churn/{ARTIFACT}=", "7b2k1m9q")}


async def test_data_is_known_again_whatever_it_is_told_as(sqlite_door: Door) -> None:
    data = changed(LINKED, kind="dataset")
    for name in ("acme/data/churn:latest", "acme/data/churn:v3"):
        assert (await sqlite_door.wandb({**data, "artifact_version_string": name})).status_code == 204
    assert (await sqlite_door.picture()).of("DatasetVersion") == {ARTIFACT}


async def test_a_version_that_is_told_by_an_alias_is_called_by_its_id(sqlite_door: Door) -> None:
    payload = changed(LINKED, kind="dataset", artifact_version_string="acme/data/churn:latest")
    assert (await sqlite_door.wandb(payload)).status_code == 204
    assert ("DatasetVersion", "churn", ARTIFACT) in (await sqlite_door.picture()).nodes


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"artifact_version": "${artifact_version}"}, "artifact_version: is missing; the payload of the automation"),
        ({"artifact_collection_name": ""}, "artifact_collection_name: is missing"),
        ({"alias": 7}, "alias: must be text"),
        ({"alias": "x" * 9_000}, "alias: has 9000 characters"),
        ({"kind": "job"}, "kind: must be model or dataset, not 'job'"),
        ({"metadata": []}, "metadata: must be an object"),
        ({"metadata": {str(i): "" for i in range(101)}}, "metadata: has 101 entries"),
    ],
)
async def test_a_payload_that_lacks_something_is_told_so(
    sqlite_door: Door, parts: dict[str, Any], message: str
) -> None:
    answer = await sqlite_door.wandb(changed(LINKED, **parts))
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(message)
    assert (await sqlite_door.picture()).nodes == {}


# ── The Hugging Face Hub ──────────────────────────────────────────────────────────────────────────


async def test_a_push_to_a_model_is_a_version_by_its_commit(door: Door) -> None:
    for _ in range(2):
        assert (await door.hub(PUSHED)).status_code == 204
    found = await door.picture()
    version = found.nodes["ModelVersion", "acme/churn", "1"]
    assert (version["uri"], version["license"]) == (f"hf://acme/churn@{SHA}", "mit")
    assert version["source"] == f"https://hub.test/acme/churn/tree/{SHA}"
    assert version["tags"] == {"huggingface.commit": SHA}
    assert found.leads("BUILT_FROM") == {("acme/churn/1", f"https://hub.test/acme/churn@{SHA}")}
    assert found.leads("TRAINED_ON") == {("acme/churn/1", "acme/customers/unversioned")}
    assert found.of("ModelVersion") == {"1"}


async def test_a_push_to_a_data_set_is_a_version_named_by_its_commit(door: Door) -> None:
    payload = changed(PUSHED, repo={**PUSHED["repo"], "type": "dataset", "name": "acme/customers"})
    for _ in range(2):
        assert (await door.hub(payload)).status_code == 204
    found = await door.picture()
    assert found.nodes["DatasetVersion", "acme/customers", SHA]["uri"] == f"hf://datasets/acme/customers@{SHA}"
    assert found.of("Model") == set()


async def test_a_repository_that_was_made_is_a_model_or_a_data_set(sqlite_door: Door) -> None:
    made = {"event": {"action": "create", "scope": "repo"}}
    for kind in ("model", "dataset"):
        answer = await sqlite_door.hub(changed(PUSHED, **made, repo={**PUSHED["repo"], "type": kind}))
        assert answer.status_code == 204
    found = await sqlite_door.picture()
    assert set(found.nodes) == {("Model", "acme/churn"), ("Dataset", "acme/churn")}


@pytest.mark.parametrize(
    "parts",
    [
        {"event": {"action": "create", "scope": "discussion"}},
        {"event": {"action": "update", "scope": "repo.config"}},
        {"event": {"action": "delete", "scope": "repo"}},
        {"repo": {**PUSHED["repo"], "type": "space"}},
        {"updatedRefs": [{"ref": "refs/pr/5", "oldSha": None, "newSha": SHA}]},
        {"updatedRefs": [{"ref": "refs/heads/main", "oldSha": SHA, "newSha": None}]},
    ],
)
async def test_what_lineal_does_not_know_of_is_taken_and_changes_nothing(
    sqlite_door: Door, parts: dict[str, Any]
) -> None:
    assert (await sqlite_door.hub(changed(PUSHED, **parts))).status_code == 204
    assert (await sqlite_door.picture()).nodes == {}


async def test_without_refs_the_head_is_what_was_pushed(sqlite_door: Door) -> None:
    payload = changed(PUSHED, event={"action": "update", "scope": "repo.content.large"})
    del payload["updatedRefs"], payload["repo"]["url"], payload["repo"]["tags"]
    assert (await sqlite_door.hub(payload)).status_code == 204
    version = (await sqlite_door.picture()).nodes["ModelVersion", "acme/churn", "1"]
    assert version["source"] == version["uri"] == f"hf://acme/churn@{SHA}"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "the body must be an object"),
        ({"event": {"action": "update"}}, "event.scope: is missing"),
        (changed(PUSHED, updatedRefs={}), "updatedRefs: must be a list"),
        (changed(PUSHED, updatedRefs=[{"ref": "refs/heads/main", "newSha": "x"}]), "updatedRefs[0].newSha: must be"),
        (changed(PUSHED, repo={**PUSHED["repo"], "tags": "mit"}), "repo.tags: must be a list"),
    ],
)
async def test_a_payload_that_is_none_of_the_hubs_is_told_so(sqlite_door: Door, payload: Any, message: str) -> None:
    answer = await sqlite_door.hub(payload)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(message)


# ── Who may ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("signature", ["", "é", "AAAA", "0" * 64, base64.b64encode(bytes(32)).decode()])
async def test_a_wrong_signature_is_401_and_audited(sqlite_door: Door, signature: str) -> None:
    answer = await sqlite_door.http.post(WANDB, content=b"{}", headers={b"x-wandb-signature": signature.encode()})
    assert answer.status_code == 401
    assert (await sqlite_door.hub(PUSHED, secret=SECRET[:-1])).status_code == 401
    assert (await sqlite_door.picture()).nodes == {}
    async with sqlite_door.graph.snapshot() as snapshot:
        (entry, *_) = entries = await snapshot.entries()
    assert (entry.change.data["noted"]["reason"], entry.change.origin.address) == ("signature", "192.0.2.7")
    assert SECRET not in repr(entries)


async def test_a_signature_in_hex_is_taken_too(sqlite_door: Door) -> None:
    body = json.dumps(LINKED).encode()
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert (await sqlite_door.wandb(body, mac)).status_code == 204
    assert (await sqlite_door.wandb(body, f"sha256={mac}")).status_code == 204


async def test_a_signature_of_another_body_is_refused(sqlite_door: Door) -> None:
    mac = base64.b64encode(hmac.new(SECRET.encode(), b"{}", hashlib.sha256).digest()).decode()
    assert (await sqlite_door.wandb(LINKED, mac)).status_code == 401


async def test_bodies_are_json_and_bounded(sqlite_door: Door) -> None:
    assert (await sqlite_door.wandb(b"[")).status_code == 400
    assert (await sqlite_door.wandb(b"[]")).status_code == 400
    assert (await sqlite_door.wandb(b" " * (1024 * 1024 + 1))).status_code == 413
    assert (await sqlite_door.http.get(WANDB)).status_code == 405


async def test_the_same_event_many_times_at_once_is_one_version(door: Door) -> None:
    answers = await asyncio.gather(*(door.wandb(LINKED) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {204}
    assert (await door.picture()).of("ModelVersion") == {"1"}


async def test_a_replay_leaves_no_change(door: Door) -> None:
    for _ in range(2):
        await door.wandb(LINKED)
        await door.hub(PUSHED)
        before = await building.sequenced(door.graph)
    assert [change.action for change in before] == ["recordWebhook"] * 2


async def test_the_application_takes_webhooks_by_its_settings_without_a_token(tmp_path: Path) -> None:
    settings = Settings.load(
        graph=f"sqlite:///{tmp_path / 'lineal.db'}",
        keys=tmp_path / "keys",
        wandb_secret=SECRET,
        wandb_workspace="vision",
    )
    async with opened(settings) as graph:
        await building.workspace(graph, "vision")
        app = create_app(settings, graph, Telemetry())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321") as http:
            door = Door(http, graph)
            assert (await door.wandb(LINKED)).status_code == 204
            answer = await door.hub(PUSHED)
            assert answer.status_code == 404
            assert "no secret for /api/v1/hooks/huggingface is configured" in answer.json()["detail"]
        assert ("ModelVersion", "churn", "1") in (await picture(graph, "vision")).nodes
