"""The tutorial can be followed: every command of it is run, in one shell, as it stands on the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import free_port, missing

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "tutorial.md").read_text(encoding="utf-8")
SECONDS = 240


def commands() -> list[str]:
    """The commands of the page; lines of a here-document belong to theirs."""
    found: list[str] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            else:
                found[-1] += f"\n{line}"
    return found


@pytest.mark.timeout(SECONDS + 60)
def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    for tool in ("bash", "curl"):
        if shutil.which(tool) is None:
            missing(tool, f"install {tool}")
    shutil.copytree(TOP / "examples", tmp_path / "examples")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "lineal"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{TOP}" exec "{sys.executable}" -m lineal "$@"\n')
    program.chmod(0o755)
    told = "".join(f"echo '== {number}' >&2\n{command}\n" for number, command in enumerate(commands()))
    script = f"set -e\ntrap 'kill $(jobs -p)' EXIT\n{told}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LINEAL_")}
    environment = {
        **kept,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "LINEAL_PORT": str(free_port()),
        "SHOP_PORT": str(free_port()),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    prices = re.findall(r'\{"version": ?(\d), "price": ?([\d.]+)\}', done.stdout)
    assert [version for version, _ in prices] == ["1", "2", "1"]
    assert prices[0] == prices[2]
    assert "not yet" in done.stdout
    assert "not any more" in done.stdout
    assert "ROLL_BACK" in done.stdout
    assert "deployments:/flat-prices" in done.stdout
