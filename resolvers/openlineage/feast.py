"""What Feast's emitter says of fields without saying it: a feature has the name of what it is taken from.

Feast tells which data sources a feature view reads, which views a feature service bundles, and the features of each by
name, but no column lineage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from graph.address import Address
from graph.ontology import DATASET, MODEL_VERSION
from graph.port import All, Hop, NewEdge, Node, Prop, Row, Snapshot
from resolvers.openlineage import facets as read
from resolvers.openlineage.events import DataSaid, Event
from resolvers.reading import all_found, all_links

SERVICE: Final = "feast_featureService"
VIEW: Final = "feast_featureView"
STORE: Final = "feast_onlineStore"
SOURCE: Final = "feast_dataSource"
TAG: Final = "feast.feature_service"
"""The tag by which a model version names the feature service that it takes its features from: project:name."""

IDENTITY: Final = [{"type": "DIRECT", "subtype": "IDENTITY"}]


def columns(event: Event, output: DataSaid, at: str) -> dict[str, Any] | None:
    """The column lineage of what Feast wrote, as a facet; None where it is none of Feast's, or says it itself."""
    if "columnLineage" in output.facets or not {SERVICE, VIEW, STORE} & output.facets.keys():
        return None
    fields: dict[str, list[dict[str, Any]]] = {}
    own = read.fields_of(output.facets.get("schema"), f"{at}.facets.schema")
    for item in event.inputs:
        theirs = read.fields_of(item.facets.get("schema"), f"{at}.facets.schema")
        if VIEW in output.facets and SOURCE in item.facets:
            mapping = read.of_object(item.facets[SOURCE], f"{at}.facets.{SOURCE}").get("field_mapping") or {}
            before = {new: old for old, new in mapping.items() if isinstance(new, str)}
            taken = {name: before.get(name, name) for name in own}
        elif VIEW in output.facets:
            continue  # an entity is what features are of, not what they come from
        else:
            taken = {name: name for name in (own or theirs) if name in theirs}
        for name, source in taken.items():
            place = {read.CONCLUDED: item.key, "field": source, "transformations": IDENTITY}
            fields.setdefault(name, []).append(place)
    return {"fields": {name: {"inputFields": places} for name, places in fields.items()}} if fields else None


async def uses(snapshot: Snapshot, taken: Sequence[tuple[str, str]]) -> list[NewEdge]:
    """Model versions take all features of feature services: the ids of both."""
    services = sorted({service for _, service in taken})
    links = await all_links(snapshot, services, Hop("PART_OF", "IN", "Field")) if services else {}
    return [NewEdge("USES", version, link.node.id) for version, service in taken for link in links[service]]


async def named(snapshot: Snapshot, tagged: Sequence[tuple[Node, str | None]]) -> list[NewEdge]:
    """Model versions take the features of the services that these tags TAG name, where they are known."""
    asked = [(version.id, version.workspace, key) for version, tag in tagged if tag and (key := service_key(tag))]
    found = await snapshot.resolve([Address(DATASET.name, *place) for _, *place in asked]) if asked else []
    there = zip((version for version, *_ in asked), found, strict=True)
    return await uses(snapshot, [(version, node.id) for version, node in there if node is not None])


async def users(snapshot: Snapshot, workspace: str, key: str) -> list[str]:
    """The model versions that name a feature service, which is this data set."""
    tag = key.replace("#", ":", 1)
    if service_key(tag) != key:
        return []
    where = All((Prop("workspace", "eq", workspace), Row("tags", TAG, "eq", tag)))
    return [node.id async for node in all_found(snapshot, MODEL_VERSION.name, where)]


def service_key(tag: str) -> str | None:
    """The data set that a tag TAG names; None where it is not project:name."""
    project, colon, name = tag.partition(":")
    return f"{project}#{name}" if colon and project and name and "#" not in project and "%" not in project else None
