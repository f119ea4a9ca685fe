"""The schema of CSV and of its relatives, inferred from the first rows."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

from lineal.errors import InvalidArgument
from storage.schemas.schema import HEAD, Column, Head, Schema

# Of the whole process, for which there is no other place: a cell may be as long as what is read.
csv.field_size_limit(HEAD)

ROWS: Final = 1_000
"""Rows that types are inferred from."""

_DELIMITERS: Final = (",", "\t", ";", "|")
_TRIED: Final = 100
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
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
_YEAR: Final = re.compile("[12][0-9]{3}")
_WIDER: Final = {frozenset({"integer", "number"}): "number", frozenset({"date", "timestamp"}): "timestamp"}


def read(path: str, head: Head) -> Schema:
    """The columns that the first row names, or `column_1` and so on where it names none.

    A type is what all of the first ROWS values are: boolean, integer, number, date, timestamp, else string.
    A column may be null if a value is empty; that none is says nothing of the rest. Raises InvalidArgument.
    """
    text = head.text(path)
    try:
        rows = list(itertools.islice(_rows(text, _delimiter(path, text)), ROWS + 2))
    except csv.Error as error:
        raise InvalidArgument(f"{path}: this cannot be read as CSV: {error}") from error
    if not rows:
        raise InvalidArgument(f"{path}: there is no row")
    if not head.whole and len(rows) > 1 and text.count('"') % 2:
        # The last line ends within quotes, and so within the last row.
        rows.pop()
    first, *rest = ([cell.strip() for cell in row] for row in rows[: ROWS + 1])
    below = [[row[i] if i < len(row) else "" for row in rest] for i in range(len(first))]
    named = _names_columns(first, below)
    columns = (
        _column((name if named else "") or f"column_{i + 1}", values if named else [name, *values])
        for i, (name, values) in enumerate(zip(first, below, strict=True))
    )
    return Schema.of(path, "csv", columns, compression=head.compression)


def _rows(text: str, delimiter: str, *, strict: bool = False) -> Iterator[list[str]]:
    return filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict))


def _delimiter(path: str, text: str) -> str:
    """The one by which the first rows have the same number of columns most often, and the most of those.

    Tabs are those of a `.tsv` that has any; one that would split what is quoted is taken only where all would.
    """
    if path.lower().removesuffix(".gz").endswith(".tsv") and "\t" in text:
        return "\t"
    return _even(text, strict=True) or _even(text, strict=False) or ","


def _even(text: str, *, strict: bool) -> str:
    best, choice = (0.0, 1), ""
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in itertools.islice(_rows(text, delimiter, strict=strict), _TRIED)]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = (widths.count(widths[0]) / len(widths), widths[0])
            if score > best:
                best, choice = score, delimiter
    return choice


def _names_columns(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns, whose values are below.

    It does where it has different texts. The first may be empty, as that of an index is, some may be the same, and
    some may be years, dates or times that the values below are not, where the values of a column are of another type.
    """
    kinds = [_kind(name) for name in first]
    if set(kinds) == {"string"} and len(set(first)) == len(first):
        return True
    found = [{_kind(value) for value in values if value} for values in below]
    if any(kind == "" for kind in kinds[1:]) or any(
        kind not in {"", "string"} and (kind not in {"year", "date", "timestamp"} or kind in seen)
        for kind, seen in zip(kinds, found, strict=True)
    ):
        return False
    return "string" in kinds and any(
        seen and not seen & {kind, "string"} for kind, seen in zip(kinds, found, strict=True)
    )


def _kind(value: str) -> str:
    """The type of a value, of a year `year`; "" where it is empty."""
    return "year" if _YEAR.fullmatch(value) else value and _type(value)


def _column(name: str, values: Sequence[str]) -> Column:
    types = {_type(value) for value in values if value}
    kind = next(iter(types)) if len(types) == 1 else _WIDER.get(frozenset(types), "string")
    return Column(name, kind, True if "" in values else None)


def _type(value: str) -> str:
    return next((name for name, pattern in _TYPES if pattern.fullmatch(value)), "string")
