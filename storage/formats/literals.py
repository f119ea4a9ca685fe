"""The arguments of a pickle's opcodes as an unpickler reads them. UNKNOWN, which was skipped, stays UNKNOWN."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from storage.formats.reading import Unreadable
from storage.formats.symbols import UNKNOWN


def decoded(data: Any, how: str) -> Any:
    """A text, or UNKNOWN for a long one. Raises Unreadable where a real unpickler breaks."""
    if data is UNKNOWN:
        return UNKNOWN
    try:
        return codecs.decode(data, how, "surrogatepass" if how == "utf-8" else "strict")
    except (UnicodeError, ValueError) as error:
        raise Unreadable("the pickle has a text that is none") from error


def unquoted(data: Any) -> Any:
    """A text in quotes, with escapes."""
    if data is UNKNOWN:
        return UNKNOWN
    data = data.strip()
    if len(data) < 2 or data[:1] != data[-1:] or data[:1] not in {b"'", b'"'}:
        raise Unreadable("the pickle has a text without quotes")
    try:
        unescaped: bytes = codecs.escape_decode(data[1:-1])[0]
    except ValueError as error:
        raise Unreadable("the pickle has a text that is none") from error
    return unescaped.decode("latin-1")


def number(data: Any) -> Any:
    """What INT and LONG say in decimal digits: `01` and `00` are true and false."""
    if data in {b"00", b"01"}:
        return data == b"01"
    return parsed(data.rstrip(b"L"), int) if data is not UNKNOWN else UNKNOWN


def parsed(data: Any, what: Callable[[bytes], Any]) -> Any:
    """What `what` makes of the bytes. Raises Unreadable."""
    try:
        return what(data)
    except (ValueError, TypeError) as error:
        raise Unreadable("the pickle has a number that is none") from error


def key_of(data: Any) -> int:
    """A key of the memo, in decimal digits."""
    return int(parsed(data, int))


def little(data: Any, *, signed: bool = False) -> Any:
    """An integer, the smallest byte first."""
    return UNKNOWN if data is UNKNOWN else int.from_bytes(data, "little", signed=signed)
