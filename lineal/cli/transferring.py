"""Commands that move bytes: push, pull."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import orjson
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from graph.address import parse
from graph.ids import kind_of
from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument, NotFound
from lineal.kept import kept
from lineal.patience import SECONDS
from lineal.pulling import Pull
from lineal.pushing import Push
from lineal.remote import Remote
from lineal.transfer import THREADS
from lineal.transfer import Progress as OnBytes

CREATE: Final = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { id address state } }
}"""
VERSION: Final = "query Version($address: ID!) { modelVersion(address: $address) { id address state } }"
ALIAS: Final = "mutation Alias($input: SetAliasInput!) { setAlias(input: $input) { version { id } } }"
Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")]
Waiting = Annotated[
    int,
    typer.Option(
        "--patience", min=0, metavar="SECONDS", help="How long to try again while server or storage are away."
    ),
]
Threads = Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")]


def push(
    path: Annotated[Path, typer.Argument(help="The folder, or the file.", show_default=False)],
    model: Annotated[
        str,
        typer.Argument(
            help="The model that gets a new version: a name, or models:/name. Or what is there and gets the files: "
            "models:/name/3, datasets:/name/v2, runs:/name.",
            show_default=False,
        ),
    ],
    alias: Annotated[
        list[str] | None,
        typer.Option(help="Let this alias point to the version, once it is READY.", show_default=False),
    ] = None,
    derived_from: Annotated[
        list[str] | None,
        typer.Option(metavar="VERSION", help="A model version that it was made from.", show_default=False),
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATASET", help="A data set, or a version of one, that it learned from.", show_default=False
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The run that made it.", show_default=False)] = None,
    name: Annotated[str, typer.Option(help="What the files are called among those of the version.")] = "model",
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A tag of the version.", show_default=False)
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is, in words.", show_default=False)] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Make a new version even where the same was pushed within seven days.")
    ] = False,
    threads: Threads = THREADS,
    patience: Waiting = int(SECONDS),
    format: Output = Format.TEXT,
) -> None:
    """Send files to storage as a new version of a model; only what storage lacks is sent.

    The same files with the same options are the same version: pushing again goes on where a push broke off. The server
    is LINEAL_URL (default: the one on this machine), the token LINEAL_TOKEN (default: signed with this machine's key).
    """
    from storage.folder import scan

    settings = options.settings()
    address = model if ":/" in model or kind_of(model) else f"models:/{quote(model, safe='')}"
    about_new = {
        "alias": alias,
        "derived-from": derived_from,
        "trained-on": trained_on,
        "run": run,
        "tag": tag,
        "description": description,
        "new": new,
    }
    given = next((option for option, value in about_new.items() if value), None)
    if given and parse(address, field="model").kind != "Model":
        msg = f"--{given}: is told of a new version, so it goes with a model; {model!r} is there, and gets files alone"
        raise InvalidArgument(msg, field=given)
    began = time.monotonic()
    with Remote.of(settings, patience=patience, on_wait=_on_wait(patience)) as remote:
        with _bar("reading") as (advance, total):
            seen = 0

            def read(done: int, of: int) -> None:
                nonlocal seen
                total(of)
                advance(done - seen)
                seen = done

            folder = scan(path, progress=read)
        version = _version(
            remote,
            address,
            what=[name, folder.manifest.digest],
            new=new,
            input={
                "parents": [{"version": each} for each in derived_from or ()],
                "inputs": [{"dataset": each} for each in trained_on or ()],
                "tags": [_tag(each) for each in tag or ()],
                **({"run": run} if run else {}),
                **({"description": description} if description else {}),
            },
        )
        with _bar("sending") as (advance, total):
            total(folder.manifest.size)
            sent = Push(remote, folder, threads=threads, on_bytes=advance, patience=patience).run(version["id"], name)
        for each in alias or ():
            remote.ask(ALIAS, input={"model": address, "name": each, "version": version["id"]})
        state = _state(remote, version["address"])
    seconds = time.monotonic() - began
    facts = {
        "version": version["address"],
        "id": version["id"],
        "state": state,
        "artifact": sent.artifact,
        "digest": sent.digest,
        "files": sent.files,
        "bytes": sent.bytes,
        "filesSent": sent.files_sent,
        "bytesSent": sent.bytes_sent,
        "bytesThere": sent.bytes_there,
        "seconds": round(seconds, 3),
    }
    if state not in {None, "READY"}:
        output.warn(f"{version['address']} is {state}: something else that belongs to it is not there, or is wrong")
    if format is Format.JSON:
        output.as_json(facts)
        return
    there = f"{output.size(sent.bytes_there)} were there already"
    went = f"{output.size(sent.bytes_sent)} sent in {seconds:.1f} s"
    told = f"{sent.files:,} files, {output.size(sent.bytes)}: {went}, {there}"
    output.lines([version["address"], told, sent.digest])


def pull(
    address: Annotated[
        str,
        typer.Argument(
            help="What to fetch: models:/name/3, models:/name@alias, datasets:/name/v2, runs:/name.", show_default=False
        ),
    ],
    to: Annotated[Path, typer.Argument(metavar="DEST", help="The folder to put it in.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(help="Which files, where there are several of different names.", show_default=False)
    ] = None,
    threads: Threads = THREADS,
    patience: Waiting = int(SECONDS),
    format: Output = Format.TEXT,
) -> None:
    """Fetch the files of a version into a folder, each checked before it appears; what is there already stays.

    Pulling again goes on where a pull broke off. Server and token are those of lineal push.
    """
    settings = options.settings()
    began = time.monotonic()
    with Remote.of(settings, patience=patience, on_wait=_on_wait(patience)) as remote:
        found, artifact = kept(remote, address, name)
        with _bar("fetching") as (advance, total):
            total(int(artifact["sizeBytes"]))
            received = Pull(remote, to, threads=threads, on_bytes=advance, patience=patience).run(
                artifact["id"], artifact["digest"]
            )
    seconds = time.monotonic() - began
    facts = {
        "version": found,
        "artifact": received.artifact,
        "digest": received.digest,
        "files": received.files,
        "bytes": received.bytes,
        "filesReceived": received.files_received,
        "bytesReceived": received.bytes_received,
        "bytesThere": received.bytes_there,
        "seconds": round(seconds, 3),
    }
    if format is Format.JSON:
        output.as_json(facts)
        return
    came, there = output.size(received.bytes_received), f"{output.size(received.bytes_there)} were there already"
    told = f"{received.files:,} files, {output.size(received.bytes)}: {came} fetched in {seconds:.1f} s, {there}"
    output.lines([found, told, received.digest])


def _state(remote: Remote, address: str) -> str | None:
    """The state of a version that has the files now; None where they are of something else."""
    if parse(address, field="model").kind != "ModelVersion":
        return None
    return str(remote.ask(VERSION, address=address)["modelVersion"]["state"])


def _version(remote: Remote, address: str, *, what: Sequence[str], new: bool, input: dict[str, Any]) -> dict[str, Any]:
    """What the files are for: what is there, or a new version of the model that is PENDING until they are.

    `what` of the files makes it the same version as before, together with the input.
    """
    meant = parse(address, field="model")
    if meant.kind == "ModelVersion":
        found = remote.ask(VERSION, address=address)["modelVersion"]
        if found is None:
            raise NotFound(f"model: there is no {address!r}", field="model")
        return dict(found)
    if meant.kind != "Model":
        return {"id": address, "address": address}
    wanted = {"model": address, "createModel": True, "state": "PENDING", **input}
    if not new:
        text = orjson.dumps([*what, wanted], option=orjson.OPT_SORT_KEYS)
        wanted["idempotencyKey"] = f"push-{hashlib.sha256(text).hexdigest()}"
    try:
        made = remote.ask(CREATE, input=wanted)["createModelVersion"]["version"]
    except NotFound as error:
        if new or "deleted since" not in error.message:
            raise
        # The version of an earlier push was deleted: this is a new one.
        return _version(remote, address, what=what, new=True, input=input)
    return dict(made)


def _on_wait(patience: int) -> Callable[[str], None]:
    """Says on stderr that something is away, where that is not the end already."""
    return lambda why: output.err().print(f"{why}; trying again for {patience} s") if patience else None


def _tag(text: str) -> dict[str, str]:
    name, value = options.pair(text, "tag", "NAME=VALUE")
    return {"name": name, "value": value}


@contextmanager
def _bar(what: str) -> Iterator[tuple[OnBytes, OnBytes]]:
    """A bar of bytes with its rate on stderr, if that is a terminal: how to advance it, and how to set its end."""
    console = output.err()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield (
            lambda size: bars.update(task, advance=size),
            lambda total: bars.update(task, total=total),
        )
