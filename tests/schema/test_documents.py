"""Documents that are known by name: trusted ones, and those that clients taught."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from graph.port import Graph
from lineal.errors import InvalidArgument
from schema.documents import MAX_TAUGHT, Documents, load
from schema.transport import GRAPHQL_TYPE
from tests import building as b
from tests.schema.test_over_http import client

MODELS = "query Models { models { nodes { name } } }"
RENAME = 'mutation { registerModel(input: {name: "x"}) { model { name } } }'
HASH = hashlib.sha256(MODELS.encode()).hexdigest()
TRUSTED = {HASH: MODELS, "write": RENAME}


def _persisted(hash: object = HASH, version: int = 1) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": version, "sha256Hash": hash}}}


@pytest.mark.parametrize("id", [HASH, f"sha256:{HASH}"])
async def test_a_trusted_document_is_asked_for_by_its_name(sqlite_graph: Graph, id: str) -> None:
    async with client(sqlite_graph, documents=Documents(TRUSTED)) as http:
        for answer in (await http.post("", json={"documentId": id}), await http.get("", params={"documentId": id})):
            assert answer.json() == {"data": {"models": {"nodes": []}}}
        assert (await http.post("", json=_persisted())).json() == {"data": {"models": {"nodes": []}}}
        assert (await http.post("", json={"query": "{ __typename }"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"documentId": "nope"}, 404, "NOT_FOUND"),
        ({"documentId": 5}, 400, "INVALID_ARGUMENT"),
        ({"documentId": HASH, "query": MODELS}, 400, "INVALID_ARGUMENT"),
        (_persisted(5), 400, "INVALID_ARGUMENT"),
        (_persisted(version=2), 400, "INVALID_ARGUMENT"),
        ({"extensions": {"persistedQuery": HASH}}, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_what_is_no_name_of_a_document_is_refused(
    sqlite_graph: Graph, body: Mapping[str, Any], status: int, code: str
) -> None:
    async with client(sqlite_graph, documents=Documents(TRUSTED, taught=5)) as http:
        answer = await http.post("", json=body)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["extensions"]["code"] == code


async def test_nothing_else_runs_where_only_trusted_documents_may(sqlite_graph: Graph) -> None:
    async with client(sqlite_graph, documents=Documents(TRUSTED, only=True, taught=5)) as http:
        assert (await http.post("", json={"documentId": HASH})).status_code == 200
        assert (await http.post("", json={"query": MODELS, **_persisted()})).status_code == 403
        for text in ("{ __typename }", MODELS, "{ __schema { types { name } } }"):
            refused = await http.post("", json={"query": text})
            assert refused.status_code == 403
            assert refused.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_trusted_mutation_does_not_come_by_get(sqlite_graph: Graph) -> None:
    async with client(sqlite_graph, documents=Documents(TRUSTED)) as http:
        assert (await http.get("", params={"documentId": "write"})).status_code == 405


async def test_what_a_trusted_document_gives_by_get_can_be_kept(sqlite_graph: Graph) -> None:
    async with client(sqlite_graph, documents=Documents(TRUSTED)) as http:
        first = await http.get("", params={"documentId": HASH})
        tag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        for known in (tag, f'"other", {tag}', "*"):
            again = await http.get("", params={"documentId": HASH}, headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        await b.model(sqlite_graph, "bert")
        changed = await http.get("", params={"documentId": HASH}, headers={"if-none-match": tag})
        assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)
        for answer in (
            await http.post("", json={"documentId": HASH}),
            await http.get("", params={"query": MODELS}),
            await http.get("", params={"documentId": HASH, "variables": "{"}),
        ):
            assert "etag" not in answer.headers


async def test_a_kept_answer_may_be_compressed(sqlite_graph: Graph) -> None:
    for n in range(40):
        await b.model(sqlite_graph, f"model-with-a-name-{n}")
    async with client(sqlite_graph, documents=Documents(TRUSTED)) as http:
        request = http.build_request("GET", "", params={"documentId": HASH}, headers={"accept-encoding": "gzip"})
        answer = await http.send(request, stream=True)
        sent = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["etag"].startswith('W/"')
    assert len(json.loads(gzip.decompress(sent))["data"]["models"]["nodes"]) == 40


@pytest.mark.parametrize(("accept", "status"), [("application/json", 200), (GRAPHQL_TYPE, 400)])
async def test_a_client_teaches_a_document_by_its_hash(sqlite_graph: Graph, accept: str, status: int) -> None:
    async with client(sqlite_graph, documents=Documents(taught=2)) as http:
        http.headers["accept"] = accept
        unknown = await http.post("", json=_persisted())
        assert unknown.status_code == status
        (error,) = unknown.json()["errors"]
        assert (error["message"], error["extensions"]["code"]) == (
            "PersistedQueryNotFound",
            "PERSISTED_QUERY_NOT_FOUND",
        )
        taught = await http.post("", json={"query": MODELS, **_persisted()})
        assert taught.json() == {"data": {"models": {"nodes": []}}}
        extensions = json.dumps(_persisted()["extensions"])
        assert (await http.get("", params={"extensions": extensions})).json() == taught.json()
        lie = await http.post("", json={"query": "{ __typename }", **_persisted()})
        assert (lie.status_code, lie.json()["errors"][0]["extensions"]["code"]) == (400, "INVALID_ARGUMENT")


async def test_only_so_many_documents_are_remembered_and_none_that_is_too_long(sqlite_graph: Graph) -> None:
    texts = [f"{{ a{n}: __typename }}" for n in range(3)] + ["{ __typename } #" + "x" * MAX_TAUGHT]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    async with client(sqlite_graph, documents=Documents(taught=2)) as http:
        for text, hash in zip(texts, hashes, strict=True):
            assert "data" in (await http.post("", json={"query": text, **_persisted(hash)})).json()
        known = ["data" in (await http.post("", json=_persisted(hash))).json() for hash in hashes]
    assert known == [False, True, True, False]


async def test_clients_are_told_where_nothing_can_be_taught(sqlite_graph: Graph) -> None:
    async with client(sqlite_graph) as http:
        answer = (await http.post("", json={"query": MODELS, **_persisted()})).json()
    assert answer["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_SUPPORTED"


def test_manifests_of_every_tool_are_read(tmp_path: Path) -> None:
    codegen, apollo = tmp_path / "persisted-documents.json", tmp_path / "apollo.json"
    codegen.write_text(json.dumps({HASH: MODELS}))
    operation = {"id": "b", "name": "B", "type": "query", "body": "query B { __typename }"}
    apollo.write_text(
        json.dumps({"format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation]})
    )
    assert load([codegen, apollo, codegen]) == {HASH: MODELS, "b": "query B { __typename }"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object of names and documents"),
        ("{}", "must be an object of names and documents"),
        ('{"a": 5}', "must be an object of names and documents"),
        ('{"": "{ a }"}', "must be an object of names and documents"),
        ('{"format": "apollo-persisted-query-manifest", "operations": 5}', "must be an object of names"),
        ('{"format": "apollo-persisted-query-manifest", "operations": [{"id": "a"}]}', "must be an object of names"),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "documents.json"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match=rf"documents\.json: {message}"):
        load([path])


def test_a_manifest_that_is_missing_or_says_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"none\.json: cannot be read"):
        load([tmp_path / "none.json"])
    for name, text in (("a", "{ a }"), ("b", "{ b }")):
        (tmp_path / name).write_text(json.dumps({"id": text}))
    with pytest.raises(InvalidArgument, match="'id' is another document"):
        load([tmp_path / "a", tmp_path / "b"])


def test_a_manifest_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schema.documents.MAX_MANIFEST", 5)
    (tmp_path / "a").write_text('{"a": "{ b }"}')
    with pytest.raises(InvalidArgument, match="is larger than 5 bytes"):
        load([tmp_path / "a"])
