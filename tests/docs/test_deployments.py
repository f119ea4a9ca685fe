"""The page of deployments can be followed: its targets are read, and every command of it is run as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from serving.targets import read
from tests.docs.following import TOP, follow
from tests.lineal.test_deploying_cli import platform, pushed, server
from tests.lineal.test_transferring import Desk
from tests.running import LinealServer
from tests.serving.platform import PlatformServer

__all__ = ["platform", "server"]

PAGE: Final = (TOP / "docs" / "deployments.md").read_text(encoding="utf-8")
SECONDS: Final = 240
WATCH: Final = "lineal status --watch"


def test_the_pages_targets_are_read() -> None:
    (file,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (farm,) = read(tomllib.loads(file))
    assert (farm.name, farm.platform, farm.files.seen_as) == ("farm", "torchserve", "/models")
    assert farm.serves("vision", "production")
    assert not farm.serves("vision", "staging")


@pytest.mark.timeout(SECONDS + 60)
def test_every_command_of_the_page_does_what_it_says(
    server: LinealServer, platform: PlatformServer, tmp_path: Path
) -> None:
    desk = Desk(server, tmp_path)
    for number in range(1, 9):
        pushed(desk, "ranker", str(number))
        if number == 7:
            desk.told("push", str(tmp_path / "model"), "ranker", "--alias", "champion")
    assert WATCH in PAGE
    # It is watched until Ctrl-C.
    page = PAGE.replace(WATCH, f"timeout --preserve-status --signal INT 10 {WATCH}")
    said = follow(page, tmp_path, desk.environment, seconds=SECONDS)
    rows = [line.split() for line in said.splitlines() if line.startswith("deployments:/ranker")]
    served = [" ".join(word for word in row if word.startswith("models:") or "%" in word) for row in rows]
    seven, eight = "models:/ranker/7", "models:/ranker/8"
    assert served[:4] == [seven, f"{seven} 90%, {eight} 10%", eight, seven]
    # A table again and again, as far as it is another.
    assert set(served[4:]) == {seven}
    assert {row[1] for row in rows[:5]} == {"READY"}
