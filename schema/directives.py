"""What a field needs and costs, in the schema's text, where gateways and people find it."""

from __future__ import annotations

import copy
from typing import Any, Final, NewType

import strawberry
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema
from strawberry.schema_directive import Location
from strawberry.types.scalar import ScalarDefinition

from schema.costs import Costs, Size
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


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="cost",
    description="What a field costs for each object that it gives, where that is not 1.",
)
class Cost:
    """https://ibm.github.io/graphql-specs/cost-spec.html#sec-The-Cost-Directive"""

    weight: int = strawberry.directive_field(name="weight")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="listSize",
    description="How many a field, or the fields below it that are named, gives: what an argument says, or as many as "
    "are assumed.",
)
class ListSize:
    """https://ibm.github.io/graphql-specs/cost-spec.html#sec-The-List-Size-Directive"""

    assumed_size: int | None = strawberry.directive_field(name="assumedSize", default=strawberry.UNSET)
    slicing_arguments: list[str] | None = strawberry.directive_field(name="slicingArguments", default=strawberry.UNSET)
    sized_fields: list[str] | None = strawberry.directive_field(name="sizedFields", default=strawberry.UNSET)
    require_one_slicing_argument: bool = strawberry.directive_field(name="requireOneSlicingArgument", default=True)


def apply(schema: GraphQLSchema, gates: Gates, costs: Costs) -> None:
    """Put the directives on the fields of a schema."""
    for type_ in schema.type_map.values():
        if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
            for name, field in type_.fields.items():
                directives = _directives((type_.name, name), gates, costs)
                if isinstance(type_, GraphQLInterfaceType):
                    # By its specification what a field costs is said by the types that have it.
                    directives = [each for each in directives if not isinstance(each, Cost)]
                if directives:
                    # Nouns share the definitions of what they inherit, and schemas those of the nouns.
                    definition = copy.copy(field.extensions["strawberry-definition"])
                    definition.directives = directives
                    field.extensions = {**field.extensions, "strawberry-definition": definition}


def _directives(coordinate: tuple[str, str], gates: Gates, costs: Costs) -> list[Any]:
    found: list[Any] = []
    if needed := gates.fields.get(coordinate):
        found.append(RequiresScopes(scopes=needed.lists()))  # type: ignore[arg-type]
    if (weight := costs.weights.get(coordinate, 1)) != 1:
        found.append(Cost(weight=weight))
    if size := costs.sizes.get(coordinate):
        found.append(_list_size(size))
    return found


def _list_size(size: Size) -> ListSize:
    return ListSize(
        assumed_size=size.assumed,
        slicing_arguments=[size.slicing] if size.slicing else strawberry.UNSET,
        sized_fields=list(size.sized) or strawberry.UNSET,
        require_one_slicing_argument=False,
    )
