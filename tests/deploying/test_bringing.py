"""Files on their way to a target: who is woken when they come, and what becomes of those that are given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from resolvers.deploying import bringing
from resolvers.deploying.bringing import Bringing
from resolvers.deploying.sources import Kept, Share, with_files
from serving import placing
from serving.port import Desired, File, Served
from tests.deploying.conftest import Shop
from tests.storage.storing import BASE


async def wanted(shop: Shop, answer: str, revision: int, name: str = "search") -> Desired:
    """What shall serve a version that answers so."""
    version = await shop.version(answer, f"models:/{name}")
    async with shop.registry.graph.snapshot() as snapshot:
        (share,) = await with_files(snapshot, [Share(version, 1.0)])
    source = share.source(shop.registry.storage, BASE)
    return Desired(name, revision, (Served(int(version.props["number"]), 1.0, source, version.id),))


async def test_whoever_waits_for_files_is_not_woken_by_them_and_others_are(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired, woken = await wanted(shop, "1", 1), asyncio.Event()
    come, read = asyncio.Event(), Kept.read
    files = Bringing(shop.targets.adapter("farm"), woken.set)
    monkeypatch.setattr(bringing, "PATIENCE", 60.0)
    await files.begin({"a": desired}, ["a"])
    assert files.there("a")
    assert not woken.is_set()

    async def late(source: Kept, file: File) -> AsyncIterator[bytes]:
        await come.wait()
        async for chunk in read(source, file):
            yield chunk

    monkeypatch.setattr(Kept, "read", late)
    monkeypatch.setattr(bringing, "PATIENCE", 0.0)
    other = await wanted(shop, "2", 1, "other")
    await files.begin({"b": other}, ["b"])
    assert not files.there("b")
    come.set()
    await asyncio.wait_for(woken.wait(), 60)
    assert files.there("b")


async def test_what_is_given_up_in_the_middle_of_a_file_holds_no_other_up_and_comes_to_its_end_before_what_follows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, ended = asyncio.Event(), threading.Event(), list[str]()
    loop, finish = asyncio.get_running_loop(), placing.FolderPlace._finish

    def stuck(made: Path, more: Mapping[str, bytes]) -> None:
        answer = (made / "answer").read_text()
        if answer == "1":
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(60)
        finish(made, more)
        ended.append(answer)

    monkeypatch.setattr(placing.FolderPlace, "_finish", staticmethod(stuck))
    monkeypatch.setattr(bringing, "PATIENCE", 0.0)
    woken = asyncio.Event()
    files = Bringing(shop.targets.adapter("farm"), woken.set)
    first, second, other = await wanted(shop, "1", 1), await wanted(shop, "2", 2), await wanted(shop, "3", 1, "other")
    await files.begin({"a": first}, ["a"])
    await begun.wait()
    for _ in range(2):
        await asyncio.wait_for(files.begin({"a": second, "b": other}, ["a", "b"]), 30)
    await shop.awaited(lambda: came(files, "b"))
    assert ended == ["3"]
    assert not files.there("a")
    go_on.set()
    await shop.awaited(lambda: came(files, "a"))
    assert ended == ["3", "1", "2"]


async def came(files: Bringing, id: str) -> bool:
    return files.there(id)
