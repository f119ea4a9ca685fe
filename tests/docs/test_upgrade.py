"""The pages on installing and upgrading can be followed: every command with a `$` is run, in one shell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.following import TOP, follow
from tests.services import free_port, missing

SECONDS = 240


@pytest.mark.timeout(SECONDS + 60)
def test_an_upgrade_does_what_its_page_says(tmp_path: Path, store_url: str) -> None:
    page = (TOP / "docs" / "upgrade.md").read_text(encoding="utf-8")
    ports = {"OLD": str(free_port()), "NEW": str(free_port())}
    home = tmp_path / "home"
    home.mkdir()
    said = follow(page, home, {"LINEAL_GRAPH": store_url, **ports}, seconds=SECONDS)
    # The old one, at first; the new one, before the old one goes and after it went; the old one, while it drains.
    assert said.count('{"status":"ready"}') >= 3
    assert '{"status":"ok"}' in said
    assert "nothing was changed" in said or "is up to date" in said
    assert "sqlite:///earlier.db is as it was at" in said
    assert said.count("0 wrong") == 2


def test_keys_that_are_made_as_the_page_says_are_keys(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        missing("openssl", "install openssl")
    said = follow((TOP / "docs" / "install.md").read_text(encoding="utf-8"), tmp_path, {}, seconds=SECONDS)
    assert "are keys" in said
