"""Folders as artifacts: what is in them, what may not be, and that every byte is read once."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from lineal.errors import InvalidArgument, LimitExceeded, LinealError, NotFound, PreconditionFailed
from storage import folder, port
from storage.folder import scan
from storage.manifest import File


def put(root: Path, **files: bytes) -> Path:
    """Files with these contents; `__` in a name stands for `/`."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def paths(root: Path, leave_out: Path | None = None) -> list[str]:
    return [file.path for file in scan(root, leave_out=leave_out).manifest.files]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_folder_has_all_its_files_with_their_digests(tmp_path: Path) -> None:
    put(tmp_path, b=b"1", a__b__c=b"22", a__d=b"")
    assert scan(tmp_path).manifest.files == [
        File("a/b/c", 2, digest(b"22")),
        File("a/d", 0, digest(b"")),
        File("b", 1, digest(b"1")),
    ]


def test_hidden_files_are_files(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("")
    (tmp_path / ".hidden").write_text("")
    assert paths(tmp_path) == [".git/config", ".hidden"]


def test_a_single_file_is_an_artifact_of_its_name(tmp_path: Path) -> None:
    found = scan(put(tmp_path, model=b"1") / "model")
    assert [file.path for file in found.manifest.files] == ["model"]
    assert found.root == tmp_path.resolve()


def test_a_single_file_has_the_name_that_was_given_though_that_is_a_link(tmp_path: Path) -> None:
    put(tmp_path / "blobs", x123=b"1")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / "x123")
    found = scan(tmp_path / "model.safetensors")
    assert found.manifest.files == [File("model.safetensors", 1, digest(b"1"))]
    assert (found.root / "model.safetensors").read_bytes() == b"1"


def test_one_file_can_be_left_out_by_its_place_and_not_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, model=b"1", sub__model=b"2")
    assert paths(tmp_path, tmp_path / "sub" / ".." / "model") == ["sub/model"]


def test_a_link_to_what_is_left_out_is_refused_and_it_may_be_a_link_itself(tmp_path: Path) -> None:
    put(tmp_path, model=b"1", sub__real=b"2")
    (tmp_path / "sig").symlink_to("sub/real")
    assert paths(tmp_path, tmp_path / "sig") == ["model"]
    (tmp_path / "other").symlink_to("sig")
    with pytest.raises(InvalidArgument, match="'other': this link leads to"):
        paths(tmp_path, tmp_path / "sig")


def test_a_link_to_what_is_inside_is_what_it_leads_to(tmp_path: Path) -> None:
    put(tmp_path, data__a=b"1")
    (tmp_path / "copy").symlink_to("data/a")
    (tmp_path / "others").symlink_to(tmp_path / "data")
    manifest = scan(tmp_path).manifest
    assert [(file.path, file.sha256) for file in manifest.files] == [
        (path, digest(b"1")) for path in ("copy", "data/a", "others/a")
    ]


@pytest.mark.parametrize("target", ["../secret", "/etc", "..", "/", "inner/../../secret"])
def test_a_link_that_leads_out_is_refused_by_its_name(tmp_path: Path, target: str) -> None:
    put(tmp_path, secret=b"!", model__inner__a=b"1")
    (tmp_path / "model/out").symlink_to(target)
    with pytest.raises(InvalidArgument, match="'out': this link leads out of the folder"):
        scan(tmp_path / "model")


@pytest.mark.parametrize("target", [".", "..", "../..", "../../a", "../../../model"])
def test_a_link_that_leads_back_is_refused(tmp_path: Path, target: str) -> None:
    put(tmp_path, model__a__b__c=b"1")
    (tmp_path / "model/a/b/back").symlink_to(target)
    with pytest.raises(InvalidArgument, match="'a/b/back': this link leads back"):
        scan(tmp_path / "model")


def test_links_that_lead_to_each_other_are_refused(tmp_path: Path) -> None:
    put(tmp_path, a__x=b"1", b__x=b"2")
    (tmp_path / "a/to").symlink_to("../b")
    (tmp_path / "b/to").symlink_to("../a")
    with pytest.raises(InvalidArgument, match="leads back"):
        scan(tmp_path)


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a=b"1")
    (tmp_path / "gone").symlink_to("missing")
    with pytest.raises(InvalidArgument, match="'gone': this link leads nowhere"):
        scan(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(InvalidArgument, match="'self': this link leads nowhere"):
        scan(tmp_path)


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidArgument, match="'pipe': is neither"):
        scan(tmp_path)
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(InvalidArgument, match="'s': is neither"):
            scan(tmp_path)


@pytest.mark.parametrize("name", [b"a\\b", b"a\nb", b"caf\xe9", "e\u0301".encode()])
def test_a_name_that_cannot_be_kept_is_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(InvalidArgument, match="path: "):
        scan(tmp_path)


def test_nothing_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="at least one file"):
        scan(tmp_path)
    with pytest.raises(NotFound):
        scan(tmp_path / "missing")


def test_too_many_files_are_refused_before_any_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_FILES", 2)
    put(tmp_path, a=b"1", b=b"2", c=b"3")
    seen: list[int] = []
    with pytest.raises(LimitExceeded, match="at most 2 files"):
        scan(tmp_path, progress=lambda done, total: seen.append(done))
    assert not seen


@pytest.mark.timeout(30)
def test_links_to_folders_that_double_at_every_level_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file in them, so that there would never be too many of these."""
    monkeypatch.setattr(folder, "MAX_FOLDERS", 1_000)
    for level in range(40):
        (tmp_path / f"d{level}").mkdir()
    for level in range(39):
        for name in "ab":
            (tmp_path / f"d{level}" / name).symlink_to(tmp_path / f"d{level + 1}")
    with pytest.raises(LimitExceeded, match="at most 1,000 folders"):
        scan(tmp_path)


def test_folders_deeper_than_a_path_may_be_long_are_refused_by_name(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(6):
        deep = deep / ("f" * 200)
        deep.mkdir()
    with pytest.raises(InvalidArgument, match="at most 1,024 bytes"):
        scan(tmp_path)


def test_progress_tells_every_byte_once(tmp_path: Path) -> None:
    put(tmp_path, **{f"f{i}": bytes(i * 300_000) for i in range(12)})
    total = sum(i * 300_000 for i in range(12))
    seen: list[tuple[int, int]] = []
    scan(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {each for _, each in seen} == {total}
    assert seen[-1] == (total, total)


def test_large_files_have_the_digests_of_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "WHOLE", 10_000)
    monkeypatch.setattr(port, "PART", 4_000)
    monkeypatch.setattr(folder, "CHUNK", 1_500)
    large, whole = os.urandom(10_001), os.urandom(10_000)
    found = scan(put(tmp_path, large=large, whole=whole))
    assert found.manifest.by_path["large"].sha256 == digest(large)
    assert found.parts == {digest(large): tuple(digest(large[i : i + 4_000]) for i in (0, 4_000, 8_000))}
    assert len(found.parts[digest(large)]) == port.Blob(digest(large), len(large)).part_count


@pytest.mark.parametrize("change", ["grown", "shrunk", "rewritten", "replaced", "removed"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    path = put(tmp_path, model=bytes(3 * port.CHUNK)) / "model"
    status = path.stat()

    def meddle(done: int, _: int) -> None:
        if done != port.CHUNK:
            return
        match change:
            case "grown":
                os.truncate(path, 4 * port.CHUNK)
            case "shrunk":
                os.truncate(path, port.CHUNK)
            case "rewritten":
                path.write_bytes(b"1" * status.st_size)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
            case "replaced":
                (tmp_path / "new").write_bytes(b"1" * status.st_size)
                (tmp_path / "new").rename(path)
            case "removed":
                path.unlink()

    with pytest.raises((PreconditionFailed, InvalidArgument), match=r"'model': (changed|cannot be read)"):
        scan(tmp_path, progress=meddle)


def test_a_failure_ends_what_the_other_threads_do(tmp_path: Path) -> None:
    put(tmp_path, a=bytes(50 * port.CHUNK), b=bytes(50 * port.CHUNK))

    def fail(done: int, total: int) -> None:
        raise LimitExceeded(f"{done} of {total}")

    with pytest.raises(LinealError):
        scan(tmp_path, progress=fail)
