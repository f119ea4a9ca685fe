"""Helm, built from its sources."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.services import cache_home, downloaded, missing

HELM_VERSION: Final = "v3.22.0"


def helm_binary() -> Path:
    """The program; Go downloads and builds it the first time."""
    if shutil.which("go") is None:
        missing("helm", "install Go (go), which builds it the first time")
    folder = f"helm-{HELM_VERSION}"
    build = f'GOBIN="$PWD/{folder}" exec go install helm.sh/helm/v3/cmd/helm@{HELM_VERSION}'
    return downloaded("helm", cache_home() / folder, {}, ["sh", "-c", build], "install a POSIX shell (sh)") / "helm"


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it."""
    return subprocess.run([helm_binary(), *arguments], capture_output=True, text=True, check=False)
