"""@requiresScopes: what a field needs, in the schema's text, where gateways and people find it."""

from __future__ import annotations

import copy
from typing import Final, NewType

import strawberry
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema
from strawberry.schema_directive import Location
from strawberry.types.scalar import ScalarDefinition

from schema.gates import Gates

Scope = NewType("Scope", str)

SCOPE: Final[ScalarDefinition] = strawberry.scalar(
    name="Scope", description="An OAuth scope, as tokens have it: model:read.", serialize=str, parse_value=str
)


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="requiresScopes",
    description="The scopes that open a field: all of any one of the lists. Without them it is null, with an error.",
)
class RequiresScopes:
    """https://specs.apollo.dev/federation/v2.7#@requiresScopes"""

    scopes: list[list[Scope]] = strawberry.directive_field(name="scopes")


def apply(schema: GraphQLSchema, gates: Gates) -> None:
    """Put the directive on every gated field of a schema."""
    for type_ in schema.type_map.values():
        if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
            for name, field in type_.fields.items():
                if needed := gates.fields.get((type_.name, name)):
                    # Nouns share the definitions of what they inherit, and schemas those of the nouns.
                    definition = copy.copy(field.extensions["strawberry-definition"])
                    definition.directives = [RequiresScopes(scopes=needed.lists())]  # type: ignore[arg-type]
                    field.extensions = {**field.extensions, "strawberry-definition": definition}
