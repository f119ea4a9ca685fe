"""What is written: resources made, changed and deleted, with keys and preconditions."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.rest.examples import BODIES, PARTS
from gateway.rest.openapi import tag_of
from gateway.rest.routes import NOUNS, routes
from schema.sdl import build_schema
from tests.gateway.rest.conftest import ORIGIN, Client
from tests.schema.conftest import Story

ROUTES = {route.name: route for route in routes(build_schema()._schema)}


async def test_what_is_made_is_found_where_its_location_says(rest: Client) -> None:
    answer = await rest.send("POST", "/models", json={"name": "resnet", "task": "vision"})
    assert answer.status_code == 201
    where = answer.headers["location"]
    assert where == f"{ORIGIN}/api/v1/models/{answer.json()['id']}"
    assert (await rest.get(where.partition("/api/v1")[2])) == answer.json()
    version = await rest.send("POST", "/models/resnet/versions", json={"metrics": [{"name": "auc", "value": "NaN"}]})
    assert version.headers["location"].startswith(f"{ORIGIN}/api/v1/model-versions/mv_")
    assert version.json()["metrics"][0]["value"] == "NaN"


async def test_a_change_leaves_what_it_does_not_name_and_null_takes_away(rest: Client) -> None:
    await rest.ask("PATCH", "/models/bert", {"description": "Answers."})
    assert (await rest.ask("PATCH", "/models/bert", {"task": None}))["description"] == "Answers."
    assert (await rest.get("/models/bert"))["task"] is None
    merge = {"content-type": "application/merge-patch+json"}
    answer = await rest.send("PATCH", "/models/bert", content=b'{"task":"t"}', headers=merge)
    assert answer.json()["task"] == "t"


async def test_a_write_happens_only_in_the_revision_that_if_match_names(rest: Client) -> None:
    seen = (await rest.send("GET", "/models/bert")).headers["etag"]
    changed = await rest.send("PATCH", "/models/bert", json={"task": "t"}, headers={"if-match": seen})
    assert changed.status_code == 200
    problem = await rest.refused("PATCH", "/models/bert", 412, {"task": "u"}, headers={"if-match": seen})
    assert problem["code"] == "CONFLICT"
    assert problem["field"] == "If-Match"
    assert problem["details"] == {"expected": 2, "actual": 3}
    assert (await rest.get("/models/bert"))["task"] == "t"
    for plain in ('"3"', "*", f"W/{changed.headers['etag']}"):
        same = await rest.send("PATCH", "/models/bert", json={"task": "t"}, headers={"if-match": plain})
        assert same.status_code == 200, plain


@pytest.mark.parametrize(
    ("match", "status"),
    [("3", 412), ('"three"', 412), ('"3", "4"', 400), ('"99999999999"', 412), ('"4294967296"', 412)],
)
async def test_an_entity_tag_that_no_revision_has_matches_nothing(rest: Client, match: str, status: int) -> None:
    problem = await rest.refused("DELETE", "/models/bert", status, headers={"if-match": match})
    assert problem["field"] == "If-Match"


async def test_a_precondition_or_key_that_cannot_be_kept_is_refused(rest: Client) -> None:
    problem = await rest.refused("PUT", "/nodes/x/watch", 400, headers={"if-match": '"1"'})
    assert problem["field"] == "If-Match"
    problem = await rest.refused("PATCH", "/models/bert", 400, {"task": "t"}, headers={"idempotency-key": "k"})
    assert problem["field"] == "Idempotency-Key"


async def test_the_same_key_and_body_give_the_first_answer_again(rest: Client) -> None:
    key = {"idempotency-key": "made-once"}
    first = await rest.send("POST", "/models", json={"name": "resnet"}, headers=key)
    again = await rest.send("POST", "/models", json={"name": "resnet"}, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    problem = await rest.refused("POST", "/models", 409, {"name": "other"}, headers=key)
    assert problem["code"] == "CONFLICT"
    problem = await rest.refused("POST", "/models", 400, {"name": "third"}, headers={"idempotency-key": "k" * 1_000})
    assert problem["field"] == "Idempotency-Key"


async def test_what_is_there_already_is_a_conflict(rest: Client) -> None:
    assert (await rest.refused("POST", "/models", 409, {"name": "bert"}))["code"] == "ALREADY_EXISTS"


async def test_names_aliases_tags_and_owners_are_resources(rest: Client, story: Story) -> None:
    assert (await rest.ask("PUT", "/models/bert/name", {"name": "bart"}))["name"] == "bart"
    assert (await rest.ask("PUT", "/models/bart/aliases/a%2Fb", {"version": "models:/bart/2"}))["aliases"] == ["a/b"]
    assert (await rest.get("/models/bart/aliases/a%2Fb"))["number"] == 2
    assert (await rest.ask("DELETE", "/models/bart/aliases/a%2Fb"))["name"] == "bart"
    await rest.refused("GET", "/models/bart/aliases/a%2Fb", 404)
    node = f"/nodes/{story.model.id}"
    tagged = await rest.ask("POST", f"{node}/tags", {"tags": [{"name": "x", "value": "1"}]})
    assert {"name": "x", "value": "1"} in tagged["tags"]
    assert (await rest.ask("DELETE", f"{node}/tags?names=x&names=area"))["tags"] == []
    await rest.ask("PUT", f"{node}/owners", {"owners": ["teams:/search-team"]})
    assert [item["name"] for item in (await rest.get(f"{node}/owners"))["items"]] == ["search-team"]


async def test_members_of_a_workspace_are_resources(rest: Client) -> None:
    await rest.ask("POST", "/workspaces", {"name": "vision"}, 201)
    await rest.ask("PUT", "/workspaces/vision/members/teams%3A%2Fsearch-team", {"role": "VIEWER"})
    (member,) = [m for m in (await rest.get("/workspaces/vision/members"))["items"] if m["kind"] == "TEAM"]
    assert member["edge"]["discriminator"] == "VIEWER"
    await rest.ask("DELETE", "/workspaces/vision/members/teams%3A%2Fsearch-team")
    assert not [m for m in (await rest.get("/workspaces/vision/members"))["items"] if m["kind"] == "TEAM"]


async def test_what_is_deleted_is_gone(rest: Client) -> None:
    assert (await rest.ask("POST", "/models", {"name": "gone"}))["revision"] == 1
    assert (await rest.ask("DELETE", "/models/gone", None, 200, if_match='"1"'))["parts"] == 0
    await rest.refused("GET", "/models/gone", 404)
    assert (await rest.refused("DELETE", "/models/gone", 404))["code"] == "NOT_FOUND"
    assert (await rest.refused("DELETE", "/models/bert", 412))["code"] == "PRECONDITION_FAILED"


async def test_nothing_to_do_is_no_content(rest: Client) -> None:
    await rest.ask("POST", "/validation-leases", {"suites": ["quality"], "worker": "w"}, 204)


async def test_several_things_that_were_written_come_as_a_list(rest: Client) -> None:
    made = await rest.ask("POST", "/datasets/nq/fields", {"fields": [{"name": "answer"}, {"name": "context"}]})
    assert [item["name"] for item in made["items"]] == ["answer", "context"]
    edge = {"from": "models:/bert/2", "kind": "DERIVED_FROM", "to": "models:/bert/1", "discriminator": "finetune"}
    assert (await rest.ask("POST", "/lineage-records", {"edges": [edge]}))["items"] == []
    parents = await rest.get("/model-versions/bert%2F2/derived-from")
    assert [item["edge"]["discriminator"] for item in parents["items"]] == ["finetune"]


async def test_fields_says_what_is_given_of_what_was_written(rest: Client) -> None:
    made = await rest.send("POST", "/models?fields=name,workspace.name", json={"name": "resnet"})
    assert made.json() == {"name": "resnet", "workspace": {"name": "default"}}
    assert "/models/mo_" in made.headers["location"]
    await rest.refused("POST", "/models?fields=nmae", 400, {"name": "other"})
    await rest.refused("GET", "/models/other", 404)


@pytest.mark.parametrize("name", BODIES)
async def test_the_example_of_a_body_is_taken(rest: Client, story: Story, name: str) -> None:
    route = ROUTES[name]
    path = route.path
    for given, _ in route.inputs:
        kind = NOUNS[tag_of(route)][0] if tag_of(route) in NOUNS else ""
        path = path.replace(
            f"{{{given}}}", story.model.id if given == "node" else PARTS.get(kind, "x").replace("/", "%2F")
        )
        path = path.replace("aliases/bert", "aliases/candidate")
    if name == "createModelVersion":
        await rest.ask("POST", "/models", {"name": "resnet"})
        path = "/models/resnet/versions"
    body: dict[str, Any] = BODIES[name]
    answer = await rest.send(route.method, path, json=body)
    assert answer.status_code == route.status, answer.text
