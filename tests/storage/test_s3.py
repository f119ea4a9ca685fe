"""What only the store in S3 does, on real MinIO servers."""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import json
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from minio import Minio, S3Error
from minio.commonconfig import ENABLED, GOVERNANCE
from minio.credentials.providers import AssumeRoleProvider
from minio.helpers import MIN_PART_SIZE
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.versioningconfig import VersioningConfig

from lineal.errors import InvalidArgument, LinealError, PreconditionFailed, Unavailable
from storage.port import CHUNK, Blob, Send
from storage.s3 import S3Storage
from storage.s3_addresses import ALGORITHM, COPIED, PLAIN, UNSIGNED
from storage.s3_objects import TAKEN
from storage.s3_options import HOT, S3Options
from storage.sigv4 import IMPOSSIBLE
from tests.conftest import count
from tests.minio import ACCESS_KEY, KMS_KEY, SECRET_KEY, MinioServer
from tests.services import free_port
from tests.storage.conftest import client_of, options_of
from tests.storage.storing import MIB, Clock, Store, blob_of, flipped, listed, parts_of, sha256, some


@asynccontextmanager
async def opened(options: S3Options, http: httpx.AsyncClient | None = None) -> AsyncIterator[Store]:
    """A store with these options."""
    clock = Clock()
    async with S3Storage(options, clock=clock) as storage, http or httpx.AsyncClient() as client:
        yield Store(storage, client, clock)


def keys(client: Minio, bucket: str) -> list[str]:
    """Every key in a bucket."""
    return [str(item.object_name) for item in client.list_objects(bucket, recursive=True)]


def versions(client: Minio, bucket: str) -> list[str]:
    """The keys of every version and marker in a bucket."""
    return [str(item.object_name) for item in client.list_objects(bucket, recursive=True, include_version=True)]


# ── Settings ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"endpoint": "127.0.0.1:9000"}, "endpoint"),
        ({"endpoint": "ftp://x"}, "endpoint"),
        ({"endpoint": "https://user:secret@host"}, "endpoint"),
        ({"endpoint": "https://host/path"}, "endpoint"),
        ({"public_endpoint": "x"}, "public_endpoint"),
        ({"sts_endpoint": "x"}, "sts_endpoint"),
        ({"access_key": "a"}, "secret_key"),
        ({"ca": Path("/nowhere/ca.crt")}, "ca"),
        ({"encryption": "aws:kms"}, "kms_key"),
        ({"kms_key": "k"}, "kms_key"),
        ({"workspaces": {"a": "bucket"}}, "workspaces"),
        ({"workspaces": {"a": "bucket/x"}}, "workspaces"),
        ({"workspaces": {"a": "other/x", "b": "other/x/y"}}, "workspaces"),
        ({"workspaces": {"a": "other/x", "b": "other/x"}}, "workspaces"),
        ({"prefix": "p", "workspaces": {"a": "bucket/p/q"}}, "workspaces"),
        ({"prefix": "a/../b"}, None),
        ({"workspaces": {"a": "/x"}}, None),
    ],
)
def test_a_setting_that_is_wrong_is_named(wrong: dict[str, object], field: str | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        S3Options(**{"endpoint": "https://host", "bucket": "bucket", **wrong})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_secrets_do_not_show() -> None:
    options = S3Options("https://host", "bucket", access_key="a", secret_key="hush", session_token="hush")
    assert "hush" not in repr(options)
    assert S3Storage(options).name == "s3://bucket"


async def test_a_bucket_that_is_not_there_is_refused(minio_server: MinioServer) -> None:
    storage = S3Storage(options_of(minio_server, "no-such-bucket"))
    with pytest.raises(InvalidArgument, match="no-such-bucket"):
        await storage.open()
    await storage.close()


async def test_a_store_that_knows_another_secret_is_unavailable_and_nothing_is_told(
    minio_server: MinioServer, bucket: str
) -> None:
    storage = S3Storage(options_of(minio_server, bucket, secret_key="the wrong secret"))
    with pytest.raises(Unavailable) as caught:
        await storage.open()
    assert "the wrong secret" not in str(caught.value)
    await storage.close()


async def test_opening_leaves_nothing_behind(s3: Store, minio_client: Minio, bucket: str) -> None:
    assert keys(minio_client, bucket) == []
    assert minio_client._list_multipart_uploads(bucket).uploads == []


# ── Places ────────────────────────────────────────────────────────────────────────────────────────


async def test_keys_are_below_prefix_and_workspace(s3: Store, minio_client: Minio, bucket: str) -> None:
    cold, hot = await s3.upload("vision", some(10, 1)), await s3.upload("Vision", some(10, 2))
    await s3.storage.chill("vision", [cold.sha256])
    await s3.storage.put("vision", "manifests/1", b"")
    assert keys(minio_client, bucket) == [
        f"lineal/%56ision/blobs/{hot.sha256[:2]}/{hot.sha256}",
        f"lineal/vision/cold/{cold.sha256[:2]}/{cold.sha256}",
        "lineal/vision/documents/manifests/1",
    ]


async def test_a_workspace_has_a_bucket_and_a_prefix_of_its_own(
    minio_server: MinioServer, minio_client: Minio, bucket: str
) -> None:
    other = f"{bucket}-2"[:63]
    minio_client.make_bucket(other)
    places = {"vision": f"{other}/deep/er", "speech": f"{other}/speech/"}
    async with opened(options_of(minio_server, bucket, workspaces=places)) as store:
        data = some(10)
        for workspace in "vision", "speech", "deep":
            blob = await store.upload(workspace, data)
            await store.storage.put(workspace, "name", workspace.encode())
            assert (await store.http.get(await store.link(workspace, blob.sha256))).content == data
        path = f"blobs/{blob.sha256[:2]}/{blob.sha256}"
        assert keys(minio_client, bucket) == [f"deep/{path}", "deep/documents/name"]
        assert keys(minio_client, other) == [
            *(f"deep/er/{path}", "deep/er/documents/name"),
            *(f"speech/{path}", "speech/documents/name"),
        ]


# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────


async def test_without_its_checksum_nothing_can_be_sent(s3: Store) -> None:
    data = some(1000)
    (send,) = await s3.sends("vision", data)
    for headers in {}, {"content-length": "1000"}, {**send.headers, "x-amz-checksum-sha256": ""}:
        answer = await s3.http.put(send.url, content=flipped(data, 1), headers=headers)
        assert answer.status_code in {400, 403}
    # Nor with the checksum of other bytes, for it is signed.
    (other,) = await s3.sends("vision", flipped(data, 1))
    answer = await s3.http.put(send.url, content=flipped(data, 1), headers=dict(other.headers))
    assert answer.status_code == 403
    assert not await s3.has("vision", blob_of(data))


async def test_clients_are_sent_to_the_public_endpoint(minio_server: MinioServer, bucket: str) -> None:
    public = f"http://localhost:{minio_server.port}"
    async with opened(options_of(minio_server, bucket, public_endpoint=public)) as store:
        data = some(1000)
        (send,) = await store.sends("vision", data)
        assert send.url.startswith(f"{public}/{bucket}/vision/")
        assert (await store.put(send, data)).is_success
        link = await store.link("vision", sha256(data))
        assert link.startswith(f"{public}/{bucket}/vision/")
        assert (await store.http.get(link)).content == data
        # The host is signed: by its other name the address opens nothing.
        assert (await store.http.get(link.replace("localhost", "127.0.0.1"))).status_code == 403


async def test_the_bucket_is_part_of_the_host_where_it_is_told(minio_server: MinioServer, bucket: str) -> None:
    public = f"http://localhost:{minio_server.port}"
    options = options_of(minio_server, bucket, public_endpoint=public)
    virtual = S3Storage(S3Options(**{**vars(options), "virtual_host": True}))
    async with opened(options) as store:
        blob = await store.upload("vision", some(1000))
        # Opened with paths, for no resolver here knows the names below localhost.
        virtual._objects = store.storage._objects  # type: ignore[attr-defined]
        link = await virtual.link("vision", blob.sha256, filename="x", seconds=60)
        host = f"{bucket}.localhost:{minio_server.port}"
        assert link.startswith(f"http://{host}/vision/blobs/")
        at = link.replace(host, f"127.0.0.1:{minio_server.port}")
        assert (await store.http.get(at, headers={"host": host})).content == some(1000)
        await virtual.close()


def test_aws_has_the_bucket_in_its_host_and_the_region_beside_it() -> None:
    options = S3Options("https://s3.eu-central-1.amazonaws.com", "models", region="eu-central-1")
    build = options.addresses().build
    url = build(method="GET", region="eu-central-1", bucket_name="models", object_name="a/b").geturl()
    assert url == "https://models.s3.eu-central-1.amazonaws.com/a/b"


# ── Encryption ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encryption", [{"encryption": "AES256"}, {"encryption": "aws:kms", "kms_key": KMS_KEY}])
async def test_everything_is_encrypted_as_it_is_told(
    minio_server: MinioServer, minio_client: Minio, bucket: str, small_parts: int, encryption: dict[str, str]
) -> None:
    async with opened(options_of(minio_server, bucket, **encryption)) as store:
        whole, parts, data = some(1000), some(2 * small_parts + 1), some(10)
        for each in whole, parts, data:
            await store.upload("vision", each)
            assert await store.read("vision", sha256(each)) == each
        await store.storage.chill("vision", [sha256(data)])
        await store.storage.put("vision", "name", b"document")
        assert await store.storage.get("vision", "name") == b"document"
        (send,) = await store.sends("vision", some(3))
        plain = {name: value for name, value in send.headers.items() if "encryption" not in name}
        assert (await store.http.put(send.url, content=some(3), headers=plain)).status_code in {400, 403}
        found = keys(minio_client, bucket)
        assert len(found) == 4
        for key in found:
            headers = minio_client.stat_object(bucket, key).metadata
            assert headers is not None
            assert headers["x-amz-server-side-encryption"] == encryption["encryption"]
            assert headers.get("x-amz-server-side-encryption-aws-kms-key-id", "").endswith(
                encryption.get("kms_key", "")
            )


async def test_a_key_that_the_store_does_not_have_is_found_when_it_is_opened(
    minio_server: MinioServer, bucket: str
) -> None:
    storage = S3Storage(options_of(minio_server, bucket, encryption="aws:kms", kms_key="no-such-key"))
    with pytest.raises(Unavailable):
        await storage.open()
    await storage.close()


# ── What whoever has an address may add to it ──────────────────────────────────────────────────────


async def test_nothing_that_is_elsewhere_is_copied_in_the_place_of_what_an_address_is_for(
    s3: Store, minio_client: Minio, bucket: str, small_parts: int
) -> None:
    other = "payroll-" + bucket
    minio_client.make_bucket(other)
    minio_client.put_object(other, "2026.csv", io.BytesIO(some(1000)), 1000)
    secret = await s3.upload("secret", some(1000))
    sources = [f"/{other}/2026.csv", f"/{bucket}/lineal/secret/blobs/{secret.sha256[:2]}/{secret.sha256}"]
    sends = [*await s3.sends("vision", some(1000, "mine")), *await s3.sends("vision", some(2 * small_parts, "mine"))]
    for send, source in itertools.product(sends, sources):
        answer = await s3.http.put(send.url, headers={**send.headers, COPIED: source}, content=b"0" * send.size)
        assert answer.status_code == 403, answer.text
    assert not await s3.has("vision", blob_of(some(1000, "mine")))


@pytest.mark.parametrize("name", [*UNSIGNED, *PLAIN])
async def test_nothing_is_sent_with_a_header_that_changes_what_is_kept(s3: Store, small_parts: int, name: str) -> None:
    whole, parts = some(1000), some(2 * small_parts)
    sends = [(send, whole) for send in await s3.sends("vision", whole)]
    if name in UNSIGNED:  # parts have nothing of their own that is kept with them
        sends += [(send, parts) for send in await s3.sends("vision", parts)]
    for send, data in sends:
        for value in ("", "1", "true", "gzip", IMPOSSIBLE):
            if value != send.headers.get(name):
                assert await is_refused(s3, send, data, {name: value})
        assert (await s3.put(send, data)).is_success
    assert await s3.read("vision", sha256(whole)) == whole


async def is_refused(store: Store, send: Send, data: bytes, more: dict[str, str]) -> bool:
    """Whether the store takes no request with these headers."""
    async with httpx.AsyncClient() as http:
        try:
            content = data[send.start :][: send.size]
            answer = await http.put(send.url, headers={**send.headers, **more}, content=content)
        except httpx.TransportError:
            return True  # it hung up before it had read what was sent
    return answer.status_code in {400, 403}


async def test_wrong_bytes_are_refused_whichever_checksum_the_store_is_told_to_look_at(s3: Store) -> None:
    right, wrong = some(1000), some(1000, "wrong")
    (send,) = await s3.sends("vision", right)
    for more in ({}, {ALGORITHM: "CRC32"}, {ALGORITHM: ""}, {"x-amz-checksum-crc32": "AAAAAA=="}):
        answer = await s3.http.put(send.url, headers={**send.headers, **more}, content=wrong)
        assert answer.status_code in {400, 403}, answer.text
    assert not await s3.has("vision", blob_of(right))


async def test_what_others_put_among_blobs_hides_none_of_them(
    s3: Store, minio_client: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.s3.PAGE", 8)
    monkeypatch.setattr("storage.s3.LIST_FROM", 1)
    blobs = [await s3.upload("vision", some(10, str(i))) for i in range(40)]
    for folder in sorted({blob.sha256[:2] for blob in blobs}):
        minio_client.put_object(bucket, f"lineal/vision/blobs/{folder}/notes.txt", io.BytesIO(b"notes"), 5)
    assert await s3.storage.present("vision", blobs) == {blob.sha256 for blob in blobs}


async def test_an_address_changes_nothing_of_what_is_there_by_then(s3: Store, minio_client: Minio, bucket: str) -> None:
    minio_client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    data = some(1000)
    (send,) = await s3.sends("vision", data)
    assert [(await s3.put(send, data)).status_code for _ in range(3)] == [200, 412, 412]
    assert len(versions(minio_client, bucket)) == 1


async def test_what_is_kept_is_read_as_it_is_whatever_is_said_of_how_it_is_encoded(
    s3: Store, minio_client: Minio, bucket: str
) -> None:
    data = gzip.compress(some(3 * CHUNK), compresslevel=0)
    key = f"lineal/vision/blobs/{sha256(data)[:2]}/{sha256(data)}"
    encoded: dict[str, Any] = {"Content-Encoding": "gzip"}
    minio_client.put_object(bucket, key, io.BytesIO(data), len(data), metadata=encoded)
    minio_client.put_object(bucket, "lineal/vision/documents/name", io.BytesIO(data), len(data), metadata=encoded)
    assert await s3.read("vision", sha256(data)) == data
    assert b"".join([chunk async for chunk in s3.storage.read("vision", sha256(data), 10, 100)]) == data[10:110]
    assert await s3.storage.get("vision", "name") == data


async def test_a_store_that_cannot_be_kept_from_what_nobody_signed_is_refused_when_it_is_opened(
    minio_server: MinioServer, minio_client: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.s3.UNSIGNED", ())
    storage = S3Storage(options_of(minio_server, bucket))
    with pytest.raises(InvalidArgument, match="takes headers that were not signed"):
        await storage.open()
    await storage.close()
    assert keys(minio_client, bucket) == []


async def test_what_is_sent_is_locked_only_until_its_address_is_over(
    minio_server: MinioServer, minio_client: Minio
) -> None:
    minio_client.make_bucket("sent-locked", object_lock=True)
    async with opened(options_of(minio_server, "sent-locked")) as store:
        (send,) = await store.sends("vision", some(1000), seconds=60)
        for more in (
            {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"},
            {"x-amz-object-lock-legal-hold": "ON"},
        ):
            answer = await store.http.put(send.url, content=some(1000), headers={**send.headers, **more})
            assert answer.status_code == 403, answer.text
        assert (await store.put(send, some(1000))).is_success
        (key,) = keys(minio_client, "sent-locked")
        kept = minio_client.get_object_retention("sent-locked", key)
        assert kept is not None
        assert (kept.retain_until_date - datetime.now(UTC)).total_seconds() < 180


async def test_what_is_there_is_never_put_together_anew_as_something_of_another_size(
    s3: Store, small_parts: int
) -> None:
    data = some(1000)
    junk = some(2 * small_parts + 1, "junk")
    false = Blob(sha256(data), len(junk))
    sends = await s3.storage.sends("vision", false, parts_of(junk), seconds=60)
    for send in sends:
        assert (await s3.put(send, junk)).is_success
    await s3.upload("vision", data)
    with pytest.raises(PreconditionFailed, match="is there with 1,000 bytes"):
        await s3.storage.seal("vision", false)
    with pytest.raises(PreconditionFailed, match="is there with 1,000 bytes"):
        await s3.storage.sends("vision", false, parts_of(junk), seconds=60)
    # Not even where somebody looked before it was there.
    assert isinstance(s3.storage, S3Storage)
    objects, place = s3.storage._objects, s3.storage.options.place("vision")
    key = place.blob(HOT, sha256(data))
    id = str(objects.uploads(place.bucket, key)[0].upload_id)
    with pytest.raises(S3Error) as raised:
        objects.complete(place.bucket, key, id, objects.parts(place.bucket, key, id))
    assert raised.value.code == TAKEN
    assert await s3.read("vision", sha256(data)) == data


# ── Versions and locks ────────────────────────────────────────────────────────────────────────────


async def test_in_a_bucket_with_versions_what_is_removed_frees_its_bytes(
    s3: Store, minio_client: Minio, bucket: str, small_parts: int
) -> None:
    minio_client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    data, other, parts = some(1000), some(1000, "other"), some(2 * small_parts)
    key = f"lineal/vision/blobs/{sha256(data)[:2]}/{sha256(data)}"
    for _ in range(3):
        minio_client.put_object(bucket, key, io.BytesIO(data), len(data))
    await s3.upload("vision", other)
    await s3.upload("vision", parts)
    await s3.storage.chill("vision", [sha256(other)])
    await s3.storage.put("vision", "name", b"1")
    await s3.storage.put("vision", "name", b"2")
    # Somebody removed it by hand, and it came again.
    minio_client.remove_object(bucket, key)
    await s3.upload("vision", data)
    assert len([stored async for stored in s3.storage.blobs("vision")]) == 3
    assert await s3.storage.remove("vision", [sha256(data), sha256(other), sha256(parts)]) == set()
    await s3.storage.discard("vision", "name")
    assert versions(minio_client, bucket) == []


@pytest.mark.parametrize("versioned", [False, True])
async def test_the_store_itself_refuses_what_is_removed_too_late(
    s3: Store, minio_client: Minio, bucket: str, versioned: bool
) -> None:
    """As by a process that stood still after it had looked at the time."""
    if versioned:
        minio_client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    blob = await s3.upload("vision", some(10))
    s3.clock.offset = -3_600
    with pytest.raises(Unavailable, match="AccessDenied"):
        await s3.storage.remove("vision", [blob.sha256], until=time.time() - 2)
    assert await s3.has("vision", blob)
    s3.clock.offset = 0
    assert await s3.storage.remove("vision", [blob.sha256], until=time.time() + 60) == set()
    assert versions(minio_client, bucket) == []


BRIEF = 2
"""Seconds: what is sent to a bucket with object lock cannot be removed while its address is good."""


@pytest.fixture
def locking(minio_client: Minio, bucket: str) -> str:
    """A bucket with object lock."""
    name = f"{bucket[:50]}-locked"
    minio_client.make_bucket(name, object_lock=True)
    return name


async def test_nothing_is_on_its_way_any_more_when_a_removal_has_failed(
    s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(s3.storage, S3Storage)
    begun, ended = list[str](), list[str]()

    def slow(bucket: str, key: str, until: float, *, versioned: bool) -> bool:
        begun.append(key)
        if len(begun) == 1:
            raise OSError("connection reset")
        time.sleep(0.3)
        ended.append(key)
        return True

    monkeypatch.setattr(s3.storage._objects, "remove_until", slow)
    digests = [blob_of(some(10, i)).sha256 for i in range(3)]
    with pytest.raises(Unavailable, match="cannot be reached") as error:
        await s3.storage.remove("default", digests, until=time.time() + 30)
    assert error.value.details["unsure"]
    count = len(begun)
    assert len(ended) == count - 1
    await asyncio.sleep(0.5)
    assert len(begun) == count


async def test_what_is_retained_cannot_be_removed_and_the_rest_can(
    minio_server: MinioServer, minio_client: Minio, locking: str
) -> None:
    async with opened(options_of(minio_server, locking)) as store:
        kept, gone = [await store.upload("vision", some(10, i), seconds=BRIEF) for i in range(2)]
        until = (int(time.time()) + 3600) * 1_000_000
        await asyncio.sleep(BRIEF)
        await store.storage.retain("vision", [kept.sha256], until)
        assert await store.storage.remove("vision", [kept.sha256], until=time.time() + 60) == {kept.sha256}
        assert await store.storage.remove("vision", [kept.sha256, gone.sha256]) == {kept.sha256}
        assert await store.has("vision", kept)
        assert not await store.has("vision", gone)
        assert len(versions(minio_client, locking)) == 1
        await store.storage.chill("vision", [kept.sha256])
        assert [stored.cold for stored in await listed(store.storage.blobs("vision"))] == [False]


@pytest.mark.parametrize("seconds", [None, 60.0])
async def test_a_document_that_a_lock_keeps_is_not_there_any_more_once_it_is_discarded(
    minio_server: MinioServer, minio_client: Minio, locking: str, seconds: float | None
) -> None:
    minio_client.set_object_lock_config(locking, ObjectLockConfig(GOVERNANCE, 1, DAYS))
    async with opened(options_of(minio_server, locking)) as store:
        storage = store.storage
        for data in (b"first", b"second"):
            await storage.put("vision", "notes/a", data)
            with pytest.raises(Unavailable):
                await storage.discard("vision", "notes/a", until=time.time() - 2)
            assert await storage.get("vision", "notes/a") == data
            await storage.discard("vision", "notes/a", until=seconds and time.time() + seconds)
            assert await storage.get("vision", "notes/a") is None
            assert await storage.written("vision", "notes/a") == 0
            assert await listed(storage.documents("vision", "notes/")) == []


async def test_what_was_retained_can_be_removed_afterwards(minio_server: MinioServer, locking: str) -> None:
    async with opened(options_of(minio_server, locking)) as store:
        blob = await store.upload("vision", some(10), seconds=BRIEF)
        until = time.time() + BRIEF + 2
        await store.storage.retain("vision", [blob.sha256], int(until * 1_000_000))
        assert await store.storage.remove("vision", [blob.sha256]) == {blob.sha256}
        await asyncio.sleep(max(0.0, until + 1.5 - time.time()))
        assert await store.storage.remove("vision", [blob.sha256]) == set()
        assert not await store.has("vision", blob)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
async def test_what_is_retained_for_longer_stays_so(
    minio_server: MinioServer, minio_client: Minio, locking: str, mode: str
) -> None:
    async with opened(options_of(minio_server, locking, lock=mode)) as store:
        blob, now = await store.upload("vision", some(10)), int(time.time())
        key = f"vision/blobs/{blob.sha256[:2]}/{blob.sha256}"
        for until in (now + 7_200, now + 3_600, now + 10_800):
            await store.storage.retain("vision", [blob.sha256], until * 1_000_000)
            kept = minio_client.get_object_retention(locking, key)
            assert kept is not None
            assert kept.retain_until_date.timestamp() == max(until, now + 7_200)


async def test_a_retention_that_the_store_refuses_is_not_taken_for_a_bucket_without_locks(
    minio_server: MinioServer, locking: str
) -> None:
    async with opened(options_of(minio_server, locking)) as store:
        async with store.storage.incoming("vision") as incoming:
            await incoming.write(some(10))
            await incoming.keep(blob := await incoming.finish())
        past = (int(time.time()) - 3_600) * 1_000_000
        with pytest.raises(Unavailable, match="the store answered"):
            await store.storage.retain("vision", [blob.sha256], past)


async def test_parts_of_a_file_that_this_server_took_and_did_not_come_to_put_together_are_dropped(
    minio_server: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(data: bytes) -> Blob:
        async with store.storage.incoming("vision") as incoming:
            await incoming.write(data)
            await incoming.keep(blob := await incoming.finish())
        return blob

    def ended(*_: object) -> None:
        raise OSError("the process ended here")

    async with opened(options_of(minio_server, bucket)) as store:
        assert isinstance(store.storage, S3Storage)
        objects, place = store.storage._objects, store.storage.options.place("vision")
        with monkeypatch.context() as patch:
            patch.setattr(objects.client, "_complete_multipart_upload", ended)
            patch.setattr(objects.client, "_abort_multipart_upload", lambda *_: None)
            with pytest.raises(Unavailable):
                await keep(some(12 * MIB))
        key = place.blob(HOT, blob_of(some(12 * MIB)).sha256)
        assert objects.uploads(bucket, key)
        assert await store.storage.abandon("vision", time.time_ns() // 1_000 + 10_000_000) == 1
        assert not objects.uploads(bucket, key)
        assert await store.has("vision", await keep(some(12 * MIB)))
        assert not list(objects.listed(bucket, place.marks))


async def test_what_is_hidden_is_there_no_more_and_can_be_sent_again_whatever_retains_it(
    minio_server: MinioServer, minio_client: Minio, locking: str
) -> None:
    async with opened(options_of(minio_server, locking)) as store:
        blob = await store.upload("vision", some(10), seconds=BRIEF)
        await store.storage.retain("vision", [blob.sha256], (int(time.time()) + 3_600) * 1_000_000)
        with pytest.raises(Unavailable):
            await store.storage.hide("vision", [blob.sha256], until=time.time() - 1)
        assert await store.has("vision", blob)
        await store.storage.hide("vision", [blob.sha256], until=time.time() + 60)
        assert not await store.has("vision", blob)
        assert await listed(store.storage.blobs("vision")) == []
        assert len(versions(minio_client, locking)) == 2
        assert await store.upload("vision", some(10)) == blob
        assert await store.read("vision", blob.sha256) == some(10)


async def test_a_bucket_without_locks_says_that_it_cannot_retain(s3: Store) -> None:
    blob = await s3.upload("vision", some(10))
    with pytest.raises(PreconditionFailed):
        await s3.storage.retain("vision", [blob.sha256], (int(time.time()) + 3600) * 1_000_000)
    with pytest.raises(LinealError):
        await s3.storage.retain("vision", [sha256(b"nothing")], (int(time.time()) + 3600) * 1_000_000)


# ── What a killed server leaves ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("again", [False, True])
async def test_parts_that_a_server_put_there_before_it_was_killed_are_dropped_when_they_saw_no_byte_for_long(
    s3: Store, minio_client: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    data = some(2 * MIN_PART_SIZE)

    async def take() -> None:
        async with s3.storage.incoming("vision") as incoming:
            await incoming.write(data)
            await incoming.keep(await incoming.finish())

    def killed(*_: Any, **__: Any) -> NoReturn:
        raise OSError

    with monkeypatch.context() as dying:
        client = s3.storage._objects.client  # type: ignore[attr-defined]
        dying.setattr(client, "_complete_multipart_upload", killed)
        dying.setattr(client, "_abort_multipart_upload", lambda *_: None)
        with pytest.raises(Unavailable):
            await take()
    if again:
        await take()
    needed = {blob_of(data).sha256} if again else set()
    assert await s3.storage.abandon("vision", time.time_ns() // 1_000 + 10_000_000, needed.__contains__) == 1
    assert not minio_client._list_multipart_uploads(bucket, prefix=f"vision/blobs/{blob_of(data).sha256[:2]}").uploads
    assert [key for key in keys(minio_client, bucket) if "/sending/" in key] == []
    assert await s3.has("vision", blob_of(data)) == again


# ── Who ───────────────────────────────────────────────────────────────────────────────────────────


# The package asks for the time in a way that newer versions of Python warn of.
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
async def test_sts_gives_credentials_for_a_while_and_their_token_is_in_addresses(
    minio_server: MinioServer, bucket: str, small_parts: int
) -> None:
    async with opened(options_of(minio_server, bucket, sts_endpoint=minio_server.url)) as store:
        for data in some(1000), some(2 * small_parts):
            blob = await store.upload("vision", data)
            link = await store.link("vision", blob.sha256)
            query = parse_qs(urlsplit(link).query)
            assert query["X-Amz-Security-Token"]
            assert not query["X-Amz-Credential"][0].startswith(f"{ACCESS_KEY}/")
            assert (await store.http.get(link)).content == data


NEEDED = [
    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ListBucket"),
    *("s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts"),
    *("s3:AbortMultipartUpload", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"),
]


def limited(server: MinioServer, bucket: str, actions: Sequence[str]) -> S3Options:
    """Options of somebody who may do this alone, in this bucket alone."""
    names = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": names}]}
    own = AssumeRoleProvider(
        sts_endpoint=server.url,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        region="us-east-1",
        policy=json.dumps(policy),
    ).retrieve()
    keys = {"access_key": own.access_key, "secret_key": own.secret_key, "session_token": own.session_token}
    return options_of(server, bucket, **keys)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
async def test_it_needs_no_more_than_to_read_write_list_and_delete_in_its_bucket(
    minio_server: MinioServer, bucket: str, small_parts: int
) -> None:
    async with opened(limited(minio_server, bucket, NEEDED)) as store:
        blobs = [await store.upload("vision", some(size)) for size in (1000, 2 * small_parts)]
        assert await store.has("vision", *blobs)
        await store.storage.chill("vision", [blobs[0].sha256])
        assert await store.storage.abandon("vision", time.time_ns() // 1_000) == 0
        assert await store.storage.remove("vision", [blob.sha256 for blob in blobs], until=time.time() + 60) == set()


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
async def test_it_needs_to_retain_in_a_bucket_with_object_lock(minio_server: MinioServer, locking: str) -> None:
    more = ["s3:GetObjectRetention", "s3:PutObjectRetention", "s3:PutObjectLegalHold"]
    async with opened(limited(minio_server, locking, [*NEEDED, *more])) as store:
        kept, gone = [await store.upload("vision", some(10, i), seconds=BRIEF) for i in range(2)]
        await store.storage.retain("vision", [kept.sha256], (int(time.time()) + 3600) * 1_000_000)
        await asyncio.sleep(BRIEF)
        removed = await store.storage.remove("vision", [kept.sha256, gone.sha256], until=time.time() + 60)
        assert removed == {kept.sha256}


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
async def test_who_may_not_read_of_its_object_lock_is_told_so_at_start(minio_server: MinioServer, bucket: str) -> None:
    storage = S3Storage(limited(minio_server, bucket, [one for one in NEEDED if "ObjectLock" not in one]))
    with pytest.raises(InvalidArgument, match="s3:GetBucketObjectLockConfiguration"):
        await storage.open()
    await storage.close()


async def test_credentials_are_found_in_the_environment(
    minio_server: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    async with opened(options_of(minio_server, bucket, access_key=None, secret_key=None)) as store:
        assert await store.has("vision", await store.upload("vision", some(10)))


async def test_a_token_that_cannot_be_read_leaves_no_credentials(
    minio_server: MinioServer, bucket: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    storage = S3Storage(options_of(minio_server, bucket, web_identity=file))
    with pytest.raises(Unavailable, match="credentials"):
        await storage.open()
    file.write_text("hush")
    with pytest.raises(Unavailable, match="credentials") as caught:
        await storage.open()
    assert "hush" not in str(caught.value)
    await storage.close()


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_server_with_a_certificate_of_an_authority_of_ones_own_is_trusted_where_that_is_told(
    tmp_path: Path,
) -> None:
    with MinioServer(tmp_path / "minio", tls=True) as server:
        assert server.ca is not None
        options = options_of(server, "models", ca=server.ca)
        http = options.http()
        options.client(http, options.credentials(http)).make_bucket("models")
        http.clear()
        async with opened(options, httpx.AsyncClient(verify=ssl.create_default_context(cafile=server.ca))) as store:
            data = some(1000)
            blob = await store.upload("vision", data)
            link = await store.link("vision", blob.sha256)
            assert link.startswith("https://")
            assert (await store.http.get(link)).content == data
        stranger = S3Storage(options_of(server, "models"))
        with pytest.raises(Unavailable):
            await stranger.open()
        await stranger.close()


# ── Many and much ─────────────────────────────────────────────────────────────────────────────────


async def test_more_than_a_page_is_listed_and_found(s3: Store, minio_client: Minio, bucket: str) -> None:
    """All in one folder, where a listing is worth while."""
    digests = sorted(f"ab{sha256(str(i).encode())[2:]}" for i in range(count(1_200, 3_000)))

    def put(digest: str) -> None:
        minio_client.put_object(bucket, f"lineal/vision/blobs/ab/{digest}", io.BytesIO(b"x"), 1)

    for start in range(0, len(digests), 32):
        await asyncio.gather(*(asyncio.to_thread(put, digest) for digest in digests[start : start + 32]))
    assert [stored.sha256 async for stored in s3.storage.blobs("vision")] == digests
    missing = [f"ab{sha256(str(-i).encode())[2:]}" for i in range(1, 20)]
    for wanted in digests, digests[1::2], digests[-20:], digests[:3], [digests[0], *missing, digests[-1]]:
        there = {digest for digest in wanted if digest not in missing}
        assert await s3.storage.present("vision", [Blob(digest, 1) for digest in wanted]) == there
    assert await s3.storage.present("vision", [Blob(digest, 2) for digest in digests]) == set()
    assert await s3.storage.remove("vision", digests) == set()
    assert [stored async for stored in s3.storage.blobs("vision")] == []


async def test_many_are_looked_for_by_listing_them_and_not_one_by_one(
    s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [await s3.upload("vision", str(i).encode()) for i in range(20)]
    absent = [Blob(sha256(str(-i).encode()), 1) for i in range(1, 21)]
    asked: list[str] = []
    stat = s3.storage._objects.stat  # type: ignore[attr-defined]

    def ask(bucket: str, key: str) -> object:
        asked.append(key)
        return stat(bucket, key)

    monkeypatch.setattr(s3.storage._objects, "stat", ask)  # type: ignore[attr-defined]
    assert await s3.storage.present("vision", [*there, *absent]) == {blob.sha256 for blob in there}
    assert asked == []
    assert await s3.storage.present("vision", [there[0], absent[0]]) == {there[0].sha256}
    assert len(asked) == 2


async def test_what_is_read_is_not_held_in_memory(s3: Store) -> None:
    data = some(64 * MIB)
    blob = await s3.upload("vision", data)
    tracemalloc.start()
    try:
        size = 0
        async for chunk in s3.storage.read("vision", blob.sha256):
            size += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == len(data)
    assert peak < 8 * MIB


async def test_who_stops_reading_leaves_the_store_usable(s3: Store) -> None:
    blob = await s3.upload("vision", some(8 * MIB))
    for _ in range(50):
        reading = s3.storage.read("vision", blob.sha256)
        await anext(aiter(reading))
        await reading.aclose()  # type: ignore[attr-defined]
    assert await s3.has("vision", blob)


async def test_clients_that_begin_at_once_leave_one_upload(
    s3: Store, minio_client: Minio, bucket: str, small_parts: int
) -> None:
    data = some(2 * small_parts)
    await asyncio.gather(*(s3.sends("vision", data) for _ in range(8)))
    key = f"lineal/vision/blobs/{sha256(data)[:2]}/{sha256(data)}"
    left = minio_client._list_multipart_uploads(bucket, prefix=key).uploads
    await s3.upload("vision", data)
    assert len(left) == 1
    assert minio_client._list_multipart_uploads(bucket, prefix=key).uploads == []
    assert keys(minio_client, bucket) == [key]


async def test_two_that_put_a_blob_together_at_once_both_do(s3: Store, small_parts: int) -> None:
    data = some(2 * small_parts)
    for send in await s3.sends("vision", data):
        await s3.put(send, data)
    await asyncio.gather(*(s3.storage.seal("vision", blob_of(data)) for _ in range(4)))
    assert await s3.read("vision", sha256(data)) == data


async def test_one_that_finds_no_upload_looks_whether_another_put_the_blob_together(
    s3: Store, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(s3.storage, S3Storage)
    data = some(2 * small_parts)
    for send in await s3.sends("vision", data):
        await s3.put(send, data)
    storage, uploads = s3.storage, s3.storage._objects.uploads

    def late(*arguments: str) -> list[Any]:
        monkeypatch.setattr(storage._objects, "uploads", uploads)
        storage._seal("vision", blob_of(data))
        return uploads(*arguments)

    monkeypatch.setattr(storage._objects, "uploads", late)
    await storage.seal("vision", blob_of(data))
    assert await s3.read("vision", sha256(data)) == data


# ── Away ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_store_that_is_away_is_unavailable_whatever_is_asked() -> None:
    options = S3Options(f"http://127.0.0.1:{free_port()}", "models", access_key="a", secret_key="the secret")
    storage, blob = S3Storage(options), blob_of(b"data")
    asked = [
        storage.open(),
        storage.present("vision", [blob]),
        storage.sends("vision", blob, seconds=60),
        storage.seal("vision", blob),
        storage.link("vision", blob.sha256, filename="x", seconds=60),
        storage.get("vision", "name"),
        storage.put("vision", "name", b""),
        storage.remove("vision", [blob.sha256]),
        storage.abandon("vision", 0),
        listed(storage.blobs("vision")),
        listed(storage.documents("vision", "")),
        listed(storage.read("vision", blob.sha256)),
    ]
    for error in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(error, Unavailable)
        assert "the secret" not in error.message
    await storage.close()


async def test_the_server_follows_no_store_to_another_place() -> None:
    """Whoever answers for the store could else make it ask anything of the network that it stands in."""
    paths: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        paths.append(head.split()[1].decode())
        where = f"http://127.0.0.1:{port}/elsewhere"
        writer.write(
            f"HTTP/1.1 307 Moved\r\nlocation: {where}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        storage = S3Storage(S3Options(f"http://127.0.0.1:{port}", "models", access_key="a", secret_key="b"))
        for asked in storage.open(), storage.get("vision", "name"), storage.put("vision", "name", b""):
            with pytest.raises(Unavailable):
                await asked
        await storage.close()
    assert paths
    assert "/elsewhere" not in paths


async def test_killed_in_the_middle_of_a_part_it_goes_on_with_what_is_missing(tmp_path: Path, small_parts: int) -> None:
    with MinioServer(tmp_path / "minio") as server:
        client_of(server).make_bucket("models")
        async with opened(options_of(server, "models")) as store:
            data = some(3 * small_parts)
            sends = await store.sends("vision", data)
            assert (await store.put(sends[0], data)).is_success
            for _ in range(count(2, 5)):
                with suppress(httpx.TransportError):
                    await killed_within(store, server, sends[1], data)
                assert not await store.has("vision", blob_of(data))
                sends = await store.sends("vision", data)
                assert [send.start for send in sends] == [small_parts, 2 * small_parts]
                sends = [sends[0], *sends]
            for send in sends[1:]:
                assert (await store.put(send, data)).is_success
            await store.storage.seal("vision", blob_of(data))
            assert await store.read("vision", sha256(data)) == data
            server.kill()
            with pytest.raises(Unavailable):
                await store.has("vision", blob_of(data))
            server.start()
            assert await store.has("vision", blob_of(data))


async def killed_within(store: Store, server: MinioServer, send: Send, data: bytes) -> None:
    """Send a part, and kill the server when it has half of it."""

    async def body() -> AsyncIterator[bytes]:
        half = send.size // 2
        for start in range(send.start, send.start + half, 65536):
            yield data[start : min(start + 65536, send.start + half)]
        await asyncio.to_thread(server.kill)
        yield data[send.start + half : send.start + send.size]

    try:
        await store.http.put(send.url, content=body(), headers=dict(send.headers))
    finally:
        await asyncio.to_thread(server.start)


def test_a_code_of_the_store_is_told_and_no_more(minio_client: Minio) -> None:
    storage = S3Storage(S3Options("https://host", "bucket", access_key="a", secret_key="b"))
    error = S3Error(None, "SlowDown", "the access key hush is slow", "/x", "1", "2")  # type: ignore[arg-type]
    with pytest.raises(Unavailable) as caught, storage._translated():
        raise error
    assert caught.value.message == "s3://bucket: the store answered SlowDown"
