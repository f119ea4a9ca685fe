"""Calls that take long go on by themselves, once each, and how they ended is told to who asks next."""

from __future__ import annotations

import asyncio

import pytest

from lineal.errors import PreconditionFailed, Unavailable
from serving import slow
from serving.slow import Slow


async def test_a_call_is_waited_for_and_made_once() -> None:
    calls, go, made = Slow(), asyncio.Event(), list[int]()

    async def work() -> None:
        made.append(1)
        await go.wait()

    assert not await calls.call("a", work, 0.01)
    assert not await calls.call("a", work, 0.01)
    go.set()
    assert await calls.call("a", work, 5)
    assert made == [1]
    assert await calls.call("a", work, 5)
    assert made == [1, 1]
    await calls.close()


async def test_what_a_call_raised_is_told_to_who_asks_next_and_to_nobody_much_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, go, worked = Slow(), asyncio.Event(), list[int]()

    async def fail() -> None:
        await go.wait()
        raise PreconditionFailed("it does not load")

    async def work() -> None:
        worked.append(1)

    for key in ("a", "b"):
        assert not await calls.call(key, fail, 0.01)
    go.set()
    for _ in range(3):
        await asyncio.sleep(0)
    with pytest.raises(PreconditionFailed):
        await calls.call("a", work, 5)
    assert worked == []
    monkeypatch.setattr(slow, "STALE", -1.0)
    assert await calls.call("b", work, 5)
    assert worked == [1]
    await calls.close()


async def test_a_call_that_failed_while_nobody_waited_is_made_again() -> None:
    calls, go, worked = Slow(), asyncio.Event(), list[int]()

    async def fail() -> None:
        await go.wait()
        raise Unavailable("the server is away")

    async def work() -> None:
        worked.append(1)

    assert not await calls.call("a", fail, 0.01)
    go.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await calls.call("a", work, 5)
    assert worked == [1]
    await calls.close()


async def test_calls_end_with_the_target() -> None:
    calls, ended = Slow(), list[bool]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    assert not await calls.call("a", work, 0.01)
    await calls.close()
    assert ended == [True]
