"""A drill: a server under load is backed up, everything is lost, and everything is brought back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.pushing import Push
from lineal.remote import Remote
from resolvers.backup.folder import backups
from storage.folder import scan
from tests.running import ROOT, LinealServer
from tests.services import free_port

CREATE = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { id address } }
}"""
SECONDS = 120
FILES = 20
"""Of one push, so that copying takes a while."""


class Site:
    """A server, those who write to it all the time, and the commands of an operator."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server = LinealServer(home / "lineal", free_port(), ())
        _, served = self.server.prepare()
        self.environment = {**os.environ, **served, "LINEAL_PORT": str(self.server.port)}
        self.done = [0, 0]
        """How many versions were made, and how many folders were pushed."""
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

    def version(self, remote: Remote, **more: Any) -> dict[str, Any]:
        wanted = {"model": "models:/bert", "createModel": True, "params": [{"name": "n", "value": uuid4().hex}], **more}
        return dict(remote.ask(CREATE, input=wanted)["createModelVersion"]["version"])

    def push(self, remote: Remote) -> str:
        folder = self.home / f"files-{uuid4().hex}"
        folder.mkdir()
        for number in range(FILES):
            (folder / f"{number}.bin").write_bytes(os.urandom(50_000))
        made = self.version(remote, state="PENDING")
        Push(remote, scan(folder), threads=2).run(made["id"], "model")
        shutil.rmtree(folder)
        return str(made["address"])

    @contextmanager
    def load(self) -> Iterator[None]:
        """Somebody writes, and somebody pushes."""
        ended = threading.Event()

        def again(which: int, act: Callable[[Remote], Any]) -> None:
            try:
                with self.remote() as remote:
                    while not ended.is_set():
                        act(remote)
                        self.done[which] += 1
            except BaseException as error:  # noqa: BLE001 - it is raised where the test sees it
                self.failed.append(error)

        threads = [threading.Thread(target=again, args=each) for each in ((0, self.version), (1, self.push))]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert self.failed == []

    def until_more(self) -> None:
        """Wait until both have done something more."""
        goal = [count + 1 for count in self.done]
        while any(have < want for have, want in zip(self.done, goal, strict=True)) and not self.failed:
            time.sleep(0.02)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.server.home.mkdir()
    with site.server:
        yield site


def killed(site: Site, folder: Path, sign: str) -> int:
    """A backup that is killed as soon as there is a file like this; how it ended."""
    process = site.start("backup", str(folder))
    while process.poll() is None and not any(folder.glob(sign)):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


@pytest.mark.timeout(4 * SECONDS)
def test_everything_that_was_backed_up_under_load_comes_back_after_everything_was_lost(site: Site) -> None:
    folder = site.home / "backups"
    with site.load():
        for sign in (".partial-*/aside.jsonl", "files/*/blobs/*/*", ".partial-*/files.jsonl"):
            site.until_more()
            finished = len(backups(folder))
            if killed(site, folder, sign) == -signal.SIGKILL:
                assert len(backups(folder)) == finished
        site.until_more()
        told = json.loads(site.run("backup", str(folder), "--format", "json"))
        site.until_more()
    assert told["lost"] == []
    assert told["blobs"] >= FILES
    assert list(folder.glob(".partial-*")) == []
    assert "is whole" in site.run("backup", str(folder), "--verify")
    site.server.kill()
    for path in site.server.home.glob("lineal.db*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    site.run("restore", str(folder), "--moment", told["backup"])
    (backup,) = (each for each in backups(folder) if each.name == told["backup"])
    export = site.home / "export.jsonl"
    site.run("export", str(export))
    assert hashlib.sha256(export.read_bytes()).hexdigest() == backup.told["parts"]["graph.jsonl"]["sha256"]
    assert "not yet sealed" in site.run("audit", "verify")
    assert json.loads(site.run("artifacts", "verify", "--format", "json"))["problems"] == []
    site.server.start()
    with site.remote() as remote:
        address = site.push(remote)
    site.run("pull", address, str(site.home / "pulled"))
    assert len(list((site.home / "pulled").iterdir())) == FILES
    site.run("audit", "verify")
