"""Bytes are retained in a bucket with object lock: what is known to be right, and from when all of it was there."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from minio import Minio

from graph.sqlite.store import SqliteGraph
from resolvers.artifacts.uploads import abort_upload, begin_upload, missing
from resolvers.artifacts.verifying import verify_managed
from resolvers.bytes import Bytes
from storage.s3 import S3Storage
from storage.s3_objects import Objects
from storage.s3_options import HOT
from tests.artifacts.conftest import Registry
from tests.minio import MinioServer
from tests.storage.conftest import options_of
from tests.storage.storing import Clock, Store, blob_of, parts_of, some

DAY = 86_400_000_000


@pytest.fixture
async def locked(
    sqlite_graph: SqliteGraph, minio_server: MinioServer, minio_client: Minio, bucket: str
) -> AsyncIterator[Registry]:
    """A registry whose workspace retains what is pushed for a day."""
    name, clock = f"{bucket[:50]}-retaining", Clock()
    minio_client.make_bucket(name, object_lock=True)
    async with S3Storage(options_of(minio_server, name), clock=clock) as storage, httpx.AsyncClient() as http:
        registry = Registry(sqlite_graph, Store(storage, http, clock), Bytes(storage))
        await registry.set_workspace(retentionDays=1)
        yield registry


def retained(registry: Registry, data: bytes) -> float:
    """Until when a blob is retained, in microseconds since the epoch."""
    objects, bucket, key = kept(registry, data)
    return objects.retained(bucket, key) * 1e6


def alter(registry: Registry, data: bytes, other: bytes) -> None:
    """Put other bytes in the place of a blob, as whoever administers the storage can."""
    objects, bucket, key = kept(registry, data)
    objects.put(bucket, key, other)


def kept(registry: Registry, data: bytes) -> tuple[Objects, str, str]:
    """The store's objects, and the bucket and key of a blob among them."""
    storage = registry.storage
    assert isinstance(storage, S3Storage)
    place = storage.options.place("default")
    return storage._objects, place.bucket, place.blob(HOT, blob_of(data).sha256)


def age(folder: Path, id: str, by: int) -> None:
    """Have a node been made, and changed, so many microseconds ago."""
    (database,) = folder.glob("*.db")
    then = time.time_ns() // 1_000 - by
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE node SET created_at = ?, updated_at = ? WHERE id = ?", (then, then, id))


async def test_bytes_are_retained_from_when_they_were_all_there_however_long_ago_their_upload_began(
    locked: Registry, tmp_path: Path
) -> None:
    upload = await locked.begin((await locked.version()).id, {"a": b"hello"})
    age(tmp_path, upload.id, 3 * DAY)
    async with locked.operation() as op:
        await abort_upload(op, address=upload.id)
    upload = await locked.begin((await locked.version()).id, {"a": b"hello"})
    await locked.send(upload, {"a": b"hello"})
    before = time.time_ns() // 1_000
    artifact = await locked.complete(upload)
    assert artifact.props["retainUntil"] >= before + DAY
    assert retained(locked, b"hello") >= before + DAY - 1_000_000


@pytest.mark.usefixtures("small_parts")
async def test_large_bytes_are_retained_once_they_were_read_and_wrong_ones_never(
    locked: Registry, small_parts: int
) -> None:
    right, junk = some(2 * small_parts + 1, "right"), some(2 * small_parts + 1, "junk")
    version = await locked.version("models:/evil")
    told = [{"path": "a", "size": len(right), "sha256": blob_of(right).sha256, "parts": parts_of(junk)}]
    async with locked.operation() as op:
        upload = await begin_upload(op, to=version.id, files=told)  # type: ignore[arg-type]
        for item in (await missing(op, upload, first=9, after=None)).items:
            for send in item.sends:
                assert (await locked.store.put(send, junk)).is_success
    false = await locked.complete(upload)
    assert retained(locked, right) == 0
    assert await verify_managed(locked.graph, locked.storage, false, by="keeper") == "FAILED"
    assert not await locked.holds(right)
    before = time.time_ns() // 1_000
    version, artifact = await locked.push({"a": right})
    assert version.props["state"] == "READY"
    assert await verify_managed(locked.graph, locked.storage, artifact, by="keeper") == "VERIFIED"
    assert retained(locked, right) >= before + DAY - 1_000_000


async def test_bytes_that_went_wrong_while_they_are_retained_make_room_for_the_right_ones(locked: Registry) -> None:
    version, artifact = await locked.push({"a": b"hello"})
    alter(locked, b"hello", b"jello")
    assert await verify_managed(locked.graph, locked.storage, artifact, by="keeper") == "FAILED"
    await locked.push({"a": b"hello"})
    assert (await locked.node(version.id)).props["state"] == "READY"
    assert await locked.store.read("default", blob_of(b"hello").sha256) == b"hello"


async def test_the_right_bytes_that_come_in_the_place_of_wrong_ones_are_retained_as_those_were(
    locked: Registry,
) -> None:
    version, artifact = await locked.push({"a": b"hello"})
    alter(locked, b"hello", b"jello")
    assert await verify_managed(locked.graph, locked.storage, artifact, by="keeper") == "FAILED"
    await locked.set_workspace(retentionDays=None)
    await locked.push({"b": b"hello"}, model="models:/other")
    healed = await locked.node(artifact.id)
    assert await verify_managed(locked.graph, locked.storage, healed, by="keeper") == "VERIFIED"
    assert (await locked.node(version.id)).props["state"] == "READY"
    assert retained(locked, b"hello") >= artifact.props["retainUntil"] - 1_000_000
