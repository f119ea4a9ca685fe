"""What the tests of the process share: nothing of it outlives a test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.settings import Settings


def bearer(*scopes: str, keys: Path | None = None, **more: Any) -> dict[str, str]:
    """The header of one who holds these scopes, every one where none is named, by a token that Lineal signed."""
    issuer = LocalIssuer(Keyring(keys or Settings.load().keys))
    return {"authorization": f"Bearer {issuer.token(scopes=scopes or ['all'], **more)}"}


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
    """A working directory and a data folder with nothing in them, and an environment without settings."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"LINEAL_{name.upper()}", raising=False)
    return folder
