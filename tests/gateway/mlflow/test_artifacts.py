"""Files by path, as MLflow's clients send and fetch them, and how they become the artifact of a version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import EntryFilter, Hop, Update
from lineal.errors import Unavailable
from resolvers.artifacts.collecting import collect
from resolvers.artifacts.common import load_manifest
from resolvers.operation import Operation
from resolvers.reading import resolve
from resolvers.registry import files
from tests import building
from tests.gateway.mlflow.conftest import API, Mlflow

ROOT = "/api/2.0/mlflow-artifacts/artifacts"
MPU = "/api/2.0/mlflow-artifacts/mpu/create/a"
FILES = {
    "MLmodel": b"flavors: {}\n",
    "data/model.bin": b"\x00\x01" * 1_000,
    "data/grüße 1%.txt": b"hello",
    "empty": b"",
}


async def put(mlflow: Mlflow, path: str, data: bytes, who: str = "ann", root: str = ROOT) -> int:
    answer = await mlflow.http.put(f"{root}/{path}", content=data, headers={"who": who})
    return answer.status_code


async def sent(mlflow: Mlflow, folder: str = "1/models/m-1/artifacts") -> None:
    for path, data in FILES.items():
        assert await put(mlflow, f"{folder}/{path}".replace("%", "%25"), data) == 200


async def listed(mlflow: Mlflow, path: str) -> list[Any]:
    answer = await mlflow.send("GET", ROOT, path=path)
    assert answer.status_code == 200, answer.text
    return [(file["path"], file["is_dir"], file.get("file_size")) for file in answer.json()["files"]]


async def test_what_is_sent_is_listed_and_comes_back(embedded: Mlflow) -> None:
    await sent(embedded)
    folder = "1/models/m-1/artifacts"
    assert await listed(embedded, folder) == [("MLmodel", False, 12), ("data", True, None), ("empty", False, 0)]
    assert await listed(embedded, f"{folder}/data") == [("grüße 1%.txt", False, 5), ("model.bin", False, 2_000)]
    assert await listed(embedded, f"{folder}/MLmodel") == [("MLmodel", False, 12)]
    assert await listed(embedded, "") == [("1", True, None)]
    assert await listed(embedded, "nothing") == []
    for path, data in FILES.items():
        answer = await embedded.send("GET", f"{ROOT}/{folder}/{path}".replace("%", "%25"))
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_last_bytes_that_were_sent_count_and_a_deleted_file_is_gone(embedded: Mlflow) -> None:
    for data in (b"one", b"two", b"two"):
        assert await put(embedded, "a/b", data) == 200
    assert (await embedded.send("GET", f"{ROOT}/a/b")).content == b"two"
    assert await listed(embedded, "a") == [("b", False, 3)]
    for _ in range(2):
        assert (await embedded.send("DELETE", f"{ROOT}/a")).status_code == 200
    answer = await embedded.send("GET", f"{ROOT}/a/b")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("path", ["..%2fx", "a/%2e%2e/b", "%252e%252e/x", "a%5cb", "%2fetc", "c:%5cx", "a%23b"])
async def test_a_path_that_tries_to_escape_is_refused(embedded: Mlflow, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await embedded.http.request(method, f"{ROOT}/{path}")
        assert (answer.status_code, answer.json()["message"]) == (400, "Invalid path"), method


@pytest.mark.parametrize("path", ["x" * 300, "versions/x", "a//b"])
async def test_a_path_that_nothing_can_be_kept_at_is_refused(embedded: Mlflow, path: str) -> None:
    assert await put(embedded, path, b"x") == 400


async def test_only_whoever_may_write_in_a_workspace_sends_files_there(embedded: Mlflow) -> None:
    root = f"/w/vision{ROOT}"
    assert await put(embedded, "a", b"x", "bob", root) == 200
    assert await put(embedded, "a", b"x", "ann", root) == 404
    assert (await embedded.send("GET", f"{root}/a", "ann")).status_code == 404
    assert (await embedded.send("GET", f"{root}/a", "bob")).content == b"x"
    assert (await embedded.send("GET", f"{ROOT}/a", "ann")).status_code == 404
    assert await put(embedded, "a", b"x", "reader") == 403
    assert (await embedded.send("GET", f"{ROOT}/a", "writer")).status_code == 403


async def test_a_version_registered_from_files_that_were_sent_has_them_as_its_artifact(mlflow: Mlflow) -> None:
    await sent(mlflow)
    await mlflow.model("m")
    for source in ("mlflow-artifacts:/1/models/m-1/artifacts", f"https://lineal.test{ROOT}/1/models/m-1/artifacts"):
        made = await mlflow.ask("POST", "model-versions/create", name="m", source=source)
        assert made["model_version"]["status"] == "READY"
        async with Operation(mlflow.graph) as op:
            version = await resolve(op, f"models:/m/{made['model_version']['version']}")
            assert version is not None
            snapshot = await op.snapshot()
            (link,) = (await snapshot.neighbours([version.id], Hop("HAS_ARTIFACT", "OUT")))[version.id].items
        assert (link.edge.discriminator, link.node.props["storage"]) == ("model", "MANAGED")
        assert link.node.props["verification"] == "VERIFIED"
        manifest = await load_manifest(mlflow.storage, "default", link.node.props["digest"])
        assert {file.path: file.size for file in manifest.files} == {p: len(d) for p, d in FILES.items()}


async def test_files_that_a_policy_refuses_make_no_version(embedded: Mlflow) -> None:
    await building.update(embedded.graph, Update(DEFAULT_WORKSPACE_ID, {"picklePolicy": "REFUSE_UNSAFE"}))
    assert await put(embedded, "a/model.pkl", b"cos\nsystem\n(S'true'\ntR.") == 200
    await embedded.model("m")
    status, code, message = await embedded.refused(
        "POST", "model-versions/create", name="m", source="mlflow-artifacts:/a"
    )
    assert (status, code) == (400, "INVALID_STATE")
    assert "model.pkl" in message
    assert (await embedded.get())["latest_versions"] == []


async def registered(mlflow: Mlflow, source: str = "mlflow-artifacts:/a", key: str = "k") -> httpx.Response:
    body, headers = {"name": "m", "source": source}, {"who": "ann", "idempotency-key": key}
    return await mlflow.http.post(f"{API}/model-versions/create", json=body, headers=headers)


async def test_a_registration_that_is_repeated_is_the_same_whatever_became_of_its_files(mlflow: Mlflow) -> None:
    await mlflow.model("m")
    for n, change in enumerate((("PUT", "more", b"x"), ("PUT", "MLmodel", b"y"), ("DELETE", "", b"")), start=1):
        await put(mlflow, f"a{n}/MLmodel", b"flavors: {}\n")
        first = await registered(mlflow, f"mlflow-artifacts:/a{n}", f"k{n}")
        await mlflow.ask("POST", "registered-models/alias", name="m", alias=f"champion{n}", version=str(n))
        method, path, data = change
        answer = await mlflow.http.request(method, f"{ROOT}/a{n}/{path}".rstrip("/"), content=data)
        assert answer.status_code == 200
        again = await registered(mlflow, f"mlflow-artifacts:/a{n}", f"k{n}")
        assert again.status_code == 200, again.text
        version = again.json()["model_version"]
        assert version == {**first.json()["model_version"], "aliases": [f"champion{n}"]}
        assert (await mlflow.version(n))["status"] == "READY"


async def test_a_registration_that_is_sent_twice_at_once_is_one_version(mlflow: Mlflow) -> None:
    await put(mlflow, "a/MLmodel", b"flavors: {}\n")
    await mlflow.model("m")
    answers = await asyncio.gather(*(registered(mlflow) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.json()["model_version"]["version"] for answer in answers} == {"1"}
    assert (await mlflow.version())["status"] == "READY"
    assert (await registered(mlflow)).json()["model_version"]["status"] == "READY"


async def test_a_registration_that_ended_halfway_is_gone_on_with_when_it_is_repeated(
    embedded: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(_op: object, **_: object) -> None:
        raise RuntimeError("the process dies")

    await put(embedded, "a/MLmodel", b"flavors: {}\n")
    await embedded.model("m")
    monkeypatch.setattr(files, "complete_upload", dies)
    with pytest.raises(RuntimeError):
        await registered(embedded)
    assert (await embedded.version())["status"] == "PENDING_REGISTRATION"
    monkeypatch.undo()
    assert (await registered(embedded)).json()["model_version"]["status"] == "READY"


async def test_files_that_a_policy_refused_are_no_version_for_the_same_again_either(embedded: Mlflow) -> None:
    await building.update(embedded.graph, Update(DEFAULT_WORKSPACE_ID, {"picklePolicy": "REFUSE_UNSAFE"}))
    await put(embedded, "a/model.pkl", b"cos\nsystem\n(S'true'\ntR.")
    await embedded.model("m")
    answers = [await registered(embedded) for _ in range(2)]
    assert [answer.json()["error_code"] for answer in answers] == ["INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"]


async def test_what_lineal_keeps_of_a_version_can_be_fetched_by_unchanged_clients(embedded: Mlflow) -> None:
    await sent(embedded)
    await embedded.model("m")
    source = "mlflow-artifacts:/1/models/m-1/artifacts"
    await embedded.ask("POST", "model-versions/create", name="m", source=source)
    async with Operation(embedded.graph) as op:
        version = await resolve(op, "models:/m/1")
    assert version is not None
    await building.update(embedded.graph, Update(version.id, {"uri": None, "source": None}))
    found = await embedded.ask("GET", "model-versions/get-download-uri", name="m", version="1")
    assert found == {"artifact_uri": f"https://lineal.test{ROOT}/versions/{version.id}"}
    folder = f"versions/{version.id}"
    assert await listed(embedded, folder) == [("MLmodel", False, 12), ("data", True, None), ("empty", False, 0)]
    assert await listed(embedded, f"{folder}/data") == [("grüße 1%.txt", False, 5), ("model.bin", False, 2_000)]
    assert (await embedded.send("GET", f"{ROOT}/{folder}/data/model.bin")).content == FILES["data/model.bin"]
    assert (await embedded.send("GET", f"{ROOT}/{folder}/data/model.bin", "bob")).status_code == 404
    for at in ("", "/ajax-api/2.0/mlflow"):
        answer = await embedded.send("GET", f"{at}/model-versions/get-artifact", name="m", version="1", path="MLmodel")
        assert answer.status_code == 302
    answer = await embedded.send("GET", "/model-versions/get-artifact", name="m", version="1", path="nothing")
    assert answer.status_code == 404


async def test_what_was_sent_is_not_cleared_away_and_what_was_deleted_is(embedded: Mlflow) -> None:
    await sent(embedded)
    done = await collect(embedded.graph, embedded.storage, "default", by="keeper", grace=0)
    assert (done.removed, done.kept) == (0, len(set(FILES.values())))
    assert (await embedded.send("DELETE", f"{ROOT}/1/models/m-1/artifacts/data")).status_code == 200
    await embedded.model("m")
    await put(embedded, "other/x", b"x")
    await embedded.ask("POST", "model-versions/create", name="m", source="mlflow-artifacts:/other")
    done = await collect(embedded.graph, embedded.storage, "default", by="keeper", grace=0)
    assert done.removed == 2
    assert (await embedded.send("GET", f"{ROOT}/1/models/m-1/artifacts/MLmodel")).content == FILES["MLmodel"]


async def test_a_quota_bounds_what_is_sent(embedded: Mlflow) -> None:
    await building.update(embedded.graph, Update(DEFAULT_WORKSPACE_ID, {"quotaBytes": 10}))
    assert await put(embedded, "a", b"x" * 8) == 200
    answer = await embedded.http.put(f"{ROOT}/b", content=b"y" * 8, headers={"who": "ann"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "REQUEST_LIMIT_EXCEEDED")


async def test_of_files_that_come_at_once_no_more_are_kept_than_the_quota_lets_in(embedded: Mlflow) -> None:
    await building.update(embedded.graph, Update(DEFAULT_WORKSPACE_ID, {"quotaBytes": 20}))
    async with asyncio.TaskGroup() as tasks:
        sending = [tasks.create_task(put(embedded, f"f{n}", bytes([n]) * 8)) for n in range(6)]
    assert sorted(each.result() for each in sending) == [200, 200, 400, 400, 400, 400]
    assert sum([blob.size async for blob in embedded.storage.blobs("default")]) == 16


async def test_what_does_not_fit_is_not_read_to_its_end(embedded: Mlflow) -> None:
    await building.update(embedded.graph, Update(DEFAULT_WORKSPACE_ID, {"quotaBytes": 100}))
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 64
            yield b"x" * 64

    answer = await embedded.http.put(f"{ROOT}/a", content=endless(), headers={"who": "ann"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "REQUEST_LIMIT_EXCEEDED")
    assert "leaves 100 bytes" in answer.json()["message"]
    assert read < 4 * 2**20


async def test_a_file_that_the_audit_cannot_have_is_not_kept(embedded: Mlflow, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_notes: object) -> None:
        raise Unavailable("the store is away")

    monkeypatch.setattr(embedded.graph, "note", away)
    assert await put(embedded, "a", b"x") == 503
    monkeypatch.undo()
    assert await listed(embedded, "") == []


async def test_what_is_done_to_files_is_in_the_audit(embedded: Mlflow) -> None:
    await put(embedded, "a/b", b"x")
    await embedded.send("GET", f"{ROOT}/a/b")
    await embedded.send("DELETE", f"{ROOT}/a")
    async with embedded.graph.snapshot() as snapshot:
        entries = await snapshot.entries(EntryFilter(by="corp:ann", noted=True))
    told = [entry.change.data["noted"] for entry in reversed(entries)]
    assert [entry.change.action for entry in reversed(entries)] == ["storeFile", "read", "deleteFiles"]
    assert [note.get("path") or note["data"]["path"] for note in told] == ["a/b", "a/b", "a"]
    assert {entry.workspace for entry in entries} == {"default"}


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("POST", "mpu/create/a", "upload"),
        ("POST", "mpu/complete/a", "upload"),
        ("POST", "mpu/abort/a", "upload"),
        ("GET", "presigned/a", "download"),
    ],
)
async def test_what_a_local_folder_cannot_do_is_refused_in_the_words_that_clients_look_for(
    embedded: Mlflow, method: str, path: str, what: str
) -> None:
    url, body = f"/api/2.0/mlflow-artifacts/{path}", {"path": "x", "upload_id": "x", "parts": []}
    answer = await embedded.http.request(method, url, json=None if method == "GET" else body)
    assert (answer.status_code, answer.json()) == (
        501,
        {
            "error_code": "NOT_IMPLEMENTED",
            "message": f"Multipart {what} is not supported for the current artifact repository",
        },
    )
    info = (await embedded.send("GET", "/api/3.0/mlflow/server-info")).json()
    assert info["multipart_uploads_enabled"] is info["multipart_downloads_enabled"] is False


async def test_other_methods_are_no_endpoints(embedded: Mlflow) -> None:
    for method, path in (("POST", f"{ROOT}/a"), ("PUT", ROOT), ("POST", "/model-versions/get-artifact"), ("GET", MPU)):
        answer = await embedded.http.request(method, path)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
