"""Files come to where servers read them whole or not at all, and never anywhere else."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from minio import Minio

from lineal.errors import Conflict, InvalidArgument, LinealError, PreconditionFailed, Unavailable
from serving.placing import MARK, Content, FolderPlace, Place, place_of, small
from serving.port import GUARD, File
from serving.targets import read
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.serving.rigs import Source

FILES = {"model.bin": bytes(range(256)) * 20, "deep/er/vocabulary.txt": b"a\nb\n", "empty": b""}


@pytest.fixture(scope="module")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with MinioServer(tmp_path_factory.mktemp("minio")) as server:
        yield server


class Reader:
    """What a server finds at a place."""

    def __init__(self, root: Path, bucket: tuple[Minio, str] | None = None) -> None:
        self.root = root
        self._bucket = bucket

    def files(self, path: str) -> dict[str, bytes]:
        """The files beneath a path, but for Lineal's own."""
        if self._bucket is None:
            folder = self.root / path
            found = {str(each.relative_to(folder)): each for each in folder.rglob("*") if each.is_file()}
            return {name: each.read_bytes() for name, each in found.items() if MARK not in each.parts}
        client, bucket = self._bucket
        prefix = f"lineal/{path}/"
        keys = [str(each.object_name) for each in client.list_objects(bucket, prefix, recursive=True)]
        return {key[len(prefix) :]: client.get_object(bucket, key).data for key in keys if not key.endswith(MARK)}


@pytest.fixture(params=["folder", "object"])
async def placed(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Place, Reader]]:
    """A place, and what servers see of it: each test that asks for it runs on a folder and in MinIO."""
    if request.param == "folder":
        place = FolderPlace(tmp_path / "models", "/seen")
        yield place, Reader(tmp_path / "models")
    else:
        server: MinioServer = request.getfixturevalue("minio_server")
        client = Minio(server.url.removeprefix("http://"), ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1")
        bucket = f"t-{uuid4().hex}"
        client.make_bucket(bucket)
        patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        patch.setenv("T_KEY", ACCESS_KEY)
        patch.setenv("T_SECRET", SECRET_KEY)
        files = {
            "mode": "object",
            "uri": f"s3://{bucket}/lineal",
            "options": {"endpoint_url": server.url, "region": "us-east-1"},
            "secrets": {"key_env": "T_KEY", "secret_env": "T_SECRET"},
        }
        table = {"platform": "webhook", "url": "http://x", "workspaces": "*", "files": files}
        (config,) = read({"targets": {"t": table}})
        made = place_of(config)
        assert made is not None
        place_, reader = made, Reader(tmp_path, (client, bucket))
        yield place_, reader
        await place_.close()
        return
    await place.close()


class Hostile(Source):
    """A manifest with a path that no manifest of Lineal's has."""

    def __init__(self, path: str) -> None:
        super().__init__({"model.bin": b"x"})
        (file,) = self._files
        self._files = [File(path, file.size, file.sha256)]
        self.data[path] = b"x"


async def test_files_are_placed_as_they_are_and_not_sent_again(placed: tuple[Place, Reader]) -> None:
    place, reader = placed
    source = Source(FILES)
    assert await place.tag("m/1") == ""
    await place.put("m/1", Content(source))
    assert reader.files("m/1") == FILES
    assert await place.tag("m/1") == Content(source).tag
    reads = source.reads
    await place.put("m/1", Content(source))
    assert source.reads == reads == len(FILES)
    assert await place.names() == ["m"]
    assert await place.names("m") == ["1"]
    assert await place.names("m/1") == ["deep", "empty", "model.bin"]


async def test_other_files_at_the_same_place_take_the_place_of_all(placed: tuple[Place, Reader]) -> None:
    place, reader = placed
    await place.put("m/1", Content(Source(FILES)))
    other = Source({"model.bin": b"other", "new": b"1"})
    await place.put("m/1", Content(other))
    assert reader.files("m/1") == other.data
    assert await place.tag("m/1") == Content(other).tag


async def test_an_adapter_chooses_changes_and_adds_files(placed: tuple[Place, Reader]) -> None:
    place, reader = placed

    def rewrite(path: str, local: Path) -> None:
        local.write_bytes(path.encode() + local.read_bytes()[:1])

    content = Content(
        Source(FILES),
        more={"empty": b"not any more", "config": b"1"},
        choose=lambda path: None if path.startswith("deep") else f"0/{path}" if path == "model.bin" else path,
        rewrite=rewrite,
    )
    await place.put("m/1", content)
    assert reader.files("m/1") == {"0/model.bin": b"0/model.bin\0", "empty": b"not any more", "config": b"1"}


async def test_single_files_are_placed_written_and_removed(placed: tuple[Place, Reader]) -> None:
    place, reader = placed
    source = Source({"a.mar": b"archive", "README.md": b"#"})
    content = Content(source, choose=lambda path: path if path.endswith(".mar") else None)
    await place.put_file("m/m.1.mar", content)
    await place.put_file("m/m.1.mar", content)
    await place.write("m/config", b"1")
    await place.write("m/config", b"2")
    assert source.reads == 1
    assert reader.files("m") == {"m.1.mar": b"archive", "config": b"2"}
    await place.remove("m/config")
    await place.remove("m/config")
    assert reader.files("m") == {"m.1.mar": b"archive"}
    await place.remove("m")
    assert await place.names() == []
    with pytest.raises(PreconditionFailed):
        await place.put_file("m/m.2.mar", Content(Source(FILES)))


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", "a//b", "a\\b", "a/./b", "", "a\nb"])
async def test_no_path_leads_outside(placed: tuple[Place, Reader], path: str, tmp_path: Path) -> None:
    place, reader = placed
    with pytest.raises(LinealError):
        await place.put("m/1", Content(Hostile(path)))
    with pytest.raises(LinealError):
        await place.put("m/1", Content(Source(FILES), choose=lambda _: path))
    with pytest.raises(InvalidArgument):
        await place.write(path, b"x")
    with pytest.raises(InvalidArgument):
        await place.remove(path)
    assert reader.files("m/1") == {}
    assert not any(name == "out" for _, folders, names in os.walk(tmp_path) for name in [*folders, *names])


@pytest.mark.parametrize("change", [b"y" + FILES["model.bin"][1:], FILES["model.bin"] + b"x", FILES["model.bin"][:-1]])
async def test_bytes_that_are_not_those_of_the_manifest_are_never_placed(
    placed: tuple[Place, Reader], change: bytes
) -> None:
    place, reader = placed
    good, bad = Source({"model.bin": b"before"}), Source(FILES)
    bad.data["model.bin"] = change
    await place.put("m/1", Content(good))
    with pytest.raises(PreconditionFailed, match=r"model\.bin"):
        await place.put("m/1", Content(bad))
    if isinstance(place, FolderPlace):
        assert reader.files("m/1") == good.data
    assert await place.tag("m/1") != Content(bad).tag


async def test_two_who_place_the_same_at_once_are_both_done(placed: tuple[Place, Reader]) -> None:
    place, reader = placed
    await place.put("m/1", Content(Source({"old": b"1"})))
    await asyncio.gather(*[place.put("m/1", Content(Source(FILES))) for _ in range(6)])
    assert reader.files("m/1") == FILES
    assert await place.tag("m/1") == Content(Source(FILES)).tag


async def test_what_breaks_off_is_not_seen_and_goes_on(placed: tuple[Place, Reader]) -> None:
    place, reader = placed

    class Broken(Source):
        async def read(self, file: File) -> AsyncIterator[bytes]:
            if file.path == "model.bin":
                raise Unavailable("the store is away")
            async for chunk in super().read(file):
                yield chunk

    with pytest.raises(Unavailable):
        await place.put("m/1", Content(Broken(FILES)))
    assert await place.tag("m/1") == ""
    if isinstance(place, FolderPlace):
        assert await place.names() == []
    await place.put("m/1", Content(Source(FILES)))
    assert reader.files("m/1") == FILES


async def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "models", "/seen")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m").symlink_to(tmp_path / "elsewhere")
    for refused in (place.put("m/1", Content(Source(FILES))), place.write("m/file", b"x"), place.remove("m/1")):
        with pytest.raises(PreconditionFailed):
            await refused
    assert list((tmp_path / "elsewhere").iterdir()) == []
    await place.close()


async def test_servers_that_run_as_somebody_else_can_read(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "models", "/seen")
    await place.put("m/1", Content(Source(FILES)))
    await place.put_file("m/one", Content(Source({"one": b"1"})))
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "models" / "m").rglob("*")}
    assert all(mode == (0o755 if each.is_dir() else 0o644) for each, mode in modes.items())
    assert place.address("m/1") == "/seen/m/1"
    await place.close()


async def test_what_others_gave_up_on_is_removed(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path, "/seen")
    for name in ("old", "new"):
        (tmp_path / MARK / name).mkdir(parents=True)
    os.utime(tmp_path / MARK / "old", (0, 0))
    await place.put("m/1", Content(Source(FILES)))
    assert [each.name for each in (tmp_path / MARK).iterdir()] == ["new"]
    await place.close()


async def test_a_folder_that_cannot_be_written_to_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = FolderPlace(tmp_path / "file", "/seen")
    with pytest.raises(Unavailable):
        await place.put("m/1", Content(Source(FILES)))
    await place.close()


async def test_a_store_that_is_away_is_unavailable_and_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_KEY", "the-key")
    monkeypatch.setenv("T_SECRET", "the-secret")
    files = {
        "mode": "object",
        "uri": "s3://bucket/lineal",
        "options": {"endpoint_url": "http://127.0.0.1:9", "region": "us-east-1"},
        "secrets": {"key_env": "T_KEY", "secret_env": "T_SECRET"},
    }
    (config,) = read(
        {"targets": {"t": {"platform": "webhook", "url": "http://x", "workspaces": "*", "timeout": 2, "files": files}}}
    )
    place = place_of(config)
    assert place is not None
    with pytest.raises(Unavailable) as told:
        await place.tag("m/1")
    assert "the-" not in told.value.message
    await place.close()


async def test_a_small_file_is_read_and_a_large_one_refused() -> None:
    source: Sequence[bytes | None] = [await small(Source(FILES), path) for path in ("empty", "absent")]
    assert source == [b"", None]
    with pytest.raises(PreconditionFailed, match=r"model\.bin"):
        await small(Source(FILES), "model.bin", limit=10)


async def test_who_lost_the_lease_changes_nothing_any_more(placed: tuple[Place, Reader]) -> None:
    place, reader = placed
    await place.put("m/1", Content(Source(FILES)))

    def lost() -> None:
        raise Conflict("the lease is somebody else's now")

    token = GUARD.set(lost)
    try:
        for refused in (
            place.put("m/1", Content(Source({"other": b"1"}))),
            place.put("m/2", Content(Source(FILES))),
            place.put_file("m/file", Content(Source({"one": b"1"}))),
            place.write("m/file", b"1"),
            place.remove("m/1"),
        ):
            with pytest.raises(Conflict):
                await refused
    finally:
        GUARD.reset(token)
    assert reader.files("m/1") == FILES
    assert await place.names("m") == ["1"]
