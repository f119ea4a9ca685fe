"""Commands that import: an export, what others tell of lineage, or a whole registry of MLflow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from auth.caller import named
from lineal.cli import moving, options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument, Unavailable
from resolvers.importing.importing import Taken, import_card, import_croissant, import_prov
from resolvers.importing.telling import MAX_BYTES
from resolvers.operation import Operation
from resolvers.tracking.copying import Copied, Copier
from storage.tracking.config import from_environment
from storage.tracking.mlflow import MlflowServer

FILE: Final = "file"
FULL_SECONDS: Final = 60.0
"""Between two looks at everything, while a registry is followed: MLflow tells of no time at which tags changed."""


class FileUnlessNamed(TyperGroup):
    """A group whose command `file` is meant where none is named: lineal import FILE."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command, by its name or without."""
        return super().resolve_command(ctx, args if args[0] in self.commands else [FILE, *args])


app = typer.Typer(
    cls=FileUnlessNamed,
    help="Read an export into the store (lineal import FILE), PROV, Croissant or model cards, or a whole registry of "
    "MLflow.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"ignore_unknown_options": True},
)
app.command(FILE)(moving.import_)


@app.command()
def mlflow(
    uri: Annotated[str, typer.Argument(help="The address of the MLflow server.", show_default=False)],
    workspace: Annotated[str, typer.Option(help="The workspace that it all comes into.")] = "default",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on, and bring over what changes there, until it is stopped.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Between two looks for changes.")] = 5.0,
    format: Annotated[Format, typer.Option(help="Text for people, or one JSON object.")] = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Copy models and prompts, versions with their numbers, aliases, stages, tags and the runs behind them.

    The same again changes nothing, and a copy that broke off goes on where it was. The exit code is 1 where something
    could not be brought over, which is told on stderr. The credentials are those of MLflow's own clients:
    MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    """
    from lineal.parts import opened

    settings = options.settings(graph)
    server = MlflowServer(from_environment(uri, os.environ))

    async def run() -> Copied:
        with output.progress() as advance:
            async with opened(settings) as store:
                copier = Copier(store, server, workspace=workspace, by=named("import").name, progress=advance)
                try:
                    done = await copier.all()
                    if follow:
                        _tell(done, format)
                        await _follow(copier, every, format)
                    return done
                finally:
                    copier.close()

    try:
        done = asyncio.run(run())
    except KeyboardInterrupt:
        return
    except Unavailable as error:
        raise Unavailable(f"{error.message}; do it again, and it goes on from there") from None
    _tell(done, format)
    if done.problems:
        raise typer.Exit(1)


File = Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False, show_default=False)]
Into = Annotated[str, typer.Option(help="The workspace that it comes into.")]
Output = Annotated[Format, typer.Option(help="Text for people, or one JSON object.")]


@app.command()
def prov(file: File, workspace: Into = "default", format: Output = Format.TEXT, graph: options.GraphUrl = None) -> None:
    """Record what a file of W3C PROV tells (PROV-JSON), all of it or nothing. The same again changes nothing.

    What Lineal exported comes back as it was, in the workspaces that it was in. Of what others wrote entities are data
    sets, activities runs and agents principals. Needs the extra prov.
    """
    _take(graph, format, lambda op: import_prov(op, _read(file), workspace=workspace))


@app.command()
def croissant(
    file: File, workspace: Into = "default", format: Output = Format.TEXT, graph: options.GraphUrl = None
) -> None:
    """Record a data set as Croissant describes it (1.0 or 1.1): a version with its checksums, and its columns."""
    _take(graph, format, lambda op: import_croissant(op, _read(file), workspace=workspace))


@app.command("model-card")
def model_card(
    file: File,
    version: Annotated[
        str, typer.Argument(help="The version that the card is of, new or not: models:/name/3.", show_default=False)
    ],
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Record what a model card tells of a version (Hugging Face's form): base models, data sets, results, licence."""
    _take(graph, format, lambda op: import_card(op, _read(file), version=version))


def _read(file: Path) -> bytes:
    """The bytes of a file, one more than are taken at most. Raises InvalidArgument."""
    try:
        with file.open("rb") as source:
            return source.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}", field="file") from None


def _take(graph: str | None, format: Format, take: Callable[[Operation], Awaitable[Taken]]) -> None:
    from lineal.parts import opened

    settings = options.settings(graph)

    async def run() -> Taken:
        async with opened(settings) as store, Operation(store, caller=named("import")) as op:
            return await take(op)

    done = asyncio.run(run())
    for note in done.notes:
        output.warn(note)
    if format is Format.JSON:
        output.as_json({"nodes": done.nodes, "edges": done.edges, "notes": list(done.notes)})
    else:
        output.lines([f"recorded {done.nodes:,} nodes and {done.edges:,} edges"])


async def _follow(copier: Copier, every: float, format: Format) -> None:
    """Until interrupted: bring over what changed. A server or a store that is away is waited for."""
    loop = asyncio.get_running_loop()
    full = loop.time() + FULL_SECONDS
    known: set[str] = set()
    while True:
        await asyncio.sleep(every)
        try:
            if whole := loop.time() >= full:
                full = loop.time() + FULL_SECONDS
            done = await (copier.all() if whole else copier.changes())
        except Unavailable as error:
            output.err().print(f"{error.message}; trying again")
            continue
        done.problems = [problem for problem in done.problems if problem not in known]
        known.update(done.problems)
        if done.written or done.problems:
            _tell(done, format)


def _tell(done: Copied, format: Format) -> None:
    for problem in done.problems:
        output.warn(problem)
    facts: dict[str, Any] = {
        "models": done.models,
        "prompts": done.prompts,
        "versions": done.versions,
        "written": done.written,
        "problems": len(done.problems),
    }
    if format is Format.JSON:
        output.as_json(facts)
        return
    read = f"looked at {done.models:,} models, {done.prompts:,} prompts and {done.versions:,} versions"
    output.lines([f"{read}; {done.written:,} things were new or changed"])
