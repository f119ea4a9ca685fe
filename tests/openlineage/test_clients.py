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
from tests.environments import environment
from tests.running import LinealServer
from tests.services import free_port

pytestmark = pytest.mark.services

CLIENT = "openlineage-python==1.54.0"
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
    python = environment("openlineage", CLIENT)
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
    python = environment("openlineage", CLIENT)
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
