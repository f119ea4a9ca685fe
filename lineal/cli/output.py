"""What the command line writes: to people on a terminal, to pipes, to programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from lineal.errors import LinealError
from lineal.rendering import Line

STYLES = {
    "Dataset": "green",
    "DatasetVersion": "green",
    "Field": "green",
    "Model": "cyan",
    "ModelVersion": "cyan",
    "Run": "yellow",
    "Deployment": "bold magenta",
}


class Format(StrEnum):
    """Text for people, or JSON for programs."""

    TEXT = "text"
    JSON = "json"


def out() -> Console:
    """Standard output; colours and line breaks only on a terminal."""
    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def err() -> Console:
    """Standard error, likewise."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def complain(error: LinealError) -> None:
    """One line on stderr for each problem."""
    for problem in error.details.get("problems") or [error.message]:
        err().print(Text.assemble(("error: ", "bold red"), problem))
    hidden = error.details.get("count", 0) - len(error.details.get("problems", ()))
    if hidden > 0:
        err().print(f"error: and {hidden} more")


def warn(message: str) -> None:
    """Something that must not be overlooked, on stderr."""
    err().print(Text(message, style="bold yellow"))


def as_json(value: Any) -> None:
    """One JSON object on one line."""
    typer.echo(orjson.dumps(value))


def lines(items: Iterable[str]) -> None:
    """Plain lines."""
    for item in items:
        typer.echo(item)


def tree(items: Iterable[Line]) -> None:
    """A tree, coloured by kind."""
    console = out()
    for line in items:
        style = STYLES.get(line.kind, "")
        note = f"  {line.note}" if line.note else ""
        console.print(Text.assemble((line.prefix, "dim"), (line.text, style), (f"  {line.kind}{note}", "dim")))


Advance = Callable[[str, int, int], None]


@contextmanager
def progress() -> Iterator[Advance]:
    """A progress bar on stderr for each thing that is done, if that is a terminal; else nothing."""
    console = err()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def size(count: int) -> str:
    """Bytes in words."""
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
