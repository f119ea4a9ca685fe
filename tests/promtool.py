"""Prometheus' tool that looks at rules and evaluates them, built from its sources."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.services import go_program

PROMTOOL_VERSION: Final = "v0.316.0"


def promtool_binary() -> Path:
    """The program; Go downloads and builds it the first time."""
    # Rules need none of the clients of clouds that Prometheus can ask for what there is to scrape.
    module = "github.com/prometheus/prometheus/cmd/promtool"
    return go_program("promtool", module, PROMTOOL_VERSION, tags="remove_all_sd")
