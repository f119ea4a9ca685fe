"""The two stores of bytes, each open and empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from minio import Minio

from storage import port
from storage.local import LocalStorage
from storage.port import Storage
from storage.s3 import S3Storage
from storage.s3_options import S3Options
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.storage.storing import MIB, SECRET, Clock, Store, local_client


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A MinIO for all tests that do not kill it."""
    with MinioServer(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def minio_client(minio_server: MinioServer) -> Minio:
    """A client that may do everything there."""
    return client_of(minio_server)


def client_of(server: MinioServer) -> Minio:
    """A client that may do everything in a server without TLS."""
    return Minio(server.url.removeprefix("http://"), ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1")


def options_of(server: MinioServer, bucket: str, **more: object) -> S3Options:
    """What it takes to use this bucket."""
    known = {"endpoint": server.url, "bucket": bucket, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    return S3Options(**{**known, **more})  # type: ignore[arg-type]


@pytest.fixture
def bucket(minio_client: Minio) -> str:
    """An empty bucket."""
    name = f"t-{uuid4().hex}"
    minio_client.make_bucket(name)
    return name


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Store]:
    """A local folder."""
    clock = Clock()
    async with (
        LocalStorage(tmp_path / "bytes", SECRET, clock=clock) as storage,
        local_client(storage) as http,
    ):
        yield Store(storage, http, clock)


@pytest.fixture
async def s3(minio_server: MinioServer, bucket: str) -> AsyncIterator[Store]:
    """A MinIO."""
    clock = Clock()
    options = options_of(minio_server, bucket, prefix="lineal")
    async with S3Storage(options, clock=clock) as storage, httpx.AsyncClient() as http:
        yield Store(storage, http, clock)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store with its client: each test that asks for it runs on both."""
    if request.param == "s3":
        request.getfixturevalue("minio_server")
    chosen: Store = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def storage(store: Store) -> Storage:
    """A store: each test that asks for it runs on both."""
    return store.storage


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts as small as S3 allows, in bytes, so that a blob of a few mebibytes has several."""
    monkeypatch.setattr(port, "WHOLE", 5 * MIB)
    monkeypatch.setattr(port, "PART", 5 * MIB)
    return 5 * MIB
