"""GraphQL over HTTP: strict about what comes in, JSON whatever goes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from auth.caller import ANONYMOUS, Caller
from graph.port import Graph, NewNode, Point, Snapshot, View
from lineal.errors import Unavailable
from resolvers.operation import Operation
from schema.executing import Operated
from schema.limits import Limits
from schema.view import create_graphql_app
from tests import building as b

NEWER = "application/graphql-response+json"


@pytest.fixture
def operations() -> list[Operated]:
    """What the application reported."""
    return []


@pytest.fixture
async def http(sqlite_graph: Graph, operations: list[Operated]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, in this process."""
    app = create_graphql_app(sqlite_graph, limits=Limits(body=2_000), on_operation=operations.append)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as client:
        yield client


def _error(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/json")
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"]
    return dict(error)


async def test_a_query_is_answered_as_json_and_reported(
    http: httpx.AsyncClient, sqlite_graph: Graph, operations: list[Operated]
) -> None:
    await b.model(sqlite_graph, "bert")
    response = await http.post("", json={"query": "query Names { models { nodes { name } } }"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == {"data": {"models": {"nodes": [{"name": "bert"}]}}}
    (operation,) = operations
    assert (operation.name, operation.type, operation.statements, operation.codes) == ("Names", "query", 1, [])


async def test_variables_and_the_operation_name_are_taken(http: httpx.AsyncClient, operations: list[Operated]) -> None:
    text = "query A($a: ID!) { model(address: $a) { id } } query B { __typename }"
    body = {"query": text, "variables": {"a": "models:/none"}, "operationName": "A"}
    assert (await http.post("", json=body)).json() == {"data": {"model": None}}
    assert (await http.post("", json={"query": text, "operationName": "B"})).json() == {"data": {"__typename": "Query"}}
    assert [operation.name for operation in operations] == ["A", "B"]


async def test_of_several_operations_none_runs_where_none_is_named(
    http: httpx.AsyncClient, sqlite_graph: Graph, operations: list[Operated]
) -> None:
    text = 'mutation A { registerModel(input: {name: "bert"}) { model { id } } } query B { __typename }'
    named = {"query": text, "operationName": "B"}
    for body in ({"query": text}, {"query": text, "operationName": None}):
        assert (await http.post("", json=named)).json() == {"data": {"__typename": "Query"}}
        refused = await http.post("", json=body, headers={"accept": NEWER})
        assert (refused.status_code, set(refused.json())) == (400, {"errors"})
        (error,) = refused.json()["errors"]
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_ARGUMENT", "operationName")
    by_get = await http.get("", params={"query": "query A { __typename } query B { __typename }"})
    assert _error(by_get, 200)["extensions"]["field"] == "operationName"
    async with sqlite_graph.snapshot() as snapshot:
        assert (await snapshot.find("Model")).items == []
    assert [operation.name for operation in operations] == ["B", None, "B", None, None]


async def test_a_query_may_come_by_get_and_a_mutation_may_not(http: httpx.AsyncClient) -> None:
    response = await http.get("", params={"query": "{ __typename }"})
    assert response.json() == {"data": {"__typename": "Query"}}
    refused = await http.get("", params={"query": "mutation { x }"})
    _error(refused, 405)
    assert refused.headers["allow"] == "POST"


async def test_a_browser_without_a_query_gets_a_json_error(http: httpx.AsyncClient) -> None:
    error = _error(await http.get("", headers={"accept": "text/html"}), 400)
    assert "query" in error["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_methods_are_refused_and_the_right_ones_named(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "")
    _error(response, 405)
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_only_json_is_taken(http: httpx.AsyncClient, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    _error(await http.post("", content=b'{"query": "{ __typename }"}', headers=headers), 415)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"5",
        b'"text"',
        b"[]",
        b'[{"query": "{ __typename }"}]',
        b"{}",
        b'{"query": 5}',
        b'{"query": "{ __typename }", "variables": []}',
        b'{"query": "{ __typename }", "operationName": 1}',
        b'{"query": "{ __typename }", "operationName": "other"}',
        b"[" * 1_500,
    ],
)
async def test_a_body_that_is_no_operation_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    _error(await http.post("", content=body, headers={"content-type": "application/json"}), 400)


async def test_a_body_has_a_bounded_size_also_when_it_comes_in_pieces(http: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100

    whole = _error(await http.post("", json={"query": "x" * 2_000}), 413)
    pieced = _error(await http.post("", content=pieces(), headers={"content-type": "application/json"}), 413)
    assert whole["extensions"]["code"] == pieced["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_errors_of_a_document_are_200_for_the_old_media_type_and_400_for_the_newer(
    http: httpx.AsyncClient, operations: list[Operated]
) -> None:
    body = {"query": "{ nope }"}
    old = await http.post("", json=body)
    assert (old.status_code, old.json()["data"]) == (200, None)
    new = await http.post("", json=body, headers={"accept": NEWER})
    assert new.status_code == 400
    assert new.headers["content-type"] == f"{NEWER}; charset=utf-8"
    assert set(new.json()) == {"errors"}
    assert [operation.codes for operation in operations] == [["GRAPHQL_VALIDATION_FAILED"]] * 2


@pytest.mark.parametrize("variables", [{"n": "x"}, {}, {"n": None}, {"n": 1.5}])
async def test_variables_that_do_not_fit_are_400_for_the_newer_and_nothing_ran(
    http: httpx.AsyncClient, operations: list[Operated], variables: dict[str, Any]
) -> None:
    body = {"query": "query($n: Int!) { models(first: $n) { nodes { id } } }", "variables": variables}
    old = await http.post("", json=body)
    assert (old.status_code, old.json()["data"]) == (200, None)
    new = await http.post("", json=body, headers={"accept": NEWER})
    assert (new.status_code, set(new.json())) == (400, {"errors"})
    assert {code for operation in operations for code in operation.codes} == {"INVALID_ARGUMENT"}
    assert all(operation.statements == 0 for operation in operations)


async def test_errors_while_running_are_200_for_both(http: httpx.AsyncClient) -> None:
    body = {"query": '{ model(address: "nonsense") { id } }'}
    new = await http.post("", json=body, headers={"accept": NEWER})
    assert (new.status_code, new.json()["data"]) == (200, {"model": None})


@pytest.mark.parametrize(
    ("caller", "away", "status"),
    [
        (Caller("corp:ann", frozenset(), workspaces=None), False, 403),
        (Caller(ANONYMOUS, frozenset()), False, 401),
        (Caller("corp:gone", frozenset({"model:read"}), workspaces=None), False, 401),
        (Caller("corp:ann", frozenset({"model:read"}), workspaces=None), True, 503),
    ],
)
async def test_what_never_ran_has_no_data_in_the_newer_media_type_whatever_its_status(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch, caller: Caller, away: bool, status: int
) -> None:
    async def unavailable(_self: Operation) -> None:
        raise Unavailable("the store is away")

    await b.create(sqlite_graph, NewNode("Principal", "corp:gone", "", props={"active": False}))
    if away:
        monkeypatch.setattr(Operation, "snapshot", unavailable)
    app = create_graphql_app(sqlite_graph, new_operation=lambda _: Operation(sqlite_graph, caller=caller))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as client:
        body = {"query": 'mutation { registerModel(input: {name: "bert"}) { model { id } } }'}
        new = await client.post("", json=body, headers={"accept": NEWER})
        old = await client.post("", json=body)
    assert (new.status_code, set(new.json())) == (status, {"errors"})
    assert (old.status_code, old.json()["data"]) == (200 if away else status, None)


async def test_figures_that_json_has_no_numbers_for_arrive(http: httpx.AsyncClient, sqlite_graph: Graph) -> None:
    _, (version,) = await b.model(sqlite_graph, "bert", versions=1)
    await b.log(sqlite_graph, version.id, Point("auc", float("nan"), 2**40, 0))
    response = await http.post("", json={"query": "{ modelVersions { nodes { metrics { value step } } } }"})
    assert orjson.loads(response.content)["data"]["modelVersions"]["nodes"] == [
        {"metrics": [{"value": "NaN", "step": str(2**40)}]}
    ]


async def test_the_snapshot_is_given_back_before_the_answer_is_sent(sqlite_graph: Graph) -> None:
    held = 0
    original = sqlite_graph.snapshot

    @asynccontextmanager
    async def counting(view: View, **kwargs: Any) -> AsyncIterator[Snapshot]:
        nonlocal held
        async with original(view, **kwargs) as snapshot:
            held += 1
            yield snapshot
            held -= 1

    sqlite_graph.snapshot = counting  # type: ignore[method-assign, assignment]
    app = create_graphql_app(sqlite_graph)
    seen: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"query": "{ models { nodes { id } } }"}', "more_body": False}

    async def send(message: Any) -> None:
        seen.append(held)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "state": {"request_id": "r-1"},
    }
    await app(scope, receive, send)
    assert seen == [0, 0]


async def test_a_websocket_is_refused_before_its_handshake(sqlite_graph: Graph) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/", "headers": [], "subprotocols": ["graphql-transport-ws"]}
    await create_graphql_app(sqlite_graph)(scope, receive, send)
    assert sent == ["websocket.close"]
