"""In the background artifacts are verified and storage is cleared, whatever is wrong with one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from secrets import token_hex

import pytest

from graph import ontology
from graph.port import Kept, NewNode, Node
from lineal.errors import LinealError, Unavailable
from resolvers.artifacts.common import MANAGED, REFERENCED, manifest_name
from resolvers.artifacts.keeping import COLLECTED, LEASE, Check, Keeper
from resolvers.artifacts.uploads import abort_upload
from resolvers.writing.models import delete_model
from resolvers.writing.workspaces import create_workspace, delete_workspace
from tests.artifacts.conftest import Registry

FILES = {"a.bin": b"first"}


async def _verified(_: Node) -> str:
    return "VERIFIED"


@asynccontextmanager
async def keeping(registry: Registry, check: Check = _verified, collect_hours: float = 0) -> AsyncIterator[None]:
    """A keeper is at work."""
    keeper = Keeper(
        registry.graph,
        registry.storage,
        check,
        by="gc",
        holder="h",
        collect_hours=collect_hours,
        grace_hours=1e-9,
        check_hours=0,
    )
    running = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it."""
    async with asyncio.timeout(60):
        while not await done():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


async def waiting(registry: Registry, count: int, storage: str = MANAGED) -> list[str]:
    """So many artifacts, made at once, that wait to be verified."""
    props = {"storage": storage, "verification": "PENDING"}
    new = [NewNode(ontology.ARTIFACT.name, token_hex(32), "default", props=props) for _ in range(count)]
    made = await registry.graph.write(lambda tx: tx.create(new), by="tester", action="test")
    return [node.id for node in made]


async def left(registry: Registry, workspace: str) -> None:
    """Leave bytes in storage that nothing needs."""
    files = {"b": workspace.encode()}
    upload = await registry.begin((await registry.version(f"models:/{workspace}:left")).id, files)
    await registry.send(upload, files)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)


async def test_a_workspace_that_cannot_be_cleared_does_not_keep_others_from_it(registry: Registry) -> None:
    async with registry.operation() as op:
        await create_workspace(op, name="other")
    for workspace in ("default", "other"):
        await left(registry, workspace)
        _, artifact = await registry.push(FILES, f"models:/{workspace}:bert")
        if workspace == "default":
            await registry.storage.discard(workspace, manifest_name(artifact.props["digest"]))
    async with keeping(registry, collect_hours=1e-9):
        await until(lambda: gone(registry, "other"))
    assert await registry.holds(b"default")


async def test_storage_of_a_deleted_workspace_is_cleared_too(registry: Registry) -> None:
    async with registry.operation() as op:
        await create_workspace(op, name="other")
    await left(registry, "other")
    async with registry.operation() as op:
        await delete_model(op, address="models:/other:left")
        await delete_workspace(op, workspace="other")
    while await registry.graph.sequence():
        pass
    async with keeping(registry, collect_hours=1e-9):
        await until(lambda: gone(registry, "other"))


async def gone(registry: Registry, workspace: str) -> bool:
    """Whether what was left there is gone."""
    return not await registry.holds(workspace.encode(), workspace)


async def test_storage_is_cleared_in_time_however_often_processes_are_restarted(registry: Registry) -> None:
    await left(registry, "default")
    async with keeping(registry, collect_hours=24):
        await until(lambda: noted(registry))
    seen: set[str] = set()

    async def check(artifact: Node) -> str:
        seen.add(artifact.id)
        return "VERIFIED"

    async def looked() -> bool:
        return bool(seen)

    _, artifact = await registry.push(FILES)
    await registry.set(artifact.id, verification="PENDING")
    await note(registry, hours_ago=23)
    async with keeping(registry, check, collect_hours=24):
        await until(looked)
    assert not await gone(registry, "default")
    await note(registry, hours_ago=25)
    async with keeping(registry, collect_hours=24):
        await until(lambda: gone(registry, "default"))
    assert await noted(registry)


async def note(registry: Registry, hours_ago: int) -> None:
    """Storage was cleared so long ago."""
    kept = Kept(LEASE, 0, COLLECTED, {"at": time.time_ns() // 1_000 - hours_ago * 3_600_000_000})
    await registry.graph.write(lambda tx: tx.keep([kept]), by="tester", action="test")


async def noted(registry: Registry) -> bool:
    """Whether it is noted that storage was cleared, or that nobody knew when it was, within the hour."""
    async with registry.graph.snapshot() as snapshot:
        kept = (await snapshot.kept([LEASE], [COLLECTED])).get(LEASE)
    return kept is not None and kept[0].data["at"] > time.time_ns() // 1_000 - 3_600_000_000


@pytest.mark.parametrize("error", [Unavailable("the store is away"), ValueError("a defect")])
async def test_artifacts_that_cannot_be_verified_do_not_keep_others_from_it(
    registry: Registry, error: LinealError | ValueError
) -> None:
    older, (newest,) = await waiting(registry, 600), await waiting(registry, 1)
    seen: set[str] = set()

    async def check(artifact: Node) -> str:
        seen.add(artifact.id)
        if artifact.id in older:
            raise error
        return "VERIFIED"

    async def looked() -> bool:
        return newest in seen

    async with keeping(registry, check):
        await until(looked)


async def test_one_that_is_asked_for_again_and_again_keeps_neither_others_nor_clearing_waiting(
    registry: Registry,
) -> None:
    await left(registry, "default")
    pushed = [(await registry.push({"a.bin": data}, "models:/bert"))[1].id for data in (b"first", b"second")]
    for id in pushed:
        await registry.set(id, verification="PENDING")
    seen: set[str] = set()

    async def check(artifact: Node) -> str:
        seen.add(artifact.id)
        return "PENDING"

    async def looked() -> bool:
        return seen == {*pushed} and await gone(registry, "default")

    async with keeping(registry, check, collect_hours=1e-9):
        await until(looked)


async def test_a_place_that_does_not_answer_keeps_neither_what_is_managed_nor_clearing_waiting(
    registry: Registry,
) -> None:
    await left(registry, "default")
    (stuck,) = await waiting(registry, 1, REFERENCED)
    seen: set[str] = set()

    async def check(artifact: Node) -> str:
        seen.add(artifact.id)
        if artifact.id == stuck:
            await asyncio.Event().wait()
        return "VERIFIED"

    async def stands() -> bool:
        return stuck in seen

    async def goes_on() -> bool:
        return managed.id in seen and await gone(registry, "default")

    async with keeping(registry, check, collect_hours=1e-9):
        await until(stands)
        _, managed = await registry.push(FILES)
        await registry.set(managed.id, verification="PENDING")
        await until(goes_on)
