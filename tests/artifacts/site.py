"""A Lineal with a MinIO and people who push to it, each of them a process that can be killed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import httpx

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.pushing import BEGIN, MISSING
from lineal.remote import Remote
from storage.folder import Folder, scan
from storage.s3_objects import Objects
from storage.s3_options import HOT
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.running import ROOT, LinealServer
from tests.services import free_port
from tests.storage.conftest import client_of, options_of

BUCKET: Final = "lineal"
GRACE_HOURS: Final = 1 / 3_600
SMALL: Final = 30
LARGE: Final = 257 * 2**20
"""Bytes of a file that is sent in parts."""

CREATE: Final = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { id address } }
}"""
ABORT: Final = "mutation Abort($upload: ID!) { abortUpload(input: {upload: $upload}) { upload { state } } }"
UPLOADS: Final = "{ uploads(first: 200) { nodes { id state digest } } }"
VERSIONS: Final = """{ modelVersions(first: 200) { nodes {
  address state artifacts { edges { node { id digest verification fileCount } } }
} } }"""
FILES: Final = """query Files($artifact: ID!) { artifact(address: $artifact) {
  files(first: 200) { nodes { path size sha256 url } }
} }"""


@dataclass
class Site:
    """The servers, and a folder of one's own in `home`. Use it with `with`."""

    home: Path
    minio: MinioServer = field(init=False)
    lineal: LinealServer = field(init=False)

    def __post_init__(self) -> None:
        self.minio = MinioServer(self.home / "minio")
        s3 = json.dumps({"endpoint": self.minio.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY})
        self.lineal = LinealServer(self.home / "lineal", free_port(), (), storage=f"s3://{BUCKET}", s3=s3)
        _, served = self.lineal.prepare()
        self.environment = {
            **os.environ,
            **served,
            "LINEAL_PORT": str(self.lineal.port),
            "LINEAL_ARTIFACT_GRACE_HOURS": str(GRACE_HOURS),
        }
        self.client = client_of(self.minio)
        self.place = options_of(self.minio, BUCKET).place("default")

    def __enter__(self) -> Self:
        self.minio.start()
        self.client.make_bucket(BUCKET)
        self.lineal.home.mkdir()
        self.lineal.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lineal.kill()
        self.minio.kill()

    # ── Pushing ───────────────────────────────────────────────────────────────────────────────────

    def folder(self, *, large: bool = False) -> Folder:
        """A new folder with files like no others, one of which is sent in parts where that is asked for."""
        path = self.home / f"model-{uuid4().hex}"
        (path / "deep").mkdir(parents=True)
        for number in range(SMALL):
            (path / "deep" / f"{number}.bin").write_bytes(os.urandom(2**18 + number))
        if large:
            with (path / "large.bin").open("wb") as file:
                for _ in range(LARGE // 2**20):
                    file.write(os.urandom(16) + bytes(2**20 - 16))
        return scan(path)

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """A command of Lineal's, as it begins."""
        command = [sys.executable, "-m", "lineal", *arguments, "--format", "json"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def push(self, folder: Folder) -> subprocess.Popen[str]:
        """Somebody who pushes a folder."""
        return self.command("push", str(folder.root), "bert", "--threads", "2")

    @property
    def remote(self) -> Remote:
        """The API."""
        return Remote(self.lineal.url, LocalIssuer(Keyring(self.lineal.home / "keys")).token)

    def abandon(self, folder: Folder) -> str:
        """Begin to push a folder, send all but one request of it, and give it up; the id of the upload."""
        files = [
            {"path": f.path, "size": str(f.size), "sha256": f.sha256, "parts": folder.parts.get(f.sha256)}
            for f in folder.manifest.files
        ]
        with self.remote as remote:
            wanted = {"model": "models:/given-up", "createModel": True, "state": "PENDING"}
            version = remote.ask(CREATE, input=wanted)["createModelVersion"]["version"]["id"]
            begun = remote.ask(BEGIN, input={"to": version, "name": "model", "files": files})["beginUpload"]["upload"]
            found = remote.ask(MISSING, upload=begun["id"], first=200, after=None)["upload"]["missing"]["nodes"]
            requests = [(file["path"], request) for file in found for request in file["requests"]]
            for path, request in requests[:-1]:
                with (folder.root / path).open("rb") as source:
                    source.seek(int(request["start"]))
                    headers = {each["name"]: each["value"] for each in request["headers"]}
                    data = source.read(int(request["size"]))
                httpx.put(request["url"], content=data, headers=headers, timeout=60).raise_for_status()
            remote.ask(ABORT, upload=begun["id"])
        return str(begun["id"])

    # ── What is there ─────────────────────────────────────────────────────────────────────────────

    def blobs(self) -> dict[str, int]:
        """The sizes of what MinIO has whole."""
        listed = self.client.list_objects(BUCKET, f"{self.place.prefix}{HOT}/", recursive=True)
        return {str(item.object_name).rpartition("/")[2]: item.size or 0 for item in listed}

    def sent(self, folder: Folder) -> int:
        """How many bytes of a folder MinIO has, whole or in parts, once it has done with what was on its way."""
        known = -1
        while True:
            now = self._sent(folder)
            if now == known:
                return now
            known = now
            time.sleep(0.4)

    def _sent(self, folder: Folder) -> int:
        blobs, objects = self.blobs(), Objects(self.client, {})
        size = sum(file.size for file in folder.manifest.files if file.sha256 in blobs)
        for sha256 in folder.parts:
            key = self.place.blob(HOT, sha256)
            for upload in objects.uploads(BUCKET, key) if sha256 not in blobs else ():
                size += sum(part.size for part in objects.parts(BUCKET, key, str(upload.upload_id)))
        return size

    def marks(self) -> list[str]:
        """What MinIO has of blobs that are sent in parts."""
        return [str(item.object_name) for item in self.client.list_objects(BUCKET, self.place.marks, recursive=True)]

    def uploads(self) -> dict[str, Mapping[str, Any]]:
        """Every upload by its id."""
        with self.remote as remote:
            return {each["id"]: each for each in remote.ask(UPLOADS)["uploads"]["nodes"]}

    def read_back(self) -> dict[str, Mapping[str, str]]:
        """Read every file of every version that is READY; their digests by path, by the version's address."""
        read: dict[str, Mapping[str, str]] = {}
        with self.remote as remote:
            for version in remote.ask(VERSIONS)["modelVersions"]["nodes"]:
                artifacts = [edge["node"] for edge in version["artifacts"]["edges"]]
                assert bool(artifacts) == (version["state"] == "READY"), version
                for artifact in artifacts:
                    files = remote.ask(FILES, artifact=artifact["id"])["artifact"]["files"]["nodes"]
                    assert len(files) == int(artifact["fileCount"])
                    for file in files:
                        assert _digest(file["url"]) == file["sha256"], (version, file["path"])
                    read[version["address"]] = {file["path"]: file["sha256"] for file in files}
        return read


def _digest(url: str) -> str:
    digest = hashlib.sha256()
    with httpx.stream("GET", url, timeout=60) as answer:
        assert answer.status_code == 200, answer.status_code
        for data in answer.iter_raw(2**20):
            digest.update(data)
    return digest.hexdigest()


@dataclass
class Clearing:
    """What was cleared away so far, and what went wrong with it."""

    removed: int = 0
    runs: int = 0
    problems: list[str] = field(default_factory=list)


@contextmanager
def clearing(site: Site) -> Iterator[Clearing]:
    """`lineal artifacts gc` runs again and again meanwhile, with hardly any grace."""
    clearing, over = Clearing(), threading.Event()

    def run() -> None:
        while not over.is_set():
            out, err = (done := site.command("artifacts", "gc")).communicate()
            clearing.runs += 1
            if done.returncode:
                clearing.problems.append(err)
            else:
                clearing.removed += json.loads(out)["default"]["removed"]
            over.wait(0.2)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield clearing
    finally:
        over.set()
        thread.join()
