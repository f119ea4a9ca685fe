"""What is refused: as problem+json, naming what is wrong, and with the challenges that OAuth asks for."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from auth.caller import Caller
from graph.port import Graph
from schema.limits import Limits
from tests.gateway.rest.conftest import ADMIN, Client, serving
from tests.gateway.rest.test_access import PLANS, sample
from tests.schema.conftest import Story


async def test_a_wrong_body_is_refused_naming_every_place(rest: Client) -> None:
    body = {"tags": [{"name": "x", "value": 1}, {"value": "y"}]}
    problem = await rest.refused("POST", "/models", 400, body)
    assert problem["code"] == "INVALID_ARGUMENT"
    assert {"name", "tags[0].value", "tags[1].name"} == {error["field"] for error in problem["errors"]}
    assert problem["detail"].startswith(f"{problem['field']}: ")


async def test_wrong_parameters_are_named_as_they_were_given(rest: Client) -> None:
    problem = await rest.refused("GET", "/lineage?direction=SIDEWAYS&depth=deep", 400)
    assert {"of", "direction", "depth"} == {error["field"] for error in problem["errors"]}
    assert (await rest.refused("GET", "/models?limit=0", 400))["field"] == "limit"
    assert (await rest.refused("GET", "/models?cursor=nope", 400))["detail"].startswith("cursor: must be a cursor")
    assert (await rest.refused("GET", "/models?where=[", 400))["field"] == "where"
    assert (await rest.refused("GET", '/models?where={"nmae":1}', 400))["field"] == "where"
    assert (await rest.refused("GET", "/models?total=maybe", 400))["field"] == "total"
    assert "name, createdAt" in (await rest.refused("GET", "/models?order=colour", 400))["detail"]
    assert (await rest.refused("GET", "/models?externall=true", 400))["field"] == "externall"
    assert (await rest.refused("GET", "/models?external=perhaps", 400))["code"] == "INVALID_ARGUMENT"
    assert (await rest.refused("GET", "/models?limit=1&limit=2", 400))["field"] == "limit"
    assert (await rest.refused("GET", "/models?fields=name&fields=id", 400))["field"] == "fields"
    assert (await rest.refused("GET", "/models?tags=x", 400))["field"] == "tags"
    assert (await rest.refused("GET", "/models?name[x]=x", 400))["field"] == "name[x]"
    await rest.refused("GET", "/models?" + "&".join(f"name=n{n}" for n in range(300)), 400)
    await rest.refused("GET", "/models?name=%FF", 400)
    await rest.refused("GET", "/models/%FF", 400)


@pytest.mark.parametrize(
    ("content", "type_", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"name":"a","nmae":1}', "application/json", 400),
        (b'"\\ud800"', "application/json", 400),
        (b"name: a", "application/yaml", 415),
        (b'{"name":"a"}', "application/merge-patch+json", 415),
        (b'{"name":"a"}', "", 415),
        (b'{"name":"' + b"a" * 5_000_000 + b'"}', "application/json", 413),
        (b"", "application/json", 400),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(rest: Client, content: bytes, type_: str, status: int) -> None:
    await rest.refused("POST", "/models", status, content=content, headers={"content-type": type_})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/models?where=" + quote('{"and":[' * 480 + "{}" + "]}" * 480), ""),
        ("PATCH", "/models/bert", '{"attributes":{"a":' + "[" * 900 + "]" * 900 + "}}"),
        ("POST", "/gates", '{"name":"g","stage":"x","conditions":[' + "[" * 900 + "]" * 900 + "]}"),
    ],
)
async def test_what_nests_too_deep_is_refused(rest: Client, method: str, path: str, body: str) -> None:
    more = {"content": body, "headers": {"content-type": "application/json"}} if body else {}
    problem = await rest.refused(method, path, 422, **more)
    assert problem["details"] == {"limit": "levels", "maximum": 64}


@pytest.mark.parametrize(
    "path",
    ["/models?", "/models/bert/versions?", "/search?text=bert&", "/marked?", "/models/bert/history?"],
)
@pytest.mark.parametrize(
    "cursor", [["a", 1, 2, 3], [None], [10**30, "a"], ["\ud800", "a"], [["a"]], [], {}, [1, 2], ["a"]]
)
async def test_a_cursor_that_no_list_gave_is_refused(rest: Client, path: str, cursor: Any) -> None:
    given = base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode().rstrip("=")
    assert (await rest.refused("GET", f"{path}cursor={given}", 400))["field"] == "cursor"


async def test_a_body_where_none_is_taken_is_refused(rest: Client) -> None:
    await rest.refused("DELETE", "/models/bert", 400, {"revision": 1})
    await rest.refused("PUT", "/nodes/x/watch", 400, {"node": "y"})


async def test_a_method_that_is_not_possible_names_those_that_are(rest: Client) -> None:
    answer = await rest.send("PUT", "/models")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert (await rest.send("POST", "/openapi.json")).headers["allow"] == "GET, HEAD"
    assert (await rest.send("GET", "/validation-leases")).headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/html", 406), ("application/json;q=0", 406), ("text/html, */*;q=0.1", 200), ("application/*", 200)],
)
async def test_answers_are_json_or_nothing(rest: Client, accept: str, status: int) -> None:
    assert (await rest.send("GET", "/models", headers={"accept": accept})).status_code == status


async def test_what_is_too_much_names_the_limit(sqlite_graph: Graph, story: Story) -> None:
    async with serving(sqlite_graph, Limits(depth=5, body=100)) as rest:
        problem = await rest.refused("GET", "/models?fields=versions.nodes.model.versions.nodes.name", 422)
        assert problem["code"] == "LIMIT_EXCEEDED"
        assert problem["details"] == {"limit": "depth", "maximum": 5}
        assert (await rest.refused("POST", "/models", 413, {"name": "n" * 100}))["code"] == "LIMIT_EXCEEDED"


async def test_whoever_has_too_few_scopes_is_told_which_would_do_and_it_is_audited(rest: Client) -> None:
    rest.caller = Caller("ann", frozenset({"model:read"}), workspaces=None)
    answer = await rest.send("POST", "/models", json={"name": "resnet"})
    assert answer.status_code == 403
    assert answer.json()["code"] == "FORBIDDEN"
    assert answer.json()["details"]["requiredScopes"] == [["model:read", "model:write"]]
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="model:read model:write"' in answer.headers["www-authenticate"]
    assert "resource_metadata=" in answer.headers["www-authenticate"]
    rest.caller = ADMIN
    entries = (await rest.get("/audit?noted=true"))["items"]
    refused = next(entry for entry in entries if entry["action"] == "refused")
    assert refused["by"] == "ann"
    assert refused["address"] == "10.0.0.1"
    assert refused["data"]["noted"]["action"] == "mutation registerModel"


async def test_whoever_is_not_known_is_asked_for_a_token(rest: Client) -> None:
    rest.caller = Caller("anonymous", frozenset())
    answer = await rest.send("GET", "/models")
    assert answer.status_code == 401
    assert answer.json()["code"] == "UNAUTHENTICATED"
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "error=" not in answer.headers["www-authenticate"]


async def test_whoever_was_deactivated_gets_nothing(rest: Client) -> None:
    await rest.ask("POST", "/principals", {"name": "bob", "type": "USER"}, 201)
    await rest.ask("POST", "/principals/bob/deactivate")
    rest.caller = Caller("bob", frozenset({"model:read"}), workspaces=None)
    answer = await rest.send("GET", "/models")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_whoever_has_too_small_a_role_is_refused_without_a_challenge(rest: Client) -> None:
    rest.caller = Caller("eve", frozenset({"model:read", "model:write", "workspace:read"}))
    answer = await rest.send("POST", "/models", json={"name": "resnet"})
    assert answer.status_code in {403, 404}
    assert "www-authenticate" not in answer.headers


async def test_a_defect_is_masked_and_has_an_id(rest: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("bolt://user:secret@host")

    monkeypatch.setattr("resolvers.reading.search", broken)
    problem = await rest.refused("GET", "/search?text=bert", 500)
    assert problem["code"] == "INTERNAL"
    assert "secret" not in str(problem)
    assert problem["details"]["id"]


async def test_what_an_admin_reads_is_audited_as_in_graphql(rest: Client) -> None:
    await rest.get("/models/bert")
    entries = (await rest.get("/audit?action=read"))["items"]
    assert ["model"] in [entry["data"]["noted"]["data"].get("fields") for entry in entries]


async def test_what_others_answer_under_the_same_address_is_known_as_a_method_of_its_path(rest: Client) -> None:
    for method, path, allowed in (
        ("POST", "/events", "GET, HEAD"),
        ("GET", "/lineage/batch", "POST"),
        ("DELETE", "/lineage", "GET, HEAD, POST"),
    ):
        await rest.refused(method, path, 405)
        assert (await rest.send(method, path)).headers["allow"] == allowed


async def test_where_no_body_is_taken_an_empty_object_is_none(rest: Client) -> None:
    await rest.ask("POST", "/principals", {"name": "bob", "type": "USER"}, 201)
    json = {"content-type": "application/json"}
    assert (await rest.send("POST", "/principals/bob/deactivate", content=b" {} ", headers=json)).status_code == 200
    problem = await rest.refused("POST", "/principals/bob/reactivate", 400, {"now": True})
    assert problem["detail"] == "the body must be empty: this operation takes none"


@pytest.mark.parametrize("settings", [1, True, "x", [1], [[]]])
async def test_settings_of_a_validation_that_are_no_object_are_bad_input(rest: Client, settings: Any) -> None:
    body = {"suite": "quality", "settings": settings}
    problem = await rest.refused("POST", "/model-versions/bert%2F1/validations", 400, body)
    assert problem["field"] == "settings"
    assert problem["detail"].startswith("settings: must be a JSON object, not ")


ODD: tuple[Any, ...] = (True, -1, 2**63, 1.5, "a\x00b", [None], {"a": {"b": 1}})


async def test_whatever_stands_in_a_field_of_a_body_is_no_defect(rest: Client) -> None:
    tried = 0
    for plan in PLANS:
        path, more = sample(plan)
        for name in plan.body:
            for value in ODD:
                answer = await rest.send(plan.route.method, path, json={**more.get("json", {}), name: value})
                # This server sends no webhooks.
                assert answer.status_code < 500 or answer.status_code == 503, (plan.name, name, value, answer.text)
                tried += 1
    assert tried > 1_000
