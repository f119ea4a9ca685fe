"""The schema, built once, and its committed text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from strawberry.schema.config import StrawberryConfig

from schema.directives import SCOPE, Cost, ListSize, RequiresScopes, Scope
from schema.entities import REPRESENTATION, Representation
from schema.executing import LinealSchema
from schema.kinds import TYPES
from schema.limits import Limits
from schema.mutations import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription

COMMITTED: Final = Path(__file__).with_name("lineal.graphql")
"""The SDL as it is committed; `lineal schema` prints it anew."""
RELEASED: Final = Path(__file__).with_name("released.graphql")
"""The SDL that clients were last promised: what breaks them since then is in the CHANGELOG."""


def build_schema(limits: Limits = Limits(), *, open_schema: bool = False) -> LinealSchema:
    """The schema with these limits, built once; with `open_schema` anybody may read it by introspection.

    Raises Internal: types, ontology and the table of scopes disagree.
    """
    return _build(limits, open_schema)


@cache
def _build(limits: Limits, open_schema: bool) -> LinealSchema:
    return LinealSchema(
        limits=limits,
        open_schema=open_schema,
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=(*TYPES, RequiresScopes, Cost, ListSize),
        config=StrawberryConfig(
            scalar_map={**SCALARS, Scope: SCOPE, Representation: REPRESENTATION},
            enable_experimental_incremental_execution=True,
        ),
    )


def print_sdl() -> str:
    """The schema in the GraphQL schema language."""
    return build_schema().as_str().rstrip() + "\n"
