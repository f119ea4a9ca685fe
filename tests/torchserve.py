"""A real TorchServe for tests, in a Python environment of its own, without torch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.environments import environment
from tests.services import Server, free_port, missing

TORCHSERVE_VERSION: Final = "0.12.0"
_NEEDED: Final = ("psutil", "packaging", "pillow", "pynvml", "pyyaml", "requests", "numpy")

_APART: Final = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"
"""Runs a program as the leader of a process group of its own."""
_TORCH: Final = """
class _Absent:
    @staticmethod
    def is_available():
        return False


class cuda(_Absent):
    pass


class backends:
    mps = _Absent


class xpu(_Absent):
    pass


__version__ = "0"
"""


def torchserve_python() -> Path:
    """The Python that has TorchServe; pip brings it the first time."""
    return environment("torchserve", f"torchserve=={TORCHSERVE_VERSION}", *_NEEDED)


class TorchServeServer(Server):
    """One that forgets what it served when it ends. `models` is its model store; tokens are required, and in files."""

    name: ClassVar[str] = "torchserve"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.management = f"http://127.0.0.1:{self.port}"
        self.inference_port = free_port()
        self.inference = f"http://127.0.0.1:{self.inference_port}"
        self.models = home / "models"
        self.token = home / "management-token"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        java = shutil.which("java")
        if java is None:
            missing("torchserve", "install Java 17 or newer (java)")
        python = torchserve_python()
        (packages,) = python.parent.parent.glob("lib/python*/site-packages")
        self.models.mkdir(parents=True, exist_ok=True)
        (self.home / "stubs").mkdir(exist_ok=True)
        (self.home / "stubs" / "torch.py").write_text(_TORCH)
        (self.home / "key_file.json").unlink(missing_ok=True)
        config = {
            "inference_address": self.inference,
            "management_address": self.management,
            "metrics_address": f"http://127.0.0.1:{free_port()}",
            "grpc_inference_port": free_port(),
            "grpc_management_port": free_port(),
            "initial_worker_port": free_port(),
            "disable_system_metrics": "true",
            "number_of_netty_threads": 4,
            "token_expiration_min": 600,
        }
        text = "".join(f"{name}={value}\n" for name, value in config.items())
        (self.home / "config.properties").write_text(text)
        command = [
            sys.executable, "-c", _APART,
            java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            f"-Dmodel_server_home={packages}", f"-Djava.io.tmpdir={self._scratch()}",
            "-cp", f"{packages}/ts/frontend/*", "org.pytorch.serve.ModelServer",
            "--python", str(python), "-f", "config.properties", "-s", str(self.models), "-ncs", "--enable-model-api",
        ]  # fmt: skip
        return command, {"PYTHONPATH": f"{self.home / 'stubs'}:{packages}"}

    def _scratch(self) -> Path:
        scratch = self.home / "tmp"
        scratch.mkdir(exist_ok=True)
        return scratch

    def answers(self) -> bool:
        try:
            if not httpx.get(f"{self.inference}/ping", headers=self.inference_headers, timeout=5).is_success:
                return False
        except (httpx.TransportError, OSError, ValueError):
            return False
        self.token.write_text(self._key("management"))
        return True

    def kill(self) -> None:
        # Its workers would outlive it, and be found by the next one at the same sockets.
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        super().kill()

    @property
    def inference_headers(self) -> dict[str, str]:
        """What lets a request in."""
        return {"Authorization": f"Bearer {self._key('inference')}"}

    def _key(self, kind: str) -> str:
        found: str = json.loads((self.home / "key_file.json").read_text())[kind]["key"]
        return found
