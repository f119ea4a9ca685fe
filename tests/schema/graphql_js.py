"""Packages of GraphQL's own world in JavaScript that judge ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests import npm

SOURCES: Final = Path(__file__).parent / "npm"
NAME: Final = "graphql-js"


def node_modules() -> Path:
    """The folder with the packages; npm brings them the first time."""
    return npm.packages(NAME, SOURCES)


async def told(script: str, *arguments: str) -> Any:
    """What one of the scripts here says, as JSON."""
    return await npm.told(NAME, node_modules(), SOURCES / script, *arguments)
