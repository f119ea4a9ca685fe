"""Searches of MLflow's clients as filters, orders and cursors of the store: the database does the work."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from gateway.mlflow.checking import IS_PROMPT
from gateway.mlflow.grammar import Condition, Ordering
from graph.ontology import MAX_INT
from graph.port import All, Any_, Cursor, Hop, Linked, Not, Op, Order, Prop, Row, Where
from lineal.errors import InvalidArgument
from resolvers.registry.looking import names_for

MODEL_ORDERS: Final[Mapping[str, str]] = {
    "name": "name",
    "creation_timestamp": "createdAt",
    "last_updated_timestamp": "updatedAt",
}
VERSION_ORDERS: Final[Mapping[str, str]] = {**MODEL_ORDERS, "name": "containerName", "version_number": "number"}
DEFAULT_VERSION_ORDERS: Final = (
    Ordering("last_updated_timestamp", True),
    Ordering("name", False),
    Ordering("version_number", True),
)

_PROPERTIES: Final[Mapping[str, str]] = {"run_id": "runId", "source_path": "source", "version_number": "number"}
_OPS: Final[Mapping[str, Any]] = {
    "=": "eq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "LIKE": "like", "ILIKE": "ilike", "IN": "in",
}  # fmt: skip
_MODEL: Final = Hop("VERSION_OF", "OUT", "Model")

Test = Callable[[Op, Any], Where]
"""A condition by its operator and its value."""


# ── Filters ───────────────────────────────────────────────────────────────────────────────────────


def models_where(conditions: Sequence[Condition], workspace: str) -> Where:
    """What a search of models asks for; prompts only where it asks for them."""
    tests = [_on_name(condition) for condition in conditions if condition.type == "attribute"]
    return All((Prop("workspace", "eq", workspace), *tests, *_on_tags(conditions)))


def versions_where(conditions: Sequence[Condition], workspace: str, named: Mapping[str, str]) -> Where:
    """What a search of versions asks for. `named` has the ids of models that are asked for by exact name."""
    tests: list[Where] = []
    for condition in conditions:
        if condition.type != "attribute":
            continue
        if condition.key != "name":
            tests.append(_on_property(condition))
        elif (names := exact_names([condition])) is not None:
            tests.append(Prop("container", "in", [named[name] for name in names if name in named]))
        else:
            tests.append(Linked(_MODEL, where=_on_name(condition)))
    return All((Prop("workspace", "eq", workspace), *tests, *_on_tags(conditions)))


def exact_names(conditions: Sequence[Condition]) -> list[str] | None:
    """The names that conditions on models ask for; None where none of them names any."""
    names: list[str] | None = None
    for condition in conditions:
        if condition.type == "attribute" and condition.key == "name" and condition.comparator in {"=", "IN"}:
            value = condition.value
            names = [*(names or ()), *([value] if isinstance(value, str) else value)]  # type: ignore[misc]
    return names


def _on_name(condition: Condition) -> Where:
    def test(op: Op, value: Any) -> Where:
        if op in {"eq", "in"}:
            texts = [value] if isinstance(value, str) else value
            return Prop("name", "in", [name for text in texts for name in names_for(text)])
        return Prop("name", op, value)

    return _compared(condition, test)


def _on_property(condition: Condition) -> Where:
    """What is absent is empty text to MLflow's clients."""
    name = _PROPERTIES[condition.key]
    if condition.key == "version_number":
        return _compared(condition, lambda op, value: Prop(name, op, value))

    def test(op: Op, value: Any) -> Where:
        found: Where = Prop(name, op, value)
        texts = [value] if isinstance(value, str) else value
        empty = not value.strip("%") if op in {"like", "ilike"} else "" in texts
        return Any_((Prop(name, "eq", None), found)) if empty else found

    return _compared(condition, test)


def _compared(condition: Condition, test: Test) -> Where:
    match condition.comparator:
        case "!=":
            return Not(test("eq", condition.value))
        case "NOT IN":
            return Not(test("in", list(condition.value)))  # type: ignore[arg-type]
        case "IN":
            return test("in", list(condition.value))  # type: ignore[arg-type]
        case comparator:
            return test(_OPS[comparator], condition.value)


def _on_tags(conditions: Sequence[Condition]) -> list[Where]:
    """What is asked of tags. A tag that is not there fulfils nothing, not even that it is another one.

    Prompts are models to MLflow, with a tag; a search that does not ask for them leaves them out.
    """
    asked = [condition for condition in conditions if condition.type == "tag"]
    prompts = _asks_for_prompts(asked)
    tests: list[Where] = []
    for condition in asked:
        if condition.key == IS_PROMPT and not prompts:
            continue
        key = condition.key
        if condition.comparator == "!=":
            tests += (Row("tags", key), Not(Row("tags", key, "eq", condition.value)))
        else:
            tests.append(Row("tags", key, _OPS[condition.comparator], condition.value))
    return tests if prompts else [*tests, Not(Row("tags", IS_PROMPT, "eq", "true"))]


def _asks_for_prompts(conditions: Sequence[Condition]) -> bool:
    for condition in conditions:
        if condition.key == IS_PROMPT:
            value = str(condition.value).lower()
            return (condition.comparator, value) in {("=", "true"), ("!=", "false")}
    return False


# ── Orders and pages ──────────────────────────────────────────────────────────────────────────────


def order_of(orderings: Sequence[Ordering], names: Mapping[str, str], *, ties: Sequence[Ordering]) -> Order:
    """An order of the store; `ties` come last, as far as they are not asked for."""
    asked = {ordering.key for ordering in orderings}
    keys = [*orderings, *(tie for tie in ties if tie.key not in asked)]
    first, *rest = (Order(names[key.key], descending=key.descending) for key in keys)
    return Order(first.by, descending=first.descending, then=tuple(rest))


def page_token(cursor: Cursor | None) -> str:
    """What a client brings back to read on after this place; None is the beginning."""
    return base64.b64encode(orjson.dumps({"after": None if cursor is None else list(cursor)})).decode()


def read_page_token(token: str, order: Order) -> Cursor | None:
    """The place that a token stands for. Raises InvalidArgument: it is none of a search with this order."""
    if not token:
        return None
    try:
        decoded = base64.b64decode(token[:10_000])
    except (binascii.Error, ValueError):
        raise InvalidArgument("Invalid page token, could not base64-decode", field="page_token") from None
    try:
        parsed = orjson.loads(decoded)
    except orjson.JSONDecodeError:
        raise InvalidArgument(f"Invalid page token, decoded value={decoded!r:.100}", field="page_token") from None
    place = parsed.get("after", ()) if isinstance(parsed, dict) else ()
    if place is None:
        return None
    wanted = [str if key.by in {"name", "containerName"} else int for key in order.keys] + [str]
    small = isinstance(place, list) and all(not isinstance(each, int) or abs(each) <= MAX_INT for each in place)
    if not small or [type(each) for each in place] != wanted:
        raise InvalidArgument(f"Invalid page token, parsed value={parsed!r:.100}", field="page_token")
    return tuple(place)
