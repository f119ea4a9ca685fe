"""The arguments of a pickle's opcodes as an unpickler reads them. UNKNOWN, which was skipped, stays UNKNOWN."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any, Final

from storage.formats.reading import Unclear, Unreadable
from storage.formats.symbols import UNKNOWN

_PLAIN: Final = re.compile(rb"[+-]?(0|[1-9][0-9]{0,39})L?")
_NUMBER: Final = re.compile(rb"[\s+\-0-9a-fA-FxXoObBlL_]*")


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
    """What INT and LONG say: `01` and `00` are true and false. UNKNOWN where it is not in plain decimal digits."""
    if data is UNKNOWN:
        return UNKNOWN
    if data in {b"00", b"01"}:
        return data == b"01"
    if _PLAIN.fullmatch(data):
        return int(data.rstrip(b"L"))
    # C reads up to a zero byte, takes numbers to other bases, such as `010` for 8, and an empty line for 0.
    if not _NUMBER.fullmatch(data.split(b"\0")[0]):
        raise Unreadable("the pickle has a number that is none")
    return UNKNOWN


def parsed(data: Any, what: Callable[[bytes], Any]) -> Any:
    """What `what` makes of the bytes, of which C reads those up to a zero. Raises Unreadable."""
    if data is UNKNOWN:
        return UNKNOWN
    try:
        return what(data.split(b"\0")[0])
    except (ValueError, TypeError) as error:
        raise Unreadable("the pickle has a number that is none") from error


def key_of(data: Any) -> int:
    """A key of the memo, in decimal digits. Raises Unclear: it is too long for one."""
    if (key := parsed(data, int)) is UNKNOWN:
        raise Unclear("the pickle remembers by a key that is not read")
    return int(key)


def little(data: Any, *, signed: bool = False) -> Any:
    """An integer, the smallest byte first."""
    return UNKNOWN if data is UNKNOWN else int.from_bytes(data, "little", signed=signed)
