"""What a folder of backups has in it.

    files/                      bytes and manifests, each once for all backups: a store in a local folder
    <moment>/graph.jsonl        the graph, as `lineal export` writes it
    <moment>/aside.jsonl        what the store has beside it: the audit, and what background work keeps (graph.aside)
    <moment>/files.jsonl        what was kept in storage: manifests, blobs, and all other documents
    <moment>/backup.json        what this backup is, with the SHA-256 of the three files: written last
    lock                        held by whoever takes a backup

A moment is written as 20261127T093000.123456Z. A folder without backup.json is none; one that is being written has
another name, and is removed by whoever takes the next backup.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from lineal.errors import Conflict, InvalidArgument, NotFound, Unavailable
from storage.local import LocalStorage
from storage.writing import locked, to_disk

FORMAT: Final = 1
GRAPH: Final = "graph.jsonl"
ASIDE: Final = "aside.jsonl"
FILES: Final = "files.jsonl"
PARTS: Final = (GRAPH, ASIDE, FILES)
MANIFEST: Final = "backup.json"
PARTIAL: Final = ".partial-"
_BLOCK: Final = 2**20


class _Readable(LocalStorage):
    """A folder that may be on a medium that cannot be written."""

    async def open(self) -> None:
        """Nothing is written, so nothing has to be tried."""


def files_of(directory: Path, *, write: bool = False) -> LocalStorage:
    """Where the bytes of all backups of a folder are, not yet open."""
    return (LocalStorage if write else _Readable)(directory / "files", secrets.token_bytes(32))


def name_of(moment: int) -> str:
    """A moment (microseconds since the epoch, UTC) as folders are named by it."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return time.strftime("%Y%m%dT%H%M%S.%fZ")


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was finished. `told` is what its backup.json says."""

    path: Path
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its moment."""
        return self.path.name

    @property
    def digest(self) -> str:
        """The SHA-256 of its backup.json, which has those of all else."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    def lines(self, part: str) -> Iterator[tuple[str, Any]]:
        """The lines of a file: what each is, and its body."""
        return lines_of(self.path / part)


def lines_of(path: Path) -> Iterator[tuple[str, Any]]:
    """The lines of a file: what each is, and its body."""
    with path.open("rb") as file:
        for line in file:
            ((what, body),) = orjson.loads(line).items()
            yield what, body


def backups(directory: Path) -> list[Backup]:
    """The backups in a folder, the latest last. Raises InvalidArgument: one is of another format."""
    found = []
    for path in sorted(directory.glob("[0-9]*Z")):
        try:
            told = orjson.loads((path / MANIFEST).read_bytes())
        except (OSError, ValueError):
            continue
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            msg = f"{path} is a backup of another format; this Lineal reads format {FORMAT}"
            raise InvalidArgument(msg, field="directory")
        found.append(Backup(path, told))
    return found


def backup_of(directory: Path, name: str | None) -> Backup:
    """The backup of this moment, or the latest. Raises NotFound, InvalidArgument."""
    found = backups(directory)
    if name is not None:
        found = [each for each in found if each.name == name]
    if not found:
        raise NotFound(f"there is no backup{f' {name}' if name else ''} in {directory}", field="moment")
    return found[-1]


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """The folder, which is made where it is missing, with nobody else writing backups into it.

    Raises Conflict (somebody does), InvalidArgument (it is no folder), Unavailable (the system refuses to write).
    """
    if directory.exists() and not directory.is_dir():
        raise InvalidArgument(f"directory: {directory} must be a folder", field="directory")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(directory / "lock", alone=True) as alone:
            if not alone:
                raise Conflict(f"another backup into {directory} is being taken")
            yield
    except OSError as error:
        raise Unavailable(f"{directory} cannot be written: {error.strerror}") from error


class Writing:
    """A backup that is being written, in a folder of another name until it is finished."""

    def __init__(self, directory: Path) -> None:
        for path in directory.glob(f"{PARTIAL}*"):
            shutil.rmtree(path)
        self._directory = directory
        self.path = directory / f"{PARTIAL}{secrets.token_hex(8)}"
        self.path.mkdir(mode=0o700)
        self.parts: dict[str, dict[str, Any]] = {}
        """What was written: for each file its `bytes`, `lines`, `sha256`, and how many lines there are `of` a sort."""

    async def write(self, part: str, lines: AsyncIterable[bytes]) -> None:
        """Write a file."""
        digest, size, count = hashlib.sha256(), 0, 0
        of: dict[str, int] = {}
        with (self.path / part).open("wb") as file:
            async for line in lines:
                file.write(line)
                digest.update(line)
                size, count = size + len(line), count + 1
                what = line[2 : line.index(b'"', 2)].decode()
                of[what] = of.get(what, 0) + 1
            file.flush()
            os.fsync(file.fileno())
        self.parts[part] = {"bytes": size, "lines": count, "of": of, "sha256": digest.hexdigest()}

    def finish(self, moment: int, told: Mapping[str, Any]) -> Backup:
        """Have all of it on the disk, and then under its name."""
        whole = {"format": FORMAT, "moment": moment, **told, "parts": self.parts}
        with (self.path / MANIFEST).open("wb") as file:
            file.write(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
            file.flush()
            os.fsync(file.fileno())
        to_disk(self.path)
        done = self.path.rename(self._directory / name_of(moment))
        to_disk(self._directory)
        return Backup(done, whole)

    def drop(self) -> None:
        """Remove what was not finished."""
        shutil.rmtree(self.path, ignore_errors=True)


def wrong_parts(backup: Backup) -> Iterator[str]:
    """What is wrong with the files of a backup but for the bytes that it names."""
    for part in PARTS:
        told = backup.told.get("parts", {}).get(part, {})
        try:
            found = _digest(backup.path / part)
        except OSError as error:
            yield f"{backup.name}/{part} cannot be read: {error.strerror}"
            continue
        if found != told.get("sha256"):
            yield f"{backup.name}/{part} has the digest {found} instead of {told.get('sha256')}"


def remove(found: Iterable[Backup]) -> None:
    """Remove backups: a removal that broke off leaves what the next one who writes here clears away."""
    for backup in found:
        shutil.rmtree(backup.path.rename(backup.path.with_name(f"{PARTIAL}{backup.name}")))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
