"""Real clients of OpenLineage, unchanged, against `lineal serve`: an address and a token are all they get."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph.address import Address
from tests.conftest import SOAK
from tests.environments import environment
from tests.openlineage.clients import CLIENT, openlineage_python
from tests.running import LinealServer
from tests.services import free_port

pytestmark = pytest.mark.services

LARGE = pytest.mark.skipif(not SOAK, reason="the libraries are large: `make soak` runs this")
SCOPES = ("model:read", "model:write", "dataset:read", "dataset:write")

EMIT = """
import sys
from datetime import datetime, timezone
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Dataset, InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import column_lineage_dataset, parent_run, schema_dataset
from openlineage.client.uuid import generate_new_uuid

client = OpenLineageClient()
run = str(generate_new_uuid())
job = Job("shop", "daily")
fields = [schema_dataset.SchemaDatasetFacetFields(name="total", type="int")]
source = column_lineage_dataset.InputField(
    namespace="db", name="orders", field="price",
    transformations=[column_lineage_dataset.Transformation(type="DIRECT", subtype="AGGREGATION", masking=False)],
)
facets = {
    "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
    "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(
        fields={"total": column_lineage_dataset.Fields(inputFields=[source])}
    ),
}
for state, outputs in ((RunState.START, []), (RunState.COMPLETE, [OutputDataset("db", "report", facets=facets)])):
    client.emit(RunEvent(
        eventTime=datetime.now(timezone.utc).isoformat(), eventType=state, run=Run(run), job=job,
        inputs=[InputDataset("db", "orders")], outputs=outputs, producer="https://example.org/shop",
    ))
client.close()
print(run)
"""


@dataclass
class Lineal:
    """A Lineal that runs, and the variables that clients find it by."""

    server: LinealServer

    def token(self, *scopes: str) -> str:
        """A token that it takes."""
        return LocalIssuer(Keyring(self.server.home / "keys")).token(scopes=scopes or None)

    def variables(self, endpoint: str = "api/v1/lineage") -> dict[str, str]:
        """What clients of OpenLineage are told in their environment, and nothing else."""
        return {
            "OPENLINEAGE_URL": f"http://127.0.0.1:{self.server.port}",
            "OPENLINEAGE_API_KEY": self.token(*SCOPES),
            "OPENLINEAGE_ENDPOINT": endpoint,
        }

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer."""
        answer = self.server.ask(self.token(), query=query, **variables)
        body = answer.json()
        assert "errors" not in body, body
        return body["data"]


@pytest.fixture(scope="module")
def lineal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lineal]:
    """On an empty store."""
    server = LinealServer(tmp_path_factory.mktemp("lineal"), free_port(), ())
    with server:
        yield Lineal(server)


def run(python: Path, *arguments: str | Path, cwd: Path, **variables: str) -> str:
    """What a program says on standard output. Fails the test where it fails."""
    command = [str(python), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_python_client_needs_an_address_and_a_token_and_nothing_else(lineal: Lineal, tmp_path: Path) -> None:
    python = openlineage_python()
    id = run(python, "-c", EMIT, cwd=tmp_path, **lineal.variables()).strip().splitlines()[-1]
    data = lineal.ask(
        """query ($run: ID!) { run(address: $run) {
          state pipeline { name } reads { nodes { dataset { name } } }
          datasetVersions { nodes { dataset { name fields { nodes { name type
            derivedFrom { nodes { name dataset { name } } } } } } } }
        } }""",
        run=f"runs:/{id}",
    )
    found = data["run"]
    assert (found["state"], found["pipeline"]) == ("FINISHED", {"name": "shop#daily"})
    assert found["reads"]["nodes"] == [{"dataset": {"name": "db#orders"}}]
    (made,) = found["datasetVersions"]["nodes"]
    assert made["dataset"]["name"] == "db#report"
    (field,) = made["dataset"]["fields"]["nodes"]
    assert (field["name"], field["type"]) == ("total", "int")
    assert field["derivedFrom"]["nodes"] == [{"name": "price", "dataset": {"name": "db#orders"}}]


def test_the_python_client_packs_its_events_and_writes_into_a_workspace(lineal: Lineal, tmp_path: Path) -> None:
    lineal.ask('mutation { createWorkspace(input: {name: "shop"}) { workspace { name } } }')
    python = openlineage_python()
    variables = {
        **lineal.variables("w/shop/api/v1/lineage"),
        "OPENLINEAGE__TRANSPORT__TYPE": "http",
        "OPENLINEAGE__TRANSPORT__URL": f"http://127.0.0.1:{lineal.server.port}",
        "OPENLINEAGE__TRANSPORT__ENDPOINT": "w/shop/api/v1/lineage",
        "OPENLINEAGE__TRANSPORT__COMPRESSION": "gzip",
        "OPENLINEAGE__TRANSPORT__AUTH": '{"type": "api_key", "apiKey": "%s"}' % lineal.token(*SCOPES),  # noqa: UP031
    }
    id = run(python, "-c", EMIT, cwd=tmp_path, **variables).strip().splitlines()[-1]
    assert lineal.ask("query ($run: ID!) { run(address: $run) { state } }", run=f"runs:/shop:{id}") == {
        "run": {"state": "FINISHED"}
    }


# ── dbt and Feast ─────────────────────────────────────────────────────────────────────────────────

DBT = ("openlineage-dbt==1.54.0", "dbt-core>=1.10,<1.11", "dbt-duckdb>=1.9,<1.11")
FEAST = ("feast==0.67.0", CLIENT, "grpcio>=1.70", "protobuf")

PROJECT = {
    "dbt_project.yml": 'name: shop\nversion: "1.0"\nprofile: shop\nmodels: {shop: {+materialized: table}}\n',
    "profiles.yml": "shop:\n  target: dev\n  outputs: {dev: {type: duckdb, path: shop.duckdb}}\n",
    "seeds/orders.csv": "id,customer,price\n1,ann,10\n2,bob,20\n3,ann,5\n",
    "models/spent.sql": "select customer, sum(price) as total from {{ ref('orders') }} group by customer\n",
    "models/best.sql": "select customer as name, total from {{ ref('spent') }} where total > 15\n",
    "models/schema.yml": (
        "version: 2\nmodels:\n"
        "  - name: spent\n    description: What each customer spent.\n"
        "    columns: [{name: customer, data_type: varchar}, {name: total, data_type: integer}]\n"
        "  - name: best\n    columns: [{name: name, data_type: varchar}, {name: total, data_type: integer}]\n"
    ),
}

STORE = """project: shop
registry: registry.db
provider: local
online_store: {{type: sqlite, path: online.db}}
offline_store: {{type: dask}}
entity_key_serialization_version: 3
openlineage:
  enabled: true
  transport_type: http
  transport_url: {OPENLINEAGE_URL}
  transport_endpoint: {OPENLINEAGE_ENDPOINT}
  api_key: {OPENLINEAGE_API_KEY}
"""
FEATURES = """
from datetime import datetime, timedelta, timezone
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, Int64

at = datetime(2026, 1, 2, tzinfo=timezone.utc)
rows = {"customer": [1, 2], "total": [10.0, 20.0], "count": [1, 2], "at": [at, at]}
pd.DataFrame(rows).to_parquet("spending.parquet")
customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
source = FileSource(name="spending", path="spending.parquet", timestamp_field="at")
view = FeatureView(
    name="spending_view", entities=[customer], ttl=timedelta(days=365), source=source,
    schema=[Field(name="customer", dtype=Int64), Field(name="total", dtype=Float32), Field(name="count", dtype=Int64)],
)
store = FeatureStore(".")
store.apply([customer, source, view, FeatureService(name="churn", features=[view])])
store.materialize(at - timedelta(days=1), at + timedelta(days=1))
"""

UPSTREAM = """query ($of: [ID!]!) {
  lineage(of: $of, direction: UPSTREAM) { complete nodes { node { name __typename
    ... on Field { dataset { name } } ... on DatasetVersion { dataset { name } } } } }
}"""


def upstream(lineal: Lineal, address: str) -> set[tuple[str, str, str | None]]:
    """What something came from: kinds and names, of parts with what they belong to."""
    lineage = lineal.ask(UPSTREAM, of=[address])["lineage"]
    assert lineage["complete"]
    nodes = [item["node"] for item in lineage["nodes"]]
    return {(n["__typename"], n["name"], (n.get("dataset") or {}).get("name")) for n in nodes}


def address(kind: str, name: str, part: str | None = None) -> str:
    """An address in the default workspace."""
    return str(Address(kind, "default", name, part))


@pytest.mark.soak
@LARGE
def test_a_build_of_dbt_is_there_down_to_the_columns(lineal: Lineal, tmp_path: Path) -> None:
    python = environment("dbt", *DBT)
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    # The wrapper looks for dbt on the path, and an environment that was moved has no scripts that work.
    tool = tmp_path / "bin" / "dbt"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec "{python}" -c "from dbt.cli.main import cli; cli()" "$@"\n')
    tool.chmod(0o755)
    variables = {
        **lineal.variables(),
        "OPENLINEAGE_NAMESPACE": "shop",
        "DBT_PROFILES_DIR": str(tmp_path),
        "DO_NOT_TRACK": "1",
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
    }
    wrapper = "import sys; from openlineage.dbt import main; sys.argv[0] = 'dbt-ol'; sys.exit(main())"
    run(python, "-c", wrapper, "build", cwd=tmp_path, **variables)
    tables = "duckdb://shop.duckdb#shop.main."
    assert upstream(lineal, lineal.ask(FIND, dataset=address("Dataset", f"{tables}best"))["dataset"]["id"]) >= {
        ("Field", "total", f"{tables}best"),
        ("Field", "total", f"{tables}spent"),
        ("Field", "price", f"{tables}orders"),
        ("Field", "customer", f"{tables}orders"),
    }
    made = lineal.ask(MADE, dataset=address("Dataset", f"{tables}best"))["dataset"]["versions"]["nodes"]
    (version,) = [v for v in made if v["run"] is not None]
    assert version["run"]["state"] == "FINISHED"
    assert version["run"]["pipeline"]["name"] == "shop#shop.main.shop.best.build.run"
    assert version["run"]["parent"]["pipeline"]["name"] == "shop#dbt-run-shop"
    (read,) = version["run"]["reads"]["nodes"]
    assert (read["dataset"]["name"], read["run"]["state"]) == (f"{tables}spent", "FINISHED")


@pytest.mark.soak
@LARGE
def test_feast_apply_and_materialize_are_there_down_to_the_features(lineal: Lineal, tmp_path: Path) -> None:
    python = environment("feast", *FEAST)
    (tmp_path / "feature_store.yaml").write_text(STORE.format(**lineal.variables()))
    run(python, "-c", FEATURES, cwd=tmp_path)
    service = lineal.ask(FIND, dataset=address("Dataset", "shop#churn"))["dataset"]
    assert upstream(lineal, service["id"]) >= {
        ("Field", name, f"shop#{place}")
        for name in ("total", "count")
        for place in ("churn", "spending_view", "spending")
    }
    online = lineal.ask(MADE, dataset=address("Dataset", "shop#online_store_spending_view"))["dataset"]
    (version,) = online["versions"]["nodes"]
    assert version["run"]["state"] == "FINISHED"
    read = {each["dataset"]["name"] for each in version["run"]["reads"]["nodes"]}
    assert read >= {"shop#spending_view", "shop#spending"}
    # A model that names its feature service takes its features.
    made = lineal.ask(
        """mutation { createModelVersion(input: {model: "models:/churn", createModel: true,
             tags: [{name: "feast.feature_service", value: "shop:churn"}]}) {
             version { uses { nodes { name dataset { name } } } } } }"""
    )
    uses = made["createModelVersion"]["version"]["uses"]["nodes"]
    assert sorted((u["name"], u["dataset"]["name"]) for u in uses) == [("count", "shop#churn"), ("total", "shop#churn")]


FIND = "query ($dataset: ID!) { dataset(address: $dataset) { id } }"
MADE = """query ($dataset: ID!) { dataset(address: $dataset) { versions { nodes { name run { state
  pipeline { name } parent { pipeline { name } } reads { nodes { dataset { name } run { state } } } } } } } }"""
