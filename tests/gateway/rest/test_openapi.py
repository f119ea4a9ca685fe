"""The OpenAPI document: committed, valid, and of every route; the page that shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auth.caller import Caller
from auth.scopes import SCOPES
from gateway.rest.pages import PATHS
from lineal.rest import print_openapi
from tests.gateway.rest.conftest import ORIGIN, Client

COMMITTED = Path(__file__).parents[3] / "schema" / "openapi.json"
DOCUMENT: dict[str, Any] = json.loads(print_openapi())
OPERATIONS = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]


def test_the_committed_document_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == print_openapi(), "run: lineal openapi > schema/openapi.json"


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = set(re.findall(r'"\$ref":"#/components/([^"]+)"', print_openapi()))
    there = {f"{group}/{name}" for group, parts in DOCUMENT["components"].items() for name in parts}
    assert used <= there
    assert there - used == {"securitySchemes/bearer"}


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for parameter in DOCUMENT["components"]["parameters"].values():
        if "schema" in parameter:
            jsonschema.Draft202012Validator.check_schema(parameter["schema"])


def test_operations_say_what_they_need_and_how_they_answer() -> None:
    for operation in OPERATIONS:
        assert operation["summary"]
        for needed in operation["security"]:
            assert set(needed["bearer"]) <= SCOPES.keys()
        # What a hub's secret opens has no scopes that could be too few.
        refused = {"400", "401", "503"} | ({"403"} if operation["security"] else set())
        assert refused <= operation["responses"].keys()
        assert any(status.startswith("2") for status in operation["responses"])
    by_name = {operation["operationId"]: operation for operation in OPERATIONS}
    assert len(by_name) == len(OPERATIONS)
    assert {name for name, operation in by_name.items() if not operation["security"]} == {
        *("recordWandbWebhook", "recordHuggingFaceWebhook")
    }
    assert by_name["setStage"]["security"] == [{"bearer": ["lifecycle:approve", "model:read", "model:write"]}]


def test_everything_is_described() -> None:
    for name, parameter in DOCUMENT["components"]["parameters"].items():
        assert parameter["description"], name
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for key, part in schema.get("properties", {}).items():
            assert "$ref" in part or name.endswith(("Part", "List")) or name == "Problem" or part["description"], (
                name,
                key,
            )


async def test_the_document_is_served_to_those_who_may_read_the_schema(rest: Client) -> None:
    rest.caller = Caller("ann", frozenset({"schema:read"}))
    answer = await rest.send("GET", "/openapi.json")
    assert answer.json() == DOCUMENT
    again = await rest.send("GET", "/openapi.json", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    rest.caller = Caller("ann", frozenset({"model:read"}))
    problem = await rest.refused("GET", "/openapi.json", 403)
    assert problem["details"]["requiredScopes"] == [["schema:read"]]


async def test_the_page_loads_nothing_from_elsewhere(rest: Client) -> None:
    rest.caller = Caller("anonymous")
    for path in PATHS:
        answer = await rest.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://|innerHTML|eval\(|style=", answer.text)
    page = (await rest.http.get(f"{ORIGIN}/api/v1/docs")).text
    for linked in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert f"/api/v1/{linked}" in PATHS
    assert (await rest.send("GET", "/docs/nope.js")).status_code == 404


@pytest.mark.parametrize("name", ["docs.html", "docs.js", "docs.css"])
def test_the_page_is_in_the_package(name: str) -> None:
    import gateway.rest

    assert (Path(gateway.rest.__file__).parent / "page" / name).is_file()
