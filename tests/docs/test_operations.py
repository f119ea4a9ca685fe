"""The pages on operating can be followed: every command with a `$` is run, in one shell, as it stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.following import TOP, follow
from tests.observing.receiver import Receiver
from tests.services import free_port

SECONDS = 240
RECEIVER = "http://127.0.0.1:4318"


@pytest.mark.timeout(SECONDS + 60)
def test_what_operators_do_each_day_is_what_its_page_says(tmp_path: Path) -> None:
    page = (TOP / "docs" / "operations.md").read_text(encoding="utf-8")
    said = follow(page, tmp_path, {"LINEAL_PORT": str(free_port())}, seconds=SECONDS)
    for told in (
        "graph: lineal.db is made when Lineal first serves",
        '{"status":"ready"}',
        'lineal_faults_total{face="graphql"} 0.0',
        "is whole",
        "sqlite:///restored.db is as it was at",
        "0 wrong",
        "sqlite:///lineal.db is up to date",
    ):
        assert told in said, said


@pytest.mark.timeout(SECONDS + 60)
def test_a_process_that_is_started_as_the_page_says_sends_its_traces(tmp_path: Path) -> None:
    page = (TOP / "docs" / "observability.md").read_text(encoding="utf-8")
    assert RECEIVER in page
    with Receiver() as receiver:
        follow(page.replace(RECEIVER, receiver.url), tmp_path, {"LINEAL_PORT": str(free_port())}, seconds=SECONDS)
    assert "GET /readyz" in {span.name for span in receiver.spans}
