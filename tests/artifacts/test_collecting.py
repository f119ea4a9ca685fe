"""What nothing needs is cleared from storage after a while, and nothing else, while uploads go on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from minio import Minio
from minio.commonconfig import GOVERNANCE
from minio.objectlockconfig import DAYS, ObjectLockConfig

from graph.port import Graph, Node
from lineal.errors import PreconditionFailed, Unavailable
from resolvers.artifacts import collecting, sweeping
from resolvers.artifacts.collecting import Collected, collect
from resolvers.artifacts.common import manifest_name, verified_name
from resolvers.artifacts.paths import entry_name
from resolvers.artifacts.quotas import measured, usage
from resolvers.artifacts.uploads import abort_upload
from resolvers.bytes import Bytes
from resolvers.writing.lifecycle import set_stage
from resolvers.writing.models import delete_model
from resolvers.writing.versions import delete_model_version
from resolvers.writing.workspaces import create_workspace, delete_workspace
from storage.local import LocalStorage
from storage.port import Storage, Stored
from storage.s3 import S3Storage
from tests.artifacts.conftest import Registry
from tests.conftest import count
from tests.minio import MinioServer
from tests.storage.conftest import options_of
from tests.storage.storing import BASE, Clock, Store, blob_of, some

FILES = {"a.bin": b"first", "b.bin": b"second"}
LONG = 3_600.0
"""Seconds of grace that no test lives to see the end of."""


async def swept(
    registry: Registry, grace: float = 0.0, *, dry_run: bool = False, workspace: str = "default"
) -> Collected:
    """A collection by somebody who thinks that the grace period is over at once."""
    await asyncio.sleep(0.05)
    return await collect(registry.graph, registry.storage, workspace, by="gc", grace=grace or 0.001, dry_run=dry_run)


async def test_what_a_version_has_stays(registry: Registry) -> None:
    await registry.push(FILES)
    done = await swept(registry)
    assert (done.removed, done.kept) == (0, 2)
    assert await registry.holds(b"first")


async def test_what_an_aborted_upload_left_goes(registry: Registry) -> None:
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    done = await swept(registry)
    assert (done.removed, done.bytes_removed) == (2, 11)
    assert not await registry.holds(b"first")
    assert await registry.storage.get("default", manifest_name(upload.props["digest"])) is None


async def test_what_an_open_upload_sent_stays(registry: Registry) -> None:
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES, most=1)
    assert (await swept(registry)).removed == 0
    assert await registry.send(upload, FILES) == 1


async def test_what_an_upload_counts_on_that_is_begun_again_in_the_midst_of_a_collection_stays(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    monkeypatch.setattr(collecting, "SLACK", 0)
    real = registry.storage.blobs

    async def blobs(workspace: str) -> AsyncIterator[Stored]:
        monkeypatch.setattr(registry.storage, "blobs", real)
        assert await registry.send(await registry.begin(version.id, FILES), FILES) == 0
        async for blob in real(workspace):
            yield blob

    # The collection refuses strangers first, and lists blobs when it has seen what is needed.
    monkeypatch.setattr(registry.storage, "blobs", blobs)
    assert (await swept(registry)).removed == 0
    await registry.complete(await registry.begin(version.id, FILES))
    assert await registry.holds(b"first")


async def test_what_was_spoken_of_before_and_is_pushed_in_the_midst_of_a_collection_stays(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.speak_of(FILES)
    await abandoned(registry)
    monkeypatch.setattr(collecting, "SLACK", 0)
    real, made = registry.storage.blobs, list[Node]()

    async def blobs(workspace: str) -> AsyncIterator[Stored]:
        monkeypatch.setattr(registry.storage, "blobs", real)
        made.append((await registry.push(FILES, model="models:/new"))[0])
        async for blob in real(workspace):
            yield blob

    monkeypatch.setattr(registry.storage, "blobs", blobs)
    assert (await swept(registry)).removed == 0
    assert [version.props["state"] for version in made] == ["READY"]
    assert await registry.holds(b"first")


async def test_what_somebody_else_left_among_documents_and_blobs_stays_and_stops_no_collection(
    registry: Registry,
) -> None:
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    names = ["manifests/README.txt", "verified/notes", "uploads/mine", "inventories/mine/too"]
    for name in names:
        await registry.storage.put("default", name, b"")
    hidden = [f"{place}/.nfs0000000000a1b2c3" for place in ("documents/verified", "documents/manifests", "blobs/ab")]
    for path in hidden:
        leave(registry.storage, path)
    assert (await swept(registry)).removed == 2
    assert [name async for name in registry.storage.documents("default", "") if name in names] == sorted(names)
    assert all(is_left(registry.storage, path) for path in hidden)


def leave(storage: Storage, path: str) -> None:
    """Put a file among those of a workspace, past everything."""
    if isinstance(storage, LocalStorage):
        target = storage.root / "default" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
    else:
        assert isinstance(storage, S3Storage)
        place = storage.options.place("default")
        storage._objects.put(place.bucket, place.prefix + path, b"")


def is_left(storage: Storage, path: str) -> bool:
    """Whether it is still there."""
    if isinstance(storage, LocalStorage):
        return (storage.root / "default" / path).exists()
    assert isinstance(storage, S3Storage)
    place = storage.options.place("default")
    return storage._objects.stat(place.bucket, place.prefix + path) is not None


async def test_what_is_young_stays(registry: Registry) -> None:
    await registry.storage.put("default", "x", b"")
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    done = await swept(registry, grace=LONG)
    assert (done.removed, done.too_young) == (0, 2)


async def test_an_upload_whose_time_is_over_expires_and_its_version_has_failed(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES)
    await registry.set(upload.id, expiresAt=1)
    done = await swept(registry)
    assert (done.expired, done.removed) == (1, 2)
    assert (await registry.node(upload.id)).props["state"] == "EXPIRED"
    assert (await registry.node(version.id)).props["state"] == "FAILED"


async def test_files_of_a_deleted_version_stay_for_the_grace_period_and_go_then(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        await delete_model_version(op, address=version.id)
    first = await swept(registry)
    assert (first.artifacts, first.removed) == (0, 0)
    assert (await registry.node(artifact.id)).props["orphanedAt"]
    second = await swept(registry)
    assert (second.artifacts, second.removed) == (1, 2)
    assert await registry.gone(artifact.id)


async def test_files_that_are_needed_again_are_no_orphans(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        await delete_model_version(op, address=version.id)
    await swept(registry)
    await registry.push(FILES)
    done = await swept(registry)
    assert (done.artifacts, done.removed) == (0, 0)
    assert (await registry.node(artifact.id)).props.get("orphanedAt") is None


async def test_files_that_were_needed_again_meanwhile_stay_for_the_whole_grace_period(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        await delete_model_version(op, address=version.id)
    await swept(registry)
    again, _ = await registry.push(FILES)
    async with registry.operation() as op:
        await delete_model_version(op, address=again.id)
    assert (await swept(registry)).artifacts == 0
    assert not await registry.gone(artifact.id)


async def test_what_two_versions_share_stays_while_one_has_it(registry: Registry) -> None:
    one, _ = await registry.push(FILES)
    await registry.push({"a.bin": b"first", "other": b"third"})
    async with registry.operation() as op:
        await delete_model_version(op, address=one.id)
    await swept(registry)
    assert (await swept(registry)).removed == 1
    assert await registry.holds(b"first")
    assert not await registry.holds(b"second")


async def test_what_is_retained_stays(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    await registry.set(artifact.id, retainUntil=(time.time_ns() // 1_000) + 3_600_000_000)
    async with registry.operation() as op:
        await delete_model_version(op, address=version.id)
    await swept(registry)
    assert (await swept(registry)).artifacts == 0
    assert await registry.holds(b"first")


async def test_a_dry_run_says_what_would_go_and_removes_nothing(registry: Registry) -> None:
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    assert (await swept(registry, dry_run=True)).removed == 2
    assert await registry.holds(b"first")


@pytest.mark.parametrize("seed", range(3))
async def test_a_dry_run_tells_what_a_real_one_right_after_it_does(
    registry: Registry, small_parts: int, seed: int
) -> None:
    """All but parts, which only storage knows, as it drops them."""
    chance = random.Random(seed)

    async def one(number: int) -> None:
        files = {"a": some(number + 1, seed), "shared": b"shared", "big": some(2 * small_parts + 3, number)}
        model = f"models:/m{number}"
        happens = chance.choice(["pushed", "retired", "deleted", "noted", "retained", "aborted", "expired", "open"])
        if happens in {"aborted", "expired", "open"}:
            upload = await registry.begin((await registry.version(model)).id, files)
            await registry.send(upload, files, most=chance.randint(0, 5))
            if happens == "aborted":
                async with registry.operation() as op:
                    await abort_upload(op, address=upload.id)
            elif happens == "expired":
                await registry.set(upload.id, expiresAt=1)
            return
        version, artifact = await registry.push(files, model)
        async with registry.operation() as op:
            if happens == "retired":
                await set_stage(op, version=version.id, stage="Archived")
            elif happens != "pushed":
                await delete_model_version(op, address=version.id)
        if happens in {"noted", "retained"}:
            await registry.set(artifact.id, orphanedAt=1)
        if happens == "retained":
            await registry.set(artifact.id, retainUntil=(time.time_ns() // 1_000) + 3_600_000_000)

    for number in range(12):
        await one(number)
    before = [blob async for blob in registry.storage.blobs("default")]
    for _ in range(2):
        told = await swept(registry, dry_run=True)
        assert [blob async for blob in registry.storage.blobs("default")] == before
        done = await swept(registry)
        assert told == replace(done, parts=None)
        before = [blob async for blob in registry.storage.blobs("default")]


async def test_an_upload_waits_for_a_sweep_that_is_announced(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "WAIT_SECONDS", 0.3)
    version = await registry.version()
    await registry.storage.put("default", "sweeps/0", orjson.dumps(time.time() + 60))
    with pytest.raises(Unavailable, match="cleared up"):
        await registry.begin(version.id, FILES)
    await registry.storage.discard("default", "sweeps/0")
    await registry.begin(version.id, FILES)


async def test_an_announcement_that_nobody_took_back_ends_by_itself(registry: Registry) -> None:
    await registry.storage.put("default", "sweeps/0", orjson.dumps(time.time() - 1))
    await registry.begin((await registry.version()).id, FILES)


@pytest.mark.parametrize("unsure", [True, False])
async def test_an_announcement_stays_where_storage_may_still_remove_what_it_was_asked_to(
    registry: Registry, unsure: bool
) -> None:
    with pytest.raises(Unavailable):
        async with sweeping.sweeping(registry.storage, "default"):
            raise Unavailable("the answer never came", unsure=unsure)
    announced = [name async for name in registry.storage.documents("default", sweeping.SWEEPS)]
    assert len(announced) == unsure


async def test_what_is_pushed_in_the_midst_of_a_collection_stays_where_clocks_differ_by_less_than_90_seconds(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, made = registry.storage.blobs, list[Node]()
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)

    async def meanwhile(workspace: str) -> AsyncIterator[Stored]:
        monkeypatch.undo()
        made.append((await registry.push(FILES, model="models:/new"))[0])
        async for blob in blobs(workspace):
            yield blob

    monkeypatch.setattr(registry.storage, "blobs", meanwhile)
    monkeypatch.setattr(collecting, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 85 * 10**9))
    await swept(registry)
    assert [version.props["state"] for version in made] == ["READY"]
    assert await registry.holds(b"first")


async def test_of_two_collections_at_once_neither_ends_the_announcement_of_the_other(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await abandoned(registry)
    removing, over = asyncio.Event(), asyncio.Event()
    real = registry.storage.remove

    async def remove(workspace: str, digests: Sequence[str], **more: Any) -> set[str]:
        removing.set()
        await over.wait()
        return await real(workspace, digests, **more)

    monkeypatch.setattr(registry.storage, "remove", remove)
    monkeypatch.setattr(sweeping, "WAIT_SECONDS", 1.0)
    slow = asyncio.create_task(swept(registry))
    await removing.wait()
    with pytest.raises(Unavailable, match="another sweep"):
        await swept(registry)
    version = await registry.version("models:/new")
    with pytest.raises(Unavailable, match="cleared up"):
        await registry.begin(version.id, FILES)
    over.set()
    await slow
    upload = await registry.begin(version.id, FILES)
    assert await registry.send(upload, FILES) == 2
    await registry.complete(upload)
    assert await registry.holds(b"first")


async def test_collections_keep_no_push_waiting_where_a_bucket_retains_all_that_is_put_there(
    sqlite_graph: Graph, minio_server: MinioServer, minio_client: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "WAIT_SECONDS", 2.0)
    name = f"{bucket[:50]}-retains"
    minio_client.make_bucket(name, object_lock=True)
    minio_client.set_object_lock_config(name, ObjectLockConfig(GOVERNANCE, 1, DAYS))
    clock = Clock()
    async with S3Storage(options_of(minio_server, name), clock=clock) as storage, httpx.AsyncClient() as http:
        registry = Registry(sqlite_graph, Store(storage, http, clock), Bytes(storage))
        await abandoned(registry)
        for _ in range(2):
            done = await swept(registry)
            assert (done.removed, done.kept) == (0, 2)
            version, _ = await registry.push(FILES)
            assert version.props["state"] == "READY"
            async with registry.operation() as op:
                await delete_model_version(op, address=version.id)


async def test_a_sweep_that_stood_still_until_its_announcement_was_over_removes_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its last look and what it removes, for any length of time, as a process does that is stopped."""
    await abandoned(registry)
    monkeypatch.setattr(sweeping, "WORK_SECONDS", 1.0)
    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", 2.0)
    real, made = registry.storage.remove, list[Node]()

    async def remove(workspace: str, digests: Sequence[str], **more: Any) -> set[str]:
        if digests and not made:
            version = await registry.version("models:/new")
            upload = await registry.begin(version.id, FILES)
            assert await registry.send(upload, FILES) == 0
            await registry.complete(upload)
            made.append(await registry.node(version.id))
        return await real(workspace, digests, **more)

    monkeypatch.setattr(registry.storage, "remove", remove)
    with pytest.raises(Unavailable, match="not removed in time"):
        await swept(registry)
    assert [version.props["state"] for version in made] == ["READY"]
    assert await registry.holds(b"first")
    assert await registry.holds(b"second")


async def abandoned(registry: Registry) -> None:
    """Bytes that nothing needs."""
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)


async def test_documents_of_a_slow_store_go_in_as_many_sweeps_as_it_takes(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(20):
        await registry.storage.put("default", verified_name(f"{i:064x}"), b"")
    await registry.push(FILES)
    monkeypatch.setattr(sweeping, "WORK_SECONDS", 1.0)
    real = registry.storage.written

    async def written(workspace: str, name: str) -> int:
        await asyncio.sleep(0.1)
        return await real(workspace, name)

    monkeypatch.setattr(registry.storage, "written", written)
    await swept(registry)
    assert [name async for name in registry.storage.documents("default", "verified/")] == []


async def test_nothing_goes_where_a_manifest_is_lost(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    upload = await registry.begin((await registry.version()).id, {"c": b"third"})
    await registry.send(upload, {"c": b"third"})
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    await registry.storage.discard("default", manifest_name(artifact.props["digest"]))
    with pytest.raises(PreconditionFailed, match="nothing is removed"):
        await swept(registry)
    assert await registry.holds(b"third")


@pytest.mark.parametrize("problem", ["away", "altered"])
async def test_nothing_goes_where_the_manifest_of_an_open_upload_cannot_be_read(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    # Long ago for the sweep, so that only the first look can see the upload.
    monkeypatch.setattr(collecting, "SLACK", 0)
    upload = await registry.begin((await registry.version()).id, FILES)
    await registry.send(upload, FILES)
    name, real, times = manifest_name(upload.props["digest"]), registry.storage.get, 0

    async def get(workspace: str, wanted: str) -> bytes | None:
        nonlocal times
        if wanted != name or times:
            return await real(workspace, wanted)
        times += 1
        if problem == "altered":
            return b"{}"
        raise Unavailable("the store cannot be reached")

    monkeypatch.setattr(registry.storage, "get", get)
    with pytest.raises((PreconditionFailed, Unavailable)):
        await swept(registry)
    assert await registry.holds(b"first")


async def test_bytes_of_another_graph_are_left_alone(registry: Registry) -> None:
    blob = b"somebody else's"
    sends = await registry.storage.sends("default", blob_of(blob), seconds=60, base=BASE)
    await registry.store.put(sends[0], blob)
    with pytest.raises(PreconditionFailed, match="never sent anything"):
        await swept(registry)
    assert await registry.holds(blob)


async def test_files_of_retired_versions_alone_are_kept_cold_and_come_back(registry: Registry) -> None:
    version, _ = await registry.push(FILES)
    await registry.push({"a.bin": b"first"}, model="models:/other")
    async with registry.operation() as op:
        await set_stage(op, version=version.id, stage="Archived")
    assert (await swept(registry)).chilled == 1
    cold = {blob.size: blob.cold async for blob in registry.storage.blobs("default")}
    assert cold == {len(b"first"): False, len(b"second"): True}
    async with registry.operation() as op:
        await set_stage(op, version=version.id, stage="production")
    assert (await swept(registry)).warmed == 1


async def test_an_artifact_says_whether_all_its_files_are_kept_cold(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    other, _ = await registry.push({"a.bin": b"first"}, model="models:/other")

    async def told_in(stage: str, *versions: Node) -> bool | None:
        async with registry.operation() as op:
            for each in versions:
                await set_stage(op, version=each.id, stage=stage)
        await swept(registry)
        return (await registry.node(artifact.id)).props.get("cold")

    assert await told_in("Archived", version) is None
    assert await told_in("Archived", other) is True
    assert await told_in("production", version) is None


async def test_an_upload_waits_for_one_step_of_a_collection_and_not_for_all(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "BATCH", 1)
    monkeypatch.setattr(collecting, "REST_AFTER_SECONDS", 0.0)
    await registry.push(FILES)
    version = await registry.version()
    for size in range(1, 9):
        await registry.store.upload("default", some(size))
    began = asyncio.Event()
    remove = registry.storage.remove

    async def removed(*args: Any, **kwargs: Any) -> set[str]:
        began.set()
        return await remove(*args, **kwargs)

    monkeypatch.setattr(registry.storage, "remove", removed)
    collection = asyncio.create_task(swept(registry))
    await began.wait()
    await registry.begin(version.id, {"x": b"of a push"})
    assert not collection.done()
    assert (await collection).removed == 8


async def test_parts_of_an_open_upload_stay_and_those_of_one_that_was_given_up_go(
    registry: Registry, small_parts: int
) -> None:
    files = {"big.bin": some(2 * small_parts + 3)}
    upload = await registry.begin((await registry.version()).id, files)
    assert await registry.send(upload, files, most=1) == 1
    assert (await swept(registry)).parts == 0
    assert await registry.send(upload, files, most=1) == 1
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    assert (await swept(registry)).parts == 1
    assert await registry.send(await registry.begin((await registry.version()).id, files), files) == 3


async def deleted(registry: Registry, name: str = "team") -> float:
    """A workspace that is deleted, and had files of a version, of an open upload and at a path.

    When it was there still and had all of them, in seconds since the epoch.
    """
    async with registry.operation() as op:
        await create_workspace(op, name=name)
    version, _ = await registry.push(FILES, f"models:/{name}:bert")
    other = await registry.version(f"models:/{name}:bert")
    await registry.send(await registry.begin(other.id, {"c": b"third"}), {"c": b"third"})
    await registry.storage.put(name, entry_name("a/b", blob_of(b"first")), b"")
    await asyncio.sleep(0.1)
    moment = time.time()
    await asyncio.sleep(0.5)
    async with registry.operation() as op:
        for each in (version, other):
            await delete_model_version(op, address=each.id)
        await delete_model(op, address=f"models:/{name}:bert")
        await delete_workspace(op, workspace=name)
    while await registry.graph.sequence():
        pass
    return moment


async def test_all_that_a_deleted_workspace_kept_goes_after_the_grace_period(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deleted(registry)
    young = await swept(registry, LONG, workspace="team")
    assert (young.removed, young.documents, young.too_young) == (0, 0, 3)
    told = await swept(registry, dry_run=True, workspace="team")
    done = await swept(registry, workspace="team")
    assert (done.removed, done.kept, done.bytes_removed) == (3, 0, 16)
    assert told == replace(done, parts=None)
    # Somebody may send something for another hour.
    assert [name async for name in registry.storage.documents("team", "")] == ["owner", "usage"]
    monkeypatch.setattr(collecting, "SEND_SECONDS", 0)
    monkeypatch.setattr(collecting, "SLACK", 0)
    await swept(registry, workspace="team")
    assert [name async for name in registry.storage.documents("team", "")] == []
    assert await swept(registry, workspace="team") == Collected()
    assert [name async for name in registry.storage.documents("team", "")] == []


async def test_what_a_deleted_workspace_kept_was_needed_until_then(registry: Registry) -> None:
    moment = await deleted(registry)
    done = await collect(registry.graph, registry.storage, "team", by="gc", grace=time.time() - moment - 0.1)
    assert (done.removed, done.too_young, done.documents) == (0, 3, 0)


async def test_what_is_retained_stays_when_its_workspace_is_deleted(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deleted(registry)
    monkeypatch.setattr(collecting, "SEND_SECONDS", 0)
    monkeypatch.setattr(collecting, "SLACK", 0)
    real = registry.storage.remove

    async def remove(_: str, digests: Sequence[str], **__: Any) -> set[str]:
        return set(digests)

    monkeypatch.setattr(registry.storage, "remove", remove)
    done = await swept(registry, workspace="team")
    assert (done.removed, done.kept) == (0, 3)
    assert await registry.holds(b"first", "team")
    monkeypatch.setattr(registry.storage, "remove", real)
    assert (await swept(registry, workspace="team")).removed == 3
    assert [name async for name in registry.storage.documents("team", "")] == []


async def test_usage_counts_what_is_kept(registry: Registry) -> None:
    await registry.push(FILES)
    await registry.set_workspace(quotaBytes=1_000)
    found = await measured(registry.graph, registry.storage, "default")
    assert found == {"workspace": "default", "blobs": 2, "bytes": 11, "quotaBytes": 1_000}
    assert (await usage(registry.storage, "default")).size == 11


async def test_pushes_and_collections_at_once_lose_nothing_that_is_needed(registry: Registry) -> None:
    """Blobs are shared, dropped and needed again all the time, and the grace period is over at once."""
    chance = random.Random(7)
    pool = [some(50 + i, seed=i) for i in range(12)]
    over = asyncio.Event()

    async def pusher(number: int) -> None:
        for _ in range(count(6, 100)):
            files = {f"{i}": data for i, data in enumerate(chance.sample(pool, 2))}
            version, artifact = await push_patiently(registry, files, f"models:/m{number}")
            for data in files.values():
                assert await registry.holds(data), artifact
            async with registry.operation() as op:
                await delete_model_version(op, address=version.id)

    async def collector() -> None:
        while not over.is_set():
            await swept(registry)

    await registry.push({"first": b"of all"})
    async with asyncio.TaskGroup() as group:
        group.create_task(collector())
        await asyncio.gather(*(pusher(number) for number in range(3)))
        over.set()
    await swept(registry)
    await swept(registry)
    assert [blob.size async for blob in registry.storage.blobs("default")] == [len(b"of all")]


async def push_patiently(registry: Registry, files: dict[str, bytes], model: str) -> tuple[Node, Node]:
    """As a client does it: what was cleared away before the upload began is sent again."""
    version = await registry.version(model)
    upload = await registry.begin(version.id, files)
    while True:
        await registry.send(upload, files)
        try:
            return version, await registry.complete(upload)
        except PreconditionFailed:
            continue
