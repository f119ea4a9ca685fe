"""Just enough of FlatBuffers to go through tables, strings and vectors.

They are read here rather than by a library since many places of a few hostile bytes can point to one table, which is
made into as many objects there.
"""

from __future__ import annotations

from collections.abc import Iterator


class Table:
    """A table within bytes, to which an offset at a place points. Fields are counted from 0.

    Every method raises IndexError for what lies outside of the bytes.
    """

    def __init__(self, data: bytes, place: int = 0) -> None:
        self._data = data
        self._at = self._target(place)
        self._fields = self._at - self._number(self._at, 4, signed=True)

    def byte(self, field: int) -> int:
        """A field of one byte; 0 where the table has none."""
        place = self._place(field)
        return self._number(place, 1) if place else 0

    def table(self, field: int) -> Table | None:
        """A table within this one."""
        place = self._place(field)
        return Table(self._data, place) if place else None

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector, one after another; nothing where the table has none."""
        if place := self._place(field):
            begin = self._target(place)
            for i in range(self._number(begin, 4)):
                yield Table(self._data, begin + 4 + 4 * i)

    def length(self, field: int) -> int:
        """How many bytes a string says it has, or elements a vector; 0 where the table has none."""
        place = self._place(field)
        return self._number(self._target(place), 4) if place else 0

    def _place(self, field: int) -> int:
        """Where a field is; 0 where the table has none."""
        entry = 4 + 2 * field
        if entry >= self._number(self._fields, 2):
            return 0
        offset = self._number(self._fields + entry, 2)
        return self._at + offset if offset else 0

    def _target(self, place: int) -> int:
        return place + self._number(place, 4)

    def _number(self, at: int, size: int, *, signed: bool = False) -> int:
        if not 0 <= at <= len(self._data) - size:
            raise IndexError
        return int.from_bytes(self._data[at : at + size], "little", signed=signed)
