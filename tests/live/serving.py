"""A Lineal as a process, and Node's clients of what it tells."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import ClassVar, Final

import httpx

from auth.keyring import Keyring
from auth.local import LocalIssuer
from tests.running import ROOT
from tests.services import Server, cache_home, downloaded, missing

SOURCES: Final = Path(__file__).parent / "node"
_INSTALL: Final = "install Node.js 20 or newer, with npm"


def node_modules() -> Path:
    """The folder with the clients' packages; npm brings them the first time."""
    files = {name: (SOURCES / name).read_text() for name in ("package.json", "package-lock.json")}
    version = hashlib.sha256(files["package-lock.json"].encode()).hexdigest()[:16]
    return downloaded(
        "graphql-clients",
        cache_home() / f"graphql-clients-{version}" / "node_modules",
        files,
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        _INSTALL,
    )


def script(name: str, folder: Path) -> list[str]:
    """The command that runs a script of `node/`, from a folder with its packages beside it. A missing tool skips."""
    node = shutil.which("node")
    if node is None:
        missing("graphql-clients", _INSTALL)
    packages = node_modules()
    place = shutil.copy(SOURCES / name, folder)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(packages)
    return [node, str(place)]


def need_websockets() -> None:
    """Skip where uvicorn cannot speak WebSocket."""
    if not any(importlib.util.find_spec(name) for name in ("websockets", "wsproto")):
        missing("websockets", "install the Python package websockets")


class LiveServer(Server):
    """`lineal serve` on a store of its own, or on that of this URL."""

    name: ClassVar[str] = "lineal"

    def __init__(self, home: Path, graph: str | None = None) -> None:
        super().__init__(home)
        self.graph = graph or f"sqlite:///{home / 'lineal.db'}"
        self.url = f"http://127.0.0.1:{self.port}/graphql"

    @property
    def token(self) -> str:
        """A token of everything but admin."""
        return LocalIssuer(Keyring(self.home / "keys")).token()

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
        return [sys.executable, "-m", "lineal", "serve", "--port", str(self.port)], {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "LINEAL_GRAPH": self.graph,
            "LINEAL_KEYS": str(self.home / "keys"),
        }

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz").is_success
        except httpx.TransportError:
            return False
