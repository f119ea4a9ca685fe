"""The sources of the pages, with their packages, in a folder of the test's own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.services import cache_home, downloaded

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ROOT / "ui"
INSTALL: Final = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
_NODE: Final = "install Node.js 20.19 or newer, with npm"


def packages(sources: Path) -> Path:
    """The folder with the packages of a package-lock.json; npm brings them the first time."""
    files = {name: (sources / name).read_text() for name in ("package.json", "package-lock.json")}
    version = hashlib.sha256(files["package-lock.json"].encode()).hexdigest()[:16]
    place = cache_home() / f"{sources.name}-{version}" / "node_modules"
    return downloaded("node", place, files, INSTALL, _NODE)


def node_modules() -> Path:
    """The packages that the pages are built from."""
    return packages(SOURCES)


def frontend_modules() -> Path:
    """The packages that the example frontend is built from."""
    return packages(ROOT / "examples" / "frontend")


def copied(sources: Path, home: Path) -> Path:
    """A copy of these sources with its packages beside."""
    found = packages(sources)
    skip = shutil.ignore_patterns("node_modules", "build", "dist")
    place = Path(shutil.copytree(sources, home / sources.name, ignore=skip))
    (place / "node_modules").symlink_to(found)
    return place


def node(place: Path, *arguments: str, **environment: str) -> str:
    """What Node said. Fails the test where it failed."""
    done = subprocess.run(
        ["node", *arguments],
        cwd=place,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
