"""A real MLServer for tests, in a Python environment of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.environments import environment
from tests.services import Server, free_port

MLSERVER_VERSION: Final = "1.7.1"
_START: Final = "import asyncio, sys; from mlserver.cli import main; sys.argv[0] = 'mlserver'; main()"


def mlserver_python() -> Path:
    """The Python that has MLServer; pip brings it the first time."""
    return environment("mlserver", f"mlserver=={MLSERVER_VERSION}")


class MLServerServer(Server):
    """One that loads nothing by itself, and has all models in its own process. `models` is its repository."""

    name: ClassVar[str] = "mlserver"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"
        self.models = home / "models"
        self._ports = {"grpc_port": free_port(), "metrics_port": free_port()}

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        self.models.mkdir(parents=True, exist_ok=True)
        settings = {
            "host": "127.0.0.1",
            "http_port": self.port,
            **self._ports,
            "load_models_at_startup": False,
            "parallel_workers": 0,
            "debug": False,
            "metrics_dir": str(self.home),
        }
        (self.models / "settings.json").write_text(json.dumps(settings))
        return [str(mlserver_python()), "-c", _START, "start", str(self.models)], {}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/v2/health/ready", timeout=5).is_success
        except httpx.TransportError:
            return False
