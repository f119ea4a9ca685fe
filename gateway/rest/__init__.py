"""Native REST under /api/v1: each route is a GraphQL document that Lineal writes itself.

The table in `routes` is all there is by hand. Arguments, bodies, answers, scopes and the OpenAPI document derive
from the GraphQL schema, which the composition root hands in with what runs documents: this room knows no resolver,
and what a route answers, refuses, audits and bounds is what GraphQL does.
"""
