"""What tests of OpenLineage ask for: real events, and a way to have events taken in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from gateway.openlineage.parsing import parse
from gateway.openlineage.published import NAMES, schema
from graph.ontology import DEFAULT_WORKSPACE
from graph.port import Graph
from resolvers.openlineage.recording import record, record_batch
from resolvers.operation import Operation
from tests.openlineage.picturing import Picture, picture

BASE = "https://lineal.example.org"
"""The address of the server in tests."""
BESIDE = Path(__file__).parents[3] / "shared" / "data"


def shared_data(name: str) -> Path:
    """A file or folder of the data that is kept beside the checkout, or where LINEAL_SHARED_DATA says."""
    path = Path(os.environ.get("LINEAL_SHARED_DATA") or BESIDE) / name
    if not path.exists():
        pytest.skip(f"there is no {path}: set LINEAL_SHARED_DATA to the folder that has {name}")
    return path


@pytest.fixture(scope="session")
def food_delivery() -> list[dict[str, Any]]:
    """The 26 events of a food-delivery service."""
    events: list[dict[str, Any]] = json.loads(shared_data("openlineage/food-delivery.json").read_text("utf-8"))
    return events


@pytest.fixture(scope="session")
def specification() -> Path:
    """The folder with the schemas of OpenLineage."""
    return shared_data("openlineage/spec")


@pytest.fixture(scope="session")
def right(specification: Path) -> Callable[[dict[str, Any]], None]:
    """Raises ValidationError: an event, or one of its facets, is not as its own schema wants it."""
    schemas = [json.loads(path.read_text("utf-8")) for path in specification.rglob("*.json")]
    schemas += [schema(name, BASE) for name in NAMES]
    registry: Registry[Any] = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas)

    formats = Draft202012Validator.FORMAT_CHECKER

    def by(url: str, value: Any) -> None:
        Draft202012Validator({"$ref": url}, registry=registry, format_checker=formats).validate(value)

    def check(event: dict[str, Any]) -> None:
        by("https://openlineage.io/spec/2-0-2/OpenLineage.json", event)
        by(event["schemaURL"], event)
        items = [event[part] for part in ("run", "job", "dataset") if part in event]
        items += [*event.get("inputs", ()), *event.get("outputs", ())]
        facets = [item[part] for item in items for part in ("facets", "inputFacets", "outputFacets") if part in item]
        for each in facets:
            for name, facet in each.items():
                by(facet["_schemaURL"], facet)
                by(facet["_schemaURL"].partition("#")[0], {name: facet})

    return check


class Listener:
    """Takes events in, and shows what became of them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    async def hear(self, *events: dict[str, Any], workspace: str = DEFAULT_WORKSPACE) -> None:
        """Take events in, one by one."""
        async with Operation(self.graph) as op:
            for event in events:
                await record(op, workspace, [parse(event)])

    async def hear_at_once(self, events: Iterable[dict[str, Any]], workspace: str = DEFAULT_WORKSPACE) -> list[Any]:
        """Take events in as a batch."""
        async with Operation(self.graph) as op:
            return await record_batch(op, workspace, [parse(event) for event in events])

    async def picture(self, workspace: str = DEFAULT_WORKSPACE) -> Picture:
        """What is there."""
        return await picture(self.graph, workspace)


@pytest.fixture
def listener(graph: Graph) -> Listener:
    """On an empty store of either kind."""
    return Listener(graph)
