"""Lineal is killed again and again amid a burst: every event arrives at least once, in order for each subject."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph.open import open_graph
from tests import building
from tests.conftest import count
from tests.running import LinealServer
from tests.services import free_port
from tests.webhooks.receiver import Answer, Got, Receiver, fine

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

MODELS: Final = 4
CREATE: Final = "mutation($input: CreateWebhookInput!) { createWebhook(input: $input) { webhook { id } } }"
TAG: Final = "mutation($input: SetTagsInput!) { setTags(input: $input) { node { id } } }"


@pytest.fixture
def lineal(tmp_path: Path, store_url: str) -> Iterator[LinealServer]:
    """A Lineal of its own on either store, which may send to this machine."""

    async def migrate() -> None:
        async with open_graph(store_url) as graph:
            await graph.migrate()

    asyncio.run(migrate())
    server = LinealServer(tmp_path / "lineal", free_port(), (), graph=store_url, webhook_private="true")
    with server:
        yield server


async def ask(lineal: LinealServer, query: str, **variables: Any) -> Any:
    """Ask until it answers."""
    token = LocalIssuer(Keyring(lineal.home / "keys")).token()
    async with httpx.AsyncClient(timeout=10) as client:
        for _ in range(600):
            try:
                body = {"query": query, "variables": variables}
                answer = await client.post(lineal.url, json=body, headers={"authorization": f"Bearer {token}"})
                found = answer.json()
                if answer.status_code == 200 and "errors" not in found:
                    return found["data"]
                assert answer.status_code in {200, 503}, found
                assert {e["extensions"]["code"] for e in found.get("errors", ())} <= {"UNAVAILABLE", "INTERNAL"}, found
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.2)
    raise AssertionError("it does not answer")


async def unreliable(got: Got) -> Answer | None:
    """Take it, mostly."""
    chance = random.random()
    if chance < 0.05:
        return 503, {}, b""
    return None if chance < 0.08 else await fine(got)


def arrived(receiver: Receiver, model: str) -> list[int]:
    """The turns that arrived about a model, the first time each, in the order in which they came."""
    bodies = [body for body in receiver.taken(model) if body["type"] == "lineal.model.tags_changed"]
    return [int(body["data"]["change"]["updated"]["after"]["tags.turn"]) for body in bodies]


async def test_whenever_it_is_killed_every_event_arrives_and_in_order(lineal: LinealServer, store_url: str) -> None:
    kills, turns = count(2, 50), count(15, 400)
    async with open_graph(store_url) as graph:
        models = [(await building.model(graph, f"model-{n}"))[0].id for n in range(MODELS)]
    async with Receiver(unreliable) as receiver:
        await ask(lineal, CREATE, input={"name": "all", "url": receiver.url, "kinds": ["MODEL"]})
        over = asyncio.Event()

        async def write() -> None:
            turn = 0
            while turn < turns or not over.is_set():
                turn += 1
                for model in models:
                    await ask(lineal, TAG, input={"node": model, "tags": [{"name": "turn", "value": str(turn)}]})
            written.append(turn)

        written: list[int] = []
        writing = asyncio.create_task(write())
        for _ in range(kills):
            await asyncio.sleep(random.uniform(0.5, 3))
            await asyncio.to_thread(lineal.kill)
            await asyncio.to_thread(lineal.start)
        over.set()
        await writing
        expected = list(range(1, written[0] + 1))
        for _ in range(3_000):
            if all(len(arrived(receiver, model)) >= len(expected) for model in models):
                break
            await asyncio.sleep(0.1)
        for model in models:
            assert arrived(receiver, model) == expected
