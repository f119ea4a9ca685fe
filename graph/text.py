"""Text as both stores see it: folded, cut into tokens, and in one Unicode form.

Databases lower, tokenise and collate each in their own way; done here, they agree.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta

MAX_TOKEN = 100
MAX_QUERY_TOKENS = 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOKEN = re.compile(r"[^\W_]+")
_CASES = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def normalize(text: str) -> str:
    """Unicode form NFC (UAX #15)."""
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """NFKC and casefold: what orders and searches compare (Unicode, section 3.13)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def tokens(text: str) -> list[str]:
    """The words of a text, folded, each once, in order.

    camelCase and snake_case are taken apart and also kept whole, so that both `TRECCOVID` and
    `trec` … `covid` are found where a name has them.
    """
    whole = _TOKEN.findall(fold(text))
    parts = _TOKEN.findall(fold(_CASES.sub(" ", text)))
    return list(dict.fromkeys(token[:MAX_TOKEN] for token in (*whole, *parts)))


def query_tokens(text: str) -> list[str]:
    """The words of a search, folded; each matches as a prefix of a token."""
    return list(dict.fromkeys(t[:MAX_TOKEN] for t in _TOKEN.findall(fold(text))))[:MAX_QUERY_TOKENS]


def iso(micros: int) -> str:
    """A time in microseconds since the epoch as ISO 8601, UTC, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
