"""What a store of bytes does: blobs by digest, apart for each workspace, sent and fetched by signed addresses.

A blob is named by its SHA-256, so it is kept once and never changes. Clients send and fetch bytes by themselves:
the store hands out addresses that open one thing for a while, and whatever it can check it checks itself.
Blobs that are larger than WHOLE are sent in parts, which the store checks one by one but not as a whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from lineal.errors import InvalidArgument
from lineal.observing import measured_calls
from storage.naming import check_digest

WHOLE: Final = 256 * 2**20
"""Bytes up to which a blob is sent in one request, and checked by the store as it comes in."""
PART: Final = 64 * 2**20
"""Bytes of a part, unless there would be more than MAX_PARTS."""
MAX_PARTS: Final = 10_000
"""Parts of a blob, as in S3."""
CHUNK: Final = 2**20
"""Bytes that are read or written at a time."""
TOO_LATE: Final = "what was to be removed was not removed in time, and stays"


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes by content: SHA-256 in small hexadecimal digits, size in bytes."""

    sha256: str
    size: int

    @property
    def part_size(self) -> int:
        """Bytes of every part but the last: PART, doubled until MAX_PARTS are enough; all of them when sent whole."""
        if self.size <= WHOLE:
            return max(self.size, 1)
        size = PART
        while -(-self.size // size) > MAX_PARTS:
            size *= 2
        return size

    @property
    def part_count(self) -> int:
        """How many requests it takes to send it."""
        return max(1, -(-self.size // self.part_size))

    def parts(self) -> Iterator[tuple[int, int]]:
        """Where each part begins, and how many bytes it has."""
        for i in range(self.part_count):
            start = i * self.part_size
            yield start, min(self.part_size, self.size - start)

    def part_digests(self, given: Sequence[str]) -> Sequence[str]:
        """The SHA-256 of each part: those given, or its own where it is sent whole.

        Raises InvalidArgument: it takes another number of digests, or one is none.
        """
        digests = given if self.part_count > 1 else [self.sha256]
        if len(digests) != self.part_count:
            parts = f"{self.part_count:,} parts of {self.part_size:,} bytes"
            msg = f"parts: the blob {self.sha256} has {parts}, and as many digests; there are {len(given):,}"
            raise InvalidArgument(msg, field="parts")
        for digest in digests:
            check_digest(digest)
        return digests


@dataclass(frozen=True, slots=True)
class Send:
    """One request that sends bytes `start` to `start + size` of a blob: a PUT with exactly these headers."""

    url: str
    start: int
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob that is there: when it was put there in microseconds since the epoch, and whether it is kept cold.

    `tag` is another one as soon as anything else is in its place, even if somebody put it there without Lineal.
    """

    sha256: str
    size: int
    modified: int
    cold: bool = False
    tag: str = ""


class Arriving(ABC):
    """Bytes of which nobody knows the digest before all are there.

    `finish`, then `keep`. Use it with `async with`: leaving it lets go of what was not kept. Every method raises
    Unavailable when there is no room, or the store is away.
    """

    @abstractmethod
    async def finish(self) -> Blob:
        """All came: what it is."""

    @abstractmethod
    async def keep(self, blob: Blob) -> None:
        """Put what `finish` gave into the store."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Incoming(Arriving):
    """Bytes that this server takes itself: `write` them first."""

    size: int
    """Bytes that came so far."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Take some more."""


class Unnamed(ABC):
    """Takes bytes in parts from clients that send them to the store by themselves, and know no digests.

    Every method raises Unavailable when the store is away.
    """

    @abstractmethod
    async def begin(self, workspace: str, count: int, *, seconds: int) -> tuple[str, list[str]]:
        """A new upload, and the addresses that a PUT sends each of its parts to, for so long."""

    @abstractmethod
    def sent(self, workspace: str, upload: str, tags: Mapping[int, str]) -> Arriving:
        """What was sent: `tags` are what the store answered to each part, by its number. Leaving it ends the upload.

        Its `finish` raises PreconditionFailed (the parts are others, or too small) and NotFound. Raises NotFound: there
        can be no such upload.
        """

    @abstractmethod
    async def drop(self, workspace: str, upload: str) -> None:
        """Let go of what was sent. An upload that is not there any more is no error. Raises NotFound as `sent`."""


class Storage(ABC):
    """A store of bytes. Open it with `async with`.

    `workspace` is any name of a workspace; nothing of one can be reached through another. Every method raises
    Unavailable when the store is away or refuses Lineal itself.
    """

    name: str
    """What it is, for people, without secrets: `file:///var/lib/lineal`, `s3://bucket/prefix`."""
    unnamed: Unnamed | None = None
    """What takes parts of unknown digest; None where only this server can take those bytes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        measured_calls(cls, "storage")

    @abstractmethod
    async def open(self) -> None:
        """Connect, and make sure that it can be written to. Raises Unavailable, InvalidArgument (a setting)."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ── Blobs in ──────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    async def present(self, workspace: str, blobs: Sequence[Blob]) -> set[str]:
        """The digests of those that are there, whole and of their size."""

    @abstractmethod
    async def find(self, workspace: str, sha256: str) -> Stored | None:
        """What the store tells of a blob, or None."""

    @abstractmethod
    async def sends(
        self,
        workspace: str,
        blob: Blob,
        parts: Sequence[str] = (),
        *,
        seconds: int,
        base: str = "",
        absent: bool = False,
    ) -> list[Send]:
        """The requests that are still needed for a blob to be there; parts that were sent before are left out.

        `parts` are the SHA-256 of its parts where it takes several, by which the store refuses wrong ones.
        `seconds` is how long the addresses open anything. `base` is this server's own address, which the local
        folder's addresses begin with. `absent`: the caller has just looked, and it was not there. Raises
        InvalidArgument: not as many digests as parts.
        """

    @abstractmethod
    async def seal(self, workspace: str, blob: Blob) -> bool:
        """Put a blob together that was sent; whether the store has checked its digest as a whole.

        Sealing what is sealed changes nothing. Raises PreconditionFailed: bytes are missing, or are others. Raises
        Conflict: somebody is sending it or putting it together at this moment; the same call may work later.
        """

    @abstractmethod
    def incoming(self, workspace: str) -> Incoming:
        """Take bytes from whoever cannot send them to the store itself."""

    # ── Blobs out ─────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    async def link(self, workspace: str, sha256: str, *, filename: str, seconds: int, base: str = "") -> str:
        """An address that gives the bytes to a GET, with ranges (RFC 9110 §14), for so many seconds.

        A browser saves them as `filename` and never shows them. Raises NotFound.
        """

    @abstractmethod
    def read(self, workspace: str, sha256: str, start: int = 0, size: int | None = None) -> AsyncIterator[bytes]:
        """Its bytes from `start`, in chunks of about CHUNK. Raises NotFound."""

    # ── Blobs as a whole ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def blobs(self, workspace: str) -> AsyncIterator[Stored]:
        """Every blob of a workspace, by digest, without holding all of them in memory."""

    @abstractmethod
    async def remove(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> set[str]:
        """Remove blobs, wherever they are kept, so that their bytes are free; the digests of those that are retained.

        What is not there is no error, and what is retained stays as it is. With `until` (seconds since the epoch)
        nothing is removed after that, however long this process stands still between two of its steps; what is on
        its way at that moment, `quiet` waits for. Raises Unavailable then, and some may be left.
        """

    async def hide(self, workspace: str, digests: Sequence[str], *, until: float) -> None:  # noqa: ARG002
        """Have blobs out of the way that `remove` said are retained: they are there no more, and can be sent again.

        Their bytes stay as long as they are retained. `until` is as in `remove`. A store that retains nothing has
        nothing to do.
        """
        assert not digests

    @abstractmethod
    async def quiet(self, workspace: str) -> bool:
        """Whether nothing goes on any more of what had to end before now, by the `until` of `remove` and others."""

    @abstractmethod
    async def abandon(self, workspace: str, before: int, keep: Callable[[str], bool] = lambda _: False) -> int:
        """Drop blobs sent in parts, never put together, that saw no byte since `before` (microseconds); how many.

        Those stay of whose digest `keep` says so and that are not there whole; it may be called in any thread. What has
        no digest yet goes too.
        """

    @abstractmethod
    async def chill(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> None:
        """Move blobs to where they are kept cold. They read as before. Those that are retained stay where they are.

        With `until` nothing is taken from where it was after that, as in `remove`: what was only copied is in both
        places then, which is no error, and the same call goes on with it.
        """

    @abstractmethod
    async def warm(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> None:
        """Move blobs back."""

    @abstractmethod
    async def retain(self, workspace: str, digests: Sequence[str], until: int) -> None:
        """Keep blobs from being removed by anybody until then (microseconds), where the store can hold them.

        What is kept for longer already stays so. Raises PreconditionFailed (it cannot), NotFound.
        """

    # ── Documents: what Lineal itself writes beside blobs ─────────────────────────────────────────

    @abstractmethod
    async def put(self, workspace: str, name: str, data: bytes) -> None:
        """Write a small document whole: a manifest, a session, a signature.

        `name` has letters, digits, `-`, `.` and `/`, no part of it is `.` or `..`, and it is no folder in another
        one's name. Raises InvalidArgument.
        """

    @abstractmethod
    async def get(self, workspace: str, name: str) -> bytes | None:
        """A document, or None."""

    @abstractmethod
    async def written(self, workspace: str, name: str) -> int:
        """When a document was put there (microseconds since the epoch); 0 where there is none."""

    @abstractmethod
    def documents(self, workspace: str, prefix: str) -> AsyncIterator[str]:
        """The names of the documents whose names begin so, in order."""

    @abstractmethod
    async def discard(self, workspace: str, name: str, *, until: float | None = None) -> None:
        """Remove a document. One that is not there is no error. With `until` as in `remove`."""
