"""JSON Schemas (2020-12) of GraphQL's types, as components of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    get_nullable_type,
    is_non_null_type,
    is_required_input_field,
)

from auth.scopes import OPEN
from gateway.rest.selecting import NODE, Needs

Json = dict[str, Any]

REF: Final = "#/components/schemas/"
_MAX: Final = 2**31

_SCALARS: Final[Mapping[str, Json]] = {
    "ID": {"type": "string"},
    "String": {"type": "string"},
    "Boolean": {"type": "boolean"},
    "Int": {"type": "integer", "format": "int32", "minimum": -_MAX, "maximum": _MAX - 1},
    "Float": {"type": "number", "format": "double"},
    "JSON": {"description": "Any JSON value."},
    "DateTime": {"type": "string", "format": "date-time"},
    "BigInt": {"type": "string", "pattern": "^-?[0-9]{1,19}$", "description": "A whole number of 64 bits, in digits."},
    "MetricValue": {
        "anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}],
        "description": "A figure of a metric.",
    },
}
_TAKEN: Final[Mapping[str, Json]] = {
    "BigInt": {
        "anyOf": [
            {"type": "string", "pattern": "^-?[0-9]{1,18}$"},
            {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        ],
        "description": "A whole number of 64 bits, as a number or in digits.",
    },
}
"""What is taken differently from how it is given."""


class Schemas:
    """Makes schemas of types, and keeps those that have names."""

    def __init__(self, schema: GraphQLSchema, needs: Needs) -> None:
        self.components: dict[str, Json] = {}
        self._schema = schema
        self._needs = needs

    def output(self, type_: Any) -> Json:
        """The schema of what is given."""
        return self._maybe(type_, self._output)

    def input(self, type_: Any) -> Json:
        """The schema of what is taken."""
        return self._maybe(type_, self._input)

    def parameter(self, type_: Any) -> Json:
        """The schema of what is taken in a query, where there is no null."""
        return self._input(get_nullable_type(type_))

    def reference(self, name: str) -> Json:
        """The schema of one thing of a named type."""
        return self._output(self._schema.type_map[name])

    def _maybe(self, type_: Any, make: Any) -> Json:
        if is_non_null_type(type_):
            return dict(make(type_.of_type))
        made = make(type_)
        if isinstance(made.get("type"), str) and "enum" not in made:
            return {**made, "type": [made["type"], "null"]}
        return dict(made) if not made.keys() - {"description"} else {"anyOf": [made, {"type": "null"}]}

    def _output(self, bare: Any) -> Json:
        if isinstance(bare, GraphQLList):
            return {"type": "array", "items": self.output(bare.of_type)}
        if isinstance(bare, GraphQLScalarType):
            return dict(_SCALARS[bare.name])
        if bare.name not in self.components:
            self.components[bare.name] = {}
            self.components[bare.name] |= self._enum(bare) if isinstance(bare, GraphQLEnumType) else self._object(bare)
        return {"$ref": REF + bare.name}

    def _enum(self, bare: GraphQLEnumType) -> Json:
        lines = [f"- `{name}`: {value.description}" for name, value in bare.values.items()]
        return {"type": "string", "enum": list(bare.values), "description": "\n".join([bare.description or "", *lines])}

    def _object(self, bare: GraphQLObjectType | GraphQLInterfaceType) -> Json:
        """What is given of a thing depends on who asks and on `fields`: no property is always there."""
        properties: Json = {}
        for name, field in bare.fields.items():
            needed = self._needs.get((bare.name, name), OPEN)
            shown = described(self.output(field.type), field.description)
            properties[name] = shown | ({"x-scopes": needed.lists()} if needed else {})
        if bare.name == NODE or any(interface.name == NODE for interface in bare.interfaces):
            properties["edge"] = {"$ref": REF + "EdgeFacts"}
        made = {"type": "object", "description": bare.description, "properties": properties}
        # Of a thing of any kind, `fields` may ask for what only some kinds have.
        return made if bare.name == NODE else made | {"additionalProperties": False}

    def _input(self, bare: Any) -> Json:
        if isinstance(bare, GraphQLList):
            return {"type": "array", "items": self.input(bare.of_type)}
        if isinstance(bare, GraphQLScalarType):
            return dict(_TAKEN.get(bare.name) or _SCALARS[bare.name])
        if isinstance(bare, GraphQLEnumType):
            return self._output(bare)
        assert isinstance(bare, GraphQLInputObjectType)
        if bare.name not in self.components:
            self.components[bare.name] = {}
            self.components[bare.name] |= {**self.fields(bare.fields), "description": bare.description}
        return {"$ref": REF + bare.name}

    def fields(self, fields: Mapping[str, GraphQLInputField]) -> Json:
        """An object with these fields of an input."""
        properties = {}
        for name, field in fields.items():
            taken = described(self.input(field.type), field.description)
            if isinstance(field.default_value, (str, int, float)):
                taken["default"] = field.default_value
            properties[name] = taken
        required = [name for name, field in fields.items() if is_required_input_field(field)]
        made: Json = {"type": "object", "properties": properties, "additionalProperties": False}
        return made | ({"required": required} if required else {})


def described(schema: Json, description: str | None) -> Json:
    """A schema with the description of the field that it is of."""
    return {**schema, "description": description} if description else schema
