"""The built pages are those of the sources, and the sources keep what they promise."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gateway.ui.pages import BUNDLE
from tests.ui.building import ROOT, SOURCES, copied, node

REBUILD = "the pages are not those of their sources: run make ui, and commit gateway/ui/bundle"


def digest() -> str:
    """As build.mjs has it: names and contents, in order."""
    names = ["build.mjs", "package-lock.json", "package.json", *(f"src/{p.name}" for p in (SOURCES / "src").iterdir())]
    told = hashlib.sha256()
    for name in sorted(names):
        told.update(name.encode() + b"\0" + (SOURCES / name).read_bytes() + b"\0")
    return told.hexdigest()


def test_the_committed_pages_say_which_sources_they_are_of() -> None:
    assert (BUNDLE / "SOURCES.sha256").read_text().strip() == digest(), REBUILD


def test_no_lock_file_says_where_packages_come_from() -> None:
    for lock in (SOURCES / "package-lock.json", ROOT / "tests" / "browser" / "package-lock.json"):
        assert '"resolved"' not in lock.read_text()


@pytest.mark.services
def test_building_the_sources_gives_the_committed_pages(tmp_path: Path) -> None:
    place = copied(SOURCES, tmp_path)
    node(place, "build.mjs", "--out", str(tmp_path / "dist"))
    made = {path.name: path.read_bytes() for path in (tmp_path / "dist").iterdir()}
    assert made.keys() == {path.name for path in BUNDLE.iterdir()}, REBUILD
    assert [name for name, content in made.items() if content != (BUNDLE / name).read_bytes()] == [], REBUILD


@pytest.mark.services
def test_the_sources_have_the_types_they_say_and_pass_their_own_tests(tmp_path: Path) -> None:
    place = copied(SOURCES, tmp_path)
    node(place, "node_modules/typescript/bin/tsc", "--noEmit")
    node(place, "build.mjs", "--test")
    told = node(place, "--test", "build/test/", SCHEMA=str(ROOT / "schema" / "lineal.graphql"))
    assert "# fail 0" in told
    assert "# pass 0" not in told
