"""A real MLflow server for tests, in a Python environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.environments import environment
from tests.services import Server

MLFLOW_VERSION: Final = "3.17.2"


def mlflow_python() -> Path:
    """The Python that has MLflow; pip brings it the first time."""
    return environment("mlflow", f"mlflow=={MLFLOW_VERSION}")


class MlflowServerProcess(Server):
    """`mlflow server` with a SQLite store of its own, at `url`."""

    name: ClassVar[str] = "mlflow"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        options = {
            "backend-store-uri": f"sqlite:///{self.home / 'mlflow.db'}",
            "artifacts-destination": str(self.home / "artifacts"),
            "host": "127.0.0.1",
            "port": self.port,
            "workers": 1,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        # Jobs would be a dozen processes more.
        environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return [str(mlflow_python()), "-m", "mlflow", "server", *arguments], environment

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        # What it started would outlive it.
        self.stop()
