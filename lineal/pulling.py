"""Files come from storage: in parallel, on from where a pull broke off, and each checked before it appears."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from lineal.errors import AlreadyExists, Conflict, NotFound, PreconditionFailed, Unavailable
from lineal.patience import SECONDS, Patience
from lineal.remote import Remote
from lineal.transfer import FIRST, PAGE, ROUNDS, THREADS, BrokenError, Progress, Ranges
from storage.manifest import File, Manifest
from storage.naming import check_digest
from storage.port import CHUNK, PART
from storage.writing import locked

if TYPE_CHECKING:
    from hashlib import _Hash

Seen = Callable[[memoryview], None]
"""Is given the bytes that came, in order."""
PARTIAL: Final = ".lineal-partial-"
"""What the folder in the destination is called that holds what has not been checked yet, before the digest of the
manifest: no file of the artifact can be in the way of that, for no manifest can name its own digest."""
LOCK: Final = "lock"
"""The file in it that a pull has the lock of while it fetches: two would write into each other's files."""

FILES: Final = """query Files($artifact: ID!, $first: Int!, $after: String) {
  artifact(address: $artifact) { files(first: $first, after: $after) {
    nodes { path size sha256 url } pageInfo { hasNextPage endCursor }
  } }
}"""


AGAIN: Final = """query Again($artifact: ID!, $path: String!) {
  artifact(address: $artifact) { files(first: 1, prefix: $path) { nodes { path url } } }
}"""


@dataclass(slots=True)
class Received:
    """What a pull did."""

    files: int = 0
    bytes: int = 0
    files_received: int = 0
    bytes_received: int = 0
    artifact: str = ""
    digest: str = ""

    @property
    def bytes_there(self) -> int:
        """Bytes that were in the destination already."""
        return self.bytes - self.bytes_received


class Pull:
    """Fetches an artifact into a folder. `on_bytes` hears of every byte that comes.

    While storage is away and nothing comes, it tries again for `patience` seconds.
    """

    def __init__(
        self,
        remote: Remote,
        to: Path,
        *,
        threads: int = THREADS,
        on_bytes: Progress = lambda _: None,
        patience: float = SECONDS,
    ) -> None:
        self._patience = patience
        self._artifact, self._asking = "", threading.Lock()
        self._remote, self._to, self._threads, self._on_bytes = remote, to, threads, on_bytes
        self._partial = to
        self._locking, self._alone, self._held = threading.Lock(), False, ExitStack()
        self._ranges = Ranges(remote.ca)

    def run(self, artifact: str, digest: str) -> Received:
        """Fetch what is not there yet, of the artifact of this id and manifest's digest.

        A file appears under its name once it was checked; what broke off goes on where it was. Raises what the server
        refuses, PreconditionFailed (bytes are not those of the manifest, naming the file), AlreadyExists (something
        is in the place of a file), Conflict (another pull fetches the same into the folder), Unavailable. Where the
        folder cannot be written, that is PreconditionFailed too.
        """
        self._partial = self._to / f"{PARTIAL}{check_digest(digest.removeprefix('sha256:'))}"
        self._artifact = artifact
        try:
            return self._run(artifact, digest)
        except OSError as error:
            raise _unwritable(self._to, error) from error
        finally:
            self._held.close()
            self._ranges.close()

    def _run(self, artifact: str, digest: str) -> Received:
        self._to.mkdir(parents=True, exist_ok=True)
        received = Received(artifact=artifact, digest=digest)
        files: list[File] = []
        with ThreadPoolExecutor(1) as ahead:
            pages = self._pages(artifact)
            following = ahead.submit(next, pages, None)
            while (page := following.result()) is not None:
                # The server signs the next addresses while these files come.
                following = ahead.submit(next, pages, None)
                known = [File(each["path"], int(each["size"]), each["sha256"]) for each in page]
                Manifest.of(known)  # no path of it leads out of the folder
                files += known
                self._fetch_all(known, {each["path"]: each["url"] for each in page}, received)
        if Manifest.of(files).digest != digest:
            raise PreconditionFailed(f"the files of {artifact} are not those of its manifest {digest}")
        self._refuse_merged(files)
        received.files, received.bytes = len(files), sum(file.size for file in files)
        if self._partial.is_dir() and self._is_alone():
            shutil.rmtree(self._partial, ignore_errors=True)
        return received

    def _refuse_merged(self, files: Sequence[File]) -> None:
        """Raises AlreadyExists: to the system of the folder the names of two files are one."""
        first: dict[str, str] = {}
        for file in files:
            other = first.setdefault(file.path.casefold(), file.path)
            if other != file.path and self._place(other).samefile(self._place(file.path)):
                both = f"{other!r} and {file.path!r}"
                raise AlreadyExists(f"{both} are one file in {self._to}; pull into a folder that tells capitals apart")

    def _pages(self, artifact: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        after, more, first = None, True, FIRST
        while more:
            found = self._remote.ask(FILES, artifact=artifact, first=first, after=after)["artifact"]
            first = PAGE
            if found is None:
                raise NotFound(f"there is no artifact {artifact!r}")
            yield found["files"]["nodes"]
            more, after = found["files"]["pageInfo"]["hasNextPage"], found["files"]["pageInfo"]["endCursor"]

    def _fetch_all(self, files: Sequence[File], urls: Mapping[str, str], received: Received) -> None:
        with ThreadPoolExecutor(self._threads) as pool:
            waiting = [pool.submit(self._fetch, file, urls[file.path], pool) for file in files if file.size <= PART]
            try:
                for done in as_completed(waiting):
                    _count(received, done.result())
                # Large files come one after the other, each in several parts at once.
                for file in files:
                    if file.size > PART:
                        _count(received, self._fetch(file, urls[file.path], pool))
            except BaseException:
                for each in waiting:
                    each.cancel()
                raise

    def _fetch(self, file: File, url: str, pool: ThreadPoolExecutor) -> int:
        """Fetch a file unless it is there; the bytes that came."""
        try:
            return self._put(file, url, pool)
        except OSError as error:
            raise _unwritable(self._to / file.path, error) from error

    def _put(self, file: File, url: str, pool: ThreadPoolExecutor) -> int:
        target = self._place(file.path)
        if target.is_file() and target.stat().st_size == file.size and _sha256(target) == file.sha256:
            return 0
        if target.is_dir():
            raise AlreadyExists(f"{target} is a folder, where a file has to go")
        if not self._is_alone():
            raise Conflict(f"{self._to}: another pull of the same files into this folder goes on; wait for its end")
        partial = self._partial / f"{hashlib.sha256(file.path.encode()).hexdigest()[:16]}-{file.sha256}"
        if file.size <= PART:
            came, digest = self._small(file, url, partial)
        else:
            came, digest = self._large(file, url, partial, pool)
        if digest != file.sha256 or partial.stat().st_size != file.size:
            partial.unlink()
            partial.with_suffix(".parts").unlink(missing_ok=True)
            raise PreconditionFailed(f"{file.path!r}: the bytes that came are not those of its SHA-256 {file.sha256}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        partial.with_suffix(".parts").unlink(missing_ok=True)
        return came

    def _is_alone(self) -> bool:
        """Have the folder of what has not been checked yet to oneself; whether no other pull has it."""
        with self._locking:
            self._alone = self._alone or self._held.enter_context(locked(self._partial / LOCK, alone=True))
            return self._alone

    def _place(self, path: str) -> Path:
        """Where a file goes. Raises AlreadyExists: a link would lead it out of the folder, or a file is in its way."""
        target = self._to / path
        for folder in target.parents:
            if folder == self._to:
                break
            if folder.exists() and not folder.is_dir():
                raise AlreadyExists(f"{folder} is a file, where a folder has to go")
        if not target.parent.resolve().is_relative_to(self._to.resolve()) or target.is_symlink():
            raise AlreadyExists(f"{target}: a link is in the way, which leads elsewhere")
        return target

    def _small(self, file: File, url: str, partial: Path) -> tuple[int, str]:
        """A file in one request, read for its digest as it comes. What came, and the digest."""
        with partial.open("ab") as sink:
            have = sink.tell()
            if have > file.size:
                have = sink.truncate(0)
            digest = _digest(partial)
            self._read(file, url, have, file.size - have, sink, seen=digest.update)
            return file.size - have, digest.hexdigest()

    def _large(self, file: File, url: str, partial: Path, pool: ThreadPoolExecutor) -> tuple[int, str]:
        """A large file in parts; which of them are there is written down beside it. What came, and the digest."""
        notes = partial.with_suffix(".parts")
        if not partial.exists() or partial.stat().st_size != file.size:
            notes.unlink(missing_ok=True)
            with partial.open("wb") as sink:
                sink.truncate(file.size)
        have = set(notes.read_text().split()) if notes.exists() else set()
        starts = [start for start in range(0, file.size, PART) if str(start) not in have]

        def part(start: int) -> int:
            size = min(PART, file.size - start)
            with partial.open("r+b") as sink:
                sink.seek(start)
                self._read(file, url, start, size, sink)
            with notes.open("a") as list_:
                list_.write(f"{start}\n")
            return size

        came, digest = 0, hashlib.sha256()
        waiting = {start: pool.submit(part, start) for start in starts}
        try:
            # Each part is read for the digest while the next ones come.
            buffer = memoryview(bytearray(CHUNK))
            with partial.open("rb", buffering=0) as source:
                for start in range(0, file.size, PART):
                    came += waiting[start].result() if start in waiting else 0
                    left = min(PART, file.size - start)
                    while left and (size := source.readinto(buffer[: min(CHUNK, left)])):
                        digest.update(buffer[:size])
                        left -= size
        except BaseException:
            for each in waiting.values():
                each.cancel()
            raise
        return came, digest.hexdigest()

    def _read(
        self, file: File, url: str, start: int, size: int, sink: BinaryIO, *, seen: Seen = lambda _: None
    ) -> None:
        """Write so many bytes from `start`, trying again from where it broke off. Raises Unavailable, NotFound."""
        tries, patience = 0, Patience(self._patience)
        while size:
            came, problem, refused = 0, "nothing came", False
            try:
                for data in self._ranges.read(url, start, size):
                    sink.write(data)
                    seen(data)
                    came += len(data)
                    self._on_bytes(len(data))
            except BrokenError as error:
                problem, refused = str(error), error.refused
            sink.flush()
            start, size = start + came, size - came
            tries += 1
            if came:
                tries = 0
                patience.moved()
            elif (refused and tries >= ROUNDS) or not patience.pause():
                raise Unavailable(f"{file.path!r} could not be fetched: {problem}; pull again to go on")
            elif refused:
                # Addresses are good for an hour, which a large file may take.
                url = self._signed_anew(file) or url

    def _signed_anew(self, file: File) -> str | None:
        """Another address of a file."""
        with self._asking:
            found = self._remote.ask(AGAIN, artifact=self._artifact, path=file.path)["artifact"]
        nodes = found["files"]["nodes"] if found else []
        return next((str(node["url"]) for node in nodes if node["path"] == file.path), None)


def _unwritable(place: Path, error: OSError) -> PreconditionFailed:
    return PreconditionFailed(f"{place}: cannot be written: {error.strerror or error}")


def _count(received: Received, came: int) -> None:
    received.bytes_received += came
    received.files_received += came > 0


def _digest(path: Path) -> _Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _sha256(path: Path) -> str:
    return _digest(path).hexdigest()
