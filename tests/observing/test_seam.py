"""What is said through the seam: whom a trace is handed on to, and how often slow operations are told."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from auth.checkpoints import CheckpointFile
from auth.keyring import AUDIT, Keyring
from graph.port import Graph, Node, Statement
from lineal import auditing, logging, sequencing
from lineal.auditing import Checkpointer
from lineal.observing import METER, Meter, span, trace_with
from lineal.parts import opened, telemetry_of
from lineal.sequencing import Sequencer
from lineal.settings import Settings
from lineal.slow import MINUTELY, Slow, SlowLog
from lineal.telemetry import Telemetry
from resolvers.artifacts import keeping
from resolvers.artifacts.keeping import Keeper
from resolvers.webhooks.sending import Sender
from serving.http import Http
from serving.targets import read
from storage.local import LocalStorage
from tests import building
from tests.lineal.conftest import logging_as_before
from tests.listening import Handler, Listening
from tests.services import Neo4jServer

__all__ = ["logging_as_before"]


class Taking(Listening):
    """Keeps the headers of what it is sent."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.headers: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.port}"


class _Handler(Handler):
    owner: Taking

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        self.rfile.read(int(self.headers["content-length"]))
        self.owner.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.answer(200, b"{}", {})


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_with(provider.get_tracer("test"))
    yield exporter
    trace_with(None)
    provider.shutdown()


async def test_a_trace_is_handed_on_to_webhooks_and_platforms(spans: InMemorySpanExporter) -> None:
    with Taking() as taking:
        (config,) = read({"targets": {"farm": {"platform": "ray-serve", "url": taking.url, "workspaces": "*"}}})
        platform = Http(config)
        with span("outer", headers={"baggage": "who=ann"}) as outer:
            async with Sender(private=True) as sender:
                assert (await sender.post(f"{taking.url}/secret", b"{}", {})).taken
            await platform.call("POST", "/x", json={})
        await platform.close()
    trace = f"{outer.get_span_context().trace_id:032x}"
    made = {f"{each.context.span_id:016x}" for each in spans.get_finished_spans() if each.context}
    for headers in taking.headers:
        version, of, parent, _ = headers["traceparent"].split("-")
        assert (version, of) == ("00", trace)
        assert parent in made
        assert "baggage" not in headers
    assert len(taking.headers) == 2
    below = [each for each in spans.get_finished_spans() if each.name == "POST"]
    assert [each.parent and each.parent.span_id for each in below] == 2 * [outer.get_span_context().span_id]
    assert not [each for each in spans.get_finished_spans() if "secret" in each.to_json()]


async def test_what_is_done_in_the_background_makes_no_spans_and_hands_no_trace_on(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    with Taking() as taking:
        (config,) = read({"targets": {"farm": {"platform": "ray-serve", "url": taking.url, "workspaces": "*"}}})
        platform = Http(config)
        async with Sender(private=True) as sender, LocalStorage(tmp_path / "artifacts", bytes(32)) as storage:
            assert (await sender.post(taking.url, b"{}", {})).taken
            await storage.present("default", [])
        await platform.call("POST", "/x", json={})
        await platform.close()
    assert spans.get_finished_spans() == ()
    assert not [headers for headers in taking.headers if "traceparent" in headers]
    with span("operation", begins=True):
        pass
    assert [each.name for each in spans.get_finished_spans()] == ["operation"]


@pytest.mark.usefixtures("neo4j_graph")
async def test_a_statement_of_neo4j_is_told_as_neo4js(spans: InMemorySpanExporter, neo4j_server: Neo4jServer) -> None:
    settings = Settings.load(graph=neo4j_server.url)
    async with opened(settings, telemetry_of(settings).on_statement) as graph:
        with span("outer", headers={}):
            await building.model(graph, "m")
    *statements, _ = spans.get_finished_spans()
    assert {(each.attributes or {})["db.system.name"] for each in statements} == {"neo4j"}


async def test_an_error_is_told_by_its_class_alone(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="ann"), span("x", headers={}):
        raise ValueError("ann@example.org")
    (found,) = spans.get_finished_spans()
    assert found.attributes == {"error.type": "ValueError"}
    assert not found.events
    assert "ann" not in found.to_json()


async def test_without_a_tracer_nothing_is_handed_on() -> None:
    with Taking() as taking:
        async with Sender(private=True) as sender:
            await sender.post(taking.url, b"{}", {})
    assert "traceparent" not in taking.headers[0]


async def test_slow_operations_are_told_so_often_in_a_minute_and_then_how_many_were_not(sqlite_graph: Graph) -> None:
    stream, now = io.StringIO(), [0.0]
    logging.configure("info", "json", stream)
    log = SlowLog(sqlite_graph, 1.0, clock=lambda: now[0])
    statement = Statement("find", 2.0, text="SELECT * FROM node n WHERE n.id = :p0 AND n.kind = :p1")
    for _ in range(MINUTELY + 5):
        log.tell(Slow("Q", 2.5, 3, statement, "{models}"))
    now[0] = 60.0
    log.tell(Slow("Q", 2.5, 3, statement))
    await log.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == MINUTELY + 1
    assert [line["left_out"] for line in lines if "left_out" in line] == [5]
    assert lines[0]["plan"] == ["SEARCH n USING INDEX sqlite_autoindex_node_1 (id=?)"]
    assert lines[0]["text"] == statement.text


def test_what_nobody_measures_costs_no_name_and_what_is_measured_has_one() -> None:
    METER.get().add("lineal_nothing_such")
    assert isinstance(METER.get(), Meter)
    with pytest.raises(KeyError):
        Telemetry().add("lineal_nothing_such")


async def test_httpx_errors_of_spans_are_no_values(spans: InMemorySpanExporter) -> None:
    with span("outer", headers={}):
        async with Sender(private=True) as sender:
            answer = await sender.post("http://127.0.0.1:9/hunter2", b"{}", {})
    assert answer.status is None
    found, _ = spans.get_finished_spans()
    assert found.attributes is not None
    assert found.attributes["error.type"] == httpx.ConnectError.__name__
    assert "hunter2" not in found.to_json()


async def test_work_that_another_process_does_is_idle_here_and_no_success(sqlite_graph: Graph, tmp_path: Path) -> None:
    telemetry, key = Telemetry(), Keyring(tmp_path / "keys").ed25519(AUDIT)

    async def check(_artifact: Node) -> str:
        raise AssertionError

    async with LocalStorage(tmp_path / "artifacts", bytes(32)) as storage:
        hours = {"collect_hours": 0.0, "grace_hours": 1.0, "check_hours": 0.0}
        workers: dict[str, tuple[str, Sequencer | Checkpointer | Keeper]] = {
            "sequencer": (sequencing.LEASE, Sequencer(sqlite_graph, telemetry, "one")),
            "checkpointer": (auditing.LEASE, Checkpointer(sqlite_graph, key, "one", seconds=0.1)),
            "keeper": (keeping.LEASE, Keeper(sqlite_graph, storage, check, by="keeper", holder="one", **hours)),
        }
        for name, (lease, worker) in workers.items():
            for gauge in ("lineal_changes_unsequenced", "lineal_sequencer_lag_seconds"):
                # What it saw while it held the lease.
                telemetry.set(gauge, 600)
            taken = await sqlite_graph.claim(lease, "another process", 60)
            assert taken is not None
            token = METER.set(telemetry)
            try:
                task = asyncio.create_task(worker.run())
                await asyncio.sleep(0.3)
                task.cancel()
                await asyncio.wait([task])
            finally:
                METER.reset(token)
            told = partial(telemetry.registry.get_sample_value, "lineal_worker_rounds_total")
            assert (told({"worker": name, "outcome": "idle"}) or 0) > 0, name
            assert told({"worker": name, "outcome": "ok"}) is None, name
            success = "lineal_worker_success_timestamp_seconds"
            assert telemetry.registry.get_sample_value(success, {"worker": name}) is None, name
            if name == "sequencer":
                assert telemetry.registry.get_sample_value("lineal_sequencer_lag_seconds") == 0
                assert telemetry.registry.get_sample_value("lineal_changes_unsequenced") == 0


async def test_only_who_seals_the_audit_says_that_it_is_sealed(
    sqlite_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry, key = Telemetry(), Keyring(tmp_path / "keys").ed25519(AUDIT)
    token = METER.set(telemetry)

    def sealed() -> float | None:
        return telemetry.registry.get_sample_value("lineal_checkpoint_current_timestamp_seconds")

    async def run(checkpointer: Checkpointer) -> None:
        task = asyncio.create_task(checkpointer.run())
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait([task])

    nowhere = CheckpointFile(tmp_path / "missing" / "checkpoints")
    try:
        lease = await sqlite_graph.claim(auditing.LEASE, "another process", 60)
        await run(Checkpointer(sqlite_graph, key, "one", seconds=0.1))
        assert sealed() == 0
        assert lease is not None
        await sqlite_graph.release(lease)
        await run(Checkpointer(sqlite_graph, key, "two", seconds=0.1, file=nowhere))
        assert sealed() == 0
        await run(Checkpointer(sqlite_graph, key, "three", seconds=0.1))
        assert time.time() - (sealed() or 0) < 60
    finally:
        METER.reset(token)
