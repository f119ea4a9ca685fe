"""The application over HTTP: health, metrics, ids of requests, and errors as problem+json."""

from __future__ import annotations

import asyncio
import io
import json
import logging as stdlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from auth.keyring import AUDIT, Keyring
from graph.open import READ_SECONDS
from graph.port import Graph, NewEdge, Statement
from graph.sqlite.store import SqliteGraph
from lineal import logging
from lineal.app import PATHS, create_app
from lineal.auditing import Checkpointer
from lineal.errors import PreconditionFailed, Unavailable
from lineal.http import Observed
from lineal.parts import opened, store, store_file
from lineal.sequencing import Sequencer
from lineal.settings import Settings
from lineal.telemetry import MAX_OPERATIONS, Telemetry
from resolvers.artifacts.keeping import Keeper
from schema.executing import Operated
from tests import building
from tests.lineal.conftest import bearer

LOCAL = "http://127.0.0.1:8321"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(graph=f"sqlite:///{tmp_path / 'lineal.db'}", max_depth=6, max_walk=3)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def client(settings: Settings, telemetry: Telemetry) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(settings, telemetry.on_statement) as graph:
        app = create_app(settings, graph, telemetry)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=LOCAL, headers=bearer(keys=settings.keys)
        ) as client:
            yield client


@pytest.fixture
def log() -> io.StringIO:
    """What is logged, as JSON lines."""
    stream = io.StringIO()
    logging.configure("info", "json", stream)
    return stream


def logged(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def query(client: httpx.AsyncClient, text: str, **more: Any) -> Any:
    answer = await client.post("/graphql", json={"query": text, **more})
    return answer.json()


async def test_graphql_answers(client: httpx.AsyncClient) -> None:
    answer = await query(client, '{workspace(address: "workspaces:/default") {name}}')
    assert answer == {"data": {"workspace": {"name": "default"}}}


async def test_pages_of_named_sites_may_ask_from_a_browser(settings: Settings, telemetry: Telemetry) -> None:
    page = "https://app.example.org"
    ask = {"origin": page, "access-control-request-method": "POST"}
    headers = "authorization, content-type, graphql-require-preflight"
    more = settings.model_copy(update={"cors_origins": (page,)})
    async with opened(settings) as graph:
        for known, status in ((settings, 401), (more, 200)):
            app = create_app(known, graph, telemetry)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
                asked = await client.options("/graphql", headers={**ask, "access-control-request-headers": headers})
                assert asked.status_code == status
                assert asked.headers.get("access-control-allow-origin") == (page if known is more else None)
                body = {"query": "{__typename}"}
                answer = await client.post(
                    "/graphql", json=body, headers={"origin": page, **bearer(keys=settings.keys)}
                )
                assert answer.json() == {"data": {"__typename": "Query"}}
                assert answer.headers.get("access-control-allow-origin") == (page if known is more else None)
                other = await client.options("/graphql", headers={**ask, "origin": "https://evil.example.org"})
                assert "access-control-allow-origin" not in other.headers


async def test_pages_of_named_sites_see_that_the_process_is_full_and_bring_bookmarks(
    settings: Settings, telemetry: Telemetry
) -> None:
    page = "https://app.example.org"
    full = settings.model_copy(update={"cors_origins": (page,), "max_requests": 0})
    async with opened(settings) as graph:
        app = create_app(full, graph, telemetry)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
            asked = {"access-control-request-method": "POST", "access-control-request-headers": "lineal-bookmark"}
            assert (await client.options("/graphql", headers={"origin": page, **asked})).status_code == 200
            answer = await client.post("/graphql", json={"query": "{__typename}"}, headers={"origin": page})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (503, page)
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"retry-after", "lineal-bookmark"} <= set(exposed)


async def test_the_limits_are_those_of_the_settings(client: httpx.AsyncClient) -> None:
    deep = "{models{nodes{versions{nodes{model{versions{nodes{name}}}}}}}}"
    answer = await query(client, deep)
    assert answer["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_a_walk_visits_no_more_nodes_than_the_settings_allow(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    async with store(settings) as graph:
        _, versions = await building.model(graph, "m", versions=6)
        await building.link(graph, *(NewEdge("DERIVED_FROM", a.id, b.id, "copy") for a, b in pairwise(versions)))
    answer = await query(client, '{lineage(of: ["models:/m/1"], direction: UPSTREAM) {complete nodes {id}}}')
    assert answer["data"]["lineage"]["complete"] is False
    assert len(answer["data"]["lineage"]["nodes"]) == 3


@pytest.mark.parametrize(("operation", "snapshot"), [(5, READ_SECONDS), (120, 120)])
def test_a_snapshot_may_last_as_long_as_an_operation(
    monkeypatch: pytest.MonkeyPatch, operation: float, snapshot: float
) -> None:
    monkeypatch.setattr("lineal.parts.open_graph", lambda _url, **options: options["seconds"])
    opened_for: object = store(Settings.load(graph="bolt://127.0.0.1:7687", query_seconds=operation))
    assert opened_for == snapshot


async def test_health_is_the_process_and_readiness_the_store(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    for path in ("/health", "/w/vision/health"):
        healthy = await client.get(path, headers={"authorization": ""})
        assert (healthy.status_code, healthy.text) == (200, "OK")
        assert healthy.headers["content-type"].startswith("text/plain")
    assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_a_store_that_is_not_migrated_is_not_ready(
    tmp_path: Path, settings: Settings, telemetry: Telemetry
) -> None:
    async with SqliteGraph(tmp_path / "new.db") as graph:
        app = create_app(settings, graph, telemetry)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
            answer = await client.get("/readyz")
            assert (await client.get("/healthz")).status_code == 200
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "UNAVAILABLE"
    assert "lineal migrate" in answer.json()["detail"]


async def test_what_runs_is_ready_on_a_store_that_the_next_version_has_come_to_but_does_not_start_on_it(
    settings: Settings, telemetry: Telemetry
) -> None:
    async with opened(settings) as graph:
        app = create_app(settings, graph, telemetry)
        file = store_file(settings)
        assert file is not None
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA user_version = 9999")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
            answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "store": "newer"})
    with pytest.raises(PreconditionFailed, match="written by a newer Lineal"):
        async with opened(settings):
            pass


async def test_a_store_that_went_away_is_not_ready(settings: Settings, telemetry: Telemetry) -> None:
    async with opened(settings) as graph:
        app = create_app(settings, graph, telemetry)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
        assert (await client.get("/readyz")).status_code == 503


async def test_metrics_tell_of_requests_operations_statements_and_errors(client: httpx.AsyncClient) -> None:
    await query(client, "query Names {models {nodes {name}}}")
    await query(client, 'query Wrong {lineage(of: ["x"], direction: UPSTREAM) {complete}}')
    await query(client, "{models {nodes {name}}}")
    await client.get("/secret/42")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'lineal_http_requests_total{face="graphql",method="POST",path="/graphql",status="200"} 3.0',
        'lineal_http_requests_total{face="other",method="GET",path="other",status="404"} 1.0',
        'lineal_operations_total{operation="Names",outcome="ok",type="query"} 1.0',
        'lineal_operations_total{operation="Wrong",outcome="error",type="query"} 1.0',
        'lineal_operations_total{operation="anonymous",outcome="ok",type="query"} 1.0',
        'lineal_operation_seconds_count{operation="Names",type="query"} 1.0',
        'lineal_errors_total{code="INVALID_ARGUMENT"} 1.0',
        'lineal_statements_total{outcome="ok",verb="find"} 3.0',
        'lineal_statement_seconds_count{verb="find"} 3.0',
        "lineal_changes_sequenced_total 0.0",
    ):
        assert line in answer.text.splitlines()


def test_whatever_clients_send_metrics_have_a_bounded_number_of_labels(telemetry: Telemetry) -> None:
    for i in range(MAX_OPERATIONS + 50):
        telemetry.on_operation(Operated(f"Q{i}", "query", 0.1, 1))
        telemetry.on_request(f"M{i}", "other", 405, 0.1)
    telemetry.on_statement(Statement("find", 0.1, failed=True))
    text = telemetry.exposition().decode()
    assert text.count("lineal_operations_total{") == MAX_OPERATIONS + 1
    assert 'lineal_operations_total{operation="other",outcome="ok",type="query"} 50.0' in text
    assert (
        f'lineal_http_requests_total{{face="other",method="other",path="other",status="405"}} {MAX_OPERATIONS + 50}.0'
        in text
    )
    assert 'lineal_statements_total{outcome="failed",verb="find"} 1.0' in text


async def test_a_request_keeps_the_id_that_it_brought(client: httpx.AsyncClient, log: io.StringIO) -> None:
    answer = await client.get("/healthz", headers={"X-Request-Id": "trace-1/a"})
    assert answer.headers["x-request-id"] == "trace-1/a"
    (line,) = (line for line in logged(log) if line["event"] == "request")
    assert (line["request"], line["method"], line["path"], line["status"]) == ("trace-1/a", "GET", "/healthz", 200)
    assert line["level"] == "info"
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("given", ["", "a b", 'x"y', "x" * 129, "é".encode().decode("latin-1")])
async def test_an_id_that_is_not_plain_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/healthz", headers={b"X-Request-Id": given.encode("latin-1")})
    assert len(answer.headers["x-request-id"]) == 26


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "[::2]", "[", ""])
async def test_another_name_for_this_machine_is_refused(client: httpx.AsyncClient, host: str) -> None:
    answer = await client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["code"] == "FORBIDDEN"


async def test_who_uses_another_name_for_this_machine_is_audited(client: httpx.AsyncClient, tmp_path: Path) -> None:
    for _ in range(3):
        await client.get("/healthz", headers={"Host": "evil.example"})
    with closing(sqlite3.connect(tmp_path / "lineal.db")) as db:
        ((data,),) = db.execute("SELECT data FROM change WHERE action = 'failed'").fetchall()
    assert json.loads(data)["noted"]["reason"] == "host"


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8321", "[::1]"])
async def test_every_loopback_name_is_answered(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/healthz", headers={"Host": host})).status_code == 200


async def test_what_is_not_there_and_what_is_not_allowed_are_problems(client: httpx.AsyncClient) -> None:
    missing = await client.get("/nothing")
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
        "code": "NOT_FOUND",
        "request": missing.headers["x-request-id"],
    }
    refused = await client.post("/healthz")
    assert (refused.status_code, refused.json()["code"]) == (405, "INVALID_ARGUMENT")
    assert "GET" in refused.headers["allow"]


@pytest.mark.parametrize("value", [2**70, "\ud800", Path("x"), {1: "a"}], ids=repr)
def test_whatever_is_logged_is_a_line_of_json(log: io.StringIO, value: object) -> None:
    logging.get("lineal.test").info("told", value=value)
    (line,) = logged(log)
    assert line["event"] == "told"
    assert line["value"]


async def test_a_defect_is_masked_and_logged_with_the_id_that_the_client_gets(
    telemetry: Telemetry, log: io.StringIO
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the secret")

    app = Observed(broken, telemetry=telemetry, paths=PATHS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
        answer = await client.get("/x")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["detail"] == f"internal error; quote {answer.headers['x-request-id']}"
    (line,) = (line for line in logged(log) if line["level"] == "error")
    assert "the secret" in line["exception"]
    assert line["request"] == answer.headers["x-request-id"]


async def test_a_defect_after_the_answer_began_is_not_covered_up(telemetry: Telemetry) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("half")(scope, receive, send)
        raise RuntimeError("too late")

    app = Observed(broken, telemetry=telemetry, paths=PATHS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client:
        with pytest.raises(RuntimeError, match="too late"):
            await client.get("/x")


def test_logs_are_text_for_people_where_asked_for(log: io.StringIO) -> None:
    stream = io.StringIO()
    logging.configure("info", "console", stream)
    stdlib.getLogger("x").warning("hello %s", "you")
    assert "hello you" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


class Terminal(io.StringIO):
    """A stream that people watch."""

    def isatty(self) -> bool:
        """Always."""
        return True


def test_what_went_wrong_is_told_to_people_without_the_values_of_variables(log: io.StringIO) -> None:
    stream = Terminal()
    logging.configure("info", "auto", stream)
    headers = {"authorization": "Bearer 4Fq1Opaque9token"}
    try:
        headers["nothing"]
    except KeyError:
        logging.get("x").exception("request failed")
    told = stream.getvalue()
    assert "Traceback" in told
    assert "KeyError" in told
    assert "Opaque9token" not in told
    assert "headers =" not in told


async def test_a_store_newer_than_the_code_is_refused(settings: Settings, tmp_path: Path) -> None:
    async with opened(settings):
        pass
    with closing(sqlite3.connect(tmp_path / "lineal.db")) as db:
        db.execute("PRAGMA user_version = 1000")
    with pytest.raises(PreconditionFailed, match="newer"):
        async with opened(settings):
            pass


async def test_a_store_that_is_only_asked_is_not_made(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no store at"):
        async with opened(settings, create=False):
            pass
    assert not (tmp_path / "lineal.db").exists()


async def eventually(done: Any) -> None:
    """Wait until this is true; what waits for it has a time limit of its own."""
    while not await done():  # noqa: ASYNC110 - what is waited for happens in a store
        await asyncio.sleep(0.01)


async def test_one_process_of_many_sequences_changes_and_another_takes_over(
    neo4j_graph: Graph, telemetry: Telemetry
) -> None:
    await building.model(neo4j_graph, "m")

    async def sequenced(count: int) -> bool:
        async with neo4j_graph.snapshot() as snapshot:
            return len(await snapshot.changes()) == count

    for count, holder in enumerate(("first", "second"), 1):
        task = asyncio.create_task(Sequencer(neo4j_graph, telemetry, holder).run())
        await eventually(partial(sequenced, count))
        task.cancel()
        await asyncio.wait([task])
        await building.model(neo4j_graph, holder)


async def test_the_application_sequences_changes_where_the_store_does_not(
    neo4j_graph: Graph, telemetry: Telemetry
) -> None:
    settings = Settings.load(graph="neo4j://127.0.0.1:1")
    app = create_app(settings, neo4j_graph, telemetry)
    await building.model(neo4j_graph, "m")

    async def sequenced() -> bool:
        return "lineal_changes_sequenced_total 1.0" in telemetry.exposition().decode()

    async with app.router.lifespan_context(app):
        await eventually(sequenced)
    assert await neo4j_graph.claim("sequencer", "another", 1) is not None


async def test_a_sequencer_goes_on_when_the_store_comes_back(
    tmp_path: Path, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineal.sequencing.BACK_OFF", 0.01)
    graph = SqliteGraph(tmp_path / "lineal.db")
    sequencer = Sequencer(graph, telemetry, "me")
    task = asyncio.create_task(sequencer.run())
    await asyncio.sleep(0.05)
    assert not task.done()
    async with graph:
        await graph.migrate()

        async def held() -> bool:
            return sequencer._lease is not None

        await eventually(held)
        assert await graph.claim("sequencer", "another", 1) is None
        task.cancel()
        await asyncio.wait([task])
        assert await graph.claim("sequencer", "another", 1) is not None


async def test_a_defect_met_once_ends_neither_the_order_of_changes_nor_the_checkpoints(
    sqlite_graph: Graph, telemetry: Telemetry, log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineal.sequencing.BACK_OFF", 0.01)
    rounds = dict.fromkeys(("sequence", "heads"), 0)

    def failing_at_first(name: str, of: type) -> None:
        works = getattr(of, name)

        async def call(*given: Any) -> Any:
            rounds[name] += 1
            if rounds[name] == 1:
                raise KeyError(name)
            return await works(*given)

        monkeypatch.setattr(of, name, call)

    async with sqlite_graph.snapshot() as snapshot:
        failing_at_first("heads", type(snapshot))
    failing_at_first("sequence", type(sqlite_graph))
    key = Keyring(tmp_path / "keys").ed25519(AUDIT)
    tasks = [
        asyncio.create_task(Sequencer(sqlite_graph, telemetry, "me").run()),
        asyncio.create_task(Checkpointer(sqlite_graph, key, "me", seconds=0.01).run()),
    ]

    async def went_on() -> bool:
        return min(rounds.values()) > 1 or any(task.done() for task in tasks)

    await eventually(went_on)
    assert not [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    told = {line["event"]: line["exception"] for line in logged(log) if line["level"] == "error"}
    assert "KeyError: 'sequence'" in told["changes wait for their order: a defect"]
    assert "KeyError: 'heads'" in told["the audit waits for its checkpoint: a defect"]


async def test_a_process_is_not_ready_any_more_when_work_in_the_background_ended_by_itself(
    settings: Settings, telemetry: Telemetry, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ending(self: Keeper) -> None:
        raise KeyError("keeper")

    monkeypatch.setattr(Keeper, "run", ending)
    async with opened(settings) as graph:
        app = create_app(settings, graph, telemetry)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOCAL) as client,
        ):

            async def told() -> bool:
                return (await client.get("/readyz")).status_code == 503

            await eventually(told)
            assert "ending" in (await client.get("/readyz")).json()["detail"]
    (line,) = [line for line in logged(log) if line["level"] == "critical"]
    assert "KeyError: 'keeper'" in line["exception"]
    assert "ending" in line["work"]


async def test_events_go_out_by_the_feed_and_mlflows_clients_manage_webhooks(client: httpx.AsyncClient) -> None:
    register = 'mutation {registerModel(input: {name: "bert"}) {model {id}}}'
    id = (await query(client, register))["data"]["registerModel"]["model"]["id"]
    answer = await client.get("/api/v1/events")
    # The first thing that happened is that whoever asks became known.
    assert [(event["type"], event["subject"]) for event in answer.json()][1:] == [("lineal.model.created", id)]
    hook = {"name": "ci", "url": "https://hooks.example.org/", "events": [{"entity": "PROMPT", "action": "CREATED"}]}
    assert (await client.post("/api/2.0/mlflow/webhooks", json=hook)).json()["webhook"]["status"] == "ACTIVE"
    assert (await client.get("/api/v1/events", headers={"authorization": ""})).status_code == 401
    private = {**hook, "name": "in", "url": "https://127.0.0.1/"}
    assert (await client.post("/api/2.0/mlflow/webhooks", json=private)).json()[
        "error_code"
    ] == "INVALID_PARAMETER_VALUE"


def test_clients_of_http_log_no_addresses(log: io.StringIO) -> None:
    stdlib.getLogger("httpx").info("HTTP Request: POST https://hooks.example.org/secret")
    assert log.getvalue() == ""
