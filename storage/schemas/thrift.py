"""Just enough of Thrift's compact protocol to find how long the first fields of a struct are.

It is read here rather than by a library since a few hostile bytes can stand for millions of objects there.
"""

from __future__ import annotations

from typing import Final

_MAX_DEPTH: Final = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, STRUCT = range(1, 13)
BINARY: Final = _BINARY
I32: Final = _I32
I64: Final = _I64
LIST: Final = _LIST


class Compact:
    """A place in bytes. Every method raises ValueError for what is no Thrift, and IndexError beyond the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def field(self, last: int) -> tuple[int, int]:
        """The id and type of the next field of a struct, after the one with id `last`; type 0 at its end."""
        head = self._byte()
        if head == 0:
            return 0, 0
        number = last + (head >> 4) if head >> 4 else self.integer()
        if not 0 <= number < 2**15:
            raise ValueError  # libraries cut it to 16 bits, and take it for another field
        return number, head & 15

    def integer(self) -> int:
        """A signed integer."""
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def size(self) -> int:
        """How many bytes a text has, which follow."""
        return self._varint()

    def list_head(self) -> tuple[int, int]:
        """The length of a list and the type of its elements."""
        head = self._byte()
        return (self._varint() if head >> 4 == 15 else head >> 4), head & 15

    def take(self, size: int) -> bytes:
        """So many bytes."""
        if size < 0:
            raise ValueError
        self._pass(size)
        return self.data[self.at - size : self.at]

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value."""
        if depth > _MAX_DEPTH:
            raise ValueError
        if kind in {_BYTE, _DOUBLE}:
            self._pass(1 if kind == _BYTE else 8)
        elif kind in {_I16, _I32, _I64}:
            self._varint()
        elif kind == _BINARY:
            self._pass(self._varint())
        elif kind in {_LIST, _SET}:
            count, of = self.list_head()
            self._skip_all((of,), count, depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._skip_all((kinds >> 4, kinds & 15), count, depth)
        elif kind == STRUCT:
            number, of = self.field(0)
            while of:
                self.skip(of, depth + 1)
                number, of = self.field(number)
        elif kind not in {_TRUE, _FALSE}:
            raise ValueError

    def _skip_all(self, kinds: tuple[int, ...], count: int, depth: int) -> None:
        # Every element has a byte at least, so that the end comes before a false count does.
        for _ in range(count):
            for kind in kinds:
                if kind in {_TRUE, _FALSE}:
                    self._pass(1)
                else:
                    self.skip(kind, depth + 1)

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
            if shift > 63:
                raise ValueError

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _pass(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise IndexError
