"""The tutorial can be followed: every command of it is run, in one shell, as it stands on the page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.following import TOP, follow
from tests.services import free_port

PAGE = (TOP / "docs" / "tutorial.md").read_text(encoding="utf-8")
SECONDS = 240


@pytest.mark.timeout(SECONDS + 60)
def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(TOP / "examples", tmp_path / "examples")
    ports = {"LINEAL_PORT": str(free_port()), "SHOP_PORT": str(free_port())}
    said = follow(PAGE, tmp_path, ports, seconds=SECONDS)
    prices = re.findall(r'\{"version": ?(\d), "price": ?([\d.]+)\}', said)
    assert [version for version, _ in prices] == ["1", "2", "1"]
    assert prices[0] == prices[2]
    assert "not yet" in said
    assert "not any more" in said
    assert "not back to it either" in said
    assert "ROLL_BACK" in said
    (told,) = (json.loads(line)["data"] for line in said.splitlines() if '"notifications"' in line)
    assert {"by": "local:ann", "action": "markDataset"} in [each["change"] for each in told["notifications"]["nodes"]]
    (notice,) = told["viewer"]["principal"]["notifiedOf"]["nodes"]
    assert "those of another city" in notice["text"]
    assert "1, 2" in notice["text"]
    assert "deployments:/flat-prices" in said
