"""The rigs, each started once, and the test's own names on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from serving.port import Adapter
from tests.serving.rigs import RIGS, Rig
from tests.serving.rigs import rig as make


@pytest.fixture(scope="session", params=sorted(RIGS))
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Each platform, started."""
    rig = make(request.param, tmp_path_factory.mktemp(request.param))
    try:
        rig.start()
        yield rig
    finally:
        rig.close()


@pytest.fixture
def rig(started: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Each platform in good order: each test that asks for it runs on all of them."""
    monkeypatch.setenv("RIG_SECRET", started.secret)
    started.faults.clear()
    yield started
    started.faults.clear()


@pytest.fixture
async def adapter(rig: Rig) -> AsyncIterator[Adapter]:
    """The adapter of each platform."""
    async with rig.adapter() as adapter:
        yield adapter


@pytest.fixture
def name() -> str:
    """A deployment that nobody else uses."""
    return f"t-{uuid4().hex[:12]}"
