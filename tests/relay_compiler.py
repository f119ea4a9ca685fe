"""Relay's compiler, as npm has it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests import npm

NAME: Final = "relay-compiler"


def node_modules() -> Path:
    """The folder that has it."""
    return npm.packages(NAME, Path(__file__).parent / "schema" / "relay")
