"""Python environments of their own, for libraries that are too large to be installed with the tests."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.services import cache_home, downloaded


def environment(name: str, *requirements: str) -> Path:
    """The Python of an environment that has these; pip brings them the first time.

    Where that cannot be done, the test is skipped, saying why.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(" ".join(sorted(requirements)).encode()).hexdigest()[:12]
    folder = f"{name}-{version}-{key}"
    wanted = " ".join(map(shlex.quote, requirements))
    # It is called by its Python alone: scripts would not find it where it is moved to.
    make = (
        f"{shlex.quote(sys.executable)} -m venv {folder} && "
        f"{folder}/bin/python -m pip install --quiet --disable-pip-version-check {wanted}"
    )
    command = ["sh", "-c", make]
    place = downloaded(name, cache_home() / folder, {}, command, "install a POSIX shell (sh)")
    return place / "bin" / "python"


def run(python: Path, script: str, *arguments: str | Path, cwd: Path) -> str:
    """What a script says on standard output. Fails the test where it fails."""
    command: Sequence[str] = [str(python), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
