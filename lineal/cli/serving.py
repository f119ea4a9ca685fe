"""Commands that serve: serve, demo."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from lineal.cli import options
from lineal.cli.output import Format

Port = Annotated[
    int | None, typer.Option(help="Port to listen on; 0 takes any free one. Default: 8321.", show_default=False)
]


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; loopback only. Default: 127.0.0.1.", show_default=False)
    ] = None,
    port: Port = None,
    graph: options.GraphUrl = None,
) -> None:
    """Serve the API and its pages: /graphql, /graphiql, /healthz, /metrics. Ctrl-C or SIGTERM stops it gracefully."""
    from lineal import logging, server
    from lineal.settings import Settings

    settings = Settings.load(graph=graph, host=host, port=port)
    logging.configure(settings.log_level, settings.log_format)
    _run(server.serve(settings))


def demo(
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the answer afterwards, or not.")] = True,
    port: Port = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep the store in this new file. Default: a temporary one.", show_default=False),
    ] = None,
    format: Annotated[Format, typer.Option(help="Text for people, or one JSON object at the end.")] = Format.TEXT,
) -> None:
    """Load 968 real models and ask: which of them learned from a contaminated data set, and where are they served?"""
    from lineal import demo as demonstration

    with demonstration.place(keep) as path:
        # Strangers may read the demo's public workspace; what the user configured for another Lineal is left alone.
        keys = None if keep else path.parent / "keys"
        settings = options.settings(f"sqlite:///{path}", port=port, keys=keys, issuers=(), anonymous=True)
        _run(demonstration.run(settings, serve=serve, format=format, program=_program()))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """Run what serves, on the faster event loop where the system has it."""
    if sys.platform == "win32":
        asyncio.run(serving)
    else:
        import uvloop

        uvloop.run(serving)


def _program() -> str:
    """How this was called, for commands to copy."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m lineal"
    return sys.argv[0] if called.parent.name == "bin" else called.name
