"""Events as the emitters of orchestrators send them: of one day of a small shop, each in its own dialect."""

from __future__ import annotations

from typing import Any

from tests.openlineage.inventing import at, run_id

Event = dict[str, Any]


def _facet(producer: str, name: str, version: str = "1-0-0", /, **body: Any) -> dict[str, Any]:
    return {"_producer": producer, "_schemaURL": f"https://openlineage.io/spec/facets/{version}/{name}.json", **body}


# ── Airflow ───────────────────────────────────────────────────────────────────────────────────────

AIRFLOW = "https://github.com/apache/airflow/tree/providers-openlineage/2.20.3"
DAG, EXTRACT, LOAD = run_id(100), run_id(101), run_id(102)


def airflow() -> list[Event]:
    """A DAG of two tasks: one that fails at its first try, and one with SQL and column lineage.

    Each task's parent and root are the DAG run. What is read and written is told when a task ends, by START too where
    an operator knows it before.
    """

    def job(name: str, kind: str, **facets: Any) -> dict[str, Any]:
        said = {"processingType": "BATCH", "integration": "AIRFLOW", "jobType": kind}
        return {
            "namespace": "prod",
            "name": name,
            "facets": {
                "jobType": _facet(AIRFLOW, "JobTypeJobFacet", "2-0-3", **said),
                "ownership": _facet(AIRFLOW, "OwnershipJobFacet", owners=[{"name": "corp:ann"}, {"name": "airflow"}]),
                **facets,
            },
        }

    def event(minute: int, type_: str, run: str, job: dict[str, Any], facets: dict[str, Any], **data: Any) -> Event:
        engine = {"name": "Airflow", "version": "3.1.0", "openlineageAdapterVersion": "2.20.3"}
        facets = {"processing_engine": _facet(AIRFLOW, "ProcessingEngineRunFacet", "1-1-1", **engine), **facets}
        return {
            "eventType": type_,
            "eventTime": at(minute).replace("Z", ".123456+00:00"),
            "run": {"runId": run, "facets": facets},
            "job": job,
            "inputs": data.get("inputs", []),
            "outputs": data.get("outputs", []),
            "producer": AIRFLOW,
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }

    nominal = {"nominalTime": _facet(AIRFLOW, "NominalTimeRunFacet", nominalStartTime=at(0), nominalEndTime=at(60))}
    dag = job("shop", "DAG", documentation=_facet(AIRFLOW, "DocumentationJobFacet", description="The shop's day."))
    dag_facets = {
        **nominal,
        "airflowDagRun": _facet(
            AIRFLOW, "AirflowDagRunFacet", dag={"dag_id": "shop"}, dagRun={"run_type": "scheduled"}
        ),
    }
    whole = {"run": {"runId": DAG}, "job": {"namespace": "prod", "name": "shop"}}
    parent = {"parent": _facet(AIRFLOW, "ParentRunFacet", "1-1-0", **whole, root=whole), **nominal}
    extract, load = job("shop.extract", "TASK"), job("shop.load", "TASK")
    load["facets"]["sql"] = _facet(AIRFLOW, "SQLJobFacet", query="INSERT INTO daily SELECT …", dialect="postgres")
    tries = [
        {**parent, "airflow": _facet(AIRFLOW, "AirflowRunFacet", taskInstance={"try_number": number})}
        for number in (1, 2)
    ]
    database = "postgres://db:5432"
    bucket = {"namespace": "s3://lake", "name": "orders/day.csv", "facets": {}}
    raw = {
        "namespace": database,
        "name": "shop.raw.orders",
        "facets": {"schema": _facet(AIRFLOW, "SchemaDatasetFacet", fields=[{"name": "id"}, {"name": "price"}])},
    }
    source = {"namespace": database, "name": "shop.raw.orders", "field": "price"}
    columns = {"total": {"inputFields": [source], "transformationDescription": "", "transformationType": ""}}
    daily = {
        "namespace": database,
        "name": "shop.public.daily",
        "facets": {
            "schema": _facet(AIRFLOW, "SchemaDatasetFacet", fields=[{"name": "total", "type": "numeric"}]),
            "columnLineage": _facet(AIRFLOW, "ColumnLineageDatasetFacet", "1-2-0", fields=columns),
        },
    }
    failed = {**tries[0], "errorMessage": _facet(AIRFLOW, "ErrorMessageRunFacet", message="timeout")}
    state = {"airflowState": _facet(AIRFLOW, "AirflowStateRunFacet", dagRunState="success", tasksState={})}
    return [
        event(0, "START", DAG, dag, dag_facets),
        event(1, "START", EXTRACT, extract, tries[0]),
        event(2, "FAIL", EXTRACT, extract, failed, inputs=[bucket]),
        event(3, "START", EXTRACT, extract, tries[1]),
        event(4, "COMPLETE", EXTRACT, extract, tries[1], inputs=[bucket], outputs=[raw]),
        event(5, "START", LOAD, load, tries[0], inputs=[raw], outputs=[daily]),
        event(6, "COMPLETE", LOAD, load, tries[0], inputs=[raw], outputs=[daily]),
        event(7, "COMPLETE", DAG, dag, {**dag_facets, **state}),
    ]


# ── Dagster ───────────────────────────────────────────────────────────────────────────────────────

DAGSTER = "https://github.com/OpenLineage/OpenLineage/tree/0.2.1/integration/dagster"
MATERIALIZE, JOB, STEP = run_id(200), run_id(201), run_id(202)


def dagster() -> list[Event]:
    """A run that materializes three assets one after the other, and a job with a step.

    Every asset is a job of its own, and all have the id of the one Dagster run.
    """

    def event(minute: int, type_: str, run: str, job: str, facets: dict[str, Any] | None = None, **data: Any) -> Event:
        return {
            "eventType": type_,
            "eventTime": at(minute).replace("Z", ".000000Z"),
            "run": {"runId": run, "facets": facets or {}},
            "job": {"namespace": "shop", "name": job, "facets": {}},
            "inputs": data.get("inputs", []),
            "outputs": data.get("outputs", []),
            "producer": DAGSTER,
        }

    def asset(*path: str, **facets: Any) -> dict[str, Any]:
        return {"namespace": "shop", "name": "/".join(path), "facets": facets}

    def fields(*names: str) -> dict[str, Any]:
        return _facet(DAGSTER, "SchemaDatasetFacet", fields=[{"name": name, "type": "int"} for name in names])

    taken = {"total": {"inputFields": [{"namespace": "shop", "name": "raw/orders", "field": "price"}]}}
    daily = asset(
        "daily", schema=fields("total"), columnLineage=_facet(DAGSTER, "ColumnLineageDatasetFacet", fields=taken)
    )
    parent = {
        "parent": _facet(DAGSTER, "ParentRunFacet", run={"runId": JOB}, job={"namespace": "shop", "name": "nightly"})
    }
    known = [asset("daily"), asset("customers")]
    checked = {"dataQualityAssertions": _facet(DAGSTER, "DataQualityAssertionsDatasetFacet", assertions=[])}
    return [
        *(
            event(0, "START", MATERIALIZE, job, outputs=[asset(*path)])
            for job, path in (("raw/orders", ("raw", "orders")), ("daily", ("daily",)), ("report", ("report",)))
        ),
        event(1, "COMPLETE", MATERIALIZE, "raw/orders", outputs=[asset("raw", "orders", schema=fields("id", "price"))]),
        event(2, "COMPLETE", MATERIALIZE, "daily", inputs=[asset("raw", "orders")], outputs=[daily]),
        event(3, "COMPLETE", MATERIALIZE, "report", inputs=known, outputs=[asset("report")]),
        event(4, "COMPLETE", MATERIALIZE, "daily__checks", inputs=[{**asset("daily"), "inputFacets": checked}]),
        event(5, "START", JOB, "nightly"),
        event(6, "START", STEP, "nightly.send", parent),
        event(7, "FAIL", STEP, "nightly.send", parent),
        event(8, "FAIL", JOB, "nightly"),
    ]


# ── Prefect ───────────────────────────────────────────────────────────────────────────────────────

PREFECT = "https://github.com/OpenLineage/openlineage/integration/prefect"
FLOW, FETCH, SUM = run_id(300), run_id(301), run_id(302)


def prefect() -> list[Event]:
    """A flow of two tasks. Tasks name their flow in a facet `parentRun`, without a run where it is not known."""

    def event(minute: int, type_: str, run: str, job: str, facets: dict[str, Any], **data: Any) -> Event:
        kind = "FLOW" if run == FLOW else "TASK"
        said = {"processingType": "BATCH", "integration": "Prefect", "jobType": kind}
        engine = {"version": "3.4.0", "name": "Prefect"}
        return {
            "eventType": type_,
            "eventTime": at(minute).replace("Z", "+00:00"),
            "run": {
                "runId": run,
                "facets": {
                    "processingEngine": _facet(PREFECT, "ProcessingEngineRunFacet", "1-1-1", **engine),
                    **facets,
                },
            },
            "job": {
                "namespace": "flows",
                "name": job,
                "facets": {"jobType": _facet(PREFECT, "JobTypeJobFacet", "2-0-3", **said)},
            },
            "inputs": data.get("inputs", []),
            "outputs": data.get("outputs", []),
            "producer": PREFECT,
        }

    def of_flow(run: str) -> dict[str, Any]:
        job = {"namespace": "flows", "name": "daily"}
        return {
            "parentRun": _facet(PREFECT, "ParentRunFacet", run={"runId": run}, job=job),
            "nominalTime": _facet(PREFECT, "NominalTimeRunFacet", nominalStartTime=at(0), nominalEndTime=None),
        }

    upstream = [{"job": {"namespace": "flows", "name": "fetch"}}]
    after = {"jobDependencies": _facet(PREFECT, "JobDependenciesRunFacet", upstream=upstream)}
    deployment = {"prefectDeployment": _facet(PREFECT, "PrefectDeploymentRunFacet", name="nightly", deploymentId="d1")}
    orders = {"namespace": "postgresql://db:5432/shop", "name": "orders"}
    totals = {"namespace": "postgresql://db:5432/shop", "name": "totals"}
    return [
        event(0, "START", FLOW, "daily", deployment),
        event(1, "START", FETCH, "fetch", of_flow("")),
        event(2, "COMPLETE", FETCH, "fetch", of_flow(FLOW), outputs=[orders]),
        event(3, "START", SUM, "sum", {**of_flow(FLOW), **after}),
        event(4, "COMPLETE", SUM, "sum", {**of_flow(FLOW), **after}, inputs=[orders], outputs=[totals]),
        event(5, "COMPLETE", FLOW, "daily", deployment),
    ]
