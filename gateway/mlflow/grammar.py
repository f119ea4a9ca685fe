"""The filters and orders that MLflow's clients search with, read into conditions.

    filter    := condition (AND condition)*
    condition := key (= | != | < | <= | > | >= | LIKE | ILIKE) value  |  key [NOT] IN (value, …)
    key       := attribute | attribute.NAME | tag.KEY | tags.KEY, quoted by ` or " where it has other characters
    value     := 'text' | "text" | number

Key words may be small or capital. Messages are MLflow's where its clients or their tests read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graph.ontology import MAX_INT
from lineal.errors import InvalidArgument, LimitExceeded

MAX_FILTER: Final = 100_000
"""Characters in a filter."""
MAX_CONDITIONS: Final = 200
MAX_VALUES: Final = 1_000
"""Values in a list."""
MAX_PATTERN: Final = 1_000
MAX_WILDCARDS: Final = 16
"""How many times a pattern may say "any text": each makes looking for it longer."""

TEXT_COMPARATORS: Final = ("=", "!=", "LIKE", "ILIKE")
LIST_COMPARATORS: Final = ("IN", "NOT IN")
NUMBER_COMPARATORS: Final = ("=", "!=", "<", "<=", ">", ">=")

Value = str | int | float | tuple[str, ...]

# Possessive, so that a quote that is missing is found missing at once.
_QUOTED: Final = r"`[^`]*+`|\"(?:\"\"|\\\"|[^\"])*+\""
_STRING: Final = r"'(?:''|\\'|[^'])*+'"
_TOKEN: Final = re.compile(
    rf"""\s*(?:
      (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    | (?P<string>{_STRING})
    | (?P<name>(?:\w+|{_QUOTED})(?:\.(?:[\w.]+|{_QUOTED}))?)
    | (?P<comparator><=|>=|!=|<>|=|<|>)
    | (?P<list>\((?:{_STRING}|\"(?:\\\"|[^\"])*+\"|[^()'\"])*+\))
    | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_ITEM: Final = re.compile(r"\s*(?:'((?:\\'|[^'])*)'|\"((?:\\\"|[^\"])*)\"|([^,'\"]+?))\s*(?:,|$)")
_ORDER: Final = re.compile(rf"\s*(?P<key>[\w.]+|(?:\w+\.)?(?:{_QUOTED}))(?:\s+(?P<direction>\w+))?\s*")


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a filter."""

    type: str
    text: str

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these key words."""
        return self.type == "name" and self.text.upper() in words


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filter asks of an attribute, or of a tag. `value` is a tuple where `comparator` takes a list."""

    type: str
    key: str
    comparator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Searchable:
    """What there is to search by: attributes that are text, numbers, and those that are compared with lists."""

    texts: Sequence[str]
    numbers: Sequence[str] = ()
    lists: Sequence[str] = ()
    orders: Sequence[str] = ()
    recommended: tuple[str, Sequence[str]] = ("", ())
    """How messages call the keys of orders, and which they name."""


MODELS: Final = Searchable(
    ("name",),
    lists=("name",),
    orders=("name", "timestamp", "last_updated_timestamp", "creation_timestamp"),
    recommended=("order by key", ("name", "timestamp")),
)
_ORDERS: Final = ("name", "version_number", "creation_timestamp", "last_updated_timestamp")
VERSIONS: Final = Searchable(
    ("name", "run_id", "source_path"),
    ("version_number",),
    ("name", "run_id"),
    _ORDERS,
    ("attribute key", _ORDERS),
)
_NUMBERS: Final = "{'version_number', 'creation_timestamp', 'last_updated_timestamp'}"


def read_filter(text: str, searchable: Searchable) -> list[Condition]:
    """The conditions, all of which must hold. Raises InvalidArgument, LimitExceeded."""
    if len(text) > MAX_FILTER:
        raise LimitExceeded(f"filter: has {len(text)} characters; at most {MAX_FILTER} are allowed", field="filter")
    if text and not text.strip():
        raise InvalidArgument(f"Invalid filter '{text}'. Could not be parsed.", field="filter")
    tokens = list(_tokens(text))
    conditions: list[Condition] = []
    at = 0
    while at < len(tokens):
        if tokens[at].is_word("AND"):
            at += 1
            continue
        size = (
            4
            if [t.is_word(w) for t, w in zip(tokens[at + 1 : at + 3], ("NOT", "IN"), strict=False)]
            == [
                True,
                True,
            ]
            else 3
        )
        conditions.append(_condition(tokens[at : at + size], tokens[at:], searchable))
        at += size
        if at < len(tokens) and not tokens[at].is_word("AND"):
            raise _invalid(tokens[at : at + 1] if tokens[at].is_word("OR") else tokens[at:])
        if len(conditions) > MAX_CONDITIONS:
            raise LimitExceeded(f"filter: has more than {MAX_CONDITIONS} conditions", field="filter")
    # Only what can be read as a whole is looked at more closely: of several faults the same one is named as in MLflow.
    return [_checked(condition, searchable) for condition in conditions]


def _checked(condition: Condition, searchable: Searchable) -> Condition:
    """A condition whose comparator and value go with what it is about. Raises InvalidArgument, LimitExceeded."""
    name, comparator, value = condition.key, condition.comparator, condition.value
    if condition.type == "tag":
        if comparator not in TEXT_COMPARATORS:
            raise InvalidArgument(f"Invalid comparator for tag: {comparator}", field="filter")
    elif name in searchable.numbers:
        if comparator not in NUMBER_COMPARATORS:
            raise InvalidArgument(f"Invalid comparator for attribute {name}: {comparator}", field="filter")
        return replace(condition, value=_whole(name, value))
    elif comparator not in (*TEXT_COMPARATORS, *LIST_COMPARATORS):
        raise InvalidArgument(f"Invalid comparator for attribute: {comparator}", field="filter")
    if isinstance(value, str):
        _check_pattern(value, comparator)
    return condition


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text.rstrip()):
        assert match.lastgroup is not None
        yield Token(match.lastgroup, match[match.lastgroup])


def _invalid(tokens: Sequence[Token]) -> InvalidArgument:
    """What cannot be read, up to the next AND."""
    end = next((i for i, token in enumerate(tokens) if token.is_word("AND")), len(tokens))
    clauses = ", ".join(token.text for token in tokens[: end or None])
    return InvalidArgument(f"Invalid clause(s) in filter string: {clauses}", field="filter")


def _condition(tokens: Sequence[Token], rest: Sequence[Token], searchable: Searchable) -> Condition:
    if len(tokens) < 3 or tokens[0].type != "name" or tokens[-1].is_word("AND"):
        raise _invalid(rest)
    key, *between, value = tokens
    comparator = " ".join(token.text.upper() for token in between).replace("<>", "!=")
    known = (*NUMBER_COMPARATORS, *TEXT_COMPARATORS, *LIST_COMPARATORS)
    if comparator not in known or (comparator in LIST_COMPARATORS) != (value.type == "list"):
        raise _invalid(rest)
    type, name = _key(key.text, searchable)
    if type == "tag":
        return _on_tag(name, comparator, value)
    return _on_attribute(name, comparator, value, searchable)


def _key(text: str, searchable: Searchable) -> tuple[str, str]:
    """What a key names: an attribute or a tag. Raises InvalidArgument."""
    entity, dot, key = text.partition(".")
    type = "attribute"
    if not dot:
        key = entity
    elif entity in {"tag", "tags"}:
        type = "tag"
    elif entity != "attribute":
        msg = f"Invalid entity type '{entity}'. Valid entity types are ('attribute', 'tag', 'tags')"
        raise InvalidArgument(msg, field="filter")
    if type == "attribute" and key not in {*searchable.texts, *searchable.numbers}:
        names = ", ".join(map(repr, sorted((*searchable.texts, *searchable.numbers))))
        msg = f"Invalid attribute key '{key}' specified. Valid keys are '{{{names}}}'"
        raise InvalidArgument(msg, field="filter")
    return type, _unquoted(key, "`", '"', "'")


def _on_tag(name: str, comparator: str, value: Token) -> Condition:
    if value.type not in {"string", "name"}:
        msg = f"Expected a quoted string value for tag (e.g. 'my-value'). Got value {value.text}"
        raise InvalidArgument(msg, field="filter")
    return Condition("tag", name, comparator, _text(value.text))


def _on_attribute(name: str, comparator: str, value: Token, searchable: Searchable) -> Condition:
    found: Value
    if value.type == "list":
        if name not in searchable.lists:
            msg = f"Only {sorted(searchable.lists)} attributes support comparison with a list of quoted string values."
            raise InvalidArgument(msg, field="filter")
        found = _list(value.text)
    elif value.type == "number":
        found = _number(name, value.text, searchable)
    elif value.type in {"string", "name"}:
        found = _text(value.text)
    else:
        msg = "Expected a quoted string value or a list of quoted string values for attributes. "
        raise InvalidArgument(f"{msg}Got value {value.text}", field="filter")
    return Condition("attribute", name, comparator, found)


def _number(name: str, text: str, searchable: Searchable) -> int | float:
    if not searchable.numbers:
        msg = "Expected a quoted string value or a list of quoted string values for attributes. "
        raise InvalidArgument(f"{msg}Got value {text}", field="filter")
    if name not in searchable.numbers:
        msg = f"Only the '{_NUMBERS}' attributes support comparison with numeric values."
        raise InvalidArgument(msg, field="filter")
    return float(text) if "." in text else int(text[:20])


def _whole(name: str, value: Value) -> int:
    """Raises InvalidArgument: no whole number."""
    try:
        if isinstance(value, (int, str)) and len(str(value)) <= 20:
            return max(-MAX_INT, min(MAX_INT, int(value)))
    except ValueError:
        pass
    raise InvalidArgument(f"Invalid value for numeric attribute '{name}': {value!r:.100}", field="filter")


def _text(text: str) -> str:
    """What is between quotes, as it stands there. Raises InvalidArgument: there are none."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    msg = (
        f"Parameter value is either not quoted or unidentified quote types used for string value {text:.100}. "
        "Use either single or double quotes."
    )
    raise InvalidArgument(msg, field="filter")


def _check_pattern(text: str, comparator: str) -> None:
    """Raises LimitExceeded: this is a pattern that is too hard to look for."""
    if comparator in {"LIKE", "ILIKE"} and (len(text) > MAX_PATTERN or text.count("%") > MAX_WILDCARDS):
        msg = f"filter: a pattern has at most {MAX_PATTERN} characters, {MAX_WILDCARDS} of them %"
        raise LimitExceeded(msg, field="filter")


def _list(text: str) -> tuple[str, ...]:
    """The texts in a list. Raises InvalidArgument: it is empty, or has something else in it; LimitExceeded."""
    inner = text[1:-1].strip()
    begin = "While parsing a list in the query, expected a"
    if not inner:
        raise InvalidArgument(f"{begin} non-empty list of string values, but got empty list", field="filter")
    values, at = list[str](), 0
    while at < len(inner):
        match = _ITEM.match(inner, at)
        if match is None:
            raise InvalidArgument(f"{begin} non-empty list of string values, but got ill-formed list.", field="filter")
        if match[3] is not None:
            msg = "While parsing a list in the query, expected string value, punctuation, or whitespace, "
            shown = text if "," in text else f"({inner},)"
            raise InvalidArgument(f"{msg}but got different type in list: {shown:.100}", field="filter")
        values.append(match[1] if match[1] is not None else match[2])
        at = match.end()
        if len(values) > MAX_VALUES:
            raise LimitExceeded(f"filter: a list has at most {MAX_VALUES} values", field="filter")
    return tuple(values)


def _unquoted(text: str, *quotes: str) -> str:
    for quote in quotes:
        if len(text) >= 2 and text[0] == text[-1] == quote:
            return text[1:-1]
    return text


# ── Orders ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ordering:
    """A key that answers are ordered by."""

    key: str
    descending: bool


def read_orders(texts: Sequence[str], searchable: Searchable) -> list[Ordering]:
    """The keys of an order, the first ones count most. Raises InvalidArgument: no such key, or one comes twice."""
    found: list[Ordering] = []
    for text in texts:
        match = _ORDER.fullmatch(text)
        if match is None:
            raise InvalidArgument(f"Invalid order_by clause '{text:.100}'. Could not be parsed.", field="order_by")
        key, direction = (
            _unquoted(match["key"].removeprefix("attribute."), "`", '"'),
            (match["direction"] or "").lower(),
        )
        if direction not in {"", "asc", "desc"}:
            raise InvalidArgument(f"Invalid ordering key in order_by clause '{text:.100}'.", field="order_by")
        if key not in searchable.orders:
            what, names = searchable.recommended
            msg = f"Invalid {what} '{key:.100}' specified. Valid keys are '{{{', '.join(map(repr, names))}}}'"
            raise InvalidArgument(msg, field="order_by")
        key = "last_updated_timestamp" if key == "timestamp" else key
        if any(ordering.key == key for ordering in found):
            raise InvalidArgument(f"`order_by` contains duplicate fields: {list(texts)}", field="order_by")
        found.append(Ordering(key, direction == "desc"))
    return found
