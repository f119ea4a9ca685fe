"""The systemd unit: systemd takes it, it is confined, and it gives Lineal time to stop."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from lineal.settings import Settings
from tests.services import missing
from tests.shipping.conftest import TOP

UNIT = TOP / "deploy" / "systemd" / "lineal.service"
TEXT = UNIT.read_text(encoding="utf-8")
EXPOSURE = 15
"""Tenths of systemd's measure of exposure, of 100 at most; from 20 on it is no longer "OK"."""


class _Unit(RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there on this machine."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd", "install systemd (systemd-analyze)")
    (there,) = re.findall(r"^ExecStart=(\S+) serve$", TEXT, re.MULTILINE)
    copy = tmp_path / UNIT.name
    copy.write_text(TEXT.replace(there, shutil.which("true") or ""))
    return copy


def test_systemd_has_nothing_to_say_against_it(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_can_do_little_else_than_serve(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_it_stops_by_sigterm_in_the_time_that_the_longest_usual_settings_need() -> None:
    parser = _Unit(strict=False)
    parser.read_string(TEXT)
    service = parser["Service"]
    assert service["KillSignal"] == "SIGTERM"
    assert service["DynamicUser"] == "yes"
    shown = dict(
        re.findall(
            r"^(drain_seconds|stop_seconds) = (\d+)$", (TOP / "docs" / "operations.md").read_text(), re.MULTILINE
        )
    )
    assert set(shown) <= set(Settings.model_fields)
    assert int(service["TimeoutStopSec"]) >= sum(map(int, shown.values())) + 10
