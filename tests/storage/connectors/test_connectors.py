"""What every connector does, whatever the store: the same over all of them."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lineal.errors import Conflict, InvalidArgument, LimitExceeded, NotFound
from storage.connectors.backend import Entry
from storage.connectors.connector import THREADS, Connectors, Reference
from storage.connectors.inventory import drift, take
from tests.storage.connectors.conftest import FILES, Stand, connector


@pytest.fixture
async def connectors(stand: Stand) -> AsyncIterator[Connectors]:
    async with Connectors([stand.config], stand.resolve) as connectors:
        yield connectors


@pytest.fixture
def folder(connectors: Connectors, stand: Stand) -> Reference:
    return connectors.reference(stand.uri, "vision")


def at(connectors: Connectors, stand: Stand, path: str) -> Reference:
    return connectors.reference(f"{stand.uri.rstrip('/')}/{path}", "vision")


async def listed(reference: Reference) -> list[Entry]:
    return [entry async for page in reference.walk() for entry in page]


async def test_a_folder_is_listed_with_all_files_beneath_and_their_sizes(folder: Reference) -> None:
    assert {entry.path: entry.size for entry in await listed(folder)} == {
        path.replace(" ", "%20").replace("ü+&", "%C3%BC+&") if folder.config.scheme == "https" else path: len(data)
        for path, data in FILES.items()
    }
    assert await folder.stat() is None


async def test_every_file_has_what_changes_with_its_bytes(folder: Reference) -> None:
    entries = await listed(folder)
    assert all(entry.etag and entry.modified is not None for entry in entries)


async def test_a_file_is_known_by_itself(connectors: Connectors, stand: Stand) -> None:
    reference = at(connectors, stand, "a/x.txt")
    entry = await reference.stat()
    assert entry is not None
    assert (entry.path, entry.size) == ("", 11)
    assert await listed(reference) == [entry]
    assert await reference.read("", 6, 5) == b"world"


async def test_files_are_read_in_pieces(folder: Reference) -> None:
    data = FILES["one.bin"]
    assert await folder.read("one.bin", 1000, 300) == data[1000:1300]
    assert await folder.read("one.bin", len(data) - 10, 100) == data[-10:]
    assert await folder.read("one.bin", len(data), 100) == b""
    assert await folder.read("empty", 0, 100) == b""
    assert await folder.read("a/x.txt", 0, 0) == b""


async def test_every_listed_file_can_be_read_by_its_path(folder: Reference) -> None:
    for entry in await listed(folder):
        assert len(await folder.read(entry.path, 0, entry.size + 1)) == entry.size


async def test_what_is_not_there_is_not_found(connectors: Connectors, stand: Stand, folder: Reference) -> None:
    with pytest.raises(NotFound):
        await at(connectors, stand, "nothing").stat()
    with pytest.raises(NotFound):
        await listed(at(connectors, stand, "nothing/"))
    with pytest.raises(NotFound):
        await folder.read("nothing", 0, 10)
    with pytest.raises(NotFound):
        # Part of a name is no folder.
        await at(connectors, stand, "man").stat()


@pytest.mark.parametrize(
    "path", ["../data/one.bin", "a/../one.bin", "./one.bin", "a//x.txt", "/etc/passwd", "a\\x.txt"]
)
async def test_paths_within_a_folder_cannot_lead_out_of_it(folder: Reference, path: str) -> None:
    with pytest.raises(InvalidArgument):
        await folder.read(path, 0, 10)


async def test_a_read_has_a_limit(folder: Reference) -> None:
    with pytest.raises(LimitExceeded):
        await folder.read("one.bin", 0, 2**30)


async def test_a_listing_has_a_limit(stand: Stand) -> None:
    async with Connectors([replace(stand.config, max_files=5)], stand.resolve) as connectors:
        with pytest.raises(LimitExceeded, match="more than the 5 files"):
            await listed(connectors.reference(stand.uri, "vision"))


async def test_a_listing_has_a_time(stand: Stand) -> None:
    async with Connectors([replace(stand.config, listing_timeout=1e-9)], stand.resolve) as connectors:
        with pytest.raises(LimitExceeded, match="listing_timeout"):
            await listed(connectors.reference(stand.uri, "vision"))


async def test_those_who_look_into_files_read_them_from_a_thread(folder: Reference) -> None:
    source = await folder.source(entry for entry in await listed(folder) if entry.path in {"one.bin", "empty"})
    assert source.files == {"one.bin": 10240, "empty": 0}
    assert await asyncio.to_thread(source.read, "one.bin", 10, 10000) == FILES["one.bin"][10:10010]


async def test_those_who_look_into_files_read_what_was_listed_or_nothing(stand: Stand, connectors: Connectors) -> None:
    stand.put({"swapped/a": b"as it was"})
    folder = at(connectors, stand, "swapped/")
    source = await folder.source(await listed(folder))
    assert await asyncio.to_thread(source.read, "a", 0, 9) == b"as it was"
    stand.put({"swapped/a": b"as it is."})
    with pytest.raises(Conflict, match="a: it is not what it was when it was listed"):
        await asyncio.to_thread(source.read, "a", 0, 9)


async def test_an_inventory_tells_what_drifted(stand: Stand, connectors: Connectors) -> None:
    for i in range(5):
        stand.put({f"drift/{i}": b"as it was"})
    reference = at(connectors, stand, "drift/")
    before, after = io.BytesIO(), io.BytesIO()
    taken = await take(reference.walk(), before)
    assert (taken.count, taken.size) == (5, 45)
    again = io.BytesIO()
    assert await take(reference.walk(), again) == taken
    assert again.getvalue() == before.getvalue()
    stand.put({"drift/2": b"as it is.", "drift/new": b"new"})
    await take(reference.walk(), after)
    before.seek(0)
    after.seek(0)
    found = drift(before, after)
    assert (found.changed.count, found.changed.examples) == (1, ("2",))
    assert (found.added.examples, found.removed.examples) == (("new",), ())


@pytest.mark.parametrize("stand", ["s3", "gs", "abfs"], indirect=True)
async def test_an_object_is_a_folder_only_if_its_name_ends_with_a_slash_and_nothing_is_in_it(
    stand: Stand, connectors: Connectors
) -> None:
    stand.put({"slashes/": b"own", "slashes/model.pkl/": b"x", "slashes/made/": b"", "slashes/a.txt": b"a"})
    found = await listed(at(connectors, stand, "slashes/"))
    assert {entry.path: entry.size for entry in found} == {"/": 3, "model.pkl/": 1, "a.txt": 1}


@pytest.mark.parametrize("stand", ["file", "s3", "gs", "abfs", "hdfs"], indirect=True)
async def test_names_with_percent_signs_are_read_as_the_store_has_them(stand: Stand, connectors: Connectors) -> None:
    names = ["when=2026%2F11/a.txt", "share=100%25/a.txt", "path=a%5Cb/a.txt", "%3A%41.txt"]
    stand.put({f"encoded/{name}": name.encode() for name in names})
    folder = at(connectors, stand, "encoded/")
    assert {entry.path for entry in await listed(folder)} == set(names)
    source = await folder.source(await listed(folder))
    for name in names:
        assert await folder.read(name, 0, 99) == name.encode()
        assert await asyncio.to_thread(source.read, name, 0, 99) == name.encode()


@pytest.mark.parametrize(
    "path", ["..%2Fone.bin", "a/%2e%2e/one.bin", "a%2f..%2F..", "%2E%5Cone.bin", "a%5c..", "..%3B/one.bin", "%2e"]
)
async def test_names_that_lead_out_once_they_are_decoded_are_not_read(folder: Reference, path: str) -> None:
    with pytest.raises(InvalidArgument):
        await folder.read(path, 0, 10)


async def test_a_store_that_does_not_answer_keeps_nobody_waiting_who_asks_another(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    answered = threading.Event()

    def silent(_name: str) -> list[str]:
        answered.wait()
        return ["127.0.0.1"]

    configs = [
        replace(connector("https", "https://silent.test/raw"), name="web"),
        connector("file", tmp_path.as_uri()),
    ]
    async with Connectors(configs, silent) as connectors:
        asked = connectors.reference("https://silent.test/raw/a.csv", "vision")
        waiting = [asyncio.ensure_future(asked.stat()) for _ in range(2 * THREADS)]
        try:
            entry = await asyncio.wait_for(connectors.reference(f"{tmp_path.as_uri()}/a.csv", "vision").stat(), 30)
            assert entry is not None
            assert not any(each.done() for each in waiting)
        finally:
            answered.set()
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
