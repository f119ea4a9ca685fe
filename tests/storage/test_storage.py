"""What every store of bytes does, on a local folder and on MinIO."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pytest

from lineal.errors import InvalidArgument, NotFound, PreconditionFailed, Unavailable
from storage.port import Blob, Storage, Stored
from tests.storage.storing import BASE, MIB, Store, blob_of, flipped, is_there, listed, parts_of, sha256, some

HOSTILE = [
    "..",
    ".",
    "a/b",
    "../b",
    "/etc",
    "a\\b",
    "%2e%2e",
    "ü",
    "Ümlaut",
    "A",
    "a",
    "a b",
    "x" * 500,
    "日本" * 100,
    "a\n",
]
BAD_DOCUMENTS = [
    *(
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "..",
        "../a",
        "a/..",
        "a/../../b",
        ".",
        "./a",
        "a\\b",
        "a b",
        "%2e%2e/a",
        "a\0",
        "ü",
    ),
    *("a\n", "x" * 600, "a/" * 300 + "a"),
]


# ── In ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 4096, 3 * MIB + 1])
async def test_bytes_that_were_sent_are_there_and_read_back(store: Store, size: int) -> None:
    data = some(size)
    blob = await store.upload("vision", data)
    assert await store.has("vision", blob)
    assert await store.read("vision", blob.sha256) == data


async def test_a_blob_that_is_there_needs_nothing_sent(store: Store) -> None:
    data = some(100)
    assert len(await store.sends("vision", data)) == 1
    await store.upload("vision", data)
    assert await store.sends("vision", data) == []
    assert await store.storage.seal("vision", blob_of(data))


async def test_many_are_looked_for_at_once_and_only_those_that_are_there_are_named(store: Store) -> None:
    there = [await store.upload("vision", some(10, i)) for i in range(20)]
    others = [blob_of(some(10, i)) for i in range(100, 1200)]
    assert await store.storage.present("vision", [*others, *there]) == {blob.sha256 for blob in there}
    assert await store.storage.present("vision", []) == set()


async def test_a_blob_is_not_there_under_another_size(store: Store) -> None:
    blob = await store.upload("vision", some(100))
    assert await store.storage.present("vision", [Blob(blob.sha256, 99)]) == set()


@pytest.mark.parametrize("at", [0, 57_000, 99_999])
async def test_a_turned_bit_is_refused(store: Store, at: int) -> None:
    data = some(100_000)
    (send,) = await store.sends("vision", data)
    answer = await store.put(send, flipped(data, at))
    assert 400 <= answer.status_code < 500
    assert not await store.has("vision", blob_of(data))
    with pytest.raises(PreconditionFailed):
        await store.storage.seal("vision", blob_of(data))


@pytest.mark.parametrize("size", [0, 999, 1001])
async def test_another_number_of_bytes_is_refused(store: Store, size: int) -> None:
    data = some(1000)
    (send,) = await store.sends("vision", data)
    headers = {**send.headers, "content-length": str(size)}
    answer = await store.http.put(send.url, content=some(size), headers=headers)
    assert 400 <= answer.status_code < 500
    assert not await store.has("vision", blob_of(data))


async def test_what_was_refused_can_be_sent_again(store: Store) -> None:
    data = some(1000)
    (send,) = await store.sends("vision", data)
    assert not (await store.put(send, flipped(data, 5))).is_success
    assert (await store.put(send, data)).is_success
    assert await store.has("vision", blob_of(data))


async def test_the_same_bytes_sent_twice_at_once_are_there_once(store: Store) -> None:
    data = some(200_000)
    first, second = await store.sends("vision", data), await store.sends("vision", data)
    answers = await asyncio.gather(store.put(first[0], data), store.put(second[0], data))
    # A store may tell the second one that they are there by then.
    assert all(map(is_there, answers))
    assert any(answer.is_success for answer in answers)
    assert [stored.sha256 for stored in await listed(store.storage.blobs("vision"))] == [sha256(data)]


async def test_what_was_never_sent_cannot_be_sealed(store: Store) -> None:
    with pytest.raises(PreconditionFailed):
        await store.storage.seal("vision", blob_of(some(10)))


# ── In parts ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_large_blob_is_sent_in_parts_and_put_together(store: Store, small_parts: int) -> None:
    data = some(2 * small_parts + 12_345)
    sends = await store.sends("vision", data)
    assert [(send.start, send.size) for send in sends] == [
        (0, small_parts),
        (small_parts, small_parts),
        (2 * small_parts, 12_345),
    ]
    for send in reversed(sends):
        assert (await store.put(send, data)).is_success
    assert not await store.has("vision", blob_of(data))
    await store.storage.seal("vision", blob_of(data))
    assert await store.has("vision", blob_of(data))
    assert await store.read("vision", sha256(data)) == data
    assert await store.sends("vision", data) == []


async def test_sealing_again_says_the_same(store: Store, small_parts: int) -> None:
    data = some(2 * small_parts)
    for send in await store.sends("vision", data):
        await store.put(send, data)
    assert await store.storage.seal("vision", blob_of(data)) == await store.storage.seal("vision", blob_of(data))


async def test_sending_goes_on_with_the_parts_that_are_missing(store: Store, small_parts: int) -> None:
    data = some(3 * small_parts + 1)
    first = await store.sends("vision", data)
    assert (await store.put(first[2], data)).is_success
    rest = await store.sends("vision", data)
    assert [send.start for send in rest] == [0, small_parts, 3 * small_parts]
    with pytest.raises(PreconditionFailed):
        await store.storage.seal("vision", blob_of(data))
    for send in rest:
        assert (await store.put(send, data)).is_success
    assert await store.sends("vision", data) == [] or not await store.has("vision", blob_of(data))
    await store.storage.seal("vision", blob_of(data))
    assert await store.read("vision", sha256(data)) == data


async def test_a_turned_bit_in_a_part_is_refused_and_the_part_is_still_missing(store: Store, small_parts: int) -> None:
    data = some(2 * small_parts)
    first, second = await store.sends("vision", data)
    assert 400 <= (await store.put(first, flipped(data, small_parts - 1))).status_code < 500
    assert (await store.put(second, data)).is_success
    assert [send.start for send in await store.sends("vision", data)] == [0]
    with pytest.raises(PreconditionFailed):
        await store.storage.seal("vision", blob_of(data))


async def test_a_part_that_another_client_sent_with_other_bytes_counts_as_missing(
    store: Store, small_parts: int
) -> None:
    data = some(2 * small_parts)
    other = flipped(data, 7)
    wrong = await store.storage.sends("vision", blob_of(data), parts_of(other), seconds=60, base=BASE)
    assert (await store.put(wrong[0], other)).is_success
    assert [send.start for send in await store.sends("vision", data)] == [0, small_parts]
    await store.upload("vision", data)
    assert await store.read("vision", sha256(data)) == data


async def test_two_clients_that_send_the_same_blob_share_its_parts(store: Store, small_parts: int) -> None:
    data = some(3 * small_parts)
    mine, others = await asyncio.gather(store.sends("vision", data), store.sends("vision", data))
    assert (await store.put(mine[0], data)).is_success
    assert (await store.put(others[1], data)).is_success
    assert [send.start for send in await store.sends("vision", data)] == [2 * small_parts]


async def test_there_are_as_many_digests_as_parts(store: Store, small_parts: int) -> None:
    data = some(2 * small_parts)
    for digests in [], parts_of(data)[:1], [*parts_of(data), sha256(b"")], ["x", "y"]:
        with pytest.raises(InvalidArgument):
            await store.storage.sends("vision", blob_of(data), digests, seconds=60, base=BASE)


async def test_what_was_never_put_together_is_dropped_when_it_saw_no_byte_for_long(
    store: Store, small_parts: int
) -> None:
    data, started = some(2 * small_parts), micros()
    first, _ = await store.sends("vision", data)
    await store.put(first, data)
    assert await store.storage.abandon("vision", started - 10_000_000) == 0
    assert len(await store.sends("vision", data)) == 1
    assert await store.storage.abandon("vision", micros() + 10_000_000) == 1
    assert len(await store.sends("vision", data)) == 2
    await store.upload("vision", data)
    assert await store.storage.abandon("vision", micros() + 10_000_000) == 0
    assert await store.has("vision", blob_of(data))


# ── In time ───────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_removed_in_time_is_gone(store: Store) -> None:
    blob, kept = await store.upload("vision", some(10)), await store.upload("vision", some(11))
    await store.storage.put("vision", "name", b"1")
    until = time.time() + 60
    assert await store.storage.remove("vision", [blob.sha256, sha256(b"nothing")], until=until) == set()
    await store.storage.discard("vision", "name", until=until)
    await store.storage.discard("vision", "name", until=until)
    assert await store.storage.get("vision", "name") is None
    assert not await store.has("vision", blob)
    assert await store.has("vision", kept)
    assert await store.storage.quiet("vision")


async def test_what_would_be_removed_too_late_stays(store: Store) -> None:
    blob = await store.upload("vision", some(10))
    await store.storage.put("vision", "name", b"1")
    until = time.time() - 1
    with pytest.raises(Unavailable, match="not removed in time"):
        await store.storage.remove("vision", [blob.sha256], until=until)
    with pytest.raises(Unavailable, match="not removed in time"):
        await store.storage.discard("vision", "name", until=until)
    assert await store.has("vision", blob)
    assert await store.storage.get("vision", "name") == b"1"


async def test_what_is_moved_in_time_is_moved_and_what_is_not_is_still_there(store: Store) -> None:
    blob = await store.upload("vision", some(10))
    await store.storage.chill("vision", [blob.sha256], until=time.time() - 1)
    assert await store.read("vision", blob.sha256) == some(10)
    await store.storage.chill("vision", [blob.sha256], until=time.time() + 60)
    assert [stored.cold for stored in await listed(store.storage.blobs("vision"))] == [True]
    await store.storage.warm("vision", [blob.sha256], until=time.time() + 60)
    assert [stored.cold for stored in await listed(store.storage.blobs("vision"))] == [False]
    assert await store.read("vision", blob.sha256) == some(10)


# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────


async def test_an_address_gives_the_bytes_to_be_saved_and_not_shown(store: Store) -> None:
    data = some(70_000)
    blob = await store.upload("vision", data)
    answer = await store.http.get(await store.link("vision", blob.sha256, filename='weights/größe "1".bin'))
    assert answer.status_code == 200
    assert answer.content == data
    assert answer.headers["content-type"] == "application/octet-stream"
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="gr__e _1_.bin"')
    assert disposition.endswith("filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22.bin")


@pytest.mark.parametrize(
    ("range", "first", "last"), [("0-9", 0, 9), ("500-", 500, 999), ("-10", 990, 999), ("990-5000", 990, 999)]
)
async def test_an_address_gives_a_range(store: Store, range: str, first: int, last: int) -> None:
    data = some(1000)
    blob = await store.upload("vision", data)
    answer = await store.http.get(await store.link("vision", blob.sha256), headers={"range": f"bytes={range}"})
    assert answer.status_code == 206
    assert answer.content == data[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/1000"


async def test_a_range_behind_the_end_is_refused(store: Store) -> None:
    blob = await store.upload("vision", some(1000))
    answer = await store.http.get(await store.link("vision", blob.sha256), headers={"range": "bytes=1000-"})
    assert answer.status_code == 416


async def test_the_server_reads_from_anywhere(store: Store) -> None:
    data = some(3 * MIB)
    blob = await store.upload("vision", data)
    assert await store.read("vision", blob.sha256, MIB + 5, MIB) == data[MIB + 5 : 2 * MIB + 5]
    assert await store.read("vision", blob.sha256, 3 * MIB - 5, 100) == data[-5:]
    assert await store.read("vision", blob.sha256, 3 * MIB) == b""
    assert await store.read("vision", blob.sha256, 17, 0) == b""


async def test_there_is_no_address_of_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.link("vision", sha256(b"nothing"))
    with pytest.raises(NotFound):
        await store.read("vision", sha256(b"nothing"))


async def test_an_address_that_expired_opens_nothing(store: Store) -> None:
    data, new = some(1000), some(1000, "new")
    blob = await store.upload("vision", data)
    store.clock.offset = -3600
    link = await store.link("vision", blob.sha256, seconds=3000)
    (send,) = await store.sends("vision", new, seconds=3000)
    store.clock.offset = 0
    assert (await store.http.get(link)).status_code == 403
    assert (await store.put(send, new)).status_code == 403
    assert not await store.has("vision", blob_of(new))


async def test_an_address_that_was_altered_anywhere_opens_nothing(store: Store) -> None:
    data, new = some(1000), some(1000, "new")
    blob = await store.upload("vision", data)
    link = await store.link("vision", blob.sha256)
    (send,) = await store.sends("vision", new)
    for altered in alterations(link):
        answer = await store.http.get(altered)
        assert 400 <= answer.status_code < 500, altered
        assert data[:50] not in answer.content
    for altered in alterations(send.url):
        answer = await store.http.put(altered, content=new, headers=dict(send.headers))
        assert 400 <= answer.status_code < 500, altered
    assert not await store.has("vision", blob_of(new))


def alterations(url: str) -> list[str]:
    """The address with one character changed, over all of its path and every value of its query."""
    parts = urlsplit(url)
    places = [("path", i) for i in range(1, len(parts.path))] + [("query", i) for i in range(len(parts.query))]
    chosen = places[:: max(1, len(places) // 120)] + places[-3:]
    altered = []
    for field, i in chosen:
        text = getattr(parts, field)
        other = "B" if text[i] == "A" else "A"
        changed = urlunsplit(parts._replace(**{field: text[:i] + other + text[i + 1 :]}))
        # The name of a parameter that S3 does not know is still signed; one that nobody reads changes nothing.
        if parse_qsl(urlsplit(changed).query) != parse_qsl(parts.query) or field == "path":
            altered.append(changed)
    return altered


async def test_an_address_to_read_does_not_write_and_one_to_write_does_not_read(store: Store) -> None:
    data = some(1000)
    (send,) = await store.sends("vision", data)
    await store.put(send, data)
    link = await store.link("vision", sha256(data))
    assert (await store.http.put(link, content=data, headers=dict(send.headers))).status_code == 403
    reading = await store.http.request("GET", send.url, content=data, headers=dict(send.headers))
    assert reading.status_code == 403
    assert (await store.http.delete(send.url)).status_code in {400, 403, 405}
    assert (await store.http.delete(link)).status_code in {400, 403, 405}
    assert await store.has("vision", blob_of(data))


async def test_an_address_of_one_blob_opens_no_other(store: Store) -> None:
    mine, other = await store.upload("vision", some(10, 1)), await store.upload("vision", some(10, 2))
    link = await store.link("vision", mine.sha256)
    moved = link.replace(f"/{mine.sha256[:2]}/", f"/{other.sha256[:2]}/").replace(mine.sha256, other.sha256)
    assert (await store.http.get(moved)).status_code == 403


# ── Workspaces ────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_of_one_workspace_is_there_in_another(store: Store) -> None:
    data = some(1000)
    blob = await store.upload("vision", data)
    await store.storage.put("vision", "manifests/1", b"secret")
    assert not await store.has("speech", blob)
    assert len(await store.sends("speech", data)) == 1
    with pytest.raises(NotFound):
        await store.link("speech", blob.sha256)
    with pytest.raises(NotFound):
        await store.read("speech", blob.sha256)
    with pytest.raises(PreconditionFailed):
        await store.storage.seal("speech", blob)
    assert await listed(store.storage.blobs("speech")) == []
    assert await store.storage.get("speech", "manifests/1") is None
    assert await listed(store.storage.documents("speech", "")) == []
    await store.storage.remove("speech", [blob.sha256])
    await store.storage.discard("speech", "manifests/1")
    assert await store.has("vision", blob)
    assert await store.storage.get("vision", "manifests/1") == b"secret"


async def test_an_address_of_one_workspace_opens_nothing_in_another(store: Store) -> None:
    data = some(1000)
    blob = await store.upload("vision", data)
    await store.upload("speech", data)
    (send,) = await store.sends("vision", some(1000, "new"))
    link = await store.link("vision", blob.sha256)
    assert link.replace("/vision/", "/speech/") == link or (
        (await store.http.get(link.replace("/vision/", "/speech/"))).status_code == 403
    )
    await store.put(send, some(1000, "new"))
    assert not await store.has("speech", blob_of(some(1000, "new")))


async def test_no_name_of_a_workspace_leads_into_another(store: Store) -> None:
    for i, name in enumerate(HOSTILE):
        await store.storage.put(name, "name", str(i).encode())
        await store.upload(name, some(10, i))
    for i, name in enumerate(HOSTILE):
        assert await store.storage.get(name, "name") == str(i).encode()
        assert [stored.sha256 for stored in await listed(store.storage.blobs(name))] == [sha256(some(10, i))]
        assert await listed(store.storage.documents(name, "")) == ["name"]


# ── As a whole ────────────────────────────────────────────────────────────────────────────────────


async def test_all_blobs_are_listed_by_digest_with_size_and_time(store: Store) -> None:
    before = micros()
    blobs = [await store.upload("vision", some(10 + i, i)) for i in range(30)]
    found = await listed(store.storage.blobs("vision"))
    assert [(stored.sha256, stored.size) for stored in found] == sorted((blob.sha256, blob.size) for blob in blobs)
    # MinIO tells whole seconds in some answers, and both clocks are this machine's.
    assert all(before - 2_000_000 <= stored.modified <= micros() + 2_000_000 for stored in found)


async def test_what_comes_in_parts_is_as_old_as_its_putting_together(store: Store, small_parts: int) -> None:
    data = some(2 * small_parts)
    for send in await store.sends("vision", data):
        await store.put(send, data)
    await asyncio.sleep(1.1)
    sealed = micros()
    await store.storage.seal("vision", blob_of(data))
    (stored,) = await listed(store.storage.blobs("vision"))
    assert stored.modified >= sealed - 1_000_000


async def test_what_is_removed_is_gone_and_can_come_again(store: Store) -> None:
    kept, gone = await store.upload("vision", some(10, 1)), await store.upload("vision", some(10, 2))
    link = await store.link("vision", gone.sha256)
    assert await store.storage.remove("vision", [gone.sha256, sha256(b"never there")]) == set()
    assert (await store.http.get(link)).status_code == 404
    assert not await store.has("vision", gone)
    assert await store.has("vision", kept)
    assert await store.has("vision", await store.upload("vision", some(10, 2)))


async def test_what_is_kept_cold_reads_as_before(store: Store) -> None:
    data = some(1000)
    cold, other = await store.upload("vision", data), await store.upload("vision", some(10))
    link = await store.link("vision", cold.sha256)
    await store.storage.chill("vision", [cold.sha256, sha256(b"never there")])
    await store.storage.chill("vision", [cold.sha256])
    assert {stored.sha256: stored.cold for stored in await listed(store.storage.blobs("vision"))} == {
        cold.sha256: True,
        other.sha256: False,
    }
    assert await store.has("vision", cold, other)
    assert await store.read("vision", cold.sha256, 5, 10) == data[5:15]
    assert await store.sends("vision", data) == []
    assert (await store.http.get(await store.link("vision", cold.sha256))).content == data
    await store.storage.warm("vision", [cold.sha256, other.sha256])
    found = await listed(store.storage.blobs("vision"))
    assert sorted((stored.sha256, stored.cold) for stored in found) == sorted(
        (blob.sha256, False) for blob in (cold, other)
    )
    assert (await store.http.get(link)).content == data


async def test_what_is_cold_is_removed_as_well(store: Store) -> None:
    blob = await store.upload("vision", some(10))
    await store.storage.chill("vision", [blob.sha256])
    await store.storage.remove("vision", [blob.sha256])
    assert not await store.has("vision", blob)
    assert await listed(store.storage.blobs("vision")) == []


async def test_blobs_that_are_both_cold_and_not_are_listed_in_one_order(store: Store) -> None:
    blobs = [await store.upload("vision", some(10, i)) for i in range(12)]
    await store.storage.chill("vision", [blob.sha256 for blob in blobs[::2]])
    found: list[Stored] = await listed(store.storage.blobs("vision"))
    assert [stored.sha256 for stored in found] == sorted(blob.sha256 for blob in blobs)


# ── Documents ─────────────────────────────────────────────────────────────────────────────────────


async def test_documents_are_written_whole_read_and_discarded(storage: Storage) -> None:
    assert await storage.get("vision", "uploads/1") is None
    await storage.put("vision", "uploads/1", b"one")
    await storage.put("vision", "uploads/1", b"another")
    await storage.put("vision", "uploads/2", b"")
    assert await storage.get("vision", "uploads/1") == b"another"
    assert await storage.get("vision", "uploads/2") == b""
    await storage.discard("vision", "uploads/1")
    await storage.discard("vision", "uploads/1")
    assert await storage.get("vision", "uploads/1") is None


async def test_documents_are_listed_in_order_by_the_beginning_of_their_names(storage: Storage) -> None:
    names = ["a", "m/a-b/x", "m/a.b", "m/a/x", "m/a0", "m/B", "mm/1", "z/1", "z/10", "z/2"]
    for name in names:
        await storage.put("vision", name, b"")
    assert await listed(storage.documents("vision", "")) == sorted(names)
    assert await listed(storage.documents("vision", "m/")) == ["m/B", "m/a-b/x", "m/a.b", "m/a/x", "m/a0"]
    assert await listed(storage.documents("vision", "m")) == ["m/B", "m/a-b/x", "m/a.b", "m/a/x", "m/a0", "mm/1"]
    assert await listed(storage.documents("vision", "z/1")) == ["z/1", "z/10"]
    assert await listed(storage.documents("vision", "nothing/")) == []


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
async def test_names_of_documents_that_try_to_escape_are_refused(storage: Storage, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await storage.put("vision", name, b"data")
    with pytest.raises(InvalidArgument):
        await storage.get("vision", name)
    with pytest.raises(InvalidArgument):
        await storage.discard("vision", name)


async def test_a_beginning_that_tries_to_escape_is_refused(storage: Storage) -> None:
    for prefix in "../", "/", "a/../", "a//", "%2e%2e/":
        with pytest.raises(InvalidArgument):
            await listed(storage.documents("vision", prefix))


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
async def test_what_is_no_digest_is_refused(store: Store, digest: str) -> None:
    with pytest.raises(InvalidArgument):
        await store.storage.present("vision", [Blob(digest, 1)])
    with pytest.raises(InvalidArgument):
        await store.storage.sends("vision", Blob(digest, 1), seconds=60, base=BASE)
    with pytest.raises(InvalidArgument):
        await store.link("vision", digest)
    with pytest.raises(InvalidArgument):
        await store.read("vision", digest)
    with pytest.raises(InvalidArgument):
        await store.storage.remove("vision", [digest])


def micros() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000
