"""Commands about stages and gates: gate, stage."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.text import Text

from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.remote import Remote

CHECK: Final = """query Check($version: ID!, $stage: String, $alias: String, $environment: String, $workspace: String) {
  checkGate(
    version: $version, stage: $stage, alias: $alias, environment: $environment, workspace: $workspace
  ) {
    version { address } target name met conditions { type met detail gate { name } }
  }
}"""
STAGE: Final = """mutation Stage($input: SetStageInput!) {
  setStage(input: $input) { version { address stage } }
}"""
NONE: Final = "none"

Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")]
Version = Annotated[str, typer.Argument(help="The version: models:/name/3, or models:/name@alias.", show_default=False)]


def gate(
    version: Version,
    stage: Annotated[str | None, typer.Option(help="The stage that it would come to.", show_default=False)] = None,
    alias: Annotated[str | None, typer.Option(help="The alias that it would get.", show_default=False)] = None,
    environment: Annotated[
        str | None, typer.Option(help="The environment that it would be deployed to.", show_default=False)
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option(
            help="The workspace of the environment, where it is another than the version's.", show_default=False
        ),
    ] = None,
    format: Output = Format.TEXT,
) -> None:
    """Ask whether the gates of a stage, an alias or an environment would let a version pass, and why not.

    The exit code is 0 when every condition is met, and 1 when one is not. Server and token are those of lineal push.
    """
    asked = {"stage": stage, "alias": alias, "environment": environment, "workspace": workspace}
    with Remote.of(options.settings()) as remote:
        verdict = remote.ask(CHECK, version=version, **asked)["checkGate"]
    if format is Format.JSON:
        output.as_json(verdict)
    else:
        _show(verdict)
    if not verdict["met"]:
        raise typer.Exit(1)


def stage(
    version: Version,
    stage: Annotated[
        str, typer.Argument(help="The stage, one of the model's stage scheme; none takes it out.", show_default=False)
    ],
    reason: Annotated[str | None, typer.Option(help="Why, for the history.", show_default=False)] = None,
    override: Annotated[
        str | None,
        typer.Option(metavar="WHY", help="Why it shall be done although a gate says no.", show_default=False),
    ] = None,
    archive_existing: Annotated[
        bool,
        typer.Option("--archive-existing", help="Move other versions out of that stage, to where they are archived."),
    ] = False,
    format: Output = Format.TEXT,
) -> None:
    """Move a version to a stage.

    Server and token are those of lineal push.
    """
    wanted = {
        "version": version,
        "stage": None if stage.casefold() == NONE else stage,
        "reason": reason,
        "archiveExisting": archive_existing,
        **({"override": override} if override is not None else {}),
    }
    with Remote.of(options.settings()) as remote:
        moved = remote.ask(STAGE, input=wanted)["setStage"]["version"]
    if format is Format.JSON:
        output.as_json(moved)
        return
    output.lines([f"{moved['address']}  {moved['stage'] or NONE}"])


def _show(verdict: dict[str, Any]) -> None:
    """A line for each condition, and one for all."""
    console = output.out()
    rows = verdict["conditions"]
    gates, types = ([_name(row, of) for row in rows] for of in ("gate", "type"))
    widths = [max(map(len, column), default=0) for column in (gates, types)]
    for row, name, type_ in zip(rows, gates, types, strict=True):
        mark, style = ("met", "green") if row["met"] else ("not met", "bold red")
        columns = f"  {name:<{widths[0]}}  {type_:<{widths[1]}}  {row['detail']}"
        console.print(Text.assemble((f"{mark:<7}", style), columns))
    unmet = sum(not row["met"] for row in rows)
    told = "no gate guards it" if not rows else f"{unmet} of {len(rows)} conditions not met" if unmet else "it passes"
    address = (verdict["version"] or {}).get("address", "")
    output.lines([f"{address} → {verdict['target']} {verdict['name']}: {told}"])


def _name(row: dict[str, Any], of: str) -> str:
    value = row[of]
    return str(value["name"] if isinstance(value, dict) else value or "-")
