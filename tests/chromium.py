"""A real browser for tests: Chromium of this machine, driven by npm's playwright-core.

Its exact packages are pinned in tests/browser/package-lock.json and brought once by `npm ci`. A walk is a script of
that folder; it says what it saw as one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.services import cache_home, downloaded, missing

SOURCES: Final = Path(__file__).parent / "browser"
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
WALK_SECONDS: Final = 300


def node_modules() -> Path:
    """The folder with the driver's packages; npm brings them the first time."""
    files = {name: (SOURCES / name).read_text() for name in ("package.json", "package-lock.json")}
    version = hashlib.sha256(files["package-lock.json"].encode()).hexdigest()[:16]
    return downloaded(
        "chromium",
        cache_home() / f"browser-{version}" / "node_modules",
        files,
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        "install Node.js 20.19 or newer, with npm",
    )


def chromium() -> str:
    """The browser's program."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        missing("chromium", "install Chromium (Debian: apt-get install chromium)")
    return found


def walk(home: Path, name: str, **given: Any) -> dict[str, Any]:
    """What a walk saw. Fails the test where it could not go on.

    With LINEAL_PICTURES naming a folder it leaves pictures there.
    """
    packages, program = node_modules(), chromium()
    for script in SOURCES.glob("*.mjs"):
        shutil.copy(script, home)
    if not (home / "node_modules").exists():
        (home / "node_modules").symlink_to(packages)
    told = {"chromium": program, "pictures": os.environ.get("LINEAL_PICTURES"), **given}
    done = subprocess.run(
        ["node", str(home / f"{name}.mjs")],
        cwd=home,
        env={**os.environ, "WALK": json.dumps(told)},
        capture_output=True,
        text=True,
        check=False,
        timeout=WALK_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert seen["elsewhere"] == []
    assert seen["violations"] == []
    return seen
