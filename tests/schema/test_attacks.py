"""What tools and people try on a public GraphQL endpoint, what they are answered, and how much work that is.

The probes are those of graphql-cop (its names are in the parameters) and of OWASP's cheat sheet on GraphQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from graphql import ValidationRule, parse
from starlette.requests import Request

from auth.caller import Caller
from graph.ontology import MAX_TEXT
from graph.port import MAX_LINEAGE, Graph, NewNode
from lineal.settings import Settings
from resolvers.operation import Operation
from schema import checking
from schema.costs import Price
from schema.executing import Operated
from schema.limits import Limits
from schema.sdl import build_schema
from schema.view import create_graphql_app
from tests import building as b
from tests.schema.conftest import Asked
from tests.schema.test_limits import bomb

ADMISSION = 1
"""Statements that look up who asks."""
READER = Caller("corp:ann", frozenset({"model:read"}), workspaces=None)


class Work:
    """How many nodes of documents the standard rules entered, and the operations that ran."""

    def __init__(self) -> None:
        self.visits = 0
        self.operations: list[Operated] = []

    @property
    def statements(self) -> int:
        """Statements sent to the store, by the operation that sent the most."""
        return max((operation.statements for operation in self.operations), default=0)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """What is done, counted by a rule that stands beside the others."""
    done = Work()

    class Counting(ValidationRule):
        def enter(self, *_: Any) -> None:
            done.visits += 1

    monkeypatch.setattr(checking, "RULES", (*checking.RULES, Counting))
    checking.checked.cache_clear()
    return done


@pytest.fixture
async def http(sqlite_graph: Graph, work: Work) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token for models and no more."""

    def operation(_request: Request) -> Operation:
        return Operation(sqlite_graph, caller=READER)

    app = create_graphql_app(sqlite_graph, new_operation=operation, on_operation=work.operations.append)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as client:
        yield client


async def _limit(http: httpx.AsyncClient, text: str) -> set[str]:
    """The limits that a document goes over."""
    answer = (await http.post("", json={"query": text})).json()
    assert answer["data"] is None
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"LIMIT_EXCEEDED"}
    return {error["extensions"]["limit"] for error in answer["errors"]}


ALIASES = "{" + "".join(f" a{n}: __typename" for n in range(101)) + " }"
DEEP = "{ models { nodes" + " { supersedes { nodes" * 13 + " { id }" + " } }" * 13 + " } }"
OVERLAPPING = "{ models { " + "nodes { id name } " * 390 + "} }"
NESTED = "{ models { nodes { " + "versions { nodes { id } } " * 240 + "} } }"
UNSPREAD = f"{{ __typename }} fragment f on ModelConnection {{ {'nodes { id name } ' * 390} }}"
LEAVES = ("id", "name", "address", "kind", "description", "createdAt", "updatedAt", "revision")
SPREAD = (
    "{ models { "
    + " ".join(f"...f{n}" for n in range(150))
    + " } } "
    + " ".join(f"fragment f{n} on ModelConnection {{ nodes {{ id name }} }}" for n in range(150))
)
UNLIKE = (
    "{ models { nodes { "
    + " ".join(f"...f{n}" for n in range(150))
    + " } } } "
    + " ".join(f"fragment f{n} on Model {{ {LEAVES[n % len(LEAVES)]} }}" for n in range(150))
)
LARGE = "{ models { nodes { " + " ".join(f"a{n}: description" for n in range(100)) + " } } }"
AGAIN = "{ " + " ".join(f"a{n}: models {{ nodes {{ description }} }}" for n in range(50)) + " }"
WIDE = "{ models" + "".join(f" {{ nodes {{ id }} }} m{n}: models" for n in range(60)) + " { nodes { id } } }"


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        pytest.param(ALIASES, {"aliases", "root_fields"}, id="alias_overloading"),
        pytest.param(DEEP, {"depth"}, id="depth"),
        pytest.param(WIDE, {"root_fields"}, id="root_fields"),
        pytest.param("{ __typename " + "@aa" * 51 + " }", {"directives"}, id="directive_overloading"),
        pytest.param(bomb(20), {"fields", "root_fields"}, id="fragment_bomb"),
        pytest.param(OVERLAPPING, {"overlaps"}, id="overlapping fields"),
        pytest.param(NESTED, {"overlaps"}, id="overlapping fields with lists in them"),
        pytest.param(SPREAD, {"overlaps"}, id="overlapping fragments"),
        pytest.param(UNLIKE, {"overlaps"}, id="fragments with nothing alike in them"),
        pytest.param(UNSPREAD, {"overlaps"}, id="overlapping fields of a fragment that is spread nowhere"),
        pytest.param(
            "{ __typename } fragment f on Query { __typename" + " @aa" * 900 + " }",
            {"directives"},
            id="directives in a fragment that is spread nowhere",
        ),
        pytest.param(
            "query($a: Int" + " @aa" * 51 + ") { models(first: $a) { totalCount } }",
            {"directives"},
            id="directives on a variable",
        ),
        pytest.param(
            "{" + "".join(f' a{n}: __type(name: "Run") {{ name }}' for n in range(9)) + " }",
            {"introspections"},
            id="types",
        ),
    ],
)
async def test_what_is_too_much_is_refused_before_any_standard_rule_sees_it(
    http: httpx.AsyncClient, work: Work, text: str, limits: set[str]
) -> None:
    assert await _limit(http, text) == limits
    assert (work.visits, work.statements) == (0, ADMISSION)


def pages(levels: int) -> str:
    """A full page of versions, below each a full page of those that came of it, and so on."""
    inner = "id"
    for _ in range(levels - 1):
        inner = f"derivatives(first: 500) {{ nodes {{ {inner} }} }}"
    return f"{{ modelVersions(first: 500) {{ nodes {{ {inner} }} }} }}"


@pytest.mark.parametrize("levels", [3, 4])
async def test_full_pages_in_full_pages_cost_too_much_as_shipped(
    http: httpx.AsyncClient, work: Work, levels: int
) -> None:
    assert await _limit(http, pages(levels)) == {"cost"}
    assert work.statements <= ADMISSION


async def test_what_people_ask_for_is_far_from_costing_too_much_as_shipped(asked: Asked) -> None:
    largest = f"""query($of: [ID!]!) {{ lineage(of: $of, direction: UPSTREAM, limit: {MAX_LINEAGE}) {{
      nodes {{ node {{ id name address tags {{ name value }} }} }} edges {{ source target }} }} }}"""
    assert asked.limits == Settings.load().limits
    assert await asked(pages(2)) == {"modelVersions": {"nodes": []}}
    model, _ = await b.model(asked.graph, "bert", versions=1)
    await asked(largest, of=[model.id])
    schema = build_schema()
    for text, variables in ((pages(2), {}), (largest, {"of": [model.id]})):
        assert Price(schema._schema, schema.costs, parse(text)).of(None, variables) * 10 <= asked.limits.cost


async def described(graph: Graph, models: int, description: str) -> None:
    """Write models with this description."""
    props = {"description": description}
    await b.create(graph, *(NewNode("Model", f"m{n}", "default", props=props) for n in range(models)))


@pytest.mark.parametrize("text", [pytest.param(LARGE, id="in one place"), pytest.param(AGAIN, id="in many places")])
async def test_a_short_query_for_a_huge_answer_is_stopped_when_its_bytes_are_too_many(
    http: httpx.AsyncClient, sqlite_graph: Graph, text: str
) -> None:
    await described(sqlite_graph, 40, "\1" * MAX_TEXT)
    assert len(text) < 2_500
    answer = await http.post("", json={"query": text})
    assert answer.json()["data"] is None
    (error,) = answer.json()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["limit"]) == ("LIMIT_EXCEEDED", "answer")
    assert error["extensions"]["maximum"] == Limits().answer
    assert f"more than {Limits().answer} bytes" in error["message"]
    assert "smaller pages" in error["message"]


async def test_errors_are_bytes_of_an_answer_too(sqlite_graph: Graph) -> None:
    await described(sqlite_graph, 40, "")
    text = "{ models { nodes { " + " ".join(f"a{n}: versions(first: -1) {{ totalCount }}" for n in range(50)) + " } } }"
    whole = await Asked(sqlite_graph).answer(text)
    assert len(whole.errors or ()) == 40 * 50
    assert len(orjson.dumps(whole.data)) < 40_000
    error = await Asked(sqlite_graph, Limits(answer=100_000)).refused(text)
    assert (error["code"], error["limit"]) == ("LIMIT_EXCEEDED", "answer")


@pytest.mark.parametrize("first", [200_000, -1])
async def test_a_page_has_a_hard_cap(http: httpx.AsyncClient, work: Work, first: int) -> None:
    answer = (await http.post("", json={"query": f"{{ models(first: {first}) {{ nodes {{ id }} }} }}"})).json()
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_ARGUMENT"
    assert work.statements <= ADMISSION


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{ " + "__typename " * 5_000 + "}", id="field_duplication"),
        pytest.param(
            "{ " + " ".join(f"a{n}: models {{ nodes {{ id }} }}" for n in range(2_000)) + " }", id="overlapping"
        ),
        pytest.param("{" * 5_000, id="deep_selections"),
        pytest.param("{ node(id: " + "[" * 5_000, id="deep_literals"),
    ],
)
async def test_what_has_too_many_tokens_is_not_even_parsed(http: httpx.AsyncClient, work: Work, text: str) -> None:
    answer = (await http.post("", json={"query": text})).json()
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    assert (work.visits, work.statements) == (0, ADMISSION)


async def test_errors_of_many_unknown_names_stop_early(http: httpx.AsyncClient, work: Work) -> None:
    text = "{ " + " ".join(f"nope{n}" for n in range(45)) + " }"
    answer = await http.post("", json={"query": text})
    assert len(answer.json()["errors"]) <= 46
    assert len(answer.content) < 20_000
    # The document, its operation, its selection, and each field with its name.
    assert 0 < work.visits <= 3 + 45 * 2
    assert work.statements <= ADMISSION


async def test_introspection_in_a_circle_is_refused(sqlite_graph: Graph, work: Work) -> None:
    levels, inner = 4, "name"
    for _ in range(levels):
        inner = f"fields {{ type {{ {inner} }} }}"
    app = create_graphql_app(sqlite_graph, open_schema=True, on_operation=work.operations.append)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as open_to_all:
        answer = (await open_to_all.post("", json={"query": f"{{ __schema {{ types {{ {inner} }} }} }}"})).json()
    assert "Maximum introspection depth exceeded" in answer["errors"][0]["message"]
    # Each field of the document is looked at, with its name and its selection, and none of it runs.
    assert 0 < work.visits <= 2 + 3 * (3 + 2 * levels)
    assert len(work.operations) == 1
    assert work.statements == 0


async def test_introspection_needs_its_scope(http: httpx.AsyncClient, work: Work) -> None:
    for text in ("{ __schema { queryType { name } } }", '{ __type(name: "Run") { name } }', "{ _service { sdl } }"):
        answer = (await http.post("", json={"query": text})).json()
        assert answer["errors"][0]["extensions"]["requiredScopes"] == [["schema:read"]]
    assert work.statements <= ADMISSION


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        pytest.param("{ modles { nodes { id } } }", None, id="field_suggestions"),
        pytest.param("{ models(frist: 1) { nodes { id } } }", None, id="arguments"),
        pytest.param("{ lineage(of: [], direction: UPSTREEM) { complete } }", None, id="enum_values"),
        pytest.param('{ node(id: "x") { ... on Modle { id } } }', None, id="types"),
        pytest.param("query($d: LineageDirection!) { lineage(of: [], direction: $d) { complete } }", {"d": "UPSTREEM"}),
    ],
)
async def test_no_names_are_suggested(http: httpx.AsyncClient, work: Work, text: str, variables: Any) -> None:
    answer = await http.post("", json={"query": text, "variables": variables})
    assert answer.json()["errors"]
    assert "Did you mean" not in answer.text
    assert 0 < work.visits <= 25
    assert work.statements <= ADMISSION


async def test_there_is_no_batching(http: httpx.AsyncClient, work: Work) -> None:
    answer = await http.post("", json=[{"query": "{ __typename }"}] * 10)
    assert answer.status_code == 400
    assert work.operations == []


async def test_there_is_no_ide_and_no_trace(http: httpx.AsyncClient, work: Work) -> None:
    page = await http.get("", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (400, "application/json; charset=utf-8")
    assert work.operations == []
    broken = await http.post("", json={"query": "{ __typename "})
    assert "extensions" not in broken.json()
    assert set(broken.json()["errors"][0]["extensions"]) == {"code"}
    assert (work.visits, work.statements) == (0, ADMISSION)


QUERY = "{ models { nodes { id } } }"
MUTATION = 'mutation { registerModel(input: {name: "x"}) { model { id } } }'


@pytest.mark.parametrize(
    ("method", "text", "headers", "body", "status"),
    [
        pytest.param("GET", MUTATION, {}, None, 405, id="get_based_mutation"),
        pytest.param(
            "POST",
            QUERY,
            {"content-type": "application/x-www-form-urlencoded"},
            b"query=mutation",
            415,
            id="post_based_csrf",
        ),
        pytest.param("GET", QUERY, {"sec-fetch-site": "cross-site"}, None, 403, id="get_method_support"),
        pytest.param("POST", QUERY, {"content-type": "multipart/form-data; boundary=x"}, b"--x", 415, id="uploads"),
    ],
)
async def test_a_page_elsewhere_cannot_write_nor_ask(
    http: httpx.AsyncClient,
    work: Work,
    *,
    method: str,
    text: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
) -> None:
    answer = await http.request(method, "", params={"query": text}, headers=headers, content=body)
    assert answer.status_code == status
    assert work.statements <= ADMISSION
    # It is refused for that reason alone: the same question from here is answered.
    here = await http.get("", params={"query": QUERY}, headers={"sec-fetch-site": "same-origin"})
    assert here.json() == {"data": {"models": {"nodes": []}}}


async def test_a_body_that_never_ends_is_given_up(sqlite_graph: Graph, work: Work) -> None:
    app = create_graphql_app(sqlite_graph, limits=Limits(seconds=0.05), on_operation=work.operations.append)
    sent: list[Any] = []

    async def receive() -> Any:
        if not sent:
            sent.append(None)
            return {"type": "http.request", "body": b"{", "more_body": True}
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    assert sent[1]["status"] == 408
    assert (work.visits, work.operations) == (0, [])
