"""Protocol Buffers' wire format, read in order and without a schema; what nobody asks for is skipped by its length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from storage.formats.reading import Budget, Stream, Unreadable

_MAX_TEXT: Final = 4_096
_MAX_PACKED: Final = 8 * 64


class Field:
    """One field of a message: its number, and its value by one of the readers, to be taken before the next field."""

    __slots__ = ("_message", "end", "number", "value")

    def __init__(self, message: Message, number: int, value: int, end: int) -> None:
        self._message = message
        self.number = number
        self.value = value
        """Of a number: the number. Of all else: its length in bytes."""
        self.end = end

    @property
    def signed(self) -> int:
        """The number as `int32` and `int64` have it."""
        return self.value - 2**64 if self.value >= 2**63 else self.value

    def text(self) -> str:
        """A string, cut where it is longer than 4 KiB."""
        return self._message.stream.exactly(min(self.value, _MAX_TEXT, self._left())).decode("utf-8", "replace")

    def message(self) -> Message:
        """A message in this one."""
        return Message(self._message.stream, self._message.budget, self.end, self._message.depth + 1)

    def numbers(self) -> list[int]:
        """One number, or several that are packed; at most some 64 of those a shape has."""
        if self.end < 0:
            return [self.signed]
        if self.value > _MAX_PACKED:
            raise Unreadable("a shape has too many dimensions")
        numbers = []
        while self._left() > 0:
            value = varint(self._message.stream)
            numbers.append(value - 2**64 if value >= 2**63 else value)
        return numbers

    def _left(self) -> int:
        return max(0, self.end - self._message.stream.position)


class Message:
    """A message that ends at a position of a stream, or with it."""

    def __init__(self, stream: Stream, budget: Budget, end: int, depth: int = 0) -> None:
        if depth > 32:
            raise Unreadable("its messages are nested too deeply")
        self.stream, self.budget, self.end, self.depth = stream, budget, end, depth

    def fields(self) -> Iterator[Field]:
        """Its fields in order. Whatever of one was not read is skipped. Raises Unreadable."""
        while self.stream.position < self.end:
            self.budget.step()
            key = varint(self.stream)
            field = self._field(key >> 3, key & 7)
            yield field
            if field.end > self.stream.position:
                self.stream.skip(field.end - self.stream.position)

    def _field(self, number: int, wire: int) -> Field:
        if number == 0:
            raise Unreadable("it is no Protocol Buffers message")
        if wire == 0:
            return Field(self, number, varint(self.stream), -1)
        if wire in {1, 5}:
            return Field(self, number, int.from_bytes(self.stream.exactly(8 if wire == 1 else 4), "little"), -1)
        if wire != 2:
            raise Unreadable("it is no Protocol Buffers message")
        size = varint(self.stream)
        end = self.stream.position + size
        if end > self.end:
            raise Unreadable("a part of it is longer than the whole")
        return Field(self, number, size, end)


def varint(stream: Stream) -> int:
    """A number of up to 64 bits. Raises Unreadable."""
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.exactly(1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1)
    raise Unreadable("it is no Protocol Buffers message")
