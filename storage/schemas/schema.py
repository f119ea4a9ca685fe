"""What is said of the schema of a file, and the limits that hold for every kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lineal.errors import InvalidArgument, LimitExceeded

HEAD: Final = 2**20
"""Bytes of text that a schema is inferred from."""
MAX_SCHEMA: Final = 4 * 2**20
"""Bytes of a schema as a file has it."""
MAX_DEPTH: Final = 64
"""Elements of a schema within elements."""
MAX_COLUMNS: Final = 10_000
"""Columns of a file."""
MAX_NAME: Final = 1_024
"""Characters of a column's name."""
MAX_TYPE: Final = 2_000
"""Characters of a type; more are cut off."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type in the format's own words, and whether it may be null, None where nothing says so."""

    name: str
    type: str
    nullable: bool | None


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a file in order, and its rows where the format says how many.

    `format` is parquet, arrow, avro, csv or jsonl; `compression` is that of a text file or of Avro's blocks, or "".
    """

    format: str
    columns: tuple[Column, ...]
    rows: int | None = None
    compression: str = ""

    @classmethod
    def of(
        cls, path: str, format: str, columns: Iterable[Column], rows: int | None = None, compression: str = ""
    ) -> Schema:
        """A schema within the limits. Raises LimitExceeded."""
        found: list[Column] = []
        for column in columns:
            if len(found) == MAX_COLUMNS:
                raise LimitExceeded(f"{path}: it has more than {MAX_COLUMNS:,} columns")
            if len(column.name) > MAX_NAME:
                raise LimitExceeded(f"{path}: the name of a column has more than {MAX_NAME:,} characters")
            short = column.type if len(column.type) <= MAX_TYPE else f"{column.type[: MAX_TYPE - 1]}…"
            found.append(Column(column.name, short, column.nullable))
        return cls(format, tuple(found), rows, compression)


@dataclass(frozen=True, slots=True)
class Head:
    """The first bytes of a text file, decompressed; `whole` where they are all of it."""

    data: bytes
    whole: bool
    compression: str = ""

    def text(self, path: str) -> str:
        """Its complete lines. Raises InvalidArgument: not UTF-8; LimitExceeded: the first line is longer."""
        data = self.data
        if not self.whole:
            data = data[: data.rfind(b"\n") + 1]
            if not data:
                raise LimitExceeded(f"{path}: its first line has more than {HEAD:,} bytes")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"{path}: this is not text in UTF-8") from error


def needs(library: str) -> InvalidArgument:
    """What to install where a library is missing."""
    return InvalidArgument(f"reading this schema needs {library}: pip install 'lineal[connectors]'")
