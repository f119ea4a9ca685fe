"""Pages that can be followed: every command of one is run, in one shell, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.services import missing

TOP = Path(__file__).parents[2]


def commands(page: str) -> list[str]:
    """The commands of a page; lines of a here-document belong to theirs."""
    found: list[str] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            else:
                found[-1] += f"\n{line}"
    return found


def follow(page: str, home: Path, settings: Mapping[str, str], *, seconds: float, python: Path | None = None) -> str:
    """What the commands say, run in this folder; `python` is another one than that of the tests.

    The test fails where one of them does.
    """
    for tool in ("bash", "curl"):
        if shutil.which(tool) is None:
            missing(tool, f"install {tool}")
    (home / "bin").mkdir(exist_ok=True)
    program = home / "bin" / "lineal"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{TOP}" exec "{sys.executable}" -m lineal "$@"\n')
    program.chmod(0o755)
    if python is not None:
        other = home / "bin" / "python"
        other.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        other.chmod(0o755)
    told = "".join(f"echo '== {number}' >&2\n{command}\n" for number, command in enumerate(commands(page)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LINEAL_", "MLFLOW_"))}
    environment = {
        **kept,
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        **settings,
    }
    done = subprocess.run(
        ["bash", "-c", f"set -e\ntrap 'for job in $(jobs -p); do kill $job || true; done' EXIT\n{told}"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    return done.stdout
