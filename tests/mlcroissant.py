"""Croissant's own library, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from tests.environments import environment


def mlcroissant_python() -> Path:
    """The Python that has mlcroissant."""
    return environment("mlcroissant", "mlcroissant==1.1.1")
