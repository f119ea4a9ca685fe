"""Moving from MLflow can be followed: every command of the page is run, with a real MLflow, as it stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.following import TOP, follow
from tests.mlflow_server import mlflow_python
from tests.services import free_port

PAGE = (TOP / "docs" / "mlflow.md").read_text(encoding="utf-8")
SECONDS = 400


@pytest.mark.timeout(SECONDS + 60)
def test_every_command_of_moving_from_mlflow_does_what_it_says(tmp_path: Path) -> None:
    settings = {"LINEAL_PORT": str(free_port()), "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    said = follow(PAGE, tmp_path, settings, seconds=SECONDS, python=mlflow_python())
    lines = said.splitlines()
    assert "s3://models/prices/1" in lines
    assert "['1']" in lines
    assert said.rstrip().endswith("READY")
    assert "models:/prices" in said
    assert '"aliases":[{"alias":"champion","version":"1"}]' in said
