"""Files that MLflow's clients send in parts, by themselves, to the S3 store behind Lineal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from minio import Minio

from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Graph, Update
from storage.port import Storage
from storage.s3 import S3Storage
from tests import building
from tests.gateway.mlflow.conftest import Mlflow, Serve
from tests.gateway.mlflow.serving import LinealProcess, run_client
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.storage.conftest import bucket, minio_client, minio_server, options_of
from tests.storage.test_s3 import keys

__all__ = ["bucket", "minio_client", "minio_server"]

MPU = "/api/2.0/mlflow-artifacts/mpu"
ROOT = "/api/2.0/mlflow-artifacts/artifacts"
PART = 5 * 2**20
DATA = bytes(range(256)) * (2 * PART // 256) + b"the end"


@pytest.fixture
def storage(minio_server: MinioServer, bucket: str) -> Storage:
    """An S3 store."""
    return S3Storage(options_of(minio_server, bucket))


@pytest.fixture
async def embedded(sqlite_graph: Graph, serve: Serve) -> Mlflow:
    """The face on SQLite, with files in an S3 store."""
    return await serve(sqlite_graph)


async def ask(mlflow: Mlflow, step: str, who: str = "ann", folder: str = "models/m", **values: Any) -> httpx.Response:
    body = {"path": "of-ann/model.bin", **values}
    return await mlflow.http.post(f"{MPU}/{step}/{folder}", json=body, headers={"who": who})


async def begun(mlflow: Mlflow, data: bytes) -> dict[str, Any]:
    """What completes an upload whose parts were sent."""
    count = -(-len(data) // PART)
    created = (await ask(mlflow, "create", num_parts=count)).json()
    parts = []
    async with httpx.AsyncClient() as http:
        for credential in created["credentials"]:
            start = (credential["part_number"] - 1) * PART
            answer = await http.put(credential["url"], content=data[start:][:PART], headers=credential["headers"])
            parts.append({"part_number": credential["part_number"], "etag": answer.headers["etag"]})
    assert len(parts) == count
    return {"upload_id": created["upload_id"], "parts": parts}


async def test_a_file_that_comes_in_parts_is_there_like_any_other(embedded: Mlflow) -> None:
    info = (await embedded.send("GET", "/api/3.0/mlflow/server-info")).json()
    assert (info["multipart_uploads_enabled"], info["multipart_downloads_enabled"]) == (True, False)
    upload = await begun(embedded, DATA)
    answer = await ask(embedded, "complete", **upload)
    assert (answer.status_code, answer.json()) == (200, {})
    listed = (await embedded.send("GET", ROOT, path="models/m")).json()["files"]
    assert listed == [{"path": "model.bin", "is_dir": False, "file_size": len(DATA)}]
    assert (await embedded.send("GET", f"{ROOT}/models/m/model.bin")).content == DATA
    await embedded.model("m")
    made = await embedded.ask("POST", "model-versions/create", name="m", source="mlflow-artifacts:/models/m")
    assert made["model_version"]["status"] == "READY"
    # The upload is over.
    assert (await ask(embedded, "complete", **upload)).status_code == 404


async def test_an_upload_that_is_aborted_leaves_nothing(embedded: Mlflow, minio_client: Minio, bucket: str) -> None:
    upload = await begun(embedded, DATA)
    for _ in range(2):
        answer = await ask(embedded, "abort", upload_id=upload["upload_id"])
        assert (answer.status_code, answer.json()) == (200, {})
    assert keys(minio_client, bucket) == []
    assert (await embedded.send("GET", ROOT, path="models/m")).json()["files"] == []


@pytest.mark.parametrize(
    ("step", "values", "words"),
    [
        ("create", {"path": ""}, "Missing value for required parameter 'path'"),
        ("create", {}, "num_parts: must be a number from 1 to 10000, not 0"),
        ("create", {"num_parts": 10_001}, "num_parts: must be a number from 1 to 10000, not 10001"),
        ("create", {"num_parts": 1, "path": "/home/.."}, "Invalid path"),
        ("complete", {"parts": []}, "Missing value for required parameter 'upload_id'"),
        ("complete", {"upload_id": "x", "parts": [{"part_number": "1", "etag": "x"}]}, "for parameter 'parts'"),
        ("complete", {"upload_id": "x", "parts": {}}, "for parameter 'parts'"),
        ("abort", {}, "Missing value for required parameter 'upload_id'"),
    ],
)
async def test_what_is_wrong_in_a_request_is_named(
    embedded: Mlflow, step: str, values: dict[str, Any], words: str
) -> None:
    answer = await ask(embedded, step, **values)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert words in answer.json()["message"]


async def test_parts_that_are_others_are_refused(embedded: Mlflow) -> None:
    upload = await begun(embedded, DATA)
    upload["parts"][1]["etag"] = '"0123456789abcdef0123456789abcdef"'
    answer = await ask(embedded, "complete", **upload)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_STATE")
    assert (await ask(embedded, "abort", upload_id="x")).status_code == 404


async def test_a_quota_and_the_right_to_write_count_for_parts_too(
    embedded: Mlflow, minio_client: Minio, bucket: str
) -> None:
    assert (await ask(embedded, "create", "reader", num_parts=1)).status_code == 403
    assert (await ask(embedded, "create", "bob", num_parts=1)).status_code == 404
    assert (await ask(embedded, "create", folder="versions/mv_1", num_parts=1)).status_code == 400
    await building.update(embedded.graph, Update(DEFAULT_WORKSPACE_ID, {"quotaBytes": 10}))
    answer = await ask(embedded, "complete", **await begun(embedded, b"x" * 11))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "REQUEST_LIMIT_EXCEEDED")
    assert [key for key in keys(minio_client, bucket) if "/unnamed/" in key or "/blobs/" in key] == []


# ── As clients do it ──────────────────────────────────────────────────────────────────────────────

SEND = """
import json, pathlib, sys
from mlflow.store.artifact import http_artifact_repo
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

registry = sys.argv[1]
calls, original = [], http_artifact_repo.http_request
def http_request(creds, endpoint, method, **more):
    calls.append(f"{method} {endpoint}")
    return original(creds, endpoint, method, **more)
http_artifact_repo.http_request = http_request
pathlib.Path("large").mkdir()
data = bytes(range(256)) * (11 * 2**20 // 256)
pathlib.Path("large/weights.bin").write_bytes(data)
pathlib.Path("large/MLmodel").write_text("flavors: {}")
repository = MlflowArtifactsRepository("mlflow-artifacts:/models/large", registry)
repository.log_artifacts("large")
found = pathlib.Path(repository.download_artifacts("weights.bin")).read_bytes()
print(json.dumps({"same": found == data, "calls": [call for call in calls if "mpu" in call]}))
"""
PARTS = {
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(PART),
    "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(PART),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["s3", "folder"])
def test_an_unchanged_client_sends_a_large_file_in_parts_or_whole_where_the_store_takes_none(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    settings = {}
    if place == "s3":
        server: MinioServer = request.getfixturevalue("minio_server")
        settings = {
            "LINEAL_STORAGE": f"s3://{request.getfixturevalue('bucket')}/lineal",
            "LINEAL_S3": json.dumps({"endpoint": server.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}),
        }
    store = f"sqlite:///{tmp_path / 'lineal' / 'lineal.db'}"
    with LinealProcess(tmp_path / "lineal", store, settings) as lineal:
        said = run_client(SEND, lineal.url, cwd=tmp_path, MLFLOW_TRACKING_TOKEN=lineal.token, **PARTS)
    sent = json.loads(said.splitlines()[-1])
    assert sent["same"]
    steps = ["create", "complete"] if place == "s3" else ["create"]
    assert sent["calls"] == [f"POST /mlflow-artifacts/mpu/{step}/models/large" for step in steps]
