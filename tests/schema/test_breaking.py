"""What breaks clients of the last release is named in the CHANGELOG, or it does not pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from schema.sdl import COMMITTED, RELEASED
from tests.schema import graphql_js

ROOT = Path(__file__).parents[2]

BEFORE = """type Query { model(address: ID!): Model models(first: Int): [Model!]! }
  type Model { id: ID! name: String! task: String } enum Kind { MODEL RUN }"""
AFTER = """type Query { model(address: ID!, at: String!): Model models(first: Int, after: String): [Model!]! }
  type Model { id: ID! name: String! licence: String } enum Kind { MODEL RUN TEAM }"""


def unnamed(breaking: Sequence[Mapping[str, str]], changelog: str) -> list[str]:
    """What breaks clients and is not named in what the CHANGELOG says of the coming release."""
    coming = changelog.partition("## [Unreleased]")[2].partition("\n## [")[0]
    said = set(re.findall(r"`([\w.]+)`", coming))
    return [change["message"] for change in breaking if change["path"] not in said]


async def _breaking(tmp_path: Path, before: str, after: str) -> list[dict[str, str]]:
    files = []
    for name, text in (("before", before), ("after", after)):
        files.append(tmp_path / f"{name}.graphql")
        files[-1].write_text(text)
    found: list[dict[str, str]] = await graphql_js.told("breaking.mjs", *map(str, files))
    return found


async def test_what_breaks_clients_is_told_from_what_does_not(tmp_path: Path) -> None:
    found = await _breaking(tmp_path, BEFORE, AFTER)
    assert {change["path"] for change in found} == {"Query.model.at", "Model.task"}


def test_what_the_changelog_names_may_break() -> None:
    found = [{"path": "Model.task", "message": "gone"}, {"path": "Query.model.at", "message": "needed"}]
    said = "# Changelog\n## [Unreleased]\n\n- `Model.task` is gone.\n\n## [1.0.0]\n\n- `Query.model.at` is new.\n"
    assert unnamed(found, said) == ["needed"]


async def test_the_schema_breaks_no_client_of_the_last_release_without_saying_so(tmp_path: Path) -> None:
    before, now = (file.read_text(encoding="utf-8") for file in (RELEASED, COMMITTED))
    found = await _breaking(tmp_path, before, now)
    assert unnamed(found, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) == []
