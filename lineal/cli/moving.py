"""Commands that move graphs: migrate, export, import."""

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

from graph.transfer import Imported, export_lines, import_file
from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument, Unavailable

STANDARD = "-"


def migrate(
    format: Annotated[Format, typer.Option(help="Text for people, or one JSON object.")] = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Bring the store to this version of Lineal. A store that is newer is left alone, and says so."""
    from lineal.app import store

    settings = options.settings(graph)

    async def run() -> list[str]:
        async with store(settings) as opened:
            return await opened.migrate()

    applied = asyncio.run(run())
    if format is Format.JSON:
        output.as_json({"graph": settings.graph, "applied": applied})
    else:
        output.lines([*(f"applied {name}" for name in applied), f"{settings.graph} is up to date"])


def export(
    file: Annotated[str, typer.Argument(help="Where to write; - is standard output.")] = STANDARD,
    graph: options.GraphUrl = None,
) -> None:
    """Write the whole graph as canonical JSON lines; `lineal import` reads them into any store."""
    from lineal.app import LONG, opened

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
    from lineal.app import opened

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
