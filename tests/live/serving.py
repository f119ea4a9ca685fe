"""Node's clients of what Lineal tells."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Final

from tests.services import cache_home, downloaded, missing

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
