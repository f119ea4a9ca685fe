"""The parameters of a query, derived from the arguments of the fields that a route asks.

An argument is a parameter of its name, but that lists are paged with `limit` and `cursor` and ordered by `order`. The
fields of a filter that compare a plain value are parameters too: `name=bert`, `name.prefix=be`, `createdAt.gte=…`,
`tags[team]=nlp`; `where` takes any filter, as JSON. All of them must hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    get_named_type,
    get_nullable_type,
    is_required_argument,
)

from lineal.errors import InvalidArgument

RENAMED: Final[Mapping[str, str]] = {"first": "limit", "after": "cursor", "orderBy": "order"}
FIELDS: Final = "fields"
TOTAL: Final = "total"
WHERE: Final = "where"
ORDER: Final = "order"

_NAMED: Final = frozenset({"TagFilter", "ParamFilter"})
"""Filters of something by its name: `tags[team]=nlp`."""
_PLAIN: Final = frozenset({"StringFilter", "TimeFilter", "IntFilter"})
_OWN: Final = frozenset({FIELDS, TOTAL, WHERE, ORDER, "limit", "cursor", "asOf"})

Values = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query.

    `argument` is the argument that it is of, `within` where in that argument's value it goes. One that is `keyed` is
    written with a name in brackets. `type` is what GraphQL makes of its value.
    """

    name: str
    argument: str
    type: GraphQLInputType
    description: str
    within: tuple[str, ...] = ()
    required: bool = False
    keyed: bool = False
    default: Any = None

    @property
    def many(self) -> bool:
        """Whether it may be given more than once."""
        return isinstance(get_nullable_type(self.type), GraphQLList) or (
            self.type_name == "StringFilter" and self.within[-1:] == ("eq",)
        )

    @property
    def type_name(self) -> str:
        """The name of its type in GraphQL."""
        return get_named_type(self.type).name


def of_argument(name: str, argument: Any) -> Iterator[Parameter]:
    """The parameters of one argument."""
    type_: Any = get_named_type(argument.type)
    default = argument.default_value if isinstance(argument.default_value, (int, float, str, bool)) else None
    required = is_required_argument(argument)
    description = argument.description or ""
    yield Parameter(RENAMED.get(name, name), name, argument.type, description, required=required, default=default)
    if name == WHERE:
        assert isinstance(type_, GraphQLInputObjectType)
        yield from _of_filter(type_)


def _of_filter(type_: GraphQLInputObjectType) -> Iterator[Parameter]:
    for name, field in type_.fields.items():
        given: Any = get_named_type(field.type)
        if name in _OWN:
            continue
        if given.name in _PLAIN:
            yield from _of_comparison(name, field, given)
        elif given.name in _NAMED:
            doc = f"{field.description} Each is `{name}[NAME]=VALUE`."
            yield Parameter(name, WHERE, field.type, doc, (name,), keyed=True)
        elif not isinstance(given, GraphQLInputObjectType):
            yield Parameter(name, WHERE, field.type, field.description or "", (name,))


def _of_comparison(name: str, field: GraphQLInputField, type_: GraphQLInputObjectType) -> Iterator[Parameter]:
    for way, inner in type_.fields.items():
        if way == "in":
            continue
        shown = name if way == "eq" else f"{name}.{way}"
        kind: Any = type_ if way == "eq" and "in" in type_.fields and type_.name == "StringFilter" else inner.type
        yield Parameter(shown, WHERE, kind, f"{field.description} {inner.description}", (name, way))


def read(parameters: Mapping[str, Parameter], query: Values) -> dict[str, Any]:
    """Arguments of a query that was sent. Raises InvalidArgument: one that there is not, or given twice or wrongly.

    Values are as GraphQL takes them in JSON where they can be, and else as they were sent: then it is GraphQL that
    says what is wrong with them.
    """
    found: dict[str, Any] = {}
    keyed: list[dict[str, Any]] = []
    conditions: dict[str, Any] = {}
    for name, values in query.items():
        base, key = _key(name)
        parameter = parameters.get(base)
        if parameter is None or parameter.keyed != (key is not None):
            raise InvalidArgument(f"{name:.80}: there is no such parameter here", field=name[:80])
        if len(values) > 1 and not parameter.many:
            raise InvalidArgument(f"{name:.80}: must be given once", field=name[:80])
        if parameter.keyed:
            keyed.append({base: [{"name": key, "eq": values[0]}]})
        elif parameter.name == ORDER:
            found[parameter.argument] = _order(values[0], parameter)
        elif not parameter.within:
            found[parameter.argument] = _value(parameter, values)
        else:
            _put(conditions, parameter, values)
    if conditions or keyed:
        wanted = [found[WHERE]] if found.get(WHERE) is not None else []
        wanted += [conditions] if conditions else []
        found[WHERE] = {"and": [*wanted, *keyed]} if len(wanted) + len(keyed) > 1 else (wanted or keyed)[0]
    return found


def _key(name: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"([^\[\]]+)\[(.*)\]", name, re.DOTALL)
    return (match[1], match[2]) if match else (name, None)


def _put(conditions: dict[str, Any], parameter: Parameter, values: Sequence[str]) -> None:
    *path, last = parameter.within
    at = conditions
    for name in path:
        at = at.setdefault(name, {})
    if parameter.type_name == "StringFilter":
        at |= {"eq": values[0]} if len(values) == 1 else {"in": list(values)}
    else:
        at[last] = _value(parameter, values)


def _value(parameter: Parameter, values: Sequence[str]) -> Any:
    named = get_named_type(parameter.type)
    if isinstance(named, GraphQLInputObjectType) or named.name == "JSON":
        try:
            return orjson.loads(values[0])
        except orjson.JSONDecodeError as error:
            msg = f"{parameter.name}: must be JSON: {error}"
            raise InvalidArgument(msg, field=parameter.name) from None
    plain = [_plain(named.name, value) for value in values]
    return plain if isinstance(get_nullable_type(parameter.type), GraphQLList) else plain[0]


def _plain(type_: str, text: str) -> Any:
    if type_ == "Int" and re.fullmatch(r"-?[0-9]{1,20}", text):
        return int(text)
    if type_ == "Float" and re.fullmatch(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][-+]?[0-9]{1,3})?", text):
        return float(text)
    if type_ == "Boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def _order(text: str, parameter: Parameter) -> dict[str, Any]:
    """What `name`, `-createdAt` and `-metrics.accuracy` order by. Raises InvalidArgument: nothing of the list."""
    type_: Any = get_named_type(parameter.type)
    direction = "DESC" if text.startswith("-") else "ASC"
    name = text.removeprefix("-")
    if "metric" in type_.fields and name.startswith("metrics.") and name != "metrics.":
        return {"metric": name.removeprefix("metrics."), "direction": direction}
    orders = order_names(parameter)
    if name not in orders:
        known = [*orders, *(["metrics.NAME"] if "metric" in type_.fields else [])]
        msg = f"order: must be one of {', '.join(known)}, with a - before it for the largest first, not {text!r:.80}"
        raise InvalidArgument(msg, field=ORDER)
    return {"field": orders[name], "direction": direction}


def order_names(parameter: Parameter) -> dict[str, str]:
    """What a list can be ordered by, each with its name in GraphQL."""
    type_: Any = get_named_type(parameter.type)
    enum = get_named_type(type_.fields["field"].type)
    assert isinstance(enum, GraphQLEnumType)
    return {re.sub("_(.)", lambda match: match[1].upper(), name.lower()): name for name in enum.values}
