"""Storage is cleared in every workspace in the background, whatever is wrong with one of them."""

from __future__ import annotations

import asyncio

from graph.port import Node
from resolvers.artifacts.common import manifest_name
from resolvers.artifacts.keeping import Keeper
from resolvers.artifacts.uploads import abort_upload
from resolvers.writing.workspaces import create_workspace
from tests.artifacts.conftest import Registry

FILES = {"a.bin": b"first"}


async def _verified(_: Node) -> str:
    return "VERIFIED"


async def test_a_workspace_that_cannot_be_cleared_does_not_keep_others_from_it(registry: Registry) -> None:
    async with registry.operation() as op:
        await create_workspace(op, name="other")
    for workspace in ("default", "other"):
        upload = await registry.begin(
            (await registry.version(f"models:/{workspace}:left")).id, {"b": workspace.encode()}
        )
        await registry.send(upload, {"b": workspace.encode()})
        async with registry.operation() as op:
            await abort_upload(op, address=upload.id)
        _, artifact = await registry.push(FILES, f"models:/{workspace}:bert")
        if workspace == "default":
            await registry.storage.discard(workspace, manifest_name(artifact.props["digest"]))
    keeper = Keeper(
        registry.graph,
        registry.storage,
        _verified,
        by="gc",
        holder="h",
        collect_hours=1e-9,
        grace_hours=1e-9,
        check_hours=0,
    )
    running = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(30):
            while await registry.holds(b"other", "other"):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
    assert await registry.holds(b"default")
