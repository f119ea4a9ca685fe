"""The documentation tells what the code does: generated pages are current, links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs.generate import PAGES
from graph.ontology import EDGE_KINDS, NODE_KINDS
from lineal import demo
from lineal.settings import Settings

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    assert (TOP / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_kind_has_a_heading_in_the_logical_model() -> None:
    page = (TOP / "docs" / "logical-model.md").read_text(encoding="utf-8")
    assert [f"### {name}" for name in (*NODE_KINDS, *EDGE_KINDS)] == re.findall(r"^### \w+$", page, re.MULTILINE)


def test_every_setting_has_a_heading() -> None:
    page = (TOP / "docs" / "settings.md").read_text(encoding="utf-8")
    assert re.findall(r"^## LINEAL_(\w+)$", page, re.MULTILINE) == [name.upper() for name in Settings.model_fields]


def test_the_readme_shows_the_two_commands_first() -> None:
    assert README.index("make demo") < README.index("make test") < README.index("## ")


def test_the_readme_has_the_query_that_the_demo_asks() -> None:
    assert demo.QUERY.strip() in README


async def test_the_readme_has_the_figures_that_the_demo_finds(tmp_path: Path) -> None:
    from graph.sqlite.store import SqliteGraph

    async with SqliteGraph(tmp_path / "demo.db") as graph:
        await graph.migrate()
        await demo.load(graph, demo.real_models(), lambda *_: None)
        figures, _ = await demo.ask(graph)
    shown = re.search(r"```json\n(.*)\n```", README)
    assert shown is not None
    assert json.loads(shown[1]) == figures


@pytest.mark.parametrize(
    "page", [TOP / "README.md", *sorted((TOP / "docs").glob("**/*.md"))], ids=lambda path: path.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
