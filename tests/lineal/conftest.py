"""What the tests of the process share: nothing of it outlives a test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineal.settings import Settings


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging goes where it went before the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with nothing in it, and an environment without settings."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"LINEAL_{name.upper()}", raising=False)
    return folder
