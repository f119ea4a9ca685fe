"""Bytes in a local folder, which this server sends and takes itself (`gateway.bytes`).

<workspace>/blobs/<aa>/<sha256>         what is whole and checked
<workspace>/cold/<aa>/<sha256>          the same, kept cold
<workspace>/parts/<sha256>-<size>/      what comes in parts, until it is put together
<workspace>/documents/<name>
<workspace>/incoming/                   what is being written; it can go at any time when nobody writes
<workspace>/removing                    an empty file, locked by whoever removes something
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar
from urllib.parse import urlencode

from lineal.errors import InvalidArgument, NotFound, PreconditionFailed, Unavailable
from storage.grant import Grant, Grants
from storage.incoming import Gathered
from storage.naming import check_digest, check_document, file_of, folder_of, is_document, segment_of
from storage.port import CHUNK, TOO_LATE, Blob, Incoming, Send, Storage, Stored
from storage.threads import Threads
from storage.writing import BlobWriter, Partial, Writer, locked, put

THREADS: Final = 16
"""Reads and writes at once."""
PLACES: Final = ("blobs", "cold")
_DIGEST: Final = "[0-9a-f]" * 64
"""What names of blobs are like: others, such as a network file system's own, are passed over."""

T = TypeVar("T")


class Opened:
    """A blob that is open: it reads to its end, even where it is removed meanwhile."""

    def __init__(self, file: BinaryIO, threads: Threads) -> None:
        self._file = file
        self._threads = threads
        self.size = os.fstat(file.fileno()).st_size

    async def chunks(self, start: int, size: int) -> AsyncIterator[bytes]:
        """So many bytes from `start`, in chunks of at most CHUNK. Afterwards it is closed. Raises Unavailable."""
        try:
            self._file.seek(start)
            while size > 0:
                with _available("the file of a blob"):
                    data = await self._threads.run(self._file.read, min(CHUNK, size))
                if not data:
                    raise Unavailable("the file of a blob ends before its size")
                size -= len(data)
                yield data
        finally:
            self.close()

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def __del__(self) -> None:
        # An answer that nobody waited for may never have begun to read.
        self.close()


class LocalStorage(Storage):
    """A store in the folder `root`, whose addresses are signed with `secret` (at least 32 random bytes).

    Raises InvalidArgument: the secret is too short.
    """

    def __init__(self, root: Path, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root.absolute()
        self.name = self.root.as_uri()
        self._grants = Grants(secret, clock)
        self._threads = Threads(THREADS, "storage")

    async def open(self) -> None:
        await self._run(self._open)

    def _open(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise InvalidArgument(f"{self.root} must be a folder")
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = self.root / f".{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()

    async def close(self) -> None:
        self._threads.close()

    # ── Blobs in ──────────────────────────────────────────────────────────────────────────────────

    async def present(self, workspace: str, blobs: Sequence[Blob]) -> set[str]:
        def look() -> set[str]:
            return {blob.sha256 for blob in blobs if self._is_there(workspace, blob)}

        return await self._run(look)

    async def find(self, workspace: str, sha256: str) -> Stored | None:
        return await self._run(self._find, workspace, sha256)

    def _is_there(self, workspace: str, blob: Blob) -> bool:
        found = self._find(workspace, blob.sha256)
        return found is not None and found.size == blob.size

    async def sends(
        self,
        workspace: str,
        blob: Blob,
        parts: Sequence[str] = (),
        *,
        seconds: int,
        base: str = "",
        absent: bool = False,  # noqa: ARG002 - looking costs nothing here
    ) -> list[Send]:
        digests = blob.part_digests(parts)
        return await self._run(self._sends, workspace, blob, digests, seconds, base)

    def _sends(self, workspace: str, blob: Blob, digests: Sequence[str], seconds: int, base: str) -> list[Send]:
        if self._is_there(workspace, blob):
            return []
        whole = self._partial(workspace, blob).whole() if blob.part_count > 1 else {}
        expires = int(self._grants.clock()) + seconds
        sends = []
        for i, (start, length) in enumerate(blob.parts()):
            if whole.get(i) != digests[i]:
                grant = Grant(
                    "PUT",
                    workspace,
                    blob.sha256,
                    expires,
                    size=blob.size,
                    start=start,
                    length=length,
                    checksum=digests[i],
                )
                sends.append(Send(self._address(base, grant), start, length, {"content-length": str(length)}))
        return sends

    async def seal(self, workspace: str, blob: Blob) -> bool:
        def seal() -> None:
            if self._is_there(workspace, blob):
                return
            if blob.part_count == 1:
                raise PreconditionFailed(f"the blob {blob.sha256} was not sent")
            self._partial(workspace, blob).seal(self._path(workspace, "blobs", blob.sha256))

        await self._run(seal)
        return True

    def incoming(self, workspace: str) -> Incoming:
        def keep(path: Path, blob: Blob) -> None:
            if not self._is_there(workspace, blob):
                put(path, self._path(workspace, "blobs", blob.sha256))

        return Gathered(self._run, self._incoming(workspace), keep)

    # ── Blobs out ─────────────────────────────────────────────────────────────────────────────────

    async def link(self, workspace: str, sha256: str, *, filename: str, seconds: int, base: str = "") -> str:
        if await self._run(self._find, workspace, sha256) is None:
            raise _unknown(sha256)
        expires = int(self._grants.clock()) + seconds
        return self._address(base, Grant("GET", workspace, sha256, expires, filename))

    async def read(self, workspace: str, sha256: str, start: int = 0, size: int | None = None) -> AsyncIterator[bytes]:
        blob = await self.opened(workspace, sha256)
        left = max(0, blob.size - start)
        async for chunk in blob.chunks(start, left if size is None else min(size, left)):
            yield chunk

    # ── What the addresses open ───────────────────────────────────────────────────────────────────

    def grant(self, token: str) -> Grant:
        """What a token opens. Raises Forbidden: nothing, or nothing any more."""
        return self._grants.grant(token)

    async def opened(self, workspace: str, sha256: str) -> Opened:
        """A blob to read from. Raises NotFound, Unavailable."""
        return await self._run(self._opened, workspace, sha256)

    def _opened(self, workspace: str, sha256: str) -> Opened:
        # Twice, for it may have been moved back while this looked in the second place.
        for place in PLACES * 2:
            with suppress(FileNotFoundError):
                return Opened(self._path(workspace, place, sha256).open("rb"), self._threads)
        raise _unknown(sha256)

    async def receive(self, grant: Grant, chunks: AsyncIterator[bytes]) -> bool:
        """Take the bytes that a grant to PUT is for; whether they were not there yet.

        Raises InvalidArgument (other bytes), Conflict (somebody else is sending the same part), Unavailable.
        """
        writer = await self._run(self._begin, grant)
        if writer is None:
            async for _ in chunks:
                pass
            return False
        try:
            async for chunk in chunks:
                await self._run(writer.write, chunk)
            await self._run(writer.finish)
        finally:
            await self._run(writer.close)
        return True

    def _begin(self, grant: Grant) -> Writer | None:
        blob = Blob(grant.sha256, grant.size)
        if self._is_there(grant.workspace, blob):
            return None
        if blob.part_count == 1:
            target = self._path(grant.workspace, "blobs", blob.sha256)
            return BlobWriter(self._incoming(grant.workspace), target, grant.length, grant.checksum)
        writer = self._partial(grant.workspace, blob).begin(grant.start, grant.length, grant.checksum)
        # Looked for again: it may have been put together before this writer had the lock, and cannot be any more.
        if writer is not None and self._is_there(grant.workspace, blob):
            writer.close()
            return None
        return writer

    # ── Blobs as a whole ──────────────────────────────────────────────────────────────────────────

    async def blobs(self, workspace: str) -> AsyncIterator[Stored]:
        with _available(self.name):
            async for stored in self._threads.each(self._blobs(workspace)):
                yield stored

    def _blobs(self, workspace: str) -> Iterator[Stored]:
        folder = self._folder(workspace)
        for aa in sorted({path.name for place in PLACES for path in (folder / place).glob("[0-9a-f][0-9a-f]")}):
            digests = {path.name for place in PLACES for path in (folder / place / aa).glob(_DIGEST)}
            yield from filter(None, (self._find(workspace, sha256) for sha256 in sorted(digests)))

    async def remove(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> set[str]:
        def remove() -> None:
            with self._in_time(workspace, until):
                for sha256 in digests:
                    for place in PLACES * 2:
                        self._path(workspace, place, sha256).unlink(missing_ok=True)

        await self._run(remove)
        return set()

    async def quiet(self, workspace: str) -> bool:
        def quiet() -> bool:
            with locked(self._removing(workspace), alone=False) as alone:
                return alone

        return await self._run(quiet)

    @contextmanager
    def _in_time(self, workspace: str, until: float | None) -> Iterator[None]:
        """Remove something before then: the time is looked at under a lock, which `quiet` sees until it is over.

        The lock is that of this process, and stays where it stands still, and goes with it.
        """
        if until is None:
            yield
            return
        while True:
            with locked(self._removing(workspace), alone=True) as alone:
                if time.time() > until:
                    raise Unavailable(TOO_LATE, retry=True)
                if alone:
                    yield
                    return
            time.sleep(0.05)

    async def abandon(self, workspace: str, before: int, keep: Callable[[str], bool] = lambda _: False) -> int:
        return await self._run(self._abandon, workspace, before, keep)

    def _abandon(self, workspace: str, before: int, keep: Callable[[str], bool]) -> int:
        for path in self._incoming(workspace).glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime_ns // 1000 < before:
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink()
        dropped = 0
        for folder in (self._folder(workspace) / "parts").glob(f"{_DIGEST}-*"):
            sha256, _, size = folder.name.partition("-")
            if size.isdecimal() and not keep(sha256):
                dropped += self._partial(workspace, Blob(sha256, int(size))).abandon(before)
        return dropped

    # One that is moved is renamed: whatever stands still meanwhile, it is in one of the two places.
    async def chill(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> None:  # noqa: ARG002
        await self._run(self._move, workspace, digests, "blobs", "cold")

    async def warm(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> None:  # noqa: ARG002
        await self._run(self._move, workspace, digests, "cold", "blobs")

    def _move(self, workspace: str, digests: Sequence[str], here: str, there: str) -> None:
        for sha256 in digests:
            with suppress(FileNotFoundError):
                put(self._path(workspace, here, sha256), self._path(workspace, there, sha256))

    async def retain(self, workspace: str, digests: Sequence[str], until: int) -> None:  # noqa: ARG002
        raise PreconditionFailed(f"{self.name} cannot keep files from being removed; S3 with object lock can")

    # ── Documents ─────────────────────────────────────────────────────────────────────────────────

    async def put(self, workspace: str, name: str, data: bytes) -> None:
        target = self._document(workspace, name)

        def write() -> None:
            checksum = hashlib.sha256(data).hexdigest()
            writer = BlobWriter(self._incoming(workspace), target, len(data), checksum)
            try:
                writer.write(data)
                writer.finish()
            finally:
                writer.close()

        await self._run(write)

    async def get(self, workspace: str, name: str) -> bytes | None:
        path = self._document(workspace, name)

        def read() -> bytes | None:
            with suppress(FileNotFoundError, NotADirectoryError):
                return path.read_bytes()
            return None

        return await self._run(read)

    async def written(self, workspace: str, name: str) -> int:
        path = self._document(workspace, name)

        def look() -> int:
            with suppress(FileNotFoundError, NotADirectoryError):
                return path.stat().st_mtime_ns // 1000
            return 0

        return await self._run(look)

    async def documents(self, workspace: str, prefix: str) -> AsyncIterator[str]:
        check_document(prefix, prefix=True)
        folder, _, beginning = prefix.rpartition("/")
        root = self._folder(workspace).joinpath("documents", *map(file_of, folder.split("/") if folder else ()))
        with _available(self.name):
            async for name in self._threads.each(_names(root, f"{folder}/" if folder else "", beginning)):
                if is_document(name):
                    yield name

    async def discard(self, workspace: str, name: str, *, until: float | None = None) -> None:
        path = self._document(workspace, name)

        def discard() -> None:
            with self._in_time(workspace, until), suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()

        await self._run(discard)

    # ── Places ────────────────────────────────────────────────────────────────────────────────────

    def _folder(self, workspace: str) -> Path:
        return self.root / folder_of(workspace)

    def _incoming(self, workspace: str) -> Path:
        return self._folder(workspace) / "incoming"

    def _removing(self, workspace: str) -> Path:
        return self._folder(workspace) / "removing"

    def _path(self, workspace: str, place: str, sha256: str) -> Path:
        return self._folder(workspace) / place / check_digest(sha256)[:2] / sha256

    def _partial(self, workspace: str, blob: Blob) -> Partial:
        folder = self._folder(workspace) / "parts" / f"{check_digest(blob.sha256)}-{blob.size}"
        return Partial(folder, self._incoming(workspace), blob)

    def _document(self, workspace: str, name: str) -> Path:
        segments = check_document(name).split("/")
        return self._folder(workspace).joinpath("documents", *map(file_of, segments))

    def _find(self, workspace: str, sha256: str) -> Stored | None:
        for place in PLACES * 2:
            with suppress(FileNotFoundError):
                found = self._path(workspace, place, sha256).stat()
                # Times of change cannot be set back, as others can.
                tag = f"{found.st_ino}-{found.st_ctime_ns}-{found.st_size}"
                return Stored(sha256, found.st_size, found.st_mtime_ns // 1000, cold=place == "cold", tag=tag)
        return None

    def _address(self, base: str, grant: Grant) -> str:
        # The token is in the query, which logs leave out.
        return f"{base.rstrip('/')}/bytes/{grant.sha256}?{urlencode({'token': self._grants.token(grant)})}"

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        with _available(self.name):
            return await self._threads.run(function, *arguments)


@contextmanager
def _available(name: str) -> Iterator[None]:
    """What the system refuses is Unavailable, without paths."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{name}: {error.strerror or type(error).__name__}") from error


def _unknown(sha256: str) -> NotFound:
    return NotFound(f"there is no blob {sha256}")


def _names(folder: Path, before: str, beginning: str = "") -> Iterator[str]:
    """The names of documents under a folder in order, those of the folder itself only where they begin so."""
    if not folder.is_dir():
        return
    found = ((segment_of(path.name) + ("/" if path.is_dir() else ""), path) for path in folder.iterdir())
    for name, path in sorted(item for item in found if item[0].startswith(beginning)):
        if name.endswith("/"):
            yield from _names(path, before + name)
        else:
            yield before + name
