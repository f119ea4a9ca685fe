"""The command of workers: validate."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
from typing import Annotated

import typer

from lineal.cli import options, output
from lineal.errors import InvalidArgument
from lineal.remote import Remote


def validate(
    suite: Annotated[
        list[str], typer.Option(metavar="NAME", help="A suite that this worker takes.", show_default=False)
    ],
    command: Annotated[
        str,
        typer.Option(
            help="What to run: in a folder of its own, with LINEAL_MODEL, LINEAL_DATA, LINEAL_INPUT and LINEAL_REPORT.",
            show_default=False,
        ),
    ],
    once: Annotated[bool, typer.Option("--once", help="Take one and end; with 1 unless it succeeded.")] = False,
    worker: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is called. Default: host and process.", show_default=False),
    ] = None,
    lease: Annotated[
        int,
        typer.Option(
            metavar="SECONDS", min=1, max=3_600, help="How long it may be silent before another one takes over."
        ),
    ] = 60,
    poll: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How often to ask where nothing waits.")
    ] = 5.0,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Fetch the files of data sets, too.")] = True,
) -> None:
    """Take validations, run a command for each, and report what it found.

    The command finds the files of the model in the folder LINEAL_MODEL, those of the first data set in LINEAL_DATA,
    all that is known as JSON in the file LINEAL_INPUT, and writes JSON to the file LINEAL_REPORT: success, message,
    metrics, slices, params, report. SIGTERM ends command and worker, and gives the validation back. The server is
    LINEAL_URL, the token LINEAL_TOKEN, which the command does not see.
    """
    from lineal.validating import Orders, Worker

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidArgument(f"--command: {error}", field="command") from error
    if not words or shutil.which(words[0]) is None:
        msg = f"--command: there is no program {words[0] if words else ''!r} that could be run"
        raise InvalidArgument(msg, field="command")
    name = worker or f"{socket.gethostname()}-{os.getpid()}"
    with Remote.of(options.settings()) as remote:
        orders = Orders(suite, [shutil.which(words[0]) or words[0], *words[1:]], name, lease, poll, data)
        works = Worker(remote, orders, lambda text: output.lines([text]))
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: works.stop())
        state = works.work(once=once)
    if once and state is None:
        output.lines(["nothing was done"])
    if once and state not in {"SUCCEEDED", None}:
        raise typer.Exit(1)
