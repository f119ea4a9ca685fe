"""What may be written: names, properties and edges, held against the ontology."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

from graph.ontology import EDGE_KINDS, MAX_INT, MAX_NAME, MAX_STRING, MAX_TEXT, EdgeKind, NodeKind, Property, Type
from graph.text import normalize
from lineal.errors import InvalidArgument

MAX_TEXTS: Final = 1_000
"""Texts in a list."""


def edge_kind(name: str, source_kind: str, target_kind: str, *, field: str = "kind") -> EdgeKind:
    """The kind of that name, if it may join these two kinds of node.

    Raises InvalidArgument: no such kind, or not between these.
    """
    kind = EDGE_KINDS.get(name)
    if kind is None:
        msg = f"{field}: there is no edge kind {name!r}; the kinds are {', '.join(EDGE_KINDS)}"
        raise InvalidArgument(msg, field=field)
    if (source_kind, target_kind) not in kind.ends:
        allowed = ", ".join(f"{a} → {b}" for a, b in kind.ends)
        msg = f"{field}: {name} cannot join {source_kind} → {target_kind}; it joins {allowed}"
        raise InvalidArgument(msg, field=field)
    return kind


def name(text: Any, *, field: str = "name") -> str:
    """The name in Unicode form NFC. Raises InvalidArgument: not 1 to 500 printable characters."""
    if not isinstance(text, str) or not text.strip():
        msg = f"{field}: must be text of 1 to {MAX_NAME} characters, not {text!r}"
        raise InvalidArgument(msg, field=field)
    text = normalize(text)
    if len(text) > MAX_NAME:
        msg = f"{field}: has {len(text)} characters; at most {MAX_NAME} are allowed"
        raise InvalidArgument(msg, field=field)
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        msg = f"{field}: {text!r} has control characters; names are printable text"
        raise InvalidArgument(msg, field=field)
    return str(text)


def plain_name(text: Any, *, field: str = "name") -> str:
    """A name that can be told from all others by looking at it. Raises InvalidArgument: `name`'s, or what is unseen."""
    plain = name(text, field=field)
    if (
        any(unicodedata.category(c) in {"Cf", "Zl", "Zp"} or (c.isspace() and c != " ") for c in plain)
        or plain != plain.strip()
    ):
        msg = f"{field}: {plain!r} has characters that do not show, and could be taken for another name"
        raise InvalidArgument(msg, field=field)
    return plain


_WORKSPACE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def workspace_name(text: Any, *, field: str = "name") -> str:
    """A workspace's name. Raises InvalidArgument: not 1 to 63 of a-z, 0-9, dot, dash, underscore."""
    if not isinstance(text, str) or not _WORKSPACE_NAME.fullmatch(text):
        msg = f"{field}: a workspace's name is 1 to 63 characters of a-z, 0-9, '.', '-' and '_', not {text!r}"
        raise InvalidArgument(msg, field=field)
    return text


def properties(
    kind: NodeKind | EdgeKind,
    given: Mapping[str, Any],
    *,
    complete: bool = False,
    internal: bool = True,
    field: str = "",
) -> dict[str, Any]:
    """The properties as the stores keep them; None values stay, they remove.

    `complete` asks for every required one, as on create. Without `internal`, properties that only
    Lineal writes are refused. Raises InvalidArgument that names the property.
    """
    known = kind.by_name if isinstance(kind, NodeKind) else {p.name: p for p in kind.properties}
    at = f"{field}." if field else ""
    result: dict[str, Any] = {}
    for name, value in given.items():
        prop = known.get(name)
        if prop is None or (prop.internal and not internal):
            names = ", ".join(n for n, p in known.items() if internal or not p.internal) or "none"
            msg = f"{at}{name}: {kind.name} has no such property to set; it has {names}"
            raise InvalidArgument(msg, field=f"{at}{name}")
        result[name] = None if value is None else _value(prop, value, f"{at}{name}")
    if complete:
        for prop in known.values():
            if prop.required and result.get(prop.name) is None:
                msg = f"{at}{prop.name}: {kind.name} needs it"
                raise InvalidArgument(msg, field=f"{at}{prop.name}")
    return result


def _value(prop: Property, value: Any, at: str) -> Any:
    if prop.type in {Type.STRING, Type.TEXT}:
        kept, wanted = _text(value, prop)
    else:
        kept, wanted = _json(value, prop.size) if prop.type is Type.JSON else _CHECKS[prop.type](value)
    if not wanted and prop.type is Type.INT and not prop.least <= kept <= prop.most:
        wanted = f"a whole number from {prop.least} to {prop.most}"
    if wanted:
        shown = repr(value)
        msg = f"{at}: must be {wanted}, not {shown if len(shown) <= 80 else shown[:77] + '…'}"
        raise InvalidArgument(msg, field=at)
    return kept


_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")

Checked = tuple[Any, str]
"""The value as it is kept, and what it should have been, which is empty where it is right."""


def _text(value: Any, prop: Property) -> Checked:
    limit = MAX_TEXT if prop.type is Type.TEXT else MAX_STRING
    if not isinstance(value, str):
        return value, "text"
    if len(value) > limit:
        return value, f"at most {limit} characters"
    if _UNWRITABLE.search(value):
        return value, "text without NUL or lone surrogates"
    if prop.values and value not in prop.values:
        return value, f"one of {', '.join(prop.values)}"
    return value, ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_STRING and not _UNWRITABLE.search(value)


def _integer(value: Any) -> Checked:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    right = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INT
    return value, "" if right else "a whole number of 64 bits"


def _number(value: Any) -> Checked:
    right = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf
    return (float(value), "") if right else (value, "a finite number")


def _boolean(value: Any) -> Checked:
    return value, "" if isinstance(value, bool) else "true or false"


def _texts(value: Any) -> Checked:
    right = isinstance(value, (list, tuple)) and len(value) <= MAX_TEXTS and all(_is_text(v) for v in value)
    return (list(value), "") if right else (value, f"a list of at most {MAX_TEXTS} texts")


def _json(value: Any, most: int) -> Checked:
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()) if isinstance(value, dict) else 0
    except (TypeError, ValueError, RecursionError):
        size = 0
    right = 0 < size <= most
    return value, "" if right else f"a JSON object of at most {most} bytes, without NaN or infinities"


_CHECKS: Final[Mapping[Type, Callable[[Any], Checked]]] = {
    Type.INT: _integer,
    Type.TIME: _integer,
    Type.FLOAT: _number,
    Type.BOOL: _boolean,
    Type.STRINGS: _texts,
}
