"""Tracking servers that are away, slow or lie: versions wait and say why, and nothing else is held up."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from graph.port import Graph
from lineal.errors import InvalidArgument, Unavailable
from lineal.observing import METER
from lineal.telemetry import Telemetry
from resolvers.tracking import enriching, trackers
from resolvers.tracking.trackers import Trackers
from resolvers.writing.versions import delete_model_version
from storage.tracking import server as asking
from storage.tracking.config import from_environment, read
from storage.tracking.mlflow import MlflowServer
from storage.tracking.records import RegisteredModel
from storage.tracking.server import Away
from tests.services import free_port
from tests.tracking.conftest import Office, config, office_with
from tests.tracking.liar import GOOD, RUN, Liar, drips, floods, hangs, says


@pytest.fixture
def liar() -> Iterator[Liar]:
    """A server that answers well, until it is told otherwise."""
    with Liar() as server:
        yield server


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(trackers, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(trackers, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(enriching, "LEAST_PAUSE", 0.05)


@pytest.fixture
async def office(sqlite_graph: Graph, liar: Liar) -> AsyncIterator[Office]:
    """A registry whose versions are looked up there."""
    async with office_with(sqlite_graph, config(liar.url, timeout=0.5)) as opened:
        yield opened


async def told(office: Office, version: Any, words: str) -> None:
    """Wait until a version says so, while somebody looks it up."""
    enricher, end = office.enricher(), time.monotonic() + 30
    while not re.search(words, str((node := await office.at(version.id)).props.get("enrichmentMessage", ""))):
        assert time.monotonic() < end, node.props
        if not await enricher.step():
            await asyncio.sleep(0.02)


WRONG: dict[str, Any] = {
    "a list": [],
    "no run": {},
    "a run that is a text": {"run": "x"},
    "a time that is an object": {"run": {"info": {"run_id": RUN, "start_time": {}}}},
    "a time beyond all time": {"run": {"info": {"run_id": RUN, "start_time": 10**16 - 1}}},
    "a metric without a value": {"run": {"info": {"run_id": RUN}, "data": {"metrics": [{"key": "a", "value": "x"}]}}},
    "an id that is a list": {"run": {"info": {"run_id": [1]}}},
    "params that are an object": {"run": {"info": {"run_id": RUN}, "data": {"params": {"a": 1}}}},
    "inputs that are numbers": {"run": {"info": {"run_id": RUN}, "inputs": {"model_inputs": [1]}}},
    "no JSON": b"<html>",
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
async def test_an_answer_of_the_wrong_shape_is_told_and_the_version_waits(
    office: Office, liar: Liar, body: Any
) -> None:
    liar.answer = says(body)
    version = await office.register(runId=RUN)
    await told(office, version, "tracking server one: runs/get")
    assert (await office.at(version.id)).props["enrichment"] == "QUEUED"
    liar.answer = says(GOOD)
    await office.comes_to(version, "DONE")
    assert await office.own(f"runs:/{RUN}", "params") == {"lr": "0.1"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says({}, 500), "status 500"),
        (says({"error_code": "UNAUTHENTICATED"}, 401), r"status 401 \(UNAUTHENTICATED\)"),
        (says(b"", 302, Location="http://127.0.0.1:1/"), "redirects"),
        (says(b"<html>", 404), "status 404"),
        (drips, "did not answer within 0.5 s"),
        (hangs, "did not answer within 0.5 s"),
        (floods, "more than 1,048,576 bytes"),
    ],
)
async def test_a_server_that_cannot_be_asked_is_told_and_asked_again(
    office: Office, liar: Liar, monkeypatch: pytest.MonkeyPatch, answer: Any, words: str
) -> None:
    monkeypatch.setattr(asking, "MAX_ANSWER", 2**20)
    liar.answer = answer
    version = await office.register(runId=RUN)
    await told(office, version, words)
    liar.answer = says(GOOD)
    await office.comes_to(version, "DONE")


async def test_what_could_not_be_had_in_time_is_given_up_and_says_why(sqlite_graph: Graph) -> None:
    table = config(f"http://127.0.0.1:{free_port()}")
    async with office_with(sqlite_graph, table, hours=0.1 / 3_600) as office:
        version = await office.register(runId=RUN)
        failed = await office.comes_to(version, "FAILED")
    assert "given up after" in failed.props["enrichmentMessage"]
    assert "is away" in failed.props["enrichmentMessage"]


async def test_a_run_that_never_ends_is_given_up_too(sqlite_graph: Graph, liar: Liar) -> None:
    goes_on = {"run": {"info": {"run_id": RUN, "experiment_id": "7", "status": "RUNNING"}}}
    liar.answer = says(goes_on)
    async with office_with(sqlite_graph, config(liar.url), hours=0.2 / 3_600) as office:
        version = await office.register(runId=RUN)
        await office.comes_to(version, "FOLLOWING")
        failed = await office.comes_to(version, "FAILED")
    assert "still goes on" in failed.props["enrichmentMessage"]


async def test_a_server_that_is_away_does_not_hold_up_another(sqlite_graph: Graph, liar: Liar) -> None:
    async with office_with(sqlite_graph, config(f"http://127.0.0.1:{free_port()}"), config(liar.url)) as office:
        await office.comes_to(await office.register(runId=RUN), "DONE")
        liar.answer = says({"error_code": "RESOURCE_DOES_NOT_EXIST"}, 404)
        other = await office.register(runId="b" * 32)
        await told(office, other, "server one: it is away")


async def test_a_server_that_is_away_is_left_alone_for_a_while(
    sqlite_graph: Graph, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "FIRST_PAUSE", 60.0)
    liar.answer = says({}, 503)
    async with office_with(sqlite_graph, config(liar.url)) as office:
        for _ in range(3):
            await office.register(runId=RUN)
        enricher = office.enricher()
        assert await enricher.step()
        asked = len(liar.asked)
        assert 1 <= asked <= 3
        assert not await enricher.step()
        assert len(liar.asked) == asked


async def test_a_server_is_asked_for_versions_of_its_workspaces_only(sqlite_graph: Graph, liar: Liar) -> None:
    async with office_with(sqlite_graph, config(liar.url, workspaces=["vision"])) as office:
        await office.register(runId=RUN)
        assert not await office.enricher().step()
        assert liar.asked == []
    async with office_with(sqlite_graph, config(liar.url, workspaces=["vision"]), config(liar.url)) as office:
        assert await office.enricher().step()
        assert liar.asked.count("runs/get") == 1


async def test_an_address_that_may_not_be_connected_to_is_not(sqlite_graph: Graph, liar: Liar) -> None:
    async with office_with(sqlite_graph, config(liar.url, options={})) as office:
        version = await office.register(runId=RUN)
        await told(office, version, "may not connect to")
    assert liar.asked == []


async def test_one_who_waits_for_an_answer_keeps_the_lease(
    office: Office, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enriching, "LEASE_SECONDS", 0.3)
    claim, claims, renewed = office.graph.claim, [], threading.Event()

    async def counted(name: str, holder: str, _seconds: float) -> Any:
        claims.append(name)
        if len(claims) > 2:
            renewed.set()
        return await claim(name, holder, 60)

    monkeypatch.setattr(office.graph, "claim", counted)

    def slowly(handler: Any) -> None:
        assert renewed.wait(30)
        says(GOOD)(handler)

    liar.answer = slowly
    async with office_with(office.graph, config(liar.url, timeout=30)) as patient:
        version = await patient.register(runId=RUN)
        await patient.comes_to(version, "DONE")
    assert set(claims) == {enriching.LEASE}


async def test_one_of_two_processes_looks_a_version_up(office: Office, liar: Liar) -> None:
    await office.register(runId=RUN)
    first, second = office.enricher(), office.enricher()
    telemetry = Telemetry()
    token = METER.set(telemetry)
    try:
        await asyncio.gather(first.step(), second.step())
    finally:
        METER.reset(token)
    assert liar.asked.count("runs/get") == 1
    for outcome in ("ok", "idle"):
        told = {"worker": "enricher", "outcome": outcome}
        assert telemetry.registry.get_sample_value("lineal_worker_rounds_total", told) == 1


async def test_a_version_that_is_deleted_meanwhile_is_left_alone(office: Office, liar: Liar) -> None:
    version = await office.register(runId=RUN)
    (due,) = await office.enricher()._due()
    async with office.operation() as op:
        await delete_model_version(op, address=version.id)
    lease = await office.graph.claim(enriching.LEASE, "one", 30)
    assert lease is not None
    await office.enricher()._one(due, lease)
    async with office.graph.snapshot() as snapshot:
        assert not (await snapshot.find("Run")).items


async def test_a_server_whose_lists_have_no_end_is_not_followed(liar: Liar) -> None:
    (table,) = read({"trackers": {"one": config(liar.url)}})
    server = MlflowServer(table)
    liar.answer = says({"registered_models": [], "next_page_token": "x"})
    with pytest.raises(Unavailable, match="has no end"):
        list(server.models())
    server.close()


async def test_a_token_is_sent_and_a_missing_one_is_told(
    liar: Liar, monkeypatch: pytest.MonkeyPatch, sqlite_graph: Graph
) -> None:
    (table,) = read({"trackers": {"one": config(liar.url, secrets={"token_env": "TRACKER_TOKEN"})}})
    server = MlflowServer(table)
    with pytest.raises(Away, match="a secret is missing: TRACKER_TOKEN"):
        server.run(RUN)
    monkeypatch.setenv("TRACKER_TOKEN", "sesame")
    assert server.run(RUN) is not None
    assert liar.seen["authorization"] == "Bearer sesame"
    server.close()


async def test_the_environment_says_what_mlflow_itself_would_send(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw")
    import os

    server = MlflowServer(from_environment(f"{liar.url}/", os.environ))
    assert server.run(RUN) is not None
    assert liar.seen["authorization"] == "Basic YW5uOnB3"
    server.close()


def test_a_name_that_no_search_can_ask_for_is_refused(liar: Liar) -> None:
    server = MlflowServer(from_environment(liar.url, {}))
    with pytest.raises(InvalidArgument, match="quotes of both kinds"):
        list(server.versions(RegisteredModel('it\'s "it"')))
    server.close()


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({"url": "ftp://x", "workspaces": "*"}, "trackers.one.url"),
        ({"url": "https://u:p@x", "workspaces": "*"}, "trackers.one.url"),
        ({"workspaces": "*"}, "trackers.one.url"),
        ({"url": "https://x"}, "trackers.one.workspaces"),
        ({"url": "https://x", "workspaces": "*", "timeout": 0}, "trackers.one.timeout"),
        ({"url": "https://x", "workspaces": "*", "options": {"token": "x"}}, "trackers.one.options.token"),
        ({"url": "https://x", "workspaces": "*", "verify": False}, "trackers.one.verify"),
    ],
)
def test_a_wrong_table_names_its_key(table: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read({"trackers": {"one": table}})
    assert caught.value.field == field


def test_a_wrong_name_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="small letters"):
        read({"trackers": {"One Two": {}}})


async def test_without_servers_nobody_looks_for_versions(sqlite_graph: Graph) -> None:
    async with Trackers() as nobody:
        await asyncio.wait_for(Office(sqlite_graph, nobody).enricher().run(), 10)


async def test_it_goes_on_after_a_defect(office: Office, liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    enricher = office.enricher()
    found = enricher._due
    broken = iter([RuntimeError("a defect"), Unavailable("the store is away")])

    async def due() -> Any:
        for error in broken:
            raise error
        return await found()

    monkeypatch.setattr(enricher, "_due", due)
    monkeypatch.setattr(enriching, "POLL_SECONDS", 0.02)
    version = await office.register(runId=RUN)
    task = asyncio.create_task(enricher.run())
    end = time.monotonic() + 30
    while (await office.at(version.id)).props["enrichment"] != "DONE":
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
