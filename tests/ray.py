"""A Ray cluster of one machine, in an environment of its own."""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import httpx

from tests.environments import environment
from tests.services import Server, free_port

RAY = "ray[serve]==2.60.0"

APP = """
import os
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Model:
    def __init__(self):
        self.answer = int(os.environ["LINEAL_MODEL_URI"].rpartition("/")[2])

    def __call__(self, request):
        return {"answer": self.answer}

app = Model.bind()
"""
"""The module `answering`: it answers the number at the end of its model's address, or fails to start."""


def ray_python() -> Path:
    """The Python that has Ray."""
    return environment("ray", RAY)


class RayCluster(Server):
    """The head of a cluster with its dashboard at `url`, and Serve's proxy at `inference`, as soon as it has one."""

    name: ClassVar[str] = "ray"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"
        self.inference = f"http://127.0.0.1:{free_port()}"
        # Its sockets have paths that must be short.
        self._scratch = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "answering.py").write_text(APP)
        options = {
            "port": free_port(),
            "dashboard-host": "127.0.0.1",
            "dashboard-port": self.port,
            "dashboard-agent-listen-port": free_port(),
            "ray-client-server-port": free_port(),
            "node-ip-address": "127.0.0.1",
            "num-cpus": 4,
            "object-store-memory": 100_000_000,
            "temp-dir": self._scratch.name,
        }
        command = [str(ray_python()), "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        arguments = [f"--{name}={value}" for name, value in options.items()]
        return [*command, *arguments], {"PYTHONPATH": str(self.home), "RAY_USAGE_STATS_ENABLED": "0"}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/serve/applications/", timeout=10).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        started = _descendants(self._process.pid) if self._process is not None else []
        super().stop()
        for pid in started:
            # Some of what it started does not notice that it is gone.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._scratch.cleanup()


def _descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these started, where the system tells."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
    return found
