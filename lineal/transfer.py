"""Files go to and from storage directly: in parallel, on from where they were, and checked byte for byte."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import urllib3

from lineal.errors import (
    AlreadyExists,
    Conflict,
    LinealError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from lineal.remote import Remote
from storage.folder import Folder
from storage.manifest import File, Manifest
from storage.port import CHUNK, PART, Blob

THREADS: Final = 6
"""Requests at once."""
ROUNDS: Final = 8
"""Times in a row that nothing could be sent before giving up."""
PAGE: Final = 200
PARTIAL: Final = ".lineal-partial"
"""The folder in the destination that holds what has not been checked yet."""

Progress = Callable[[int], None]
"""Hears how many bytes more have gone or come."""


@dataclass(slots=True)
class Sent:
    """What a push did: files and bytes in all, and what of them had to be sent."""

    files: int = 0
    bytes: int = 0
    bytes_sent: int = 0
    paths: set[str] = field(default_factory=set)
    upload: str = ""
    artifact: str = ""
    digest: str = ""

    @property
    def files_sent(self) -> int:
        """Files of which anything had to be sent."""
        return len(self.paths)

    @property
    def bytes_there(self) -> int:
        """Bytes that storage had already."""
        return self.bytes - self.bytes_sent


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


# ── Push ──────────────────────────────────────────────────────────────────────────────────────────

BEGIN: Final = """mutation Begin($input: BeginUploadInput!) {
  beginUpload(input: $input) { upload { id state digest } }
}"""
MISSING: Final = """query Missing($upload: ID!, $first: Int!, $after: String) {
  upload(address: $upload) { state missing(first: $first, after: $after) {
    nodes { path size sha256 requests { url start size headers { name value } } } pageInfo { hasNextPage endCursor }
  } }
}"""
COMPLETE: Final = """mutation Complete($upload: ID!) {
  completeUpload(input: {upload: $upload}) { artifact { id digest verification } }
}"""


class Push:
    """Sends a folder, or one file, to be the artifact of something. `on_bytes` hears of every byte that goes."""

    def __init__(
        self, remote: Remote, folder: Folder, *, threads: int = THREADS, on_bytes: Progress = lambda _: None
    ) -> None:
        self._remote, self._folder, self._threads, self._on_bytes = remote, folder, threads, on_bytes
        self._http = _pool(threads)

    def run(self, to: str, name: str) -> Sent:
        """Send what is missing until nothing is, and complete the upload, as the artifact `name` of `to`.

        Raises what the server refuses, PreconditionFailed (a file is not what it was), Unavailable (storage is away).
        """
        manifest, parts = self._folder.manifest, self._folder.parts
        files = [
            {"path": f.path, "size": str(f.size), "sha256": f.sha256, "parts": list(parts.get(f.sha256, ())) or None}
            for f in manifest.files
        ]
        begun = self._remote.ask(BEGIN, input={"to": to, "name": name, "files": files})["beginUpload"]["upload"]
        sent = Sent(len(manifest.files), manifest.size, upload=begun["id"], digest=begun["digest"])
        idle = 0
        while True:
            before = sent.bytes_sent
            problem = self._send_all(begun["id"], sent)
            if problem is None:
                try:
                    made = self._remote.ask(COMPLETE, upload=begun["id"])["completeUpload"]["artifact"]
                except PreconditionFailed as error:
                    if not error.details.get("missing"):
                        raise
                    problem = error
                else:
                    sent.artifact = made["id"] if made else ""
                    return sent
            idle = idle + 1 if sent.bytes_sent == before else 0
            if idle >= ROUNDS:
                raise problem
            time.sleep(min(0.25 * 2**idle, 10))

    def _send_all(self, upload: str, sent: Sent) -> LinealError | None:
        """Send everything that is missing; what went wrong last, where anything did."""
        problem: LinealError | None = None
        with ThreadPoolExecutor(self._threads) as pool:
            for missing in self._missing(upload):
                waiting = {
                    pool.submit(self._send, file, request): file["path"]
                    for file in missing
                    for request in file["requests"]
                }
                try:
                    for done in as_completed(waiting):
                        try:
                            sent.bytes_sent += done.result()
                            sent.paths.add(waiting[done])
                        except (Unavailable, Conflict) as error:
                            problem = error
                except BaseException:
                    for each in waiting:
                        each.cancel()
                    raise
                if problem is not None:
                    break
        return problem

    def _missing(self, upload: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        after, more = None, True
        while more:
            found = self._remote.ask(MISSING, upload=upload, first=PAGE, after=after)["upload"]
            if found is None:
                raise NotFound("the upload is gone; push again")
            page = found["missing"]
            yield page["nodes"]
            more, after = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]

    def _send(self, file: Mapping[str, Any], request: Mapping[str, Any]) -> int:
        """One request; the bytes that it took. Raises PreconditionFailed, Unavailable."""
        path, start, size = file["path"], int(request["start"]), int(request["size"])
        headers = {each["name"]: each["value"] for each in request["headers"]}
        with self._open(path) as source:
            source.seek(start)
            body = _Slice(source, size, self._on_bytes)
            try:
                response = self._http.request("PUT", request["url"], body=body, headers=headers, retries=False)
            except (urllib3.exceptions.HTTPError, EOFError) as error:
                self._on_bytes(-body.taken)
                self._refuse_changed(file, start, size)
                raise Unavailable(f"storage did not take {path!r}: {type(error).__name__}") from None
        if response.status < 300:
            return size
        self._on_bytes(-body.taken)
        if response.status == 400:
            self._refuse_changed(file, start, size)
        told = response.data[:300].decode("utf-8", "replace")
        raise Unavailable(f"storage answered {response.status} to {path!r}: {told}")

    def _refuse_changed(self, file: Mapping[str, Any], start: int, size: int) -> None:
        """Raises PreconditionFailed: these bytes of a file are not those that were read first."""
        blob = Blob(file["sha256"], int(file["size"]))
        digests = blob.part_digests(self._folder.parts.get(blob.sha256, ()))
        digest, left = hashlib.sha256(), size
        with self._open(file["path"]) as source:
            source.seek(start)
            while left and (data := source.read(min(CHUNK, left))):
                digest.update(data)
                left -= len(data)
        if left or digest.hexdigest() != digests[start // blob.part_size]:
            raise PreconditionFailed(f"{file['path']!r} changed while it was sent; push again when nobody writes to it")

    def _open(self, path: str) -> BinaryIO:
        try:
            return (self._folder.root / path).open("rb")
        except OSError as error:
            raise PreconditionFailed(f"{path!r} cannot be read any more: {error.strerror}") from None


class _Slice(io.RawIOBase):
    """Some bytes of a file, as the body of a request. Raises EOFError: the file is shorter."""

    def __init__(self, source: BinaryIO, size: int, on_bytes: Progress) -> None:
        self._source, self._left, self._on_bytes = source, size, on_bytes
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.read(wanted) if wanted else b""
        if len(data) < wanted:
            raise EOFError
        self._left -= len(data)
        self.taken += len(data)
        self._on_bytes(len(data))
        return data


# ── Pull ──────────────────────────────────────────────────────────────────────────────────────────

FILES: Final = """query Files($artifact: ID!, $first: Int!, $after: String) {
  artifact(address: $artifact) { files(first: $first, after: $after) {
    nodes { path size sha256 url } pageInfo { hasNextPage endCursor }
  } }
}"""


class Pull:
    """Fetches an artifact into a folder. `on_bytes` hears of every byte that comes."""

    def __init__(
        self, remote: Remote, to: Path, *, threads: int = THREADS, on_bytes: Progress = lambda _: None
    ) -> None:
        self._remote, self._to, self._threads, self._on_bytes = remote, to, threads, on_bytes
        self._partial = to / PARTIAL
        self._http = _pool(threads)

    def run(self, artifact: str, digest: str) -> Received:
        """Fetch what is not there yet, of the artifact of this id and manifest's digest.

        A file appears under its name once it was checked; what broke off goes on where it was. Raises what the server
        refuses, PreconditionFailed (bytes are not those of the manifest, naming the file), AlreadyExists (something
        is in the place of a file), Unavailable.
        """
        self._to.mkdir(parents=True, exist_ok=True)
        received = Received(artifact=artifact, digest=digest)
        files: list[File] = []
        for page in self._pages(artifact):
            known = [File(each["path"], int(each["size"]), each["sha256"]) for each in page]
            Manifest.of(known)  # no path of it leads out of the folder
            files += known
            self._fetch_all(known, {each["path"]: each["url"] for each in page}, received)
        if Manifest.of(files).digest != digest:
            raise PreconditionFailed(f"the files of {artifact} are not those of its manifest {digest}")
        received.files, received.bytes = len(files), sum(file.size for file in files)
        shutil.rmtree(self._partial, ignore_errors=True)
        return received

    def _pages(self, artifact: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        after, more = None, True
        while more:
            found = self._remote.ask(FILES, artifact=artifact, first=PAGE, after=after)["artifact"]
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
        target = self._place(file.path)
        if target.is_file() and target.stat().st_size == file.size and _sha256(target) == file.sha256:
            return 0
        if target.is_dir():
            raise AlreadyExists(f"{target} is a folder, where a file has to go")
        self._partial.mkdir(exist_ok=True)
        partial = self._partial / f"{hashlib.sha256(file.path.encode()).hexdigest()[:16]}-{file.sha256}"
        came = self._small(file, url, partial) if file.size <= PART else self._large(file, url, partial, pool)
        if _sha256(partial) != file.sha256:
            partial.unlink()
            partial.with_suffix(".parts").unlink(missing_ok=True)
            raise PreconditionFailed(f"{file.path!r}: the bytes that came are not those of its SHA-256 {file.sha256}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        partial.with_suffix(".parts").unlink(missing_ok=True)
        return came

    def _place(self, path: str) -> Path:
        """Where a file goes. Raises AlreadyExists: a link would lead it out of the folder."""
        target = self._to / path
        if not target.parent.resolve().is_relative_to(self._to.resolve()) or target.is_symlink():
            raise AlreadyExists(f"{target}: a link is in the way, which leads elsewhere")
        return target

    def _small(self, file: File, url: str, partial: Path) -> int:
        with partial.open("ab") as sink:
            have = sink.tell()
            if have > file.size:
                have = sink.truncate(0)
            self._read(file, url, have, file.size - have, sink)
            return file.size - have

    def _large(self, file: File, url: str, partial: Path, pool: ThreadPoolExecutor) -> int:
        """A large file in parts; which of them are there is written down beside it."""
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
                os.fdatasync(sink.fileno())
            return start

        came = 0
        waiting = [pool.submit(part, start) for start in starts]
        try:
            for done in as_completed(waiting):
                with notes.open("a") as list_:
                    list_.write(f"{done.result()}\n")
                came += min(PART, file.size - done.result())
        except BaseException:
            for each in waiting:
                each.cancel()
            raise
        return came

    def _read(self, file: File, url: str, start: int, size: int, sink: BinaryIO) -> None:
        """Write so many bytes from `start`, trying again from where it broke off. Raises Unavailable, NotFound."""
        tries = 0
        while size:
            came, problem = 0, ""
            try:
                headers = {"range": f"bytes={start}-{start + size - 1}"}
                response = self._http.request("GET", url, headers=headers, preload_content=False, retries=False)
                with response:
                    if response.status == 206:
                        for data in response.stream(CHUNK):
                            sink.write(data)
                            came += len(data)
                            self._on_bytes(len(data))
                    else:
                        problem = f"storage answered {response.status}"
            except urllib3.exceptions.HTTPError as error:
                problem = type(error).__name__
            sink.flush()
            start, size = start + came, size - came
            tries = 0 if came else tries + 1
            if problem and tries >= ROUNDS:
                raise Unavailable(f"{file.path!r} could not be fetched: {problem}; pull again to go on")
            if size and not came:
                time.sleep(min(0.1 * 2**tries, 5))


def _count(received: Received, came: int) -> None:
    received.bytes_received += came
    received.files_received += came > 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pool(threads: int) -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=10, read=60)
    return urllib3.PoolManager(num_pools=8, maxsize=threads + 2, timeout=timeout, blocksize=CHUNK)
