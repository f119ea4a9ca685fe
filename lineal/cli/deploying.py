"""Commands that deploy, and show what is deployed: deploy, promote, rollback, stop, status."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import quote

import orjson
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from graph.address import parse
from graph.ids import kind_of
from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument, NotFound, PreconditionFailed
from lineal.remote import Remote

FACTS: Final = """address name phase message replicas desiredRevision verifiedRevision uri
  environment { name } target { name } workspace { name }
  serves(first: 10) { edges { weight node { address number } } }"""
DEPLOY: Final = "mutation Deploy($input: DeployInput!) { done: deploy(input: $input) { deployment { address } } }"
CANARY: Final = "mutation Canary($input: CanaryInput!) { done: canary(input: $input) { deployment { address } } }"
PROMOTE: Final = "mutation Promote($input: PromoteInput!) { done: promote(input: $input) { deployment { address } } }"
ROLL_BACK: Final = (
    "mutation RollBack($input: RollBackInput!) { done: rollBack(input: $input) { deployment { address } } }"
)
STOP: Final = (
    "mutation Stop($input: StopDeploymentInput!) { done: stopDeployment(input: $input) { deployment { address } } }"
)
ONE: Final = f"query One($address: ID!) {{ deployment(address: $address) {{ {FACTS} }} }}"
ALL: Final = f"""query All($after: String) {{ deployments(first: 200, after: $after) {{
  nodes {{ {FACTS} }} pageInfo {{ hasNextPage endCursor }}
}} }}"""
VERSION: Final = "query Version($address: ID!) { modelVersion(address: $address) { address model { name } } }"

PAUSE: Final = 0.5
SETTLED: Final = frozenset({"READY", "STOPPED", "FAILED"})
STYLES: Final = {
    "READY": "green",
    "STOPPED": "dim",
    "FAILED": "bold red",
    "UNREACHABLE": "bold yellow",
    "DRIFTED": "bold yellow",
}

Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the history.", show_default=False)]
Override = Annotated[
    str | None,
    typer.Option(help="Go on although the environment's gate says no, and why.", show_default=False),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is served as told, or has failed.")]
Name = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="deployments:/name, or its name.", show_default=False)]


class DriftPolicy(StrEnum):
    """What is done about a change behind Lineal's back."""

    REPAIR = "REPAIR"
    REPORT = "REPORT"


def deploy(
    version: Annotated[str, typer.Argument(help="models:/name/3, or models:/name@alias.", show_default=False)],
    target: Annotated[str, typer.Argument(help="The configured target, by name.", show_default=False)],
    name: Annotated[
        str | None,
        typer.Option(help="The deployment's name. Default: that of the model.", show_default=False),
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="The environment it belongs to: its gate is asked.", show_default=False)
    ] = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="Beside the version that is served, instead of in its place.")
    ] = False,
    weight: Annotated[
        float | None, typer.Option(help="The canary's share of the requests, from 0 to 1.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A setting of the platform, its value JSON or else text. Those given are all. Default: as before.",
            show_default=False,
        ),
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Replicas, memory and the like, as a setting. Those given are all. Default: as before.",
            show_default=False,
        ),
    ] = None,
    drift_policy: Annotated[
        DriftPolicy | None,
        typer.Option(
            help="Whether a change behind Lineal's back is undone (REPAIR, unless told otherwise) or only told.",
            show_default=False,
        ),
    ] = None,
    progress_seconds: Annotated[
        int | None, typer.Option(help="How long a rollout may take: 600 unless told otherwise.", show_default=False)
    ] = None,
    reason: Reason = None,
    override: Override = None,
    wait: Wait = True,
    format: Output = Format.TEXT,
) -> None:
    """Have a model version served on a target, in the place of what is served there under this name, or beside it.

    The server is LINEAL_URL (default: the one on this machine), the token LINEAL_TOKEN.
    """
    if weight is not None and not canary:
        raise InvalidArgument("--weight: goes with --canary", field="weight")
    told = (
        ("settings", _pairs(setting, "setting")),
        ("resources", _pairs(resource, "resource")),
        ("driftPolicy", drift_policy),
        ("progressSeconds", progress_seconds),
    )
    how = {name: value for name, value in told if value is not None}
    if canary and how:
        msg = "--canary: is served like what it goes beside; deploy that with other settings first, or without --canary"
        raise InvalidArgument(msg, field="canary")
    given = {name: value for name, value in (("reason", reason), ("override", override)) if value is not None}
    with Remote.of(options.settings()) as remote:
        meant = remote.ask(VERSION, address=version)["modelVersion"]
        if meant is None:
            raise NotFound(f"version: there is no {version!r}", field="version")
        workspace = parse(meant["address"], field="version").workspace
        name = name or meant["model"]["name"]
        if canary:
            share = {} if weight is None else {"weight": weight}
            place = _address(name, workspace)
            _refuse_elsewhere(_one(remote, place), target=target, environment=environment)
            done = remote.ask(CANARY, input={"deployment": place, "version": meant["address"], **share, **given})
        else:
            where = {} if environment is None else {"environment": environment}
            serves = [{"version": meant["address"]}]
            what = {"name": name, "workspace": workspace, "target": target, "serves": serves}
            done = remote.ask(DEPLOY, input={**what, **where, **how, **given})
        _finish(remote, done, wait=wait, format=format)


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, Any] | None:
    """What is given as KEY=VALUE, each value as JSON where it is that, else as text; None where nothing is given."""
    if not given:
        return None
    pairs: dict[str, Any] = {}
    for text in given:
        name, value = options.pair(text, option)
        pairs[name] = value
        with suppress(orjson.JSONDecodeError):
            pairs[name] = orjson.loads(value)
    return pairs


def _refuse_elsewhere(deployment: Mapping[str, Any], **given: str | None) -> None:
    """Raises InvalidArgument: a canary goes beside what is served, which is on another target, or somewhere else."""
    for field, name in given.items():
        there = (deployment[field] or {}).get("name")
        if name is not None and name != there:
            msg = f"{field}: {deployment['address']} is at {there!r}, and so is its canary; it cannot be at {name!r}"
            raise InvalidArgument(msg, field=field)


def promote(
    deployment: Name, reason: Reason = None, override: Override = None, wait: Wait = True, format: Output = Format.TEXT
) -> None:
    """Have the canary of a deployment serve all requests."""
    _do(PROMOTE, deployment, {"reason": reason, "override": override}, wait=wait, format=format)


def rollback(
    deployment: Name,
    to: Annotated[
        int | None,
        typer.Option(
            help="The revision to go back to. Default: the last one seen to be served as told, no canary.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = None,
    override: Override = None,
    wait: Wait = True,
    format: Output = Format.TEXT,
) -> None:
    """Have served again what was served before."""
    _do(ROLL_BACK, deployment, {"to": to, "reason": reason, "override": override}, wait=wait, format=format)


def stop(deployment: Name, reason: Reason = None, wait: Wait = True, format: Output = Format.TEXT) -> None:
    """Have a deployment serve nothing any more."""
    _do(STOP, deployment, {"reason": reason}, wait=wait, format=format)


def status(
    deployment: Annotated[
        str | None,
        typer.Argument(
            metavar="[DEPLOYMENT]", help="deployments:/name, or its name. Default: all.", show_default=False
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    format: Output = Format.TEXT,
) -> None:
    """Show what deployments shall serve and what they do.

    With --watch a terminal shows it anew in its place. A pipe gets all of it again whenever something of it is
    another: a table, or one line of JSON. Ctrl-C ends that with the exit code 0; a deployment that is not there any
    more, or a server that stays away, with 1.
    """
    with Remote.of(options.settings()) as remote:
        if watch:
            with suppress(KeyboardInterrupt):
                _watch(remote, deployment, format)
        else:
            _show(_found(remote, deployment), format)


def _watch(remote: Remote, deployment: str | None, format: Format) -> None:
    """Show it until interrupted."""
    console = output.out()
    live = Live(console=console, auto_refresh=False) if console.is_terminal and format is Format.TEXT else None
    shown = None
    with live or nullcontext():
        while True:
            found = _found(remote, deployment)
            if live is not None:
                live.update(_table(found), refresh=True)
            elif found != shown:
                _show(found, format)
            shown = found
            time.sleep(2 * PAUSE)


def _show(deployments: Sequence[Mapping[str, Any]], format: Format) -> None:
    if format is Format.JSON:
        output.as_json({"deployments": deployments})
    else:
        _print(deployments)


def _do(mutation: str, deployment: str, given: Mapping[str, Any], *, wait: bool, format: Format) -> None:
    input = {name: value for name, value in given.items() if value is not None}
    with Remote.of(options.settings()) as remote:
        done = remote.ask(mutation, input={"deployment": _address(deployment), **input})
        _finish(remote, done, wait=wait, format=format)


def _finish(remote: Remote, done: Mapping[str, Any], *, wait: bool, format: Format) -> None:
    """Show what came of it. Raises PreconditionFailed: what was told failed, whatever is served in its place."""
    address = done["done"]["deployment"]["address"]
    found = _one(remote, address)
    revision = found["desiredRevision"]
    if wait:
        with output.err().status("…") as spinner:
            while found["phase"] not in SETTLED:
                spinner.update(f"{address}: {found['phase']} {found['message'] or ''}")
                time.sleep(PAUSE)
                found = _one(remote, address)
    if format is Format.JSON:
        output.as_json(found)
    else:
        _print([found])
    if wait and (found["phase"] == "FAILED" or found["desiredRevision"] != revision):
        raise PreconditionFailed(f"revision {revision} of {address} failed: {found['message'] or 'see its revisions'}")


def _one(remote: Remote, address: str) -> dict[str, Any]:
    found = remote.ask(ONE, address=address)["deployment"]
    if found is None:
        raise NotFound(f"deployment: there is no {address!r}", field="deployment")
    return dict(found)


def _found(remote: Remote, deployment: str | None) -> list[dict[str, Any]]:
    if deployment is not None:
        return [_one(remote, _address(deployment))]
    found: list[dict[str, Any]] = []
    after, more = None, True
    while more:
        page = remote.ask(ALL, after=after)["deployments"]
        found += page["nodes"]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return found


def _address(name: str, workspace: str | None = None) -> str:
    if ":/" in name or kind_of(name):
        return name
    place = "" if workspace in {None, "default"} else f"{workspace}:"
    return f"deployments:/{place}{quote(name, safe='')}"


def _print(deployments: Sequence[Mapping[str, Any]]) -> None:
    console = output.out()
    if not console.is_terminal:
        # Programs want a line for each, however long.
        console.width = 10_000
    console.print(_table(deployments))


def _table(deployments: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("deployment", "phase", "serves", "replicas", "revision", "environment", "target", "message"):
        table.add_column(title, overflow="fold", style="" if title != "message" else "dim")
    for each in deployments:
        shown = ", ".join(_served(edge) for edge in each["serves"]["edges"]) or "nothing"
        phase = each["phase"] or "recorded"
        revision = each["desiredRevision"] or ""
        table.add_row(
            each["address"],
            Text(phase, style=STYLES.get(phase, "")),
            shown,
            str(each["replicas"] or ""),
            str(revision),
            (each["environment"] or {}).get("name", ""),
            (each["target"] or {}).get("name", ""),
            each["message"] or "",
        )
    return table


def _served(edge: Mapping[str, Any]) -> str:
    weight = edge["weight"]
    address: str = edge["node"]["address"]
    return address + ("" if weight is None or weight == 1 else f" {weight:.0%}")
