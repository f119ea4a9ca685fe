"""Real clients of OpenLineage for tests, each in a Python environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.environments import environment

CLIENT: Final = "openlineage-python==1.54.0"


def openlineage_python() -> Path:
    """The Python that has OpenLineage's own client; pip brings it the first time."""
    return environment("openlineage", CLIENT)
