"""Exports that are fetched are kept in either storage for as long as an address opens them, and then cleared."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from graph.port import Direction, Graph
from lineal.cli import app
from resolvers.artifacts.downloads import LINK_SECONDS
from resolvers.bytes import Bytes
from resolvers.exporting import linking
from resolvers.exporting.exporting import Exported, export, format_of
from resolvers.exporting.linking import AREA, clear_exports, link
from resolvers.operation import Operation
from resolvers.reading import lineage
from storage.local import LocalStorage
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.storage.storing import BASE, Store

TUNED = "models:/tuned/1"


async def _linked(graph: Graph, store: Store) -> tuple[Exported, str]:
    """An export, and an address that opens it."""
    async with Operation(graph, bytes=Bytes(store.storage), base=BASE) as op:
        found = await lineage(op, [TUNED], direction=Direction.UPSTREAM)
        made = await export(op, found, format_of("dot"), direction=Direction.UPSTREAM)
        return made, await link(op, made)


async def _later() -> None:
    """Storage tells when something was put there by the second."""
    await asyncio.sleep(1.1)


async def test_an_export_is_fetched_whole_and_cleared_once_it_is_old(
    family: Graph, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, url = await _linked(family, store)
    answer = await store.http.get(url)
    assert answer.content == made.data
    assert 'filename="lineage.dot"' in answer.headers["content-disposition"]
    assert (await clear_exports(store.storage)).too_young == 1
    monkeypatch.setattr(linking, "KEPT_SECONDS", 0)
    await _later()
    would = await clear_exports(store.storage, dry_run=True)
    assert (would.removed, (await store.http.get(url)).status_code) == (1, 200)
    done = await clear_exports(store.storage)
    assert (done.removed, done.bytes_removed, done.too_young) == (1, len(made.data), 0)
    assert (await store.http.get(url)).status_code == 404
    assert (await clear_exports(store.storage)).removed == 0


async def test_the_same_export_again_begins_its_time_anew(
    family: Graph, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = await _linked(family, store)
    first = await store.storage.find(AREA, made.sha256)
    await _later()
    await _linked(family, store)
    assert await store.storage.find(AREA, made.sha256) == first
    # As if it had lain there until an address would outlive it.
    monkeypatch.setattr(linking, "KEPT_SECONDS", LINK_SECONDS)
    _, url = await _linked(family, store)
    again = await store.storage.find(AREA, made.sha256)
    assert first is not None
    assert again is not None
    assert again.modified > first.modified
    assert (await store.http.get(url)).content == made.data


async def test_the_command_that_clears_storage_clears_exports(
    family: Graph, store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = await _linked(family, store)
    monkeypatch.setattr(linking, "KEPT_SECONDS", 0)
    await _later()
    environment = _environment(store, request)
    would = await _gc(environment, "--dry-run")
    assert (would[AREA]["removed"], (await store.http.get(url)).status_code) == (1, 200)
    assert AREA not in await _gc(environment, "--workspace", "default")
    assert (await _gc(environment))[AREA]["removed"] == 1
    assert (await store.http.get(url)).status_code == 404
    assert AREA not in await _gc(environment)


async def _gc(environment: dict[str, str], *options: str) -> Any:
    """What `lineal artifacts gc` tells programs."""
    command = ["artifacts", "gc", "--format", "json", *options]
    done = await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def _environment(store: Store, request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of the command: the same graph, and the same storage."""
    home = request.getfixturevalue("tmp_path")
    graph = {"LINEAL_GRAPH": f"sqlite:///{home / 'lineal.db'}", "LINEAL_KEYS": str(home / "keys")}
    if isinstance(store.storage, LocalStorage):
        return graph | {"LINEAL_STORAGE": str(store.storage.root)}
    server: MinioServer = request.getfixturevalue("minio_server")
    given = {"endpoint": server.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    bucket = request.getfixturevalue("bucket")
    return graph | {"LINEAL_STORAGE": f"s3://{bucket}/lineal", "LINEAL_S3": json.dumps(given)}
