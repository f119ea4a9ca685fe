"""How what is asked of a store grows with it: 10,000 versions against a million, and many versions of few models.

`python -m bench.growth` loads three stores of a kind beside each other and asks each the same, in turn. It takes most
of an hour on Neo4j, and 10 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from auth.caller import named
from bench.common import in_turn, load
from bench.families import Grower, sizes
from graph.neo4j.store import Neo4jGraph
from graph.port import Graph
from graph.sqlite.store import SqliteGraph
from resolvers.operation import Operation
from resolvers.writing.versions import create_model_version
from schema.executing import LinealSchema, execute
from schema.sdl import build_schema
from tests.services import Neo4jServer

SMALL: Final = 10_000
LARGE: Final = 1_000_000
MODELS: Final = 2_000
VERSIONS: Final = 50
TAGS: Final = 5
FLUSH: Final = 20_000
"""Nodes and edges that are kept in memory before they are loaded."""
BAR: Final = 1.3
AT_ONCE: Final = 8
SECONDS: Final = 10.0
PLANTED: Final = "planted"

ASKED: Final = {
    "lineage of 1,000 nodes": """query ($of: [ID!]!) {
  lineage(of: $of, direction: DOWNSTREAM, depth: 200, limit: 20000) {
    nodes { id kind distance node { name } } edges { kind source target } complete } }""",
    "a page of models": "{ models(first: 50) { nodes { id name updatedAt } } }",
    "a page of versions, each with its model and tags": """{ modelVersions(first: 50) {
  nodes { number license model { name } tags { name value } } } }""",
    "the newest versions of one model": """query ($model: String!) { models(where: {name: {eq: $model}}) { nodes {
  versions(first: 50, orderBy: {field: NUMBER, direction: DESC}) {
    nodes { number state tags { name value } } } } } }""",
    "versions by a tag": """{ modelVersions(where: {tags: [{name: "tag-0", eq: "rare"}]}, first: 50) {
  nodes { number model { name } } } }""",
    "a search": '{ search(text: "planted", first: 50) { nodes { id name } } }',
}
"""What is asked by name; how much of a store it finds is the same in each."""

console = Console(highlight=False)


@dataclass(slots=True)
class Filled:
    """A store with what is asked of it: the data-set version of the planted family, and one of its models."""

    graph: Graph
    root: str
    model: str
    models: Iterator[int]


def _bytes(place: Path) -> int:
    """How much the files in a folder take, without Neo4j's logs of transactions, which it lets go of with time."""
    files = (path for path in place.rglob("*") if path.is_file() and "transactions" not in path.parts)
    return sum(path.stat().st_size for path in files)


async def fill(graph: Graph, place: Path, versions: int, *, hub: bool = False) -> Filled:
    """Grow a store to about so many versions, a part at a time. With `hub` 2,000 models of 50 versions of 5 tags.

    `place` is the folder that the store is in.
    """
    await graph.migrate()
    grower = Grower()
    root = grower.family(PLANTED, 1_000)
    for index, record in enumerate(grower.graph.records):
        if record.node.kind == "ModelVersion":
            grower.tag(index, {"tag-0": "rare"})
    model = next(record.node.name for record in grower.graph.records if record.node.kind == "Model")
    started, count, items = time.perf_counter(), 0, 0
    for number, size in enumerate(sizes(1)):
        made = sum(record.node.kind == "ModelVersion" for record in grower.graph.records)
        done = count + made >= versions
        if done or len(grower.graph.records) + len(grower.graph.edges) >= FLUSH:
            await load(graph, grower.graph)
            count, items = count + made, items + len(grower.graph.records) + len(grower.graph.edges)
            grower.forget()
        if done:
            break
        if hub:
            grower.model(VERSIONS, TAGS)
        else:
            grower.family(f"family-{number}", max(3, size))
    seconds = time.perf_counter() - started
    console.print(
        f"{count:,} versions, {items:,} nodes and edges: {items / seconds:,.0f} a second, {seconds:,.0f} s; "
        f"{_bytes(place) / items:,.0f} bytes each on disk"
    )
    return Filled(graph, root, model, iter(range(10**9)))


async def _ask(schema: LinealSchema, filled: Filled, query: str) -> None:
    given = {"of": [filled.root], "model": filled.model}
    result = await execute(schema, filled.graph, query, {name: given[name] for name in given if f"${name}:" in query})
    assert not result.errors, result.errors
    assert result.data
    assert any(result.data.values()), result.data


async def _write(filled: Filled) -> None:
    """Register a version that learned from the planted data set."""
    async with Operation(filled.graph, caller=named("bench")) as op:
        await create_model_version(
            op,
            model=f"models:/written-{next(filled.models) % 50}",
            create_model=True,
            inputs=[{"dataset": filled.root, "role": "train"}],
            tags=[{"name": "team", "value": "bench"}],
        )


async def measure(name: str, stores: dict[str, Filled], rounds: int) -> None:
    """Print what each thing takes in each store, and how many times that of the first."""
    console.rule(name)
    schema = build_schema()
    calls: dict[str, Callable[[Filled], Awaitable[object]]] = {
        **{
            what: lambda filled, query=query: _ask(schema, filled, query)  # type: ignore[misc]
            for what, query in ASKED.items()
        },
        "a write of a version": _write,
    }
    for what, call in calls.items():
        first, *others = await in_turn([lambda c=call, f=filled: c(f) for filled in stores.values()], rounds)  # type: ignore[misc]
        grown = ", ".join(
            f"{size} {seconds * 1e3:.1f} ms, {seconds / first:.2f} times"
            for size, seconds in zip(list(stores)[1:], others, strict=True)
        )
        console.print(f"{what}: {first * 1e3:.1f} ms; {grown} (bar: {BAR})")


async def _asking(call: Callable[[], Awaitable[object]], end: float) -> int:
    """How often something was done, one time after the other, until then."""
    done = 0
    while time.perf_counter() < end:
        await call()
        done += 1
    return done


async def throughput(size: str, filled: Filled) -> None:
    """Print how many of some things one process does in a second in a store, where several ask at once."""
    schema = build_schema()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        what: lambda query=ASKED[what]: _ask(schema, filled, query)  # type: ignore[misc]
        for what in ("a page of models", "lineage of 1,000 nodes")
    }
    calls["a write of a version"] = lambda: _write(filled)
    for what, call in calls.items():
        started, cpu = time.perf_counter(), time.process_time()
        done = await asyncio.gather(*(_asking(call, started + SECONDS) for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - started
        share = (time.process_time() - cpu) / seconds
        console.print(
            f"{size}, {AT_ONCE} at once, {what}: {sum(done) / seconds:,.0f} a second, {share:.0%} of one processor"
        )


async def run(store: str, large: int, rounds: int, page_cache: str) -> None:
    """Load, then ask."""
    parts = {f"{SMALL:,} versions": (SMALL, False), f"{MODELS:,} models of {VERSIONS}": (MODELS * VERSIONS, True)}
    parts[f"{large:,} versions"] = (large, False)
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = {}
        for number, (size, (versions, hub)) in enumerate(parts.items()):
            place = home / f"{number}"
            if store == "neo4j":
                server = stack.enter_context(Neo4jServer(place, page_cache=page_cache, heap="2g"))
                graph: Graph = await stack.enter_async_context(Neo4jGraph(server.url))
            else:
                graph = await stack.enter_async_context(SqliteGraph(place / "lineal.db"))
            stores[size] = await fill(graph, place, versions, hub=hub)
        await measure(store, stores, rounds)
        await throughput(size, stores[size])


def main() -> None:
    """The command line of this bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="neo4j", choices=["sqlite", "neo4j"])
    parser.add_argument("--versions", type=int, default=LARGE)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--page-cache", default="2g", help="of each Neo4j")
    asked = parser.parse_args()
    asyncio.run(run(asked.store, asked.versions, asked.rounds, asked.page_cache))


if __name__ == "__main__":
    main()
