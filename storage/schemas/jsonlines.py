"""The schema of JSON lines, inferred from the first of them."""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import orjson

from lineal.errors import InvalidArgument, LimitExceeded
from storage.schemas.schema import MAX_COLUMNS, Column, Head, Schema

ROWS: Final = 1_000
"""Lines that types are inferred from."""

_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
# A text, whole so that nothing is found within it, or a number that JSON does not have.
_NUMBER: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|-?\b(?:NaN|Infinity)\b')


def read(path: str, head: Head) -> Schema:
    """The members of the objects of the first ROWS lines, in the order in which they first come.

    A type is JSON's own, several with `|` between them. A column may be null if a line has null for it, or does
    not have it; that none does says nothing of the rest. NaN and Infinity, which Python writes, are numbers. Raises
    InvalidArgument, LimitExceeded.
    """
    types: dict[str, set[str]] = {}
    seen: dict[str, int] = {}
    count = 0
    for line in itertools.islice(filter(str.strip, head.text(path).split("\n")), ROWS):
        count += 1
        for name, value in _object(path, line).items():
            if value is not None:
                seen[name] = seen.get(name, 0) + 1
            types.setdefault(name, set()).update([_TYPES[type(value)]] if value is not None else [])
        if len(types) > MAX_COLUMNS:
            raise LimitExceeded(f"{path}: it has more than {MAX_COLUMNS:,} columns")
    if not count:
        raise InvalidArgument(f"{path}: there is no line")
    columns = (
        Column(name, _words(found), True if seen.get(name, 0) < count else None) for name, found in types.items()
    )
    return Schema.of(path, "jsonl", columns, compression=head.compression)


def _object(path: str, line: str) -> dict[str, Any]:
    try:
        if "NaN" in line or "Infinity" in line:
            line = _NUMBER.sub(lambda found: found[0] if found[0][0] == '"' else "0.0", line)
        value = orjson.loads(line)
    except ValueError as error:
        raise InvalidArgument(f"{path}: a line is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidArgument(f"{path}: a line is not an object")
    return value


def _words(types: set[str]) -> str:
    if types == {"integer", "number"}:
        return "number"
    return "|".join(sorted(types)) or "null"
