"""Helm, built from its sources."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from tests.services import go_program

HELM_VERSION: Final = "v3.22.0"


def helm_binary() -> Path:
    """The program; Go downloads and builds it the first time."""
    return go_program("helm", "helm.sh/helm/v3/cmd/helm", HELM_VERSION)


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it."""
    return subprocess.run([helm_binary(), *arguments], capture_output=True, text=True, check=False)
