"""The schema of Arrow files, which are those of Feather too, and of Arrow streams.

It is measured before Arrow reads it: many columns may point to one name there, of which Arrow makes a copy for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from lineal.errors import InvalidArgument, LimitExceeded
from storage.schemas.flatbuffers import Table
from storage.schemas.schema import MAX_COLUMNS, MAX_DEPTH, MAX_SCHEMA, Column, Schema, needs
from storage.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

_OBJECT: Final = 64
"""Bytes that a column takes beside its texts, or an entry of metadata, about."""

# The fields of Arrow's tables, in File.fbs, Message.fbs and Schema.fbs.
_FOOTER: Final = (1, 4)
_MESSAGE: Final = (2, 4)
_SCHEMA_FIELDS, _SCHEMA_METADATA = 1, 2
_NAME, _TYPE_TYPE, _TYPE, _CHILDREN, _METADATA = 0, 2, 3, 5, 6
_TIMESTAMP: Final = 10
_ZONE: Final = 1


def read_file(source: Source, path: str) -> Schema:
    """The schema of an Arrow file. Raises InvalidArgument, LimitExceeded.

    Its footer does not say how many rows there are, and Arrow counts them by reading all of the data.
    """
    try:
        import pyarrow as pa
        from pyarrow import ipc
    except ImportError:
        raise needs("pyarrow") from None
    size = source.files[path]
    end = source.read(path, max(size - 10, 0), 10)
    if not end.endswith(b"ARROW1") or size < 20:
        raise InvalidArgument(f"{path}: this Arrow file has no footer; it may not have been written to its end")
    length = _length(path, end[:4], size - 10)
    footer = source.read(path, size - 10 - length, length)
    try:
        _check(path, footer, *_FOOTER)
        # Without the data, so that what was measured is what is read.
        with ipc.open_file(pa.py_buffer(b"ARROW1\0\0" + footer + end)) as reader:
            return Schema.of(path, "arrow", columns(reader.schema))
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise InvalidArgument(f"{path}: this Arrow file cannot be read") from error


def read_stream(source: Source, path: str) -> Schema:
    """The schema that an Arrow stream begins with. Raises InvalidArgument, LimitExceeded."""
    try:
        import pyarrow as pa
        from pyarrow import ipc
    except ImportError:
        raise needs("pyarrow") from None
    start = source.read(path, 0, 8)
    length = _length(path, start[4:], source.files[path] - 8)
    message = source.read(path, 8, length)
    try:
        _check(path, message, *_MESSAGE)
        schema = ipc.read_schema(pa.py_buffer(start + message))
        return Schema.of(path, "arrow", columns(schema))
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise InvalidArgument(f"{path}: this Arrow stream cannot be read") from error


def columns(schema: pa.Schema) -> Iterator[Column]:
    """The columns of Arrow's schema. Raises ValueError: a name is not UTF-8."""
    # One past the limit, so that it is noticed without making objects of them all.
    for i in range(min(len(schema), MAX_COLUMNS + 1)):
        field = schema.field(i)
        yield Column(field.name, str(field.type), field.nullable)


def check_message(path: str, data: bytes) -> None:
    """Raises LimitExceeded: what Arrow makes of a schema as it keeps it elsewhere is too large or too deep.

    Raises InvalidArgument, ValueError, IndexError: it is none.
    """
    if not data.startswith(b"\xff\xff\xff\xff"):
        raise ValueError
    length = _length(path, data[4:8], len(data) - 8)
    _check(path, data[8 : 8 + length], *_MESSAGE)


def _length(path: str, said: bytes, most: int) -> int:
    """How many bytes the schema has, of at most so many."""
    length = int.from_bytes(said, "little", signed=True)
    if not 0 < length <= most:
        raise InvalidArgument(f"{path}: this is not an Arrow file")
    if length > MAX_SCHEMA:
        raise LimitExceeded(f"{path}: the schema has more than {MAX_SCHEMA:,} bytes")
    return length


def _check(path: str, data: bytes, schema: int, metadata: int) -> None:
    """Raises LimitExceeded: what Arrow makes of a table that has a schema and metadata is too large or too deep.

    Raises IndexError: it points outside of itself.
    """
    table = Table(data)
    inner = table.table(schema)
    sizes = [_pairs(table, metadata)]
    if inner is not None:
        sizes += [_pairs(inner, _SCHEMA_METADATA), _fields(path, inner, _SCHEMA_FIELDS, 1)]
    total = 0
    for size in chain(*sizes):
        total += size
        if total > MAX_SCHEMA:
            raise LimitExceeded(f"{path}: the schema has more than {MAX_SCHEMA:,} bytes")


def _fields(path: str, table: Table, number: int, depth: int) -> Iterator[int]:
    """The bytes of each of the fields within a table, and of what is within them."""
    for field in table.tables(number):
        if depth > MAX_DEPTH:
            raise LimitExceeded(f"{path}: the schema is more than {MAX_DEPTH} elements deep")
        zoned = field.table(_TYPE) if field.byte(_TYPE_TYPE) == _TIMESTAMP else None
        yield _OBJECT + field.length(_NAME) + (zoned.length(_ZONE) if zoned else 0)
        yield from _pairs(field, _METADATA)
        yield from _fields(path, field, _CHILDREN, depth + 1)


def _pairs(table: Table, number: int) -> Iterator[int]:
    """The bytes of each entry of metadata."""
    for pair in table.tables(number):
        yield _OBJECT + pair.length(0) + pair.length(1)
