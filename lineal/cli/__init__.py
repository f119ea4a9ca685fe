"""The command line: `lineal`. Plain text in a pipe, colours on a terminal, JSON where a machine may read.

Exit codes: 0 done, 1 it could not be done, 2 it was asked for wrongly.
"""

from __future__ import annotations

import sys

import typer

from lineal import __version__
from lineal.cli import (
    artifacts,
    asking,
    audit,
    backing,
    deploying,
    ending,
    enriching,
    examining,
    gating,
    importing,
    moving,
    serving,
    signing,
    tokens,
    transferring,
    validating,
)
from lineal.cli.output import complain
from lineal.errors import InvalidArgument, LinealError

app = typer.Typer(
    name="lineal",
    help=(
        "A model registry that knows where every model came from.\n\n"
        "Begin with: lineal demo. Then: lineal lineage datasets:/NQ --downstream"
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serving.serve)
app.command()(serving.demo)
app.command()(examining.doctor)
app.command()(moving.migrate)
app.command()(moving.move)
app.command("export")(moving.export)
app.command()(backing.backup)
app.command()(backing.restore)
app.command()(backing.check)
app.command()(asking.lineage)
app.command()(asking.paths)
app.command()(asking.search)
app.command()(asking.schema)
app.command()(asking.openapi)
app.command()(signing.sign)
app.command()(signing.verify)
app.command()(transferring.push)
app.command()(transferring.pull)
app.command()(deploying.deploy)
app.command()(deploying.promote)
app.command()(deploying.rollback)
app.command()(deploying.stop)
app.command()(deploying.status)
app.command()(validating.validate)
app.command()(enriching.enrich)
app.command()(ending.retire)
app.command()(ending.mark)
app.command()(ending.unmark)
app.command()(gating.gate)
app.command()(gating.stage)
app.command()(tokens.token)
app.add_typer(importing.app, name="import")
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(audit.app, name="audit")


@app.command()
def version() -> None:
    """Print Lineal's version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line. Errors are one line on stderr that says what to do."""
    try:
        app()
    except LinealError as error:
        complain(error)
        sys.exit(2 if isinstance(error, InvalidArgument) else 1)
