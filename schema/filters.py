"""Filters and orders of lists, derived from the ontology and the declared fields, compiled for the port.

Each kind has an input `<Kind>Filter`: its filterable properties, tags, parameters and metrics, a filter
of each neighbour, and `and`, `or`, `not`. All that is set must hold. Everything is done in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.utils.str_converters import to_snake_case

from graph import ontology, port
from graph.ontology import Type
from lineal.errors import InvalidArgument, LimitExceeded
from schema.conditions import (
    MAX_LISTED,
    IntFilter,
    MetricFilter,
    ParamFilter,
    StringFilter,
    TagFilter,
    TimeFilter,
    on_property,
    on_rows,
)
from schema.enums import OrderDirection, order_field

MAX_CONDITIONS: Final = 200
MAX_NESTING: Final = 12

RELATIONS: Final[dict[str, dict[str, tuple[port.Hop, str]]]] = {}
"""What declared fields each kind can be filtered by: Python name to the step, and the field's description."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A field of a filter: its GraphQL type, what it means, and how its values compile.

    Filters that may not be made yet go by their names. `nested` says that a value is a filter itself, or
    a list of them: those are compiled before.
    """

    type: Any
    description: str
    compile: Callable[[Any], port.Where]
    nested: bool = False


_CONDITIONS: dict[str, Mapping[str, Condition]] = {}
_TYPES: Final = {
    Type.STRING: StringFilter,
    Type.INT: IntFilter,
    Type.TIME: TimeFilter,
    Type.BOOL: bool,
}


def filter_of(kind: str) -> Any:
    """The filter input of a kind. All nouns must be declared before the first call."""
    if not _CONDITIONS:
        # They name each other, so they are made together and found in this module by name.
        for each in ontology.NODE_KINDS.values():
            _define(each)
    return globals()[f"{kind}Filter"]


def _define(kind: ontology.NodeKind) -> None:
    name = f"{kind.name}Filter"
    fields = dict(_conditions(kind))
    body: dict[str, Any] = {
        key: strawberry.field(name=key[:-1] if key.endswith("_") else None, description=c.description, default=None)
        for key, c in fields.items()
    }
    body["__module__"] = __name__
    body["__annotations__"] = {
        key: f"{c.type} | None" if isinstance(c.type, str) else c.type | None for key, c in fields.items()
    }
    description = f"Which {kind.name} things to give: all that is set must hold."
    _CONDITIONS[name] = fields
    globals()[name] = strawberry.input(type(name, (), body), description=description)


def _conditions(kind: ontology.NodeKind) -> Iterator[tuple[str, Condition]]:
    own = f"{kind.name}Filter"
    yield "and_", Condition(f"list[{own}]", "Every one of these holds.", lambda of: port.All(tuple(of)), nested=True)
    yield "or_", Condition(f"list[{own}]", "At least one of these holds.", lambda of: port.Any_(tuple(of)), nested=True)
    yield "not_", Condition(own, "This does not hold.", port.Not, nested=True)
    yield "ids", Condition(list[strawberry.ID], f"Its id is one of these, at most {MAX_LISTED}.", _ids)
    yield "name", Condition(StringFilter, "Its name.", on_property("name", "name"))
    if not kind.is_global:
        yield "workspace", Condition(StringFilter, "The name of its workspace.", on_property("workspace", "workspace"))
        yield "owner", Condition(StringFilter, "The name of a principal or team that owns it.", _owner)
    yield "created_by", Condition(StringFilter, "Who registered it.", on_property("createdBy", "createdBy"))
    for name, doc in (("createdAt", "When it was registered."), ("updatedAt", "When it last changed.")):
        yield to_snake_case(name), Condition(TimeFilter, doc, on_property(name, name))
    yield "tags", Condition(list[TagFilter], "Each of these holds of its tags.", on_rows("tags"))
    if kind.has_params:
        yield "params", Condition(list[ParamFilter], "Each of these holds of its parameters.", on_rows("params"))
    if kind.has_metrics:
        yield "metrics", Condition(list[MetricFilter], "Each of these holds of its metrics.", on_rows("metrics"))
    for prop in kind.properties:
        if prop.filterable and prop.type is not Type.STRINGS:
            yield to_snake_case(prop.name), Condition(_TYPES[prop.type], prop.doc, _on(prop))
    yield from _SPECIAL.get(kind.name, {}).items()
    for name, (hop, doc) in RELATIONS.get(kind.name, {}).items():
        yield name, Condition(f"{hop.kind}Filter", f"Some of these match: {doc}", _linked(hop), nested=True)


def _ids(values: Any) -> port.Where:
    if len(values) > MAX_LISTED:
        msg = f"ids: has {len(values)} values; at most {MAX_LISTED} are allowed"
        raise InvalidArgument(msg, field="ids")
    return port.Prop("id", "in", tuple(values))


def _owner(value: Any) -> port.Where:
    return port.Linked(port.Hop(ontology.OWNED_BY.name, "OUT"), where=on_property("name", "owner")(value))


def _on(prop: ontology.Property) -> Callable[[Any], port.Where]:
    if prop.type is Type.BOOL:
        true = port.Prop(prop.name, "eq", True)
        return lambda value: true if value else port.Not(true)
    return on_property(prop.name, prop.name)


def _linked(hop: port.Hop) -> Callable[[Any], port.Where]:
    return lambda where: port.Linked(hop, where=where)


def _pointed(edge: ontology.EdgeKind, direction: Any, kind: str) -> Callable[[Any], port.Where]:
    return lambda name: port.Linked(port.Hop(edge.name, direction, kind), discriminator=name)


_SERVED = port.Linked(port.Hop(ontology.SERVES.name, "IN", "Deployment"))
_SERVED_MODEL = port.Linked(port.Hop(ontology.VERSION_OF.name, "IN", "ModelVersion"), where=_SERVED)

_SPECIAL: Final[Mapping[str, Mapping[str, Condition]]] = {
    "ModelVersion": {
        "framework": Condition(str, "A library that can load it.", lambda value: port.Prop("frameworks", "has", value)),
        "alias": Condition(str, "An alias that points to it.", _pointed(ontology.ALIAS, "IN", "Model")),
        "stage": Condition(str, "The stage that it is in.", _pointed(ontology.STAGE, "IN", "Model")),
        "has_live_deployment": Condition(
            bool, "Whether some deployment serves it.", lambda value: _SERVED if value else port.Not(_SERVED)
        ),
    },
    "Model": {
        "alias": Condition(str, "An alias that it has.", _pointed(ontology.ALIAS, "OUT", "ModelVersion")),
        "stage": Condition(str, "A stage that some version is in.", _pointed(ontology.STAGE, "OUT", "ModelVersion")),
        "has_live_deployment": Condition(
            bool,
            "Whether some deployment serves a version of it.",
            lambda value: _SERVED_MODEL if value else port.Not(_SERVED_MODEL),
        ),
    },
}


def where_of(value: Any) -> port.Where | None:
    """The condition that a filter stands for. Raises InvalidArgument, LimitExceeded (too many, too deep)."""
    if value is None:
        return None
    budget = [MAX_CONDITIONS]
    return _compile(value, 1, budget)


def _compile(value: Any, nesting: int, budget: list[int]) -> port.Where:
    if nesting > MAX_NESTING:
        msg = f"where: nests deeper than the {MAX_NESTING} levels allowed"
        raise LimitExceeded(msg, field="where", limit="nesting", maximum=MAX_NESTING)
    result: list[port.Where] = []
    for key, condition in _CONDITIONS[type(value).__name__].items():
        given = getattr(value, key)
        if given is None:
            continue
        budget[0] -= len(given) if isinstance(given, list) and key != "ids" else 1
        if budget[0] < 0:
            msg = f"where: has more than the {MAX_CONDITIONS} conditions allowed"
            raise LimitExceeded(msg, field="where", limit="conditions", maximum=MAX_CONDITIONS)
        if condition.nested:
            one = not isinstance(given, list)
            given = _compile(given, nesting + 1, budget) if one else [_compile(g, nesting + 1, budget) for g in given]
        result.append(condition.compile(given))
    return result[0] if len(result) == 1 else port.All(tuple(result))


@cache
def order_input(kind: str) -> Any:
    """The order input of a kind."""
    name = f"{kind}Order"
    annotations: dict[str, Any] = {"field": order_field(kind) | None, "direction": OrderDirection}
    body: dict[str, Any] = {
        "__module__": __name__,
        "__annotations__": annotations,
        "field": strawberry.field(description="The property that comes first.", default=None),
        "direction": strawberry.field(description="Which end comes first.", default=OrderDirection(False)),
    }
    description = f"How to order a list of {kind} things. Ties go by id."
    if ontology.NODE_KINDS[kind].has_metrics:
        annotations["metric"] = str | None
        doc = "Order by the last value of this metric instead of a property."
        body["metric"] = strawberry.field(description=doc, default=None)
    return strawberry.input(type(name, (), body), description=description)


def order_of(kind: str | None, value: Any) -> port.Order:
    """The order that an input stands for; a kind's first order unless given, names for neighbours of any kind.

    Raises InvalidArgument: both or neither of field and metric.
    """
    if value is None:
        return port.Order(ontology.NODE_KINDS[kind].orders[0] if kind else "name")
    metric = getattr(value, "metric", None)
    if (metric is None) == (value.field is None):
        msg = "orderBy: must have either a field or a metric"
        raise InvalidArgument(msg, field="orderBy")
    descending = value.direction.value
    if metric is not None:
        return port.Order(descending=descending, metric=metric)
    return port.Order(value.field.value, descending)


def arguments(kind: str) -> tuple[StrawberryArgument, ...]:
    """The arguments `where` and `orderBy` of a list of a kind."""
    return (
        StrawberryArgument(
            "where", None, StrawberryAnnotation(filter_of(kind) | None), description="Which ones to give."
        ),
        StrawberryArgument(
            "order_by",
            None,
            StrawberryAnnotation(order_input(kind) | None),
            description=f"How to order them; by {ontology.NODE_KINDS[kind].orders[0]} unless given.",
        ),
    )
