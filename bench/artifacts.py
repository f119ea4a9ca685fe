"""Files that go to storage and come back, beside the plain client of the store doing the same.

A MinIO and a `lineal serve` run as processes, and so does every client. Lineal's and the plain one move the same
files in turn, with as many threads. Lineal's client reads every file for its digest before it sends any, and checks
what came; the plain client does neither, and its throughput with both is measured too.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from minio import Minio
from minio.deleteobjects import DeleteObject
from rich.console import Console

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.remote import Remote
from lineal.transfer import THREADS
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.running import ROOT, LinealServer
from tests.services import Server, free_port
from tests.storage.conftest import client_of

BAR = 0.9
ROUNDS = 6
"""Each of them writes ten gibibytes. Medians of three varied by a fifth, as the disk does."""
FOLDER = 2 * 2**30
FILES = 300
SINGLE = 2**30
SMALLER = 8
"""By how much less the server is given the first time, for comparison."""
MODEL = "models:/bench"
TICKS = os.sysconf("SC_CLK_TCK")

CREATE = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { address } }
}"""
STATE = """query State($address: ID!) { modelVersion(address: $address) {
  artifacts { edges { node { verification } } }
} }"""


def measure(console: Console, home: Path, rounds: int, scale: float) -> None:
    """Print everything that is measured of artifacts, with sizes multiplied by `scale`."""
    console.rule("Artifacts")
    with MinioServer(home / "minio") as minio:
        client = client_of(minio)
        for bucket in ("lineal", "plain", "checked"):
            client.make_bucket(bucket)
        s3 = json.dumps({"endpoint": minio.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY})
        lineal = LinealServer(home / "lineal", free_port(), (), storage="s3://lineal", s3=s3)
        lineal.home.mkdir()
        with lineal:
            bench = _Bench(console, home, client, minio, lineal)
            folder, single = int(FOLDER * scale), int(SINGLE * scale)
            bench.compare(f"{FILES} files of {_mib(folder)} MiB", _written(home / "folder", FILES, folder), rounds)
            bench.compare(f"one file of {_mib(single)} MiB", _written(home / "single", 1, single), rounds)
            bench.again(home / "folder")
            for count, size in ((FILES, folder), (1, single)):
                bench.growth(count, size)


@dataclass(frozen=True, slots=True)
class _Bench:
    console: Console
    home: Path
    client: Minio
    minio: MinioServer
    lineal: LinealServer

    def compare(self, what: str, folder: Path, rounds: int) -> None:
        """Push and pull in turn with the plain client, and print ratios of medians."""
        times: dict[str, list[float]] = defaultdict(list)
        for turn in range(rounds + 1):
            version = self._version()
            ways = [("push", version), ("plain-push", "plain"), ("checked-push", "checked")]
            back = [("pull", version), ("plain-pull", "plain"), ("checked-pull", "checked")]
            first = turn % len(ways)
            for way, where in [*ways[first:], *ways[:first], *back[first:], *back[:first]]:
                if way == "pull":
                    self._settle(version)
                place = folder if way.endswith("push") else self.home / "copy"
                os.sync()  # what one way wrote is not for the next one to wait for
                told = self._move(way, place, where)
                assert told["bytes"] == sum(path.stat().st_size for path in folder.iterdir()), (way, told)
                shutil.rmtree(self.home / "copy", ignore_errors=True)
                if turn:
                    times[way].append(told["seconds"])
                    times[f"{way} transfer"].append(told["transfer"])
            self._clear()
        mib = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        rate = {way: mib / statistics.median(each) for way, each in times.items()}
        for ours, theirs, meaning in (
            ("push transfer", "plain-push", f"push, the transfer alone, to that of the plain client (bar: {BAR})"),
            ("push", "checked-push", f"push, digests and transfer, to the plain client with the same (bar: {BAR})"),
            ("push", "plain-push", "push, digests and transfer, to the plain client without digests"),
            ("pull", "checked-pull", f"pull, checked, to the plain client with the same check (bar: {BAR})"),
            ("pull", "plain-pull", "pull, checked, to the plain client without a check"),
        ):
            self.console.print(
                f"{what}: {meaning}: {rate[ours] / rate[theirs]:.2f} ({rate[ours]:,.0f} and {rate[theirs]:,.0f} MiB/s)"
            )

    def again(self, folder: Path) -> None:
        """What is sent the second time, and when one file was changed."""
        first = self._move("push", folder, self._version())
        second = self._move("push", folder, self._version())
        changed = min(folder.iterdir())
        changed.write_bytes(Random(1).randbytes(changed.stat().st_size))
        third = self._move("push", folder, self._version())
        self.console.print(
            f"sent at first: {first['bytes']:,} bytes in {first['files']} files; the same again: {second['bytes']:,} "
            f"bytes in {second['files']} files ({second['seconds']:.1f} s); one file changed: {third['bytes']:,} bytes "
            f"in {third['files']} file"
        )
        self._clear()

    def growth(self, count: int, size: int) -> None:
        """What the server needs for files of different sizes, and as many of them."""
        told = []
        for part in (size // SMALLER, size):
            folder = _written(self.home / "grown", count, part)
            version = self._version()
            before = _forgotten(self.lineal)
            self._move("push", folder, version)
            pushed = _cpu(self.lineal)
            self._settle(version)
            settled = _cpu(self.lineal)
            self._move("pull", self.home / "copy", version)
            pulled = _cpu(self.lineal)
            peak = _peak(self.lineal)
            told.append(
                f"{_mib(part)} MiB: {pushed - before:.2f} s of CPU in the push, {settled - pushed:.2f} s while it "
                f"is verified, {pulled - settled:.2f} s in the pull, at most {peak:,.0f} MiB of memory"
            )
            shutil.rmtree(self.home / "copy")
            shutil.rmtree(folder)
            self._clear()
        self.console.print(f"the server, for {count} files of {'; of '.join(told)}")

    def _move(self, way: str, folder: Path, where: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "bench.moving", way, str(folder), where, str(THREADS)]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, check=True)  # noqa: S603
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LINEAL_KEYS": str(self.lineal.home / "keys"),
            "LINEAL_PORT": str(self.lineal.port),
            "MINIO": self.minio.url.removeprefix("http://"),
        }

    def _remote(self) -> Remote:
        return Remote(self.lineal.url, LocalIssuer(Keyring(self.lineal.home / "keys")).token)

    def _version(self) -> str:
        """The address of a new version that waits for its files."""
        with self._remote() as remote:
            made = remote.ask(CREATE, input={"model": MODEL, "createModel": True, "state": "PENDING"})
        return str(made["createModelVersion"]["version"]["address"])

    def _settle(self, version: str) -> None:
        """Wait until the server has nothing to verify any more."""
        with self._remote() as remote:
            while True:
                edges = remote.ask(STATE, address=version)["modelVersion"]["artifacts"]["edges"]
                if all(edge["node"]["verification"] != "PENDING" for edge in edges):
                    return
                time.sleep(0.2)

    def _clear(self) -> None:
        """Take the bytes away, so that they have to be sent again."""
        for bucket, prefix in (("lineal", "default/blobs/"), ("plain", ""), ("checked", "")):
            found = [
                DeleteObject(str(item.object_name))
                for item in self.client.list_objects(bucket, prefix=prefix, recursive=True)
            ]
            assert not list(self.client.remove_objects(bucket, found))


def _written(folder: Path, files: int, size: int) -> Path:
    """A folder with so many files like no others, of so many bytes in all."""
    folder.mkdir()
    each = size // files
    for number in range(files):
        with (folder / f"{number:03}.bin").open("wb") as file:
            for left in range(each, 0, -(2**20)):
                file.write(os.urandom(min(left, 2**20)))
    return folder


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"


# ── What a process needs, as Linux tells it ───────────────────────────────────────────────────────


def _pid(server: Server) -> int:
    assert server._process is not None
    return server._process.pid


def _cpu(server: Server) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{_pid(server)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak(server: Server) -> float:
    """The most memory since it was forgotten, in MiB."""
    status = Path(f"/proc/{_pid(server)}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _forgotten(server: Server) -> float:
    """Begin to measure memory anew; seconds of CPU so far."""
    Path(f"/proc/{_pid(server)}/clear_refs").write_text("5")
    return _cpu(server)
