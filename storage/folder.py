"""A folder of this machine as an artifact: all its files, hashed several at a time, each of them read once."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lineal.errors import InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from storage.manifest import MAX_FILES, MAX_PATH, File, Manifest, path_problem
from storage.port import CHUNK, Blob

Progress = Callable[[int, int], None]
"""Is told the bytes that were read so far and those of all files; called by one thread at a time."""

MAX_FOLDERS: Final = 100_000
"""Folders that are gone through, each as often as links lead to it: there may be more ways than anybody can go."""
THREADS: Final = 8
"""Files that are read at once, where there are as many processors."""


@dataclass(frozen=True)
class Folder:
    """What was found: the manifest, whose paths begin at `root`, and how to send what is sent in parts.

    `parts` gives the SHA-256 of every part (storage.port.Blob.part_size) by the SHA-256 of the whole, for those
    files that are larger than storage.port.WHOLE.
    """

    root: Path
    manifest: Manifest
    parts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    place: Path
    size: int


@dataclass(frozen=True, slots=True)
class _Hashed:
    file: File
    parts: tuple[str, ...]


def scan(path: Path, *, leave_out: Path | None = None, progress: Progress | None = None) -> Folder:
    """A folder, or a single file, as an artifact; hidden files too, and links to what is inside of it.

    A single file may be a link, which gives it its name. `leave_out` is one file that does not belong to the artifact,
    such as the signature beside its files. Raises NotFound (nothing is at `path`), InvalidArgument (a link that leads
    out, into itself or to what is left out, something that is no file or cannot be read, a name that cannot be kept, no
    file at all), LimitExceeded (too many files or folders), PreconditionFailed (a file that changed while it was read).
    """
    try:
        root = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise NotFound(f"{path}: there is no such file or folder") from None
    if root.is_dir():
        found = list(_walk(root) if leave_out is None else _without(leave_out, _walk(root), root))
    else:
        # What a single link leads to, such as a file of a cache, is called as the link is.
        root = path.parent.resolve()
        found = [_one(root / path.name, path.name)]
    hashed = _hash_all(found, progress)
    manifest = Manifest.of(each.file for each in hashed)
    return Folder(root, manifest, {each.file.sha256: each.parts for each in hashed if each.parts})


def _walk(root: Path) -> Iterator[_Found]:
    count, entered = 0, 0
    folders: list[tuple[Path, str, tuple[Path, ...]]] = [(root, "", (root,))]
    while folders:
        folder, before, above = folders.pop()
        entered += 1
        if entered > MAX_FOLDERS:
            raise LimitExceeded(
                f"{root}: an artifact has files in at most {MAX_FOLDERS:,} folders, links to them included"
            )
        for name in sorted(_listed(folder)):
            path = before + name
            place = _inside(folder / name, path, root)
            if place.is_dir():
                if place in above:
                    raise InvalidArgument(f"{path!r}: this link leads back to a folder that it is in", field="path")
                if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH:
                    msg = f"path: '{path:.100}…' is too long: there are at most {MAX_PATH:,} bytes from the folder on"
                    raise InvalidArgument(msg, field="path")
                folders.append((place, f"{path}/", (*above, place)))
                continue
            count += 1
            if count > MAX_FILES:
                msg = f"{root}: an artifact has at most {MAX_FILES:,} files; register more by reference"
                raise LimitExceeded(msg)
            yield _one(place, path)


def _without(left_out: Path, found: Iterator[_Found], root: Path) -> Iterator[_Found]:
    """All but one file, which may be a link. Raises InvalidArgument: something else is a link to it."""
    target = left_out.resolve()
    itself = {target, left_out.parent.resolve() / left_out.name}
    for each in found:
        if each.place != target:
            yield each
        elif root / each.path not in itself:
            msg = f"{each.path!r}: this link leads to {left_out}, which is left out; put a copy in its place"
            raise InvalidArgument(msg, field="path")


def _listed(folder: Path) -> list[str]:
    try:
        return [each.name for each in folder.iterdir()]
    except OSError as error:
        raise InvalidArgument(f"{folder}: cannot be read: {error.strerror}") from error


def _inside(place: Path, path: str, root: Path) -> Path:
    """Where a link leads, and any other path as it is."""
    if not place.is_symlink():
        return place
    try:
        target = place.resolve(strict=True)
    except (OSError, RuntimeError):
        raise InvalidArgument(f"{path!r}: this link leads nowhere", field="path") from None
    if not target.is_relative_to(root):
        msg = f"{path!r}: this link leads out of the folder; put a copy of the file in its place"
        raise InvalidArgument(msg, field="path")
    return target


def _one(place: Path, path: str) -> _Found:
    if problem := path_problem(path):
        raise InvalidArgument(f"path: {problem}", field="path")
    status = _status(place, path)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidArgument(f"{path!r}: is neither a file nor a folder", field="path")
    return _Found(path, place, status.st_size)


def _status(place: Path, path: str) -> os.stat_result:
    try:
        return place.stat()
    except OSError as error:
        raise InvalidArgument(f"{path!r}: cannot be read: {error.strerror}", field="path") from error


def _hash_all(found: list[_Found], progress: Progress | None) -> list[_Hashed]:
    total, done = sum(each.size for each in found), 0
    lock, stop = threading.Lock(), threading.Event()

    def advance(size: int) -> bool:
        nonlocal done
        if progress:
            with lock:
                done += size
                progress(done, total)
        return not stop.is_set()

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1), thread_name_prefix="hash") as pool:
        # The largest first: otherwise the last one may be read alone at the end.
        largest = sorted(found, key=lambda each: -each.size)
        hashing = [pool.submit(_hash, each, advance) for each in largest]
        try:
            return [each.result() for each in hashing]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _hash(found: _Found, advance: Callable[[int], bool]) -> _Hashed:
    """Read a file once, for the digest of the whole and those of its parts."""
    whole, parts = hashlib.sha256(), []
    blob = Blob("", found.size)
    buffer = memoryview(bytearray(min(CHUNK, blob.part_size)))
    try:
        with found.place.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            for start in range(0, found.size, blob.part_size):
                part, left = hashlib.sha256(), min(blob.part_size, found.size - start)
                while left and (size := file.readinto(buffer[:left])):
                    whole.update(buffer[:size])
                    if blob.part_count > 1:
                        part.update(buffer[:size])
                    left -= size
                    if not advance(size):
                        break
                parts.append(part.hexdigest())
    except OSError as error:
        raise InvalidArgument(f"{found.path!r}: cannot be read: {error.strerror}", field="path") from error
    after = _status(found.place, found.path)
    if before.st_size != found.size or _identity(before) != _identity(after):
        raise PreconditionFailed(f"{found.path!r}: changed while it was read; try again when nobody writes to it")
    file_ = File(found.path, found.size, whole.hexdigest())
    return _Hashed(file_, tuple(parts) if blob.part_count > 1 else ())


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
