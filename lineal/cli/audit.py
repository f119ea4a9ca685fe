"""Commands about the audit: verify, export, checkpoint, prune."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from joserfc.jwk import OKPKey

from auth.caller import LOCAL
from auth.chains import Chain, Finding, chain_name
from auth.checkpoints import CheckpointFile
from auth.keyring import AUDIT, Keyring, read_key
from graph.port import Entry, Head, Snapshot
from graph.recording import GENESIS, canonical, facts
from lineal.cli import options, output
from lineal.cli.moving import STANDARD, write_lines
from lineal.cli.output import Format
from lineal.errors import InvalidArgument
from lineal.settings import Settings

app = typer.Typer(
    help="The audit: whether it is whole, what is in it, how long it is kept.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PAGE = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        metavar="FILE",
        help="Checkpoints that are held elsewhere. Default: LINEAL_AUDIT_CHECKPOINT_FILE, where it is set.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="A public key (PEM) that checkpoints may be signed with; may be given many times. "
        "Default: audit.pub in the folder of LINEAL_KEYS.",
        show_default=False,
    ),
]


@app.command()
def verify(
    checkpoints: CheckpointsOption = None,
    key: KeyOption = None,
    format: Annotated[Format, typer.Option(help="Text for people, or one JSON object.")] = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Recompute every hash of the audit, check every checkpoint, and name what is wrong.

    It also says what no checkpoint covers yet. Exits with 1 when something is wrong.
    """
    from auth.verifying import Verification
    from lineal.parts import LONG, opened

    settings = options.settings(graph)
    keys, file = keys_of(settings, key), file_of(settings, checkpoints)
    findings: list[Finding] = []

    async def run() -> Verification:
        async with opened(settings, create=False, seconds=LONG) as store, store.snapshot() as snapshot:
            verification = Verification(snapshot, keys, file)
            async for finding in verification.findings():
                findings.append(finding)
                if format is Format.TEXT:
                    output.lines([f"{finding.kind}: {finding.message}"])
            return verification

    done = asyncio.run(run())
    if format is Format.JSON:
        output.as_json(
            {
                "whole": not findings,
                "findings": [asdict(finding) for finding in findings],
                "chains": [asdict(chain) for chain in done.chains],
                "checkpoints": done.checkpoints,
                "elsewhere": done.elsewhere if file else None,
            }
        )
    else:
        output.lines(_summary(done.chains, done.checkpoints, done.elsewhere if file else None))
    if findings:
        raise typer.Exit(1)


def _summary(chains: Sequence[Chain], checkpoints: int, elsewhere: int | None) -> Iterable[str]:
    for chain in chains:
        if chain.unsealed and chain.since is not None:
            count = f"{chain.unsealed:,} {'entry' if chain.unsealed == 1 else 'entries'}"
            yield f"not yet sealed: {chain_name(chain.workspace)}: {count} since {_time(chain.since)}"
    if not any(chain.unsealed for chain in chains):
        yield "not yet sealed: nothing"
    held = "" if elsewhere is None else f", elsewhere up to {elsewhere:,}"
    entries = sum(chain.entries for chain in chains)
    yield f"verified: entries {entries:,}, chains {len(chains):,}, checkpoints {checkpoints:,}{held}"


@app.command()
def export(
    file: Annotated[str, typer.Argument(help="Where to write; - is standard output.")] = STANDARD,
    workspace: Annotated[
        list[str] | None,
        typer.Option(help="Only the chain of this workspace; may be given many times. '' is that of what is in none."),
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from this time on (ISO 8601, UTC).")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only before this time (ISO 8601, UTC).")] = None,
    graph: options.GraphUrl = None,
) -> None:
    """Write the entries of the audit as canonical JSON lines, chain by chain, with all that their hashes cover."""
    from lineal.parts import LONG, opened

    settings = options.settings(graph)
    first, last = options.moment(since, "--since"), options.moment(until, "--until")

    async def run(target: IO[bytes]) -> int:
        count = 0
        async with opened(settings, create=False, seconds=LONG) as store, store.snapshot() as snapshot:
            async for previous, entry in _entries(snapshot, workspace):
                if (first is None or entry.change.at >= first) and (last is None or entry.change.at < last):
                    target.write(canonical(_exported(previous, entry)) + b"\n")
                    count += 1
        return count

    write_lines(file, run, "entries")


async def _entries(snapshot: Snapshot, workspaces: Sequence[str] | None) -> AsyncIterator[tuple[str, Entry]]:
    """Entries, each with the hash before it. Raises InvalidArgument: there is no such chain."""
    begins = {head.workspace: Head(head.workspace, 0, GENESIS) for head in await snapshot.heads()}
    begins |= {anchor.workspace: anchor for anchor in await snapshot.anchors()}
    for workspace in workspaces if workspaces is not None else begins:
        if workspace not in begins:
            raise InvalidArgument(f"--workspace: there is no {chain_name(workspace)}", field="workspace")
        at = begins[workspace]
        while page := await snapshot.chain(workspace, after=at.number, limit=PAGE):
            for entry in page:
                yield at.hash, entry
                at = Head(workspace, entry.number, entry.hash)


def _exported(previous: str, entry: Entry) -> dict[str, Any]:
    place = {"workspace": entry.workspace, "number": entry.number, "previous": previous, "hash": entry.hash}
    return {**place, "change": facts(entry.change)}


@app.command()
def checkpoint(graph: options.GraphUrl = None) -> None:
    """Sign how far the audit goes now. A server does so by itself every LINEAL_AUDIT_CHECKPOINT_SECONDS."""
    from lineal.auditing import checkpointer
    from lineal.parts import opened

    settings = options.settings(graph)

    async def run() -> bool:
        async with opened(settings, create=False) as store:
            return await checkpointer(settings, store, LOCAL.name).checkpoint()

    made = asyncio.run(run())
    output.lines(["made a checkpoint" if made else "nothing happened since the last checkpoint"])


@app.command()
def prune(
    before: Annotated[str, typer.Option(metavar="TIME", help="Keep what happened from this time on (ISO 8601, UTC).")],
    checkpoints: CheckpointsOption = None,
    key: KeyOption = None,
    format: Annotated[Format, typer.Option(help="Text for people, or one JSON object.")] = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Take off the entries that the last checkpoint before a time covers; the rest stays verifiable.

    The audit is verified first. That entries were taken off is an entry itself.
    """
    from auth import retention
    from lineal.parts import opened

    settings = options.settings(graph)
    end = options.moment(before, "--before")
    assert end is not None
    own = Keyring(settings.keys).ed25519(AUDIT)
    keys, file = keys_of(settings, key), file_of(settings, checkpoints)

    async def run() -> int:
        async with opened(settings, create=False) as store:
            return await retention.prune(store, end, by=LOCAL.name, key=own, keys=keys, file=file)

    taken = asyncio.run(run())
    if format is Format.JSON:
        output.as_json({"entries": taken})
    else:
        output.lines([f"took off {taken:,} {'entry' if taken == 1 else 'entries'}"])


def keys_of(settings: Settings, given: Sequence[Path] | None) -> list[OKPKey]:
    """The keys that checkpoints may be signed with. Raises InvalidArgument, PreconditionFailed."""
    own = Keyring(settings.keys).public(AUDIT)
    paths = given if given is not None else [own] if own.exists() else []
    for path in paths:
        if not path.is_file():
            raise InvalidArgument(f"--key: there is no file {path}", field="key")
    return [read_key(path, path.read_bytes()) for path in paths]


def file_of(settings: Settings, given: Path | None) -> CheckpointFile | None:
    """The checkpoints that are held elsewhere. Raises InvalidArgument."""
    if given is not None and not given.is_file():
        raise InvalidArgument(f"--checkpoints: there is no file {given}", field="checkpoints")
    path = given or settings.audit_checkpoint_file
    return CheckpointFile(path) if path else None


def _time(microseconds: int) -> str:
    try:
        time = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        # Whoever edits a store may write any number.
        return f"{microseconds} microseconds"
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
