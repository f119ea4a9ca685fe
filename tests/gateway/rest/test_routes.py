"""The table of routes: all that GraphQL can do, each thing at a path of its own."""

from __future__ import annotations

import re
from collections import Counter

from graphql import GraphQLInputObjectType, get_named_type

from gateway.rest.parameters import FIELDS, TOTAL
from gateway.rest.plans import INPUT, KEY, REVISION, Plan
from gateway.rest.routes import NOUNS, UNROUTED, lists_of, routes
from gateway.rest.selecting import Selector
from graph.ontology import NODE_KINDS
from schema.sdl import build_schema

BUILT = build_schema()
SCHEMA = BUILT._schema
ROUTES = routes(SCHEMA)
SELECTOR = Selector(SCHEMA, BUILT.gates.fields)
PLANS = [Plan(route, SELECTOR) for route in ROUTES]


def test_every_root_field_has_a_route_or_a_reason_why_not() -> None:
    assert SCHEMA.query_type
    assert SCHEMA.mutation_type
    asked = {(route.writes, route.fields[0]) for route in ROUTES}
    there = {(False, name) for name in SCHEMA.query_type.fields} | {
        (True, name) for name in SCHEMA.mutation_type.fields
    }
    assert {field for writes, field in there - asked} == UNROUTED.keys()
    assert asked <= there


def test_every_list_of_every_noun_has_a_route() -> None:
    paths = {route.fields for route in ROUTES}
    for kind, one, _ in NOUNS.values():
        if one:
            for name in lists_of(SCHEMA, kind):
                assert (one, name) in paths or ("node", name) in paths


def test_every_kind_that_has_root_fields_is_a_collection() -> None:
    assert {kind for kind, *_ in NOUNS.values()} <= NODE_KINDS.keys()
    assert SCHEMA.query_type
    given = {get_named_type(field.type).name for field in SCHEMA.query_type.fields.values()}
    assert given & NODE_KINDS.keys() <= {kind for kind, *_ in NOUNS.values()}


def test_paths_and_names_are_of_one_route_each() -> None:
    shapes = Counter((route.method, re.sub(r"\{\w+\}", "{}", route.path)) for route in ROUTES)
    names = Counter(route.name for route in ROUTES)
    assert max(shapes.values()) == max(names.values()) == 1
    called = {re.sub(r"\{\w+\}", "{}", route.path): route.path for route in ROUTES}
    assert all(called[re.sub(r"\{\w+\}", "{}", route.path)] == route.path for route in ROUTES)


def test_no_path_hides_another() -> None:
    paths = {route.path for route in ROUTES}
    for path in paths:
        for other in paths - {path}:
            pairs = list(zip(path.split("/"), other.split("/"), strict=False))
            same = len(path.split("/")) == len(other.split("/"))
            assert not (same and all(a == b or "{" in a or "{" in b for a, b in pairs)), (path, other)


def test_what_stands_in_a_path_is_taken_by_what_it_asks() -> None:
    for plan in PLANS:
        taken = {name for step in plan._steps for name in step.arguments}
        if plan.route.writes:
            assert SCHEMA.mutation_type
            type_ = get_named_type(SCHEMA.mutation_type.fields[plan.route.fields[0]].args[INPUT].type)
            assert isinstance(type_, GraphQLInputObjectType)
            taken = set(type_.fields)
        assert {given for _, given in plan.route.inputs if given} <= taken, plan.name


def test_all_that_a_mutation_takes_can_be_given() -> None:
    for plan in PLANS:
        if plan.route.writes:
            assert SCHEMA.mutation_type
            type_ = get_named_type(SCHEMA.mutation_type.fields[plan.route.fields[0]].args[INPUT].type)
            assert isinstance(type_, GraphQLInputObjectType)
            given = {name for _, name in plan.route.inputs} | plan.body.keys() | plan.parameters.keys()
            given |= ({KEY} if plan.takes_key else set()) | ({REVISION} if plan.takes_revision else set())
            assert given == type_.fields.keys(), plan.name


def test_no_parameter_has_the_name_of_what_every_route_takes() -> None:
    for plan in PLANS:
        assert not plan.parameters.keys() & {FIELDS, TOTAL}, plan.name
