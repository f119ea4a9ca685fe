"""Amazon's API by moto, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from tests.environments import environment

MOTO = "moto[server,sagemaker]==5.2.5"


def moto_python() -> Path:
    """The Python that has moto."""
    return environment("moto", MOTO)
