"""Commands about artifacts: gc, verify, usage. They open the store and the storage themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from auth.caller import named
from graph.ontology import ARTIFACT
from graph.port import EVERYTHING, Graph, Node, Order, Paging, Prop
from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.cli.tokens import seconds
from lineal.errors import InvalidArgument, LinealError, NotFound
from lineal.settings import Settings
from resolvers.artifacts.collecting import Collected, collect, keeps, workspaces
from resolvers.artifacts.owning import take_over
from resolvers.artifacts.quotas import measured
from resolvers.bytes import Bytes
from resolvers.exporting.linking import AREA, clear_exports
from resolvers.operation import Operation
from resolvers.reading import resolve

app = typer.Typer(
    help="The bytes of artifacts: cleared up, read again, and counted.", no_args_is_help=True, rich_markup_mode=None
)

T = TypeVar("T")

Workspaces = Annotated[
    list[str] | None,
    typer.Option("--workspace", metavar="NAME", help="Only these. Default: all.", show_default=False),
]
Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")]


def _run(settings: Settings, work: Callable[[Graph, Bytes], Awaitable[T]]) -> T:
    """Do something with the store and the storage, open."""
    from lineal.parts import connectors_of, opened, storage_of

    async def run() -> T:
        async with (
            opened(settings, create=False) as graph,
            storage_of(settings) as storage,
            Bytes(storage, trusted=settings.signers.trusted(), connectors=connectors_of(settings)) as bytes_,
        ):
            return await work(graph, bytes_)

    return asyncio.run(run())


async def _workspaces(graph: Graph, given: list[str] | None) -> list[str]:
    """The names of workspaces. Raises NotFound: there is no such one."""
    names, _ = await workspaces(graph)
    return _chosen(names, given)


def _chosen(names: list[str], given: list[str] | None) -> list[str]:
    """Those that are given, or all. Raises NotFound: one is not among them."""
    for name in given or ():
        if name not in names:
            raise NotFound(f"--workspace: there is no workspace {name!r}", field="workspace")
    return given or names


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Keep what was put there, or was needed, within this time: 30m, 8h, 7d. Default: the setting.",
            show_default=False,
        ),
    ] = None,
    takes: Annotated[
        bool,
        typer.Option(
            "--take-over", help="Before that, make the storage this graph's that belongs to one which is used no more."
        ),
    ] = False,
    workspace: Workspaces = None,
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Remove from storage what nothing has needed for a while; uploads may go on meanwhile."""
    if takes and dry_run:
        raise InvalidArgument("--take-over: it is done, and --dry-run does nothing", field="take-over")
    settings = options.settings(graph)
    kept_for = settings.artifact_grace_hours * 3_600 if grace is None else seconds(grace, "grace")

    async def work(graph: Graph, bytes_: Bytes) -> dict[str, Collected]:
        there, deleted = await workspaces(graph)
        names = _chosen([*there, *deleted], workspace)
        by = named("gc").name
        for name in names if takes else ():
            await take_over(graph, bytes_.storage, name)
        done = {
            name: await collect(graph, bytes_.storage, name, by=by, grace=kept_for, dry_run=dry_run) for name in names
        }
        if not workspace:
            done = {name: each for name, each in done.items() if name in there or each != Collected()}
        if not workspace and (exports := await clear_exports(bytes_.storage, dry_run=dry_run)) != Collected():
            done[AREA] = exports
        return done

    done = _run(settings, work)
    if format is Format.JSON:
        output.as_json({name: asdict(each) for name, each in done.items()})
        return
    verb = "would be removed" if dry_run else "removed"
    for name, each in done.items():
        blobs = f"{each.removed:,} blobs ({output.size(each.bytes_removed)})"
        gone = f"{blobs}, {each.artifacts:,} artifacts and {each.documents:,} documents {verb}"
        output.lines([f"{name}: {gone}, {each.kept:,} blobs needed, {each.too_young:,} too young to tell"])
    if dry_run:
        output.lines(["parts of files that never came together go besides, and are not counted here"])


@app.command()
def verify(
    address: Annotated[
        list[str] | None, typer.Argument(help="Artifacts, by id or address. Default: all.", show_default=False)
    ] = None,
    workspace: Workspaces = None,
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Read every byte of artifacts again, and name the files that are not what was told. Exits with 1 if any.

    What cannot be read at all is UNKNOWN, with the reason.
    """
    from lineal.parts import checking

    settings = options.settings(graph)

    async def work(graph: Graph, bytes_: Bytes) -> list[tuple[Node, str, str | None]]:
        check, found = checking(graph, bytes_), list[tuple[Node, str, str | None]]()
        async for artifact in _artifacts(graph, address, workspace):
            try:
                await check(artifact)
            except LinealError as error:
                found.append((artifact, "UNKNOWN", error.message))
                continue
            async with graph.snapshot(EVERYTHING) as snapshot:
                now = (await snapshot.nodes([artifact.id])).get(artifact.id)
            if now is not None:
                found.append((now, str(now.props["verification"]), now.props.get("problem")))
        return found

    found = _run(settings, work)
    wrong = [each for each in found if each[1] != "VERIFIED"]
    if format is Format.JSON:
        problems = [{"id": node.id, "name": node.name, "state": s, "problem": problem} for node, s, problem in wrong]
        output.as_json({"verified": len(found) - len(wrong), "problems": problems})
    else:
        output.lines([f"{node.id}: {state}: {problem}" for node, state, problem in wrong])
        output.lines([f"{len(found) - len(wrong):,} of {len(found):,} artifacts are as they were told"])
    if wrong:
        raise typer.Exit(1)


async def _artifacts(graph: Graph, given: list[str] | None, workspaces: list[str] | None) -> AsyncIterator[Node]:
    """Those that are named, or all that have bytes. Raises NotFound."""
    if given:
        for address in given:
            async with Operation(graph) as op:
                node = await resolve(op, address, kinds={ARTIFACT.name})
            if node is None:
                raise NotFound(f"there is no artifact {address!r}")
            yield node
        return
    names = set(await _workspaces(graph, workspaces))
    after, more = None, True
    while more:
        async with graph.snapshot(EVERYTHING) as snapshot:
            where = Prop("storage", "in", ["MANAGED", "REFERENCED"])
            page = await snapshot.find(ARTIFACT.name, where, order=Order("createdAt"), paging=Paging(100, after))
        for node in page.items:
            if node.workspace in names:
                yield node
        after, more = page.cursors[-1] if page.cursors else None, page.has_next


@app.command()
def usage(workspace: Workspaces = None, format: Output = Format.TEXT, graph: options.GraphUrl = None) -> None:
    """How many bytes each workspace keeps in storage, and how many it may; a deleted one too while it keeps any."""
    settings = options.settings(graph)

    async def work(graph: Graph, bytes_: Bytes) -> list[dict[str, object]]:
        there, deleted = await workspaces(graph)
        left = [name for name in deleted if await keeps(bytes_.storage, name)]
        return [await measured(graph, bytes_.storage, name) for name in _chosen([*there, *left], workspace)]

    found = _run(settings, work)
    if format is Format.JSON:
        output.as_json({"workspaces": found})
        return
    for each in found:
        quota = each["quotaBytes"]
        most = f" of {output.size(int(str(quota)))}" if quota is not None else ""
        output.lines([f"{each['workspace']}: {output.size(int(str(each['bytes'])))}{most} in {each['blobs']:,} blobs"])
