"""recordLineage: many nodes and edges at once, for importers."""

from __future__ import annotations

from typing import Any, Final

import strawberry

from graph.ontology import NODE_KINDS, Type
from lineal.errors import InvalidArgument
from resolvers.writing import importing
from schema.enums import EdgeKind
from schema.mutations.declare import Answer, does, key, many, may, need, takes
from schema.mutations.inputs import MetricInput, ParamInput, TagInput
from schema.node import Node
from schema.scalars import JSON, DateTime, micros

_TIMES: Final = frozenset(p.name for k in NODE_KINDS.values() for p in k.properties if p.type is Type.TIME)


def _time(value: Any, field: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return micros(value)
    except ValueError as error:
        raise InvalidArgument(f"{field}: {error}", field=field) from None


@takes("A node to register, or to add to when it is there.")
class LineageNodeInput:
    address: strawberry.ID = need(
        "Its address, which says its kind, workspace and name: models:/name, models:/name/3, datasets:/name/v2, "
        "…; or the "
        "id of one that is there."
    )
    properties: JSON | None = may("Properties of its kind by name; null takes one away.")
    tags: list[TagInput] = many("Tags to set.")
    params: list[ParamInput] = many("Parameters to set.")
    metrics: list[MetricInput] = many("Values of metrics to append; those that it has already are not doubled.")
    external: bool | None = may(
        "Named by something here, but not registered here. True counts for a new node only, false also for one "
        "that is there."
    )

    def plain(self, given: dict[str, Any], at: str) -> dict[str, Any]:
        """The node with the times among its properties as numbers. Raises InvalidArgument."""
        properties = given.get("properties")
        if isinstance(properties, dict):
            given["properties"] = {
                name: _time(value, f"{at}.properties.{name}") if name in _TIMES else value
                for name, value in properties.items()
            }
        return given


@takes("An edge to record.")
class LineageEdgeInput:
    from_: strawberry.ID = need("Where it begins: an id or an address, in this call or in the store.", "from")
    kind: EdgeKind = need("Its kind.")
    to: strawberry.ID = need(
        "Where it leads: an id or an address, in this call or in the store. A data set stands for its version "
        "“unversioned” where the kind leads to data-set versions."
    )
    discriminator: str | None = may(
        "What tells it from others of its kind between the same two: role, relation, split, name."
    )
    since: DateTime | None = may("Since when it is true; now unless given.")
    until: DateTime | None = may("Until when it was true; it still is unless given.")
    properties: JSON | None = may("Properties of its kind by name.")


@takes(f"Nodes and edges, at most {importing.MAX_ITEMS} together.")
class RecordLineageInput:
    nodes: list[LineageNodeInput] = many("The nodes, in any order.")
    edges: list[LineageEdgeInput] = many(
        "The edges, in any order. Those from versions, fields and revisions to what they belong to are made by "
        "themselves."
    )
    idempotency_key: str | None = key()


@strawberry.type(description="Mutations for importers.")
class ImportMutations:
    record_lineage = does(
        importing.record_lineage,
        RecordLineageInput,
        "Records many nodes and edges in one transaction, all or none. Recording the same again changes nothing.",
        Answer("nodes", list[Node], "The nodes as they now are, in the order they were given."),
    )
