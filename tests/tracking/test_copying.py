"""A registry of a real MLflow server comes over whole, and what changes there afterwards."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from graph.port import Graph
from graph.transfer import export_lines
from lineal.errors import NotFound, Unavailable
from resolvers.lifecycle.declaring import declare_gate
from resolvers.reading import resolve
from resolvers.tracking import copying as copying_module
from resolvers.tracking.copying import Copied, Copier
from resolvers.writing.lifecycle import set_alias
from resolvers.writing.versions import create_model_version
from storage.tracking import mlflow as client
from storage.tracking.config import from_environment
from storage.tracking.mlflow import MlflowServer
from storage.tracking.records import RegisteredModel
from storage.tracking.server import Away
from tests.mlflow_server import MlflowServerProcess
from tests.tracking.conftest import Office
from tests.tracking.logbook import COMMIT, Logbook, dataset, tags


@pytest.fixture
async def copier(office: Office, mlflow: MlflowServerProcess) -> AsyncIterator[Copier]:
    """One who copies the registry into the default workspace."""
    with copying(office.graph, mlflow.url) as made:
        yield made


@contextmanager
def copying(graph: Graph, url: str, workspace: str = "default") -> Iterator[Copier]:
    """One who copies a registry into a workspace."""
    made = Copier(graph, MlflowServer(from_environment(url, {})), workspace=workspace, by="import")
    try:
        yield made
    finally:
        made.close()


def about(done: Copied, name: str) -> list[str]:
    """The problems with a model."""
    return [problem for problem in done.problems if repr(name) in problem]


@pytest.fixture
def name() -> str:
    """The name of a model that nobody else has."""
    return f"flats {uuid.uuid4().hex[:8]}"


async def test_models_come_over_with_numbers_aliases_stages_tags_and_times(
    office: Office, book: Logbook, copier: Copier, name: str
) -> None:
    book.registered(name, description="Prices of flats", tags=tags({"team": "search"}))
    for i in range(3):
        book.version(name, f"s3://models/{i}", description=f"try {i}", tags=tags({"try": str(i)}))
    book.call("DELETE", "model-versions/delete", name=name, version="2")
    book.post("registered-models/alias", name=name, alias="champion", version="3")
    book.post("model-versions/transition-stage", name=name, version="1", stage="Production")
    there = book.call("GET", f"registered-models/get?name={name}")["registered_model"]
    assert about(await copier.all(), name) == []
    model = await office.at(f"models:/{name}")
    assert model.props["description"] == "Prices of flats"
    assert model.props["lastNumber"] == 3
    assert model.created_at == there["creation_timestamp"] * 1_000
    assert await office.own(f"models:/{name}", "tags") == {"team": "search"}
    assert sorted(await office.leads(f"models:/{name}", "VERSION_OF", "IN")) == ["1", "3"]
    third = await office.at(f"models:/{name}@champion")
    assert (third.name, third.props["source"], third.props["description"]) == ("3", "s3://models/2", "try 2")
    assert await office.own(third.id, "tags") == {"try": "2"}
    assert await office.leads(f"models:/{name}", "STAGE") == {"1": "Production"}
    async with office.operation() as op:
        then = await resolve(op, third.id, as_of=third.created_at + 1)
        before = await resolve(op, third.id, as_of=third.created_at - 1)
    assert then is not None
    assert before is None


async def test_the_runs_behind_versions_come_with_them(
    office: Office, book: Logbook, copier: Copier, name: str
) -> None:
    run = book.run(datasets=[dataset(name, "d1")], source__git__commit=COMMIT, params={"lr": "1"})
    logged = book.logged_model(run)
    book.registered(name)
    book.version(name, f"models:/{logged}", run_id=run, model_id=logged)
    book.version(name, "s3://models/x", run_id=run)
    assert about(await copier.all(), name) == []
    for number in (1, 2):
        assert await office.leads(f"models:/{name}/{number}", "PRODUCED_BY") == {run: ""}
        assert (await office.at(f"models:/{name}/{number}")).props["enrichment"] == "DONE"
    assert await office.own(f"models:/{name}/1", "params") == {"trees": "10"}
    assert await office.leads(f"runs:/{run}", "READ") == {"d1": "training"}
    node = await office.at(f"runs:/{run}")
    assert (node.created_at, node.created_by) == (node.props["startedAt"], "mlflow:ann")
    assert list(await office.leads(f"runs:/{run}", "BUILT_FROM")) == [f"unknown@{COMMIT}"]


async def test_prompts_come_over_as_models(office: Office, book: Logbook, copier: Copier, name: str) -> None:
    prompt = {"mlflow.prompt.is_prompt": "true"}
    book.registered(name, tags=tags(prompt))
    book.version(name, "dummy-source", tags=tags({**prompt, "mlflow.prompt.text": "Hello {{name}}"}))
    done = await copier.all()
    assert done.prompts >= 1
    assert (await office.own(f"models:/{name}/1", "tags"))["mlflow.prompt.text"] == "Hello {{name}}"


async def test_the_same_again_changes_nothing(
    office: Office, book: Logbook, mlflow: MlflowServerProcess, name: str
) -> None:
    run = book.run(datasets=[dataset(name, "d1")])
    book.registered(name, tags=tags({"team": "search"}))
    book.version(name, run_id=run)
    book.post("registered-models/alias", name=name, alias="champion", version="1")
    with copying(office.graph, mlflow.url) as first:
        await first.all()
    before = await lines(office.graph)
    with copying(office.graph, mlflow.url) as second:
        assert (await second.all()).written == 0
    assert await lines(office.graph) == before


async def lines(graph: Graph) -> list[bytes]:
    """All that is in a store."""
    async with graph.snapshot() as snapshot:
        return [line async for line in export_lines(snapshot)]


async def test_what_changes_there_is_followed(office: Office, book: Logbook, copier: Copier, name: str) -> None:
    book.registered(name, tags=tags({"team": "search", "old": "1"}))
    book.version(name, tags=tags({"a": "1", "b": "2"}))
    book.post("registered-models/alias", name=name, alias="champion", version="1")
    book.post("registered-models/alias", name=name, alias="old", version="1")
    book.post("model-versions/transition-stage", name=name, version="1", stage="Staging")
    await copier.all()
    book.version(name, "s3://models/second")
    book.call("PATCH", "model-versions/update", name=name, version="1", description="better words")
    book.post("model-versions/transition-stage", name=name, version="1", stage="None")
    done = await copier.changes()
    assert about(done, name) == []
    assert (await office.at(f"models:/{name}/2")).props["source"] == "s3://models/second"
    assert (await office.at(f"models:/{name}/1")).props["description"] == "better words"
    assert await office.leads(f"models:/{name}", "STAGE") == {}
    book.post("registered-models/alias", name=name, alias="champion", version="2")
    book.call("DELETE", "registered-models/alias", name=name, alias="old")
    book.call("DELETE", "registered-models/delete-tag", name=name, key="old")
    book.call("DELETE", "model-versions/delete-tag", name=name, version="1", key="a")
    await copier.all()
    assert await office.leads(f"models:/{name}", "ALIAS") == {"2": "champion"}
    assert await office.own(f"models:/{name}", "tags") == {"team": "search"}
    assert await office.own(f"models:/{name}/1", "tags") == {"b": "2"}


async def test_what_is_deleted_there_stays_and_is_told(
    office: Office, book: Logbook, copier: Copier, name: str
) -> None:
    gone = f"{name} gone"
    for each in (name, gone):
        book.registered(each)
        book.version(each)
    await copier.all()
    book.call("DELETE", "model-versions/delete", name=name, version="1")
    book.call("DELETE", "registered-models/delete", name=gone)
    done = await copier.all()
    assert about(done, name) == [f"version 1 of {name!r} is gone there; it stays here"]
    assert about(done, gone) == [f"model {gone!r} is gone there; it stays here"]
    assert (await office.at(f"models:/{name}/1")).name == "1"


async def test_a_run_that_goes_on_is_read_again_with_the_next_copy(
    office: Office, book: Logbook, copier: Copier, name: str
) -> None:
    run = book.run(end=False)
    book.registered(name)
    book.version(name, run_id=run)
    await copier.all()
    assert (await office.at(f"models:/{name}/1")).props["enrichment"] == "FOLLOWING"
    book.end(run)
    await copier.all()
    assert (await office.at(f"models:/{name}/1")).props["enrichment"] == "DONE"
    assert (await office.at(f"runs:/{run}")).props["state"] == "FINISHED"


async def test_a_run_that_is_gone_is_told_and_the_version_comes_over(
    office: Office, book: Logbook, copier: Copier, name: str
) -> None:
    book.registered(name)
    book.version(name, run_id="e" * 32)
    done = await copier.all()
    assert about(done, name) == [f"version 1 of {name!r}: the server knows no run {'e' * 32!r}"]
    assert (await office.at(f"models:/{name}/1")).props["enrichment"] == "FAILED"
    assert about(await copier.all(), name) == []


async def test_a_version_that_is_here_by_chance_is_left_alone(
    office: Office, book: Logbook, copier: Copier, name: str
) -> None:
    async with office.operation() as op:
        await create_model_version(op, model=f"models:/{name}", create_model=True, properties={"description": "ours"})
    book.registered(name)
    book.version(name, description="theirs")
    book.version(name)
    done = await copier.all()
    assert about(done, name) == [f"version 1 of {name!r} here is another one; it is left"]
    assert (await office.at(f"models:/{name}/1")).props["description"] == "ours"
    assert (await office.at(f"models:/{name}/2")).name == "2"


async def test_an_alias_that_was_moved_here_is_moved_back(
    office: Office, book: Logbook, copier: Copier, name: str
) -> None:
    book.registered(name)
    book.version(name)
    book.version(name)
    book.post("registered-models/alias", name=name, alias="champion", version="1")
    await copier.all()
    async with office.operation() as op:
        await set_alias(op, model=f"models:/{name}", name="champion", version=f"models:/{name}/2")
    await copier.all()
    assert await office.leads(f"models:/{name}", "ALIAS") == {"1": "champion"}


async def test_a_gate_holds_for_what_comes_over(office: Office, book: Logbook, copier: Copier, name: str) -> None:
    book.registered(name)
    book.version(name)
    book.post("registered-models/alias", name=name, alias="guarded", version="1")
    async with office.operation() as op:
        await declare_gate(op, name="guard", alias="guarded", conditions=[{"type": "verified"}])
    done = await copier.all()
    (problem,) = about(done, name)
    assert "guard" in problem
    assert await office.leads(f"models:/{name}", "ALIAS") == {}


async def test_values_that_are_too_large_are_told(office: Office, book: Logbook, copier: Copier, name: str) -> None:
    book.registered(name, tags=tags({"long": "x" * 4_000}), description="y" * 70_000)
    done = await copier.all()
    assert about(done, name) == [f"model {name!r}: 1 values are larger than Lineal takes"]
    assert await office.own(f"models:/{name}", "tags") == {"long": "x" * 4_000}


async def test_a_version_that_cannot_be_recorded_harms_no_other(
    office: Office, book: Logbook, copier: Copier, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying_module, "MAX_STORIES", 1)
    book.registered(name)
    for i in range(3):
        book.version(name, f"s3://models/{i}", run_id=book.run())
    real = MlflowServer.versions

    def lies(self: MlflowServer, model: RegisteredModel) -> Any:
        for page in real(self, model):
            yield [replace(each, number="two") if each.number == "2" else each for each in page]

    monkeypatch.setattr(MlflowServer, "versions", lies)
    (problem,) = about(await copier.all(), name)
    assert "no version number" in problem
    assert sorted(await office.leads(f"models:/{name}", "VERSION_OF", "IN")) == ["1", "3"]


async def test_lists_of_many_pages_are_read_to_their_end(
    office: Office, book: Logbook, copier: Copier, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAGE", 2)
    book.registered(name)
    for i in range(5):
        book.version(name, f"s3://models/{i}")
    await copier.all()
    assert len(await office.leads(f"models:/{name}", "VERSION_OF", "IN")) == 5


async def test_a_name_with_a_quote_comes_over(office: Office, book: Logbook, copier: Copier, name: str) -> None:
    for each in (f"{name}'s", f'{name} "best"', f'{name}\'s "best"'):
        book.registered(each)
        book.version(each)
    done = await copier.all()
    assert (await office.at(f"models:/{name}'s/1")).name == "1"
    assert (await office.at(f'models:/{name} "best"/1')).name == "1"
    assert ["both kinds" in each for each in done.problems if name in each] == [True]


async def test_a_workspace_must_be_there(office: Office, mlflow: MlflowServerProcess) -> None:
    with copying(office.graph, mlflow.url, "nowhere") as copier, pytest.raises(NotFound, match="nowhere"):
        await copier.all()


async def test_a_server_that_goes_away_in_the_midst_is_gone_on_with(
    office: Office, book: Logbook, copier: Copier, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.registered(name)
    for i in range(3):
        book.version(name, f"s3://models/{i}", run_id=book.run())
    real = MlflowServer.run

    def away(self: MlflowServer, id: str) -> object:
        raise Away("tracking server mlflow: it is away")

    monkeypatch.setattr(MlflowServer, "run", away)
    with pytest.raises(Unavailable, match="away"):
        await copier.all()
    monkeypatch.setattr(MlflowServer, "run", real)
    assert about(await copier.all(), name) == []
    for number in (1, 2, 3):
        assert (await office.at(f"models:/{name}/{number}")).props["enrichment"] == "DONE"


async def test_a_run_that_cannot_be_read_is_told(
    office: Office, book: Logbook, copier: Copier, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = book.run()
    book.registered(name)
    book.version(name, run_id=run)

    def lies(self: MlflowServer, id: str) -> object:
        raise Unavailable("tracking server mlflow: runs/get.run is not an object")

    monkeypatch.setattr(MlflowServer, "run", lies)
    (problem,) = about(await copier.all(), name)
    assert problem.endswith("is not an object")
    assert (await office.at(f"models:/{name}/1")).props["enrichment"] == "FAILED"


def test_what_is_not_there_is_none(mlflow: MlflowServerProcess) -> None:
    server = MlflowServer(from_environment(mlflow.url, {}))
    assert server.model("nobody has this") is None
    assert server.run("f" * 32) is None
    assert server.logged_model("m-" + "f" * 32) is None
    assert server.logged_model("../runs/get") is None
    assert server.experiment("987654321") == ""
    assert list(server.versions(RegisteredModel("nobody has this"))) == [[]]
    server.close()
