"""What clients send to an S3 store in parts before anybody knows its digest."""

from __future__ import annotations

import pytest
from minio import Minio

from lineal.errors import NotFound, PreconditionFailed
from storage.port import Unnamed
from storage.s3_addresses import COPIED, UNSIGNED
from tests.storage.storing import MIB, Store, blob_of, some
from tests.storage.test_s3 import keys
from tests.storage.test_storage import micros

PART = 5 * MIB


def unnamed(store: Store) -> Unnamed:
    assert store.storage.unnamed is not None
    return store.storage.unnamed


async def sent(store: Store, urls: list[str], data: bytes) -> dict[int, str]:
    """What the store answers to each part."""
    tags = {}
    for number, url in enumerate(urls, 1):
        answer = await store.http.put(url, content=data[(number - 1) * PART :][:PART])
        assert answer.status_code == 200, answer.text
        tags[number] = answer.headers["etag"]
    return tags


async def test_parts_become_a_blob_by_its_digest_and_nothing_else_is_left(
    s3: Store, minio_client: Minio, bucket: str
) -> None:
    data = some(2 * PART + 1_000)
    for _ in range(2):
        upload, urls = await unnamed(s3).begin("vision", 3, seconds=600)
        tags = await sent(s3, urls, data)
        async with unnamed(s3).sent("vision", upload, dict(reversed(tags.items()))) as arrived:
            blob = await arrived.finish()
            assert blob == blob_of(data)
            await arrived.keep(blob)
        assert keys(minio_client, bucket) == [f"lineal/vision/blobs/{blob.sha256[:2]}/{blob.sha256}"]
    assert await s3.read("vision", blob.sha256) == data


async def test_what_is_not_kept_is_let_go_of(s3: Store, minio_client: Minio, bucket: str) -> None:
    upload, urls = await unnamed(s3).begin("vision", 1, seconds=600)
    tags = await sent(s3, urls, b"x" * 10)
    async with unnamed(s3).sent("vision", upload, tags) as arrived:
        await arrived.finish()
    assert keys(minio_client, bucket) == []


async def test_an_upload_that_is_dropped_takes_nothing_more(s3: Store, minio_client: Minio, bucket: str) -> None:
    upload, (url,) = await unnamed(s3).begin("vision", 1, seconds=600)
    for _ in range(2):
        await unnamed(s3).drop("vision", upload)
    assert (await s3.http.put(url, content=b"x")).status_code == 404
    assert keys(minio_client, bucket) == []
    with pytest.raises(NotFound):
        async with unnamed(s3).sent("vision", upload, {1: "x"}) as arrived:
            await arrived.finish()


@pytest.mark.parametrize("upload", ["", "x", "../../blobs-x", "0" * 32, f"{'0' * 32}-"])
async def test_an_upload_that_can_be_none_is_not_there(s3: Store, upload: str) -> None:
    with pytest.raises(NotFound):
        await unnamed(s3).drop("vision", upload)


async def test_parts_that_are_others_or_too_small_are_refused(s3: Store) -> None:
    upload, urls = await unnamed(s3).begin("vision", 2, seconds=600)
    tags = await sent(s3, urls, b"x" * (PART + 1))
    for wrong in ({1: tags[1], 2: '"0123456789abcdef0123456789abcdef"'}, {}):
        async with unnamed(s3).sent("vision", upload, wrong) as arrived:
            with pytest.raises(PreconditionFailed) as raised:
                await arrived.finish()
        assert raised.value.field == "parts"
        upload, urls = await unnamed(s3).begin("vision", 2, seconds=600)
    small = {1: (await s3.http.put(urls[0], content=b"x")).headers["etag"]}
    small[2] = (await s3.http.put(urls[1], content=b"y")).headers["etag"]
    async with unnamed(s3).sent("vision", upload, small) as arrived:
        with pytest.raises(PreconditionFailed):
            await arrived.finish()


async def test_nothing_that_is_elsewhere_is_copied_in_the_place_of_a_part(
    s3: Store, minio_client: Minio, bucket: str
) -> None:
    blob = await s3.upload("secret", some(1000))
    _, (url,) = await unnamed(s3).begin("vision", 1, seconds=600)
    source = f"/{bucket}/lineal/secret/blobs/{blob.sha256[:2]}/{blob.sha256}"
    assert minio_client.stat_object(bucket, source.removeprefix(f"/{bucket}/")).size == 1000
    for more in ({}, {f"{COPIED}-range": "bytes=0-99"}, {f"{COPIED}-if-match": "none"}):
        assert (await s3.http.put(url, headers={COPIED: source, **more})).status_code == 403
    assert (await s3.http.put(url, content=b"x")).status_code == 200


@pytest.mark.parametrize("name", UNSIGNED)
async def test_a_part_is_sent_with_no_header_that_changes_what_is_kept(s3: Store, name: str) -> None:
    _, (url,) = await unnamed(s3).begin("vision", 1, seconds=600)
    assert (await s3.http.put(url, content=b"x", headers={name: "1"})).status_code in {400, 403}


async def test_an_upload_of_one_workspace_is_none_of_another(s3: Store) -> None:
    upload, urls = await unnamed(s3).begin("vision", 1, seconds=600)
    tags = await sent(s3, urls, b"x")
    with pytest.raises(NotFound):
        async with unnamed(s3).sent("language", upload, tags) as arrived:
            await arrived.finish()


async def test_what_was_never_put_together_is_dropped_when_it_saw_no_byte_for_long(
    s3: Store, minio_client: Minio, bucket: str
) -> None:
    started = micros()
    _, urls = await unnamed(s3).begin("vision", 2, seconds=600)
    await sent(s3, urls[:1], b"x" * PART)
    assert await s3.storage.abandon("vision", started - 10_000_000) == 0
    assert (await s3.http.put(urls[1], content=b"y")).status_code == 200
    assert await s3.storage.abandon("vision", micros() + 10_000_000) == 1
    assert keys(minio_client, bucket) == []
    assert (await s3.http.put(urls[1], content=b"y")).status_code == 404


async def test_a_local_folder_takes_none(local: Store) -> None:
    assert local.storage.unnamed is None
