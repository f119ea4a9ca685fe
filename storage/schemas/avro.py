"""The schema of an Avro object container file, from its header.

It is measured before the library parses it, which writes the namespace of a record in full for every name within it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import orjson

from lineal.errors import InvalidArgument, LimitExceeded
from storage.schemas.schema import MAX_SCHEMA, Column, Schema, needs
from storage.schemas.thrift import Compact
from storage.source import Source

MAX_ENTRIES: Final = 10_000
"""Entries of a header."""

_FIRST: Final = 2**16
_MAGIC: Final = 4
_SYNC: Final = 16
_OBJECT: Final = 64
"""Bytes that a type or a field takes beside its name, about."""
_PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
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
            metadata = _metadata(path, head)
            schema = json.loads(metadata[b"avro.schema"])
            if _size(schema, "") > MAX_SCHEMA:
                raise LimitExceeded(f"{path}: the names of the schema have more than {MAX_SCHEMA:,} bytes")
            # Within an array, since the library leaves marks of its own in what is outermost.
            parsed: Any = fastavro.parse_schema({"type": "array", "items": schema})
            codec = metadata.get(b"avro.codec", b"null").decode()
            return Schema.of(path, "avro", _columns(parsed["items"]), compression="" if codec == "null" else codec[:50])
        except wrong as error:
            # A header that goes on beyond what was read is no other error than one that is broken.
            if len(head) == source.files[path]:
                raise InvalidArgument(f"{path}: the header of this Avro file cannot be read") from error
            if len(head) == readable:
                raise LimitExceeded(f"{path}: no header within {MAX_SCHEMA:,} bytes") from error
            head += source.read(path, len(head), readable - len(head))


def _metadata(path: str, head: bytes) -> dict[bytes, bytes]:
    """The entries of a header that are used. Raises LimitExceeded, ValueError, IndexError."""
    # Integers are those of Thrift.
    reader = Compact(head)
    reader.take(_MAGIC)
    found: dict[bytes, bytes] = {}
    entries = 0
    while count := reader.integer():
        if count < 0:
            reader.integer()  # how many bytes the block has
        entries += abs(count)
        if entries > MAX_ENTRIES:
            raise LimitExceeded(f"{path}: its header has more than {MAX_ENTRIES:,} entries")
        for _ in range(abs(count)):
            name, value = (reader.take(reader.integer()) for _ in range(2))
            if name in {b"avro.schema", b"avro.codec"}:
                found[name] = value
    reader.take(_SYNC)
    return found


def _size(schema: Any, namespace: str) -> int:
    """Bytes that the library makes of a schema, about, beside what is in the file only once."""
    if isinstance(schema, list):
        return _OBJECT + sum(_size(each, namespace) for each in schema)
    if isinstance(schema, str):
        return 0 if schema in _PRIMITIVES else len(namespace) + len(schema)
    kind = schema["type"]
    if kind in {"array", "map"}:
        return _OBJECT + _size(schema["items" if kind == "array" else "values"], namespace)
    if kind not in {"record", "error", "enum", "fixed"}:
        return _OBJECT
    name = schema["name"]
    namespace = name.rpartition(".")[0] or schema.get("namespace", namespace) or ""
    if not isinstance(namespace, str):
        raise TypeError
    fields = schema.get("fields", []) if kind in {"record", "error"} else []
    return len(namespace) + len(name) + sum((_OBJECT + _size(each["type"], namespace) for each in fields), _OBJECT)


def _columns(schema: Any) -> Iterator[Column]:
    fields = schema["fields"] if isinstance(schema, dict) and schema.get("type") == "record" else None
    for field in [{"name": "value", "type": schema}] if fields is None else fields:
        kind = field["type"]
        others = [each for each in kind if each != "null"] if isinstance(kind, list) else [kind]
        nullable = kind == "null" or (isinstance(kind, list) and len(others) < len(kind))
        if not isinstance(field["name"], str):
            raise TypeError
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
