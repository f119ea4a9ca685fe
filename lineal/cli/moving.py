"""Commands that move graphs: migrate, move, export, import."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from auth.caller import LOCAL
from graph.transfer import Imported, export_lines, import_file
from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument, Unavailable

STANDARD = "-"


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    format: Annotated[Format, typer.Option(help="Text for people, or one JSON object.")] = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Bring the store to this version of Lineal. A store that is newer is left alone, and says so."""
    from lineal.parts import must_exist, store

    settings = options.settings(graph)

    async def run() -> list[str]:
        async with store(settings) as opened:
            return await (opened.pending() if dry_run else opened.migrate())

    if dry_run:
        must_exist(settings)
    steps = asyncio.run(run())
    if format is Format.JSON:
        output.as_json({"graph": settings.graph, "pending" if dry_run else "applied": steps})
    elif dry_run:
        end = "nothing was changed" if steps else f"{settings.graph} is up to date"
        output.lines([*(f"would apply {name}" for name in steps), end])
    else:
        output.lines([*(f"applied {name}" for name in steps), f"{settings.graph} is up to date"])


def move(
    target: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="The store to move to: neo4j://host:7687, or another file.", show_default=False
        ),
    ],
    undo: Annotated[
        bool, typer.Option("--undo", help="Move nothing: let the store be written to again that was moved there.")
    ] = False,
    graph: options.GraphUrl = None,
) -> None:
    """Move the embedded store into an empty one, with its audit, while reads of it go on.

    Whoever writes meanwhile is told to try again later; when all has moved the old store stays read-only. Files stay
    where they are: give the new server the same storage.
    """
    from lineal.parts import LONG, opened, storage_of, store
    from resolvers.backup.moving import move as bring_over
    from resolvers.backup.moving import stay

    settings = options.settings(graph)
    to = options.settings(target)

    async def run() -> None:
        async with opened(settings, create=False, seconds=LONG) as source:
            if undo:
                async with storage_of(settings) as storage:
                    await stay(source, storage, to.graph)
                return
            with output.progress() as advance:
                async with store(to, seconds=LONG) as new:
                    await bring_over(source, new, to.graph, by=LOCAL.name, progress=advance)

    asyncio.run(run())
    moved = f"{settings.graph} is read-only now, and {to.graph} has all of it"
    output.lines([f"{settings.graph} can be written to" if undo else moved])


def export(
    file: Annotated[str, typer.Argument(help="Where to write; - is standard output.")] = STANDARD,
    graph: options.GraphUrl = None,
) -> None:
    """Write the whole graph as canonical JSON lines; `lineal import` reads them into any store."""
    from lineal.parts import LONG, opened

    settings = options.settings(graph)

    async def run(target: IO[bytes]) -> int:
        count = 0
        async with opened(settings, create=False, seconds=LONG) as store, store.snapshot() as snapshot:
            async for line in export_lines(snapshot):
                target.write(line)
                count += 1
        return count

    write_lines(file, run, "lines")


def write_lines(file: str, run: Callable[[IO[bytes]], Coroutine[Any, Any, int]], what: str) -> None:
    """Have something written to a file, or to standard output for -, and tell how many of `what` that were.

    `run` writes to what it is given and returns the number. Raises Unavailable.
    """
    if file == STANDARD:
        asyncio.run(run(sys.stdout.buffer))
        return
    with _replacing(Path(file)) as target:
        count = asyncio.run(run(target))
    output.err().print(f"wrote {count:,} {what} to {file}")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when it is whole, so that half an export is never taken for one."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as target:
            temporary = Path(target.name)
            try:
                yield target
                target.flush()
                os.fsync(target.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from None


def import_(
    file: Annotated[str, typer.Argument(help="An export; - is standard input.", show_default=False)],
    format: Annotated[Format, typer.Option(help="Text for people, or one JSON object.")] = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Read an export into the store.

    Every line is checked before the first is loaded. The same again changes nothing.
    """
    from lineal.parts import opened

    settings = options.settings(graph)

    async def run(source: Path) -> Imported:
        with output.progress() as advance:
            async with opened(settings) as store:
                return await import_file(store, source, by="import", progress=advance)

    with _readable(file) as source:
        done = asyncio.run(run(source))
    if format is Format.JSON:
        output.as_json({"nodes": done.nodes, "edges": done.edges, "chunks": done.chunks, "new": done.new})
    else:
        read = f"read {done.nodes:,} nodes, {done.edges:,} edges and {done.chunks:,} chunks of metrics"
        output.lines([f"{read}; {done.new:,} were new"])


@contextmanager
def _readable(file: str) -> Iterator[Path]:
    """A file that can be read twice: standard input is written to one first."""
    if file != STANDARD:
        path = Path(file)
        if not path.is_file():
            raise InvalidArgument(f"there is no file {file}", field="file")
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="lineal-import-") as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.flush()
        yield Path(spool.name)
