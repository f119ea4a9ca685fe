"""What becomes of what producers say: jobs, runs, data, versions, fields, and what leads to what."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import ADMIN, Caller
from auth.scopes import SCOPES
from graph.port import NewEdge, NewNode, Update
from lineal.errors import InvalidArgument, LimitExceeded, LinealError, PreconditionFailed
from resolvers.operation import Operation
from resolvers.writing.versions import delete_model_version
from schema.executing import execute
from schema.sdl import build_schema
from tests import building
from tests.openlineage.conftest import Listener
from tests.openlineage.inventing import at, data, event, facet, job, run_id


def of_run(minute: int, type_: str | None, number: int = 1, name: str = "train", **parts: Any) -> dict[str, Any]:
    """An event of a run."""
    facets = {n: facet(**f) for n, f in parts.pop("run_facets", {}).items()}
    said = {"eventType": type_} if type_ else {}
    given = parts.pop("job", None) or job(name)
    return event(at(minute), **said, run={"runId": run_id(number), "facets": facets}, job=given, **parts)


def column(*sources: tuple[str, str], **how: Any) -> dict[str, Any]:
    """What a field comes from: (data set, field)."""
    return {"inputFields": [{"namespace": "made-up", "name": d, "field": f, **how} for d, f in sources]}


RUN = run_id(1)
PLAIN = frozenset(SCOPES) - {ADMIN}


# ── Runs and jobs ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("types", "state", "started", "ended"),
    [
        (["START"], "RUNNING", 0, None),
        (["START", "RUNNING", "COMPLETE"], "FINISHED", 0, 2),
        (["START", "FAIL"], "FAILED", 0, 1),
        (["START", "ABORT"], "KILLED", 0, 1),
        (["START", "COMPLETE", "OTHER"], "FINISHED", 0, 1),
        (["COMPLETE"], "FINISHED", 0, 0),
        (["START", "FAIL", "COMPLETE"], "FINISHED", 0, 2),
        ([None], "RUNNING", 0, None),
    ],
)
async def test_a_run_is_in_the_state_that_its_last_end_says(
    listener: Listener, types: list[str | None], state: str, started: int, ended: int | None
) -> None:
    await listener.hear(*(of_run(minute, type_) for minute, type_ in enumerate(types)))
    run = (await listener.picture()).nodes["Run", RUN]
    origin = 1_772_323_200_000_000
    assert run["state"] == state
    assert run["startedAt"] == origin + started * 60_000_000
    assert run.get("endedAt") == (None if ended is None else origin + ended * 60_000_000)


async def test_what_a_run_says_of_itself_is_there(listener: Listener) -> None:
    said: dict[str, Any] = {
        "executionParameters": {
            "parameters": [{"key": "lr", "value": "0.1"}, {"key": "on", "value": True}, {"key": "x"}]
        },
        "tags": {"tags": [{"key": "team", "value": "search", "source": "CONFIG"}]},
        "nominalTime": {"nominalStartTime": "2026-03-01T00:00:00Z"},
        "errorMessage": {"message": "out of memory", "programmingLanguage": "python"},
        "unheard_of": {"deep": [{"é": None}, 1.5]},
    }
    code = {"type": "git", "url": "https://git.test/a/b", "repoUrl": "https://u:p@git.test/a.git", "version": "abc123"}
    given = job("train", sourceCodeLocation=code, documentation={"description": "Trains."}, sql={"query": "SELECT 1"})
    await listener.hear(of_run(0, "FAIL", run_facets=said, job=given))
    found = await listener.picture()
    run = found.nodes["Run", RUN]
    assert run["params"] == {"lr": "0.1", "on": "true", "x": ""}
    assert run["tags"] == {"team": "search"}
    assert run["description"] == "out of memory"
    assert run["attributes"] == {"nominalStartTime": "2026-03-01T00:00:00Z"}
    assert found.leads("BUILT_FROM") == {(RUN, "https://u@git.test/a.git@abc123")}
    assert found.nodes["Pipeline", "made-up#train"]["description"] == "Trains."
    assert found.nodes["Pipeline", "made-up#train"]["uri"] == "https://git.test/a/b"
    kept = found.nodes["RunFacets", f"run/{RUN}"]["facets"]
    assert kept["unheard_of"] == facet(**said["unheard_of"])
    assert found.nodes["RunFacets", "job/made-up#train"]["facets"]["sql"] == facet(query="SELECT 1")
    assert (f"run/{RUN}", RUN) in found.leads("FACETS_OF")


async def test_what_is_said_later_counts_and_what_is_taken_back_is_gone(listener: Listener) -> None:
    def said(minute: int, *tags: str, **more: Any) -> dict[str, Any]:
        return of_run(
            minute, "RUNNING", job=job("train", tags={"tags": [{"key": t, "value": "1"} for t in tags]}, **more)
        )

    await listener.hear(said(5, "a", "b", documentation={"description": "new"}), said(1, "c"))
    pipeline = (await listener.picture()).nodes["Pipeline", "made-up#train"]
    assert pipeline["tags"] == {"a": "1", "b": "1"}
    await listener.hear(said(6, "b", documentation={"_deleted": True}))
    found = await listener.picture()
    assert found.nodes["Pipeline", "made-up#train"] == {"tags": {"b": "1"}, "params": {}}
    assert "documentation" not in found.nodes["RunFacets", "job/made-up#train"]["facets"]
    await listener.hear(said(4, documentation={"description": "late"}))
    assert await listener.picture() == found


async def test_a_run_belongs_to_the_run_that_started_it_and_the_first_one_is_known(listener: Listener) -> None:
    parent = {
        "run": {"runId": run_id(2)},
        "job": {"namespace": "made-up", "name": "dag"},
        "root": {"run": {"runId": run_id(3)}, "job": {"namespace": "made-up", "name": "all"}},
    }
    await listener.hear(of_run(1, "START", run_facets={"parent": parent}))
    found = await listener.picture()
    assert found.leads("PART_OF") == {(RUN, run_id(2))}
    assert found.leads("RUN_OF") == {
        (RUN, "made-up#train"),
        (run_id(2), "made-up#dag"),
        (run_id(3), "made-up#all"),
    }
    assert "state" not in found.nodes["Run", run_id(2)]
    await listener.hear(of_run(0, "START", 2, "dag.named-by-itself"))
    assert (run_id(2), "made-up#dag.named-by-itself") in (await listener.picture()).leads("RUN_OF")


async def test_what_somebody_else_wrote_stays(listener: Listener) -> None:
    await listener.hear(of_run(0, "START", job=job("train", documentation={"description": "said"})))
    async with listener.graph.snapshot() as snapshot:
        (pipeline,) = (await snapshot.find("Pipeline")).items
    await building.tag(listener.graph, pipeline.id, mine="1")
    await listener.hear(of_run(1, "COMPLETE", job=job("train", tags={"tags": [{"key": "theirs", "value": "2"}]})))
    assert (await listener.picture()).nodes["Pipeline", "made-up#train"]["tags"] == {"mine": "1", "theirs": "2"}


# ── Which version was read ────────────────────────────────────────────────────────────────────────


def made(name: str, number: int, minute: int, *inputs: str, job_name: str = "make", **facets: Any) -> dict[str, Any]:
    """The end of a run that made a data set."""
    parts = {"inputs": [data(i) for i in inputs], "outputs": [data(name, **facets)]}
    return of_run(minute, "COMPLETE", number, job_name, **parts)


def read(minute: int, *names: str, number: int = 9, **facets: Any) -> dict[str, Any]:
    """The beginning of a run that read data sets."""
    return of_run(minute, "START", number, "read", inputs=[data(name, **facets) for name in names])


async def test_each_run_makes_a_version_of_its_own_and_the_latest_complete_one_is_read(listener: Listener) -> None:
    await listener.hear(made("t", 1, 1), made("t", 2, 5), made("t", 3, 9), read(7, "t"))
    found = await listener.picture()
    assert found.leads("READ") == {(run_id(9), f"made-up#t/{run_id(2)}")}
    assert found.leads("PRODUCED_BY") == {(f"made-up#t/{run_id(i)}", run_id(i)) for i in (1, 2, 3)}


async def test_a_run_that_becomes_known_later_changes_what_was_read_before(listener: Listener) -> None:
    await listener.hear(read(7, "t"))
    assert (await listener.picture()).leads("READ") == {(run_id(9), "made-up#t/unversioned")}
    await listener.hear(made("t", 1, 9))
    assert (await listener.picture()).leads("READ") == {(run_id(9), f"made-up#t/{run_id(1)}")}
    await listener.hear(made("t", 2, 1))
    assert (await listener.picture()).leads("READ") == {(run_id(9), f"made-up#t/{run_id(2)}")}
    await listener.hear(made("t", 3, 5))
    assert (await listener.picture()).leads("READ") == {(run_id(9), f"made-up#t/{run_id(3)}")}
    await listener.hear(read(2, "t"))
    assert (await listener.picture()).leads("READ") == {(run_id(9), f"made-up#t/{run_id(2)}")}


async def test_what_a_run_that_failed_left_is_not_what_others_read(listener: Listener) -> None:
    await listener.hear(made("t", 1, 1), of_run(5, "FAIL", 2, "make", outputs=[data("t")]), read(7, "t"))
    assert (await listener.picture()).leads("READ") == {(run_id(9), f"made-up#t/{run_id(1)}")}


async def test_a_run_that_reads_and_writes_the_same_data_read_what_was_there_before(listener: Listener) -> None:
    await listener.hear(made("t", 1, 1, "t"), made("t", 2, 5, "t"), made("t", 3, 9, "t"))
    assert (await listener.picture()).leads("READ") == {
        (run_id(1), "made-up#t/unversioned"),
        (run_id(2), f"made-up#t/{run_id(1)}"),
        (run_id(3), f"made-up#t/{run_id(2)}"),
    }


async def test_named_versions_are_read_and_made_by_whoever_says_so_first(listener: Listener) -> None:
    version: dict[str, Any] = {"version": {"datasetVersion": "v7"}}
    await listener.hear(made("t", 2, 5, **version), read(3, "t", **version), made("t", 1, 4, **version))
    found = await listener.picture()
    assert found.leads("READ") == {(run_id(9), "made-up#t/v7")}
    assert found.leads("PRODUCED_BY") == {("made-up#t/v7", run_id(1))}
    assert found.of("DatasetVersion") == {"v7"}


async def test_a_run_that_names_its_version_at_its_end_made_that_one(listener: Listener) -> None:
    start = of_run(1, "START", 1, "make", outputs=[data("t")])
    await listener.hear(start, read(3, "t"))
    assert (await listener.picture()).leads("READ") == {(run_id(9), f"made-up#t/{run_id(1)}")}
    await listener.hear(made("t", 1, 2, version={"datasetVersion": "v1"}))
    found = await listener.picture()
    assert found.leads("READ") == {(run_id(9), "made-up#t/v1")}
    assert found.leads("PRODUCED_BY") == {("made-up#t/v1", run_id(1))}
    assert found.of("DatasetVersion") == {"unversioned", "v1"}
    await listener.hear(made("t", 1, 5, version={"datasetVersion": "v2"}))
    found = await listener.picture()
    assert found.leads("PRODUCED_BY") == {("made-up#t/v2", run_id(1))}
    assert found.of("DatasetVersion") == {"unversioned", "v1", "v2"}


async def test_a_version_that_a_run_found_there_is_not_what_it_made(listener: Listener) -> None:
    same = data("t", version={"datasetVersion": "v1"})
    await listener.hear(of_run(1, "COMPLETE", inputs=[same], outputs=[same]))
    found = await listener.picture()
    assert found.leads("READ") == {(RUN, "made-up#t/v1")}
    assert found.leads("PRODUCED_BY") == {(f"made-up#t/{RUN}", RUN)}


async def test_a_data_set_event_tells_of_a_version_that_nobody_made(listener: Listener) -> None:
    await listener.hear(event(at(1), dataset=data("t", version={"datasetVersion": "v1"})), read(3, "t"))
    assert (await listener.picture()).leads("READ") == {(run_id(9), "made-up#t/v1")}


async def test_rows_and_bytes_are_those_that_the_run_wrote(listener: Listener) -> None:
    output = {**data("t"), "outputFacets": {"outputStatistics": facet(rowCount=12, size=3400, fileCount=1)}}
    await listener.hear(of_run(1, "COMPLETE", outputs=[output]))
    found = await listener.picture()
    version = found.nodes["DatasetVersion", "made-up#t", RUN]
    assert (version["rowCount"], version["sizeBytes"]) == (12, 3400)
    kept = found.nodes["RunFacets", f"run/{RUN}"]["facets"]
    assert kept["/outputs/made-up#t/outputStatistics"]["fileCount"] == 1


async def test_jobs_in_a_circle_that_begin_at_once_read_nothing_of_each_other(listener: Listener) -> None:
    def step(number: int, source: str, target: str) -> dict[str, Any]:
        return of_run(1, "COMPLETE", number, f"job{number}", inputs=[data(source)], outputs=[data(target)])

    await listener.hear(step(1, "a", "b"), step(2, "b", "c"))
    assert (await listener.picture()).leads("READ") == {
        (run_id(1), "made-up#a/unversioned"),
        (run_id(2), f"made-up#b/{run_id(1)}"),
    }
    await listener.hear(step(3, "c", "a"))
    assert (await listener.picture()).leads("READ") == {
        (run_id(i), f"made-up#{d}/unversioned") for i, d in ((1, "a"), (2, "b"), (3, "c"))
    }


async def test_another_name_of_the_same_data_is_read_as_what_was_put_there(listener: Listener) -> None:
    def named(*names: str) -> dict[str, Any]:
        return {"symlinks": {"identifiers": [{"namespace": "hive", "name": n, "type": "TABLE"} for n in names]}}

    reader = of_run(7, "START", 9, "read", inputs=[data("sales", namespace="hive")])
    events = [reader, made("files", 1, 1, **named("sales")), made("files", 2, 5)]
    for turn, order in enumerate((events, events[::-1], [events[1], reader, events[2]])):
        workspace = f"w{turn}"
        await building.workspace(listener.graph, workspace)
        await listener.hear(*order, workspace=workspace)
        found = await listener.picture(workspace)
        assert found.leads("SAME_AS") == {("made-up#files", "hive#sales")}
        assert found.leads("READ") == {(run_id(9), f"made-up#files/{run_id(2)}")}
        await listener.hear(event(at(9), dataset=data("files", **named())), workspace=workspace)
        found = await listener.picture(workspace)
        assert not found.leads("SAME_AS")
        assert found.leads("READ") == {(run_id(9), "hive#sales/unversioned")}


# ── Data sets and their fields ────────────────────────────────────────────────────────────────────


async def test_the_schema_becomes_fields_and_what_it_drops_is_only_named(listener: Listener) -> None:
    struct = [{"name": "street", "type": "text"}, {"name": "no", "type": "int", "description": "The number."}]
    first = [{"name": "id", "type": "int"}, {"name": "address", "type": "struct", "fields": struct}]
    await listener.hear(event(at(1), dataset=data("t", schema={"fields": first})))
    found = await listener.picture()
    fields = {name[-1]: props for name, props in found.nodes.items() if name[0] == "Field"}
    assert {n: (p["type"], p["ordinal"]) for n, p in fields.items()} == {
        "id": ("int", 0),
        "address": ("struct", 1),
        "address.street": ("text", 2),
        "address.no": ("int", 3),
    }
    assert fields["address.no"]["description"] == "The number."
    await listener.hear(event(at(2), dataset=data("t", schema={"fields": [{"name": "id", "type": "bigint"}]})))
    found = await listener.picture()
    assert found.nodes["Field", "made-up#t", "id"]["type"] == "bigint"
    assert found.nodes["Field", "made-up#t", "address"] == {"external": True, "tags": {}, "params": {}}


async def test_column_lineage_leads_from_field_to_field_and_says_how(listener: Listener) -> None:
    direct = {"type": "DIRECT", "subtype": "IDENTITY", "masking": True}
    lineage = {
        "fields": {
            "total": column(("orders", "price"), transformations=[{"type": "DIRECT", "subtype": "AGGREGATION"}]),
            "mail": column(("users", "mail"), transformations=[direct, {"type": "INDIRECT", "subtype": "JOIN"}]),
            "old": {**column(("users", "old")), "transformationType": "IDENTITY"},
        },
        "dataset": column(("orders", "day"), transformations=[{"type": "INDIRECT", "subtype": "FILTER"}])[
            "inputFields"
        ],
    }
    await listener.hear(made("report", 1, 1, "orders", "users", columnLineage=lineage))
    found = await listener.picture()
    edges = {(s[-1], t[-1], how) for s, kind, t, how in found.edges if kind == "DERIVED_FROM"}
    assert edges == {
        ("total", "price", "DIRECT:AGGREGATION"),
        ("mail", "mail", "DIRECT:IDENTITY:MASKED INDIRECT:JOIN"),
        ("old", "old", "IDENTITY"),
        *((field, "day", "INDIRECT:FILTER") for field in ("total", "mail", "old")),
    }
    lineage["fields"].pop("old")
    await listener.hear(made("report", 1, 2, columnLineage=lineage))
    assert ("made-up#report/old", "made-up#users/old") not in (await listener.picture()).leads("DERIVED_FROM")


async def test_each_job_speaks_for_what_it_does_to_the_columns_of_shared_data(listener: Listener) -> None:
    def by(number: int, minute: int, source: str) -> dict[str, Any]:
        lineage = {"fields": {"x": column((source, "x"))}}
        return made("t", number, minute, job_name=f"job{number}", columnLineage=lineage)

    await listener.hear(by(1, 1, "a"), by(2, 2, "b"))
    assert (await listener.picture()).leads("DERIVED_FROM") == {("made-up#t/x", f"made-up#{s}/x") for s in "ab"}
    await listener.hear(by(1, 3, "c"))
    assert (await listener.picture()).leads("DERIVED_FROM") == {("made-up#t/x", f"made-up#{s}/x") for s in "bc"}
    await listener.hear(made("t", 2, 4, job_name="job2", columnLineage={"_deleted": True}))
    assert (await listener.picture()).leads("DERIVED_FROM") == {("made-up#t/x", "made-up#c/x")}


async def test_facets_of_data_name_no_job_to_whoever_reads_no_models_and_those_of_runs_no_data(
    listener: Listener,
) -> None:
    lineage = {"fields": {"x": column(("source", "x"))}}
    await listener.hear(made("t", 1, 1, job_name="quarterly", columnLineage=lineage))
    await building.sequenced(listener.graph)
    asked = "facets: openLineage { facets }"
    query = f"{{ %s {{ nodes {{ {asked} changes {{ nodes {{ data }} }} }} }} activity {{ nodes {{ data }} }} }}"
    for root, beside, named in (
        ("datasets", "model:read", "/jobs/made-up#quarterly"),
        ("runs", "dataset:read", "/outputs/made-up#t"),
    ):
        for scopes, told in ((PLAIN, True), (PLAIN - {beside}, False)):
            caller = Caller("corp:ann", scopes, workspaces=None)
            answer = await execute(build_schema(), listener.graph, query % root, caller=caller)
            assert (named in str(answer.data)) is told
            assert told is not bool(answer.errors)


async def test_the_facet_lineage_of_a_data_set_leads_to_its_sources(listener: Listener) -> None:
    source = {"namespace": "made-up", "name": "a", "type": "DATASET"}
    how = {"transformations": [{"type": "DIRECT"}]}
    lineage = {
        "inputs": [{**source, **how}, {"type": "JOB"}, {**source, "field": "day"}],
        "fields": {"x": {"inputs": [{**source, "field": "x"}]}},
    }
    await listener.hear(made("a", 1, 1, job_name="first"), made("t", 2, 2, job_name="second", lineage=lineage))
    found = await listener.picture()
    assert found.leads("READ") == {(run_id(2), f"made-up#a/{run_id(1)}")}
    assert found.leads("DERIVED_FROM", "DatasetVersion") == {(f"made-up#t/{run_id(2)}", f"made-up#a/{run_id(1)}")}
    assert found.leads("DERIVED_FROM", "Field") == {("made-up#t/x", "made-up#a/x"), ("made-up#t/x", "made-up#a/day")}
    await listener.hear(made("t", 2, 3, job_name="second", lineage={"_deleted": True}))
    assert not (await listener.picture()).leads("DERIVED_FROM")


async def test_the_facet_lineage_of_a_job_tells_the_same_for_each_of_its_targets(listener: Listener) -> None:
    entry = {
        "namespace": "made-up",
        "name": "t",
        "type": "DATASET",
        "inputs": [{"namespace": "made-up", "name": "a", "type": "DATASET"}],
        "fields": {"x": {"inputs": [{"namespace": "made-up", "name": "a", "type": "DATASET", "field": "x"}]}},
    }
    given = job("second", lineage={"entries": [entry, {"type": "JOB", "inputs": []}]})
    await listener.hear(of_run(2, "COMPLETE", 2, job=given))
    found = await listener.picture()
    assert found.leads("READ") == {(run_id(2), "made-up#a/unversioned")}
    assert found.leads("PRODUCED_BY") == {(f"made-up#t/{run_id(2)}", run_id(2))}
    assert (f"made-up#t/{run_id(2)}", "made-up#a/unversioned") in found.leads("DERIVED_FROM")
    assert ("made-up#t/x", "made-up#a/x") in found.leads("DERIVED_FROM")


async def test_a_job_that_nobody_runs_leads_from_unversioned_data_to_unversioned_data(listener: Listener) -> None:
    await listener.hear(event(at(1), job=job("view"), inputs=[data("a"), data("b")], outputs=[data("v")]))
    found = await listener.picture()
    assert found.leads("DERIVED_FROM") == {("made-up#v/unversioned", f"made-up#{d}/unversioned") for d in "ab"}
    assert found.leads("CONSUMES") == {("made-up#view", "made-up#a"), ("made-up#view", "made-up#b")}
    assert found.leads("PRODUCES") == {("made-up#view", "made-up#v")}
    lineage = {"inputs": [{"namespace": "made-up", "name": "a", "type": "DATASET"}]}
    await listener.hear(event(at(2), job=job("view"), outputs=[data("v", lineage=lineage)]))
    assert (await listener.picture()).leads("DERIVED_FROM") == {("made-up#v/unversioned", "made-up#a/unversioned")}


async def test_whoever_knows_a_data_set_says_where_it_comes_from(listener: Listener) -> None:
    lineage = {"inputs": [{"namespace": "made-up", "name": "a", "type": "DATASET"}]}
    await listener.hear(
        event(at(1), dataset=data("t", lineage=lineage, columnLineage={"fields": {"x": column(("a", "y"))}}))
    )
    found = await listener.picture()
    assert found.leads("DERIVED_FROM", "DatasetVersion") == {("made-up#t/unversioned", "made-up#a/unversioned")}
    assert found.leads("DERIVED_FROM", "Field") == {("made-up#t/x", "made-up#a/y")}


async def test_a_data_set_has_what_is_said_of_it_but_no_password(listener: Listener) -> None:
    said: dict[str, Any] = {
        "documentation": {"description": "All orders."},
        "dataSource": {"name": "db", "uri": "postgres://ann:secret@db.test:5432/food"},
        "tags": {"tags": [{"key": "pii", "value": "true", "field": "mail"}, {"key": "tier", "value": "1"}]},
        "lifecycleStateChange": {"lifecycleStateChange": "OVERWRITE"},
    }
    await listener.hear(event(at(1), dataset=data("t", **said)))
    found = await listener.picture()
    dataset = found.nodes["Dataset", "made-up#t"]
    assert dataset["description"] == "All orders."
    assert dataset["uri"] == "postgres://ann@db.test:5432/food"
    assert dataset["tags"] == {"mail.pii": "true", "tier": "1", "lifecycleStateChange": "OVERWRITE"}
    assert "secret" not in str(found.nodes)


async def test_the_namespace_lineal_names_what_is_registered_here(listener: Listener) -> None:
    _, (version,) = await building.dataset(listener.graph, "corpus", "v2")
    given = data("corpus", namespace="lineal", version={"datasetVersion": "v2"})
    await listener.hear(of_run(1, "COMPLETE", inputs=[given]))
    async with listener.graph.snapshot() as snapshot:
        assert {e.source for e in await snapshot.edges_from([version.id])} == {version.id}
    assert (await listener.picture()).leads("READ") == {(RUN, "corpus/v2")}


# ── Models ────────────────────────────────────────────────────────────────────────────────────────

MODEL: dict[str, Any] = {"datasetType": {"datasetType": "MODEL"}}


async def test_a_data_set_that_is_a_model_becomes_versions_of_a_model(listener: Listener) -> None:
    def trained(number: int, minute: int, **said: Any) -> dict[str, Any]:
        facets: dict[str, Any] = {"lineal_modelVersion": said} if said else {}
        output = data("ranker", **MODEL, **facets)
        metrics = facet(metrics=[{"name": "ndcg", "value": 0.9, "step": 2}])
        parts: dict[str, Any] = {
            "inputs": [data("corpus")],
            "outputs": [{**output, "outputFacets": {"lineal_metrics": metrics}}],
        }
        return of_run(minute, "COMPLETE", number, **parts)

    await listener.hear(trained(1, 1, license="MIT", frameworks=["PyTorch"], task="ranking"), trained(2, 3))
    found = await listener.picture()
    assert found.of("Model") == {"made-up#ranker"}
    assert found.nodes["Model", "made-up#ranker"]["task"] == "ranking"
    first = found.nodes["ModelVersion", "made-up#ranker", "1"]
    assert (first["state"], first["license"], first["frameworks"]) == ("READY", "MIT", ["PyTorch"])
    assert {("made-up#ranker/1", RUN), ("made-up#ranker/2", run_id(2))} <= found.leads("PRODUCED_BY")
    await listener.hear(trained(1, 1, license="MIT", frameworks=["PyTorch"], task="ranking"), trained(2, 3))
    assert await listener.picture() == found
    async with listener.graph.snapshot() as snapshot:
        versions = [node.id for node in (await snapshot.find("ModelVersion")).items]
        metrics = await snapshot.metrics(versions)
    assert [(m.name, m.value, m.count) for id in versions for m in metrics[id]] == [("ndcg", 0.9, 1)] * 2


async def test_a_model_that_was_made_from_another_comes_of_it(listener: Listener) -> None:
    base = of_run(1, "COMPLETE", 1, "pretrain", outputs=[data("base", **MODEL)])
    said = {"model": "tuned", "relation": "finetune"}
    tuned = of_run(
        3, "COMPLETE", 2, "tune", inputs=[data("base")], outputs=[data("t", **MODEL, lineal_modelVersion=said)]
    )
    scored = of_run(5, "START", 3, "score", inputs=[data("t")])
    for events in ((base, tuned, scored), (scored, tuned, base)):
        workspace = f"w{events.index(base)}"
        await building.workspace(listener.graph, workspace)
        await listener.hear(*events, workspace=workspace)
        found = await listener.picture(workspace)
        assert found.leads("DERIVED_FROM") == {("tuned/1", "made-up#base/1")}
        assert {how for _, kind, _, how in found.edges if kind == "DERIVED_FROM"} == {"finetune"}
        assert found.leads("READ", "Run", "ModelVersion") == {
            (run_id(2), "made-up#base/1"),
            (run_id(3), "tuned/1"),
        }


async def test_what_turns_out_to_be_a_model_later_is_one(listener: Listener) -> None:
    await listener.hear(of_run(1, "START", outputs=[data("m")]), of_run(5, "START", 2, "score", inputs=[data("m")]))
    assert not (await listener.picture()).of("Model")
    await listener.hear(event(at(2), dataset=data("m", **MODEL)))
    found = await listener.picture()
    assert found.nodes["ModelVersion", "made-up#m", "1"]["state"] == "PENDING"
    assert (run_id(2), "made-up#m/1") in found.leads("READ")
    await listener.hear(of_run(3, "FAIL"))
    assert (await listener.picture()).nodes["ModelVersion", "made-up#m", "1"]["state"] == "FAILED"


async def test_a_model_that_its_run_made_is_ready_no_sooner_than_with_its_last_byte(listener: Listener) -> None:
    await listener.hear(of_run(1, "START", outputs=[data("m", **MODEL)]))
    async with listener.graph.snapshot() as snapshot:
        (version,) = (await snapshot.find("ModelVersion")).items
    (upload,) = await building.create(listener.graph, NewNode("Upload", "u", "default", props={"state": "OPEN"}))
    await building.link(listener.graph, NewEdge("UPLOAD_TO", upload.id, version.id))
    for state, then in (("OPEN", "PENDING"), ("COMPLETE", "READY")):
        await building.update(listener.graph, Update(upload.id, {"state": state}))
        await listener.hear(of_run(3, "COMPLETE"))
        assert (await listener.picture()).nodes["ModelVersion", "made-up#m", "1"]["state"] == then


async def test_a_model_version_that_was_deleted_stays_so_and_hinders_no_event(listener: Listener) -> None:
    def trained(name: str, number: int, *inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
        metrics = {"lineal_metrics": facet(metrics=[{"name": "ndcg", "value": 0.9}])}
        output = {**data(name, **MODEL, **more), "outputFacets": metrics}
        return of_run(number, "COMPLETE", number, inputs=list(inputs), outputs=[output])

    await listener.hear(trained("base", 1), trained("lost", 2))
    async with Operation(listener.graph) as op:
        for name in ("base", "lost"):
            await delete_model_version(op, address=f"models:/made-up#{name}/1")
    scored = of_run(4, "COMPLETE", 4, "score", inputs=[data("base")], outputs=[data("scores")])
    await listener.hear(trained("base", 1), trained("tuned", 3, data("base")), trained("lost", 2, data("base")))
    await listener.hear(scored, trained("lost", 2, lineal_modelVersion={"license": "MIT"}))
    found = await listener.picture()
    assert {name for name in found.nodes if name[0] == "ModelVersion"} == {("ModelVersion", "made-up#tuned", "1")}
    assert not found.leads("READ", "Run", "ModelVersion")
    assert (run_id(4), f"made-up#base/{RUN}") in found.leads("READ")
    await listener.hear(trained("base", 5))
    assert ("made-up#base/2", run_id(5)) in (await listener.picture()).leads("PRODUCED_BY")


async def test_metrics_of_a_run_are_appended_once(listener: Listener) -> None:
    def told(minute: int, *values: float) -> dict[str, Any]:
        metrics = [{"name": "loss", "value": v, "step": i, "time": at(0)} for i, v in enumerate(values)]
        return of_run(minute, "RUNNING", run_facets={"lineal_metrics": {"metrics": metrics}})

    await listener.hear(told(1, 0.9), told(2, 0.9, 0.5), told(1, 0.9))
    async with listener.graph.snapshot() as snapshot:
        (run,) = (await snapshot.find("Run")).items
        (metric,) = (await snapshot.metrics([run.id]))[run.id]
    assert (metric.value, metric.maximum, metric.count) == (0.5, 0.9, 2)


# ── What is refused ───────────────────────────────────────────────────────────────────────────────

HERE = {"namespace": "made-up", "name": "t"}


@pytest.mark.parametrize(
    ("facets", "field"),
    [
        ({"schema": {"fields": [{"type": "int"}]}}, "schema.fields[0].name"),
        ({"schema": {"fields": {}}}, "schema.fields"),
        ({"columnLineage": {"fields": {"x": column(("a", ""))}}}, "columnLineage.fields.x.inputFields[0].field"),
        ({"columnLineage": {"fields": {"x": {"inputFields": [{}]}}}}, "columnLineage.fields.x.inputFields[0].field"),
        ({"columnLineage": {"fields": [], "dataset": []}}, "columnLineage.fields"),
        ({"lineage": {"inputs": [{"name": "a"}]}}, "lineage.inputs[0].namespace"),
        ({"version": {"datasetVersion": "a\nb"}}, "version.datasetVersion"),
        ({"tags": {"tags": [{"value": "1"}]}}, "tags.tags[0].key"),
        ({"lineal_modelVersion": {"model": 5}}, "lineal_modelVersion.model"),
        ({"lineal_modelVersion": {"frameworks": "x"}}, "lineal_modelVersion.frameworks"),
    ],
)
async def test_what_is_wrong_with_a_facet_is_named(listener: Listener, facets: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await listener.hear(of_run(1, "COMPLETE", outputs=[{**data("t", **facets)}]))
    assert error.value.field == f"outputs[0].facets.{field}"
    assert error.value.message.startswith(f"outputs[0].facets.{field}: ")
    assert not (await listener.picture()).nodes


async def test_what_is_too_large_is_refused(listener: Listener) -> None:
    many = [{"name": f"f{i}"} for i in range(10_001)]
    deep: dict[str, Any] = {"name": "leaf"}
    for _ in range(33):
        deep = {"name": "s", "fields": [deep]}
    whole = {
        "fields": {f"f{i}": column(("a", "x")) for i in range(101)},
        "dataset": column(*(("a", f"g{i}") for i in range(100)))["inputFields"],
    }
    for facets in ({"schema": {"fields": many}}, {"schema": {"fields": [deep]}}, {"columnLineage": whole}):
        with pytest.raises((LimitExceeded, InvalidArgument)):
            await listener.hear(event(at(1), dataset=data("t", **facets)))
    inputs = [data(f"d{i}") for i in range(5_001)]
    with pytest.raises(LimitExceeded):
        await listener.hear(of_run(1, "START", inputs=inputs))
    assert not (await listener.picture()).nodes


async def test_a_circle_of_columns_or_of_named_versions_is_refused_and_changes_nothing(listener: Listener) -> None:
    def fields(name: str, source: str) -> dict[str, Any]:
        return event(at(1), dataset=data(name, columnLineage={"fields": {"x": column((source, "x"))}}))

    await listener.hear(fields("a", "b"), fields("b", "c"))
    before = await listener.picture()
    with pytest.raises(PreconditionFailed) as error:
        await listener.hear(fields("c", "a"))
    assert "cycle" in error.value.message
    assert await listener.picture() == before
    await listener.hear(fields("a", "a"))


async def test_a_run_that_reads_what_is_retired_is_refused_unless_it_did_before(listener: Listener) -> None:
    await listener.hear(
        of_run(1, "COMPLETE", 1, "pretrain", outputs=[data("base", **MODEL)]),
        of_run(2, "START", 2, "score", inputs=[data("base")]),
    )
    async with listener.graph.snapshot() as snapshot:
        (version,) = (await snapshot.find("ModelVersion")).items
    await building.update(listener.graph, Update(version.id, {"retiredAt": 1}))
    before = await listener.picture()
    with pytest.raises(PreconditionFailed, match="is retired"):
        await listener.hear(of_run(3, "START", 3, "score", inputs=[data("base")]))
    assert await listener.picture() == before
    await listener.hear(of_run(4, "COMPLETE", 2, "score", inputs=[data("base")]))


async def test_a_bad_event_harms_no_other_of_its_batch(listener: Listener) -> None:
    def fields(name: str, source: str) -> dict[str, Any]:
        return event(at(1), dataset=data(name, columnLineage={"fields": {"x": column((source, "x"))}}))

    events = [fields("a", "b"), made("t", 1, 1), fields("b", "a"), read(5, "t"), fields("c", "a")]
    failures: list[LinealError | None] = await listener.hear_at_once(events)
    assert [failure is not None for failure in failures] == [False, False, True, False, False]
    found = await listener.picture()
    assert found.leads("DERIVED_FROM") == {("made-up#a/x", "made-up#b/x"), ("made-up#c/x", "made-up#a/x")}
    assert found.leads("READ") == {(run_id(9), f"made-up#t/{run_id(1)}")}


async def test_readers_of_one_batch_that_began_at_other_times_read_other_versions(listener: Listener) -> None:
    writes = [
        of_run(2 * i + minute, type_, 100 + i, "write", outputs=[data("t")])
        for i in range(25)
        for minute, type_ in ((0, "START"), (1, "COMPLETE"))
    ]
    assert not any(await listener.hear_at_once(writes))
    readers = [of_run(at, "COMPLETE", number, "read", inputs=[data("t")]) for number, at in ((1, 7), (2, 70))]
    assert not any(await listener.hear_at_once(readers))
    assert (await listener.picture()).leads("READ") == {
        (run_id(1), f"made-up#t/{run_id(102)}"),
        (run_id(2), f"made-up#t/{run_id(124)}"),
    }
