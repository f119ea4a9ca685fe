"""The schema of Parquet, from its footer: what comes before the row groups, and Arrow's schema after them."""

from __future__ import annotations

import base64
import io
from typing import Final

from lineal.errors import InvalidArgument, LimitExceeded
from storage.schemas.arrow import check_message, columns
from storage.schemas.schema import MAX_DEPTH, MAX_SCHEMA, Schema, needs
from storage.schemas.thrift import BINARY, I32, I64, LIST, STRUCT, Compact
from storage.source import Source

MAX_ELEMENTS: Final = 50_000
"""Elements of a schema: columns, and what they are made of."""

_NO_ROW_GROUPS: Final = bytes([0x19, 0x0C])
_ONE_PAIR: Final = bytes([0x19, 0x1C])
_END: Final = bytes(1)
_NUM_CHILDREN: Final = 5
_ARROW: Final = b"ARROW:schema"


def read(source: Source, path: str) -> Schema:
    """The schema of a Parquet file, with types in Arrow's words. Raises InvalidArgument, LimitExceeded.

    They are those that it was written with where Arrow kept them and the footer has at most MAX_SCHEMA bytes, else
    those that Parquet has for them.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise needs("pyarrow") from None
    footer = _trimmed(path, _footer(source, path))
    small = b"".join((b"PAR1", footer, len(footer).to_bytes(4, "little"), b"PAR1"))
    try:
        metadata = pq.read_metadata(io.BytesIO(small))
        schema = metadata.schema.to_arrow_schema()
        return Schema.of(path, "parquet", columns(schema), metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise InvalidArgument(f"{path}: the footer of this Parquet file cannot be read") from error


def _footer(source: Source, path: str) -> bytes:
    """The first MAX_SCHEMA bytes of the footer."""
    size = source.files[path]
    end = source.read(path, max(size - 8, 0), 8)
    if end.endswith(b"PARE"):
        raise InvalidArgument(f"{path}: the footer of this Parquet file is encrypted")
    length = int.from_bytes(end[:4], "little")
    if size < 12 or not end.endswith(b"PAR1") or length > size - 12:
        raise InvalidArgument(f"{path}: this Parquet file has no footer; it may not have been written to its end")
    return source.read(path, size - 8 - length, min(length, MAX_SCHEMA))


def _trimmed(path: str, footer: bytes) -> bytes:
    """The footer as if there were no row groups, which may be many, and are not needed."""
    reader = Compact(footer)
    rows = -1
    seen: list[int] = []
    try:
        number, kind = reader.field(0)
        while kind:
            seen.append(number)
            if (number, kind) == (2, LIST):
                _check(path, reader)
            elif (number, kind) == (3, I64):
                rows = reader.integer()
                break
            else:
                reader.skip(kind)
            number, kind = reader.field(number)
    except IndexError:
        if len(footer) == MAX_SCHEMA:
            raise LimitExceeded(f"{path}: the schema has more than {MAX_SCHEMA:,} bytes") from None
        raise InvalidArgument(f"{path}: the footer of this Parquet file breaks off") from None
    except ValueError:
        raise InvalidArgument(f"{path}: the footer of this Parquet file cannot be read") from None
    if seen != [1, 2, 3] or rows < 0:
        raise InvalidArgument(f"{path}: the footer of this Parquet file does not begin as one does")
    return footer[: reader.at] + _NO_ROW_GROUPS + _kept(path, reader) + _END


def _kept(path: str, reader: Compact) -> bytes:
    """The field of the footer with Arrow's schema alone, from where the row groups begin; nothing where it has none.

    Raises LimitExceeded: it comes to more than Arrow should make of it.
    """
    number = 3
    try:
        number, kind = reader.field(number)
        while kind and (number, kind) != (5, LIST):
            reader.skip(kind)
            number, kind = reader.field(number)
        count, kind = reader.list_head() if kind else (0, STRUCT)
        if kind != STRUCT:
            return b""
        for _ in range(count):
            begin = reader.at
            reader.skip(STRUCT)
            pair = reader.data[begin : reader.at]
            if (value := _value(pair)) is not None:
                check_message(path, base64.b64decode(value, validate=True))
                return _ONE_PAIR + pair
    except (IndexError, ValueError, InvalidArgument):
        # Beyond what is read of the footer, or nothing that Arrow wrote.
        pass
    return b""


def _value(pair: bytes) -> bytes | None:
    """The value of a pair whose key is that of Arrow's schema."""
    reader = Compact(pair)
    texts = []
    for number in (1, 2):
        if reader.field(number - 1) != (number, BINARY):
            return None
        texts.append(reader.take(reader.size()))
    # A third one could be another value.
    return texts[1] if texts[0] == _ARROW and reader.field(2) == (0, 0) else None


def _check(path: str, reader: Compact) -> None:
    """Pass over the schema. Raises LimitExceeded: it is too large or too deep to be made into objects.

    The library makes the whole path of every element, so that one long name counts for all that is within it.
    """
    count, kind = reader.list_head()
    if kind != STRUCT:
        raise ValueError
    if count > MAX_ELEMENTS:
        raise LimitExceeded(f"{path}: the schema has more than {MAX_ELEMENTS:,} elements")
    awaited, sizes = [1], [0]
    paths = 0
    for _ in range(count):
        while awaited and not awaited[-1]:
            awaited.pop()
            sizes.pop()
        if not awaited:
            raise ValueError
        awaited[-1] -= 1
        begin = reader.at
        children = _children(reader)
        if not 0 <= children <= count:
            raise ValueError
        # All of an element rather than its name: nothing then depends on which bytes the library takes for that.
        sizes.append(sizes[-1] + reader.at - begin)
        awaited.append(children)
        if len(awaited) > MAX_DEPTH:
            raise LimitExceeded(f"{path}: the schema is more than {MAX_DEPTH} elements deep")
        paths += sizes[-1]
        if paths > MAX_SCHEMA:
            raise LimitExceeded(f"{path}: the paths of the schema have more than {MAX_SCHEMA:,} bytes")
    if any(awaited):
        raise ValueError


def _children(reader: Compact) -> int:
    """How many children an element has, which is passed over."""
    children = 0
    number, kind = reader.field(0)
    while kind:
        if (number, kind) == (_NUM_CHILDREN, I32):
            children = reader.integer()
        else:
            reader.skip(kind)
        number, kind = reader.field(number)
    return children
