"""The page of deployments can be followed: its targets are read, and every command of it is run as it stands there."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from lineal.cli import deploying
from lineal.errors import InvalidArgument
from serving.port import Desired, Served
from serving.targets import read
from tests.docs.following import TOP, follow
from tests.lineal.test_deploying_cli import cloud, platform, pushed, server
from tests.lineal.test_transferring import Desk
from tests.running import LinealServer
from tests.serving.platform import PlatformServer
from tests.serving.rigs import Source, adapter

__all__ = ["cloud", "platform", "server"]

PAGE: Final = (TOP / "docs" / "deployments.md").read_text(encoding="utf-8")
SECONDS: Final = 240
TABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "kserve": {"options": {"namespace": "models"}},
    "ray-serve": {},
    "sagemaker": {
        "options": {"region": "eu-central-1", "role": "arn:aws:iam::123456789012:role/serving"},
        "secrets": {"key_env": "KEY", "secret_env": "SECRET"},
    },
    "bentoml": {"secrets": {"token_env": "TOKEN"}},
}
"""What targets of the platforms that need settings are configured with."""
WATCH: Final = "lineal status --watch"


def test_the_pages_targets_are_read() -> None:
    (file,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (farm,) = read(tomllib.loads(file))
    assert (farm.name, farm.platform, farm.files.seen_as) == ("farm", "torchserve", "/models")
    assert farm.serves("vision", "production")
    assert not farm.serves("vision", "staging")


@pytest.mark.parametrize("platform", TABLES)
async def test_a_platform_takes_the_least_that_the_page_says_it_needs(platform: str) -> None:
    (options,) = re.findall(rf"^\| `{platform}` \| `(.*)` \|$", PAGE, re.MULTILINE)
    words = shlex.split(options)
    given: dict[str, list[str]] = {"--setting": [], "--resource": []}
    for option, pair in zip(words[::2], words[1::2], strict=True):
        given[option].append(pair)
    settings, resources = (deploying._pairs(pairs, option) or {} for option, pairs in given.items())
    target = adapter(platform, url="http://127.0.0.1:1", **TABLES[platform])
    served = (Served(1, 1.0, Source({"model": b"1"})),)
    target.check(Desired("m", 1, served, resources, settings))
    with pytest.raises(InvalidArgument, match=r"^settings\."):
        target.check(Desired("m", 1, served))
    await target.close()


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
