"""Every kind of store with the same files in it, behind a connector of its own."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from storage.connectors.config import ConnectorConfig
from storage.connectors.config import read as configure
from tests.azurite import ACCOUNT, AzuriteServer
from tests.gcs import GcsServer
from tests.hdfs import HdfsServer
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.web import WebServer


@dataclass(frozen=True)
class Stand:
    """A store: the configuration of a connector to it, a folder's URI, and how to put files into that folder."""

    config: ConnectorConfig
    uri: str
    put: Callable[[Mapping[str, bytes]], None]
    resolve: Callable[[str], list[str]]


def loopback(_: str) -> list[str]:
    """Every name is this machine."""
    return ["127.0.0.1"]


def connector(scheme: str, prefix: str, **more: object) -> ConnectorConfig:
    """One connector, called `lake`, for all workspaces unless told otherwise."""
    table = {"scheme": scheme, "prefixes": [prefix], "workspaces": "*", **more}
    return configure({"connectors": {"lake": table}})[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """A folder of this machine."""
    home = tmp_path_factory.mktemp("lake")

    def put(files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            (home / "data" / path).parent.mkdir(parents=True, exist_ok=True)
            (home / "data" / path).write_bytes(data)

    return Stand(connector("file", f"file://{home}"), f"file://{home}/data", put, loopback)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """MinIO."""
    import minio

    with MinioServer(tmp_path_factory.mktemp("minio")) as server:
        client = minio.Minio(f"127.0.0.1:{server.port}", ACCESS_KEY, SECRET_KEY, secure=False)
        client.make_bucket("lake")

        def put(files: Mapping[str, bytes]) -> None:
            for path, data in files.items():
                client.put_object("lake", f"raw/data/{path}", io.BytesIO(data), len(data))

        os.environ["LAKE_KEY"], os.environ["LAKE_SECRET"] = ACCESS_KEY, SECRET_KEY
        options = {"endpoint_url": server.url, "region": "us-east-1", "addressing": "path"}
        secrets = {"key_env": "LAKE_KEY", "secret_env": "LAKE_SECRET"}
        config = connector("s3", "s3://lake/raw", options=options, secrets=secrets)
        yield Stand(config, "s3://lake/raw/data", put, loopback)
        del os.environ["LAKE_KEY"], os.environ["LAKE_SECRET"]


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """fake-gcs-server."""
    with GcsServer(tmp_path_factory.mktemp("gcs")) as server:

        def put(files: Mapping[str, bytes]) -> None:
            server.put("lake", {f"raw/data/{path}": data for path, data in files.items()})

        config = connector("gs", "gs://lake/raw", options={"endpoint_url": server.url, "anon": True, "project": "p"})
        yield Stand(config, "gs://lake/raw/data", put, loopback)


@pytest.fixture(scope="module")
def abfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """azurite."""
    home = tmp_path_factory.mktemp("azurite")
    with AzuriteServer(home) as server:

        def put(files: Mapping[str, bytes]) -> None:
            server.put("lake", {f"raw/data/{path}": data for path, data in files.items()})

        (home / "secret").write_text(server.connection_string)
        options, secrets = {"account_name": ACCOUNT}, {"connection_string_file": str(home / "secret")}
        config = connector("abfs", "abfs://lake/raw", options=options, secrets=secrets)
        yield Stand(config, "abfs://lake/raw/data", put, loopback)


@pytest.fixture(scope="module")
def hdfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsServer]:
    """Hadoop's mini cluster."""
    with HdfsServer(tmp_path_factory.mktemp("hdfs")) as server:
        yield server


@pytest.fixture(scope="module")
def hdfs(hdfs_server: HdfsServer) -> Stand:
    """HDFS by WebHDFS."""
    server = hdfs_server

    def put(files: Mapping[str, bytes]) -> None:
        server.put({f"/raw/data/{path}": data for path, data in files.items()})

    options = {"host": "127.0.0.1", "port": server.port, "user": "root", "datanodes": [server.datanode]}
    config = connector("hdfs", "hdfs://lake/raw", options=options)
    return Stand(config, "hdfs://lake/raw/data", put, loopback)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server with TLS."""
    with WebServer(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture(scope="module")
def https(web: WebServer) -> Stand:
    """The web server, with index pages."""

    def put(files: Mapping[str, bytes]) -> None:
        web.files.update({f"/raw/data/{path}": data for path, data in files.items()})

    options = {"ca_file": str(web.ca), "allow_private": True}
    url = f"https://files.test:{web.port}/raw"
    return Stand(connector("https", url, options=options), f"{url}/data/", put, loopback)


@pytest.fixture(scope="module", params=["file", "s3", "gs", "abfs", "hdfs", "https"])
def stand(request: pytest.FixtureRequest) -> Stand:
    """Each kind of store in turn, with FILES in the folder."""
    stand: Stand = request.getfixturevalue(request.param)
    stand.put(FILES)
    return stand


FILES = {
    "one.bin": bytes(range(256)) * 40,
    "empty": b"",
    "a/x.txt": b"hello world",
    "a-b.txt": b"1",
    "a b/ü+&.txt": "Grüße".encode(),
    **{f"many/{i:02}.txt": str(i).encode() for i in range(12)},
}
