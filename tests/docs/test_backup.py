"""The page of operators can be followed: every command of it is run, in one shell, as it stands on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.following import TOP, follow
from tests.services import free_port

PAGE = (TOP / "docs" / "backup.md").read_text(encoding="utf-8")
SECONDS = 240
NEW = "neo4j://127.0.0.1:7687"


@pytest.mark.timeout(SECONDS + 60)
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path, store_url: str) -> None:
    assert NEW in PAGE
    home = tmp_path / "home"
    home.mkdir()
    said = follow(PAGE.replace(NEW, store_url), home, {"LINEAL_PORT": str(free_port())}, seconds=SECONDS)
    assert "1 blob" in said
    assert "is whole" in said
    assert "sqlite:///restored.db is as it was at" in said
    assert said.count("checked 1 artifacts, the audit and the store: 0 wrong") == 4
    assert f"sqlite:///lineal.db is read-only now, and {store_url} has all of it" in said
    assert "sqlite:///lineal.db can be written to" in said
    assert said.count("sqlite:///lineal.db is up to date") == 2
