"""The schema of an Avro object container file, from its header."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import orjson

from lineal.errors import InvalidArgument, LimitExceeded
from storage.schemas.schema import MAX_SCHEMA, Column, Schema, needs
from storage.source import Source

_FIRST: Final = 2**16
_WRONG: Final = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(EOFError, OverflowError, RecursionError, MemoryError),
)


def read(source: Source, path: str) -> Schema:
    """The schema of an Avro file: its fields if it is a record, else one column `value`.

    Raises InvalidArgument, LimitExceeded.
    """
    try:
        import fastavro
    except ImportError:
        raise needs("fastavro") from None
    wrong = (*_WRONG, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType)
    readable = min(source.files[path], MAX_SCHEMA)
    head = source.read(path, 0, _FIRST)
    while True:
        try:
            header = fastavro.reader(io.BytesIO(head))
            return Schema.of(path, "avro", _columns(header.writer_schema), compression=_codec(header.codec))
        except wrong as error:
            # A header that goes on beyond what was read is no other error than one that is broken.
            if len(head) == source.files[path]:
                raise InvalidArgument(f"{path}: the header of this Avro file cannot be read") from error
            if len(head) == readable:
                raise LimitExceeded(f"{path}: no header within {MAX_SCHEMA:,} bytes") from error
            head += source.read(path, len(head), readable - len(head))


def _codec(codec: str) -> str:
    return "" if codec == "null" else str(codec)[:50]


def _columns(schema: Any) -> Iterator[Column]:
    fields = schema["fields"] if isinstance(schema, dict) and schema.get("type") == "record" else None
    for field in [{"name": "value", "type": schema}] if fields is None else fields:
        kind = field["type"]
        others = [each for each in kind if each != "null"] if isinstance(kind, list) else [kind]
        nullable = kind == "null" or (isinstance(kind, list) and len(others) < len(kind))
        yield Column(field["name"], _words(others[0] if len(others) == 1 else others), nullable)


def _words(kind: Any) -> str:
    """A type as Avro writes it: a name, or JSON; one that has only a logical type besides as `long (date)`."""
    if isinstance(kind, dict):
        kind = {key: value for key, value in kind.items() if not key.startswith("__")}
        if set(kind) == {"type", "logicalType"} and isinstance(kind["type"], str):
            return f"{kind['type']} ({kind['logicalType']})"
        if set(kind) == {"type"}:
            kind = kind["type"]
    return kind if isinstance(kind, str) else orjson.dumps(kind).decode()
