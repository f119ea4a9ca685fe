"""A registry to back up, and places to bring backups back to."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from auth.keyring import AUDIT, Keyring
from graph.aside import aside_lines
from graph.port import Graph
from graph.sqlite.store import SqliteGraph
from graph.transfer import export_lines
from lineal.auditing import Checkpointer
from resolvers.backup.folder import Backup
from resolvers.backup.taking import Taken, take
from storage.local import LocalStorage
from storage.port import Storage
from tests.artifacts.conftest import Registry, bucket, local, minio_client, minio_server, registry, s3, small_parts
from tests.storage.storing import SECRET

__all__ = ["bucket", "local", "minio_client", "minio_server", "registry", "s3", "small_parts"]


@dataclass
class Place:
    """A store and a storage of their own."""

    graph: Graph
    storage: Storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go."""
    return tmp_path / "backups"


@asynccontextmanager
async def empty(home: Path) -> AsyncIterator[Place]:
    """A migrated, empty SQLite store, and an empty folder of bytes."""
    async with SqliteGraph(home / "restored.db") as graph, LocalStorage(home / "bytes", SECRET) as storage:
        await graph.migrate()
        yield Place(graph, storage)


async def backed_up(registry: Registry, folder: Path, keep: int | None = None) -> Taken:
    """A backup of a registry."""
    return await take(registry.graph, registry.storage, folder, told={"lineal": "test"}, keep=keep)


async def sealed(graph: Graph, home: Path) -> None:
    """A checkpoint of all that is there."""
    while await graph.sequence():
        pass
    assert await Checkpointer(graph, Keyring(home / "keys").ed25519(AUDIT), "test").checkpoint()


async def content(graph: Graph) -> tuple[str, str]:
    """The digests of the graph as an export has it, and of what the store has beside it."""
    async with graph.snapshot() as snapshot:
        digests = [hashlib.sha256(), hashlib.sha256()]
        async for line in export_lines(snapshot):
            digests[0].update(line)
        async for line in aside_lines(snapshot):
            digests[1].update(line)
    return digests[0].hexdigest(), digests[1].hexdigest()


def told_content(backup: Backup) -> tuple[str, str]:
    """What a backup says that `content` is."""
    parts = backup.told["parts"]
    return parts["graph.jsonl"]["sha256"], parts["aside.jsonl"]["sha256"]
