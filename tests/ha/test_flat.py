"""Under a mixed load that goes on and on, a process takes no more memory, files, threads or log than it did before.

The median of the last third is held against that of the second one: the first third is for what is kept and fills up.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from auth.keyring import Keyring
from auth.local import LocalIssuer
from tests.conftest import SOAK, count
from tests.ha.load import Client, Kept
from tests.running import LinealServer
from tests.services import free_port

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2 * 3600 if SOAK else 600)]

SECONDS = count(30, 3_600)
CLIENTS = 4
EVERY: Final = 0.5
MIB: Final = 2**20

BOUNDS: Final[dict[str, Callable[[float], float]]] = {
    # A store that grows has more of its pages in memory, up to SQLite's own bound; a leak of a request is larger.
    "memory": lambda before: before * 1.05 + 8 * MIB,
    "files": lambda before: before + 8,
    "threads": lambda before: before + 2,
    "tasks": lambda before: before + 8,
    "wal": lambda before: before * 1.25 + 4 * MIB,
}
"""What the median of the last third may be at most, by that of the second third."""


class Process(LinealServer):
    """A process on a SQLite store, with what the system tells of it."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, free_port(), [], log_level="warning")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def token(self) -> str:
        """A token that opens everything for as long as this takes."""
        return LocalIssuer(Keyring(self.home / "keys")).token(seconds=SECONDS + 3_600)

    def looked_at(self) -> dict[str, float]:
        """Bytes in memory, open files, threads, tasks of asyncio, and bytes of the write-ahead log."""
        assert self._process is not None
        proc = Path(f"/proc/{self._process.pid}")
        wal = self.home / "lineal.db-wal"
        return {
            "memory": float(self.memory),
            "files": float(len(list((proc / "fd").iterdir()))),
            "threads": float(len(list((proc / "task").iterdir()))),
            "tasks": self.tasks(),
            "wal": float(wal.stat().st_size if wal.exists() else 0),
        }

    def tasks(self) -> float:
        """Tasks of asyncio, that of the question among them."""
        text = self.client.get("/metrics").text
        families = {family.name: family for family in text_string_to_metric_families(text)}
        return float(families["lineal_tasks"].samples[0].value)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux tells of a process in /proc")
    process = Process(tmp_path)
    with process:
        yield process
    process.client.close()


async def test_memory_files_threads_tasks_and_log_stay_flat_and_no_task_is_left(
    process: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    idle = process.tasks()
    kept = Kept()
    token = process.token()
    clients = [Client(f"http://127.0.0.1:{process.port}", f"c{i}", lambda: token, kept) for i in range(CLIENTS)]
    end = time.monotonic() + SECONDS
    work = [asyncio.create_task(client.run(lambda: time.monotonic() > end)) for client in clients]
    seen: list[dict[str, float]] = []
    while not all(task.done() for task in work):
        seen.append(await asyncio.to_thread(process.looked_at))
        await asyncio.sleep(EVERY)
    await asyncio.gather(*work)
    for client in clients:
        await client.close()
    third = len(seen) // 3
    medians = {
        what: [statistics.median(each[what] for each in seen[i * third : (i + 1) * third]) for i in range(3)]
        for what in BOUNDS
    }
    with capsys.disabled():
        lines = [f"{what}: {' → '.join(f'{each:,.0f}' for each in found)}" for what, found in medians.items()]
        sys.stdout.write("\n" + "\n".join([*lines, kept.figures()]) + "\n")
    assert kept.failures == []
    assert kept.missing == []
    for what, (_, second, last) in medians.items():
        assert last <= BOUNDS[what](second), (what, medians[what])
    deadline = time.monotonic() + 60
    while process.tasks() > idle:
        assert time.monotonic() < deadline, f"{process.tasks():.0f} tasks are left of {idle:.0f}"
        await asyncio.sleep(0.5)
    process.stop()
    said = (process.home / "console.log").read_text()
    assert "was destroyed" not in said
    assert "never" not in said
