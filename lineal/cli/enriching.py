"""The command that looks up where versions came from: enrich."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.errors import NotFound
from lineal.remote import Remote

FACTS: Final = "address runId enrichment enrichmentMessage run { address }"
ENRICH: Final = f"""mutation Enrich($input: EnrichModelVersionInput!) {{
  enrichModelVersion(input: $input) {{ version {{ {FACTS} }} }}
}}"""
ONE: Final = f"query One($address: ID!) {{ modelVersion(address: $address) {{ {FACTS} }} }}"
PAUSE: Final = 0.5


def enrich(
    version: Annotated[list[str], typer.Argument(help="Versions: models:/name/3.", show_default=False)],
    run_id: Annotated[
        str | None, typer.Option(help="The run that made it, by its id in its tracker.", show_default=False)
    ] = None,
    wait: Annotated[int, typer.Option(min=0, metavar="SECONDS", help="How long to wait for what comes of it.")] = 60,
    format: Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")] = Format.TEXT,
) -> None:
    """Look up in tracking servers, once more, where versions came from, and say what came of it.

    The exit code is 1 where something could not be had. The server is LINEAL_URL, the token LINEAL_TOKEN.
    """
    with Remote.of(options.settings()) as remote:
        for each in version:
            given = {"version": each, **({"runId": run_id} if run_id else {})}
            remote.ask(ENRICH, input=given)
        end = time.monotonic() + wait
        found = [_settled(remote, each, end) for each in version]
    if format is Format.JSON:
        output.as_json({"versions": found})
    else:
        output.lines(map(_line, found))
    if any(each["enrichment"] not in {"DONE", "FOLLOWING"} for each in found):
        raise typer.Exit(1)


def _settled(remote: Remote, version: str, end: float) -> dict[str, Any]:
    """A version, once it was looked up, or as it is at the end."""
    while True:
        found = remote.ask(ONE, address=version)["modelVersion"]
        if found is None:
            raise NotFound(f"version: there is no {version!r} any more", field="version")
        if found["enrichment"] != "QUEUED" or time.monotonic() > end:
            return dict(found)
        time.sleep(PAUSE)


def _line(found: dict[str, Any]) -> str:
    run = f", made by {found['run']['address']}" if found["run"] else ""
    why = f": {found['enrichmentMessage']}" if found["enrichmentMessage"] else ""
    return f"{found['address']} is {found['enrichment']}{run}{why}"
