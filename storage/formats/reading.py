"""How the formats read: in order, in bounded steps, from a file, a member of an archive or what is compressed."""

from __future__ import annotations

import bz2
import io
import lzma
import sys
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import orjson

from storage.source import Source

MAX_STEPS: Final = 4_000_000
"""Opcodes, fields and entries that one look into an artifact goes through."""
MAX_UNPACKED: Final = 256 * 2**20
"""Bytes that one look into an artifact unpacks in all."""
MAX_REMEMBERED: Final = 64 * 2**20
"""Bytes of texts that one look into an artifact remembers of pickles in all, beside the small ones."""
MAX_GLOBALS: Final = 10_000
"""Things that the pickles of one artifact import."""
_SMALL: Final = 64
MAX_DIRECTORY: Final = 8 * 2**20
"""Bytes of a zip archive's directory: some 60,000 members."""
MAX_JSON: Final = 4 * 2**20
HEAD: Final = 512
_FIRST: Final = 16 * 2**10
_MOST: Final = 2**20
_PIECE: Final = 64 * 2**10
_NEW_STREAM: Final = 100
"""Steps that one compressed stream after another takes: an empty one gives nothing else to count."""
_LZMA_MEMORY: Final = 64 * 2**20
_EMPTY: Final = 18
"""Zeros that LZMA takes for a whole stream of nothing."""
_MAX_ZEROS: Final = 4 * 2**20
_ZIP_MEMBER: Final = b"PK\x03\x04"
_ZIP_LOCATOR: Final = b"PK\x06\x07"
_ZIP_END: Final = b"PK\x05\x06"
MAX_ZIP_END: Final = 2**16 + 2**12
"""Bytes at the end of a zip archive in which its last record begins: it may have a comment.

PyTorch looks for it by 4 KiB at a time, and so further than Python does.
"""
_DIRECTORY_OFFSET: Final = 6
_END_OFFSET: Final = 9
_END_64: Final = 56
"""Bytes of the end record of large archives."""
_LOCATOR: Final = 20
"""Bytes of what says where that is, right before the last record."""


class Unreadable(Exception):
    """A file is not what it says, or asks for more than is given; the message says so in words."""


class Unclear(Unreadable):
    """What follows may be anything: a limit was met, or it is written in a way that is not followed."""


class Budget:
    """What one look may still do, beside the reads that its source counts."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.steps = MAX_STEPS
        self.unpacked = MAX_UNPACKED
        self.remembered = MAX_REMEMBERED
        self.globals = set[object]()

    def step(self, count: int = 1) -> None:
        """Raises Unclear: that was too much for one look, or it was stopped."""
        self.steps -= count
        if self.steps < 0 or self.source.stopped:
            raise Unclear("it has too many parts to go through all of them")

    def remember(self, value: object) -> None:
        """Raises Unclear: that was too much for one look. How many small values there are is for others to bound."""
        if (size := sys.getsizeof(value)) > _SMALL:
            self.remembered -= size
            if self.remembered < 0:
                raise Unclear("it has more text than is remembered")

    def imports(self, found: object) -> None:
        """Raises Unclear: that was too much for one look."""
        self.globals.add(found)
        if len(self.globals) > MAX_GLOBALS:
            raise Unclear("it imports more than is told of one artifact")

    def unpack(self, count: int) -> None:
        """Raises Unclear: that was too much for one look."""
        self.unpacked -= count
        if self.unpacked < 0:
            raise Unclear("it unpacks to more than is looked into")


class Stream(ABC):
    """Bytes in order. `position` is how many went by."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        """Bytes from the beginning."""
        return self._before + self._at

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, which the caller bounds; fewer only at the end."""
        end = self._at + size
        if end > len(self._buffer):
            self._fill(size)
            end = self._at + size
        data = self._buffer[self._at : end]
        self._at += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """What `read` would give, without going on."""
        data = self.read(size)
        self._at -= len(data)
        return data

    def exactly(self, size: int) -> bytes:
        """`size` bytes. Raises Unreadable: it ends before."""
        if size > _MOST or len(data := self.read(size)) < size:
            raise Unreadable("it ends early, or says a length that cannot be")
        return data

    def skip(self, size: int) -> None:
        """Go on by `size` bytes. Raises Unreadable: it ends before."""
        held = min(size, len(self._buffer) - self._at)
        self._at += held
        if size > held:
            self._jump(size - held)

    def line(self, keep: int) -> tuple[bytes, bool]:
        r"""The bytes up to and with the next `\n`, or up to the end, and whether these are all of them.

        Of more than `keep` the rest is passed over.
        """
        kept = b""
        whole = True
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            kept, whole = self._keep(kept, len(self._buffer), keep, whole=whole)
            self._at = len(self._buffer)
            self._fill(1)
            if self._at == len(self._buffer):
                return kept, whole
        kept, whole = self._keep(kept, end + 1, keep, whole=whole)
        self._at = end + 1
        return kept, whole

    def _keep(self, kept: bytes, end: int, keep: int, *, whole: bool) -> tuple[bytes, bool]:
        room = keep - len(kept)
        return kept + self._buffer[self._at : min(end, self._at + room)], whole and end - self._at <= room

    def _fill(self, size: int) -> None:
        parts = [self._buffer[self._at :]]
        missing = size - len(parts[0])
        self._before += self._at
        while missing > 0 and (more := self._more(missing)):
            parts.append(more)
            missing -= len(more)
        self._buffer = b"".join(parts)
        self._at = 0

    def _jump(self, size: int) -> None:
        while size:
            piece = len(self.read(min(size, _PIECE)))
            if not piece:
                raise Unreadable("it ends early, or says a length that cannot be")
            size -= piece

    @abstractmethod
    def _more(self, size: int) -> bytes:
        """At least one more byte, of which `size` are needed; nothing at the end."""


class Bytes(Stream):
    """Bytes that are there already."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._buffer = data

    def _more(self, size: int) -> bytes:  # noqa: ARG002 - it has all of them
        return b""


class _Region(Stream):
    """Bytes of a source's file, read ahead by more the longer it goes straight on."""

    def __init__(self, source: Source, path: str, start: int, size: int, known: bytes = b"") -> None:
        super().__init__()
        self._source, self._path = source, path
        self._start, self._next, self._size = start, len(known), size
        self._buffer = known
        self._ahead = _FIRST

    def _more(self, size: int) -> bytes:
        data = self._source.read(
            self._path, self._start + self._next, min(max(size, self._ahead), self._size - self._next)
        )
        self._ahead = min(self._ahead * 2, _MOST)
        self._next += len(data)
        return data

    def _jump(self, size: int) -> None:
        if size > self._size - self._next:
            raise Unreadable("it ends early, or says a length that cannot be")
        self._before += len(self._buffer) + size
        self._buffer, self._at = b"", 0
        self._next += size
        self._ahead = _FIRST


class _Unpacked(Stream):
    """What compressed bytes unpack to, one compressed stream after another."""

    def __init__(self, packed: Stream, start: Callable[[], _Unpacker], budget: Budget) -> None:
        super().__init__()
        self._packed, self._start_unpacker, self._budget = packed, start, budget
        self._unpacker = start()
        self._rest = b""
        self._ahead = HEAD

    def _more(self, size: int) -> bytes:
        while True:
            if self._unpacker.eof:
                self._rest = self._unpacker.unused_data or self._packed.read(1)
                if not self._rest:
                    return b""
                self._budget.step(_NEW_STREAM)
                self._unpacker = self._start_unpacker()
            elif not self._rest and self._unpacker.needs_input:
                self._rest = self._packed.read(_FIRST)
                if not self._rest:
                    return b""
            rest, self._rest = self._rest, b""
            try:
                data = self._unpacker.decompress(rest, max(size, self._ahead))
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                # Other readers give what comes before the error, or do not see it at all.
                raise Unclear("it does not unpack") from error
            if data:
                self._ahead = min(self._ahead * 2, _PIECE)
                self._budget.unpack(len(data))
                return data


class _Inflate:
    """Zlib's decompressor in the shape of the others."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _unlzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)


_Unpacker = _Inflate | bz2.BZ2Decompressor | lzma.LZMADecompressor
_PACKINGS: Final[dict[bytes, Callable[[], _Unpacker]]] = {
    b"\x1f\x8b": lambda: _Inflate(31),
    b"\x78\x01": lambda: _Inflate(15),
    b"\x78\x5e": lambda: _Inflate(15),
    b"\x78\x9c": lambda: _Inflate(15),
    b"\x78\xda": lambda: _Inflate(15),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": _unlzma,
    b"LZIP": _unlzma,
    b"\x5d\x00": _unlzma,
}


def _lzma_begins(head: bytes) -> int | None:
    """Where in these first bytes a reader of LZMA, which needs no magic number, finds the first stream with something.

    None where it finds none. liblzma is asked itself: it refuses almost all that is none by the header, or by the
    first bytes that come out.
    """
    rest = head
    while rest.strip(b"\0"):
        unpacker = _unlzma()
        try:
            data = unpacker.decompress(rest, HEAD)
        except lzma.LZMAError as error:
            refused = "limit" not in str(error)  # of memory, which others may not have
            return None if refused else len(head) - len(rest)
        if data or not unpacker.eof:
            return len(head) - len(rest) if data or len(head) == HEAD else None
        rest = unpacker.unused_data
    return len(head) - len(rest) if rest else None


@dataclass
class File:
    """A file to look into: a whole one, a member of an archive, or what one of them unpacks to.

    `path` is that of the whole file, `label` names the place for people. `locate` tells where it begins in the
    whole file; what is packed has `unpack` instead, can only be read in order, and its size is only what it says.
    """

    budget: Budget
    path: str
    label: str
    size: int
    locate: Callable[[], int] | None = None
    unpack: Callable[[], Stream] | None = None

    @cached_property
    def start(self) -> int:
        """Where it begins in the whole file. Raises Unreadable: nowhere, as it is packed."""
        if self.locate is None:
            raise Unreadable("it is packed")
        return self.locate()

    @property
    def name(self) -> str:
        """Its own name, without folders."""
        return self.label.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """From the last point of its name, in small letters."""
        return suffix(self.name)

    def stream(self) -> Stream:
        """Its bytes from the beginning."""
        if self.unpack is not None:
            return self.unpack()
        # What was read already need not be read again.
        return _Region(self.budget.source, self.path, self.start, self.size, self.__dict__.get("head", b""))

    @cached_property
    def head(self) -> bytes:
        """Its first bytes; none only where it is empty. Raises Unreadable: they cannot be read."""
        if self.locate is not None:
            return self.budget.source.read(self.path, self.start, min(HEAD, self.size))
        return self.stream().read(HEAD)

    def at(self, start: int, size: int) -> bytes:
        """`size` bytes from `start` of a file that can be read anywhere. Raises Unreadable: they are not in it."""
        if start < 0 or size < 0 or start + size > self.size:
            raise Unreadable("it points outside of itself")
        return self.budget.source.read(self.path, self.start + start, size)

    def whole(self, most: int = MAX_JSON) -> bytes:
        """All of it. Raises Unreadable: it has more than `most` bytes."""
        data = b"" if self.size > most else self.stream().read(most + 1)
        if max(self.size, len(data)) > most:
            raise Unreadable(f"it has more than the {most:,} bytes that are read of such a file")
        return data

    def json(self) -> dict[str, Any]:
        """A JSON object. Raises Unreadable: it is none, or too large."""
        return json_object(self.whole())

    @cached_property
    def is_whole(self) -> bool:
        """Whether it is no member of an archive."""
        return self.label == self.path

    @cached_property
    def unpacked(self) -> File | None:
        """What it unpacks to where it is compressed by zlib, gzip, bzip2 or LZMA.

        Raises Unreadable: it begins with more zeros than are gone through, or cannot be read.
        """
        for magic, start in _PACKINGS.items():
            if self.head.startswith(magic):
                return File(self.budget, self.path, self.label, 0, unpack=partial(self._unpack, start))
        begin, head = 0, self.head
        while (more := _lzma_begins(head)) is not None:
            begin += more
            if head[more:].strip(b"\0"):
                return File(self.budget, self.path, self.label, 0, unpack=partial(self._unpack, _unlzma, begin))
            if not self.is_whole:
                return None  # tensors of zeros, which nobody unpacks
            begin = self._past_zeros(begin)
            head = self._after(begin).read(HEAD)
        return None

    def _past_zeros(self, begin: int) -> int:
        """Where the first stream of LZMA begins that is no zeros. Raises Unclear: there are too many."""
        stream = self._after(begin)
        while (piece := stream.read(_EMPTY * 2**12)) and not piece.strip(b"\0"):
            if stream.position > _MAX_ZEROS:
                raise Unclear("it begins with more zeros than are gone through")
        zeros = stream.position - len(piece.lstrip(b"\0")) - begin
        return begin + zeros - zeros % _EMPTY if piece else begin + zeros

    def _after(self, count: int) -> Stream:
        stream = self.stream()
        stream.skip(count)
        return stream

    def _unpack(self, start: Callable[[], _Unpacker], after: int = 0) -> Stream:
        return _Unpacked(self._after(after), start, self.budget)

    @cached_property
    def ends_as_zip(self) -> bool:
        """Whether a reader of archives may take it for one, which goes by the end: anything may be before it."""
        size = min(self.size, MAX_ZIP_END)
        return self.locate is not None and _ZIP_END in self.at(self.size - size, size)

    def seekable(self) -> io.RawIOBase:
        """It as the standard library's readers of archives want it. Raises Unreadable: it is packed."""
        self.at(0, 0)
        return _Raw(self)

    @cached_property
    def members(self) -> list[File]:
        """All that a zip archive has, folders too; nothing where it is none.

        Raises Unreadable: its directory is broken or huge, or nowhere though it begins as an archive.
        """
        if self.locate is None and self.head[:2] == b"PK":
            raise Unclear("it is an archive within what is packed, which is not looked into")
        if not self.ends_as_zip:
            if self.head.startswith(_ZIP_MEMBER):
                raise Unclear("it begins as an archive, and has no directory of files")
            return []
        raw = _Raw(self)
        try:
            with zipfile.ZipFile(raw) as archive:
                infos = archive.infolist()
                end = zipfile._EndRecData(raw)  # type: ignore[attr-defined]
                # Python takes the directory, and the end of a large archive, that lie before the end; others those at
                # the offsets.
                if archive.start_dir != end[_DIRECTORY_OFFSET] or self._locates_another(end[_END_OFFSET]):
                    raise Unclear("it is an archive whose directory readers look for in different places")
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError) as error:
            raise Unreadable("its directory of files is broken") from error
        self.budget.step(len(infos))
        return [_member(self, info) for info in infos]

    def _locates_another(self, end: int) -> bool:
        """Whether there is said to be another end of a large archive than the one before its last record at `end`."""
        locator = self.at(end - _LOCATOR, _LOCATOR) if end >= _LOCATOR else b""
        said = int.from_bytes(locator[8:16], "little")
        return locator.startswith(_ZIP_LOCATOR) and said != end - _LOCATOR - _END_64

    def member(self, end: str) -> File | None:
        """The first member whose name ends so."""
        return next((each for each in self.members if ("/" + each.label.rpartition("!")[2]).endswith("/" + end)), None)

    def only(self, name: str) -> File | None:
        """The member of exactly this name. Raises Unclear: there are several."""
        found = [each for each in self.members if each.label == f"{self.label}!{name}"]
        if len(found) > 1:
            raise Unclear(f"it has several {name}, of which readers take one or the other")
        return found[0] if found else None


def suffix(path: str) -> str:
    """From the last point of a name, in small letters."""
    name = path.rpartition("/")[2]
    return "".join(name.rpartition(".")[1:]).lower() if "." in name else ""


class _Raw(io.RawIOBase):
    """A file as `zipfile` wants it, for reading the directory only."""

    def __init__(self, file: File) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._file.size - self._position)
        size = left if size < 0 else min(size, left)
        if size > MAX_DIRECTORY:
            raise Unclear("its directory of files is larger than what is read of one")
        data = self._file.at(self._position, size) if size else b""
        self._position += size
        return data


def _member(archive: File, info: zipfile.ZipInfo) -> File:
    """A member as its directory entry says. Its own header only tells where the bytes begin."""
    label = f"{archive.label}!{info.filename}"

    def begin() -> int:
        header = archive.at(info.header_offset, 30)
        if header[:4] != _ZIP_MEMBER:
            raise Unreadable("it is not where the directory of its archive says")
        names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:], "little")
        return archive.start + info.header_offset + 30 + names

    def packed() -> Stream:
        if info.flag_bits & 1:
            raise Unreadable("it is encrypted")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise Unreadable("it is compressed by a method that is not read")
        size = min(info.compress_size, archive.size)
        inner = _Region(archive.budget.source, archive.path, begin(), size)
        return _Unpacked(inner, lambda: _Inflate(-15), archive.budget)

    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return File(archive.budget, archive.path, label, info.file_size, unpack=packed)
    return File(archive.budget, archive.path, label, info.compress_size, locate=begin)


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises Unreadable: it is none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Unreadable("it is not JSON") from error
    if not isinstance(value, dict):
        raise Unreadable("it is JSON, but no object")
    return value
