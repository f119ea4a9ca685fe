"""A drill: a server under load is backed up, everything is lost, and everything is brought back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph.open import open_graph
from graph.transfer import export_lines
from lineal.pushing import Push
from lineal.remote import Remote
from resolvers.backup.folder import backups
from storage.folder import scan
from tests.minio import ACCESS_KEY, SECRET_KEY
from tests.running import ROOT, LinealServer
from tests.services import free_port

CREATE = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { id address } }
}"""
SECONDS = 120
FILES = 20
"""Of one push, so that copying takes a while."""


class Acknowledged(NamedTuple):
    """A version or an artifact, and when it was asked for and its answer came (`time.monotonic`)."""

    id: str
    address: str
    asked: float
    told: float


class Site:
    """A server, those who write to it all the time, and the commands of an operator. `lose` takes all that is kept."""

    def __init__(self, home: Path, graph: str, storage: Mapping[str, str], lose: Callable[[], None]) -> None:
        self.home, self.graph, self.lose = home, graph, lose
        self.server = LinealServer(home / "lineal", free_port(), (), graph=graph, **storage)
        _, served = self.server.prepare()
        self.environment = {**os.environ, **served, "LINEAL_PORT": str(self.server.port)}
        self.versions: list[Acknowledged] = []
        self.artifacts: list[Acknowledged] = []
        self.failed: list[BaseException] = []

    def remote(self) -> Remote:
        keys = Keyring(self.server.home / "keys")
        return Remote(self.server.url, LocalIssuer(keys).token, patience=SECONDS)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "lineal", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str) -> str:
        """What a command says; the test fails where it does."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, out + err
        return out

    def version(self, remote: Remote, **more: Any) -> Acknowledged:
        asked = time.monotonic()
        wanted = {"model": "models:/bert", "createModel": True, "params": [{"name": "n", "value": uuid4().hex}], **more}
        made = remote.ask(CREATE, input=wanted)["createModelVersion"]["version"]
        self.versions.append(Acknowledged(made["id"], made["address"], asked, time.monotonic()))
        return self.versions[-1]

    def push(self, remote: Remote) -> None:
        folder = self.home / f"files-{uuid4().hex}"
        folder.mkdir()
        for number in range(FILES):
            (folder / f"{number}.bin").write_bytes(os.urandom(50_000))
        made = self.version(remote, state="PENDING")
        asked = time.monotonic()
        sent = Push(remote, scan(folder), threads=2).run(made.id, "model")
        self.artifacts.append(Acknowledged(sent.artifact, made.address, asked, time.monotonic()))
        shutil.rmtree(folder)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Somebody writes, and somebody pushes."""
        ended = threading.Event()

        def again(act: Callable[[Remote], Any]) -> None:
            try:
                with self.remote() as remote:
                    while not ended.is_set():
                        act(remote)
            except BaseException as error:  # noqa: BLE001 - it is raised where the test sees it
                self.failed.append(error)

        threads = [threading.Thread(target=again, args=[act]) for act in (self.version, self.push)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert self.failed == []

    def until_asked_anew(self) -> None:
        """Wait until a version and an artifact are there that were asked for from now on."""
        now = time.monotonic()
        while not all(kept and kept[-1].asked > now for kept in (self.versions, self.artifacts)) and not self.failed:
            time.sleep(0.02)

    async def export(self) -> tuple[str, set[str]]:
        """The digest of what the store has as an export, and the ids of its nodes."""
        async with open_graph(self.graph) as graph, graph.snapshot() as snapshot:
            lines = [line async for line in export_lines(snapshot)]
        ids = {row["node"]["id"] for row in map(orjson.loads, lines) if "node" in row}
        return hashlib.sha256(b"".join(lines)).hexdigest(), ids


@pytest.fixture(params=["embedded", "servers"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = _embedded(tmp_path) if request.param == "embedded" else _on_servers(tmp_path, request.getfixturevalue)
    site.server.home.mkdir()
    with site.server:
        yield site


def _embedded(home: Path) -> Site:
    store = home / "lineal" / "lineal.db"

    def lose() -> None:
        for path in store.parent.glob("lineal.db*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return Site(home, f"sqlite:///{store}", {}, lose)


def _on_servers(home: Path, fixture: Callable[[str], Any]) -> Site:
    """On Neo4j and MinIO, empty both."""
    pristine, client, bucket = fixture("pristine"), fixture("minio_client"), fixture("bucket")
    neo4j, minio = fixture("neo4j_server"), fixture("minio_server")

    def lose() -> None:
        pristine.restore()
        for each in client.list_objects(bucket, recursive=True):
            client.remove_object(bucket, each.object_name)

    lose()
    asyncio.run(_migrate(neo4j.url))
    s3 = {"endpoint": minio.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    return Site(home, neo4j.url, {"storage": f"s3://{bucket}/artifacts", "s3": json.dumps(s3)}, lose)


async def _migrate(url: str) -> None:
    async with open_graph(url) as graph:
        await graph.migrate()


def killed(site: Site, folder: Path, sign: str) -> int:
    """A backup that is killed as soon as there is a file like this; how it ended."""
    process = site.start("backup", str(folder))
    while process.poll() is None and not any(folder.glob(sign)):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


@pytest.mark.timeout(4 * SECONDS)
def test_what_was_acknowledged_before_a_backup_under_load_comes_back_after_everything_was_lost(site: Site) -> None:
    folder = site.home / "backups"
    with site.load():
        for sign in (".partial-*/aside.jsonl", "files/*/blobs/*/*"):
            site.until_asked_anew()
            finished = len(backups(folder))
            if killed(site, folder, sign) == -signal.SIGKILL:
                assert len(backups(folder)) == finished
        site.until_asked_anew()
        began = time.monotonic()
        told = json.loads(site.run("backup", str(folder), "--format", "json"))
        ended = time.monotonic()
        site.until_asked_anew()
    assert told["lost"] == []
    assert list(folder.glob(".partial-*")) == []
    site.server.kill()
    site.lose()

    site.run("restore", str(folder), "--moment", told["backup"])
    (backup,) = (each for each in backups(folder) if each.name == told["backup"])
    digest, restored = asyncio.run(site.export())
    assert digest == backup.told["parts"]["graph.jsonl"]["sha256"]
    for kept in (site.versions, site.artifacts):
        before = {each.id for each in kept if each.told < began}
        after = {each.id for each in kept if each.asked > ended}
        assert before
        assert before <= restored
        assert after
        assert not after & restored
    assert json.loads(site.run("artifacts", "verify", "--format", "json"))["problems"] == []
    site.server.start()
    last = [each for each in site.artifacts if each.told < began][-1]
    site.run("pull", last.address, str(site.home / "pulled"))
    assert len(list((site.home / "pulled").iterdir())) == FILES
    with site.remote() as remote:
        site.push(remote)
    site.run("audit", "verify")
