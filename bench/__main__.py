"""`make bench`: load a large graph into both stores, and print ratios.

Absolute times are printed beside them, to be read with the machine in mind. Each ratio pairs
measurements taken in turn, and is that of their medians.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from auth.caller import named
from bench import artifacts, attacks, audit, deploying, mlflow, openlineage, tokens
from bench.common import in_turn, load, timed
from bench.families import Graph as Families
from bench.families import grown
from graph.neo4j.store import Neo4jGraph
from graph.port import Direction, Graph, Walk
from graph.sqlite.store import SqliteGraph
from resolvers.operation import Operation
from resolvers.writing.versions import create_model_version
from schema.executing import execute
from schema.sdl import build_schema
from tests.services import Neo4jServer

PLANTED = (("ten", 10), ("thousand", 1_000), ("many", 20_000))
WALK = Walk(Direction.DOWNSTREAM, depth=200, limit=20_000)

LINEAGE = """query ($of: [ID!]!) {
  lineage(of: $of, direction: DOWNSTREAM, depth: 200, limit: 20000) {
    nodes { id kind distance node { name } } edges { kind source target } complete
  }
}"""
PAGE = """{ modelVersions(first: 50) { nodes {
  number license parameterCount model { name }
  run { name reads { nodes { name dataset { name } } } }
  deployments { nodes { name } }
} } }"""

console = Console(highlight=False)


async def closure(graph: Graph, root: str) -> None:
    """One lineage, straight from the store."""
    async with graph.snapshot() as snapshot:
        await snapshot.closure([root], WALK)


async def page(graph: Graph) -> None:
    """One page of versions, straight from the store."""
    async with graph.snapshot() as snapshot:
        await snapshot.find("ModelVersion")


async def writes(graph: Graph, root: str, writers: int, each: int) -> float:
    """Versions created a second, by so many writers on models of their own."""

    async def one(number: int) -> None:
        model = f"models:/written-{writers}-{number}-{time.monotonic_ns()}"
        for _ in range(each):
            async with Operation(graph, caller=named("bench")) as op:
                await create_model_version(
                    op, model=model, create_model=True, inputs=[{"dataset": root, "role": "train"}]
                )

    seconds = await timed(lambda: asyncio.gather(*(one(number) for number in range(writers))))
    return writers * each / seconds


async def measure(name: str, large: Graph, small: Graph, families: Families, few: Families, *, rounds: int) -> None:
    """Everything that is printed of one store."""
    await small.migrate()
    await large.migrate()
    rate = await load(large, families)
    await load(small, few)
    console.rule(name)
    items = len(families.records) + len(families.edges)
    console.print(
        f"load: {rate:,.0f} items a second "
        f"({len(families.records):,} nodes, {len(families.edges):,} edges, {items / rate:.0f} s)"
    )
    roots = families.roots
    ten, thousand, many = await in_turn([lambda r=roots[n]: closure(large, r) for n, _ in PLANTED], rounds)  # type: ignore[misc]
    console.print(f"lineage of 10 / 1,000 / 20,000 nodes: {ten * 1e3:.1f} / {thousand * 1e3:.1f} / {many * 1e3:.0f} ms")
    console.print(f"  a node of the 20,000 costs {many / 20 / thousand:.2f} times a node of the 1,000")
    root = roots["thousand"]
    inside, alone = await in_turn(
        [lambda: closure(large, root), lambda: closure(small, few.roots["thousand"])], rounds * 3
    )
    console.print(
        f"the same 1,000 nodes in {len(families.records):,} nodes against {len(few.records):,}: "
        f"{inside / alone:.2f} times (bar: 1.3)"
    )
    schema = build_schema()
    answers = [
        (
            "lineage of 1,000 nodes",
            lambda: execute(schema, large, LINEAGE, {"of": [root]}),
            lambda: closure(large, root),
        ),
        (
            "50 versions with four hops each, against the bare page",
            lambda: execute(schema, large, PAGE),
            lambda: page(large),
        ),
    ]
    for what, asked, bare in answers:
        graphql, store = await in_turn([asked, bare], rounds)
        console.print(
            f"GraphQL against the store call under it, {what}: {graphql / store:.2f} times ({graphql * 1e3:.1f} ms)"
        )
    each = 25 * rounds
    one, eight = await writes(large, root, 1, each), await writes(large, root, 8, max(each // 4, 5))
    console.print(
        f"writes a second, 8 writers against 1: {eight / one:.2f} times ({one:.0f} with one, {eight:.0f} with eight)"
    )


async def run(nodes: int, rounds: int, stores: Sequence[str], scale: float, deployments: float) -> None:
    """Both stores, one after the other."""
    families, few = grown(nodes, PLANTED), grown(2_000, [PLANTED[1]])
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await tokens.measure(console, home, rounds)
        await attacks.measure(console, home, rounds)
        await mlflow.measure(console, home, min(rounds, mlflow.ROUNDS))
        if scale:
            artifacts.measure(console, home, min(rounds, artifacts.ROUNDS), scale)
        if "sqlite" in stores:
            large = await stack.enter_async_context(SqliteGraph(home / "large.db"))
            small = await stack.enter_async_context(SqliteGraph(home / "small.db"))
            await measure("SQLite", large, small, families, few, rounds=rounds)
            await audit.measure(console, small, rounds)
            told, raw = [await stack.enter_async_context(SqliteGraph(home / f"{name}.db")) for name in ("told", "raw")]
            for store in (told, raw):
                await store.migrate()
            await openlineage.measure(console, told, raw, rounds)
            counter = deploying.Counter()
            farm: Graph = await stack.enter_async_context(SqliteGraph(home / "farm.db", observer=counter))
            await farm.migrate()
            await deploying.measure(console, farm, counter, name="SQLite", home=home, scale=deployments)
        if "neo4j" in stores:
            servers = [stack.enter_context(Neo4jServer(home / name)) for name in ("large", "small")]
            graphs = [await stack.enter_async_context(Neo4jGraph(server.url)) for server in servers]
            await measure("Neo4j", graphs[0], graphs[1], families, few, rounds=rounds)
            await audit.measure(console, graphs[1], rounds)
            counter = deploying.Counter()
            server = stack.enter_context(Neo4jServer(home / "farm"))
            farm = await stack.enter_async_context(Neo4jGraph(server.url, observer=counter))
            await farm.migrate()
            await deploying.measure(console, farm, counter, name="Neo4j", home=home, scale=deployments)


def main() -> None:
    """The command line of the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stores", nargs="+", default=["sqlite", "neo4j"], choices=["sqlite", "neo4j"])
    parser.add_argument("--artifacts", type=float, default=1.0, help="sizes of artifacts times this; 0 leaves them out")
    parser.add_argument("--deployments", type=float, default=1.0, help="deployments times this")
    asked = parser.parse_args()
    asyncio.run(run(asked.nodes, asked.rounds, asked.stores, asked.artifacts, asked.deployments))


if __name__ == "__main__":
    main()
