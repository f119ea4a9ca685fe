"""docs/webhooks.md tells what the code does: its Python verifies, its documents run, its table is the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from graph.port import NewNode
from resolvers.events import ACTIONS
from resolvers.webhooks.deliveries import REMEMBERED
from resolvers.webhooks.turn import AT_ONCE, MAX_PENDING
from tests import building
from tests.docs.following import follow
from tests.mlflow_server import mlflow_python
from tests.services import free_port
from tests.webhooks.conftest import Post, awaited
from tests.webhooks.receiver import Receiver
from tests.webhooks.test_managing import OWNER, Asking

PAGE: Final = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """What the page has in a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def test_the_pages_python_verifies_what_is_sent_and_nothing_else(sqlite_post: Post, receiver: Receiver) -> None:
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    exec(code, names)
    made = await sqlite_post.hook(receiver.url)
    async with sqlite_post.delivering():
        await building.model(sqlite_post.graph, "bert")
        await awaited(lambda: receiver.got)
    got, verified = receiver.got[0], names["verified"]
    assert made.secret is not None
    assert verified(made.secret, got.headers, got.body)
    assert not verified(made.secret, got.headers, got.body + b" ")
    assert not verified("whsec_" + "A" * 44, got.headers, got.body)
    assert not verified(made.secret, {**got.headers, "webhook-timestamp": "1600000000"}, got.body)


async def test_the_pages_documents_run_one_after_the_other(sqlite_post: Post) -> None:
    await building.create(sqlite_post.graph, NewNode("Principal", OWNER.name, ""))
    ask = Asking(sqlite_post)
    documents = blocks("graphql")
    assert len(documents) == 6
    for document in documents:
        await ask(document)


def test_the_page_has_every_action() -> None:
    table = re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert table == list(ACTIONS.items())


@pytest.mark.services
@pytest.mark.timeout(300)
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    settings = {"LINEAL_PORT": str(free_port()), "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    said = follow(PAGE, tmp_path, settings, seconds=240, python=mlflow_python())
    made, end = json.JSONDecoder().raw_decode(said)
    feed, end = json.JSONDecoder().raw_decode(said, end)
    later, end = json.JSONDecoder().raw_decode(said, end)
    assert (feed[-1]["type"], feed[-1]["subject"]) == ("lineal.model.created", made["id"])
    assert later == []
    assert said[end:].strip() == "[('ci', 'DISABLED', ['model_version.created'])]"


@pytest.mark.parametrize("words", [f"{REMEMBERED:,} deliveries", f"{MAX_PENDING:,} events"])
def test_the_page_has_the_bounds(words: str) -> None:
    assert words in PAGE
    assert AT_ONCE == 4, "the page says four at once"
