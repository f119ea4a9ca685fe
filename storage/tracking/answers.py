"""What a server answered, read with suspicion: every value is of its type and not too large, or it is not taken."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lineal.errors import Unavailable

MAX_TEXT: Final = 200_000
"""Characters in a text."""
MAX_ITEMS: Final = 50_000
"""Entries in a list."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MAX_INT: Final = 2**53
"""Of times in milliseconds, and of steps."""


class Answer:
    """A JSON object of an answer; `at` is its place there. What is not as it should be raises Unavailable."""

    def __init__(self, value: Any, at: str) -> None:
        if not isinstance(value, Mapping):
            raise _wrong(at, "an object")
        self._value = value
        self._at = at

    def text(self, name: str) -> str:
        """A text; empty where there is none."""
        value = self._value.get(name)
        if value is None:
            return ""
        # A proxy in between may have made numbers of ids.
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise _wrong(f"{self._at}.{name}", f"a text of at most {MAX_TEXT:,} characters")
        return text

    def needed(self, name: str) -> str:
        """A text that is there."""
        if not (text := self.text(name)):
            raise _wrong(f"{self._at}.{name}", "a text")
        return text

    def integer(self, name: str) -> int | None:
        """A whole number, which JSON of protocol buffers has as a text; None where there is none."""
        value = self._value.get(name)
        if value is None or value == "":
            return None
        text = str(value)
        digits = text.removeprefix("-")
        if isinstance(value, bool) or not (digits.isascii() and digits.isdigit()) or len(digits) > 16:
            raise _wrong(f"{self._at}.{name}", "a whole number")
        if abs(number := int(text)) > MAX_INT:
            raise _wrong(f"{self._at}.{name}", "a whole number")
        return number

    def micros(self, name: str) -> int | None:
        """A time in milliseconds, as microseconds; None where there is none."""
        value = self.integer(name)
        return value * 1_000 if value else None

    def time(self, name: str) -> int | None:
        """A time of RFC 3339, as microseconds; None where there is none, or the epoch stands for it."""
        text = self.text(name)
        if not text:
            return None
        try:
            time = dt.datetime.fromisoformat(text)
        except ValueError:
            raise _wrong(f"{self._at}.{name}", "a time") from None
        time = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        return max(0, (time - _EPOCH) // dt.timedelta(microseconds=1)) or None

    def number(self, name: str) -> float:
        """A number; NaN and the infinities are texts."""
        value = self._value.get(name)
        try:
            return math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise _wrong(f"{self._at}.{name}", "a number") from None

    def object(self, name: str) -> Answer:
        """An object; an empty one where there is none."""
        value = self._value.get(name)
        return Answer({} if value is None else value, f"{self._at}.{name}")

    def names(self) -> list[str]:
        """The names that the object has."""
        return list(self._value)

    def value(self, name: str) -> Any:
        """Whatever there is; None where there is nothing."""
        return self._value.get(name)

    def table(self, name: str) -> dict[str, Any]:
        """An object of values of any type; an empty one where there is none."""
        value = self._value.get(name)
        if not isinstance(value, Mapping | None):
            raise _wrong(f"{self._at}.{name}", "an object")
        return dict(value or {})

    def objects(self, name: str) -> Iterator[Answer]:
        """The objects of a list."""
        for i, item in enumerate(self._list(name)):
            yield Answer(item, f"{self._at}.{name}[{i}]")

    def pairs(self, name: str, key: str = "key", value: str = "value") -> dict[str, str]:
        """A list of keys and values as a table."""
        return {item.text(key): item.text(value) for item in self.objects(name)}

    def _list(self, name: str) -> list[Any]:
        value = self._value.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise _wrong(f"{self._at}.{name}", f"a list of at most {MAX_ITEMS:,} entries")
        return value


def _wrong(at: str, wanted: str) -> Unavailable:
    return Unavailable(f"{at} is not {wanted}, as such servers' answers have it")
