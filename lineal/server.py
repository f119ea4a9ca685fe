"""Serving: one process, one event loop, and a stop that lets open requests end."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

import uvicorn

from lineal import logging
from lineal.app import create_app
from lineal.balancing import Load
from lineal.errors import Internal, Unavailable
from lineal.issuers import described
from lineal.parts import authenticator_of, opened, telemetry_of
from lineal.settings import Settings
from lineal.tracing import traced
from resolvers.live import Live

BACKLOG = 2_048
SWITCH_SECONDS: Final = 0.000_2
"""How soon a thread that computes lets another. The embedded store's threads give Python's lock up at each statement,
and by default (5 ms) each waits for it longer than the statement takes (the convoy of bugs.python.org/issue7946)."""

Ready = Callable[[str], None]
"""Hears the address once Lineal listens there."""

_log = logging.get("lineal.server")


async def serve(settings: Settings, *, ready: Ready | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then take nothing new, let open requests end, and close the store.

    Raises Unavailable (the port is taken, the store is away, the keys of an issuer cannot be had),
    PreconditionFailed (the store's version, a key that cannot be used), Internal (work in the background ended by
    itself: whoever started the process starts another).
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    telemetry = telemetry_of(settings)
    with listening(settings) as listener, traced(settings):
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        async with opened(settings, telemetry.on_statement) as graph, authenticator_of(settings) as authenticator:
            # uvicorn raises the signal that stopped it once more when it is done; what is left to do then
            # is to close the store, so that second one must end nothing.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _already_stopping)
            app = create_app(settings, graph, telemetry, authenticator)
            # A full collection of garbage holds up every request: it need not go through what stays for good.
            gc.collect()
            gc.freeze()
            server = _Server(
                uvicorn.Config(
                    app,
                    log_config=None,
                    # What it tells of WebSockets has the whole URL, whatever may be in that.
                    log_level="warning",
                    access_log=False,
                    server_header=False,
                    proxy_headers=bool(settings.trusted_proxies),
                    forwarded_allow_ips=list(settings.trusted_proxies),
                    lifespan="on",
                    timeout_graceful_shutdown=settings.stop_seconds,
                    ws_max_size=settings.max_body_bytes,
                )
            )
            server.live, server.load, server.drain = app.state.live, app.state.load, settings.drain_seconds
            url = address(listener)
            _log.info("listening", url=url, graph=settings.graph, issuers=described(settings.issuers) or "its own")
            announcement = asyncio.create_task(_announce(server, ready, url)) if ready else None
            await server.serve(sockets=[listener])
            if announcement:
                announcement.cancel()
            _log.info("stopped")
            if broken := app.state.load.broken:
                msg = f"what runs in the background ended ({broken}), and the process with it: the log has why"
                raise Internal(msg)


class _Server(uvicorn.Server):
    """uvicorn's, which says that it is about to end, then lets what stays open end; else it would wait for that.

    It stops, too, when work in the background ended.
    """

    live: Live
    load: Load
    drain: float

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop: ten times a second."""
        return await super().on_tick(counter) or bool(self.load.broken)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, at once where it is told so twice."""
        self.load.draining = True
        end = asyncio.get_running_loop().time() + self.drain
        while not self.force_exit and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - uvicorn has a flag
            await asyncio.sleep(0.05)
        self.live.end()
        await super().shutdown(sockets)


def listening(settings: Settings) -> socket.socket:
    """A socket on the host and port of the settings. Raises Unavailable: it cannot be had."""
    host = settings.host.strip("[]")
    try:
        (family, kind, protocol, _, place), *_ = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        msg = f"host: {settings.host} is no address of this machine: {error.strerror}"
        raise Unavailable(msg, field="host") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        msg = f"port: {settings.port} cannot be used on {settings.host}: {error.strerror}; choose another with --port"
        raise Unavailable(msg, field="port") from None
    return listener


def address(listener: socket.socket) -> str:
    """The URL of what listens there."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _announce(server: uvicorn.Server, ready: Ready, url: str) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag, and no event
        await asyncio.sleep(0.01)
    ready(url)


def _already_stopping(*_: object) -> None:
    """Nothing: the stop is under way."""
