"""Real processes are killed while files are pushed: what is READY has all its bytes, and nothing has to be sent twice.

All the time `lineal artifacts gc` clears away what nothing needs, with hardly any grace: what an upload that goes on
has sent stays, and what was given up goes.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.folder import Folder
from tests.artifacts.site import SMALL, Clearing, Site, clearing
from tests.conftest import count

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

PATIENCE = 60.0
"""Seconds for what goes on in the background."""
EVERY = 5
"""One folder of so many has a file that is sent in parts."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A Lineal with a MinIO of one's own."""
    with Site(tmp_path) as site:
        yield site


def awaited(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.5)


def usual(site: Site) -> float:
    """How many seconds a push takes that nobody disturbs."""
    began = time.monotonic()
    _, err = (push := site.push(site.folder())).communicate()
    assert push.returncode == 0, err
    return time.monotonic() - began


def assert_nothing_else_is_gone(site: Site, cleared: Clearing, abandoned: Folder, pushed: list[Folder]) -> None:
    """Storage comes to have what versions need and nothing that was given up, every version is READY and whole."""
    needed = {file.sha256: file.size for folder in pushed for file in folder.manifest.files}
    awaited(lambda: not {file.sha256 for file in abandoned.manifest.files} & site.blobs().keys())
    awaited(lambda: not site.marks())
    assert {sha256: size for sha256, size in site.blobs().items() if sha256 in needed} == needed
    found = [{file.path: file.sha256 for file in folder.manifest.files} for folder in pushed]
    read = list(site.read_back().values())
    assert all(files in read for files in found)
    assert cleared.removed <= SMALL  # all but one of the abandoned files came whole


def test_a_client_that_is_killed_goes_on_and_sends_only_what_is_missing(site: Site) -> None:
    seconds, abandoned, pushed = usual(site), site.folder(large=True), list[Folder]()
    with clearing(site) as cleared:
        site.abandon(abandoned)
        for turn in range(count(2, 20)):
            folder = site.folder(large=turn % EVERY == 0)
            victim = site.push(folder)
            time.sleep(random.uniform(0, 1.2 * seconds))
            victim.kill()
            victim.communicate()
            there, before = site.sent(folder), len(site.uploads())
            out, err = (push := site.push(folder)).communicate()
            assert push.returncode == 0, err
            told = json.loads(out)
            assert told["bytesSent"] == folder.manifest.size - there
            assert told["version"] == f"models:/bert/{turn + 2}"
            if there:
                assert len(site.uploads()) == before
            pushed.append(folder)
            assert {f.path: f.sha256 for f in folder.manifest.files} == site.read_back()[told["version"]]
        assert_nothing_else_is_gone(site, cleared, abandoned, pushed)
    assert cleared.problems == []


@pytest.mark.parametrize(("victim", "small", "many"), [("lineal", 2, 20), ("minio", 1, 5)])
def test_a_server_that_is_killed_comes_back_and_the_client_goes_on_by_itself(
    site: Site, victim: str, small: int, many: int
) -> None:
    seconds, abandoned, pushed = usual(site), site.folder(large=True), list[Folder]()
    server = site.lineal if victim == "lineal" else site.minio
    with clearing(site) as cleared:
        site.abandon(abandoned)
        for turn in range(count(small, many)):
            folder = site.folder(large=turn % EVERY == 0)
            push = site.push(folder)
            time.sleep(random.uniform(0, 1.2 * seconds))
            server.kill()
            time.sleep(random.uniform(0, 1))
            server.start()
            out, err = push.communicate()
            assert push.returncode == 0, err
            told = json.loads(out)
            assert told["version"] == f"models:/bert/{turn + 2}"
            pushed.append(folder)
            assert {f.path: f.sha256 for f in folder.manifest.files} == site.read_back()[told["version"]]
        states = [upload["state"] for upload in site.uploads().values()]
        assert sorted(states) == ["ABORTED", *["COMPLETE"] * (len(pushed) + 1)]
        assert_nothing_else_is_gone(site, cleared, abandoned, pushed)


def test_a_collection_that_is_killed_leaves_nothing_half_and_the_next_one_goes_on(site: Site) -> None:
    usual(site)
    for _ in range(count(1, 20)):
        site.abandon(abandoned := site.folder())
        time.sleep(1.5)
        victim = site.command("artifacts", "gc")
        time.sleep(random.uniform(0.5, 2))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        folder = site.folder()
        out, err = (push := site.push(folder)).communicate()
        assert push.returncode == 0, err
        assert json.loads(out)["bytesSent"] == folder.manifest.size
        with clearing(site) as cleared:
            awaited(lambda: not {file.sha256 for file in abandoned.manifest.files} & site.blobs().keys())
        assert cleared.problems == []
    site.read_back()
