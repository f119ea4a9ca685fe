"""The schema of Arrow files, which are those of Feather too, and of Arrow streams."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lineal.errors import InvalidArgument, LimitExceeded
from storage.schemas.schema import MAX_COLUMNS, MAX_SCHEMA, Column, Schema, needs
from storage.source import Source

if TYPE_CHECKING:
    import pyarrow as pa


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
    _check(path, int.from_bytes(end[:4], "little", signed=True), size)
    try:
        with pa.PythonFile(_File(source, path), mode="r") as file, ipc.open_file(file) as reader:
            return Schema.of(path, "arrow", columns(reader.schema))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise InvalidArgument(f"{path}: this Arrow file cannot be read") from error


def read_stream(source: Source, path: str) -> Schema:
    """The schema that an Arrow stream begins with. Raises InvalidArgument, LimitExceeded."""
    try:
        import pyarrow as pa
        from pyarrow import ipc
    except ImportError:
        raise needs("pyarrow") from None
    length = int.from_bytes(source.read(path, 4, 4), "little", signed=True)
    _check(path, length, source.files[path])
    try:
        schema = ipc.read_schema(pa.py_buffer(source.read(path, 0, 8 + length)))
        return Schema.of(path, "arrow", columns(schema))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise InvalidArgument(f"{path}: this Arrow stream cannot be read") from error


def columns(schema: pa.Schema) -> Iterator[Column]:
    """The columns of Arrow's schema. Raises ValueError: a name is not UTF-8."""
    # One past the limit, so that it is noticed without making objects of them all.
    for i in range(min(len(schema), MAX_COLUMNS + 1)):
        field = schema.field(i)
        yield Column(field.name, str(field.type), field.nullable)


def _check(path: str, length: int, size: int) -> None:
    if not 0 < length < size:
        raise InvalidArgument(f"{path}: this is not an Arrow file")
    if length > MAX_SCHEMA:
        raise LimitExceeded(f"{path}: the schema has more than {MAX_SCHEMA:,} bytes")


class _File(io.RawIOBase):
    """A file of a source as Arrow reads files."""

    def __init__(self, source: Source, path: str) -> None:
        super().__init__()
        self._source = source
        self._path = path
        self._at = 0

    def read(self, size: int | None = -1) -> bytes:
        left = self._source.files[self._path] - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MAX_SCHEMA:
            raise LimitExceeded(f"{self._path}: what is not data has more than {MAX_SCHEMA:,} bytes")
        data = self._source.read(self._path, self._at, wanted)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.files[self._path]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
