"""Commands that ask: lineage, paths, search, schema, openapi."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from graph.naming import addresses
from graph.port import MAX_PAGE, Direction, Paging, Paths
from lineal import rendering
from lineal.cli import options, output
from lineal.cli.output import Format
from resolvers import reading
from resolvers.bytes import Bytes
from resolvers.exporting.exporting import FORMATS, Exported, export
from resolvers.operation import Operation

T = TypeVar("T")

Thing = Annotated[
    str,
    typer.Argument(
        help="An id, an address (models:/name/3, models:/name@alias, datasets:/name, with / : @ % inside a name "
        "percent-encoded), or a name that only one thing has.",
        show_default=False,
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="Look at the graph of that time (ISO 8601).", show_default=False),
]
Edges = Annotated[
    list[str] | None,
    typer.Option(
        "--edges", metavar="KIND,…", help="The kinds of edge to walk. Default: all lineage.", show_default=False
    ),
]
Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")]


class LineageFormat(StrEnum):
    """How lineage is shown."""

    TREE = "tree"
    JSON = "json"
    MERMAID = "mermaid"
    DOT = "dot"
    GRAPHML = "graphml"
    PROV_JSON = "prov-json"
    PROV_N = "prov-n"
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"
    CROISSANT = "croissant"
    MODEL_CARD = "model-card"
    OPENLINEAGE = "openlineage"


def _ask(graph: str | None, question: Callable[[Operation], Awaitable[T]], *, files: bool = False) -> T:
    """Answer a question from a store of its own opening; with `files`, from the storage of artifacts too."""
    from lineal.parts import connectors_of, opened, storage_of

    settings = options.settings(graph)

    async def answer() -> T:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(opened(settings, create=False))
            bytes_ = None
            if files:
                storage = await stack.enter_async_context(storage_of(settings))
                bytes_ = await stack.enter_async_context(Bytes(storage, connectors=connectors_of(settings)))
            op = Operation(
                store,
                walk_limit=settings.max_walk,
                bytes=bytes_,
                base=settings.base,
                namespace=settings.openlineage_namespace,
            )
            return await question(await stack.enter_async_context(op))

    return asyncio.run(answer())


def lineage(
    thing: Thing,
    downstream: Annotated[
        bool, typer.Option("--downstream/--upstream", help="What came of it, or what it came from.")
    ] = False,
    depth: Annotated[int, typer.Option(help="How many hops to walk, 1 to 200.")] = reading.DEFAULT_DEPTH,
    limit: Annotated[int, typer.Option(help="How many nodes to show, 1 to 20,000.")] = reading.DEFAULT_LIMIT,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND,…", help="Show only these kinds; the walk goes through the others.", show_default=False
        ),
    ] = None,
    edges: Edges = None,
    as_of: AsOf = None,
    format: Annotated[LineageFormat, typer.Option(help="How to show it.")] = LineageFormat.TREE,
    graph: options.GraphUrl = None,
) -> None:
    """Show what something came from, or with --downstream what came of it.

    A data set or model without a version stands for all of its versions. What was cut off by --depth or
    --limit is said: no answer is silently partial.
    """
    direction = Direction.DOWNSTREAM if downstream else Direction.UPSTREAM

    form = FORMATS.get(format.value)

    async def question(op: Operation) -> rendering.Picture | Exported:
        found = await reading.lineage(
            op,
            [await options.reference(op, thing)],
            direction=direction,
            depth=depth,
            edges=options.edges(edges),
            kinds=options.kinds(kinds),
            as_of=options.moment(as_of),
            limit=limit,
        )
        if form is not None:
            return await export(op, found, form, direction=direction, as_of=options.moment(as_of))
        nodes = [node for node, _ in found.closure.nodes]
        named = await addresses(await op.snapshot(), [*found.roots, *nodes])
        return rendering.Picture(found.roots, found.closure, direction, named)

    answer = _ask(graph, question, files=form is not None and form.details)
    if isinstance(answer, Exported):
        typer.echo(answer.data, nl=False)
        for note in answer.of.notes:
            output.warn(note)
        return
    if format is LineageFormat.JSON:
        output.as_json(rendering.lineage_object(answer))
    else:
        output.tree(rendering.tree(answer))
        output.lines([_counted(answer)])
    if not answer.closure.complete:
        count = len(answer.closure.frontier)
        output.warn(
            f"NOT COMPLETE: {count} of the walked nodes {'has' if count == 1 else 'have'} more behind them; "
            "raise --depth or --limit, or go on from the frontier (--format json lists it)"
        )


def _counted(picture: rendering.Picture) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(picture.closure.counts.items()))
    state = "complete" if picture.closure.complete else "not complete"
    return f"{len(picture.closure.nodes)} shown; walked {counts or 'nothing'}; {state}"


def paths(
    start: Annotated[str, typer.Argument(metavar="FROM", help="Where paths begin.", show_default=False)],
    end: Annotated[str, typer.Argument(metavar="TO", help="Where paths end.", show_default=False)],
    upstream: Annotated[
        bool, typer.Option("--upstream/--downstream", help="Walk towards what FROM came from, or what came of it.")
    ] = False,
    limit: Annotated[int, typer.Option(help="How many paths to show, 1 to 1,000.")] = reading.DEFAULT_PATHS,
    edges: Edges = None,
    as_of: AsOf = None,
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Show the ways from one thing to what came of it, the shortest first, and how many there are in all."""

    async def question(op: Operation) -> tuple[Paths, dict[str, str]]:
        found = await reading.paths(
            op,
            await options.reference(op, start),
            await options.reference(op, end),
            direction=Direction.UPSTREAM if upstream else Direction.DOWNSTREAM,
            edges=options.edges(edges),
            as_of=options.moment(as_of),
            limit=limit,
        )
        return found, await addresses(await op.snapshot(), found.nodes.values())

    found, named = _ask(graph, question)
    if format is Format.JSON:
        output.as_json(rendering.paths_object(found, named))
    else:
        arrow = " → " if upstream else " ← "
        output.lines(arrow.join(named[id] for id in path) for path in found.paths)
        total = "an unknown number" if found.count is None else f"{found.count:,}"
        output.lines([f"{len(found.paths)} of {total} path{'' if found.count == 1 else 's'}"])
    if not found.complete:
        output.warn("NOT COMPLETE: not everything between the two could be walked, so there may be more paths")


def search(
    text: Annotated[list[str], typer.Argument(help="Words; each matches the beginning of a word.", show_default=False)],
    kinds: Annotated[
        list[str] | None, typer.Option(metavar="KIND,…", help="Only these kinds.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to show, 1 to 500.")] = 20,
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Find things by the words of their names, descriptions and tags, the best first."""

    async def question(op: Operation) -> tuple[list[dict[str, str]], int]:
        paging = Paging(first=reading.bounded(limit, 1, MAX_PAGE, field="--limit"), count=True)
        page = await reading.search(op, " ".join(text), kinds=options.kinds(kinds), paging=paging)
        named = await addresses(await op.snapshot(), page.items)
        return [rendering.node_object(node, named[node.id]) for node in page.items], page.total or 0

    found, total = _ask(graph, question)
    if format is Format.JSON:
        output.as_json({"total": total, "nodes": found})
        return
    output.tree(rendering.Line("", node["kind"], node["address"]) for node in found)
    output.lines([f"{len(found)} of {total} found"])


class Federation(StrEnum):
    """A flavour of the schema for gateways."""

    PLAIN = "plain"
    SECURED = "secured"


def schema(
    federation: Annotated[
        Federation | None,
        typer.Option(
            help="As a subgraph of Federation 2: with scopes, for gateways that hold fields to them (secured), or "
            "without (plain).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the GraphQL schema (SDL)."""
    from schema.sdl import print_sdl
    from schema.subgraph import Flavour, print_subgraph

    typer.echo(print_subgraph(Flavour(federation.value)) if federation else print_sdl(), nl=False)


def openapi() -> None:
    """Print the OpenAPI document of the REST API (JSON)."""
    from lineal.rest import print_openapi

    typer.echo(print_openapi(), nl=False)
