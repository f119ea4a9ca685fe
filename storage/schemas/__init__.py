"""The schema of a file of data, from its footer or its head: Parquet, Arrow, Avro, CSV, JSON lines.

Little is read however large the file is, nothing in it is run, and what is hostile ends with an error soon. Columns
are those of the top: a nested one is one column whose type says what is inside, since a dot may be in a name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Final

from lineal.errors import InvalidArgument
from storage.schemas import arrow, avro, delimited, jsonlines, parquet
from storage.schemas.schema import HEAD, Column, Head, Schema
from storage.source import Source

__all__ = ["Column", "Schema", "read_schema"]

MAX_MEMBERS: Final = 1_000
"""Files of gzip, one behind another, that are looked into of one."""

_GZIP: Final = b"\x1f\x8b"
_MAGIC: Final[tuple[tuple[bytes, Callable[[Source, str], Schema]], ...]] = (
    (b"PAR1", parquet.read),
    (b"PARE", parquet.read),
    (b"ARROW1", arrow.read_file),
    (b"\xff\xff\xff\xff", arrow.read_stream),
    (b"Obj\x01", avro.read),
)
_TEXT: Final[Mapping[str, Callable[[str, Head], Schema]]] = {
    ".csv": delimited.read,
    ".tsv": delimited.read,
    ".jsonl": jsonlines.read,
    ".ndjson": jsonlines.read,
}
_BINARY: Final = (".parquet", ".arrow", ".feather", ".avro")


def read_schema(source: Source, path: str) -> Schema | None:
    """The schema of a file, or None where it is of no kind that is known.

    Parquet, Arrow and Avro are known by their first bytes, CSV and JSON lines by their names, with `.gz` too.
    Raises InvalidArgument: it is not what it says it is, or a library is not installed; LimitExceeded: its schema
    is larger than is read.
    """
    name = path.lower()
    start = source.read(path, 0, 8)
    for magic, read in _MAGIC:
        if start.startswith(magic):
            return read(source, path)
    suffix = PurePosixPath(name.removesuffix(".gz")).suffix
    if suffix in _BINARY:
        raise InvalidArgument(f"{path}: this is not a file of the kind that its name says")
    if suffix not in _TEXT:
        return None
    data = source.read(path, 0, HEAD)
    head = Head(data, whole=len(data) == source.files[path])
    if name.endswith(".gz"):
        head = _unzipped(path, head)
    return _TEXT[suffix](path, head)


def _unzipped(path: str, head: Head) -> Head:
    """The first HEAD bytes of what is compressed, and no more, however much it would be."""
    data, rest = b"", head.data
    for _ in range(MAX_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            data += stream.decompress(rest, HEAD - len(data))
        except zlib.error as error:
            raise InvalidArgument(f"{path}: this is not compressed by gzip") from error
        rest = stream.unused_data
        if not rest.startswith(_GZIP) or len(data) == HEAD:
            break
    return Head(data, whole=head.whole and stream.eof and not rest, compression="gzip")
