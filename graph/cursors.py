"""Cursors as clients bring them back: what the stores are asked for begins with one that they gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graph.port import Cursor
from lineal.errors import InvalidArgument


def parts(cursor: Cursor, named: Sequence[bool], ties: int) -> tuple[list[Any], list[str]]:
    """The places in each key of the order, and what tells things at the same places apart.

    `named` says of each key whether its places are names. Raises InvalidArgument: no list of this order gave it.
    """
    places, rest = list(cursor[: len(named)]), list(cursor[len(named) :])
    if len(rest) != ties or not all(isinstance(each, str) for each in rest):
        raise _alien()
    if any(by_name and not isinstance(place, str) for by_name, place in zip(named, places, strict=True)):
        raise _alien()
    return places, rest


def ranked(cursor: Cursor) -> tuple[int, int, str, str]:
    """The place of a thing that was searched for. Raises InvalidArgument: no search gave it."""
    match cursor:
        case (int(exact), int(begins), str(sort), str(id)):
            return exact, begins, sort, id
    raise _alien()


def _alien() -> InvalidArgument:
    return InvalidArgument("after: must be a cursor that this list gave, such as an endCursor", field="after")
