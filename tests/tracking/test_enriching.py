"""Versions that name a run, or a logged model, of a real MLflow server get their lineage from there."""

from __future__ import annotations

import pytest

from graph.port import Direction, Graph, Walk
from graph.transfer import export_lines
from lineal.errors import PreconditionFailed
from resolvers.tracking.asking import enrich_model_version
from resolvers.tracking.trackers import Trackers
from resolvers.writing.datasets import rename_dataset
from resolvers.writing.runs import record_run
from storage.tracking import mlflow as client
from tests.mlflow_server import MlflowServerProcess
from tests.tracking.conftest import Office, config, office_with
from tests.tracking.logbook import COMMIT, SECRET, Logbook, dataset


def trained(book: Logbook) -> str:
    """A run with all that a run may have."""
    parent = book.run(name="sweep")
    return book.run(
        params={"lr": "0.1"},
        metrics={"loss": 0.25, "worst": float("nan")},
        datasets=[
            dataset("flats", "d1", url=f"https://ann:{SECRET}@data.example.org/flats.csv?sig={SECRET}"),
            dataset("flats", "d2", "eval"),
        ],
        parentRunId=parent,
        source__git__commit=COMMIT,
        source__git__repoURL=f"https://bot:{SECRET}@git.example.org/prices.git",
        note__content="Tried **twice**.",
    )


async def _lines(graph: Graph) -> list[bytes]:
    async with graph.snapshot() as snapshot:
        return [line async for line in export_lines(snapshot)]


async def test_a_version_with_a_run_gets_data_code_experiment_and_parent_from_there(
    office: Office, book: Logbook
) -> None:
    run = trained(book)
    version = await office.register(runId=run)
    assert version.props["enrichment"] == "QUEUED"
    done = await office.comes_to(version, "DONE")
    assert done.props["enrichedAt"] > version.created_at
    assert "enrichmentMessage" not in done.props
    assert await office.leads(version.id, "PRODUCED_BY") == {run: ""}
    assert await office.leads(f"runs:/{run}", "READ") == {"d1": "training", "d2": "eval"}
    assert list(await office.leads(f"runs:/{run}", "BUILT_FROM")) == [f"https://git.example.org/prices.git@{COMMIT}"]
    assert book.experiment in await office.leads(f"runs:/{run}", "PART_OF")
    assert await office.own(f"runs:/{run}", "params") == {"lr": "0.1"}
    assert (await office.own(f"runs:/{run}", "tags"))["mlflow.user"] == "ann"
    loss, _ = (await office.metrics(f"runs:/{run}"))["loss"]
    assert loss == 0.25
    node = await office.at(f"runs:/{run}")
    assert node.props["state"] == "FINISHED"
    assert node.props["description"] == "Tried **twice**."
    assert node.props["endedAt"] > node.props["startedAt"]
    data = await office.at("datasets:/flats/d1")
    assert (data.props["uri"], data.props["rowCount"]) == ("https://data.example.org/flats.csv", 3)
    assert (await office.at("fields:/flats/area")).props == {"type": "double", "ordinal": 0}


async def test_lineage_reaches_from_the_data_to_the_version(office: Office, book: Logbook) -> None:
    version = await office.register(runId=trained(book))
    await office.comes_to(version, "DONE")
    data = await office.at("datasets:/flats/d1")
    async with office.graph.snapshot() as snapshot:
        found = await snapshot.closure([data.id], Walk(Direction.DOWNSTREAM, edges=("READ", "PRODUCED_BY")))
    assert version.id in [node.id for node, _ in found.nodes]


async def test_no_secret_of_an_address_comes_into_the_graph(office: Office, book: Logbook) -> None:
    await office.comes_to(await office.register(runId=trained(book)), "DONE")
    assert SECRET.encode() not in b"".join(await _lines(office.graph))


async def test_looking_it_up_again_gives_the_same_graph(office: Office, book: Logbook) -> None:
    run = trained(book)
    model = book.logged_model(run)
    book.metric(run, "rmse", 0.5, model_id=model, dataset_name="flats", dataset_digest="d2")
    version = await office.register(runId=run, loggedModel=model)
    await office.comes_to(version, "DONE")
    before = await _lines(office.graph)
    async with office.operation() as op:
        asked = await enrich_model_version(op, address=version.id)
    assert asked.props["enrichment"] == "QUEUED"
    done = await office.comes_to(version, "DONE")
    after = await _lines(office.graph)
    assert [line for line in after if version.id.encode() not in line] == [
        line for line in before if version.id.encode() not in line
    ]
    assert done.revision == version.revision + 1


async def test_what_was_logged_later_is_added_on_demand(office: Office, book: Logbook) -> None:
    run = book.run(params={"lr": "0.1"})
    version = await office.register(runId=run)
    await office.comes_to(version, "DONE")
    book.metric(run, "late", 0.75)
    book.post("runs/log-inputs", run_id=run, datasets=[dataset("later", "d9", "test")])
    async with office.operation() as op:
        await enrich_model_version(op, address=version.id)
    await office.comes_to(version, "DONE")
    assert (await office.metrics(f"runs:/{run}"))["late"] == (0.75, 1)
    assert await office.leads(f"runs:/{run}", "READ") == {"d9": "test"}


async def test_a_run_that_goes_on_is_followed_until_it_ends(office: Office, book: Logbook) -> None:
    run = book.run(metrics={"loss": 0.5}, end=False)
    version = await office.register(runId=run)
    await office.comes_to(version, "FOLLOWING")
    assert (await office.at(f"runs:/{run}")).props["state"] == "RUNNING"
    book.metric(run, "loss", 0.25, step=1)
    book.end(run)
    await office.comes_to(version, "DONE")
    assert (await office.at(f"runs:/{run}")).props["state"] == "FINISHED"
    assert (await office.metrics(f"runs:/{run}"))["loss"] == (0.25, 2)


async def test_a_logged_model_tells_parameters_metrics_and_what_it_was_measured_on(
    office: Office, book: Logbook
) -> None:
    run = trained(book)
    model = book.logged_model(run)
    book.metric(run, "plain", 0.75, model_id=model)
    book.metric(run, "rmse", 0.5, model_id=model, dataset_name="flats", dataset_digest="d2")
    version = await office.register(loggedModel=model)
    await office.comes_to(version, "DONE")
    assert await office.own(version.id, "params") == {"trees": "10"}
    assert await office.metrics(version.id) == {"plain": (0.75, 1)}
    assert await office.leads(version.id, "PRODUCED_BY") == {run: ""}
    (evaluation,) = await office.leads(version.id, "EVALUATES", "IN")
    at = evaluation.replace("@", "%40")
    assert await office.metrics(f"evaluations:/{at}") == {"rmse": (0.5, 1)}
    assert await office.leads(f"evaluations:/{at}", "EVALUATED_ON") == {"d2": ""}
    assert await office.leads(f"evaluations:/{at}", "PRODUCED_BY") == {run: ""}


async def test_a_run_that_read_a_model_leads_to_its_versions(office: Office, book: Logbook) -> None:
    first = book.run()
    base = book.logged_model(first)
    await office.comes_to(await office.register("models:/base", runId=first, loggedModel=base), "DONE")
    second = book.run()
    tuned = book.logged_model(second)
    book.read_model(second, base)
    book.read_model(second, tuned)
    version = await office.register("models:/tuned", runId=second, loggedModel=tuned)
    await office.comes_to(version, "DONE")
    base_version = await office.at("models:/base/1")
    async with office.graph.snapshot() as snapshot:
        found = await snapshot.closure([version.id], Walk(Direction.UPSTREAM, edges=("READ", "PRODUCED_BY")))
    assert base_version.id in [node.id for node, _ in found.nodes]


async def test_what_would_close_a_circle_is_left_out_and_told(office: Office, book: Logbook) -> None:
    first, second = book.run(), book.run()
    models = [book.logged_model(first), book.logged_model(second)]
    book.read_model(first, models[1])
    book.read_model(second, models[0])
    one = await office.register("models:/one", runId=first, loggedModel=models[0])
    two = await office.register("models:/two", runId=second, loggedModel=models[1])
    done = [await office.comes_to(each, "DONE") for each in (one, two)]
    async with office.operation() as op:
        await enrich_model_version(op, address=one.id)
    done.append(await office.comes_to(one, "DONE"))
    assert any("cycle" in node.props.get("enrichmentMessage", "") for node in done)
    assert await office.leads(one.id, "PRODUCED_BY") == {first: ""}
    assert await office.leads(two.id, "PRODUCED_BY") == {second: ""}


async def test_data_that_the_run_made_by_what_is_known_here_is_not_read_by_it(office: Office, book: Logbook) -> None:
    run = book.run(datasets=[dataset("flats", "d1"), dataset("rooms", "d1")], params={"lr": "0.1"})
    async with office.operation() as op:
        await record_run(op, name=run, outputs=[{"dataset": "datasets:/flats/d1", "create": True}])
    version = await office.register(runId=run)
    done = await office.comes_to(version, "DONE")
    assert "cycle" in done.props["enrichmentMessage"]
    assert await office.leads(f"runs:/{run}", "READ") == {}
    assert await office.own(f"runs:/{run}", "params") == {"lr": "0.1"}


async def test_what_cannot_be_recorded_is_given_up_and_says_why(office: Office, book: Logbook) -> None:
    await office.comes_to(await office.register(runId=book.run(datasets=[dataset("flats", "d1")])), "DONE")
    async with office.operation() as op:
        await rename_dataset(op, address="datasets:/flats", name="houses")
    both = [dataset("flats", "d2"), dataset("houses", "d3")]
    version = await office.register(runId=book.run(datasets=both))
    failed = await office.comes_to(version, "FAILED")
    assert "names already" in failed.props["enrichmentMessage"]


async def test_a_parent_that_is_gone_is_left_out(office: Office, book: Logbook) -> None:
    run = book.run(parentRunId="d" * 32)
    await office.comes_to(await office.register(runId=run), "DONE")
    assert list(await office.leads(f"runs:/{run}", "PART_OF")) == [book.experiment]


async def test_a_version_keeps_the_run_that_it_has(office: Office, book: Logbook) -> None:
    first, second = book.run(), book.run()
    version = await office.register(runId=first)
    await office.comes_to(version, "DONE")
    async with office.operation() as op:
        await enrich_model_version(op, address=version.id, run_id=second)
    done = await office.comes_to(version, "DONE")
    assert "PRODUCED_BY" in done.props["enrichmentMessage"]
    assert await office.leads(version.id, "PRODUCED_BY") == {first: ""}


async def test_values_of_a_metric_are_read_up_to_a_bound_where_that_is_wanted(
    graph: Graph, mlflow: MlflowServerProcess, book: Logbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = book.run(end=False)
    monkeypatch.setattr(client, "MAX_HISTORY", 4)
    monkeypatch.setattr(client, "_HISTORY_PAGE", 2)
    for step in range(5):
        book.metric(run, "loss", 1 / (step + 1), step=step)
    book.metric(run, "nan", float("nan"))
    book.end(run)
    table = config(mlflow.url, options={"allow_private": True, "history": True})
    async with office_with(graph, table) as office:
        version = await office.register(runId=run)
        await office.comes_to(version, "DONE")
        found = await office.metrics(f"runs:/{run}")
    assert found["loss"] == (0.25, 4)
    assert found["nan"][1] == 1


async def test_a_run_that_no_server_knows_is_given_up_at_once(office: Office) -> None:
    version = await office.register(runId="f" * 32)
    failed = await office.comes_to(version, "FAILED")
    assert "knows the run" in failed.props["enrichmentMessage"]
    assert "enrichmentDue" not in failed.props


async def test_a_version_without_a_run_is_not_looked_up(office: Office) -> None:
    version = await office.register()
    assert "enrichment" not in version.props
    async with office.operation() as op:
        with pytest.raises(PreconditionFailed, match="give runId"):
            await enrich_model_version(op, address=version.id)


async def test_where_no_server_is_configured_asking_says_so(office: Office) -> None:
    version = await office.register(runId="f" * 32)
    async with Trackers() as nobody, office.operation(nobody) as op:
        with pytest.raises(PreconditionFailed, match="no tracking server"):
            await enrich_model_version(op, address=version.id)
