"""Runs of Kubeflow Pipelines are found, followed and recorded, with what they were told, took, gave and measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from graph.port import Graph
from lineal.errors import InvalidArgument
from lineal.hubs import poller
from lineal.settings import Settings
from resolvers.kubeflow import polling
from resolvers.kubeflow.polling import Poller
from storage.tracking.kubeflow_config import load, read
from tests import building
from tests.kubeflow.server import SPECIFICATION, TOKEN, Kubeflow, add_run, add_tasks, artifact, details, task, uuid
from tests.openlineage.picturing import Picture, picture


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    """A server of version 3 with nothing in it."""
    with Kubeflow() as server:
        yield server


@asynccontextmanager
async def polled(graph: Graph, kubeflow: Kubeflow, holder: str = "one", **more: Any) -> AsyncIterator[Poller]:
    """Somebody who looks for runs there, whenever they are asked to."""
    table = {"url": kubeflow.url, "workspace": "default", "every": 1e-9, "options": {"allow_private": True}, **more}
    poller = Poller(graph, read({"kubeflow": {"lab": table}}), by="kubeflow", holder=holder)
    yield poller
    poller.close()


Look = Callable[[], Any]


@asynccontextmanager
async def looking(graph: Graph, kubeflow: Kubeflow) -> AsyncIterator[Look]:
    """Looks once; what is there then."""
    async with polled(graph, kubeflow) as one:

        async def looked() -> Picture:
            await one.step()
            return await picture(graph)

        yield looked


@pytest.fixture
async def look(graph: Graph, kubeflow: Kubeflow) -> AsyncIterator[Look]:
    """Into a store of either kind."""
    async with looking(graph, kubeflow) as look:
        yield look


@pytest.fixture
async def sqlite_look(sqlite_graph: Graph, kubeflow: Kubeflow) -> AsyncIterator[Look]:
    """Into a SQLite store, for what is no matter of the store."""
    async with looking(sqlite_graph, kubeflow) as look:
        yield look


CLEAN = "minio://mlpipeline#v2/artifacts/iris/prepare/clean"
MODEL = "minio://mlpipeline#v2/artifacts/iris/train/model"
RAW = "s3://lake#iris/raw.csv"


async def test_a_run_is_there_with_its_tasks_edge_by_edge(look: Look, kubeflow: Kubeflow) -> None:
    run = add_run(kubeflow, 1)
    add_tasks(kubeflow, 1)
    found = await look()
    importer, prepare, train = (uuid(number) for number in (21, 22, 23))
    assert found.leads("RUN_OF") == {
        (run, "kubeflow://lab#iris"),
        (importer, "kubeflow://lab#iris.importer"),
        (prepare, "kubeflow://lab#iris.prepare"),
        (train, "kubeflow://lab#iris.train"),
    }
    assert found.leads("PART_OF", "Run") == {(each, run) for each in (importer, prepare, train)}
    assert found.leads("PART_OF", "Run", "Experiment") - found.leads("PART_OF", "Run") == {(run, "Default")}
    assert found.leads("READ", "Run", "DatasetVersion") == {
        (prepare, f"{RAW}/{uuid(801)}"),
        (train, f"{CLEAN}/{uuid(11)}"),
    }
    assert found.leads("PRODUCED_BY", "DatasetVersion", "Run") == {
        (f"{RAW}/{uuid(801)}", importer),
        (f"{CLEAN}/{uuid(11)}", prepare),
        (f"{MODEL}/{uuid(12)}", train),
    }
    assert found.leads("PRODUCED_BY", "ModelVersion", "Run") == {("iris.model/1", train)}
    assert found.nodes["Run", run]["params"] == {"epochs": "3", "optimizer": "adam", "layers": "[8,4]"}
    assert found.nodes["Run", run]["tags"] == {"kubeflow.name": "iris run 1"}
    assert found.nodes["Run", train]["params"] == {"epochs": "3"}
    assert {found.nodes["Run", each]["state"] for each in (run, importer, prepare, train)} == {"FINISHED"}
    version = found.nodes["ModelVersion", "iris.model", "1"]
    assert (version["state"], version["frameworks"]) == ("READY", ["sklearn"])
    # Reports and figures are nothing that others are made of; nor is a secret of an address.
    assert found.of("Dataset") == {RAW, CLEAN, MODEL}
    assert found.nodes["DatasetVersion", RAW, uuid(801)]["uri"] == "s3://lake/iris/raw.csv"
    assert "secret" not in repr(found)


async def test_what_tasks_measured_is_theirs_and_the_runs(look: Look, kubeflow: Kubeflow, graph: Graph) -> None:
    run = add_run(kubeflow, 1)
    add_tasks(kubeflow, 1)
    metrics = artifact(19, "Metrics", "metrics", metadata={"loss": 0.25, "display_name": "m", "ok": True})
    kubeflow.tasks[run].append(task(24, "measure", 5, outputs=[metrics]))
    await look()
    async with graph.snapshot() as snapshot:
        page = await snapshot.records("", 500)
        ids = {record.node.name: record.node.id for record in page}
        found = await snapshot.metrics([ids[name] for name in (run, uuid(23), uuid(24))])
    values = {name: {m.name: m.value for m in found.get(ids[name], ())} for name in (run, uuid(23), uuid(24))}
    assert values == {run: {"accuracy": 0.9, "loss": 0.25}, uuid(23): {"accuracy": 0.9}, uuid(24): {"loss": 0.25}}


async def test_another_run_of_the_pipeline_adds_versions_to_the_same_data(
    sqlite_look: Look, kubeflow: Kubeflow
) -> None:
    for number in (1, 2):
        add_run(kubeflow, number, minute=number * 10)
        add_tasks(kubeflow, number)
    found = await sqlite_look()
    assert found.of("Dataset") == {RAW, CLEAN, MODEL}
    assert {name[2] for name in found.nodes if name[:2] == ("DatasetVersion", CLEAN)} == {uuid(11), uuid(21)}
    assert {name[2] for name in found.nodes if name[:2] == ("ModelVersion", "iris.model")} == {"1", "2"}
    # Both imported the same file: it is one version, and the first run that says so made it.
    assert (f"{RAW}/{uuid(801)}", uuid(21)) in found.leads("PRODUCED_BY")


async def test_looking_again_changes_nothing(look: Look, kubeflow: Kubeflow, graph: Graph) -> None:
    for number in (1, 2, 3):
        add_run(kubeflow, number, minute=number // 2)
        add_tasks(kubeflow, number)
    before = await look()
    changes = await building.sequenced(graph)
    asked = len(kubeflow.asked)
    assert await look() == before
    assert await building.sequenced(graph) == changes
    # And it asks for nothing but whether there is anything new.
    assert set(kubeflow.asked[asked:]) == {"runs"}


async def test_a_poller_that_knows_nothing_of_the_last_one_records_nothing_twice(
    look: Look, kubeflow: Kubeflow, graph: Graph
) -> None:
    add_run(kubeflow, 1)
    add_tasks(kubeflow, 1)
    add_run(kubeflow, 2, minute=5, state="RUNNING")
    before = await look()
    changes = await building.sequenced(graph)
    async with polled(graph, kubeflow, "two") as other:
        await other.step()
    assert await picture(graph) == before
    assert await building.sequenced(graph) == changes


async def test_a_run_that_goes_on_is_followed_until_it_ends(look: Look, kubeflow: Kubeflow) -> None:
    run = add_run(kubeflow, 1, state="RUNNING")
    found = await look()
    assert found.nodes["Run", run]["state"] == "RUNNING"
    assert "endedAt" not in found.nodes["Run", run]
    # Later runs do not make it forgotten.
    add_run(kubeflow, 2, minute=60)
    await look()
    add_run(kubeflow, 1)
    add_tasks(kubeflow, 1)
    found = await look()
    assert found.nodes["Run", run]["state"] == "FINISHED"
    assert found.leads("PRODUCED_BY", "ModelVersion", "Run") == {("iris.model/1", uuid(23))}
    asked = len(kubeflow.asked)
    await look()
    assert f"runs/{run}" not in kubeflow.asked[asked:]


@pytest.mark.parametrize(("state", "expected"), [("FAILED", "FAILED"), ("CANCELED", "KILLED"), ("PENDING", "RUNNING")])
async def test_a_run_is_in_the_state_that_the_server_says(
    sqlite_look: Look, kubeflow: Kubeflow, state: str, expected: str
) -> None:
    run = add_run(kubeflow, 1, state=state, error={"code": 13, "message": "out of memory"})
    waiting = {**task(24, "later", 1), "state": "PENDING"}
    kubeflow.tasks[run] = [{**task(23, "train", 0), "state": "FAILED", "status_metadata": {"message": "oom"}}, waiting]
    found = await sqlite_look()
    assert found.nodes["Run", run]["state"] == expected
    assert found.nodes["Run", run].get("description") == ("out of memory" if expected in {"FAILED", "KILLED"} else None)
    assert found.nodes["Run", uuid(23)]["description"] == "oom"
    assert ("Run", uuid(24)) not in found.nodes


async def test_a_run_that_is_gone_is_followed_no_more(sqlite_look: Look, kubeflow: Kubeflow) -> None:
    run = add_run(kubeflow, 1, state="RUNNING")
    await sqlite_look()
    del kubeflow.runs[run]
    await sqlite_look()
    asked = len(kubeflow.asked)
    await sqlite_look()
    assert kubeflow.asked[asked:] == ["runs"]


async def test_many_runs_come_page_by_page(sqlite_look: Look, kubeflow: Kubeflow) -> None:
    runs = {add_run(kubeflow, number, minute=number % 3) for number in range(1, 8)}
    assert (await sqlite_look()).of("Run") == runs


async def test_a_server_of_version_2_tells_by_the_pipelines_specification(sqlite_graph: Graph) -> None:
    with Kubeflow(version=2) as kubeflow:
        first = add_run(kubeflow, 1, **details(1))
        beside: dict[str, Any] = {"pipeline_spec": {"pipeline_spec": SPECIFICATION, "platform_spec": {}}}
        second = add_run(kubeflow, 2, minute=20, **details(2), **beside)
        kubeflow.versions[uuid(902)] = {"pipeline_spec": SPECIFICATION}
        async with polled(sqlite_graph, kubeflow) as poller:
            await poller.step()
    found = await picture(sqlite_graph)
    clean = "kubeflow://lab#iris.prepare.clean"
    for number, run in ((1, first), (2, second)):
        prepare, train = uuid(number * 10 + 2), uuid(number * 10 + 4)
        assert (train, f"{clean}/{run}") in found.leads("READ")
        assert (f"{clean}/{run}", prepare) in found.leads("PRODUCED_BY")
        assert (f"iris.model/{number}", train) in found.leads("PRODUCED_BY")
    assert found.of("Dataset") == {clean, "kubeflow://lab#iris.train.model"}
    assert len(found.leads("PART_OF", "Run")) == 4


async def test_a_pipeline_that_nobody_knows_is_called_by_its_specification_or_its_run(sqlite_graph: Graph) -> None:
    with Kubeflow(version=2) as kubeflow:
        add_run(kubeflow, 1, pipeline_version_reference=None, pipeline_spec=SPECIFICATION)
        add_run(kubeflow, 2, pipeline_version_reference=None, experiment_id="")
        add_run(kubeflow, 3, pipeline_version_reference={"pipeline_id": uuid(7), "pipeline_version_id": uuid(8)})
        async with polled(sqlite_graph, kubeflow) as poller:
            await poller.step()
    names = {"iris", "iris run 2", "iris run 3"}
    assert (await picture(sqlite_graph)).of("Pipeline") == {f"kubeflow://lab#{name}" for name in names}


async def test_runs_of_one_namespace_are_asked_for_with_the_token(
    sqlite_graph: Graph, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow.token = TOKEN
    monkeypatch.setenv("CLUSTER_TOKEN", TOKEN)
    mine = add_run(kubeflow, 1)
    add_run(kubeflow, 2, namespace="team-b")
    secrets = {"token_env": "CLUSTER_TOKEN"}
    async with polled(sqlite_graph, kubeflow, namespace="team-a", secrets=secrets) as poller:
        await poller.step()
    assert (await picture(sqlite_graph)).of("Run") == {mine}


# ── Trouble ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_is_away_is_left_alone_and_nothing_is_missed(
    sqlite_graph: Graph, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(polling, "FIRST_PAUSE", 0.0)
    async with polled(sqlite_graph, kubeflow) as poller:
        for turn in poller._turns.values():
            turn.pause = 3_600.0
        add_run(kubeflow, 1, state="RUNNING")
        kubeflow.status = 503
        await poller.step()
        assert "it answered runs with the status 503 (unavailable)" in caplog.text
        kubeflow.status = 0
        asked = len(kubeflow.asked)
        await poller.step()
        assert len(kubeflow.asked) == asked, "it is left alone"
        for turn in poller._turns.values():
            turn.due = 0.0
        await poller.step()
    assert (await picture(sqlite_graph)).of("Run") == {uuid(1)}


async def test_a_run_that_cannot_be_taken_is_left_out_and_the_next_one_is_not(
    sqlite_look: Look, kubeflow: Kubeflow, caplog: pytest.LogCaptureFixture
) -> None:
    add_run(kubeflow, 1)
    kubeflow.tasks[uuid(1)] = [{**task(21, "x" * 600, 0)}]
    add_run(kubeflow, 2, minute=1, description=["no text"])
    add_run(kubeflow, 3, minute=2)
    found = await sqlite_look()
    assert found.of("Run") == {uuid(3)}
    assert f"run {uuid(1)} of lab is left out: task" in caplog.text
    assert "is left out: Kubeflow Pipelines server lab: runs/" in caplog.text


@pytest.mark.parametrize("body", [b"no json", b'{"runs": 7}', b"[]", b'{"runs": [{"created_at": "soon"}]}'])
async def test_a_server_that_answers_otherwise_is_told_in_the_log(
    sqlite_look: Look, kubeflow: Kubeflow, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    kubeflow.body = body
    assert (await sqlite_look()).nodes == {}
    assert "runs of lab wait: Kubeflow Pipelines server lab: runs" in caplog.text


async def test_a_list_without_an_end_is_not_followed_for_ever(
    sqlite_look: Look, kubeflow: Kubeflow, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.body = b'{"runs": [], "next_page_token": "1"}'
    await sqlite_look()
    assert "the list has no end" in caplog.text


async def test_only_one_of_many_looks(graph: Graph, kubeflow: Kubeflow) -> None:
    add_run(kubeflow, 1)
    async with polled(graph, kubeflow, "one") as one, polled(graph, kubeflow, "two") as two:
        lease = await graph.claim("kubeflow:lab", "two", 30)
        assert lease is not None
        await one.step()
        assert kubeflow.asked == []
        await two.step()
        assert "runs" in kubeflow.asked


async def test_a_workspace_that_is_not_there_is_told_in_the_log(
    sqlite_graph: Graph, kubeflow: Kubeflow, caplog: pytest.LogCaptureFixture
) -> None:
    add_run(kubeflow, 1)
    async with polled(sqlite_graph, kubeflow, workspace="nowhere") as poller:
        await poller.step()
    assert "nowhere" in caplog.text


# ── Configuration ─────────────────────────────────────────────────────────────────────────────────


def test_servers_are_configured_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kubeflow.toml"
    file.write_text('[kubeflow.lab]\nurl = "https://kfp.test/pipeline/"\nworkspace = "vision"\nevery = 5\n')
    (config,) = load(file)
    assert (config.name, config.url, config.workspace) == ("lab", "https://kfp.test/pipeline", "vision")
    assert (config.every, config.namespace, config.secret("token")) == (5.0, "", None)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"servers": {}}, "servers"),
        ({"kubeflow": []}, "kubeflow"),
        ({"kubeflow": {"Lab": {}}}, "kubeflow.Lab"),
        ({"kubeflow": {"lab": {}}}, "kubeflow.lab.url"),
        ({"kubeflow": {"lab": {"url": "https://kfp.test"}}}, "kubeflow.lab.workspace"),
        ({"kubeflow": {"lab": {"url": "https://kfp.test", "workspace": ""}}}, "kubeflow.lab.workspace"),
        ({"kubeflow": {"lab": {"url": "ftp://kfp.test", "workspace": "x"}}}, "kubeflow.lab.url"),
        ({"kubeflow": {"lab": {"url": "https://kfp.test", "workspace": "x", "every": 0}}}, "kubeflow.lab.every"),
        ({"kubeflow": {"lab": {"url": "https://kfp.test", "workspace": "x", "token": "x"}}}, "kubeflow.lab.token"),
    ],
)
def test_what_is_configured_wrongly_is_told_with_its_path(data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read(data)
    assert refused.value.field == field


async def test_a_poller_of_the_settings_looks_until_it_is_ended(
    sqlite_graph: Graph, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "LOOK_SECONDS", 0.01)
    file = tmp_path / "kubeflow.toml"
    file.write_text(
        f'[kubeflow.lab]\nurl = "{kubeflow.url}"\nworkspace = "default"\nevery = 0.01\n'
        "options = { allow_private = true }\n"
    )
    run = add_run(kubeflow, 1)
    looking = asyncio.create_task(poller(Settings.load(kubeflow=file), sqlite_graph).run())
    for _ in range(3_000):
        if run in (await picture(sqlite_graph)).of("Run") and len(kubeflow.asked) >= 8:
            break
        await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.wait([looking])
    assert looking.cancelled()
    assert run in (await picture(sqlite_graph)).of("Run")
    assert kubeflow.asked[-1] == "runs"
