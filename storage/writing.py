"""How bytes come into a folder so that a power failure at any moment leaves nothing half done in sight.

What is not finished is in folders of its own, and comes to its place by one renaming, after it is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from lineal.errors import Conflict, InvalidArgument, PreconditionFailed
from storage.port import Blob

if sys.platform != "win32":
    import fcntl

_DATA: Final = "data"
_BUSY: Final = "it is being sent or put together at this moment; try again later"


class Writer(ABC):
    """Takes `length` bytes whose SHA-256 is `checksum`, and keeps them only when they are just that."""

    def __init__(self, file: IO[bytes], length: int, checksum: str) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._length = length
        self._checksum = checksum
        self._written = 0

    def write(self, data: bytes) -> None:
        """Take some more. Raises InvalidArgument: there are too many."""
        self._written += len(data)
        if self._written > self._length:
            raise InvalidArgument(f"more bytes came than the {self._length:,} that were announced")
        self._hash.update(data)
        self._file.write(data)

    def finish(self) -> None:
        """Keep what came. Raises InvalidArgument: it is too short, or other bytes."""
        if self._written != self._length:
            raise InvalidArgument(f"{self._written:,} bytes came, not the {self._length:,} that were announced")
        if (found := self._hash.hexdigest()) != self._checksum:
            raise InvalidArgument(f"the bytes that came have the SHA-256 {found}, not {self._checksum}")
        _to_disk(self._file)
        self._keep()

    @abstractmethod
    def _keep(self) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Let go, whether it was finished or not."""


class BlobWriter(Writer):
    """A blob that is sent whole, or a document: a file that is renamed when it is right."""

    def __init__(self, incoming: Path, target: Path, length: int, checksum: str) -> None:
        incoming.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=incoming)
        super().__init__(os.fdopen(handle, "wb"), length, checksum)
        self._path = Path(name)
        self._target = target

    def _keep(self) -> None:
        self._file.close()
        put(self._path, self._target)

    def close(self) -> None:
        # What could not be written is not worth another attempt at writing it.
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


class PartWriter(Writer):
    """One part of a blob, written to its place in the blob's file; its record says that it is whole."""

    def __init__(self, data: IO[bytes], record: IO[bytes], start: int, length: int, checksum: str) -> None:
        super().__init__(data, length, checksum)
        self._record = record
        data.seek(start)

    def _keep(self) -> None:
        self._record.write(self._checksum.encode())
        _to_disk(self._record)

    def close(self) -> None:
        for file in (self._file, self._record):
            with suppress(OSError):
                file.close()


class Partial:
    """A blob that comes in parts: a folder with one sparse file, and a record for each part.

    A record holds the SHA-256 of its part once that is whole and on the disk. The folder comes into being with its
    file; without it, it is the remains of a blob that was put together. Whoever writes a part shares a lock on the
    file and has that of the record alone; whoever puts the blob together has that of the file alone.
    """

    def __init__(self, folder: Path, incoming: Path, blob: Blob) -> None:
        self._folder = folder
        self._incoming = incoming
        self._data = folder / _DATA
        self._blob = blob

    def whole(self) -> dict[int, str]:
        """The digests of the parts that are whole, by their number from 0."""
        if not self._data.exists():
            return {}
        records = ((path.name, path.read_text("ascii", "replace")) for path in self._folder.glob("[0-9]*"))
        return {int(name): text for name, text in records if len(text) == 64}

    def begin(self, start: int, length: int, checksum: str) -> PartWriter | None:
        """What takes a part, or None when it is there. Raises Conflict: somebody is writing it."""
        self._make()
        try:
            data, record = self._data.open("r+b"), None
        except FileNotFoundError:
            # It was put together or dropped since.
            raise Conflict(_BUSY) from None
        try:
            self._lock(data, alone=False)
            path = self._folder / str(start // self._blob.part_size)
            # Not "w": what is there is whole until this writer has the lock.
            record = path.open("a+b")
            self._lock(record, alone=True)
            record.seek(0)
            if record.read() == checksum.encode():
                data.close()
                record.close()
                return None
            record.truncate(0)
            _to_disk(record)
            to_disk(self._folder)
            return PartWriter(data, record, start, length, checksum)
        except BaseException:
            data.close()
            if record is not None:
                record.close()
            raise

    def seal(self, target: Path) -> None:
        """Check the whole, and put it where it belongs. Raises PreconditionFailed, Conflict (see `Storage.seal`)."""
        try:
            data = self._data.open("r+b")
        except FileNotFoundError:
            raise PreconditionFailed(f"nothing was sent of the blob {self._blob.sha256}") from None
        with data:
            self._lock(data, alone=True)
            if missing := self._blob.part_count - len(self.whole()):
                msg = f"{missing} of {self._blob.part_count} parts of the blob {self._blob.sha256} were not sent"
                raise PreconditionFailed(msg)
            found = hashlib.file_digest(data, "sha256").hexdigest()
            if found != self._blob.sha256:
                self.drop()
                msg = f"the parts of the blob {self._blob.sha256} have the SHA-256 {found} together; send all again"
                raise PreconditionFailed(msg)
            # It is as old as its place, not as its last part.
            os.utime(self._data)
            put(self._data, target)
        self.drop()

    def drop(self) -> None:
        """Remove it, at once for all who look."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        grave = Path(tempfile.mkdtemp(dir=self._incoming))
        with suppress(FileNotFoundError):
            self._folder.rename(grave / self._folder.name)
        shutil.rmtree(grave, ignore_errors=True)

    def abandon(self, before: int) -> bool:
        """Remove it if no byte came since then (microseconds); whether it did."""
        try:
            last = max(path.stat().st_mtime_ns for path in (self._folder, *self._folder.iterdir()))
            if last // 1000 >= before:
                return False
            with self._data.open("r+b") as data:
                self._lock(data, alone=True)
                self.drop()
        except FileNotFoundError:
            # Somebody put it together or dropped it, or this is what is left of one that was put together.
            with self._making():
                if not self._data.exists():
                    self.drop()
            return False
        except Conflict:
            return False
        return True

    def _make(self) -> None:
        if self._data.exists():
            return
        with self._making():
            if self._data.exists():
                return
            self.drop()
            new = Path(tempfile.mkdtemp(dir=self._incoming))
            with (new / _DATA).open("wb") as data:
                data.truncate(self._blob.size)
            to_disk(new)
            new.rename(self._folder)
            to_disk(self._folder.parent)

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Nobody else makes a folder meanwhile, or takes one that has just been made for remains."""
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            yield
            return
        handle = os.open(self._folder.parent, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _lock(self, file: IO[Any], *, alone: bool) -> None:
        """Raises Conflict: another has it, or the blob was put together or dropped meanwhile."""
        if not _take(file, alone=alone):
            raise Conflict(_BUSY)


@contextmanager
def locked(path: Path, *, alone: bool) -> Iterator[bool]:
    """Have the lock of a file, `alone` or with others who do not want it alone; whether one got it.

    It is lost with the process. Who has it alone may remove the file: others have that of another file then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield _take(file, alone=alone)


def _take(file: IO[Any], *, alone: bool) -> bool:
    """Take a file's lock, until it is closed; whether that was free, and the file is in its place still."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))  # noqa: PTH116
    except (BlockingIOError, FileNotFoundError):
        return False


def put(path: Path, target: Path) -> None:
    """Rename a file that is on the disk to its place, and have that on the disk too."""
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        for folder in list(target.parents)[1:4]:
            to_disk(folder)
    path.replace(target)
    to_disk(target.parent)


def to_disk(folder: Path) -> None:
    """Have a folder's entries on the disk, where the system can."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
