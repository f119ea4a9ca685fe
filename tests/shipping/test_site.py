"""The documentation becomes pages without one warning, and they load nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.shipping.conftest import TOP

LOADING: Mapping[str, str] = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "use": "href",
}


class Page(HTMLParser):
    """What a page loads, where its links lead, and what of it can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.ids.add(told.get("id", ""))
        if tag in LOADING and LOADING[tag] in told:
            self.loads.append(told[LOADING[tag]])
        if tag == "a" and "href" in told:
            self.links.append(told["href"])


def build(tree: Path, into: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a tree as `make site` does."""
    flags = ["--fail-on-warning", "--keep-going", "--quiet"]
    command = [sys.executable, "-m", "sphinx", *flags, "--conf-dir", "docs", ".", str(into)]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("site") / "site"
    done = build(TOP, into)
    assert done.returncode == 0, done.stderr
    return into


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_that_is_written_is_one_of_the_site(site: Path) -> None:
    written = [TOP / "README.md", TOP / "CHANGELOG.md", *(TOP / "docs").rglob("*.md")]
    for page in written:
        assert (site / page.relative_to(TOP)).with_suffix(".html").is_file(), page


def test_every_link_between_pages_leads_to_a_place_that_is_there(site: Path, pages: Mapping[Path, Page]) -> None:
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f"{path.name}: {link}"
            checked += 1
    assert checked > 1000


def test_no_page_and_no_style_loads_anything_from_elsewhere(site: Path, pages: Mapping[Path, Page]) -> None:
    for path, page in pages.items():
        assert not [each for each in page.loads if re.match(r"(https?:)?//", each)], path
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_every_decision_is_in_the_list_of_them() -> None:
    folder = TOP / "docs" / "adr"
    listed = re.findall(r"\((\d{4}-[^)]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


@pytest.mark.parametrize("fault", ["[gone](nowhere.md)", "[gone](settings.md#nothing)"])
def test_a_link_to_nowhere_fails_the_build(tmp_path: Path, fault: str) -> None:
    tree = tmp_path / "tree"
    for name in ("docs/conf.py", "README.md", "docs/settings.md"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TOP / name, tree / name)
    (tree / "README.md").write_text("# One page\n")
    (tree / "docs" / "other.md").write_text(f"# Another\n\n{fault}\n")
    done = build(tree, tmp_path / "site")
    assert done.returncode != 0
    assert "other.md" in done.stderr
