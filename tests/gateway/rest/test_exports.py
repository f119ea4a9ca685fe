"""GET /lineage?format=…: the same lineage as a file, under the same scopes and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette

from auth.caller import Caller
from gateway.bytes import create_bytes_route
from gateway.rest import exports
from gateway.rest.openapi import build_openapi
from graph.port import Graph, NewEdge
from resolvers.bytes import Bytes
from resolvers.exporting.exporting import FORMATS, Exported, Format, export
from resolvers.exporting.linking import AREA
from resolvers.operation import Operation
from resolvers.reading import Lineage
from schema.sdl import build_schema
from storage.local import LocalStorage
from tests import building as b
from tests.gateway.rest.conftest import Client, serving
from tests.schema.conftest import Story
from tests.storage.storing import SECRET

OF = {"croissant": "datasets:/nq/v1", "model-card": "models:/bert/3"}


@pytest.mark.parametrize("name", FORMATS)
async def test_a_form_has_its_media_type_and_a_name_for_its_file(rest: Client, name: str) -> None:
    form, of = FORMATS[name], OF.get(name, "deployments:/search")
    answer = await rest.send("GET", f"/lineage?of={of}&direction=UPSTREAM&format={name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == form.media_type
    assert f'filename="lineage{form.ending}"' in answer.headers["content-disposition"]
    assert answer.headers["lineal-complete"] == "true"
    if "json" in form.media_type:
        orjson.loads(answer.content)


async def test_a_large_one_is_made_once_and_is_at_an_address_that_opens_without_a_token(
    sqlite_graph: Graph, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    async def counted(op: Operation, found: Lineage, format: Format, **how: Any) -> Exported:
        made.append(format.name)
        return await export(op, found, format, **how)

    monkeypatch.setattr("schema.export.export", counted)
    path = "/lineage?of=models:/bert/3&direction=UPSTREAM&format=mermaid"
    async with LocalStorage(tmp_path, SECRET) as storage:
        async with serving(sqlite_graph, bytes=Bytes(storage)) as rest:
            whole = (await rest.send("GET", path)).content
        monkeypatch.setattr(exports, "INLINE", len(whole) - 1)
        async with serving(sqlite_graph, bytes=Bytes(storage)) as rest:
            made.clear()
            answer = await rest.send("GET", path)
        assert (answer.status_code, answer.content) == (303, b"")
        files = httpx.ASGITransport(Starlette(routes=[create_bytes_route(storage)]))
        async with httpx.AsyncClient(transport=files) as http:
            assert (await http.get(answer.headers["location"])).content == whole
    assert made == ["mermaid"]


async def test_one_that_is_in_the_answer_is_not_kept_besides(sqlite_graph: Graph, story: Story, tmp_path: Path) -> None:
    async with LocalStorage(tmp_path, SECRET) as storage, serving(sqlite_graph, bytes=Bytes(storage)) as rest:
        await rest.send("GET", "/lineage?of=models:/bert/3&direction=UPSTREAM&format=mermaid")
        assert [blob async for blob in storage.blobs(AREA)] == []


async def test_without_a_form_lineage_is_json_as_ever(rest: Client) -> None:
    lineage = await rest.get("/lineage?of=models:/bert/3&direction=UPSTREAM")
    assert lineage["complete"] is True


async def test_what_was_cut_off_is_said_in_the_file_and_beside_it(rest: Client) -> None:
    answer = await rest.send("GET", "/lineage?of=models:/bert/3&direction=UPSTREAM&depth=1&format=mermaid")
    assert answer.headers["lineal-complete"] == "false"
    assert "%% Not complete: 1 of the walked nodes has more behind them." in answer.text


async def test_what_was_not_asked_for_is_said_too(rest: Client) -> None:
    path = "/lineage?of=models:/bert/3&direction=UPSTREAM&format=mermaid&edges=DERIVED_FROM"
    answer = await rest.send("GET", path)
    assert answer.headers["lineal-complete"] == "false"
    assert "%% Only edges of the kinds asked for were walked." in answer.text


async def test_a_client_that_takes_no_such_media_type_is_told(rest: Client) -> None:
    path = "/lineage?of=models:/bert/3&direction=UPSTREAM&format=graphml"
    problem = await rest.refused("GET", path, 406, headers={"accept": "application/json"})
    assert "application/graphml+xml" in problem["detail"]
    assert (await rest.send("GET", path, headers={"accept": "application/*"})).status_code == 200


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("of=models:/bert/3&direction=UPSTREAM&format=pdf", "format", "must be one of prov-json, prov-n"),
        ("of=models:/bert/3&direction=UPSTREAM&format=dot&format=spdx", "format", "must be given once"),
        ("of=models:/bert/3&direction=UPSTREAM&format=dot&fields=name", "fields", "there is no such parameter"),
        ("of=models:/bert/3&format=dot", "direction", "must be given"),
        ("of=models:/bert/3&direction=UPSTREAM&format=croissant", "of", "Croissant is of one DatasetVersion"),
        ("of=models:/bert/3&direction=UPSTREAM&format=dot&limit=0", "limit", "must be"),
    ],
)
async def test_what_is_wrong_is_named(rest: Client, query: str, field: str, said: str) -> None:
    problem = await rest.refused("GET", f"/lineage?{query}", 400)
    assert (problem["field"], said in problem["detail"]) == (field, True), problem


async def test_an_export_needs_what_reading_lineage_needs(rest: Client) -> None:
    rest.caller = Caller("bob", frozenset({"model:read"}), workspaces=None)
    answer = await rest.send("GET", "/lineage?of=models:/bert/3&direction=UPSTREAM&format=dot")
    assert answer.status_code == 403
    assert answer.json()["details"] == {"requiredScopes": [["lineage:read"]]}
    assert 'scope="lineage:read"' in answer.headers["www-authenticate"]


async def test_what_may_not_be_read_has_no_name_in_any_form(rest: Client, sqlite_graph: Graph, story: Story) -> None:
    await b.workspace(sqlite_graph, "secret")
    _, (hidden,) = await b.model(sqlite_graph, "basalt", versions=1, workspace="secret")
    await b.link(sqlite_graph, NewEdge("DERIVED_FROM", story.versions[0].id, hidden.id, "merge"))
    scopes = frozenset({"lineage:read", "model:read", "dataset:read"})
    rest.caller = Caller("bob", scopes, workspaces=frozenset({"default"}))
    for name in FORMATS.keys() - {"croissant"}:
        answer = await rest.send("GET", f"/lineage?of=models:/bert/3&direction=UPSTREAM&format={name}")
        assert answer.status_code == 200, answer.text
        assert "basalt" not in answer.text
        assert hidden.id not in answer.text
        assert "restricted" in answer.text


def test_the_openapi_document_names_the_forms_and_their_media_types() -> None:
    built = build_schema()
    lineage = build_openapi(built._schema, built.gates.fields, "1")["paths"]["/api/v1/lineage"]["get"]
    (form,) = [each for each in lineage["parameters"] if each.get("name") == "format"]
    assert form["schema"]["enum"] == list(FORMATS)
    assert lineage["responses"]["200"]["content"].keys() == {form.media_type for form in FORMATS.values()}
