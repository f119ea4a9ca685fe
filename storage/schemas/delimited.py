"""The schema of CSV and of its relatives, inferred from the first rows."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

from lineal.errors import InvalidArgument
from storage.schemas.schema import Column, Head, Schema

ROWS: Final = 1_000
"""Rows that types are inferred from."""

_DELIMITERS: Final = (",", "\t", ";", "|")
_TRIED: Final = 100
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
# A number does not begin with a needless zero: a postcode does.
_WHOLE: Final = "(0|[1-9][0-9]{0,300})"
_FLOAT: Final = rf"[+-]?({_WHOLE}(\.[0-9]{{0,300}})?|\.[0-9]{{1,300}})(e[+-]?[0-9]{{1,3}})?|nan|[+-]?inf"
_TYPES: Final = (
    ("boolean", re.compile("true|false", re.IGNORECASE)),
    ("integer", re.compile(f"[+-]?{_WHOLE}")),
    ("number", re.compile(_FLOAT, re.IGNORECASE)),
    ("date", re.compile(_DATE)),
    ("timestamp", re.compile(f"{_DATE}[T ]{_TIME}")),
)
_WIDER: Final = {frozenset({"integer", "number"}): "number", frozenset({"date", "timestamp"}): "timestamp"}


def read(path: str, head: Head) -> Schema:
    """The columns that the first row names, or `column_1` and so on where it names none.

    A type is what all of the first ROWS values are: boolean, integer, number, date, timestamp, else string.
    A column may be null if a value is empty; that none is says nothing of the rest. Raises InvalidArgument.
    """
    text = head.text(path)
    try:
        rows = list(itertools.islice(_rows(text, _delimiter(text)), ROWS + 1))
    except csv.Error as error:
        raise InvalidArgument(f"{path}: this cannot be read as CSV: {error}") from error
    if not rows:
        raise InvalidArgument(f"{path}: there is no row")
    named = _names_columns(rows[0])
    names = rows[0] if named else [f"column_{i + 1}" for i in range(len(rows[0]))]
    data = rows[1:] if named else rows
    columns = (
        _column(name.strip(), [row[i].strip() if i < len(row) else "" for row in data]) for i, name in enumerate(names)
    )
    return Schema.of(path, "csv", columns, compression=head.compression)


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    return filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _delimiter(text: str) -> str:
    """The one by which the first rows have the same number of columns most often, and the most of those."""
    best, choice = (0.0, 1), ","
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in itertools.islice(_rows(text, delimiter), _TRIED)]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = (widths.count(widths[0]) / len(widths), widths[0])
            if score > best:
                best, choice = score, delimiter
    return choice


def _names_columns(row: Sequence[str]) -> bool:
    names = [cell.strip() for cell in row]
    return len(set(names)) == len(names) and all(name and _type(name) == "string" for name in names)


def _column(name: str, values: Sequence[str]) -> Column:
    types = {_type(value) for value in values if value}
    kind = next(iter(types)) if len(types) == 1 else _WIDER.get(frozenset(types), "string")
    return Column(name, kind, True if "" in values else None)


def _type(value: str) -> str:
    return next((name for name, pattern in _TYPES if pattern.fullmatch(value)), "string")
