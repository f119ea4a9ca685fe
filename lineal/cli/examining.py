"""The command that looks for what is wrong: doctor."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from lineal.cli import options, output


def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text for people.")] = False,
    graph: options.GraphUrl = None,
) -> None:
    """Look for what is wrong with this set-up, and say what to do: settings, keys, disks, store, storage, issuers,
    targets, clocks, traces. Exit code 1 when anything is.
    """
    from lineal.doctor import Finding, examine
    from lineal.errors import LinealError

    try:
        findings = asyncio.run(examine(options.settings(graph)))
    except LinealError as error:
        findings = [Finding("settings", error.message, "write the setting as docs/settings.md has it")]
    wrong = [each for each in findings if each.wrong]
    if json:
        told = [{"check": f.check, "wrong": f.wrong, "found": f.found, "mend": f.mend or None} for f in findings]
        output.as_json({"wrong": len(wrong), "findings": told})
    else:
        for each in findings:
            mend = f"\n        {each.mend}" if each.wrong else ""
            output.lines([f"{'WRONG' if each.wrong else 'ok':<7} {each.check}: {each.found}{mend}"])
    if wrong:
        raise typer.Exit(1)
