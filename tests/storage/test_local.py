"""What only the local folder does."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lineal.errors import Conflict, Forbidden, InvalidArgument, PreconditionFailed, Unavailable
from storage import port
from storage.local import LocalStorage
from storage.naming import folder_of
from storage.port import CHUNK, Blob
from storage.writing import Partial
from tests.conftest import count
from tests.running import ROOT
from tests.storage.receiving import PART, chunks, token_of
from tests.storage.storing import BASE, MIB, SECRET, Store, blob_of, flipped, listed, parts_of, sha256, some

# ── Opening ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_folder_is_made_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with LocalStorage(tmp_path / "a" / "b", SECRET) as storage:
        assert storage.root.stat().st_mode & 0o077 == 0
        assert storage.name == (tmp_path / "a" / "b").as_uri()
        assert list(storage.root.iterdir()) == []


async def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument):
        await LocalStorage(tmp_path / "file", SECRET).open()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        await LocalStorage(tmp_path / "file" / "below", SECRET).open()


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        LocalStorage(tmp_path, b"short")


async def test_an_address_of_a_server_with_another_secret_opens_nothing(local: Store, tmp_path: Path) -> None:
    blob = await local.upload("vision", some(10))
    async with LocalStorage(tmp_path / "bytes", bytes(32)) as other:
        link = await other.link("vision", blob.sha256, filename="x", seconds=60, base=BASE)
    assert (await local.http.get(link)).status_code == 403


async def test_a_token_that_is_none_is_refused(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    (send,) = await local.sends("vision", some(10))
    text, _, mac = token_of(send).partition(".")
    for token in [
        "",
        ".",
        text,
        f"{text}.",
        f".{mac}",
        f"{text}.{mac}=",
        f"{text}.{mac}.",
        f" {text}.{mac}",
        "ü.ü",
        "\ud800",
    ]:
        with pytest.raises(Forbidden):
            local.storage.grant(token)


async def test_files_that_the_system_refuses_are_unavailable_without_paths(local: Store, tmp_path: Path) -> None:
    folder = tmp_path / "bytes" / "vision"
    folder.mkdir()
    (folder / "incoming").touch()
    with pytest.raises(Unavailable) as caught:
        await local.storage.put("vision", "name", b"")
    assert "incoming" not in caught.value.message
    (send,) = await local.sends("vision", some(10))
    assert (await local.put(send, some(10))).status_code == 503


def test_names_of_workspaces_stay_apart_where_the_file_system_takes_capitals_for_small_letters() -> None:
    names = ["a", "A", "ä", "Ä", "a.", "%41", "%%", "", "x" * 300, "X" * 300, "y" * 300, "con", "nul"]
    folders = [folder_of(name) for name in names]
    assert len({folder.lower() for folder in folders}) == len(names)
    assert all(len(folder) <= 255 and "/" not in folder and folder.strip(".") for folder in folders)


# ── Parts ─────────────────────────────────────────────────────────────────────────────────────────


async def test_the_whole_is_checked_as_it_is_put_together(local: Store, small_parts: int) -> None:
    """Even where every part is what it was said to be."""
    data, other = some(2 * small_parts), some(2 * small_parts, "other")
    sends = await local.storage.sends("vision", blob_of(data), parts_of(other), seconds=60, base=BASE)
    for send in sends:
        assert (await local.put(send, other)).is_success
    with pytest.raises(PreconditionFailed):
        await local.storage.seal("vision", blob_of(data))
    assert not await local.has("vision", blob_of(data))
    assert len(await local.sends("vision", data)) == 2
    await local.upload("vision", data)
    assert await local.storage.seal("vision", blob_of(data))


async def test_a_part_that_is_being_sent_is_not_sent_by_another_and_its_blob_not_put_together(
    local: Store, small_parts: int
) -> None:
    assert isinstance(local.storage, LocalStorage)
    data = some(2 * small_parts)
    first, _ = await local.sends("vision", data)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield data[:CHUNK]
        begun.set()
        await go_on.wait()
        yield data[CHUNK : first.size]

    sending = asyncio.create_task(local.storage.receive(local.storage.grant(token_of(first)), slow()))
    await begun.wait()
    assert (await local.put(first, data)).status_code == 409
    with pytest.raises(Conflict):
        await local.storage.seal("vision", blob_of(data))
    assert await local.storage.abandon("vision", time.time_ns()) == 0
    go_on.set()
    assert await sending
    assert len(await local.sends("vision", data)) == 1


async def test_a_late_address_changes_nothing_of_a_blob_that_was_put_together(local: Store, small_parts: int) -> None:
    data = some(2 * small_parts)
    wrong = await local.storage.sends("vision", blob_of(data), parts_of(flipped(data, 3)), seconds=60, base=BASE)
    right = await local.sends("vision", data)
    for send in right:
        assert (await local.put(send, data)).status_code == 201
    await local.storage.seal("vision", blob_of(data))
    assert (await local.put(wrong[0], flipped(data, 3))).status_code == 204
    assert (await local.put(right[0], data)).status_code == 204
    assert await local.read("vision", sha256(data)) == data


async def test_parts_that_come_at_once_in_any_order_are_put_together(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "WHOLE", 100_000)
    monkeypatch.setattr(port, "PART", 100_000)
    data = some(3_000_001)
    sends = await local.sends("vision", data)
    random.Random(1).shuffle(sends)
    answers = await asyncio.gather(*(local.put(send, data) for send in sends))
    assert [answer.status_code for answer in answers] == [201] * 31
    await local.storage.seal("vision", blob_of(data))
    assert await local.read("vision", sha256(data)) == data


def test_who_begins_a_blob_takes_nothing_away_from_another_who_has_just_begun_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for turn in range(50):
            blob = Blob(sha256(b""), 16 * port.PART)
            partial = Partial(tmp_path / "parts" / str(turn), tmp_path / "incoming", blob)
            begun = [pool.submit(partial.begin, part * port.PART, port.PART, sha256(b"")) for part in range(8)]
            writers = [each.result() for each in begun]
            records = {path.name for path in (tmp_path / "parts" / str(turn)).glob("[0-9]*")}
            for writer in writers:
                assert writer is not None
                writer.close()
            assert records == {str(part) for part in range(8)}


async def test_who_hangs_up_leaves_nothing_in_sight(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    data = some(3 * MIB)
    (send,) = await local.sends("vision", data)

    async def broken() -> AsyncIterator[bytes]:
        yield data[:MIB]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await local.storage.receive(local.storage.grant(token_of(send)), broken())
    assert await listed(local.storage.blobs("vision")) == []
    assert list((local.storage.root / "vision" / "incoming").iterdir()) == []


async def test_who_is_cancelled_leaves_nothing_in_sight(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    data = some(3 * MIB)
    (send,) = await local.sends("vision", data)
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield data[:MIB]
        begun.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(local.storage.receive(local.storage.grant(token_of(send)), endless()))
    await begun.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert list((local.storage.root / "vision" / "incoming").iterdir()) == []


async def test_a_blob_reads_to_its_end_though_it_is_removed_meanwhile(local: Store) -> None:
    data = some(5 * MIB)
    blob = await local.upload("vision", data)
    reading = local.storage.read("vision", blob.sha256)
    first = await anext(aiter(reading))
    await local.storage.remove("vision", [blob.sha256])
    assert first + b"".join([chunk async for chunk in reading]) == data


async def test_files_cannot_be_kept_from_being_removed(local: Store) -> None:
    blob = await local.upload("vision", some(10))
    with pytest.raises(PreconditionFailed):
        await local.storage.retain("vision", [blob.sha256], time.time_ns() // 1000 + 10**9)


async def test_what_is_no_blob_is_passed_over(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    blob = await local.upload("vision", some(10))
    (folder,) = local.storage.root.glob("vision/blobs/??")
    for name in (".nfs0001", "x" * 64, blob.sha256.upper(), f"{blob.sha256}.part"):
        (folder / name).touch()
    for name in (".nfs-0001", f"{blob.sha256}-", f"{blob.sha256}-1.part"):
        (local.storage.root / "vision" / "parts" / name).mkdir(parents=True)
    assert [stored.sha256 for stored in await listed(local.storage.blobs("vision"))] == [blob.sha256]
    assert await local.storage.abandon("vision", time.time_ns() // 1_000) == 0


async def test_ten_thousand_documents_and_blobs_are_listed(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    for i in range(10_000):
        path = local.storage.root / "vision" / "blobs" / f"{i % 256:02x}" / f"{i % 256:02x}{i:062x}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [stored.sha256 async for stored in local.storage.blobs("vision")]
    assert len(found) == 10_000
    assert all(one < other for one, other in itertools.pairwise(found))


# ── Memory ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [64 * MIB, 256 * MIB])
async def test_what_a_blob_takes_in_memory_does_not_grow_with_it(local: Store, size: int) -> None:
    assert isinstance(local.storage, LocalStorage)
    piece = some(64 * 1024)
    blob = Blob(_digest(piece, size // len(piece)), size)
    (send,) = await local.storage.sends("vision", blob, seconds=600, base=BASE)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // len(piece)):
            yield piece

    tracemalloc.start()
    try:
        await local.storage.receive(local.storage.grant(token_of(send)), body())
        read = 0
        async for chunk in local.storage.read("vision", blob.sha256):
            read += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == size
    assert peak < 8 * MIB


def _digest(piece: bytes, times: int) -> str:
    digest = hashlib.sha256()
    for _ in range(times):
        digest.update(piece)
    return digest.hexdigest()


# ── Killed ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_killed_at_any_moment_it_shows_nothing_that_is_half_done(tmp_path: Path) -> None:
    root, chance = tmp_path / "bytes", random.Random(5)
    for _ in range(count(6, 40)):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.storage.receiving", str(root)),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        process.kill()
        await process.communicate()
        await check_whole(root)
    async with LocalStorage(root, SECRET) as storage:
        assert await storage.abandon("vision", time.time_ns() // 1000 + 10**6) in {0, 1}
        assert list((root / "vision" / "incoming").iterdir()) == []
        await check_whole(root)


async def check_whole(root: Path) -> None:
    """Everything that shows is what its name says, and what was being sent can be sent to its end."""
    async with LocalStorage(root, SECRET) as storage:
        found = await listed(storage.blobs("vision"))
        for stored in found:
            data = b"".join([chunk async for chunk in storage.read("vision", stored.sha256)])
            assert sha256(data) == stored.sha256
        for name in await listed(storage.documents("vision", "")):
            assert await storage.get("vision", name) == some(50_000, int(name[-1]))


async def test_parts_that_were_sent_before_a_kill_need_not_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part that was on its way is sent again, for nobody can tell how much of it is there."""
    monkeypatch.setattr(port, "WHOLE", PART)
    monkeypatch.setattr(port, "PART", PART)
    data = some(3 * PART)
    async with LocalStorage(tmp_path, SECRET) as storage:
        sends = await storage.sends("vision", blob_of(data), parts_of(data), seconds=60)
        await storage.receive(storage.grant(token_of(sends[1])), chunks(data, sends[1]))
        folder = next((tmp_path / "vision" / "parts").iterdir())
        # What a kill between the bytes and their record leaves, and one in the middle of a record.
        (folder / "0").touch()
        (folder / "2").write_text(parts_of(data)[2][:30])
    async with LocalStorage(tmp_path, SECRET) as storage:
        sends = await storage.sends("vision", blob_of(data), parts_of(data), seconds=60)
        assert [send.start for send in sends] == [0, 2 * PART]
        for send in sends:
            await storage.receive(storage.grant(token_of(send)), chunks(data, send))
        assert await storage.seal("vision", blob_of(data))


async def test_what_is_left_of_a_blob_that_was_put_together_is_not_taken_for_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the blob's renaming and the removal of its records leaves records without bytes."""
    monkeypatch.setattr(port, "WHOLE", PART)
    monkeypatch.setattr(port, "PART", PART)
    data = some(2 * PART)
    async with LocalStorage(tmp_path, SECRET) as storage:
        folder = tmp_path / "vision" / "parts" / f"{sha256(data)}-{len(data)}"
        folder.mkdir(parents=True)
        for i, digest in enumerate(parts_of(data)):
            (folder / str(i)).write_text(digest)
        sends = await storage.sends("vision", blob_of(data), parts_of(data), seconds=60)
        assert len(sends) == 2
        await storage.receive(storage.grant(token_of(sends[0])), chunks(data, sends[0]))
        assert len(await storage.sends("vision", blob_of(data), parts_of(data), seconds=60)) == 1
        await storage.receive(storage.grant(token_of(sends[1])), chunks(data, sends[1]))
        assert await storage.seal("vision", blob_of(data))


async def test_it_is_not_quiet_while_a_process_that_was_stopped_is_in_the_midst_of_removing(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    blob = await local.upload("vision", some(10))
    text = """
import sys, time
from pathlib import Path
from storage.local import LocalStorage
with LocalStorage(Path(sys.argv[1]), bytes(32))._in_time("vision", time.time() + 3600):
    print("in the midst", flush=True)
    time.sleep(3600)
"""
    command = [sys.executable, "-c", text, str(local.storage.root)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"in the midst\n"
    process.send_signal(signal.SIGSTOP)
    assert not await local.storage.quiet("vision")
    with pytest.raises(Unavailable):
        await local.storage.remove("vision", [blob.sha256], until=time.time() + 0.2)
    assert await local.storage.quiet("speech")
    process.kill()
    await process.wait()
    assert await local.storage.quiet("vision")
    assert await local.has("vision", blob)
