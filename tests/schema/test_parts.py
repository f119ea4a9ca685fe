"""An answer in parts is the whole answer, cut where the document says, for those who ask for parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.parser import BytesParser
from typing import Any

import httpx
import orjson
import pytest

from auth.caller import Caller
from auth.directory import Directory
from auth.recorder import Recorder
from graph.port import EntryFilter, Graph, Snapshot, View
from lineal.errors import Unavailable
from resolvers.operation import Operation
from schema.executing import Operated, execute
from schema.limits import Limits
from schema.sdl import build_schema
from schema.view import create_graphql_app
from tests.schema.conftest import tell

ANN = Caller("corp:ann", frozenset({"model:read", "model:write", "workspace:read", "workspace:admin"}))
LESS = Caller("corp:ann", frozenset({"model:read"}))
ADMIN = Caller("corp:root", frozenset({"admin"}))
IN_PARTS = {"accept": "multipart/mixed, application/graphql-response+json"}


@asynccontextmanager
async def client(graph: Graph, **kwargs: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_graphql_app(graph, **kwargs)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as http:
        yield http


@pytest.fixture
async def http(sqlite_graph: Graph) -> AsyncIterator[httpx.AsyncClient]:
    await tell(sqlite_graph)
    async with client(sqlite_graph) as http:
        yield http


def parts_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The parts of an answer, as a reader of multipart messages that is not ours finds them."""
    assert response.status_code == 200
    header = f"content-type: {response.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(header + response.content)
    assert message.get_content_type() == "multipart/mixed"
    assert not message.defects
    parts = []
    for each in message.get_payload():
        assert each.get_content_type() == "application/json"  # type: ignore[union-attr]
        parts.append(orjson.loads(each.get_payload(decode=True)))  # type: ignore[union-attr, arg-type]
    assert [part["hasNext"] for part in parts] == [True] * (len(parts) - 1) + [False]
    return parts


def merge(into: Any, more: Any) -> Any:
    """Two halves of a value."""
    if isinstance(into, dict) and isinstance(more, Mapping):
        return into | {name: merge(into.get(name), value) for name, value in more.items()}
    return more


def assembled(parts: list[dict[str, Any]]) -> Any:
    """What a client has once all parts are there."""
    whole, pending = {"data": parts[0]["data"]}, dict[str, Any]()
    for part in parts:
        pending |= {each["id"]: each for each in part.get("pending", ())}
        for each in part.get("incremental", ()):
            told = pending[each["id"]]
            place = [*told["path"], *each.get("subPath", ())]
            assert (each["path"], each.get("label")) == (place, told.get("label"))
            at: Any = whole
            for step in ["data", *place]:
                above, last, at = at, step, at[step]
            if "items" in each:
                at.extend(each["items"])
            else:
                above[last] = merge(at, each["data"])
        for each in part.get("completed", ()):
            del pending[each["id"]]
    assert not pending
    return whole["data"]


DOCUMENTS = [
    "{ models { nodes { name } ... @defer { totalCount } } }",
    "{ models { nodes @stream(initialCount: 0) { name versions { nodes { number } } } } }",
    """query { models { nodes { name ...More @defer(label: "more") } } }
       fragment More on Model {
         task versions { nodes { address tags { name } ... @defer { metrics { name value } } } } }""",
    """{ lineage(of: ["models:/bert/1"], direction: UPSTREAM) {
         nodes { __typename id } ... @defer { edges { kind source target } } } }""",
    """{ modelVersion(address: "models:/bert/1") { id ... @defer { upstream { nodes { id } } }
         ... @defer { downstream { nodes { id } edges @stream(initialCount: 1) { kind } } } } }""",
    "{ models { nodes { ... @defer(if: false) { name } } } }",
]


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_the_parts_come_to_the_whole_answer(http: httpx.AsyncClient, document: str) -> None:
    whole = await http.post("", json={"query": document})
    assert whole.headers["content-type"].startswith("application/json")
    assert "errors" not in whole.json()
    answer = await http.post("", json={"query": document}, headers=IN_PARTS)
    if "if: false" in document:
        assert answer.json() == whole.json()
    else:
        parts = parts_of(answer)
        assert len(parts) > 1
        assert assembled(parts) == whole.json()["data"]


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "multipart/mixed;q=0, application/json", "multipart/form-data"]
)
async def test_who_does_not_ask_for_parts_gets_one_answer(http: httpx.AsyncClient, accept: str) -> None:
    answer = await http.post("", json={"query": DOCUMENTS[0]}, headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["data"]["models"]["totalCount"] == 1


async def test_what_defers_nothing_is_answered_as_ever_also_in_parts(http: httpx.AsyncClient) -> None:
    body = {"query": "{ models { nodes { name } } }"}
    answer = await http.post("", json=body, headers=IN_PARTS)
    assert answer.headers["content-type"].startswith("application/graphql-response+json")
    wrong = await http.post("", json={"query": "{ models { nodes { ... @defer { nope } } } }"}, headers=IN_PARTS)
    assert (wrong.status_code, list(wrong.json())) == (400, ["errors"])


async def test_the_store_is_read_in_one_moment_and_given_back_after_the_last_part(sqlite_graph: Graph) -> None:
    await tell(sqlite_graph)
    held: list[str] = []
    original = sqlite_graph.snapshot

    @asynccontextmanager
    async def noticed(view: View, **kwargs: Any) -> AsyncIterator[Snapshot]:
        async with original(view, **kwargs) as snapshot:
            held.append("opened")
            yield snapshot
            held.append("closed")

    sqlite_graph.snapshot = noticed  # type: ignore[method-assign, assignment]
    async with client(sqlite_graph) as http:
        parts = parts_of(await http.post("", json={"query": DOCUMENTS[2]}, headers=IN_PARTS))
    assert len(parts) > 1
    assert held == ["opened", "closed"]


async def test_what_is_denied_is_null_in_whichever_part_it_is_and_in_the_audit_once(sqlite_graph: Graph) -> None:
    await Directory(sqlite_graph).admit(ANN)
    for mutation in (
        'createWorkspace(input: {name: "vision"}) { workspace { name } }',
        'registerModel(input: {name: "resnet", workspace: "vision"}) { model { id } }',
    ):
        written = await execute(build_schema(), sqlite_graph, f"mutation {{ {mutation} }}", caller=ANN)
        assert not written.errors
    document = (
        """{ model(address: "models:/vision:resnet") { name ... @defer { task changes { nodes { action } } } } }"""
    )
    async with Recorder(sqlite_graph) as recorder:

        def operation(_request: Any) -> Operation:
            return Operation(sqlite_graph, caller=LESS, recorder=recorder)

        async with client(sqlite_graph, new_operation=operation) as http:
            whole = (await http.post("", json={"query": document})).json()
            noted = await refusals(sqlite_graph)
            parts = parts_of(await http.post("", json={"query": document}, headers=IN_PARTS))
    assert {error["extensions"]["code"] for error in whole["errors"]} == {"FORBIDDEN"}
    assert parts[0]["errors"] == whole["errors"]
    assert assembled(parts) == whole["data"] == {"model": {"name": "resnet", "task": None, "changes": None}}
    assert (noted, await refusals(sqlite_graph)) == (1, 2)


async def refusals(graph: Graph) -> int:
    """How many are in the audit."""
    async with graph.snapshot() as snapshot:
        entries = await snapshot.entries(EntryFilter(noted=True), limit=10)
    return sum(entry.change.data["noted"].get("times", 1) for entry in entries)


async def test_what_goes_wrong_in_a_part_is_told_there_as_ever(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(sqlite_graph)
    operations: list[Operated] = []
    async with client(sqlite_graph, limits=Limits(items=2), on_operation=operations.append) as http:
        document = '{ model(address: "models:/bert") { name ... @defer { versions { nodes { id } } } } }'
        first, last = parts_of(await http.post("", json={"query": document}, headers=IN_PARTS))
    assert first["data"] == {"model": {"name": "bert"}}
    told = [*last.get("incremental", ()), *last["completed"]]
    (error,) = [error for each in told for error in each.get("errors", ())]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert operations[0].codes == ["LIMIT_EXCEEDED"]


@pytest.mark.parametrize(("most", "parts"), [(100, 1), (1_000, 2)])
async def test_the_parts_of_an_answer_are_together_no_larger_than_an_answer(
    sqlite_graph: Graph, most: int, parts: int
) -> None:
    await tell(sqlite_graph)
    names = " ".join(f"a{n}: address" for n in range(50))
    document = f'{{ model(address: "models:/bert") {{ name {names if parts == 1 else ""} ... @defer {{ {names} }} }} }}'
    async with client(sqlite_graph, limits=Limits(answer=most)) as http:
        answer = await http.post("", json={"query": document}, headers=IN_PARTS)
    if parts == 1:
        assert answer.json()["data"] is None
        (error,) = answer.json()["errors"]
    else:
        first, last = parts_of(answer)
        assert first["data"] == {"model": {"name": "bert"}}
        assert "incremental" not in last
        ((error,),) = [completed["errors"] for completed in last["completed"]]
    assert (error["extensions"]["code"], error["extensions"]["limit"]) == ("LIMIT_EXCEEDED", "answer")


async def test_parts_that_take_too_long_are_broken_off_and_it_is_said(sqlite_graph: Graph) -> None:
    await tell(sqlite_graph)
    original = sqlite_graph.snapshot

    @asynccontextmanager
    async def slow(view: View, **kwargs: Any) -> AsyncIterator[Snapshot]:
        async with original(view, **kwargs) as snapshot:
            find = snapshot.neighbours

            async def late(*args: Any, **kwargs: Any) -> Any:
                await asyncio.sleep(30)
                return await find(*args, **kwargs)

            snapshot.neighbours = late  # type: ignore[method-assign]
            yield snapshot

    sqlite_graph.snapshot = slow  # type: ignore[method-assign, assignment]
    async with client(sqlite_graph, limits=Limits(seconds=0.5)) as http:
        document = '{ modelVersion(address: "models:/bert/3") { number ... @defer { model { name } } } }'
        first, last = parts_of(await http.post("", json={"query": document}, headers=IN_PARTS))
    assert first["data"] == {"modelVersion": {"number": 3}}
    (completed,) = last["completed"]
    assert completed["id"] == first["pending"][0]["id"]
    assert completed["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_nothing_is_told_where_it_cannot_be_audited_first(sqlite_graph: Graph) -> None:
    await tell(sqlite_graph)

    class Broken(Recorder):
        async def read(self, *args: Any, **kwargs: Any) -> None:
            raise Unavailable("the audit is away")

    async with Broken(sqlite_graph) as recorder:

        def operation(_request: Any) -> Operation:
            return Operation(sqlite_graph, caller=ADMIN, recorder=recorder)

        async with client(sqlite_graph, new_operation=operation) as http:
            answer = await http.post("", json={"query": DOCUMENTS[0]}, headers=IN_PARTS)
    assert answer.json()["data"] is None
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
