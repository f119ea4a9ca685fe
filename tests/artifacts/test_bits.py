"""One bit that is turned is noticed: by storage as it comes in, and by whoever reads it afterwards, naming the file."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from minio import Minio

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.errors import Conflict, PreconditionFailed
from lineal.kept import kept
from lineal.pulling import PARTIAL, Pull
from lineal.pushing import Push
from lineal.remote import Remote
from resolvers.artifacts.verifying import verify_managed
from storage.folder import scan
from storage.port import PART
from tests.artifacts.conftest import Registry
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.running import LinealServer
from tests.services import free_port
from tests.storage.storing import flipped, sha256, some

CREATE = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { address } }
}"""
FILES = {"config.json": b"{}", "weights/a.bin": some(100_000, "a"), "weights/b.bin": some(1, "b")}
LARGE = "large.bin"


def turned(data: bytes) -> bytes:
    """The same bytes but for one bit in their middle."""
    return flipped(data, len(data) // 2)


def alter_in_folder(root: Path, data: bytes, other: bytes) -> None:
    """Put other bytes in the place of a blob below a folder."""
    (path,) = (path for path in root.rglob(sha256(data)) if path.parent.parent.name == "blobs")
    path.chmod(0o600)
    path.write_bytes(other)


def alter_in_bucket(client: Minio, bucket: str, data: bytes, other: bytes) -> None:
    """Put other bytes in the place of a blob in a bucket; the checksum that MinIO keeps is then theirs."""
    found = client.list_objects(bucket, recursive=True)
    (key,) = (
        str(item.object_name) for item in found if str(item.object_name).endswith(f"/{sha256(data)[:2]}/{sha256(data)}")
    )
    client.put_object(bucket, key, io.BytesIO(other), len(other))


# ── As it comes in ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", FILES)
async def test_a_file_with_another_bit_is_refused_by_the_store(registry: Registry, path: str) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    data = FILES[path]
    (send,) = await registry.store.sends("default", data)
    assert (await registry.store.put(send, turned(data))).status_code == 400
    assert not await registry.holds(data)
    others = {name: content for name, content in FILES.items() if name != path}
    for content in others.values():
        await registry.store.upload("default", content)
    with pytest.raises(PreconditionFailed, match=f"1 of 3 files .*{path}"):
        await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "PENDING"


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_part_with_another_bit_is_refused_by_the_store(registry: Registry, small_parts: int, part: int) -> None:
    data = some(2 * small_parts + 7)
    version = await registry.version()
    upload = await registry.begin(version.id, {LARGE: data})
    sends = await registry.store.sends("default", data)
    wrong = flipped(data, sends[part].start + sends[part].size // 2)
    answers = [await registry.store.put(send, wrong) for send in sends]
    assert answers[part].status_code == 400
    assert sum(answer.is_success for answer in answers) == 2
    with pytest.raises(PreconditionFailed, match=LARGE):
        await registry.complete(upload)
    assert [send.start for send in await registry.store.sends("default", data)] == [sends[part].start]


# ── Where it is kept ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", [*FILES, LARGE])
async def test_a_bit_that_turned_in_storage_is_found_by_verify(
    registry: Registry, small_parts: int, request: pytest.FixtureRequest, tmp_path: Path, path: str
) -> None:
    files = {**FILES, LARGE: some(2 * small_parts + 7)}
    version, artifact = await registry.push(files)
    data = files[path]
    if registry.storage.name.startswith("file:"):
        alter_in_folder(tmp_path, data, turned(data))
    else:
        client, bucket = request.getfixturevalue("minio_client"), request.getfixturevalue("bucket")
        alter_in_bucket(client, bucket, data, turned(data))
    assert await verify_managed(registry.graph, registry.storage, artifact, by="tester") == "FAILED"
    problem = (await registry.node(artifact.id)).props["problem"]
    assert problem == f"{path!r} has the digest {sha256(turned(data))}"
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    # The wrong bytes are gone, so that the right ones can be sent.
    assert not await registry.holds(data)
    assert all([await registry.holds(other) for name, other in files.items() if name != path])


# ── As it is fetched ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Kept:
    """A version that a Lineal in a process of its own keeps, and whoever can alter its bytes."""

    remote: Remote
    artifact: dict[str, str]
    files: dict[str, bytes]
    alter: Callable[[bytes, bytes], None]


@pytest.fixture(scope="module", params=["folder", "minio"])
def version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A version with small files, and one that came in parts."""
    home, more = tmp_path_factory.mktemp("lineal"), dict[str, str]()
    alter = partial(alter_in_folder, home)
    if request.param == "minio":
        minio: MinioServer = request.getfixturevalue("minio_server")
        client: Minio = request.getfixturevalue("minio_client")
        client.make_bucket(home.name.replace("_", "-"))
        s3 = {"endpoint": minio.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        more = {"storage": f"s3://{home.name.replace('_', '-')}", "s3": json.dumps(s3)}
        alter = partial(alter_in_bucket, client, home.name.replace("_", "-"))
    server = LinealServer(home, free_port(), (), **more)
    folder = tmp_path_factory.mktemp("model")
    files = {**FILES, LARGE: some(PART, LARGE) * 4 + b"more"}
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    with server, Remote(server.url, LocalIssuer(Keyring(home / "keys")).token) as remote:
        wanted = {"model": "models:/bert", "createModel": True, "state": "PENDING"}
        address = remote.ask(CREATE, input=wanted)["createModelVersion"]["version"]["address"]
        Push(remote, scan(folder)).run(address, "model")
        # What the server still reads by itself, it would find altered before the test does.
        while (artifact := kept(remote, address, None)[1])["verification"] != "VERIFIED":
            time.sleep(0.2)
        yield Kept(remote, artifact, files, alter)


@pytest.mark.parametrize("path", [*FILES, LARGE])
def test_a_bit_that_turned_in_storage_is_found_by_pull(version: Kept, tmp_path: Path, path: str) -> None:
    data = version.files[path]
    version.alter(data, turned(data))
    try:
        with pytest.raises(PreconditionFailed, match=f"^'{path}': the bytes that came are not those"):
            Pull(version.remote, tmp_path / "copy").run(version.artifact["id"], version.artifact["digest"])
    finally:
        version.alter(data, data)
    assert not (tmp_path / "copy" / path).exists()
    received = Pull(version.remote, tmp_path / "copy").run(version.artifact["id"], version.artifact["digest"])
    assert received.bytes == sum(map(len, version.files.values()))
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in version.files} == version.files


# ── By several pulls ──────────────────────────────────────────────────────────────────────────────


def test_two_pulls_of_the_same_into_one_folder_never_mix_what_comes(version: Kept, tmp_path: Path) -> None:
    copy, refused = tmp_path / "copy", list[str]()

    def meanwhile(_: int) -> None:
        if refused:
            return
        with pytest.raises(Conflict, match="another pull of the same files") as refusal:
            Pull(version.remote, copy).run(version.artifact["id"], version.artifact["digest"])
        refused.append(refusal.value.message)

    Pull(version.remote, copy, on_bytes=meanwhile).run(version.artifact["id"], version.artifact["digest"])
    assert str(copy) in refused[0]
    assert {name: (copy / name).read_bytes() for name in version.files} == version.files
    assert not list(copy.glob(f"{PARTIAL}*"))


def test_a_pull_that_ended_in_the_middle_holds_up_no_other(version: Kept, tmp_path: Path) -> None:
    def end(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pull(version.remote, tmp_path, on_bytes=end).run(version.artifact["id"], version.artifact["digest"])
    assert list(tmp_path.glob(f"{PARTIAL}*"))
    Pull(version.remote, tmp_path).run(version.artifact["id"], version.artifact["digest"])
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {*version.files}


def test_a_file_that_grew_while_it_came_is_not_put_into_its_place(version: Kept, tmp_path: Path) -> None:
    def add(_: int) -> None:
        for path in tmp_path.glob(f"{PARTIAL}*/*-{sha256(FILES['config.json'])}"):
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(PreconditionFailed, match=r"^'config\.json': the bytes that came are not those"):
        Pull(version.remote, tmp_path, on_bytes=add).run(version.artifact["id"], version.artifact["digest"])
    assert not (tmp_path / "config.json").exists()
