"""The top level of a Triton model configuration (config.pbtxt): fields taken out, fields put in.

It is protocol buffers' text format; only as much of it is read as it takes to tell where a field ends.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from lineal.errors import PreconditionFailed

_TOKEN: Final = re.compile(
    r"""\#[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}\[\]<>:;,]|[^\s{}\[\]<>:;,"'\#]+|\s+"""
)
_OPENING: Final = ("{", "[", "<")
_CLOSING: Final = ("}", "]", ">")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def without(text: str, fields: Collection[str]) -> str:
    """The configuration without these fields of its top level. Raises PreconditionFailed: it is none."""
    return "".join(piece for name, piece in _fields(text) if name not in fields)


def quoted(text: str) -> str:
    """A string in text format."""
    return (
        '"'
        + "".join(char if 32 <= ord(char) < 127 and char not in '"\\' else f"\\{ord(char):03o}" for char in text)
        + '"'
    )


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """The fields of the top level with their names, in order; together they are the whole text."""
    name, before = "", ""
    start = depth = at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise PreconditionFailed(f"config.pbtxt is not understood at character {at:,}")
        word, at = token[0], token.end()
        # A name that is not the value of another one begins the next field.
        if depth == 0 and before != ":" and _NAME.fullmatch(word):
            yield name, text[start : token.start()]
            name, start = word, token.start()
        depth += (word in _OPENING) - (word in _CLOSING)
        if depth < 0:
            raise PreconditionFailed(f"config.pbtxt has a bracket too many at character {at:,}")
        if not word.isspace() and word[0] != "#":
            before = word
    if depth:
        raise PreconditionFailed("config.pbtxt ends within brackets")
    yield name, text[start:]
