"""Lineal and MLflow as processes, and clients of MLflow that talk to either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

import httpx

from auth.keyring import Keyring
from auth.local import LocalIssuer
from tests.mlflow_server import MlflowServerProcess, mlflow_python
from tests.services import Server

ROOT: Final = Path(__file__).parents[3]
SESSION: Final = Path(__file__).with_name("session.py")
SECONDS: Final = 600


class LinealProcess(Server):
    """`lineal serve` on a store, with tokens of its own."""

    name: ClassVar[str] = "lineal"
    start_seconds: ClassVar[int] = 400

    def __init__(self, home: Path, store: str, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(home)
        self.store = store
        self.settings = settings
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """A token of one who may do everything but what admins may."""
        return LocalIssuer(Keyring(self.home / "keys")).token()

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-m", "lineal", "serve", "--port", str(self.port)], {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "LINEAL_GRAPH": self.store,
            "LINEAL_KEYS": str(self.home / "keys"),
            "LINEAL_STORAGE": str(self.home / "artifacts"),
            **self.settings,
        }

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False


class Reference(MlflowServerProcess):
    """MLflow's own server, which takes long to start where others work too."""

    start_seconds: ClassVar[int] = 400

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command, settings = super().prepare()
        # As Lineal's `webhook_private`.
        private = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
        return command, {**settings, **private}

    def kill(self) -> None:
        # Its workers are processes of their own, which would stay.
        for child in _descendants(0 if self._process is None else self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        super().kill()


def _descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they did; none where the system does not tell."""
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*(deeper for child in children for deeper in _descendants(child)), *children]


def run_client(script: Path | str, *arguments: str, given: str = "", cwd: Path | None = None, **settings: str) -> str:
    """What a script says that a Python with MLflow runs, a file or the text itself."""
    program = [str(script)] if isinstance(script, Path) else ["-c", script]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "LINEAL_"))}
    done = subprocess.run(
        [str(mlflow_python()), *program, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=cwd,
        env={**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore", **settings},
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stdout


def session(server: LinealProcess | MlflowServerProcess, cases: Sequence[Any] = ()) -> list[tuple[str, Any]]:
    """What the session saw of a server, call by call; with `cases` only these searches."""
    tokens = [server.token] if isinstance(server, LinealProcess) else []
    said = run_client(SESSION, server.url, *tokens, given=json.dumps(list(cases)) if cases else "")
    return [(call, answer) for call, answer in json.loads(said)]
