"""docs/openlineage.md can be followed: every command of it is run as it stands, with the producers' own packages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import SOAK
from tests.docs.following import TOP, follow
from tests.environments import environment
from tests.openlineage.clients import openlineage_python
from tests.openlineage.test_clients import DBT, FEAST
from tests.openlineage.test_clients import run as ran
from tests.services import free_port

PAGE: Final = (TOP / "docs" / "openlineage.md").read_text(encoding="utf-8")
SECONDS: Final = 300
LARGE: Final = pytest.mark.skipif(not SOAK, reason="the libraries are large: `make soak` runs this")

pytestmark = [pytest.mark.services, pytest.mark.timeout(SECONDS + 60)]


def part(heading: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^(#+ {heading}\n.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def followed(home: Path, *headings: str, python: Path | None = None) -> str:
    """What the commands under these headings say."""
    page = "".join(map(part, ("Send some", *headings)))
    return follow(page, home, {"LINEAL_PORT": str(free_port())}, seconds=SECONDS, python=python)


def test_every_command_that_stands_on_the_page_is_under_a_heading_that_is_followed() -> None:
    shown = re.findall(r"```console\n", PAGE)
    assert len(shown) == sum(part(name).count("```console\n") for name in ("Send some", "Python", "dbt", "Feast"))


def test_events_are_sent_by_hand_and_by_openlineages_own_client(tmp_path: Path) -> None:
    said = followed(tmp_path, "Python", python=openlineage_python())
    first, second = said.split("datasets:/db#forecast", 1)
    assert "datasets:/db#orders" in first
    assert "datasets:/db#orders_daily" in second


def test_the_transports_of_the_page_are_such_as_the_client_takes(tmp_path: Path) -> None:
    (one,) = re.findall(r"```json\n(.*?)```", part("Python"), re.DOTALL)
    (other,) = re.findall(r"TRANSPORT='(.*)'", part("Airflow"))
    code = (
        "import sys, json; from openlineage.client import OpenLineageClient\n"
        "for text in sys.argv[1:]:\n"
        "    t = OpenLineageClient(config={'transport': json.loads(text)}).transport\n"
        "    print(json.dumps([t.kind, t.config.url, t.config.endpoint, t.config.auth.get_bearer()]))"
    )
    said = ran(openlineage_python(), "-c", code, one, other, cwd=tmp_path)
    expected = ["http", "https://lineal.example.org", "api/v1/lineage", "Bearer …"]
    assert [json.loads(line) for line in said.splitlines()[-2:]] == [expected, expected]


@pytest.mark.soak
@LARGE
def test_dbt_is_followed(tmp_path: Path) -> None:
    python = environment("dbt", *DBT)
    # An environment that was moved has no scripts that work.
    tools = {
        "dbt": "from dbt.cli.main import cli; cli()",
        "dbt-ol": "import sys; from openlineage.dbt import main; sys.argv[0] = 'dbt-ol'; sys.exit(main())",
    }
    for name, code in tools.items():
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\nexec "{python}" -c "{code}" "$@"\n')
        tool.chmod(0o755)
    assert "shop.main.sales" in followed(tmp_path, "dbt", python=python)


@pytest.mark.soak
@LARGE
def test_feast_is_followed(tmp_path: Path) -> None:
    said = followed(tmp_path, "Feast", python=environment("feast", *FEAST))
    assert "spending_view" in said.partition("datasets:/shop#churn")[2]
