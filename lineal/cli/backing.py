"""Commands about keeping: backup, restore, check."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from auth.caller import LOCAL
from lineal import __version__
from lineal.cli import audit, options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument
from resolvers.backup.checking import Check, Finding
from resolvers.backup.folder import Backup, backup_of, backups
from resolvers.backup.restoring import Restored, problems
from resolvers.backup.restoring import restore as bring_back
from resolvers.backup.taking import Taken, take

Directory = Annotated[Path, typer.Argument(help="The folder of backups.", show_default=False)]
Moment = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The backup of this moment, by its folder's name. Default: the latest.",
        show_default=False,
    ),
]
Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")]


def backup(
    directory: Directory,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="COUNT", help="Keep only so many backups, the latest. Default: all.", show_default=False
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Take none; read all that is there, and name what is wrong.")
    ] = False,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Read all bytes that the folder has already, not a part; mend what is wrong."),
    ] = False,
    moment: Moment = None,
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Keep the graph, the audit and all files of this moment in a folder; writers go on meanwhile.

    Bytes that an earlier backup has are not copied again, unless they are found to be wrong. Exits with 1 where files
    are lost, or a backup is not whole.
    """
    if verify:
        _verify(directory, moment, format)
        return
    if moment is not None:
        raise InvalidArgument("--moment: goes with --verify; a backup is of the present", field="moment")
    from lineal.parts import LONG, opened, storage_of

    settings = options.settings(graph)

    async def run() -> Taken:
        async with opened(settings, create=False, seconds=LONG) as store, storage_of(settings) as storage:
            told = {"lineal": __version__, "graph": settings.graph, "storage": storage.name}
            return await take(store, storage, directory, told=told, keep=keep, deep=deep)

    done = asyncio.run(run())
    told = done.backup.told
    if format is Format.JSON:
        facts = {"copied": done.copied, "bytesCopied": done.bytes_copied, "healed": done.healed}
        there = {"blobs": told["blobs"], "bytes": told["bytes"]}
        output.as_json({"backup": done.backup.name, **there, **facts, "lost": list(done.lost)})
    else:
        output.lines([f"lost: {each}" for each in done.lost])
        if done.healed:
            output.lines([f"{done.healed:,} blobs of earlier backups were wrong, and are copied again"])
        of: dict[str, int] = {what: n for part in told["parts"].values() for what, n in part["of"].items()}
        held = ", ".join(f"{of.get(what, 0):,} {what}s" for what in ("node", "edge", "change", "blob"))
        output.lines(
            [f"{done.backup.name}: {held} ({output.size(told['bytes'])}); {output.size(done.bytes_copied)} were copied"]
        )
    if done.lost:
        raise typer.Exit(1)


def _verify(directory: Path, moment: str | None, format: Format) -> None:
    found = [backup_of(directory, moment)] if moment else backups(directory)
    if not found:
        backup_of(directory, None)

    async def run(each: Backup) -> list[str]:
        return [text async for text in problems(directory, each)]

    wrong = {each.name: asyncio.run(run(each)) for each in found}
    if format is Format.JSON:
        output.as_json({"backups": [{"backup": name, "problems": texts} for name, texts in wrong.items()]})
    else:
        for name, texts in wrong.items():
            output.lines(texts or [f"{name} is whole"])
    if any(wrong.values()):
        raise typer.Exit(1)


def restore(
    directory: Directory,
    moment: Moment = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Where to put the files. Default: as LINEAL_STORAGE.", show_default=False),
    ] = None,
    despite_lost: Annotated[
        bool,
        typer.Option(
            "--despite-lost", help="Restore what is whole where the backup has lost files; what has those is FAILED."
        ),
    ] = False,
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Bring a backup back into an empty store, of either kind: the same ids, times, changes and files.

    All of it is checked first, and compared afterwards. A restore that broke off is gone on with by the same command;
    until it is finished nothing else opens the store. Exits with 1 where files are lost.
    """
    from lineal.parts import LONG, storage_of, store

    settings = options.settings(graph, storage=storage)
    chosen = backup_of(directory, moment)

    async def run() -> Restored:
        with output.progress() as advance:
            async with store(settings, seconds=LONG) as opened, storage_of(settings) as files:
                return await bring_back(
                    opened, files, directory, chosen, by=LOCAL.name, despite_lost=despite_lost, progress=advance
                )

    done = asyncio.run(run())
    if format is Format.JSON:
        output.as_json({"backup": chosen.name, "graph": settings.graph, "undone": done.undone, "lost": done.lost})
    else:
        but = f", but for {len(done.lost):,} lost files" if done.lost else ""
        lost = [f"lost: {each}" for each in done.lost]
        output.lines([*lost, *done.undone, f"{settings.graph} is as it was at {chosen.name}{but}"])
    if done.lost:
        raise typer.Exit(1)


def check(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte, too; else sizes are looked at.")] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Mend what can be mended, and say so in the audit; the rest is only named."),
    ] = False,
    checkpoints: audit.CheckpointsOption = None,
    key: audit.KeyOption = None,
    format: Output = Format.TEXT,
    graph: options.GraphUrl = None,
) -> None:
    """Hold graph, storage and audit against each other, and name what does not fit.

    Exits with 1 where anything is wrong. What waits to be cleared away is named, and is no fault. Artifacts that are
    only referred to are looked at by lineal artifacts verify.
    """
    from auth.verifying import Verification
    from lineal.parts import LONG, opened, storage_of

    settings = options.settings(graph)
    keys, file = audit.keys_of(settings, key), audit.file_of(settings, checkpoints)
    findings: list[Finding] = []

    async def run() -> Check:
        async with (
            opened(settings, create=False, seconds=LONG) as store,
            storage_of(settings) as storage,
            store.snapshot() as at,
        ):
            grace = settings.artifact_grace_hours * 3_600
            done = Check(store, storage, by=LOCAL.name, grace=grace, deep=deep, repair=repair)
            async for finding in done.findings(Verification(at, keys, file)):
                findings.append(finding)
                if format is Format.TEXT:
                    mended = "mended: " if finding.mended else ""
                    output.lines([f"{mended}{finding.kind}: {finding.message}"])
            return done

    done = asyncio.run(run())
    wrong = sum(finding.wrong for finding in findings)
    if format is Format.JSON:
        output.as_json({"findings": [asdict(each) for each in findings], "wrong": wrong, "artifacts": done.artifacts})
    else:
        output.lines([f"checked {done.artifacts:,} artifacts, the audit and the store: {wrong:,} wrong"])
    if wrong:
        raise typer.Exit(1)
