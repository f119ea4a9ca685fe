"""Filters and attribute paths of SCIM 2.0 (RFC 7644, sections 3.4.2.2 and 3.5.2).

Filters are comparisons joined by `and`: what identity providers ask with. A tokeniser without
backtracking reads them, and their length is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.scim_errors import ScimError

MAX_FILTER: Final = 2_000
MAX_COMPARISONS: Final = 20
OPERATORS: Final = ("eq", "co", "sw", "pr")

_TOKEN: Final = re.compile(r'\s*(?:(?P<bracket>[\[\]()])|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[^\s\[\]()"]+))')
_NAME: Final = re.compile(r"\$?[A-Za-z][A-Za-z0-9_$-]*")
_CORE: Final = re.compile(r"urn:ietf:params:scim:schemas:core:2\.0:(?:user|group):", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Path:
    """Where an attribute is: `schema` is that of an extension, or empty; all in the client's own letters."""

    name: str
    sub: str = ""
    schema: str = ""
    where: tuple[Comparison, ...] = ()

    @property
    def key(self) -> str:
        """The path as text in small letters, to be compared: names of attributes know no case."""
        plain = f"{self.schema}:{self.name}" if self.schema and self.name else self.schema or self.name
        return (f"{plain}.{self.sub}" if self.sub else plain).lower()


@dataclass(frozen=True, slots=True)
class Comparison:
    """An attribute compared with a value; `pr` asks only whether it is there."""

    path: Path
    op: str
    value: Any = None

    def holds(self, item: Any) -> bool:
        """Whether an element of a list matches. Text compares without case, as its attributes do."""
        found = item if not isinstance(item, Mapping) else lookup(item, self.path.name)
        if self.op == "pr":
            return found not in (None, "", [], {})
        if found is None:
            return False
        one, other = str(found).casefold(), str(self.value).casefold()
        return one == other if self.op == "eq" else other in one if self.op == "co" else one.startswith(other)


def lookup(item: Mapping[str, Any], name: str) -> Any:
    """The value of an attribute whatever the case of its name, or None."""
    return next((value for key, value in item.items() if key.lower() == name.lower()), None)


def parse_filter(text: str) -> tuple[Comparison, ...]:
    """The comparisons that must all hold. Raises ScimError invalidFilter."""
    tokens = _Tokens(text, "invalidFilter")
    found = _comparisons(tokens)
    if (rest := tokens.next()) is not None:
        raise tokens.wrong(f"{rest!r:.40} cannot stand there; comparisons are joined by `and`")
    return found


def parse_path(text: str) -> Path:
    """The path of a change. Raises ScimError invalidPath."""
    tokens = _Tokens(text, "invalidPath")
    path = _path(tokens, tokens.word("the name of an attribute"))
    if (bracket := tokens.next()) is None:
        return path
    if bracket != "[" or path.sub:
        raise tokens.wrong(f"{bracket!r:.40} cannot stand there")
    where = _comparisons(tokens)
    if tokens.next() != "]":
        raise tokens.wrong("] is missing")
    sub = tokens.next() or ""
    if tokens.next() is not None or (sub and not (sub.startswith(".") and _NAME.fullmatch(sub[1:]))):
        raise tokens.wrong("after ] only .name may follow")
    return Path(path.name, sub[1:], path.schema, where)


class _Tokens:
    """The tokens of a text, one after the other."""

    def __init__(self, text: str, kind: str) -> None:
        self.kind = kind
        if len(text) > MAX_FILTER:
            raise self.wrong(f"is longer than {MAX_FILTER} characters")
        self._tokens = list(self._split(text.strip()))
        self._at = 0

    def _split(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.wrong("a quotation mark is missing")
            at = match.end()
            yield match[0].strip()

    def peek(self) -> str | None:
        """The next token, which stays; None at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def next(self) -> str | None:
        """The next token, or None at the end."""
        token = self.peek()
        self._at += 1
        return token

    def word(self, wanted: str) -> str:
        """The next token. Raises ScimError: there is none."""
        token = self.next()
        if token is None:
            raise self.wrong(f"{wanted} is missing")
        return token

    def wrong(self, problem: str) -> ScimError:
        """An error about this text."""
        return ScimError(400, f"{'filter' if self.kind == 'invalidFilter' else 'path'}: {problem}", self.kind)


def _comparisons(tokens: _Tokens) -> tuple[Comparison, ...]:
    found = [_comparison(tokens)]
    while (joint := tokens.peek()) is not None and joint.lower() == "and":
        if len(found) == MAX_COMPARISONS:
            raise tokens.wrong(f"has more than {MAX_COMPARISONS} comparisons")
        tokens.next()
        found.append(_comparison(tokens))
    return tuple(found)


def _comparison(tokens: _Tokens) -> Comparison:
    path = _path(tokens, tokens.word("the name of an attribute"))
    op = tokens.word("an operator").lower()
    if op not in OPERATORS:
        raise tokens.wrong(f"the operators are {', '.join(OPERATORS)}, not {op!r:.40}")
    return Comparison(path, op) if op == "pr" else Comparison(path, op, _value(tokens))


def _value(tokens: _Tokens) -> Any:
    token = tokens.word("a value")
    try:
        value = orjson.loads(token if token.startswith('"') else token.lower())
    except orjson.JSONDecodeError:
        raise tokens.wrong(f"a value is text in quotation marks, true, false or a number, not {token!r:.40}") from None
    if value is None or isinstance(value, (list, dict)):
        raise tokens.wrong(f"cannot compare with {token!r:.40}")
    return value


def _path(tokens: _Tokens, text: str) -> Path:
    """An attribute, perhaps of an extension, perhaps with a part of it: `urn:…:User:manager.value`."""
    plain = _CORE.sub("", text, count=1)
    schema = ""
    if plain.lower().startswith("urn:"):
        schema, _, plain = plain.rpartition(":")
        if plain.lower() in {"user", "group"}:
            return Path("", "", f"{schema}:{plain}")
    name, _, sub = plain.partition(".")
    if not _NAME.fullmatch(name) or (sub and not _NAME.fullmatch(sub)) or plain.endswith("."):
        raise tokens.wrong(f"{text!r:.80} is no name of an attribute")
    return Path(name, sub, schema)
